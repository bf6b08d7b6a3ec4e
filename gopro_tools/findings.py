"""What a check found: one record per finding, as a table for people and as CSV for programs."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, cast

from gopro_tools.console import EXIT_FINDINGS, stderr
from gopro_tools.dataset import SPLITS, VALIDATION
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key, write_atomic
from gopro_tools.text import csv_text, read_csv

Severity = Literal["error", "warning", "info"]

_STYLES: dict[Severity, str] = {"error": "red", "warning": "yellow", "info": "dim"}
_COLUMNS = ("severity", "check", "split", "sequence", "name", "message")
_MOST_SHOWN = 60
_MOST_ALIKE = 3
"""At most this many findings of one kind in a sequence are listed one by one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found, and where: in the whole dataset unless the last fields say more."""

    severity: Severity
    """``error``: the data is wrong. ``warning``: a person should look. ``info``: good to know."""
    check: str
    """Which check found it, such as ``missing``."""
    message: str
    split: str = ""
    sequence: str = ""
    name: str = ""
    """File name of the image, which all its kinds share."""

    @property
    def sort_key(self) -> tuple[object, ...]:
        """Order in reports: the whole dataset first, then in the order of the folders."""
        splits = ("", *SPLITS, *VALIDATION)
        name = self.split.lower()
        split = splits.index(name) if name in splits else len(splits)
        place = (split, natural_key(self.sequence), natural_key(self.name))
        return (*place, self.check, self.message)


def has_errors(findings: Sequence[Finding]) -> bool:
    """Whether any finding says that the data is wrong."""
    return any(finding.severity == "error" for finding in findings)


def findings_csv(findings: Sequence[Finding]) -> str:
    """CSV with one row per finding: where it is before what it is."""
    return csv_text(_COLUMNS, map(asdict, findings))


def is_findings_file(path: Path) -> bool:
    """Whether a file begins as `findings_csv` does."""
    if not path.is_file():  # opening a pipe would wait for ever
        return False
    head = ",".join(_COLUMNS)
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline(len(head) + 1).rstrip("\r\n") == head
    except OSError:
        return False


def read_findings(path: Path) -> list[Finding]:
    """Findings from their CSV.

    Raises:
        InputError: The file is damaged, or another program's.
    """
    rows = read_csv(path, _COLUMNS)
    if others := {row["severity"] for row in rows} - set(_STYLES):
        raise InputError(
            f"{path}: severity {', '.join(sorted(others))}; {', '.join(_STYLES)} were expected."
        )
    return [
        Finding(
            cast(Severity, row["severity"]),
            *(row[name] for name in ("check", "message", "split", "sequence", "name")),
        )
        for row in rows
    ]


def report_findings(findings: Sequence[Finding], subject: str, out: Path | None) -> int:
    """Report what a check found: table and counts on stderr, CSV to ``out`` or stdout.

    Returns:
        The exit code: 0, or 1 if there are errors.
    """
    if findings:
        from rich.table import Column, Table
        from rich.text import Text

        columns = [Column(name, overflow="fold") for name in ("severity", "check", "where", "what")]
        table = Table(*columns, title=Text(f"Findings in {subject}"))
        shown = list(_merged(findings))
        for finding in shown[:_MOST_SHOWN]:
            where = "/".join(filter(None, (finding.split, finding.sequence, finding.name)))
            cells = (finding.severity, finding.check, where, finding.message)
            table.add_row(*map(Text, cells), style=_STYLES[finding.severity])
        stderr.print(table, soft_wrap=False)
        if len(shown) > _MOST_SHOWN:
            stderr.print(f"... and {len(shown) - _MOST_SHOWN} more; the CSV has them all.")
    if out is None:
        sys.stdout.write(findings_csv(findings))
    else:
        write_atomic(out, findings_csv(findings))
    count = Counter(finding.severity for finding in findings)
    stderr.print(
        f"{subject}: {count['error']} error(s), {count['warning']} warning(s), "
        f"{count['info']} note(s).",
        markup=False,
    )
    return EXIT_FINDINGS if has_errors(findings) else 0


def _merged(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Findings for a table: many of one kind in a sequence become one, with their number."""
    alike: defaultdict[tuple[str, ...], list[Finding]] = defaultdict(list)
    for finding in findings:
        # Findings of one kind differ only in numbers, hashes and names of images.
        what = re.sub(r"[^\s/]*\d[^\s/]*", "", finding.message)
        place = (finding.split, finding.sequence) if finding.name else (finding.message,)
        alike[finding.severity, finding.check, what, *place].append(finding)
    for first, *others in alike.values():
        if len(others) < _MOST_ALIKE:
            yield from (first, *others)
        else:
            message = f"{first.message} (and {len(others)} more like this; the CSV has them all)"
            yield replace(first, message=message)
