"""What was measured, and everything needed to judge it: ``run.json`` in the folder of each run.

Evaluations, detections, restorations, trainings and comparisons all write this one format. The
file is written last, and holds the hashes of the CSV files beside it: a folder without it was left
by a run that did not finish, and a table that was cut short or edited later is noticed.

A run may hold others in folders of their own, as they were written: a comparison holds the
evaluation and the detection it is made from. ``<results>/runs/<suite>/<method>/<run-id>/`` is where
results worth keeping lie; they are never edited, and tables and figures are pure functions of them.
"""

import csv
import dataclasses
import datetime
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from gopro_tools.dataset import (
    BLUR_FOLDERS,
    SHARP_FOLDER,
    BlurKind,
    Split,
    family_of,
    iterate_pairs,
)
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key, sha256_of_file, write_atomic, written_whole
from gopro_tools.machine import code_revision, machine_facts, versions
from gopro_tools.shape import fits, misfits
from gopro_tools.text import size_text
from gopro_tools.threads import thread_pool

Scale = Literal["smoke", "reduced", "full"]

RUN_FILE = "run.json"
RESTORE_SUITE = "restore"
"""Of the records that restoring leaves beside its images."""
RUN_FORMAT = "gopro_tools run 2"
FIRST_FORMAT = "gopro_tools run 1"
"""Of records without a format tag. They hold no hashes of content, so no table is made of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run: its settings, its data, what ran, and the result."""

    format: str = RUN_FORMAT
    """Tells the file from other JSON, and versions of it apart."""
    suite: str
    """What kind of run: evaluate, detect, restore, train, table1, speed-metrics, ..."""
    method: str = ""
    """What was measured, such as ``deepdeblur-k3``; empty where ``methods`` are compared."""
    scale: Scale | None = None
    """Effort compared with the paper's own, which is ``full``; None where that means nothing."""
    methods: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """What was compared, by name, with what is known of each: ``scale``, ``published_name``,
    ``weights_sha256``, ``images_sha256``, and the ``code_revision`` that restored."""
    config: Mapping[str, Any]
    """The effective config (see `jsonable`)."""
    results: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Figures by name with unit: ``psnr_rgb_db``, ``patches_per_s``."""
    timings_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Seconds by what took them."""
    dataset: Mapping[str, Any] | None = None
    """What it ran on (see `dataset_facts`); None where no dataset was used."""
    published_name: str = ""
    """What published tables call the method; empty where they do not have it."""
    weights_sha256: str | None = None
    """Hash of the weight file; None for methods without one."""
    detector: Mapping[str, Any] | None = None
    """Name, hash of the weights and settings of the detector that was used."""
    protocols: Sequence[str] = ()
    """Names of the metric protocols behind the numbers."""
    seed: int | None = None
    """Of all that is random; None where nothing is."""
    source: Literal["measured"] = "measured"
    """Published numbers are no runs: they live in one file with their citations."""
    machine: Mapping[str, Any] = dataclasses.field(default_factory=machine_facts)
    """See `machine_facts`."""
    versions: Mapping[str, str] = dataclasses.field(default_factory=versions)
    """See `versions`."""
    code_revision: str | None = dataclasses.field(default_factory=code_revision)
    """See `code_revision`."""
    made_utc: str = dataclasses.field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    """When the record was made, ISO 8601."""
    files: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """``sha256`` and, for CSV, ``n_rows`` of the files beside the record; filled in by `seal`."""

    @property
    def run_id(self) -> str:
        """Folder name: the time, and eight digits of the config's hash."""
        moment = "".join(c for c in self.made_utc.split("+")[0] if c not in "-:")
        return f"{moment}Z-{hash_of(self.config)[:8]}"

    @property
    def doubts(self) -> Sequence[str]:
        """What speaks against images or labels (see `gopro_tools.doubts`), as sentences."""
        doubts: Any = self.results.get("doubts")
        return doubts if fits(doubts, Sequence[str]) else ()


# --- writing ---


