"""Pages of results: Markdown in which tables are made from records again, by SQL in the page.

A block begins with a comment, a query of DuckDB over the files below the results folder, and ends
with another; what stands between them is the answer::

    <!-- begin: sql
    SELECT method, printf('%.2f', mean) AS PSNR FROM 'runs/evaluate/real-*/*/summary.csv'
    -->
    | method | PSNR |
    ...
    <!-- end -->

A first column named ``heading`` gives each of its values a table of its own below it. Queries share
the macros of ``pages.sql``.

Figures are drawn from queries too, beside their page; ``log`` is a logarithmic x-axis::

    <!-- plot: gains.png log
    SELECT px AS "length of blur (px)", gain AS "gain (dB)", method AS curve, 'o-' AS style
    FROM ...
    -->

The first two columns are x and y; ``style`` is matplotlib's.
"""

import re
from itertools import groupby
from pathlib import Path
from typing import Any

from gopro_tools.errors import InputError
from gopro_tools.text import markdown_table

Row = tuple[Any, ...]

_BLOCK = re.compile(r"(<!-- begin: sql\n(.*?)\s*-->\n).*?(<!-- end -->)", flags=re.DOTALL)
_PLOT = re.compile(r"<!-- plot: (\S+)( log)?\n(.*?)-->", flags=re.DOTALL)
_NUMBER = re.compile(r"[-+]?\d.*|–?")


def filled(page: Path, results: Path) -> str:
    """A page with the tables in it made again from the records of a results folder.

    Raises:
        InputError: A query fails, or there is none.
    """
    text, n_blocks = _BLOCK.subn(
        lambda match: f"{match[1]}{tables(results, match[2], page)}\n{match[3]}",
        page.read_text(encoding="utf-8"),
    )
    if not n_blocks:
        raise InputError(f"{page}: no query in it, so no table to make (see benchmarks/pages.py).")
    return text


def pages(results: Path) -> dict[Path, str]:
    """The pages below a results folder that have queries, as filled."""
    found = sorted(results.rglob("*.md"))
    return {p: filled(p, results) for p in found if _BLOCK.search(p.read_text(encoding="utf-8"))}


def tables(results: Path, query: str, page: Path | str = "query") -> str:
    """The answer of a query as Markdown tables.

    Raises:
        InputError: The query fails; ``page`` says where it comes from.
    """
    head, rows = asked(results, query, page)
    if head[0] != "heading":
        return _table(head, rows)
    return "\n\n".join(
        f"{heading}\n\n{_table(head[1:], [row[1:] for row in own])}"
        for heading, own in groupby(rows, key=lambda row: row[0])
    )


def asked(results: Path, query: str, page: Path | str = "query") -> tuple[list[str], list[Row]]:
    """The columns and rows that a query gives; see `tables`."""
    import duckdb

    # One thread, so that sums are taken in one order.
    try:
        with duckdb.connect(config={"threads": 1, "file_search_path": str(results)}) as connection:
            connection.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
            answer = connection.sql(query)
            return answer.columns, answer.fetchall()
    except duckdb.Error as error:
        raise InputError(f"{page}: {error}\n{query}") from error


def draw(results: Path) -> None:
    """Draw the figures of all pages below a results folder.

    Raises:
        InputError: A query fails, or matplotlib is not installed.
    """
    from gopro_tools.figures import new_figure

    for page in sorted(results.rglob("*.md")):
        for name, log, query in _PLOT.findall(page.read_text(encoding="utf-8")):
            head, rows = asked(results, query, page)
            curves: dict[tuple[str, str], list[Row]] = {}
            for x, y, curve, style in rows:
                curves.setdefault((curve, style), []).append((x, y))
            figure = new_figure(9.6, 4.8)
            axes = figure.subplots()
            for (curve, style), points in curves.items():
                axes.plot(*zip(*points, strict=True), style, label=curve, markersize=4)
            axes.set(xlabel=head[0], ylabel=head[1])
            if log:
                axes.set_xscale("log", base=2)
                axes.xaxis.set_major_formatter("{x:g}")
            axes.grid(alpha=0.3)
            figure.legend(fontsize=8, loc="outside right center")
            figure.savefig(page.with_name(name), dpi=110)


def _table(head: list[str], rows: list[Row]) -> str:
    """Columns of text first, as far as there are any."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    columns = list(zip(*cells, strict=True))
    n_text = next((i for i, own in enumerate(columns) if all(map(_NUMBER.fullmatch, own))), 0)
    return markdown_table(head, cells, n_text_columns=n_text or 1)
