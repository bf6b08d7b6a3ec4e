"""Records without scores of images, as a table: trainings, restorings, measurements of speed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gopro_tools.errors import InputError
from gopro_tools.files import named_below
from gopro_tools.records import RUN_FILE, RunRecord, read_record
from gopro_tools.report.content import Curve, RunView

_SHOWN_ELSEWHERE = ("evaluate", "detect")
_LOG_FILE = "log.jsonl"
_VALIDATION, _BLURRED = "validation_psnr_rgb_db", "validation_blurred_psnr_rgb_db"


def read_runs(folder: Path) -> list[RunView]:
    """Records of runs in and below a folder, oldest first; those of other programs are skipped."""
    runs: list[RunView] = []
    for path in sorted(named_below(folder, RUN_FILE)):
        parts = path.relative_to(folder).parts
        if any(part.endswith(".partial") for part in parts):
            continue
        try:
            record = read_record(path.parent)
        except InputError as error:
            if isinstance(error.__cause__, OSError):
                raise
            continue  # JSON of another program
        if record.suite not in _SHOWN_ELSEWHERE:
            runs.append(_view(record, path.parent))
    return sorted(runs, key=lambda run: run.facts["made (UTC)"])


def _view(record: RunRecord, folder: Path) -> RunView:
    data = record.dataset or {}
    where = (data.get("name"), data.get("split"), data.get("resolution"))
    n_images = data.get("n_pairs")
    seconds = "; ".join(f"{what} {value:.6g}" for what, value in record.timings_s.items())
    machine = record.machine
    return RunView(
        facts={
            "run": record.suite,
            "method": record.method or ", ".join(record.methods),
            "scale": record.scale or "",
            "images": " ".join(filter(None, (*where, n_images and f"({n_images} images)"))),
            "results": "; ".join(_flat(record.results)),
            "seconds": seconds,
            "weights": (record.weights_sha256 or "")[:12],
            "machine": ", ".join(machine.get("gpus") or filter(None, [machine.get("cpu")])),
            "made (UTC)": record.made_utc[:19].replace("T", " "),
        },
        curve=_curve(record, folder),
    )


def _flat(results: Mapping[str, Any]) -> list[str]:
    """``name value`` of each number; nested or long values have pages of their own."""
    numbers = {name: v for name, v in results.items() if isinstance(v, int | float)}
    return [f"{name} {value:.6g}" for name, value in numbers.items() if value is not True]


def _curve(record: RunRecord, folder: Path) -> Curve | None:
    """Gain on the validation images over the steps of a training, where it was validated."""
    path = folder / _LOG_FILE
    if record.suite != "train" or not path.is_file():
        return None
    entries = _entries(path.read_text(encoding="utf-8", errors="replace").splitlines())
    points = [
        (float(entry["step"]), float(entry[_VALIDATION]) - float(entry[_BLURRED]))
        for entry in entries
        if {"step", _VALIDATION, _BLURRED} <= entry.keys()
    ]
    return Curve(label=folder.name, points=points) if len(points) > 1 else None


def _entries(lines: Sequence[str]) -> list[dict[str, Any]]:
    """The complete lines: an interrupted run leaves half a line."""
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries
