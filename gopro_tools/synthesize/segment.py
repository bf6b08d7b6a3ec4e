"""One segment of work: decode, check, average, write. This is what runs in worker processes."""

import json
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import xxhash

from gopro_tools.dataset import LATENT_FOLDER
from gopro_tools.exposure import Window
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png, pixel_hash, sharpness
from gopro_tools.synthesize.combing import Columns, FieldOrder, columns_of, field_order
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.faults import Thumbnail, fault, is_mixed, thumbnail_of
from gopro_tools.synthesize.plan import Probe, Segment, open_as_asked
from gopro_tools.synthesize.preview import Shown, name_of, shown
from gopro_tools.synthesize.sources import check_unchanged
from gopro_tools.synthesize.trouble import raise_if_passing
from gopro_tools.video import FrameProblem

if TYPE_CHECKING:
    from gopro_tools.synthesize.pairs import PairMaker

_MOST_LOOKED_AT = 8
"""Windows of a segment that are enough to notice blended or combed frames."""

_Exposed = tuple[Window, list[Rgb], str]
"""A window, its frames in time order, and why it is rejected; "" if it is not."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A decoded frame."""

    index: int
    frame: Rgb
    """Of the size asked for."""
    thumbnail: Thumbnail
    columns: Columns
    change: float
    """How much it differs from the frame before; see `fault`."""
    is_equal: bool
    """It is an image file with the pixels of the one before."""


class OutputError(Exception):
    """A result could not be stored: the run must stop, whatever the source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentTask:
    """A segment as a worker gets it, with all that it needs."""

    name: str
    split: str
    sequence: str
    n_frames: int
    """Of its longest window."""
    windows: tuple[Window, ...]
    probe: Probe
    out: Path
    temporary: Path
    record: Path
    fingerprint: str
    """Of everything that decides the bytes of the dataset."""
    config: SynthesisConfig
    decode_threads: int
    shown: frozenset[str]
    """File names of pairs that the preview will probably show."""

    @property
    def source(self) -> str:
        """What its source is called in the tables."""
        return self.probe.source.name


@dataclass(kw_only=True, slots=True)
class SegmentRecord:
    """What came of a segment; stored last, so that its existence means that its images exist."""

    name: str
    fingerprint: str
    """Of the dataset it is a part of: another recipe or version makes another one."""
    pairs: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the manifest."""
    rejected: list[dict[str, Any]] = field(default_factory=list)
    """Rows of rejected.csv."""
    problems: list[str] = field(default_factory=list)
    """What the decoder complained of."""
    mixed: list[bool] = field(default_factory=list)
    """`is_mixed` of the first windows in which something moves."""
    field_orders: list[FieldOrder] = field(default_factory=list)
    """`field_order` of the first windows in which something moves."""
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Size and XXH3-128 of each image, by its path below the output folder: images are not synced
    to disk one by one, so that a power cut may leave them empty or cut short."""
    shown: dict[str, Shown] = field(default_factory=dict)
    """Pairs as the preview shows them, by name; not stored."""

    @classmethod
    def crashed(cls, task: SegmentTask) -> "SegmentRecord":
        """The record of a task whose worker crashed: its windows are rejected."""
        first, last = task.windows[0], task.windows[-1]
        reason = f"the decoder crashed on frames {first.start}-{last.stop - 1}"
        return cls(
            name=task.name,
            fingerprint=task.fingerprint,
            rejected=[_row(task, window) | {"reason": reason} for window in task.windows],
            problems=[reason],
        )

    @classmethod
    def read(cls, task: SegmentTask) -> "SegmentRecord | None":
        """Read the record of a task; None if there is none, or a damaged one, or another's."""
        try:
            record = cls(**json.loads(task.record.read_bytes()))
            if (record.name, record.fingerprint) != (task.name, task.fingerprint):
                return None
            names = sorted(row["name"] for row in (*record.pairs, *record.rejected))
            if names != sorted(window.file_name for window in task.windows):
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return record

    @classmethod
    def load(cls, task: SegmentTask, *, with_hashes: bool) -> "SegmentRecord | None":
        """Read the record of a task that is done, and look at its images.

        Args:
            task: Whose.
            with_hashes: Whether to read the images too, and not only look at their sizes.

        Returns:
            None if `read` gives none, or if an image is not what was written: then the segment is
            to be made (again).
        """
        record = cls.read(task)
        if record is None:
            return None
        try:
            for name, (size, digest) in record.files.items():
                path = task.out / name
                if path.stat().st_size != size:
                    return None
                if with_hashes and xxhash.xxh3_128_hexdigest(path.read_bytes()) != digest:
                    return None
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return None
        return record

    def write(self, task: SegmentTask, name: str, image: Rgb) -> None:
        """Write an image of a task and note it.

        Args:
            task: Whose.
            name: Path below the output folder, with forward slashes.
            image: (H, W, 3) uint8 RGB.
        """
        data = encode_png(image)
        write_atomic(task.out / name, data, task.temporary, durable=False)
        self.files[name] = len(data), xxhash.xxh3_128_hexdigest(data)

    def to_json(self) -> str:
        """The text that `load` reads."""
        stored = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "shown"}
        return json.dumps(stored)


