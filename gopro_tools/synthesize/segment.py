"""One segment of work: decode, check, average, write. This is what runs in worker processes."""

import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.dataset import hash_column
from gopro_tools.exposure import Window
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png, pixel_hash, sharpness
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.plan import Probe, Segment
from gopro_tools.video import open_source

if TYPE_CHECKING:
    from gopro_tools.averaging import ExposureAverager

# Changes are mean absolute differences of neighbouring frames in code values (0..255).
_CUT_CHANGE = 12.0
_CUT_RATIO = 4.0
"""A cut changes at least so many times as much as the other steps in its window."""
_MOVING_CHANGE = 1.0
_REPEAT_RATIO = 0.05
"""A repeated frame changes at most so much of what the fast steps in its window do."""
_THUMBNAIL_LINES = 90


_Exposed = tuple[Window, NDArray[np.uint8], NDArray[np.int64], str]


class OutputError(Exception):
    """A result could not be stored: the run must stop, whatever the source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentTask:
    """A segment as a worker gets it: small, and complete with what the state folder holds."""

    name: str
    split: str
    sequence: str
    source: str
    n_frames: int
    windows: tuple[Window, ...]
    probe_file: Path
    source_sha256: str
    out: Path
    temporary: Path
    record: Path
    config: SynthesisConfig
    decode_threads: int


@dataclass(kw_only=True, slots=True)
class SegmentRecord:
    """What came of a segment; stored last, so that its existence means that its images exist."""

    name: str
    pairs: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the manifest."""
    rejected: list[dict[str, Any]] = field(default_factory=list)
    """Rows of rejected.csv."""
    problems: list[str] = field(default_factory=list)
    """What the decoder complained of."""

    @classmethod
    def load(cls, path: Path) -> "SegmentRecord":
        """Read a stored record."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def save_probe(probe: Probe, path: Path) -> None:
    """Store a probe where workers find it; a long video's times are too large for every task."""
    write_atomic(path, pickle.dumps(probe))


@lru_cache(maxsize=4)
def _load_probe(path: Path, sha256: str) -> Probe:
    probe: Probe = pickle.loads(path.read_bytes())
    assert probe.sha256 == sha256
    return probe


@lru_cache(maxsize=4)
def _averager(config: SynthesisConfig, n_frames: int) -> "ExposureAverager":
    # Imported in the workers alone: numba takes a second to load.
    from gopro_tools.averaging import ExposureAverager

    return ExposureAverager(config.camera, n_frames)


