"""One segment of work: decode, check, average, write. This is what runs in worker processes."""

import json
import pickle
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.exposure import Window
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png, pixel_hash, sharpness
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.faults import Thumbnail, fault, thumbnail_of
from gopro_tools.synthesize.plan import Probe, Segment, open_as_asked
from gopro_tools.synthesize.sources import check_unchanged
from gopro_tools.video import FrameProblem

if TYPE_CHECKING:
    from gopro_tools.averaging import ExposureAverager

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
        InputError: The source is another one than when it was looked at first.
    """
    probe = _load_probe(task.probe_file, task.source_sha256)
    record = SegmentRecord(name=task.name)
    config = task.config
    assert probe.info is not None
    times_s = probe.info.times_s(config.fps)
    interval_s = 1 / probe.info.rate_hz(config.fps)
    averager = _averager(config, task.n_frames)
    try:
        exposures = _exposures(task, probe, record.problems)
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
                row[f"hash_{kind}"] = pixel_hash(images[kind]) if kind in config.kinds else ""
            for kind in config.kinds:
                path = task.out / task.split / task.sequence / kind / window.file_name
                write_atomic(path, encode_png(images[kind]), task.temporary)
            record.pairs.append(row)
        check_unchanged(probe.source, probe.sha256, probe.stamp)
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


def _exposures(task: SegmentTask, probe: Probe, problems: list[str]) -> Iterator[_Exposed]:
    """Each window with a ring of frames, the order of its frames in it, and why it is rejected."""
    config = task.config
    info = probe.info
    assert info is not None
    source = open_as_asked(probe.source.path, config, info, task.decode_threads)
    height, width = config.output_size_hw(info.size_hw)
    ring = np.empty((task.n_frames, height, width, 3), np.uint8)
    index_in_ring = np.full(task.n_frames, -1)
    change_before = np.full(task.n_frames, np.nan)
    thumbnails: list[Thumbnail | None] = [None] * task.n_frames
    previous: Thumbnail | None = None
    reasons: dict[int, str] = {}
    waiting = list(reversed(task.windows))

    def note(problem: FrameProblem) -> None:
        if problem.text:
            problems.append(problem.text)
        if problem.frame is not None and problem.reason:
            reasons[problem.frame] = problem.reason

    def finish(window: Window) -> _Exposed:
        wanted = np.arange(window.start, window.stop)
        order = wanted % task.n_frames
        missing = wanted[index_in_ring[order] != wanted]
        if len(missing):
            index = int(missing[0])
            return window, ring, order, f"frame {index} {reasons.get(index, 'cannot be decoded')}"
        if not config.check:
            return window, ring, order, ""
        seen = [thumbnail for i in order if (thumbnail := thumbnails[i]) is not None]
        return window, ring, order, fault(change_before[order[1:]], window, seen)

    for index, frame in source.read(waiting[-1].start, waiting[0].stop, note):
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
        thumbnail = thumbnail_of(frame)
        change_before[slot] = np.nan if previous is None else np.abs(thumbnail - previous).mean()
        previous = thumbnails[slot] = thumbnail
        index_in_ring[slot] = index
        if index == waiting[-1].stop - 1:
            yield finish(waiting.pop())
    while waiting:
        yield finish(waiting.pop())


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
