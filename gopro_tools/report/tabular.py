"""Comparison tables of `gopro_tools.tables`, laid out for the page."""

from collections.abc import Sequence
from pathlib import Path

from gopro_tools.report.content import Cell, Heading, Table
from gopro_tools.tables.model import QUANTITIES, Column, Row, table_of
from gopro_tools.tables.model import Table as Compared
from gopro_tools.tables.reading import Run, runs_below


def read_tables(folders: Sequence[Path]) -> tuple[list[Table], list[str]]:
    """One table for each set of images that was measured, and why some scores have none.

    Raises:
        InputError: A method has two values for one number.
    """
    runs: list[Run] = []
    problems: list[str] = []
    for folder in folders:
        found = runs_below(folder)
        runs += found.runs
        problems += found.problems
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in (row for run in runs for row in run.rows):
        column = row.column
        images = (column.dataset_sha256 or column.dataset, column.split, column.blur_kind)
        groups.setdefault(images, []).append(row)
    return [_laid_out(table_of(rows, separate=True)) for rows in groups.values()], problems


def _laid_out(table: Compared) -> Table:
    column = table.columns[0]
    where = f"{column.dataset} {column.split}".strip()
    return Table(
        title=f"{where}, blur_kind {column.blur_kind}."
        + (" Best restored value bold." if table.best else ""),
        headings=[_heading(column) for column in table.columns],
        rows=[
            (
                method,
                [
                    _cell(row, (method, column) in table.best)
                    if (row := table.cells.get((method, column)))
                    else None
                    for column in table.columns
                ],
            )
            for method in table.methods
        ],
    )


def _heading(column: Column) -> Heading:
    quantity = QUANTITIES[column.quantity]
    lines = (
        f"{quantity.label} {'↑' if quantity.higher_is_better else '↓'}",
        column.protocol,
        column.resolution,
        column.source if column.source != "measured" else "",
    )
    return Heading(
        lines=[line for line in lines if line], higher_is_better=quantity.higher_is_better
    )


def _cell(row: Row, best: bool) -> Cell:
    over = "" if row.n_images is None else f"mean over {row.n_images} images"
    digits = QUANTITIES[row.column.quantity].digits
    return Cell(
        value=row.value,
        text=row.printed or f"{row.value:.{digits}f}",
        best=best,
        note="; ".join(filter(None, (repr(row.value), over, row.citation, row.note))),
    )
