"""From what the user named to segments of work: sources, clips, windows, splits."""

import logging
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gopro_tools.dataset import SequenceName, Split
from gopro_tools.errors import InputError, PassingError
from gopro_tools.exposure import Window, windows
from gopro_tools.images import encode_png
from gopro_tools.synthesize.config import LOW_RATE_HZ, LOWEST_RATE_HZ, SynthesisConfig
from gopro_tools.synthesize.recordings import Member, choose_for_test, recordings_of
from gopro_tools.synthesize.sources import (
    Source,
    check_unchanged,
    hash_of,
    stamp_of,
    unique_stems,
)
from gopro_tools.synthesize.trouble import raise_if_passing
from gopro_tools.threads import thread_pool
from gopro_tools.video import FrameProblem, FrameSource, SourceInfo, check_response, open_source

logger = logging.getLogger(__name__)

_CLIP_GAP_S = 0.5
"""A gap in time this long starts a new clip; shorter ones only cost the windows that cross them."""
_UNEVEN = 0.15
"""A window whose frames take this much more or less time than usual has another rate."""
_STRETCHED = 0.02
"""Logarithm of a change of aspect ratio beyond rounding to whole pixels."""
_SEGMENT_FRAMES = (150, 1200)
"""Segments are cut from the source alone, never from the number of workers. Each boundary costs
about a window of frames that are decoded twice; an interruption, up to one segment per worker."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """A source after a first look, or the reason it cannot be used."""

    source: Source
    sha256: str = ""
    stamp: str = ""
    """Size and modification time when it was hashed, to notice that the file was changed."""
    info: SourceInfo | None = None
    png_bytes: int = 0
    """Size of its first frame, resized as asked, as PNG: the measure for the space needed."""
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """A window that gives no pair."""

    window: Window
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SequencePlan:
    """One clip of one source: a folder of the future dataset."""

    name: str
    split: Split
    recording: str
    """What it is a part of; no recording is in both splits."""
    n_frames: int
    probe: Probe
    windows: tuple[Window, ...]
    rejected: tuple[Rejected, ...]
    """Windows that a gap in time rules out before anything is decoded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Windows of one sequence that one worker decodes in one go."""

    number: int
    """Position in the sequence."""
    sequence: SequencePlan
    windows: tuple[Window, ...]

    @property
    def name(self) -> str:
        """Unique in the dataset."""
        return f"{self.sequence.split}-{self.sequence.name}-{self.number:05d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that will be made."""

    config: SynthesisConfig
    probes: tuple[Probe, ...]
    sequences: tuple[SequencePlan, ...]
    segments: tuple[Segment, ...]

    @property
    def failed(self) -> dict[str, str]:
        """Sources that yield nothing, and why."""
        return {probe.source.name: probe.error for probe in self.probes if probe.error}

    @property
    def in_order(self) -> list[SequencePlan]:
        """The sequences in the order of the tables."""
        return sorted(self.sequences, key=lambda sequence: (sequence.split, sequence.name))

    @property
    def n_windows(self) -> int:
        """Number of pairs, if no window is rejected once its frames are decoded."""
        return sum(len(sequence.windows) for sequence in self.sequences)

    @property
    def bytes_needed(self) -> int:
        """Estimated size of the images."""
        return self.bytes_of(self.segments)

    def bytes_of(self, segments: Sequence[Segment]) -> int:
        """Estimated size of the images of some segments."""
        n_kinds = len(self.config.kinds)
        return sum(len(s.windows) * n_kinds * s.sequence.probe.png_bytes for s in segments)

    def about_splits(self) -> str:
        """Whether splits share recordings, as a sentence for the card: checked, not assumed."""
        recordings: dict[Split, set[str]] = {}
        contents: dict[Split, set[str]] = {}
        for sequence in self.sequences:
            recordings.setdefault(sequence.split, set()).add(sequence.recording)
            contents.setdefault(sequence.split, set()).add(sequence.probe.sha256)
        if len(recordings) < 2:
            return f"All pairs are in `{next(iter(recordings), 'train')}/`."
        if set.intersection(*recordings.values()) or set.intersection(*contents.values()):
            return "**Splits share recordings**: results on `test/` would be too optimistic."
        return (
            "Splits share no recording (chapters, copies and equal files are one, by name, length "
            "and hash)."
        )

    def identity(self) -> dict[str, object]:
        """What decides every pixel: equal identities give equal datasets."""
        return {
            "config": self.config.effective(),
            "sources": {probe.source.name: probe.sha256 for probe in self.probes},
        }


