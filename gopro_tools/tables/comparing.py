"""Which numbers belong in one table: measured ones in comparable sets, published ones beside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.shape import config_from, path_from
from gopro_tools.shown import ShownResult
from gopro_tools.tables.config import Format, TablesConfig
from gopro_tools.tables.model import Row, Table, plain_name, table_of
from gopro_tools.tables.published import published_rows
from gopro_tools.tables.reading import Run, runs_below
from gopro_tools.tables.rendering import to_csv, to_latex, to_markdown
from gopro_tools.threads import Progress

if TYPE_CHECKING:
    import pandas as pd

_FORMATS: Mapping[str, Format] = MappingProxyType(
    {"": "md", ".md": "md", ".markdown": "md", ".txt": "md", ".csv": "csv", ".tex": "latex"}
)
_MOST_COLUMNS = 8
"""With published numbers, metrics that have none are left out of a table wider than this."""


@dataclass(frozen=True, kw_only=True)
class Comparison(ShownResult):
    """Tables of comparable numbers."""

    tables: tuple[Table, ...]
    problems: tuple[str, ...] = ()
    """What could not be used, with the reason."""
    remarks: tuple[str, ...] = ()
    """What was left out on purpose."""

    def to_dataframe(self) -> "pd.DataFrame":
        """One row per number, with everything that decides it."""
        import io

        import pandas as pd

        return pd.read_csv(io.StringIO(self.to_csv()), keep_default_na=False)

    def to_csv(self) -> str:
        """One line per number, at full precision, with everything that decides it."""
        return to_csv(*self.tables)

    def to_markdown(self, *, methods_as: str = "rows") -> str:
        """GitHub tables; ``methods_as`` is ``rows`` or ``columns``."""
        return "\n".join(to_markdown(table, methods_as=methods_as) for table in self.tables)

    def to_latex(self, *, methods_as: str = "rows") -> str:
        """Tables for the package booktabs; ``methods_as`` is ``rows`` or ``columns``."""
        return "\n".join(to_latex(table, methods_as=methods_as) for table in self.tables)

    def written_as(self, form: Format, *, methods_as: str = "rows") -> str:
        """The tables in one of the formats of files."""
        if form == "csv":
            return self.to_csv()
        render = self.to_latex if form == "latex" else self.to_markdown
        return render(methods_as=methods_as)

    def _repr_html_(self) -> str:
        """What a notebook shows: each table, with methods in rows."""
        return "".join(_frame_of(table).to_html(na_rep="–") for table in self.tables)


def format_of(out: Path | None) -> Format:
    """The format that a file's suffix asks for; Markdown by default.

    Raises:
        InputError: The suffix is of another kind of file.
    """
    suffix = out.suffix.lower() if out else ""
    if suffix not in _FORMATS:
        raise InputError(f"{out}: .md, .csv or .tex was expected, or --format beside it.")
    return _FORMATS[suffix]


def compare(
    results: Path | str | Sequence[Path | str],
    config: TablesConfig | None = None,
    *,
    out: Path | str | None = None,
    on_progress: Progress | None = None,
) -> Comparison:
    """Put results of evaluate and detect, and published numbers, into tables.

    Several OUT folders named directly make one table, and what cannot be compared is refused. In a
    folder that contains runs, such as ``results``, every set of comparable numbers makes its own
    table.

    Args:
        results: One or more OUT folders of evaluate and detect, or folders with such folders in
            them.
        config: Which numbers to show.
        out: File for the tables; ``.md``, ``.csv`` or ``.tex`` chooses the format.
        on_progress: Called with the number of folders read and in total.

    Raises:
        InputError: There is nothing to show, or results that cannot be compared were named for one
            table.
    """
    folders = [results] if isinstance(results, str | Path | ShownResult) else list(results)
    if any(isinstance(folder, ShownResult) for folder in folders):
        raise InputError(
            "compare reads what evaluate and detect wrote: give them out=DIR, and DIR to compare."
        )
    config = config_from(TablesConfig, config)
    comparison = _compared([path_from(one, "results") for one in folders], config, on_progress)
    if out is not None:
        out = path_from(out, "out")
        write_atomic(out, comparison.written_as(format_of(out)))
    return comparison


def _compared(
    results: Sequence[Path], config: TablesConfig, on_progress: Progress | None
) -> Comparison:
    if not results and not (config.published or config.all):
        raise InputError("Name at least one folder with results, or --published, or both.")
    found = []
    for n_done, path in enumerate(results, start=1):
        found.append(runs_below(path))
        if on_progress:
            on_progress(n_done, len(results))
    runs = [run for one in found for run in one.runs]
    problems = [problem for one in found for problem in one.problems]
    named = {path if path.is_dir() else path.parent for path in results}
    alone = all(run.folder in named for run in runs)
    rows = [row for run in runs for row in run.rows]
    kept = [row for row in rows if _is_wanted(row, config)]
    if rows and not kept:
        raise InputError(f"None of {len(rows)} measured number(s) is left: {_what_there_is(rows)}.")
    tables: list[Table] = []
    remarks: list[str] = []
    groups = [runs] if alone or config.separate else _comparable_sets(runs)
    for group in groups:
        measured = [row for run in group for row in run.rows if _is_wanted(row, config)]
        if not measured:
            continue
        beside: list[Row] = []
        if config.published or config.all:
            beside = [row for row in _comparable(group, measured) if _is_wanted(row, config)]
            if beside:
                measured, left_out = _narrowed(measured, beside, config)
                remarks += [*left_out, *_only_a_part(measured, beside)]
            else:
                remarks.append(f"No published numbers are comparable with {_title(group)}.")
        try:
            tables.append(table_of([*measured, *beside], separate=config.separate))
        except InputError as error:
            if len(groups) == 1:
                raise
            problems.append(str(error))
    if config.all or not results:
        tables += _leaderboards([row for row in published_rows() if _is_wanted(row, config)])
    if not tables:
        raise InputError("\n".join(problems) or "No published number is left.")
    return Comparison(tables=tuple(tables), problems=tuple(problems), remarks=tuple(remarks))


def _is_wanted(row: Row, config: TablesConfig) -> bool:
    column = row.column
    return (
        (not config.metrics or bool({column.quantity, column.protocol} & set(config.metrics)))
        and (not config.methods or plain_name(row.method) in map(plain_name, config.methods))
        and config.dataset in (None, column.dataset)
        and config.split in (None, column.split)
        and config.blur_kind in (None, column.blur_kind)
    )


def _comparable_sets(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs grouped by their images and the scale of their methods, in the order found.

    Detections with several detectors or thresholds on the same images are sets of their own.
    """

    def base(run: Run) -> tuple[str, ...]:
        return run.rows[0].column.dataset_sha256, run.scale

    settings: dict[tuple[str, ...], set[str]] = {}
    for run in runs:
        settings.setdefault(base(run), set()).update({run.settings} - {""})
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        key = base(run)
        groups.setdefault((*key, run.settings) if len(settings[key]) > 1 else key, []).append(run)
    return list(groups.values())


