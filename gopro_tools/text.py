"""Numbers and names as text: CSV, Markdown, sizes, counts. One way to write each."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gopro_tools.errors import InputError

# Numbers with a sign do not count.
_FORMULA = re.compile(r"'*(?:[=@\t\r]|[+-](?![\d.]|inf|nan))")

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Text with control characters, and whatever else a terminal would obey, as ``\x1b``."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def csv_text(
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any] | Sequence[Any]],
    *,
    with_header: bool = True,
) -> str:
    r"""Rows as CSV with ``\n`` line ends.

    Text that a spreadsheet would take for a formula (``=x``, ``@x``) gets a leading apostrophe,
    which `read_csv` and `plain_cell` remove.

    Args:
        columns: Names, in order.
        rows: Mappings by column name (a missing one is an empty cell), or sequences in the order
            of ``columns``.
        with_header: Whether the names come first; not where the rows follow others in a file.

    Raises:
        ValueError: A row has a cell without a column, or the wrong number of cells.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if with_header:
        writer.writerow(columns)
    for row in rows:
        if isinstance(row, Mapping):
            if unknown := row.keys() - set(columns):
                raise ValueError(f"no column {', '.join(sorted(unknown))}")
            writer.writerow([_shielded(row.get(column, "")) for column in columns])
        elif len(row) != len(columns):
            raise ValueError(f"{len(row)} cells for {len(columns)} columns")
        else:
            writer.writerow(map(_shielded, row))
    return text.getvalue()


def _shielded(cell: Any) -> Any:
    """A cell that no spreadsheet runs as a formula: text that looks like one gets an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def plain_cell(cell: str) -> str:
    """The text that `csv_text` wrote, without the leading apostrophe."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def read_csv(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, by column name.

    Args:
        path: The file, UTF-8.
        columns: Names that must be present; others may be.

    Raises:
        InputError: The file cannot be read, lacks a column, or has a row of another length.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
            absent = [name for name in columns if name not in (reader.fieldnames or ())]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error}).") from error
    if absent:
        raise InputError(f"{path}: no column {', '.join(absent)}; is it another program's?")
    if any(None in row or None in row.values() for row in rows):
        raise InputError(f"{path}: a row has more or fewer cells than the header; is it complete?")
    return [{name: plain_cell(cell) for name, cell in row.items()} for row in rows]


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, n_text_columns: int = 1
) -> str:
    """A GitHub table without a line end after it. Cells are Markdown (see `markdown_cell`).

    Args:
        head: Column headings.
        rows: Cells, as many as there are headings.
        n_text_columns: How many columns, from the left, hold text; the others hold numbers and are
            aligned to the right.
    """
    rule = ["---" if i < n_text_columns else "--:" for i in range(len(head))]
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(rule)}|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def markdown_cell(text: str) -> str:
    """Plain text as Markdown for a table cell or list item: one line in which nothing is markup."""
    # An underscore within a word is not markup, and protocol names stay readable.
    escaped = re.sub(r"[\\`*\[\]<|~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
    return " ".join(escaped.split())


def size_text(size_hw: Sequence[int]) -> str:
    """A size, or the shape of an image, as people write it: ``1280x720``, width first."""
    return f"{size_hw[1]}x{size_hw[0]}"
