"""Comparison tables, and ``python -m gopro_tools.tables``.

Most tables of this field set numbers below each other that were computed in different ways, on
different inputs: that alone is worth up to 0.14 in SSIM and 0.8 dB. Here a number carries what
decides it, and a column holds only numbers that can be compared.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gopro_tools.console import run_command, stderr
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.tables.model import QUANTITIES, Column, Row, Table, compare, plain_name
from gopro_tools.tables.reading import published_rows, rows_of
from gopro_tools.tables.rendering import to_csv, to_latex, to_markdown

__all__ = [
    "QUANTITIES",
    "Column",
    "Row",
    "Table",
    "TablesConfig",
    "chosen_rows",
    "command",
    "compare",
    "main",
    "published_rows",
    "render",
    "rows_of",
    "to_csv",
    "to_latex",
    "to_markdown",
]

Format = Literal["md", "csv", "latex"]
_FORMATS: dict[str, Format] = {".md": "md", ".csv": "csv", ".tex": "latex"}


@dataclass(frozen=True, kw_only=True)
class TablesConfig:
    """Put results of evaluate, detect and recorded runs, and published numbers, into one table."""

    results: tyro.conf.Positional[tuple[Path, ...]] = ()
    """OUT folders of evaluate and detect, run records, or folders with such folders in them."""
    published: bool = False
    """Add published numbers of the same metrics, each protocol in columns of its own. Without any
    results, the table is of published numbers alone."""
    metrics: tuple[str, ...] = ()
    """Only these: psnr, ssim, lpips, vmaf, precision, recall, f1, ap50, map50_95, time_s, or a
    protocol such as ssim_gauss."""
    methods: tuple[str, ...] = ()
    """Only these methods, as the table names them; case, spaces and punctuation do not count."""
    dataset: str | None = None
    """Only numbers on this dataset, by its name."""
    split: str | None = None
    """Only numbers on this split."""
    blur_kind: str | None = None
    """Only numbers on this kind of blur: gamma or linear_crf."""
    separate: bool = False
    """Give results that differ in dataset, split, kind of blur, resolution or settings columns of
    their own; by default that is an error."""
    methods_as: Literal["rows", "columns"] = "rows"
    """Where methods go, in Markdown and LaTeX."""
    format: Format | None = None
    """md by default, or what the suffix of --out says. csv has a line a number."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """File for the table; stdout by default."""

    def __post_init__(self) -> None:
        """Refuse a table of nothing."""
        if not self.results and not self.published:
            raise InputError("Name at least one folder with results, or --published, or both.")


def chosen_rows(config: TablesConfig) -> list[Row]:
    """The numbers that a table is asked for.

    Raises:
        InputError: Results cannot be read, or nothing is left of them.
    """
    measured = [row for path in config.results for row in rows_of(path)]
    published = published_rows() if config.published else []
    if measured:
        quantities = {row.column.quantity for row in measured}
        published = [row for row in published if row.column.quantity in quantities]
    everything = measured + published
    rows = [row for row in everything if _is_wanted(row, config)]
    if not rows:
        raise InputError(
            f"None of {len(everything)} number(s) is left: there are "
            + "; ".join(
                f"{what} {_listed([getattr(row.column, what) for row in everything])}"
                for what in ("quantity", "protocol", "dataset", "split", "blur_kind")
            )
            + "."
        )
    return rows


def render(table: Table, form: Format, *, methods_as: str = "rows") -> str:
    """The table as text."""
    if form == "csv":
        return to_csv(table)
    return (to_latex if form == "latex" else to_markdown)(table, methods_as=methods_as)


def _is_wanted(row: Row, config: TablesConfig) -> bool:
    column = row.column
    return (
        (not config.metrics or bool({column.quantity, column.protocol} & set(config.metrics)))
        and (not config.methods or plain_name(row.method) in map(plain_name, config.methods))
        and config.dataset in (None, column.dataset)
        and config.split in (None, column.split)
        and config.blur_kind in (None, column.blur_kind)
    )


def _listed(values: Sequence[str]) -> str:
    return ", ".join(sorted(set(values) - {""})) or "none"


def command(config: Annotated[TablesConfig, tyro.conf.arg(name="")]) -> int:
    """Put results and published numbers into one comparison table."""
    table = compare(chosen_rows(config), separate=config.separate)
    suffix = config.out.suffix.lower() if config.out else ""
    text = render(table, config.format or _FORMATS.get(suffix, "md"), methods_as=config.methods_as)
    if config.out is None:
        sys.stdout.write(text)
    else:
        write_atomic(config.out, text)
        stderr.print(f"{config.out}", markup=False)
    n_doubtful = sum(not row.verified for row in table.cells.values())
    stderr.print(
        f"{len(table.methods)} method(s), {len(table.columns)} column(s), {len(table.cells)} "
        f"number(s), {n_doubtful} of them not verified (†).",
        markup=False,
    )
    return 0


def main() -> None:
    """The command line."""
    run_command(command)
