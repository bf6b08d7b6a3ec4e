"""Tables as text, taken apart again."""

import csv
import io
import re


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), strict=True))


def cells_of(line: str) -> list[str]:
    """Cells of a Markdown line, escaped bars left alone."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def markdown_table(text: str) -> dict[str, list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(cells_of(line)) for line in lines}) == 1
    return {cells_of(line)[0]: cells_of(line)[1:] for line in lines if not line.startswith("|--")}