def refuse_other_record(out: Path, suite: str) -> None:
    """Refuse an output folder with the record of a run of another kind, which would be lost.

    Raises:
        InputError: ``out`` holds such a record.
    """
    try:
        record = read_record(out)
    except InputError:
        return  # none, or one that nobody can use
    if record.suite != suite:
        raise InputError(
            f"--out {out}: holds what {record.suite} made, and its {RUN_FILE} would be replaced; "
            "choose another folder."
        )


def unseal(folder: Path) -> None:
    """Remove the record of an earlier run, before its files are replaced one by one."""
    (folder / RUN_FILE).unlink(missing_ok=True)


def seal(folder: Path, record: RunRecord, names: Iterable[str] | None = None) -> RunRecord:
    """Write ``run.json``: everything else is there and complete.

    Args:
        folder: Of the run.
        record: What to write, without ``files``.
        names: Files to vouch for, relative to the folder; by default every CSV file in it that does
            not belong to a run inside it.

    Returns:
        The record as it was written.
    """
    if names is None:
        inner = {path.parent for path in folder.rglob(RUN_FILE)} - {folder}
        names = [
            path.relative_to(folder).as_posix()
            for path in sorted(folder.rglob("*.csv"))
            if not inner.intersection(path.parents)
        ]
    complete = dataclasses.replace(record, files={name: _facts(folder / name) for name in names})
    write_atomic(folder / RUN_FILE, to_json(complete))
    return complete