def probe_source(source: Source, config: SynthesisConfig) -> Probe:
    """First look at a source: its hash, its frames' times, its first frame.

    Raises:
        PassingError: It cannot be read for a reason that may pass; damage is noted in the result.
    """
    try:
        stamp = stamp_of(source.path)
        with thread_pool(1) as beside:
            hashing = beside.submit(hash_of, source.path)
            info, png_bytes = _looked_at(source, config)
            sha256 = hashing.result()
        check_unchanged(source, sha256, stamp)
        return Probe(source=source, sha256=sha256, stamp=stamp, info=info, png_bytes=png_bytes)
    except PassingError:
        raise
    except InputError as error:
        return Probe(source=source, sha256=_hash_or_empty(source.path), error=str(error))
    except Exception as error:  # damaged files make libraries raise anything; the run continues
        raise_if_passing(error, source.path)
        reason = f"{type(error).__name__}: {error}"
        return Probe(source=source, error=f"{source.path}: cannot be read ({reason}).")


def _looked_at(source: Source, config: SynthesisConfig) -> tuple[SourceInfo, int]:
    """What is known of a source that can be used, and the size of its first frame as PNG."""
    reader = open_as_asked(source.path, config)
    info = reader.info
    check_response(source.path, info.look.color, config.camera)
    rate_hz = info.rate_hz(config.fps)
    if rate_hz * config.interpolate < 0.99 * LOWEST_RATE_HZ and not config.allow_low_rate:
        raise InputError(
            f"{source.path}: {rate_hz:.4g} frames a second; at least {LOWEST_RATE_HZ:.0f} "
            "expected, as the mean of frames so far apart shows ghosts, not blur. If it was "
            "filmed faster, say so with --fps; --interpolate 8 fills the gaps; "
            "--allow-low-rate takes it as it is."
        )
    problems: list[FrameProblem] = []
    first = next(iter(reader.read(0, info.n_frames, problems.append)), None)
    if first is None:
        raise InputError(f"{source.path}: no frame can be read. {' '.join(map(str, problems[:1]))}")
    height, width = info.size_hw
    out_height, out_width = config.output_size_hw(info.size_hw)
    if out_height > height or out_width > width:
        raise InputError(
            f"{source.path}: {height}x{width} (HxW), smaller than --size "
            f"{out_height}x{out_width}; frames only shrink."
        )
    area = out_height * out_width / (height * width)
    return info, round(len(encode_png(first[1])) * area)


def _hash_or_empty(path: Path) -> str:
    try:
        return hash_of(path)
    except OSError:
        return ""


def make_plan(probes: Sequence[Probe], config: SynthesisConfig) -> Plan:
    """Decide on clips, windows, splits and segments, from the probes and the config alone."""
    usable = [probe for probe in probes if probe.info is not None]
    stems = unique_stems([probe.source.name for probe in usable])
    recordings = recordings_of(
        [_member(probe, stem) for probe, stem in zip(usable, stems, strict=True)]
    )
    in_test = choose_for_test(
        recordings,
        fraction=config.test_fraction,
        patterns=config.test_recordings,
        seed=config.seed,
    )
    sequences = [
        sequence
        for probe, stem, recording in zip(usable, stems, recordings, strict=True)
        for sequence in _sequences(
            probe, stem, recording, "test" if recording in in_test else "train", config
        )
    ]
    for probe in usable:
        for note in probe.info.notes_at(config.fps) if probe.info is not None else ():
            logger.info("%s: %s", probe.source.name, note)
    sequences = [sequence for sequence in sequences if sequence.windows or sequence.rejected]
    used = {sequence.probe.source for sequence in sequences}
    return Plan(
        config=config,
        probes=tuple(
            probe if probe.error or probe.source in used else _too_short(probe, config)
            for probe in probes
        ),
        sequences=tuple(sequences),
        segments=tuple(segment for sequence in sequences for segment in _segments(sequence)),
    )


def _member(probe: Probe, stem: str) -> Member:
    info = probe.info
    assert info is not None
    return Member(
        name=probe.source.name,
        stem=stem,
        sha256=probe.sha256,
        n_frames=info.n_frames,
        duration_s=info.n_frames / info.frame_rate_measured,
    )


def _too_short(probe: Probe, config: SynthesisConfig) -> Probe:
    info = probe.info
    assert info is not None
    n_beside = 2 * config.margin_frames(1 / info.rate_hz(config.fps))
    beside = f" and the {n_beside} beside it that --readout-ms needs" if n_beside else ""
    return Probe(
        source=probe.source,
        sha256=probe.sha256,
        error=f"{probe.source.path}: {info.n_frames} frames give no window of "
        f"{config.frames}{beside}. The file is cut short, or too many frames per window are asked "
        "for.",
    )