def process_segment(task: SegmentTask) -> SegmentRecord:
    """Make the pairs of one segment, then its record.

    Raises:
        OutputError: The disk is full or the output cannot be written.
    """
    probe = _load_probe(task.probe_file, task.source_sha256)
    record = SegmentRecord(name=task.name)
    config = task.config
    assert probe.info is not None
    times_s = probe.info.times_s(config.fps)
    interval_s = 1 / probe.info.rate_hz(config.fps)
    averager = _averager(config, task.n_frames)
    try:
        exposures = _exposures(task, probe, record.problems.append)
        for window, frames, order, reason in _until_unreadable(exposures, task, record):
            row = _row(task, window)
            if reason:
                record.rejected.append(row | {"reason": reason})
                continue
            exposure = averager.average(frames, order)
            sharp = frames[order[task.n_frames // 2]]
            images: dict[str, Rgb] = {
                "sharp": sharp,
                "blur": exposure.blur,
                "blur_gamma": exposure.blur_gamma,
            }
            row |= {
                "time_start_s": f"{times_s[window.start]:.6f}",
                "time_middle_s": f"{times_s[window.middle]:.6f}",
                "time_stop_s": f"{times_s[window.stop - 1] + interval_s:.6f}",
                "n_frames": task.n_frames,
                "response": Path(config.response).name,
                "height": sharp.shape[0],
                "width": sharp.shape[1],
                "sharpness": f"{sharpness(sharp):.4f}",
            }
            for kind in images:
                row[hash_column(kind)] = pixel_hash(images[kind]) if kind in config.kinds else ""
            for kind in config.kinds:
                path = task.out / task.split / task.sequence / kind / window.file_name
                write_atomic(path, encode_png(images[kind]), task.temporary)
            record.pairs.append(row)
        n_seen = len(record.pairs) + len(record.rejected)
        record.rejected += [
            _row(task, window) | {"reason": "the source cannot be read up to here"}
            for window in task.windows[n_seen:]
        ]
        write_atomic(task.record, json.dumps(asdict(record)), task.temporary)
    except OSError as error:
        raise OutputError(f"{error.strerror or error}: {error.filename or task.out}") from error
    return record


def _until_unreadable(
    exposures: Iterator[_Exposed], task: SegmentTask, record: SegmentRecord
) -> Iterator[_Exposed]:
    """End quietly where reading fails: only this segment is the poorer for it."""
    try:
        yield from exposures
    except Exception as error:  # damaged files make libraries raise anything
        record.problems.append(f"{task.source}: cannot be read ({type(error).__name__}: {error})")


def _row(task: SegmentTask, window: Window) -> dict[str, Any]:
    return window_row(split=task.split, sequence=task.sequence, source=task.source, window=window)


def _exposures(
    task: SegmentTask, probe: Probe, on_problem: Callable[[str], None]
) -> Iterator[_Exposed]:
    """Each window with a ring of frames, the order of its frames in it, and why it is rejected."""
    config = task.config
    info = probe.info
    assert info is not None
    source = open_source(
        probe.source.path,
        fps=config.fps,
        hdr=config.camera if config.hdr else None,
        decode_threads=task.decode_threads,
        info=info,
    )
    height, width = config.output_size_hw(info.size_hw)
    ring = np.empty((task.n_frames, height, width, 3), np.uint8)
    index_in_ring = np.full(task.n_frames, -1)
    change_before = np.full(task.n_frames, np.nan)
    thumbnail: NDArray[np.int16] | None = None
    waiting = list(reversed(task.windows))

    def finish(window: Window) -> _Exposed:
        wanted = np.arange(window.start, window.stop)
        order = wanted % task.n_frames
        missing = wanted[index_in_ring[order] != wanted]
        if len(missing):
            return window, ring, order, f"frame {missing[0]} cannot be decoded"
        changes = change_before[order[1:]]
        return window, ring, order, _fault(changes, window) if config.check else ""

    for index, frame in source.read(waiting[-1].start, waiting[0].stop, on_problem):
        while waiting and index >= waiting[-1].stop:
            yield finish(waiting.pop())
        if not waiting:
            return
        if index < waiting[-1].start:
            continue
        slot = index % task.n_frames
        if frame.shape[:2] == (height, width):
            ring[slot] = frame
        else:
            cv2.resize(frame, (width, height), dst=ring[slot], interpolation=cv2.INTER_AREA)
        previous, thumbnail = thumbnail, _thumbnail(frame)
        change_before[slot] = np.nan if previous is None else np.abs(thumbnail - previous).mean()
        index_in_ring[slot] = index
        if index == waiting[-1].stop - 1:
            yield finish(waiting.pop())
    while waiting:
        yield finish(waiting.pop())


def _thumbnail(frame: Rgb) -> NDArray[np.int16]:
    """Every n-th green value, not smoothed, so that small motion still shows."""
    step = max(1, min(frame.shape[:2]) // _THUMBNAIL_LINES)
    return frame[step // 2 :: step, step // 2 :: step, 1].astype(np.int16)


def _fault(changes: NDArray[np.float64], window: Window) -> str:
    """Why a window is no exposure of one scene, from the changes between its frames."""
    if len(changes) < 2:
        return ""
    least, largest = int(np.argmin(changes)), int(np.argmax(changes))
    others = np.delete(changes, largest)
    cut = f"scene cut before frame {window.start + largest + 1}"
    if changes[largest] >= max(_CUT_CHANGE, _CUT_RATIO * others.max()):
        return cut
    if others.max() >= _MOVING_CHANGE and changes[least] < _REPEAT_RATIO * others.max():
        return f"frame {window.start + least + 1} repeats the one before"
    if changes[largest] >= max(_CUT_CHANGE, _CUT_RATIO * float(np.median(others))):
        return cut  # two in one window, or a flash
    return ""


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
    probe_file: Path,
    decode_threads: int,
) -> SegmentTask:
    """Pack a segment for a worker."""
    sequence = segment.sequence
    return SegmentTask(
        name=segment.name,
        split=sequence.split,
        sequence=sequence.name,
        source=sequence.probe.source.name,
        n_frames=sequence.n_frames,
        windows=segment.windows,
        probe_file=probe_file,
        source_sha256=sequence.probe.sha256,
        out=out,
        temporary=state / f"{segment.name}.tmp",
        record=state / f"{segment.name}.json",
        config=config,
        decode_threads=decode_threads,
    )
