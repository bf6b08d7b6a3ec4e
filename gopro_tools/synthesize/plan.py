"""From what the user named to segments of work: sources, clips, windows, splits."""

import fnmatch
import hashlib
import logging
import os
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from gopro_tools.dataset import SequenceName, Split, recording_of
from gopro_tools.errors import InputError
from gopro_tools.exposure import Window, windows
from gopro_tools.files import natural_key, sha256_of_file
from gopro_tools.images import IMAGE_SUFFIXES, encode_png
from gopro_tools.synthesize.config import LOW_RATE_HZ, LOWEST_RATE_HZ, SynthesisConfig
from gopro_tools.video import VIDEO_SUFFIXES, SourceInfo, open_source

logger = logging.getLogger(__name__)

DATASET_FILE = "dataset.json"
"""The record of a finished dataset."""
_CLIP_GAP_S = 0.5
"""A gap in time this long starts a new clip; shorter ones only cost the windows that cross them."""
_SEGMENT_FRAMES = (150, 1200)
"""Segments are cut from the source alone, never from the number of workers. Each boundary costs
about a window of frames that are decoded twice; an interruption, up to a segment a worker."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file or folder to read, and what to call it."""

    path: Path
    name: str
    """Path from the folder the user named, with forward slashes: the same on every machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """A source after a first look, or the reason it cannot be used."""

    source: Source
    sha256: str = ""
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
    """One clip of one source: a folder of the dataset to be."""

    name: str
    split: Split
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
    """Everything that is going to be made."""

    config: SynthesisConfig
    probes: tuple[Probe, ...]
    sequences: tuple[SequencePlan, ...]
    segments: tuple[Segment, ...]

    @property
    def failed(self) -> dict[str, str]:
        """Sources that give nothing, and why."""
        return {probe.source.name: probe.error for probe in self.probes if probe.error}

    @property
    def n_windows(self) -> int:
        """Pairs, if no window is rejected when its frames are seen."""
        return sum(len(sequence.windows) for sequence in self.sequences)

    @property
    def bytes_needed(self) -> int:
        """Estimated size of the images."""
        return self.bytes_of(self.segments)

    def bytes_of(self, segments: Sequence[Segment]) -> int:
        """Estimated size of the images of some segments."""
        n_kinds = len(self.config.kinds)
        return sum(len(s.windows) * n_kinds * s.sequence.probe.png_bytes for s in segments)

    def identity(self) -> dict[str, object]:
        """What decides every pixel: equal identities give equal datasets."""
        return {
            "config": self.config.effective(),
            "sources": {probe.source.name: probe.sha256 for probe in self.probes},
        }


def discover(paths: Sequence[Path], exclude: Path | None = None) -> list[Source]:
    """Video files and folders of frames among ``paths``, searched recursively, in natural order.

    Args:
        paths: Video files, folders of numbered frames, or folders that hold such.
        exclude: A folder to pass over: the output, where it lies inside an input. Datasets made
            earlier are passed over too.

    Raises:
        InputError: A path does not exist, or nothing usable was found.
    """
    found: dict[Path, str] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; a video or a folder expected.")
        if path.is_file():
            found.setdefault(path.resolve(), path.name)
            continue
        for entry in _search(path, exclude.resolve() if exclude else None):
            name = entry.relative_to(path).as_posix()
            found.setdefault(entry.resolve(), path.resolve().name if name == "." else name)
    if not found:
        raise InputError(
            f"{', '.join(map(str, paths))}: neither videos ({' '.join(sorted(VIDEO_SUFFIXES))}) "
            "nor folders of numbered frames there."
        )
    sources = [Source(path=path, name=name) for path, name in found.items()]
    return sorted(sources, key=lambda source: (natural_key(source.name), str(source.path)))


def _search(folder: Path, exclude: Path | None) -> Iterator[Path]:
    for directory, subfolders, files in os.walk(folder):
        here = Path(directory)
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".")
            and (here / name).resolve() != exclude
            and not (here / name / DATASET_FILE).exists()
        )
        suffixes = {Path(name).suffix.lower() for name in files if not name.startswith(".")}
        if suffixes & IMAGE_SUFFIXES and not suffixes & VIDEO_SUFFIXES:
            yield here
        yield from (
            here / name
            for name in sorted(files)
            if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".")
        )


def probe_source(source: Source, config: SynthesisConfig) -> Probe:
    """First look at a source: its hash, its frames' times, its first frame. Raises nothing."""
    try:
        sha256 = _hash(source.path)
        reader = open_source(source.path, fps=config.fps, hdr=config.camera if config.hdr else None)
        info = reader.info
        rate_hz = info.rate_hz(config.fps)
        if rate_hz < 0.99 * LOWEST_RATE_HZ and not config.allow_low_rate:
            raise InputError(
                f"{source.path}: {rate_hz:.4g} frames a second; at least {LOWEST_RATE_HZ:.0f} "
                "expected, as the mean of frames so far apart shows ghosts, not blur. If it was "
                "filmed faster, say so with --fps; --allow-low-rate takes it as it is."
            )
        problems: list[str] = []
        first = next(iter(reader.read(0, info.n_frames, problems.append)), None)
        if first is None:
            raise InputError(f"{source.path}: no frame can be read. {' '.join(problems[:1])}")
        height, width = info.size_hw
        out_height, out_width = config.output_size_hw(info.size_hw)
        if out_height > height or out_width > width:
            raise InputError(
                f"{source.path}: {height}x{width} (HxW), smaller than --size "
                f"{out_height}x{out_width}; frames only shrink."
            )
        area = out_height * out_width / (height * width)
        return Probe(
            source=source,
            sha256=sha256,
            info=info,
            png_bytes=round(len(encode_png(first[1])) * area),
        )
    except InputError as error:
        return Probe(source=source, sha256=_hash_or_empty(source.path), error=str(error))
    except Exception as error:  # damaged files make libraries raise anything; the run goes on
        reason = f"{type(error).__name__}: {error}"
        return Probe(source=source, error=f"{source.path}: cannot be read ({reason}).")


