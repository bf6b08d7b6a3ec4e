"""Rows from the records that evaluate and detect leave."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gopro_tools.errors import InputError
from gopro_tools.faults import reason_of
from gopro_tools.files import named_below
from gopro_tools.records import (
    FIRST_FORMAT,
    RUN_FILE,
    RunRecord,
    check_files,
    read_record,
)
from gopro_tools.shape import fits
from gopro_tools.tables.model import Column, Row, quantity_of
from gopro_tools.text import read_csv

_SUMMARY_COLUMNS = ("method", "metric", "mean", "n_images")
_DETECTION_SCORES = ("precision", "recall", "f1", "ap50", "map50_95")
_DETECTION_COLUMNS = ("method", *_DETECTION_SCORES, "n_images")
_DECIDES_NOTHING = (
    "protocol", "dataset", "dataset_sha256", "split", "blur_kind", "resolution", "runtime",
    "interval", "per_image_rules", "left_out",
)  # fmt: skip
_IDENTITY = ("name", "content_sha256", "split", "blur_kind", "resolution")
"""What a record says about its dataset, each as text."""
_COSTS = {"n_parameters": ("parameters_m", 1e-6, ""), "n_macs": ("macs_g", 1e-9, "1280x720")}
"""What a method's record says about its cost: quantity, factor, and size of the image."""
_SCORE_FILES = {"summary.csv": "evaluate", "detection.csv": "detect"}
"""Files with scores, and the command that writes each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The numbers of one evaluation or detection."""

    folder: Path
    record: RunRecord
    rows: tuple[Row, ...]

    @property
    def scale(self) -> str:
        """Scale of its methods, where it has one; several are joined."""
        return "+".join(sorted({row.scale for row in self.rows if row.scale}))

    @property
    def settings(self) -> str:
        """Detector and thresholds; empty for an evaluation."""
        return self.rows[0].column.settings if self.record.suite == "detect" else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What lies in and below a folder."""

    runs: tuple[Run, ...]
    problems: tuple[str, ...]
    """One message per folder whose scores cannot be used."""


def runs_below(path: Path) -> Found:
    """Every evaluation and detection in a folder and below it.

    Only what has a record counts: ``run.json`` is written last, and holds the hashes of the tables
    beside it. Records of other kinds (trainings, timings) have no scores and are skipped, as
    are unfinished runs (``….partial``).

    Args:
        path: An OUT folder, ``results/runs``, or a file in an OUT folder.

    Raises:
        InputError: There is no such folder, or nothing of the kind in it.
    """
    if not path.exists():
        raise InputError(
            f"{path}: not there; an OUT folder of evaluate or detect was expected, or a folder "
            "with such folders in it."
        )
    start = path.parent if path.is_file() else path
    runs: list[Run] = []
    problems: list[str] = []

    def left_out(error: OSError) -> None:
        problems.append(reason_of(error))

    for folder in _folders_with_scores(start, left_out):
        if path.is_file() and folder != start:
            continue
        try:
            run = _read_run(folder)
        except (InputError, OSError) as error:
            problems.append(reason_of(error))
        else:
            runs += [run] if run else []
    if not runs and not problems:
        raise InputError(
            f"{path}: no scores in it or below it. `python -m gopro_tools.evaluate` and `python -m "
            f"gopro_tools.detect` leave folders with a {RUN_FILE} that tables can be made of."
        )
    return Found(runs=tuple(runs), problems=tuple(problems))


def rows_of(path: Path) -> list[Row]:
    """Every number in and below a folder.

    Raises:
        InputError: As `runs_below`; or scores there cannot be used (all are listed).
    """
    found = runs_below(path)
    if found.problems:
        raise InputError("\n".join(found.problems))
    return [row for run in found.runs for row in run.rows]


def _folders_with_scores(folder: Path, on_error: Callable[[OSError], None]) -> list[Path]:
    names = (RUN_FILE, *_SCORE_FILES)
    found = {path.parent for path in named_below(folder, *names, on_error=on_error)}
    return sorted(
        place
        for place in found
        if not any(part.endswith(".partial") for part in place.relative_to(folder).parts)
    )


def _read_run(folder: Path) -> Run | None:
    """The numbers of one folder; None for a record of another kind."""
    scores = [name for name in _SCORE_FILES if (folder / name).is_file()]
    if not (folder / RUN_FILE).is_file():
        scores = [name for name in scores if not _is_table(folder / name)]
        if not scores:
            return None
        raise InputError(
            f"{folder / scores[0]}: no {RUN_FILE} beside it, so the run that wrote it did not "
            f"finish or was of an earlier version. {_again(scores[0])}"
        )
    try:
        record = read_record(folder)
    except InputError as error:
        if not scores:
            return None  # JSON of another program, or a run without scores
        unread = isinstance(error.__cause__, OSError)
        raise InputError(str(error) if unread else f"{error} {_again(scores[0])}") from error
    if record.suite not in _SCORE_FILES.values():
        return None
    if record.format == FIRST_FORMAT or record.dataset is None:
        raise InputError(f"{folder / RUN_FILE}: does not say on which pixels it was measured.")
    facts = {"family": "", **record.dataset}
    if wrong := [name for name in (*_IDENTITY, "family") if not isinstance(facts.get(name), str)]:
        raise InputError(f"{folder / RUN_FILE}: its dataset has no {', '.join(wrong)} as text.")
    check_files(folder, record)
    read = _summary_rows if record.suite == "evaluate" else _detection_rows
    rows = tuple(read(folder, record))
    if not rows:
        raise InputError(f"{folder}: its table has no rows. Run {record.suite} again.")
    rows += tuple(_cost_rows(folder, record))
    return Run(folder=folder, record=record, rows=rows)


def _is_table(path: Path) -> bool:
    """Whether a file is one of our own tables, which may be called ``detection.csv`` too."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().startswith("method,metric,value,best,")