def _comparable(group: Sequence[Run], measured: Sequence[Row]) -> list[Row]:
    """Published numbers on the same public dataset, kind of blur and resolution, by protocol."""
    protocols = {row.column.protocol for row in measured}
    kinds = {
        ((run.record.dataset or {}).get("family"), row.column.blur_kind, row.column.resolution)
        for run in group
        for row in run.rows
    }
    return [
        row
        for row in published_rows()
        if row.column.source == "published"
        and row.column.protocol in protocols
        and any(
            (family, kind) == (row.column.dataset, row.column.blur_kind)
            and row.column.resolution in ("", resolution)
            for family, kind, resolution in kinds
        )
    ]


def _narrowed(
    measured: list[Row], beside: Sequence[Row], config: TablesConfig
) -> tuple[list[Row], list[str]]:
    """Drop the protocols that have no published numbers, if the table would be too wide."""
    if config.metrics or len({row.column for row in [*measured, *beside]}) <= _MOST_COLUMNS:
        return measured, []
    known = {row.column.protocol for row in beside}
    dropped = dict.fromkeys(
        row.column.protocol for row in measured if row.column.protocol not in known
    )
    return [row for row in measured if row.column.protocol in known], [
        f"Left out, as no comparable numbers are published: {', '.join(dropped)}. Name metrics "
        "with --metrics to see them."
    ]


def _only_a_part(measured: Sequence[Row], beside: Sequence[Row]) -> list[str]:
    """A warning where the published numbers are means over more images."""
    n_measured = max(row.n_images or 0 for row in measured)
    n_published = max((row.n_images or 0 for row in beside), default=0)
    if n_measured >= n_published:
        return []
    return [
        f"Measured on {n_measured:,} images, published over {n_published:,}: compare with care, as "
        "part of a dataset may be easier or harder than the whole."
    ]


def _leaderboards(rows: Sequence[Row]) -> list[Table]:
    """Published numbers alone, one table per dataset, kind of blur and resolution."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    key: Callable[[Row], tuple[str, ...]] = lambda row: (  # noqa: E731
        row.column.dataset,
        row.column.blur_kind,
        row.column.resolution,
    )
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [table_of(group) for group in groups.values()]


def _title(group: Sequence[Run]) -> str:
    column = group[0].rows[0].column
    parts = (column.dataset, column.split, column.blur_kind, column.resolution)
    return " ".join(filter(None, parts))


def _what_there_is(rows: Sequence[Row]) -> str:
    texts = {"method": {row.method for row in rows}} | {
        what: {getattr(row.column, what) for row in rows} - {""}
        for what in ("quantity", "protocol", "dataset", "split", "blur_kind")
    }
    return "; ".join(f"{what} {', '.join(sorted(all_)) or 'none'}" for what, all_ in texts.items())


def _frame_of(table: Table) -> "pd.DataFrame":
    import pandas as pd

    names = {
        column: f"{column.protocol} ({column.source})"
        if column.source != "measured"
        else column.protocol
        for column in table.columns
    }
    return pd.DataFrame(
        {
            names[column]: [
                row.value if (row := table.cells.get((method, column))) else float("nan")
                for method in table.methods
            ]
            for column in table.columns
        },
        index=pd.Index(table.methods, name="method"),
    )