def _sequences(
    probe: Probe, stem: str, recording: str, split: Split, config: SynthesisConfig
) -> Iterator[SequencePlan]:
    info = probe.info
    assert info is not None
    rate_hz = info.rate_hz(config.fps)
    if rate_hz * config.interpolate < 0.99 * LOW_RATE_HZ:
        logger.warning(
            "%s: %.4g frames a second; below %.0f fast motion leaves ghosts instead of blur.",
            probe.source.name,
            rate_hz,
            LOW_RATE_HZ,
        )
    here, there = info.size_hw, config.output_size_hw(info.size_hw)
    if config.size_hw and abs(math.log(here[0] * there[1] / (here[1] * there[0]))) > _STRETCHED:
        logger.warning(
            "%s: its frames are %dx%d (HxW); --size %dx%d has another aspect ratio and stretches "
            "them.",
            *(probe.source.name, *here, *there),
        )
    times_s = info.times_s(config.fps)
    tick_s = float(info.seconds_per_tick) * info.frame_rate_measured / rate_hz
    gaps = info.gaps()
    missing_s = np.diff(times_s)[gaps - 1] - 1 / rate_hz
    long_gaps = gaps[missing_s >= _CLIP_GAP_S].tolist()
    breaks = [0, *sorted({*long_gaps, *info.parts}), info.n_frames]
    for clip, (start, stop) in enumerate(pairwise(breaks)):
        draw = random.Random(f"{config.seed}:{stem}:{clip}")
        n_frames = config.frame_counts[-1]
        if config.draw_per == "clip":
            n_frames = draw.choice(config.frame_counts)
        margin = config.margin_frames(1 / rate_hz)
        # The grid is that of an odd number: with an even one, the windows start a frame later.
        grid = windows(
            start + margin,
            stop - margin,
            n_frames=n_frames | 1,
            stride=config.stride or n_frames,
            clip=clip,
        )
        planned: list[Window] = []
        rejected: list[Rejected] = []
        for cell in grid:
            of_image = n_frames
            if config.draw_per == "image":
                of_image = random.Random(f"{config.seed}:{stem}:{clip}:{cell.blur_number}").choice(
                    config.frame_counts
                )
            window = cell.around_middle(of_image)
            if config.max_pairs is not None and len(planned) + len(rejected) >= config.max_pairs:
                break
            seen = window.widened(margin)
            gap = gaps[(gaps > seen.start) & (gaps < seen.stop)]
            reason = f"gap in time before frame {gap[0]}" if len(gap) else ""
            reason = reason or _uneven(seen, times_s, 1 / rate_hz, tick_s)
            if reason:
                rejected.append(Rejected(window=window, reason=reason))
            else:
                planned.append(window)
        yield SequencePlan(
            name=str(SequenceName(stem=stem, n_frames=n_frames, clip=clip)),
            split=split,
            recording=recording,
            n_frames=n_frames,
            probe=probe,
            windows=tuple(planned),
            rejected=tuple(rejected),
        )


def _uneven(window: Window, times_s: NDArray[np.float64], interval_s: float, tick_s: float) -> str:
    """Why the frames of a window are not as far apart as those of its clip; "" if they are."""
    expected = (window.stop - window.start - 1) * interval_s
    found = float(times_s[window.stop - 1] - times_s[window.start])
    if abs(found - expected) <= max(_UNEVEN * expected, 2 * tick_s):
        return ""
    return (
        f"its frames take {1000 * found:.1f} ms instead of {1000 * expected:.1f} ms: the rate is "
        "another one here"
    )


def open_as_asked(
    path: Path, config: SynthesisConfig, info: SourceInfo | None = None, decode_threads: int = 1
) -> FrameSource:
    """Open a source as the config says; see `open_source`."""
    return open_source(
        path,
        fps=config.fps,
        hdr=config.camera if config.hdr else None,
        stream=config.stream,
        deinterlace=config.deinterlace,
        decode_threads=decode_threads,
        info=info,
    )


def _segments(sequence: SequencePlan) -> Iterator[Segment]:
    """Cut a sequence where a keyframe lets a decoder start without going far back."""
    info = sequence.probe.info
    assert info is not None
    shortest, longest = _SEGMENT_FRAMES
    # A multiple of four, so that two or four workers end together; many in a long video, as
    # keyframes keep them from having equal lengths.
    n_segments = 4 * max(1, min(info.n_frames // (4 * shortest), 16))
    target = max(1, min(info.n_frames // n_segments, longest))
    keys = info.keyframes[:, 0]
    begin = sequence.windows[0].start if sequence.windows else 0
    number = 0
    current: list[Window] = []
    for window in sequence.windows:
        if current:
            key = keys[np.searchsorted(keys, window.start, side="right") - 1]
            # Multiples of the length from the start: if one segment is longer, the next one is
            # shorter.
            is_due = (window.start - begin) // target > (current[0].start - begin) // target
            if is_due and key > current[-1].start:
                yield Segment(number=number, sequence=sequence, windows=tuple(current))
                number, current = number + 1, []
        current.append(window)
    if current:
        yield Segment(number=number, sequence=sequence, windows=tuple(current))
