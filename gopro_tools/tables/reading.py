"""Rows from what the other commands leave behind, and from the published numbers."""

import csv
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from gopro_tools.errors import InputError
from gopro_tools.metrics import METRICS
from gopro_tools.pairing import BLURRED, SHARP
from gopro_tools.tables.model import QUANTITIES, SOURCES, Column, Row, quantity_of

PUBLISHED_FILE = Path(__file__).resolve().parent.parent / "published.toml"

_SUMMARY_COLUMNS = ("method", "metric", "mean", "n_images", "blur_kind", "dataset", "split")
_DETECTION_SCORES = ("precision", "recall", "f1", "ap50", "map50_95")
_DETECTION_COLUMNS = ("method", *_DETECTION_SCORES, "n_images", "blur_kind", "dataset", "split")
_DECIDES_NOTHING = (
    "tp", "fp", "fn", "n_references", "protocol", "source", "ap75", "runtime", "interval",
    "per_image_rules", "left_out",
)  # fmt: skip
_DERIVED = ("_low", "_high", "_per_image", "_minus_blurred")


def rows_of(path: Path) -> list[Row]:
    """Every number below a folder.

    A folder is one of `gopro_tools.evaluate` (``summary.csv``), of `gopro_tools.detect`
    (``detection.csv``), a run record (``run.json``, with ``per_image.csv`` beside it), or has such
    folders somewhere in it. Unfinished runs (``….partial``) are passed over.

    Args:
        path: An OUT folder, ``results/runs``, or one of the three files itself.

    Raises:
        InputError: There is nothing of the kind, or a file is not what its name says.
    """
    if not path.exists():
        raise InputError(
            f"{path}: not there; an OUT folder of evaluate or detect or a run record was expected."
        )
    folders = [path.parent] if path.is_file() else sorted({f.parent for f in _files_below(path)})
    rows: list[Row] = []
    for folder in folders:
        found: list[Row] = []
        for name, read in (("summary.csv", _summary_rows), ("detection.csv", _detection_rows)):
            if (folder / name).is_file():
                found += read(folder / name)
        # Where evaluate or detect wrote into a run's folder, run.json only adds the scale.
        record = _read_record(folder / "run.json")
        rows += [_scaled(row, record) for row in found or _record_rows(folder, record)]
    if not rows:
        raise InputError(
            f"{path}: neither in it nor below it is a summary.csv of evaluate, a detection.csv of "
            "detect or a run record with scores."
        )
    return rows


def published_rows(path: Path = PUBLISHED_FILE) -> list[Row]:
    """Every published number, in the file's order.

    Raises:
        InputError: An entry is incomplete, or its metric, protocol or citation is not there.
    """
    data = _read_toml(path)
    rows: list[Row] = []
    for index, table in enumerate(data["tables"], start=1):
        try:
            rows += _published_table(data, table)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: [[tables]] number {index} cannot be used: {error}."
            ) from error
    return [replace(row, origin=path.name) for row in rows]


def protocol_facts(protocol: str) -> Mapping[str, str]:
    """What ``published.toml`` says of a protocol: about, color_space, rounding, ssim_kind."""
    facts: Mapping[str, str] = _read_toml(PUBLISHED_FILE)["protocols"].get(protocol, {})
    return facts


def _files_below(folder: Path) -> Iterator[Path]:
    for name in ("summary.csv", "detection.csv", "run.json"):
        for path in folder.rglob(name):
            if not any(part.endswith(".partial") for part in path.relative_to(folder).parts):
                yield path


def _summary_rows(path: Path) -> Iterator[Row]:
    for line in _read_csv(path, _SUMMARY_COLUMNS):
        quantity = quantity_of(line["metric"])
        if quantity is None:
            raise InputError(f"{path}: metric {line['metric']!r} is not known here.")
        left_out = int(line.get("n_missing") or 0)
        yield Row(
            method=line["method"],
            column=Column(
                quantity=quantity,
                protocol=line["metric"],
                dataset=line["dataset"],
                split=line["split"],
                blur_kind=line["blur_kind"],
                resolution=line.get("resolution") or "",
            ),
            value=_number(path, line, "mean"),
            n_images=int(_number(path, line, "n_images")),
            note=f"{left_out} images that some method lacks are left out" if left_out else "",
            origin=str(path),
        )


def _detection_rows(path: Path) -> Iterator[Row]:
    for line in _read_csv(path, _DETECTION_COLUMNS):
        # Whatever is not a result decides the result: detector, thresholds, classes, references.
        settings = ", ".join(
            f"{key} {value[:12] if key == 'weights_sha256' else value}"
            for key, value in line.items()
            if value
            and key not in _DETECTION_COLUMNS
            and key not in _DECIDES_NOTHING
            and not any(part in key for part in _DERIVED)
        )
        for score in _DETECTION_SCORES:
            yield Row(
                method=line["method"],
                column=Column(
                    quantity=score,
                    protocol=line.get("protocol") or "unstated",
                    settings=settings,
                    dataset=line["dataset"],
                    split=line["split"],
                    blur_kind=line["blur_kind"],
                ),
                value=_number(path, line, score),
                n_images=int(_number(path, line, "n_images")),
                note=line.get("left_out") or "",
                origin=str(path),
            )


