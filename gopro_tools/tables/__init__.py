"""Comparison tables, and ``python -m gopro_tools.tables``.

Most tables of this field set numbers below each other that were computed in different ways, on
different inputs: that alone is worth up to 0.14 in SSIM and 0.8 dB. Here a number carries what
decides it, and a column holds only numbers that can be compared.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gopro_tools.console import EXIT_FINDINGS, run_command, stderr
from gopro_tools.files import write_atomic
from gopro_tools.tables.comparing import Comparison, TablesConfig, compared
from gopro_tools.tables.model import QUANTITIES, Column, Row, Table, plain_name, table_of
from gopro_tools.tables.published import published_rows
from gopro_tools.tables.reading import rows_of, runs_below
from gopro_tools.tables.rendering import to_csv, to_latex, to_markdown
from gopro_tools.threads import Progress

__all__ = [
    "QUANTITIES",
    "Column",
    "Comparison",
    "Row",
    "Table",
    "TablesConfig",
    "command",
    "compare",
    "main",
    "plain_name",
    "published_rows",
    "rows_of",
    "runs_below",
    "table_of",
    "to_csv",
    "to_latex",
    "to_markdown",
]

Format = Literal["md", "csv", "latex"]
_FORMATS: dict[str, Format] = {".md": "md", ".csv": "csv", ".tex": "latex"}


def compare(
    results: Path | Sequence[Path],
    config: TablesConfig | None = None,
    *,
    out: Path | None = None,
    on_progress: Progress | None = None,
) -> Comparison:
    """Put results of evaluate and detect, and published numbers, into tables, as `compared` does.

    Args:
        results: One or more OUT folders, or folders with such folders in them.
        config: Which numbers to show.
        out: File for the tables; ``.md``, ``.csv`` or ``.tex`` chooses the format.
        on_progress: Called with the folders read and all.

    Raises:
        InputError: There is nothing to show, or unlike results were named for one table.
    """
    folders = [results] if isinstance(results, str | Path) else list(results)
    comparison = compared([Path(folder) for folder in folders], config, on_progress)
    if out is not None:
        write_atomic(out, _rendered(comparison, _FORMATS.get(out.suffix.lower(), "md"), "rows"))
    return comparison


def _rendered(comparison: Comparison, form: Format, methods_as: str) -> str:
    if form == "csv":
        return comparison.to_csv()
    render = comparison.to_latex if form == "latex" else comparison.to_markdown
    return render(methods_as=methods_as)


def command(
    results: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    config: Annotated[TablesConfig, tyro.conf.arg(name="")],
    methods_as: Literal["rows", "columns"] = "rows",
    format: Format | None = None,
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
) -> int:
    """Put results of evaluate and detect, and published numbers, into comparison tables.

    Args:
        results: OUT folders of evaluate and detect, which make one table; or folders with such
            folders in them, of which every comparable set makes one.
        config: Which numbers to show.
        methods_as: Where methods go, in Markdown and LaTeX.
        format: md by default, or what the suffix of --out says. csv has one line per number.
        out: File for the tables; stdout by default.
    """
    comparison = compare(results, config)
    suffix = out.suffix.lower() if out else ""
    text = _rendered(comparison, format or _FORMATS.get(suffix, "md"), methods_as)
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomic(out, text)
        stderr.print(f"{out}", markup=False)
    for remark in comparison.remarks:
        stderr.print(remark, markup=False)
    for problem in comparison.problems:
        stderr.print(f"left out: {problem}", markup=False, style="red")
    cells = [row for table in comparison.tables for row in table.cells.values()]
    stderr.print(
        f"{len(comparison.tables)} table(s), {len(cells)} number(s), "
        f"{sum(not row.verified for row in cells)} of them not verified (†).",
        markup=False,
    )
    return EXIT_FINDINGS if comparison.problems else 0


def main() -> None:
    """The command line."""
    run_command(command)
