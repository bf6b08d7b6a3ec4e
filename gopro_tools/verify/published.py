"""What the files beside the images promise: finished, unchanged, and true in every column."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from gopro_tools.dataset import SPLITS, SequenceName
from gopro_tools.findings import Finding
from gopro_tools.seal import DATASET_FILE, STATE_FOLDERS, changed_files, read_seal
from gopro_tools.text import plain_cell, printable
from gopro_tools.verify.folders import KINDS, MANIFEST, ImageSet, Key, Manifest

_WHOLE = ("frame_start", "frame_stop", "middle_frame", "n_frames", "height", "width")
_REAL = ("time_start_s", "time_middle_s", "time_stop_s", "sharpness")
_LONGEST_SHARE = 1.5
"""Times the usual exposure: a window's frames span at most this much."""


def check_state(root: Path) -> Iterator[Finding]:
    """Datasets that are still being made, or were never finished."""
    for name in STATE_FOLDERS:
        if (root / name).exists():
            message = (
                f"the dataset is unfinished: {name} is there. Run the command that makes it again, "
                "which resumes"
            )
            yield Finding("error", "unfinished", message)


def check_seal(
    root: Path, manifest: Manifest | None, images: Iterable[ImageSet]
) -> Iterator[Finding]:
    """Whether `DATASET_FILE` is intact, and agrees with what is there."""
    seal = read_seal(root)
    if seal.state == "damaged":
        message = f"{DATASET_FILE} is empty or cut short, so the origin of the dataset is unknown"
        yield Finding("error", "seal", message)
    if seal.state == "none" and manifest and "source" in next(iter(manifest.values())):
        message = f"there is a {MANIFEST} and no {DATASET_FILE}: unfinished, or it was deleted"
        yield Finding("error", "unfinished", message)
    if not seal.is_ours:
        return
    if seal.state == "changed":
        yield Finding("error", "seal", f"{DATASET_FILE} was changed since it was written")
    changes = changed_files(root, seal)
    if not (root / MANIFEST).is_file():
        changes[MANIFEST] = "missing"
    for name, what in changes.items():
        yield Finding("error", "seal", f"{name} is {what}; {DATASET_FILE} was written for another")
    record = seal.record
    if isinstance(promised := record.get("n_pairs"), dict):
        found = Counter(image.split for image in images)
        for split in SPLITS:
            if promised.get(split, 0) != found[split]:
                message = (
                    f"{split} has {found[split]} pair(s), {DATASET_FILE} promises "
                    f"{promised.get(split, 0)}"
                )
                yield Finding("error", "missing", message)
    config = _mapping(_mapping(record.get("identity")).get("config"))
    if isinstance(kinds := config.get("kinds"), list):
        there = {kind for image in images for kind in image.kinds}
        for kind in sorted(set(kinds) & set(KINDS) - there):
            yield Finding("error", "missing", f"no image of {kind}, which {DATASET_FILE} promises")
    if manifest:
        yield from _check_origin(manifest, record, config)


def _check_origin(
    manifest: Manifest, record: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[Finding]:
    """Columns that must agree with `DATASET_FILE`."""
    sources = {str(s.get("name")): s for s in record.get("sources") or () if isinstance(s, dict)}
    for key, row in manifest.items():
        response = config.get("response")
        if response is not None and row.get("response") != response:
            message = f"{MANIFEST} says response {row.get('response')}, {DATASET_FILE} {response}"
            yield Finding("error", "manifest", message, *key)
        if not sources or "source" not in row:
            continue
        source = sources.get(plain_cell(row["source"]))
        if source is None or key[1] not in (source.get("sequences") or ()):
            message = f"{MANIFEST} says source {printable(row['source'])}, {DATASET_FILE} another"
            yield Finding("error", "manifest", message, *key)
            continue
        rate_hz, n_frames = source.get("rate_hz"), _number(row.get("n_frames", ""))
        times = [_number(row.get(name, "")) for name in ("time_start_s", "time_stop_s")]
        if isinstance(rate_hz, int | float) and rate_hz > 0 and n_frames and None not in times:
            expected_s, found_s = n_frames / rate_hz, (times[1] or 0.0) - (times[0] or 0.0)
            if not expected_s / _LONGEST_SHARE < found_s < expected_s * _LONGEST_SHARE:
                message = (
                    f"{MANIFEST} says an exposure of {found_s:.4f} s; {n_frames:g} frames at "
                    f"{rate_hz:g} Hz take {expected_s:.4f} s"
                )
                yield Finding("error", "manifest", message, *key)


def check_rows(manifest: Manifest | None) -> Iterator[Finding]:
    """Columns that must agree with each other and with the name of the sequence."""
    for key, row in (manifest or {}).items():
        for problem in _row_problems(key, row):
            yield Finding("error", "manifest", f"{MANIFEST}: {problem}", *key)
    ordered = sorted(manifest or {})
    for before, after in pairwise(ordered):
        if before[:2] != after[:2]:
            continue
        for column in ("frame_start", "time_start_s", "time_middle_s", "time_stop_s"):
            first, second = (_number((manifest or {})[k].get(column, "")) for k in (before, after))
            if first is not None and second is not None and not first < second:
                message = f"{MANIFEST}: {column} {second:g} does not follow {first:g}"
                yield Finding("error", "manifest", message, *after)


def _row_problems(key: Key, row: Mapping[str, str]) -> Iterator[str]:
    values: dict[str, float] = {}
    for column in (*_WHOLE, *_REAL):
        if column not in row:
            continue
        value = _number(row[column])
        if value is None or (column in _WHOLE and not row[column].isdecimal()):
            yield f"{column} is {printable(row[column])!r}, which is not a number"
        else:
            values[column] = value
    start, stop, middle = (values.get(c) for c in ("frame_start", "frame_stop", "middle_frame"))
    n_frames = values.get("n_frames")
    parsed = SequenceName.parse(key[1])
    if n_frames is not None and parsed is not None and parsed.n_frames != n_frames:
        yield f"n_frames is {n_frames:g}, the sequence is named for {parsed.n_frames}"
    if start is not None and stop is not None:
        if n_frames is not None and stop - start != n_frames:
            yield f"frames {start:g} to {stop:g} are not {n_frames:g}"
        if middle is not None and middle != start + (stop - start) // 2:
            yield f"middle_frame is {middle:g}, of frames {start:g} to {stop:g}"
    times = [values[c] for c in _REAL[:3] if c in values]
    if any(not before < after for before, after in pairwise(times)):
        yield f"its times are not in order: {', '.join(f'{time:g}' for time in times)}"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
