"""Images that a finished dataset lost, and whether those made again match its manifest.

A repair writes images only: the tables, the record and all other images stay as they are, so that
the dataset is again the one that was sealed. Changes show in the pixels, whose hashes are in the
manifest; only files newer than the seal are opened for that.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from gopro_tools.dataset import LATENT_FOLDER, MANIFEST_FILE
from gopro_tools.errors import InputError
from gopro_tools.images import pixel_hash, read_rgb
from gopro_tools.seal import DATASET_FILE
from gopro_tools.synthesize.segment import SegmentRecord, SegmentTask
from gopro_tools.text import read_csv
from gopro_tools.threads import thread_pool

PairKey = tuple[str, str, str]
"""Split, sequence and file name."""
Lost = Mapping[PairKey, Sequence[str]]
"""Images that are to be made again (paths below the dataset), by pair."""
Hashes = Mapping[str, str]
"""XXH3-128 of the pixels by kind of image."""

_COLUMN = "hash_"


def listed_pairs(out: Path) -> dict[PairKey, Hashes]:
    """The pairs that the manifest of a dataset lists.

    Raises:
        InputError: The manifest cannot be read.
    """
    rows = read_csv(out / MANIFEST_FILE, ("split", "sequence", "name"))
    return {_key(row): _hashes(row) for row in rows}


def lost_images(out: Path, *, latent: bool) -> Lost:
    """Images that are missing, empty, unreadable or changed since the dataset was sealed, by pair.

    Args:
        out: A finished dataset.
        latent: Whether it keeps the frames of its exposures. No table has hashes of these: they are
            lost if they are missing, empty or unreadable.

    Raises:
        InputError: The manifest cannot be read.
    """
    rows = read_csv(out / MANIFEST_FILE, ("split", "sequence", "name", "n_frames"))
    sealed_ns = (out / DATASET_FILE).stat().st_mtime_ns
    promised: list[tuple[PairKey, str, str]] = []
    for row in rows:
        split, sequence, name = key = _key(row)
        promised += [
            (key, f"{split}/{sequence}/{kind}/{name}", value)
            for kind, value in _hashes(row).items()
        ]
        promised += [(key, path, "") for path in _latent_paths(row) if latent]
    with thread_pool() as pool:
        states = pool.map(partial(_is_lost, out, sealed_ns), promised)
        lost: dict[PairKey, list[str]] = {}
        for (key, path, _), is_lost in zip(promised, states, strict=True):
            if is_lost:
                lost.setdefault(key, []).append(path)
    return lost


def _is_lost(out: Path, sealed_ns: int, promise: tuple[PairKey, str, str]) -> bool:
    _, name, expected = promise
    path = out / name
    try:
        status = path.stat()
        if not status.st_size:
            return True
        if status.st_mtime_ns <= sealed_ns:
            return False
        found = pixel_hash(read_rgb(path))
    except (OSError, InputError):
        return True
    return bool(expected) and found != expected


def pairs_of(task: SegmentTask) -> list[PairKey]:
    """The pairs that a segment makes, if none is rejected."""
    return [(task.split, task.sequence, window.file_name) for window in task.windows]


def tasks_with(tasks: Sequence[SegmentTask], lost: Lost) -> list[SegmentTask]:
    """The segments that make these pairs."""
    return [task for task in tasks if not lost.keys().isdisjoint(pairs_of(task))]


def is_as_listed(
    task: SegmentTask, record: SegmentRecord | None, listed: Mapping[PairKey, Hashes]
) -> bool:
    """Whether a segment that was made again has the pairs of the manifest, pixel for pixel.

    It does not if another version of FFmpeg decodes its source differently.
    """
    if record is None:
        return False
    expected = {key: listed[key] for key in pairs_of(task) if key in listed}
    return expected == {_key(row): _hashes(row) for row in record.pairs}


def _key(row: Mapping[str, str]) -> PairKey:
    return row["split"], row["sequence"], row["name"]


def _hashes(row: Mapping[str, str]) -> Hashes:
    return {
        column.removeprefix(_COLUMN): value
        for column, value in row.items()
        if column.startswith(_COLUMN) and value
    }


def _latent_paths(row: Mapping[str, str]) -> Iterator[str]:
    split, sequence, name = _key(row)
    for number in range(int(row["n_frames"])):
        yield f"{split}/{sequence}/{LATENT_FOLDER}/{Path(name).stem}/{number:03d}.png"