def _again(name: str) -> str:
    return f"Run `python -m gopro_tools.{_SCORE_FILES[name]}` again."


def _summary_rows(folder: Path, record: RunRecord) -> Iterator[Row]:
    path = folder / "summary.csv"
    left_out = record.results.get("n_missing") or 0
    for line in read_csv(path, _SUMMARY_COLUMNS):
        quantity = quantity_of(line["metric"])
        if quantity is None:
            raise InputError(f"{path}: metric {line['metric']!r} is not known here.")
        yield _row(
            path,
            record,
            line,
            quantity=quantity,
            protocol=line["metric"],
            settings=_text_in(record.results, "metrics", line["metric"], "settings"),
            value=_number(path, line, "mean"),
            note=f"{left_out} images that some method lacks are left out" if left_out else "",
        )


def _detection_rows(folder: Path, record: RunRecord) -> Iterator[Row]:
    path = folder / "detection.csv"
    of_detector: Any = record.results.get("settings")
    left_out: Any = record.results.get("left_out")
    known = isinstance(of_detector, Mapping) and fits(left_out, Sequence[str])
    if not known or not record.protocols:
        raise InputError(f"{folder / RUN_FILE}: it lacks the settings of the detection.")
    settings = ", ".join(
        f"{key} {str(value)[:12] if key == 'weights_sha256' else value}"
        for key, value in of_detector.items()
        if value not in (None, "") and key not in _DECIDES_NOTHING
    )
    for line in read_csv(path, _DETECTION_COLUMNS):
        for score in _DETECTION_SCORES:
            yield _row(
                path,
                record,
                line,
                quantity=score,
                protocol=record.protocols[0],
                settings=settings,
                value=_number(path, line, score),
                note="; ".join(left_out),
            )


def _cost_rows(folder: Path, record: RunRecord) -> Iterator[Row]:
    """Parameters and multiplications of the methods whose restoring recorded them."""
    dataset = record.dataset or {}
    for method, facts in record.methods.items():
        for figure, (quantity, scale, resolution) in _COSTS.items():
            value = facts.get(figure)
            if not isinstance(value, int | float):
                continue
            yield Row(
                method=method,
                column=Column(
                    quantity=quantity,
                    protocol=quantity,
                    dataset=dataset["name"],
                    dataset_sha256=dataset["content_sha256"],
                    split=dataset["split"],
                    blur_kind=dataset["blur_kind"],
                    resolution=resolution,
                ),
                value=value * scale,
                scale=facts.get("scale") or "",
                published_name=facts.get("published_name") or "",
                n_images=None,
                origin=str(folder),
            )


def _row(
    path: Path,
    record: RunRecord,
    line: Mapping[str, str],
    *,
    quantity: str,
    protocol: str,
    value: float,
    note: str,
    settings: str = "",
) -> Row:
    dataset = record.dataset or {}
    method = record.methods.get(line["method"], {})
    start = f"{line['method']}: "
    doubts = [
        text.removeprefix(start).rstrip(".") for text in record.doubts if text.startswith(start)
    ]
    notes = [note, *(f"doubtful: {text}" for text in doubts)]
    return Row(
        method=line["method"],
        column=Column(
            quantity=quantity,
            protocol=protocol,
            settings=settings,
            dataset=dataset["name"],
            dataset_sha256=dataset["content_sha256"],
            split=dataset["split"],
            blur_kind=dataset["blur_kind"],
            resolution=dataset["resolution"],
        ),
        value=value,
        scale=method.get("scale") or "",
        published_name=method.get("published_name") or "",
        n_images=_count(path, line, "n_images"),
        note="; ".join(filter(None, notes)),
        origin=str(path),
    )


def _text_in(results: Mapping[str, Any], *keys: str) -> str:
    """A text inside the results of a record; empty where there is none."""
    value: Any = results
    for key in keys:
        value = value.get(key, "") if isinstance(value, Mapping) else ""
    return value if isinstance(value, str) else ""


def _count(path: Path, line: Mapping[str, str], column: str) -> int:
    value = line[column]
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise InputError(f"{path}: {column} of {line} is not a count.")
    return int(value)


def _number(path: Path, line: Mapping[str, str], column: str) -> float:
    """A number; NaN for an empty cell, where it is undefined."""
    try:
        return float(line[column] or "nan")
    except ValueError as error:
        raise InputError(f"{path}: {column} of {line} is not a number.") from error
