"""What was measured, and everything needed to judge it: ``run.json`` in the folder of each run.

Evaluations, detections, restorations, trainings and comparisons all write this one format. The
file is written last, and holds the hashes of the CSV files beside it: a folder without it was left
by a run that did not finish, and a table that was cut short or edited later is noticed.

A run may contain others, unchanged, in subfolders: a comparison holds the
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
from pathlib import Path
from typing import Any, Literal

from gopro_tools.errors import InputError
from gopro_tools.faults import system_message
from gopro_tools.files import natural_key, sha256_of_file, write_atomic, written_whole
from gopro_tools.machine import code_revision, machine_facts, versions
from gopro_tools.shape import fits, misfits

Scale = Literal["smoke", "reduced", "full"]

RUN_FILE = "run.json"
RESTORE_SUITE = "restore"
"""Suite of the records that restoring leaves beside its images."""
RUN_FORMAT = "gopro_tools run 2"
FIRST_FORMAT = "gopro_tools run 1"
"""Format of records without a tag. They hold no hashes of content, so no table is made of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run: its settings, its data, what ran, and the result."""

    format: str = RUN_FORMAT
    """Distinguishes the file from other JSON, and its versions from each other."""
    suite: str
    """What kind of run: evaluate, detect, restore, train, table1, speed-metrics, ..."""
    method: str = ""
    """What was measured, such as ``deepdeblur-k3``; empty where ``methods`` are compared."""
    scale: Scale | None = None
    """Effort compared with the paper's own, which is ``full``; None where that does not apply."""
    methods: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """What was compared, by name, with what is known of each: ``scale``, ``published_name``,
    ``weights_sha256``, ``images_sha256``, and the ``code_revision`` that restored."""
    config: Mapping[str, Any]
    """The effective config (see `jsonable`)."""
    results: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Figures by name with unit: ``psnr_rgb_db``, ``patches_per_s``."""
    timings_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Seconds spent, by what took them."""
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
    """Seed of all that is random; None where nothing is."""
    source: Literal["measured"] = "measured"
    """Always true: published numbers are not runs, but live in one file with their citations."""
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
        """Reasons to doubt images or labels (see `gopro_tools.doubts`), as sentences."""
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
        return  # none, or an unusable one
    if record.suite != suite:
        raise InputError(
            f"--out {out}: holds what {record.suite} made, and its {RUN_FILE} would be replaced; "
            "choose another folder."
        )


def unseal(folder: Path) -> None:
    """Remove the record of an earlier run, before its files are replaced one by one."""
    (folder / RUN_FILE).unlink(missing_ok=True)


def seal(folder: Path, record: RunRecord, names: Iterable[str] | None = None) -> RunRecord:
    """Write ``run.json``, once everything else is there and complete.

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
    except OSError as error:
        raise InputError(system_message(error)) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a complete run record ({str(error)[:200]}).") from error
    if record.format not in (FIRST_FORMAT, RUN_FORMAT):
        raise InputError(
            f"{path}: a record of format {str(record.format)[:60]!r}, made by another version "
            f"of this program; {RUN_FORMAT!r} was expected."
        )
    if wrong := misfits(record):
        raise InputError(f"{path}: not as this program writes it ({', '.join(wrong)[:200]}).")
    return record


def check_files(folder: Path, record: RunRecord) -> None:
    """Compare the files of a run with what its record says about them.

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
    """Turn anything a config or a result is made of into plain lists, dicts, numbers and strings.

    Only the last part of a path is kept: records are published, and the folders above it are
    private. A float that JSON cannot hold (NaN, infinity) becomes a string.
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
    raise TypeError(f"a {type(value).__name__} does not belong in a record: {value!r}")


def to_json(value: Any) -> str:
    """The one JSON form of records: indented, in the order given, newline at the end."""
    return json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def hash_of(value: Any) -> str:
    """SHA-256 of a config's JSON with sorted keys, in hexadecimal."""
    text = json.dumps(jsonable(value), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
