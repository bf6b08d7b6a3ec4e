"""CSV, Markdown and sizes: what is written comes back, whatever is in it."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gopro_tools.text import (
    csv_text,
    markdown_cell,
    markdown_table,
    plain_cell,
    read_csv,
    size_text,
)

CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_csv_comes_back_as_it_was(rows: list[tuple[str, str]]) -> None:
    expected = [["a", "b"], *map(list, rows)]
    mappings = [dict(zip("ab", row, strict=True)) for row in rows]
    for text in (csv_text("ab", rows), csv_text("ab", mappings)):
        assert "\r" not in text
        rows_read = csv.reader(io.StringIO(text, newline=""), strict=True)
        assert [[plain_cell(cell) for cell in row] for row in rows_read] == expected


def test_cells_and_columns_must_match() -> None:
    assert csv_text(["a", "b"], [{"b": 1}]) == "a,b\n,1\n"
    with pytest.raises(ValueError, match="no column c"):
        csv_text(["a"], [{"a": 1, "c": 2}])
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        csv_text(["a", "b"], [[1]])


def test_markdown_table_aligns_numbers_right() -> None:
    text = markdown_table(["method", "kind", "PSNR"], [["a", "b", "30.00"]], n_text_columns=2)
    assert text == "| method | kind | PSNR |\n|---|---|--:|\n| a | b | 30.00 |"


@given(st.text())
def test_a_cell_is_one_line_in_which_nothing_is_markup(text: str) -> None:
    cell = markdown_cell(text)
    assert len(cell.splitlines()) <= 1
    bare = cell.replace("\\\\", "")
    assert all(bare[i - 1] == "\\" for i, c in enumerate(bare) if c in "|*`<[]~")


def test_width_comes_first() -> None:
    assert size_text((720, 1280)) == size_text((720, 1280, 3)) == "1280x720"


@pytest.mark.parametrize("name", ["=1+1", "@x", "+x", "-x", "\tx", "'=x", "''=x", "=x'"])
def test_no_cell_is_a_formula_and_names_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(csv_text(["name", "n"], [[name, -1.5], {"name": name, "n": 2}]))
    cells = [row[0] for row in csv.reader(io.StringIO(path.read_text()))][1:]
    assert all(cell.startswith("'") for cell in cells)
    assert [row["name"] for row in read_csv(path, ["name"])] == [name, name]
    assert plain_cell(cells[0]) == name


@pytest.mark.parametrize("text", ["-1.5", "+0.28 dB", "-inf", "GOPR0384_11_00", "it's", "'a'"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert csv_text(["a"], [[text], ["x"]]).splitlines()[1].strip('"') == text
