"""The command line of the tables."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gopro_tools.console import EXIT_FINDINGS, stderr
from gopro_tools.files import write_atomic
from gopro_tools.tables.config import Format, TablesConfig


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
        results: OUT folders of evaluate and detect, which make one table; or folders that contain
            such folders, of which every comparable set makes one.
        config: Which numbers to show.
        methods_as: Where methods go, in Markdown and LaTeX.
        format: md by default, or what the suffix of --out says. csv has one line per number.
        out: File for the tables; stdout by default.
    """
    from gopro_tools.tables.comparing import compare, format_of

    form = format or format_of(out)
    comparison = compare(results, config)
    text = comparison.written_as(form, methods_as=methods_as)
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
