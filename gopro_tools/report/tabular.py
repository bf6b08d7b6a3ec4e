"""Comparison tables of `gopro_tools.tables`, laid out for the page."""

from collections.abc import Sequence
from pathlib import Path

from gopro_tools.errors import InputError
from gopro_tools.report.content import Cell, Heading, Table
from gopro_tools.tables import QUANTITIES, Column, Row, rows_of, table_of


def read_tables(folders: Sequence[Path]) -> list[Table]:
    """One table per kind of comparison: what differs in dataset, split or blur gets its own.

    Raises:
        InputError: A method has two values for one number.
    """
    rows: list[Row] = []
    for folder in folders:
        try:
            rows += rows_of(folder)
        except InputError:
            continue  # per-image scores alone, which the gallery shows
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        column = row.column
        groups.setdefault((column.dataset, column.split, column.blur_kind), []).append(row)
    return [
        _laid_out(" ".join(filter(None, key[:2])), key[2], of_it) for key, of_it in groups.items()
    ]


def _laid_out(where: str, blur_kind: str, rows: Sequence[Row]) -> Table:
    table = table_of(rows, separate=True)
    return Table(
        title=f"{where}, blur_kind {blur_kind}. Best restored value bold.",
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