def _read_record(path: Path) -> Mapping[str, Any]:
    """A run record, or nothing where there is none (evaluate's own run.json is none)."""
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a run record ({error}).") from error
    return record if isinstance(record, dict) and {"suite", "method"} <= record.keys() else {}


def _record_rows(folder: Path, record: Mapping[str, Any]) -> Iterator[Row]:
    """Means over ``per_image.csv``, the truth of a run; other scores are the record's own.

    Of image metrics alone: what else a run wrote there may not be a mean over images.
    """
    dataset = record.get("dataset") or {}
    if not isinstance(dataset, dict) or "name" not in dataset:
        return  # a run without a dataset, such as one about speed, has no scores
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    path = folder / "per_image.csv"
    if path.is_file():
        for line in _read_csv(path, ("sequence", "name")):
            for metric in line:
                if metric in METRICS and line[metric]:
                    method = line.get("method") or str(record["method"])
                    values[method, metric].append(_number(path, line, metric))
    n_images = dataset.get("n_pairs")
    means: dict[tuple[str, str], tuple[float, int | None]]
    means = {key: (sum(v) / len(v), len(v)) for key, v in values.items()}
    for key, value in (record.get("results") or {}).items():
        metric = key.removesuffix("_db")
        stated = (str(record["method"]), metric)
        if metric in METRICS and isinstance(value, int | float) and stated not in means:
            means[stated] = (float(value), n_images)
    for (method, metric), (mean, n) in means.items():
        quantity = quantity_of(metric)
        assert quantity is not None
        yield Row(
            method=method,
            column=Column(
                quantity=quantity,
                protocol=metric,
                dataset=dataset["name"],
                split=dataset.get("split") or "",
                blur_kind=dataset.get("blur_kind") or "unstated",
                resolution=dataset.get("resolution") or "",
            ),
            value=mean,
            n_images=n,
            origin=str(folder / "run.json"),
        )


def _scaled(row: Row, record: Mapping[str, Any]) -> Row:
    """A method trained with less than the paper's effort is another method, and says so."""
    scale = record.get("scale", "full")
    if scale == "full" or row.method in (SHARP, BLURRED):
        return row
    return replace(row, method=f"{row.method} ({scale})")


def _published_table(data: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[Row]:
    source = table.get("source", "published")
    if source not in SOURCES[1:]:
        raise ValueError(f"source {source!r} is none of {', '.join(SOURCES[1:])}")
    if not isinstance(table["verified"], bool):
        raise ValueError("verified must be true or false")
    for method, entry in table["rows"].items():
        scores = {name: value for name, value in entry.items() if name != "citation"}
        for name, value in scores.items():
            quantity = quantity_of(name)
            protocol = table.get("protocol", name)
            if quantity is None:
                raise ValueError(f"{name!r} is none of {', '.join(QUANTITIES)}")
            if protocol not in METRICS and protocol not in data["protocols"]:
                raise ValueError(f"protocol {protocol!r} is not described")
            yield Row(
                method=method,
                column=Column(
                    quantity=quantity,
                    protocol=protocol,
                    settings=table.get("settings", ""),
                    dataset=table["dataset"],
                    split=table.get("split", ""),
                    blur_kind=table["blur_kind"],
                    resolution=table.get("resolution", ""),
                    source=source,
                ),
                value=float(value),
                printed=str(value),
                n_images=table.get("n_images"),
                verified=table["verified"],
                citation=data["citations"][entry.get("citation", table.get("citation"))],
                note=table.get("notes", {}).get(method, ""),
            )


@lru_cache(maxsize=4)
def _read_toml(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file, parse_float=Decimal)  # 0.9100 stays 0.9100
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error}).") from error


def _read_csv(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            lines = list(reader)
            absent = [name for name in columns if name not in (reader.fieldnames or ())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error}).") from error
    if absent:
        raise InputError(f"{path}: no column {', '.join(absent)}; is it of another program?")
    if any(None in line or None in line.values() for line in lines):
        raise InputError(f"{path}: a line has more or fewer cells than the header; is it complete?")
    return lines


def _number(path: Path, line: Mapping[str, str], column: str) -> float:
    """A number; an empty cell is one that is not defined."""
    try:
        return float(line[column] or "nan")
    except ValueError as error:
        raise InputError(f"{path}: {column} of {line} is not a number.") from error
