"""Export a dataset, resume an interrupted export, and verify the result."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, SPLITS, BlurKind
from gopro_tools.errors import InputError
from gopro_tools.export.config import ExportConfig
from gopro_tools.export.containers import FOLDER_NAMES, container_of
from gopro_tools.export.parts import Encoded, Files, Unit
from gopro_tools.export.samples import (
    Images,
    Sample,
    blur_kind_of,
    images_of,
    pixels_of,
    samples_of,
)
from gopro_tools.files import LOCK_FILE, claimed, read_json, refuse_inside, refuse_url, write_atomic
from gopro_tools.findings import Finding
from gopro_tools.images import decode_rgb, pixel_hash
from gopro_tools.records import hash_of
from gopro_tools.shape import config_from, path_from
from gopro_tools.storage import local_copy
from gopro_tools.threads import Progress, n_cores, no_progress, prefetched

EXPORT_FILE = "export.json"
_STATE_FILE = ".export.json"
_FORMAT_TAG = "gopro_tools export 1"
_FOLDERS = tuple(f"{split}/{name}" for split in SPLITS for name in FOLDER_NAMES)


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What `export` made."""

    out: Path
    n_samples: int
    """Samples in the export."""
    n_written: int
    """Those written by this call; the others were there."""
    left_out: Sequence[str]
    """Why each pair or crop that could not be read is absent."""


def export(
    dataset: Path | str,
    config: ExportConfig,
    out: Path | str,
    *,
    jobs: int = 0,
    on_progress: Progress = no_progress,
) -> ExportResult:
    """Write a dataset in another format. After an interruption the same call resumes.

    Args:
        dataset: A dataset in the GOPRO_Large layout, or the URL of one.
        config: Which format.
        out: A new or empty folder, or one where this export was interrupted.
        jobs: Threads that read and encode; 0 takes one per core. The result does not depend on it.
        on_progress: Called with (samples done, all).

    Returns:
        What was made. A pair that cannot be read is left out and named; the rest is exported.

    Raises:
        InputError: There is no dataset, it has both kinds of blur and none was chosen, or ``out``
            holds something else.
    """
    config, out = config_from(ExportConfig, config), path_from(out, "out")
    refuse_url(out)
    dataset = local_copy(dataset)
    refuse_inside(out, dataset)
    kind = blur_kind_of(dataset, config.blur_kind)
    config = dataclasses.replace(config, blur_kind=kind)
    samples, left_out = samples_of(dataset, config, kind)
    state = {
        "made_by": _FORMAT_TAG,
        "config": dataclasses.asdict(config),
        "dataset": dataset.resolve().name,
        "dataset_hash": _hash_of_dataset(samples, kind),
    }
    absent: set[Sample] = set()
    with _claimed(out, state), container_of(out, config) as container:
        units = container.units(samples)
        n_left = sum(len(unit.samples) for unit in units)
        n_done = len(samples) - n_left
        on_progress(n_done, len(samples))
        for unit in units:
            failed: dict[Sample, str] = {}
            container.write(unit, _encoded(unit, config.cut_px, kind, jobs, failed))
            absent |= failed.keys()
            left_out += failed.values()
            n_done += len(unit.samples)
            on_progress(n_done, len(samples))
        present = [sample for sample in samples if sample not in absent]
        container.finish(present)
        # Last: its existence means that the export is complete.
        _write_json(out / EXPORT_FILE, {**state, "n_samples": len(present), "left_out": left_out})
    return ExportResult(
        out=out, n_samples=len(present), n_written=n_left - len(absent), left_out=left_out
    )


def _encoded(
    unit: Unit, crop_px: int, kind: BlurKind, jobs: int, failed: dict[Sample, str]
) -> Iterator[Encoded]:
    """The unit's images in order, encoded by threads; unreadable ones go to ``failed``."""

    def encode(sample: Sample) -> Images | InputError:
        try:
            return images_of(sample, kind, crop_px)
        except InputError as error:
            return error

    with closing(prefetched(encode, unit.samples, n_threads=jobs or n_cores())) as results:
        for sample, result in zip(unit.samples, results, strict=True):
            if isinstance(result, InputError):
                failed[sample] = str(result)
            else:
                yield sample, result


