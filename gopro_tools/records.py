"""What was measured, and everything needed to judge it: one folder a run, never edited afterwards.

``<results>/runs/<suite>/<method>/<run-id>/run.json`` and whatever lies beside it (``per_image.csv``
above all). Tables and figures are pure functions of these folders. A folder without the suffix
``.partial`` is complete.
"""

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psutil

from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, BlurKind, Split, iterate_pairs
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key, sha256_of_file, write_atomic, written_whole
from gopro_tools.threads import n_cores

Scale = Literal["smoke", "reduced", "full"]

RUN_FILE = "run.json"
MANIFEST_FILE = "manifest.csv"

_PACKAGES = (
    "gopro-tools", "numpy", "scipy", "opencv-python", "numba", "av", "fpng", "scikit-image",
    "torch", "torchvision", "safetensors", "ultralytics", "onnxruntime", "lpips",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run: what was asked for, on what, by what, and what came out."""

    suite: str
    """What kind of run: train, restore, table1, detection, speed-metrics, ..."""
    method: str
    """What was measured, such as ``deepdeblur-k3``."""
    scale: Scale
    """How far from the paper's own effort: ``full`` is the paper's."""
    config: Mapping[str, Any]
    """The effective config (see `jsonable`)."""
    results: Mapping[str, Any]
    """Figures by name with unit: ``psnr_rgb_db``, ``patches_per_s``."""
    timings_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Seconds by what took them."""
    dataset: Mapping[str, Any] | None = None
    """What it ran on (see `dataset_facts`); None where no dataset was used."""
    weights_sha256: str | None = None
    """Hash of the weight file; None for methods without one."""
    protocols: Sequence[str] = ()
    """Names of the metric protocols behind ``results``."""
    seed: int | None = None
    """Of all that is random; None where nothing is."""
    source: Literal["measured"] = "measured"
    """Published numbers are no runs: they live in one file with their citations."""
    machine: Mapping[str, Any] = dataclasses.field(default_factory=lambda: machine_facts())
    """See `machine_facts`."""
    versions: Mapping[str, str] = dataclasses.field(default_factory=lambda: versions())
    """See `versions`."""
    code_revision: str | None = dataclasses.field(default_factory=lambda: code_revision())
    """See `code_revision`."""
    made_utc: str = dataclasses.field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    """When the record was made, ISO 8601."""

    @property
    def run_id(self) -> str:
        """Folder name: the time, and eight digits of the config's hash."""
        moment = "".join(c for c in self.made_utc.split("+")[0] if c not in "-:")
        return f"{moment}Z-{hash_of(self.config)[:8]}"


@contextmanager
def recorded_run(results: Path, record: RunRecord) -> Iterator[Path]:
    """Give a folder to put a run's files into; with its ``run.json`` it appears when all is there.

    Args:
        results: The folder above ``runs``.
        record: Goes into ``run.json``, and says where the folder lies: ``run_folder``.

    Yields:
        The unfinished folder, named ``….partial``.

    Raises:
        InputError: The run is recorded already.
    """
    folder = run_folder(results, record)
    if folder.exists():
        raise InputError(f"{folder}: this run is recorded already; records are never overwritten.")
    with written_whole(folder) as partial:
        yield partial
        write_atomic(partial / RUN_FILE, to_json(record))


def run_folder(results: Path, record: RunRecord) -> Path:
    """``<results>/runs/<suite>/<method>/<run-id>``."""
    return results / "runs" / record.suite / record.method / record.run_id


def read_record(folder: Path) -> RunRecord:
    """The record of one run folder.

    Raises:
        InputError: There is no ``run.json``, or it is not one of ours.
    """
    path = folder / RUN_FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return RunRecord(**stored)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a complete run record ({error}).") from error


def iterate_runs(results: Path, suite: str) -> Iterator[tuple[Path, RunRecord]]:
    """Complete runs of a suite: by method in natural order, then oldest first."""
    found = (results / "runs" / suite).glob(f"*/*/{RUN_FILE}")
    folders = (path.parent for path in found if path.parent.suffix != ".partial")
    for folder in sorted(folders, key=lambda path: (natural_key(path.parent.name), path.name)):
        yield folder, read_record(folder)


def jsonable(value: Any) -> Any:
    """Plain lists, dicts, numbers and strings of anything a config or a result is made of.

    A path keeps its last part alone: records are published, and folders above it are nobody's
    business. A float that JSON cannot hold (NaN, infinity) becomes a string.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, Path):
        return value.name
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Sequence | set | frozenset):
        items = [jsonable(item) for item in value]
        return sorted(items) if isinstance(value, set | frozenset) else items
    if hasattr(value, "tolist"):  # numpy and torch
        return jsonable(value.tolist())
    raise TypeError(f"a {type(value).__name__} does not belong into a record: {value!r}")


def to_json(value: Any) -> str:
    """The one JSON form of records: indented, in the order given, newline at the end."""
    return json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def hash_of(value: Any) -> str:
    """SHA-256 of a config's JSON with sorted keys, in hexadecimal."""
    text = json.dumps(jsonable(value), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def dataset_facts(root: Path, split: Split, blur_kind: BlurKind) -> dict[str, Any]:
    """Which images a run used.

    Returns:
        ``name, split, blur_kind, n_pairs``; ``manifest_sha256``, None for a dataset without a
        manifest; ``listing_sha256``, over path and size in bytes of each image of the split, which
        every dataset has.

    Raises:
        InputError: The split is missing, empty or unpaired.
    """
    listing = hashlib.sha256()
    pairs = list(iterate_pairs(root, split, blur_kind))
    for pair in pairs:
        for folder in (SHARP_FOLDER, BLUR_FOLDERS[blur_kind]):
            path = pair.path(folder)
            line = f"{path.relative_to(root).as_posix()}\t{path.stat().st_size}\n"
            listing.update(line.encode())
    manifest = root / MANIFEST_FILE
    return {
        "name": root.resolve().name,
        "split": split,
        "blur_kind": blur_kind,
        "n_pairs": len(pairs),
        "manifest_sha256": sha256_of_file(manifest) if manifest.is_file() else None,
        "listing_sha256": listing.hexdigest(),
    }


def machine_facts() -> dict[str, Any]:
    """What a timing depends on: processor, cores this process may use, memory, GPUs, system."""
    gpus: list[str] = []
    if torch := sys.modules.get("torch"):  # importing it only to ask would cost seconds
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        gpus = [torch.cuda.get_device_name(index) for index in range(count)]
    return {
        "cpu": _cpu_name(),
        "n_cores": n_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Python's version and those of the packages that decide results, where installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def code_revision() -> str | None:
    """Commit of the checkout these modules lie in, ``+changes`` if edited; None without git.

    On a machine that holds a copy of the files alone, the environment variable
    ``GOPRO_TOOLS_REVISION`` may state it; the record then says ``<value> (stated)``.
    """
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        stated = os.environ.get("GOPRO_TOOLS_REVISION")
        return f"{stated} (stated)" if stated else None
    try:
        revision = _git(here, "rev-parse", "HEAD")
        changes = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{revision}+changes" if changes else revision


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout.strip()


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
