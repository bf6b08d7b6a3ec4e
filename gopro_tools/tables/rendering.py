"""A table as CSV, Markdown and LaTeX."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gopro_tools.metrics import METRICS
from gopro_tools.tables.model import QUANTITIES, Column, Table, dataset_text
from gopro_tools.tables.published import protocol_facts
from gopro_tools.text import csv_text, markdown_cell, markdown_table

_NOT_VERIFIED = "written down from memory, not checked against its source"

_CSV_COLUMNS = (
    "method", "metric", "value", "best", "n_images", "source", "verified", "protocol", "settings",
    "dataset", "dataset_sha256", "split", "blur_kind", "scale", "resolution", "color_space",
    "rounding", "ssim_kind", "higher_is_better", "citation", "note",
)  # fmt: skip


def to_csv(*tables: Table) -> str:
    """One line per number, at full precision, with everything it depends on.

    This is the tidy form, which a data frame's ``pivot`` makes wide; a wide one has no place for n,
    source and marks.
    """
    return csv_text(_CSV_COLUMNS, (line for table in tables for line in _csv_lines(table)))


def _csv_lines(table: Table) -> Iterator[dict[str, object]]:
    for method in table.methods:
        for column in table.columns:
            row = table.cells.get((method, column))
            if row is None:
                continue
            color_space, rounding, ssim_kind = _computed(column.protocol)
            notes = ([] if row.verified else [f"† {_NOT_VERIFIED}"]) + [row.note]
            yield (
                {
                    "method": method,
                    "metric": column.quantity,
                    "value": repr(row.value),
                    "best": _yes((method, column) in table.best),
                    "n_images": "" if row.n_images is None else row.n_images,
                    "source": column.source,
                    "verified": _yes(row.verified),
                    "protocol": column.protocol,
                    "settings": column.settings,
                    "dataset": column.dataset,
                    "dataset_sha256": column.dataset_sha256,
                    "split": column.split,
                    "blur_kind": column.blur_kind,
                    "scale": row.scale,
                    "resolution": column.resolution,
                    "color_space": color_space,
                    "rounding": rounding,
                    "ssim_kind": ssim_kind,
                    "higher_is_better": _yes(QUANTITIES[column.quantity].higher_is_better),
                    "citation": row.citation,
                    "note": "; ".join(filter(None, notes)),
                }
            )


def to_markdown(table: Table, *, methods_as: str = "rows") -> str:
    """A GitHub table: best values bold, unverified ones marked †, notes below.

    Args:
        table: What to print.
        methods_as: ``rows`` or ``columns``.
    """
    page = _lay_out(table)

    def cell(content: _Cell) -> str:
        text = markdown_cell(content.text) + ("†" if content.marked else "")
        return f"**{text}**" if content.bold else text

    headings = ["<br>".join(markdown_cell(h) for h in heading if h) for heading in page.headings]
    names = [markdown_cell(method) for method in table.methods]
    body = [[cell(content) for content in line] for line in page.body]
    lines: list[str] = []
    if page.common:
        lines += [markdown_cell(page.common), ""]
    if methods_as == "columns":
        body = [list(line) for line in zip(*body, strict=True)]
        headings, names = names, [heading.replace("<br>", ", ") for heading in headings]
    corner = "metric" if methods_as == "columns" else "method"
    rows = [[name, *line] for name, line in zip(names, body, strict=True)]
    lines.append(markdown_table([corner, *headings], rows))
    if page.notes:
        lines += ["", *(f"- {markdown_cell(note)}" for note in page.notes)]
    return "\n".join(lines) + "\n"


def to_latex(table: Table, *, methods_as: str = "rows") -> str:
    r"""A ``table`` for the package booktabs: best values bold, † on unverified ones.

    Args:
        table: What to print.
        methods_as: ``rows`` or ``columns``.
    """
    page = _lay_out(table)

    def cell(content: _Cell) -> str:
        text = _latex(content.text)
        text = rf"\textbf{{{text}}}" if content.bold else text
        return text + (r"$^\dagger$" if content.marked else "")

    body = [[cell(content) for content in line] for line in page.body]
    names = [_latex(method) for method in table.methods]
    if methods_as == "columns":
        body = [list(line) for line in zip(*body, strict=True)]
        header = [["metric", *names]]
        names = [_latex(", ".join(filter(None, heading))) for heading in page.headings]
    else:
        lines_of_heading = zip(*page.headings, strict=True)
        header = [["", *map(_latex, line)] for line in lines_of_heading]
        header[0][0] = "method"
    lines = [
        r"\begin{table}",
        r"  \centering",
        *([rf"  \caption{{{_latex(page.common)}}}"] if page.common else []),
        rf"  \begin{{tabular}}{{l{'r' * len(body[0])}}}",
        r"    \toprule",
        *(f"    {' & '.join(line)} \\\\" for line in header),
        r"    \midrule",
        *(f"    {' & '.join([name, *line])} \\\\" for name, line in zip(names, body, strict=True)),
        r"    \bottomrule",
        r"  \end{tabular}",
    ]
    if page.notes:
        lines += [r"  \par\smallskip\footnotesize", *(rf"  {_latex(n)}\par" for n in page.notes)]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    bold: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True)
class _Page:
    """A table as plain text, before any markup."""

    common: str
    """What all columns share."""
    headings: list[list[str]]
    """Lines of each column's heading."""
    body: list[list[_Cell]]
    """One list per method."""
    notes: list[str]