def _hash_of_dataset(samples: Sequence[Sample], kind: BlurKind) -> str:
    """A hash that changes if an image is added, removed or replaced by a file of another size.

    Pixels are not hashed: `verify_export` compares them all.
    """
    listing = []
    for pair in dict.fromkeys(sample.pair for sample in samples):
        for folder in (BLUR_FOLDERS[kind], SHARP_FOLDER):
            path = pair.path(folder)
            # A link to nothing counts as any other image that cannot be read.
            size = path.stat().st_size if path.exists() else None
            listing.append([path.relative_to(pair.root).as_posix(), size])
    return hash_of(listing)


@contextmanager
def _claimed(out: Path, state: Mapping[str, Any]) -> Iterator[None]:
    """Keep other runs out of the folder, and this one out of folders that hold something else."""
    with claimed(out, *_FOLDERS):
        before = _state_of(out)
        if before is None and any(path.name != LOCK_FILE for path in out.iterdir()):
            raise InputError(f"{out}: holds something else; name an empty or new folder.")
        changed = [k for k, value in state.items() if before and before.get(k) != value]
        if changed:
            raise InputError(
                f"{out}: an export with other settings or images lies there (other: "
                f"{', '.join(changed)}); name another folder, or remove that one."
            )
        _write_json(out / _STATE_FILE, state)
        (out / EXPORT_FILE).unlink(missing_ok=True)
        yield


def _state_of(out: Path) -> Mapping[str, Any] | None:
    """The settings an export in this folder was started with; None where there is no export."""
    path = out / _STATE_FILE
    if not path.is_file():
        return None
    try:
        state = read_json(path)
    except InputError as error:
        raise InputError(f"{error} Remove {out} and export again.") from error
    return state if isinstance(state, dict) and state.get("made_by") == _FORMAT_TAG else None


def _edited(out: Path, what: str) -> InputError:
    return InputError(
        f"{out / _STATE_FILE}: not as export writes it ({what}); remove {out} and export again."
    )


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def verify_export(
    out: Path | str, dataset: Path | str, *, jobs: int = 0, on_progress: Progress = no_progress
) -> list[Finding]:
    """Compare every image of an export, as its readers will see it, with the dataset's.

    Args:
        out: An export, or the URL of one.
        dataset: The dataset it was made from, or its URL.
        jobs: Threads that decode; 0 takes one per core.
        on_progress: Called with (samples compared, all).

    Returns:
        What differs, is missing or does not belong there; empty for a correct export.

    Raises:
        InputError: ``out`` is not an export, or ``dataset`` not a dataset.
    """
    out, dataset = local_copy(out), local_copy(dataset)
    state = _state_of(out)
    if state is None:
        raise InputError(
            f"{out}: not an export of this program (no {_STATE_FILE} there); name the folder that "
            "`python -m gopro_tools.export` wrote."
        )
    try:
        config = ExportConfig(**state["config"])
    except (KeyError, TypeError, InputError) as error:
        raise _edited(out, str(error)) from error
    kind = config.blur_kind
    if kind is None:
        raise _edited(out, "no kind of blur")
    samples, left_out = samples_of(dataset, config, kind)
    findings = [Finding("warning", "left-out", reason) for reason in left_out]
    if not (out / EXPORT_FILE).is_file():
        message = "the export was interrupted; the same export command completes it"
        findings.append(Finding("error", "unfinished", message))
    differing: list[Finding] = []
    with container_of(out, config, read_only=True) as container:

        def compare(item: Files) -> list[Finding]:
            sample, blurred, sharp = item
            return [
                finding
                for folder, data in ((BLUR_FOLDERS[kind], blurred), (SHARP_FOLDER, sharp))
                if (finding := _compared(sample, folder, data, config.cut_px))
            ]

        results = prefetched(compare, container.read(samples), n_threads=jobs or n_cores())
        with closing(results):
            for n_done, found in enumerate(results, start=1):
                differing += found
                on_progress(n_done, len(samples))
        findings += container.faults(samples)
    return findings + differing


def _compared(sample: Sample, folder: str, data: bytes | None, crop_px: int) -> Finding | None:
    def finding(check: str, message: str) -> Finding:
        return Finding(
            "error", check, message, sample.split, sample.pair.sequence, sample.pair.name
        )

    if data is None:
        return finding("missing", f"{sample.key}: no {folder} image in the export")
    try:
        image = decode_rgb(Path(sample.key), data)
    except InputError:
        return finding("unreadable", f"{sample.key}: the {folder} image in the export is damaged")
    try:
        expected = pixels_of(sample, folder, crop_px)
    except InputError as error:
        return finding("unreadable", str(error))
    if image.shape != expected.shape or pixel_hash(image) != pixel_hash(expected):
        return finding("differs", f"{sample.key}: the {folder} image is not the dataset's")
    return None