def _hash(path: Path) -> str:
    """SHA-256 of a file; of a folder, of its images' names and hashes."""
    if path.is_file():
        return sha256_of_file(path)
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
    listing = "".join(f"{sha256_of_file(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def _hash_or_empty(path: Path) -> str:
    try:
        return _hash(path)
    except OSError:
        return ""


def make_plan(probes: Sequence[Probe], config: SynthesisConfig) -> Plan:
    """Decide on clips, windows, splits and segments, from the probes and the config alone."""
    usable = [probe for probe in probes if probe.info is not None]
    stems = _unique_stems([probe.source.name for probe in usable])
    test_recordings = _test_recordings([recording_of(stem) for stem in stems], config)
    sequences = [
        sequence
        for probe, stem in zip(usable, stems, strict=True)
        for sequence in _sequences(
            probe, stem, "test" if recording_of(stem) in test_recordings else "train", config
        )
    ]
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


def _too_short(probe: Probe, config: SynthesisConfig) -> Probe:
    n_frames = probe.info.n_frames if probe.info else 0
    return Probe(
        source=probe.source,
        sha256=probe.sha256,
        error=f"{probe.source.path}: {n_frames} frames give no window of {config.frames}. The file "
        "is cut short, or --frames is too many for it.",
    )


def _unique_stems(names: Sequence[str]) -> list[str]:
    """File name without folder and suffix; as much of the path as tells equal ones apart."""
    stems = [_safe(Path(name).stem) for name in names]
    paths = [_safe(str(Path(name).with_suffix(""))) for name in names]
    full = [_safe(name) for name in names]
    for longer in (paths, full, [f"{name}-{i}" for i, name in enumerate(full)]):
        # Names are compared as a file system that ignores case would.
        folded = [stem.casefold() for stem in stems]
        stems = [
            long if folded.count(fold) > 1 else stem
            for stem, fold, long in zip(stems, folded, longer, strict=True)
        ]
    return stems


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name.replace("/", "-")).strip("-.") or "video"