@lru_cache(maxsize=16)
def _maker(config: SynthesisConfig, _thread: int) -> "PairMaker":
    """The maker of a recipe, one per thread: an executor of the caller's may use several."""
    # Imported in the workers alone: numba takes a second to load.
    from gopro_tools.synthesize.pairs import PairMaker

    return PairMaker(config)


def process_segment(task: SegmentTask) -> SegmentRecord:
    """Make the pairs of one segment, then its record.

    Raises:
        OutputError: The disk is full or the output cannot be written.
        PassingError: Something failed that may work next time; nothing is recorded.
    """
    probe = task.probe
    record = SegmentRecord(name=task.name, fingerprint=task.fingerprint)
    config = task.config
    assert probe.info is not None
    times_s = probe.info.times_s(config.fps)
    interval_s = 1 / probe.info.rate_hz(config.fps)
    maker = _maker(config, threading.get_ident())
    try:
        exposures = _exposures(task, probe, record)
        for window, frames, reason in _until_unreadable(exposures, task, record):
            row = _row(task, window)
            if reason:
                record.rejected.append(row | {"reason": reason})
                continue
            key = f"{task.split}/{task.sequence}/{window.file_name}"
            made = maker.make(frames, window, key=key, interval_s=interval_s)
            window, images = made.window, made.images
            row = _row(task, window) | made.columns
            if made.fault:
                record.rejected.append(_row(task, window) | {"reason": made.fault})
                continue
            sharp = images["sharp"]
            # Interpolated frames stand for shorter intervals.
            last_s = interval_s / config.interpolate
            row |= {
                "time_start_s": f"{times_s[window.start]:.6f}",
                "time_middle_s": f"{times_s[window.middle]:.6f}",
                "time_stop_s": f"{times_s[window.stop - 1] + last_s:.6f}",
                "n_frames": window.n_frames,
                "response": Path(config.response).name,
                "height": sharp.shape[0],
                "width": sharp.shape[1],
                "sharpness": f"{sharpness(sharp):.4f}",
            }
            for kind in images:
                row[f"hash_{kind}"] = pixel_hash(images[kind]) if kind in config.kinds else ""
            folder = f"{task.split}/{task.sequence}"
            for kind in config.kinds:
                record.write(task, f"{folder}/{kind}/{window.file_name}", images[kind])
            for number, frame in enumerate(made.latent):
                place = f"{LATENT_FOLDER}/{Path(window.file_name).stem}/{number:03d}.png"
                record.write(task, f"{folder}/{place}", frame)
            record.pairs.append(row)
            if window.file_name in task.shown:
                kept: dict[str, Rgb] = {kind: images[kind] for kind in config.kinds}
                record.shown[name_of(row)] = shown(row, kept)
        check_unchanged(probe.source, probe.sha256, probe.stamp)
        n_seen = len(record.pairs) + len(record.rejected)
        record.rejected += [
            _row(task, window) | {"reason": "the source cannot be read up to here"}
            for window in task.windows[n_seen:]
        ]
        # What it is called, not where it lay: that differs from machine to machine.
        path = str(probe.source.path)
        record.problems = [text.replace(path, task.source) for text in record.problems]
        write_atomic(task.record, record.to_json(), task.temporary, durable=False)
    except OSError as error:
        raise OutputError(f"{error.strerror or error}: {error.filename or task.out}") from error
    except MemoryError as error:
        raise_if_passing(error, probe.source.path)
        raise
    return record


def _until_unreadable(
    exposures: Iterator[_Exposed], task: SegmentTask, record: SegmentRecord
) -> Iterator[_Exposed]:
    """End quietly where reading fails: only this segment is the poorer for it."""
    try:
        yield from exposures
    except Exception as error:  # damaged files make libraries raise anything
        raise_if_passing(error, task.probe.source.path)
        record.problems.append(f"{task.source}: cannot be read ({type(error).__name__}: {error})")


def _row(task: SegmentTask, window: Window) -> dict[str, Any]:
    return window_row(split=task.split, sequence=task.sequence, source=task.source, window=window)