def _lay_out(table: Table) -> _Page:
    n_images = {column: _common_n(table, column) for column in table.columns}
    letters = _letters(table)
    # Names can be equal where the images differ; then their identity tells them apart.
    identities: dict[str, set[str]] = {}
    for column in table.columns:
        identities.setdefault(column.dataset, set()).add(column.dataset_sha256)
    ambiguous = {name for name, found in identities.items() if len(found - {""}) > 1}

    def dataset(column: Column) -> str:
        name = dataset_text(column) if column.dataset in ambiguous else column.dataset
        return f"{name} {column.split}".strip()

    facts: dict[str, Callable[[Column], str]] = {
        "protocol": lambda c: c.protocol,
        "dataset": dataset,
        "blur kind": lambda c: c.blur_kind,
        "resolution": lambda c: c.resolution,
        "source": lambda c: c.source,
        "settings": lambda c: letters.get(c.settings, ""),
        "": lambda c: n_images[c],
    }
    # What all columns share is stated once; the rest in each heading.
    values = {what: {fact(column) for column in table.columns} for what, fact in facts.items()}
    shared = {what: found.pop() for what, found in values.items() if len(found) == 1}
    sentences = [", ".join(f"{what} {value}".strip() for what, value in shared.items() if value)]
    sentences += ["Best restored value bold"] if table.best else []
    common = ". ".join(filter(None, sentences))
    return _Page(
        common=f"{common}." if table.best else common,
        headings=[
            [_label(column), *(fact(column) for what, fact in facts.items() if what not in shared)]
            for column in table.columns
        ],
        body=[
            [_cell(table, method, column, with_n=not n_images[column]) for column in table.columns]
            for method in table.methods
        ],
        notes=_notes(table),
    )


def _label(column: Column) -> str:
    quantity = QUANTITIES[column.quantity]
    return f"{quantity.label} {'↑' if quantity.higher_is_better else '↓'}"


def _letters(table: Table) -> dict[str, str]:
    """A letter for each of several settings, which are too long for a heading; none for one."""
    several = list(dict.fromkeys(column.settings for column in table.columns if column.settings))
    if len(several) < 2:
        return {}
    return {settings: f"settings {chr(ord('A') + i)}" for i, settings in enumerate(several)}


def _common_n(table: Table, column: Column) -> str:
    """Number of images where all of a column's cells agree on it."""
    counts = {row.n_images for (_, c), row in table.cells.items() if c == column}
    return f"n = {counts.pop():,}" if len(counts) == 1 and None not in counts else ""


def _cell(table: Table, method: str, column: Column, *, with_n: bool) -> _Cell:
    row = table.cells.get((method, column))
    if row is None or math.isnan(row.value):
        return _Cell("–")
    text = row.printed or f"{row.value:.{QUANTITIES[column.quantity].digits}f}"
    text = text.replace("inf", "∞")
    if with_n and row.n_images is not None:
        text += f" (n = {row.n_images:,})"
    return _Cell(text, bold=(method, column) in table.best, marked=not row.verified)


def _notes(table: Table) -> list[str]:
    """What the marks mean, what the protocols are, where published numbers come from."""
    rows = [
        (method, table.cells[method, column])
        for method in table.methods
        for column in table.columns
        if (method, column) in table.cells
    ]
    notes = []
    if any(not row.verified for _, row in rows):
        notes.append(f"† {_NOT_VERIFIED}; it does not compete for the best value.")
    notes += [
        f"{protocol}: {about}."
        for protocol in dict.fromkeys(column.protocol for column in table.columns)
        if (about := protocol_facts(protocol).get("about"))
    ]
    letters = _letters(table)
    notes += dict.fromkeys(
        f"{column.protocol}, {letters.get(column.settings, 'settings')}: {column.settings}."
        for column in table.columns
        if column.settings
    )
    cited: dict[tuple[str, str], dict[str, None]] = {}
    for method, row in rows:
        if row.citation:
            cited.setdefault((row.citation, row.column.source), {})[method] = None
    notes += [f"{'; '.join(m)}: {citation} ({source})." for (citation, source), m in cited.items()]
    remarks = dict.fromkeys((method, row.note) for method, row in rows if row.note)
    return notes + [f"{method}: {note}." for method, note in remarks]


def _computed(protocol: str) -> tuple[str, str, str]:
    """Colour space, rounding and kind of SSIM."""
    if metric := METRICS.get(protocol):
        return metric.color_space, metric.rounding, metric.ssim_kind
    facts = protocol_facts(protocol)
    return facts.get("color_space", ""), facts.get("rounding", ""), facts.get("ssim_kind", "")


def _yes(condition: bool) -> str:
    return "true" if condition else "false"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "†": r"$^\dagger$", "–": "--", "∞": r"$\infty$",
    "×": r"$\times$", "≥": r"$\geq$", "…": r"\ldots{}",
}  # fmt: skip


def _latex(text: str) -> str:
    return " ".join("".join(_LATEX.get(c, c) for c in text).split())