def _test_recordings(recordings: Sequence[str], config: SynthesisConfig) -> set[str]:
    distinct = sorted(set(recordings))
    if config.test_recordings:
        return _named_recordings(distinct, config.test_recordings)
    if config.test_fraction == 0 or not distinct:
        return set()
    if len(distinct) == 1:
        logger.warning("Only one recording: it all goes to train/, as splits share no recording.")
        return set()
    ranked = sorted(
        distinct, key=lambda name: hashlib.sha256(f"{config.seed}:{name}".encode()).digest()
    )
    n_test = min(max(round(config.test_fraction * len(distinct)), 1), len(distinct) - 1)
    return set(ranked[:n_test])


def _named_recordings(recordings: Sequence[str], patterns: Sequence[str]) -> set[str]:
    named = {pattern: fnmatch.filter(recordings, pattern) for pattern in patterns}
    if unmatched := [pattern for pattern, found in named.items() if not found]:
        # A slip of the pen would train on what was meant for testing.
        raise InputError(
            f"--test-recordings {' '.join(unmatched)}: no usable recording of that name; there are "
            f"{', '.join(recordings)}."
        )
    return {name for found in named.values() for name in found}


def _sequences(
    probe: Probe, stem: str, split: Split, config: SynthesisConfig
) -> Iterator[SequencePlan]:
    info = probe.info
    assert info is not None
    rate_hz = info.rate_hz(config.fps)
    if rate_hz < 0.99 * LOW_RATE_HZ:
        logger.warning(
            "%s: %.4g frames a second; below %.0f fast motion leaves ghosts instead of blur.",
            probe.source.name,
            rate_hz,
            LOW_RATE_HZ,
        )
    times_s = info.times_s(config.fps)
    gaps = info.gaps()
    missing_s = np.diff(times_s)[gaps - 1] - 1 / rate_hz
    breaks = [0, *gaps[missing_s >= _CLIP_GAP_S].tolist(), info.n_frames]
    for clip, (start, stop) in enumerate(pairwise(breaks)):
        draw = random.Random(f"{config.seed}:{stem}:{clip}")
        n_frames = draw.choice(config.frame_counts)
        planned: list[Window] = []
        rejected: list[Rejected] = []
        for window in windows(start, stop, n_frames=n_frames, stride=config.stride, clip=clip):
            if config.max_pairs is not None and len(planned) + len(rejected) >= config.max_pairs:
                break
            gap = gaps[(gaps > window.start) & (gaps < window.stop)]
            if len(gap):
                reason = f"gap in time before frame {gap[0]}"
                rejected.append(Rejected(window=window, reason=reason))
            else:
                planned.append(window)
        yield SequencePlan(
            name=str(SequenceName(stem=stem, n_frames=n_frames, clip=clip)),
            split=split,
            n_frames=n_frames,
            probe=probe,
            windows=tuple(planned),
            rejected=tuple(rejected),
        )


def _segments(sequence: SequencePlan) -> Iterator[Segment]:
    """Cut a sequence where a keyframe lets a decoder start without going back far."""
    info = sequence.probe.info
    assert info is not None
    shortest, longest = _SEGMENT_FRAMES
    # A multiple of four, so that two or four workers end together; many in a long video, as
    # keyframes do not let all be of one length.
    n_segments = 4 * max(1, min(info.n_frames // (4 * shortest), 16))
    target = min(info.n_frames // n_segments, longest)
    keys = info.keyframes[:, 0]
    number = 0
    current: list[Window] = []
    for window in sequence.windows:
        if current:
            key = keys[np.searchsorted(keys, window.start, side="right") - 1]
            if window.start - current[0].start >= target and key > current[-1].start:
                yield Segment(number=number, sequence=sequence, windows=tuple(current))
                number, current = number + 1, []
        current.append(window)
    if current:
        yield Segment(number=number, sequence=sequence, windows=tuple(current))
