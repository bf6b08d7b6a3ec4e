"""Rebuild GOPRO_Large from GOPRO_Large_all."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gopro_tools import __version__
from gopro_tools.dataset import MANIFEST_FILE
from gopro_tools.errors import InputError
from gopro_tools.files import refuse_links, sync_file_system, write_atomic
from gopro_tools.findings import Finding
from gopro_tools.gopro_large.config import KINDS, Kind, RegenerateConfig
from gopro_tools.gopro_large.table import (
    RESPONSE,
    LargeImage,
    images_of,
    present_sequences,
    read_frames,
    recipe,
    refuse_images,
)
from gopro_tools.images import encode_png, pixel_hash, read_rgb
from gopro_tools.locks import held
from gopro_tools.records import RUN_FILE, RunRecord, jsonable, seal, unseal
from gopro_tools.seal import DATASET_FILE, GOPRO_LARGE_FORMAT, read_seal, sealed
from gopro_tools.text import csv_text, read_csv
from gopro_tools.threads import Progress, thread_pool

UNFINISHED = ".unfinished"
"""Lies in the output until all is made."""


@dataclass(slots=True)
class RegenerateResult:
    """What `regenerate` did."""

    findings: list[Finding] = field(default_factory=list)
    n_written: int = 0
    """Images written, counting each kind."""
    n_kept: int = 0
    """Images that were there already and complete."""


def regenerate(
    config: RegenerateConfig, *, on_progress: Progress | None = None
) -> RegenerateResult:
    """Rebuild GOPRO_Large from GOPRO_Large_all.

    Images are written whole or not at all, and what is there and complete is kept, so the same call
    resumes after an interruption. A pair with a missing or unreadable frame is left out and named,
    and the others are made. ``manifest.csv`` lists the pairs for `gopro_tools.verify`;
    ``run.json``, written last, says how they were made.

    Args:
        config: What to make of which frames.
        on_progress: Called after each image (all kinds of it together).

    Raises:
        InputError: There are no such frames, ``out`` holds something else, or cannot be written to.
    """
    fetch = "`python -m gopro_tools.gopro_large download --what GOPRO_Large_all` fetches them."
    refuse_images(config.frames, config.sequences, fetch)
    sequences, absent = present_sequences(config.frames, config.sequences, "frames")
    images = [image for sequence in sequences for image in sequence.images()]
    result = RegenerateResult(findings=absent)
    with _output(config.out) as write, thread_pool(config.jobs) as pool:
        rows = _read_manifest(config.out)
        built = pool.map(lambda image: _rebuild(image, config, write), images)
        for done, (image, one) in enumerate(zip(images, built, strict=True), start=1):
            result.findings += one.findings
            result.n_written += one.n_written
            result.n_kept += len(one.hashes) - one.n_written
            if one.hashes:
                rows.setdefault(image.key, {}).update(one.hashes)
            if on_progress:
                on_progress(done, len(images))
        write(config.out / MANIFEST_FILE, _manifest_csv(rows).encode())
        _write_seal(config.out, write, [MANIFEST_FILE])
        record = RunRecord(
            suite="regenerate",
            config=jsonable(config),
            results={"n_pairs": len(rows), "n_findings": len(result.findings)},
        )
        with _explained(config.out / RUN_FILE):
            seal(config.out, record, (MANIFEST_FILE,))
    result.findings.sort(key=lambda finding: finding.sort_key)
    return result


@dataclass(slots=True)
class _Built:
    findings: list[Finding] = field(default_factory=list)
    hashes: dict[Kind, str] = field(default_factory=dict)
    n_written: int = 0


_Write = Callable[[Path, bytes], None]


def _rebuild(image: LargeImage, config: RegenerateConfig, write: _Write) -> _Built:
    built = _Built()
    for kind in config.kinds:
        try:
            built.hashes[kind] = pixel_hash(read_rgb(image.path(config.out, kind)))
        except InputError:  # not there yet, or damaged: it is made again
            continue
    if len(built.hashes) == len(config.kinds):
        return built
    frames, problems = read_frames(image, config.frames)
    if problems:
        return _Built(findings=problems)
    pixels = images_of(image, frames)
    for kind in config.kinds:
        if kind not in built.hashes:
            # The sharp image is the frame's own file: nothing to encode again.
            source = image.frame_path(config.frames, image.middle_frame)
            data = source.read_bytes() if kind == "sharp" else encode_png(pixels[kind])
            write(image.path(config.out, kind), data)
            built.hashes[kind] = pixel_hash(pixels[kind])
            built.n_written += 1
    return built


@contextmanager
def _output(out: Path) -> Iterator[_Write]:
    """Hold ``out`` for one run, and give a function that writes whole files there.

    What a killed run left behind lies in one hidden folder, which also marks the output as
    unfinished.
    """
    unfinished = out / UNFINISHED

    def write(path: Path, data: bytes) -> None:
        name = "-".join(path.relative_to(out).parts)
        with _explained(path):
            # Images are read again when a run resumes: they need not be on disk at once.
            durable = path.suffix != ".png"
            write_atomic(path, data, temporary=unfinished / f"{name}.tmp", durable=durable)

    in_use = f"{out}: another run is at work there."
    if out.is_dir():
        folders = [f"{s.split}/{s.sequence}/{kind}" for s in recipe() for kind in KINDS]
        refuse_links(out, UNFINISHED, *folders)
        _refuse_foreign(out)
    with held(unfinished / "lock", in_use):
        _write_seal(out, write, [])
        with _explained(out / RUN_FILE):
            unseal(out)
        yield write
        sync_file_system(out)
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). Fix that, for instance by making room, "
            "and run the same command again: it resumes where it stopped."
        ) from error


_FACTS = {"recipe": "GOPRO_Large from GOPRO_Large_all", "response": RESPONSE.name}


def _refuse_foreign(out: Path) -> None:
    """Refuse a folder that another command or program made."""
    seal = read_seal(out)
    if _FACTS.items() <= seal.record.items():
        return
    # While a dataset is being made, a power cut may empty its record.
    if seal.state in ("none", "damaged") and (out / UNFINISHED).is_dir():
        return
    if any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise InputError(
            f"{out}: not empty, and not begun by this command. Name a new or an empty folder."
        )


def _write_seal(out: Path, write: _Write, tables: Sequence[str]) -> None:
    record = {"format": GOPRO_LARGE_FORMAT, **_FACTS, "version": __version__}
    write(out / DATASET_FILE, sealed(record, out, tables).encode())


_Rows = dict[tuple[str, str, str], dict[Kind, str]]
"""Pixel hashes by split, sequence and name."""
_COLUMNS = (
    "split", "sequence", "name", "first_frame_number", "last_frame_number", "middle_frame_number",
    "n_frames", "response", *(f"hash_{kind}" for kind in KINDS),
)  # fmt: skip


def _read_manifest(out: Path) -> _Rows:
    """Hashes of an earlier run: it may have been about other sequences or other kinds."""
    path = out / MANIFEST_FILE
    if not path.is_file():
        return {}
    try:
        rows = read_csv(path, ("split", "sequence", "name"))
    except InputError as error:
        raise InputError(
            f"{error} Remove it and run the same command again for each part: what is there is "
            "kept."
        ) from error
    return {
        (row["split"], row["sequence"], row["name"]): {
            kind: row[f"hash_{kind}"] for kind in KINDS if row.get(f"hash_{kind}")
        }
        for row in rows
    }


def _manifest_csv(rows: _Rows) -> str:
    images = (image for sequence in recipe() for image in sequence.images())
    return csv_text(
        _COLUMNS,
        (
            {
                "split": image.split,
                "sequence": image.sequence,
                "name": image.name,
                # As in the frames' file names. Manifests of `gopro_tools.synthesize` count from 0,
                # and call their columns frame_start, frame_stop and middle_frame.
                "first_frame_number": image.frames[0],
                "last_frame_number": image.frames[-1],
                "middle_frame_number": image.middle_frame,
                "n_frames": len(image.frames),
                "response": RESPONSE.name,
                **{f"hash_{kind}": value for kind, value in rows[image.key].items()},
            }
            for image in images
            if image.key in rows
        ),
    )