def _exposures(task: SegmentTask, probe: Probe, record: SegmentRecord) -> Iterator[_Exposed]:
    """Decode, and look at, the frames of each window; the record notes what they say together."""
    config = task.config
    info = probe.info
    assert info is not None
    source = open_as_asked(probe.source.path, config, info, task.decode_threads)
    height, width = config.output_size_hw(info.size_hw)
    margin = config.margin_frames(1 / info.rate_hz(config.fps))
    n_ring = task.n_frames + 2 * margin
    in_ring: list[_Seen | None] = [None] * n_ring
    previous: _Seen | None = None
    reasons: dict[int, str] = {}
    are_files = info.kind == "frames"
    keyframes = frozenset(() if are_files else info.keyframes[:, 0].tolist())
    waiting = [window.widened(margin) for window in reversed(task.windows)]
    # Windows differ in length where each draws its own: a later one may start earlier.
    earliest = np.minimum.accumulate([window.start for window in waiting])
    stop = max(window.stop for window in waiting)

    def note(problem: FrameProblem) -> None:
        if problem.text:
            record.problems.append(problem.text)
        if problem.frame is not None and problem.reason:
            reasons[problem.frame] = problem.reason

    def finish(widened: Window) -> _Exposed:
        window = widened.widened(-margin)
        seen: list[_Seen] = []
        for index in range(widened.start, widened.stop):
            found = in_ring[index % n_ring]
            if found is None or found.index != index:
                return window, [], f"frame {index} {reasons.get(index, 'cannot be decoded')}"
            seen.append(found)
        reason = ""
        if config.check:
            changes = np.array([one.change for one in seen[1:]])
            thumbnails = [one.thumbnail for one in seen]
            equal = np.array([one.is_equal for one in seen[1:]])
            reason = fault(changes, widened, thumbnails, keyframes, equal)
            if not reason and len(record.mixed) < _MOST_LOOKED_AT:
                mixed = is_mixed(changes, thumbnails)
                record.mixed += [] if mixed is None else [mixed]
            if not reason and len(record.field_orders) < _MOST_LOOKED_AT:
                order = field_order([one.columns for one in seen])
                record.field_orders += [] if order is None else [order]
        return window, [one.frame for one in seen], reason

    for index, frame in source.read(int(earliest[-1]), stop, note):
        while waiting and index >= waiting[-1].stop:
            yield finish(waiting.pop())
        if not waiting:
            return
        if index < earliest[len(waiting) - 1]:
            continue
        thumbnail, columns = thumbnail_of(frame), columns_of(frame)
        if frame.shape[:2] != (height, width):
            frame = _resized(frame, height, width)
        frame = np.ascontiguousarray(frame)
        change, is_equal = np.nan, False
        if previous is not None:
            change = cv2.norm(thumbnail, previous.thumbnail, cv2.NORM_L1) / thumbnail.size
            # Of two thumbnails alike, the images tell.
            is_equal = are_files and change == 0 and np.array_equal(frame, previous.frame)
        # Kept as it came, not copied; the one that leaves makes room for the next.
        previous = _Seen(index, frame, thumbnail, columns, change, is_equal)
        in_ring[index % n_ring] = previous
        del frame
        if index == waiting[-1].stop - 1:
            yield finish(waiting.pop())
    while waiting:
        yield finish(waiting.pop())


def _resized(frame: Rgb, height: int, width: int) -> Rgb:
    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False)


def window_row(*, split: str, sequence: str, source: str, window: Window) -> dict[str, Any]:
    """The columns that manifest.csv and rejected.csv share."""
    return {
        "split": split,
        "sequence": sequence,
        "name": window.file_name,
        "source": source,
        "frame_start": window.start,
        "frame_stop": window.stop,
        "middle_frame": window.middle,
    }


def task_of(
    segment: Segment,
    *,
    config: SynthesisConfig,
    out: Path,
    state: Path,
    fingerprint: str,
    decode_threads: int,
    shown: Collection[Window],
) -> SegmentTask:
    """Pack a segment for a worker."""
    sequence = segment.sequence
    return SegmentTask(
        name=segment.name,
        split=sequence.split,
        sequence=sequence.name,
        n_frames=max(window.n_frames for window in segment.windows),
        windows=segment.windows,
        probe=sequence.probe,
        out=out,
        temporary=state / f"{segment.name}.tmp",
        record=state / f"{segment.name}.json",
        fingerprint=fingerprint,
        config=config,
        decode_threads=decode_threads,
        shown=frozenset(window.file_name for window in segment.windows if window in shown),
    )
