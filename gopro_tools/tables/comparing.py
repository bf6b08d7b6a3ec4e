"""Which numbers belong into one table: measured ones in comparable sets, published ones beside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gopro_tools.errors import InputError
from gopro_tools.shown import ShownResult
from gopro_tools.tables.model import Row, Table, plain_name, table_of
from gopro_tools.tables.published import published_rows
from gopro_tools.tables.reading import Run, runs_below
from gopro_tools.tables.rendering import to_csv, to_latex, to_markdown
from gopro_tools.threads import Progress

if TYPE_CHECKING:
    import pandas as pd

_MOST_COLUMNS = 8
"""With published numbers, metrics that have none are left out of a table wider than this."""


@dataclass(frozen=True, kw_only=True)
class TablesConfig:
    """Which numbers to show."""

    published: bool = False
    """Add the published numbers that are comparable with what was measured: on the same public
    dataset, kind of blur and protocol. Without results, show all published numbers."""
    all: bool = False
    """Add all published numbers, in tables of their own."""
    metrics: tuple[str, ...] = ()
    """Only these: psnr, ssim, lpips, vmaf, dists, niqe, blur_effect, tof, precision, recall, f1,
    ap50, map50_95, time_s, or a protocol such as ssim_gauss."""
    methods: tuple[str, ...] = ()
    """Only these methods, as the table names them; case, spaces and punctuation do not count."""
    dataset: str | None = None
    """Only numbers on this dataset, by its name."""
    split: str | None = None
    """Only numbers on this split."""
    blur_kind: str | None = None
    """Only numbers on this kind of blur: gamma or linear_crf."""
    separate: bool = False
    """One table of all results, with columns of their own for those that differ in dataset, split,
    kind of blur, resolution or settings; by default that is an error."""

    def wants(self, row: Row) -> bool:
        """Whether a number is asked for."""
        column = row.column
        return (
            (not self.metrics or bool({column.quantity, column.protocol} & set(self.metrics)))
            and (not self.methods or plain_name(row.method) in map(plain_name, self.methods))
            and self.dataset in (None, column.dataset)
            and self.split in (None, column.split)
            and self.blur_kind in (None, column.blur_kind)
        )


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

    def _repr_html_(self) -> str:
        """What a notebook shows: a table each, methods in rows."""
        return "".join(_frame_of(table).to_html(na_rep="–") for table in self.tables)


def compared(
    results: Sequence[Path],
    config: TablesConfig | None = None,
    on_progress: Progress | None = None,
) -> Comparison:
    """Put results of evaluate and detect, and published numbers, into tables.

    Several OUT folders that are named themselves make one table, and what cannot be compared is
    refused. Of a folder with runs in it, such as ``results``, every set of comparable numbers makes
    a table of its own.

    Args:
        results: OUT folders of evaluate and detect, or folders with such folders in them.
        config: Which numbers to show.
        on_progress: Called with the folders read and all.

    Raises:
        InputError: There is nothing to show, or unlike results were named for one table.
    """
    config = config or TablesConfig()
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
    kept = [row for row in rows if config.wants(row)]
    if rows and not kept:
        raise InputError(f"None of {len(rows)} measured number(s) is left: {_what_there_is(rows)}.")
    tables: list[Table] = []
    remarks: list[str] = []
    groups = [runs] if alone or config.separate else _comparable_sets(runs)
    for group in groups:
        measured = [row for run in group for row in run.rows if config.wants(row)]
        if not measured:
            continue
        beside: list[Row] = []
        if config.published or config.all:
            beside = [row for row in _comparable(group, measured) if config.wants(row)]
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
        tables += _leaderboards([row for row in published_rows() if config.wants(row)])
    if not tables:
        raise InputError("\n".join(problems) or "No published number is left.")
    return Comparison(tables=tuple(tables), problems=tuple(problems), remarks=tuple(remarks))


def _comparable_sets(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs by the images they are about and the scale of their methods, in the order found.

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
    """Without the protocols that have no published numbers, where the table would be too wide."""
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
        "a part of a dataset may be easier or harder than the whole."
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
    return "; ".join(
        f"{what} {', '.join(sorted({getattr(row.column, what) for row in rows} - {''})) or 'none'}"
        for what in ("quantity", "protocol", "dataset", "split", "blur_kind")
    )


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