@contextmanager
def recorded_run(results: Path, record: RunRecord) -> Iterator[Path]:
    """Give a folder for a run's files; it appears, sealed with its record, when all is there.

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
        seal(partial, record)


def run_folder(results: Path, record: RunRecord) -> Path:
    """``<results>/runs/<suite>/<method>/<run-id>``."""
    return results / "runs" / record.suite / record.method / record.run_id


def copy_run(source: Path, target: Path) -> None:
    """Copy a run into a folder of another, as it was written: its record and the files it names.

    Raises:
        InputError: The run is not complete.
    """
    record = read_record(source)
    check_files(source, record)
    for name in (*record.files, RUN_FILE):
        write_atomic(target / name, (source / name).read_bytes())


# --- reading ---


def read_record(folder: Path) -> RunRecord:
    """The record of one run folder. The files beside it are not looked at; see `check_files`.

    Raises:
        InputError: There is no ``run.json``, or it is not one of ours.
    """
    path = folder / RUN_FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        record = RunRecord(**{"format": FIRST_FORMAT, **stored})
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a complete run record ({str(error)[:200]}).") from error
    if record.format not in (FIRST_FORMAT, RUN_FORMAT):
        raise InputError(
            f"{path}: a record of the format {str(record.format)[:60]!r}, made by another version "
            f"of this program; {RUN_FORMAT!r} was expected."
        )
    if wrong := misfits(record):
        raise InputError(f"{path}: not as this program writes it ({', '.join(wrong)[:200]}).")
    return record


def check_files(folder: Path, record: RunRecord) -> None:
    """Compare the files of a run with what its record says of them.

    Raises:
        InputError: One is missing, cut short or changed; the message names it.
    """
    for name, facts in record.files.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: missing, but {RUN_FILE} beside it names it. Run it again.")
        found = _facts(path)
        if found["sha256"] != facts.get("sha256"):
            rows = ""
            if found.get("n_rows") != facts.get("n_rows"):
                rows = f": {facts.get('n_rows')} rows were written, {found.get('n_rows')} are there"
            raise InputError(f"{path}: not as the run wrote it{rows}. Run it again.")


def iterate_runs(results: Path, suite: str) -> Iterator[tuple[Path, RunRecord]]:
    """Complete runs of a suite: by method in natural order, then oldest first."""
    found = (results / "runs" / suite).glob(f"*/*/{RUN_FILE}")
    folders = (path.parent for path in found if path.parent.suffix != ".partial")
    for folder in sorted(folders, key=lambda path: (natural_key(path.parent.name), path.name)):
        record = read_record(folder)
        check_files(folder, record)
        yield folder, record


def _facts(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {"sha256": sha256_of_file(path)}
    if path.suffix.lower() == ".csv":
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            facts["n_rows"] = max(0, sum(1 for _ in csv.reader(file)) - 1)
    return facts


# --- JSON ---


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


# --- datasets ---


def dataset_facts(root: Path, split: Split, blur_kind: BlurKind) -> dict[str, Any]:
    """Which images a run used: every image of the split is read and hashed.

    Returns:
        ``name`` (the folder's), ``split, blur_kind``, and what `content_facts` gives.

    Raises:
        InputError: The split is missing, empty or unpaired, or images cannot be read.
    """
    pairs = list(iterate_pairs(root, split, blur_kind))
    kinds = (SHARP_FOLDER, BLUR_FOLDERS[blur_kind])
    paths = [pair.path(kind) for kind in kinds for pair in pairs]
    with thread_pool() as pool:
        hashed = list(pool.map(_hashed_file, paths))
    n = len(pairs)
    return {
        "name": root.resolve().name,
        "split": split,
        "blur_kind": blur_kind,
        **content_facts(
            [digest for digest, _ in hashed[:n]],
            [digest for digest, _ in hashed[n:]],
            {size for _, size in hashed},
            [(pair.sequence, pair.name) for pair in pairs],
        ),
    }


def image_facts(paths: Sequence[Path]) -> dict[str, Any]:
    """Which blurred images a run used that are not of a dataset: every one is read and hashed.

    Returns:
        ``n_pairs`` (their number), ``resolution`` and ``blurred_sha256``, as `content_facts`.

    Raises:
        InputError: One cannot be read.
    """
    with thread_pool() as pool:
        hashed = list(pool.map(_hashed_file, paths))
    digests = [digest for digest, _ in hashed]
    names = [(path.parent.name, path.name) for path in paths]
    facts = content_facts(digests, digests, {size for _, size in hashed}, names)
    return {name: facts[name] for name in ("n_pairs", "resolution", "blurred_sha256")}


def pixel_hashes(images: Iterable[tuple[Path, Path]]) -> dict[str, str]:
    """Pixel hash of each image, by the path of its result; those that cannot be read are left out.

    Args:
        images: Paths of images, each with the path of its result.
    """

    def hashed(path: Path) -> str | None:
        try:
            return _hashed_file(path)[0]
        except (InputError, OSError):
            return None

    paths = dict(images)
    with thread_pool() as pool:
        found = zip(paths.values(), pool.map(hashed, paths), strict=True)
        return {result.as_posix(): digest for result, digest in found if digest is not None}


def content_facts(
    sharp: Sequence[str],
    blurred: Sequence[str],
    sizes_hw: Iterable[tuple[int, int]],
    names: Iterable[tuple[str, str]],
) -> dict[str, Any]:
    """Identity of a set of pairs: by their pixels, whatever files and folders are called.

    Args:
        sharp: `gopro_tools.images.pixel_hash` of each sharp image.
        blurred: Of each blurred image, in the same order.
        sizes_hw: Height and width of the images.
        names: Sequence and file name of each image.

    Returns:
        ``n_pairs``; ``resolution``: ``1280x720`` or ``mixed``; ``content_sha256``, equal for two
        sets of pairs if all their pixels are; ``blurred_sha256``, that of the blurred images alone;
        ``family``: the public dataset the images are from, or an empty string.
    """
    sizes = {size_text(size) for size in sizes_hw}
    return {
        "n_pairs": len(sharp),
        "resolution": sizes.pop() if len(sizes) == 1 else "mixed",
        "content_sha256": hash_of(sorted(zip(sharp, blurred, strict=True))),
        "blurred_sha256": images_hash(blurred),
        "family": family_of(names),
    }


def images_hash(pixel_hashes: Iterable[str]) -> str:
    """Identity of a set of images by their pixels; their order and names do not count."""
    return hash_of(sorted(pixel_hashes))


def _hashed_file(path: Path) -> tuple[str, tuple[int, int]]:
    facts = path.stat()
    return _hashed(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _hashed(path: Path, _size: int, _modified_ns: int) -> tuple[str, tuple[int, int]]:
    """Pixel hash and size of an image; a process that asks again does not read it again."""
    from gopro_tools.images import pixel_hash, read_rgb

    image = read_rgb(path)
    return pixel_hash(image), (image.shape[0], image.shape[1])
