"""What every source of frames offers: facts known before decoding, and reading a range."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gopro_tools.images import Rgb
from gopro_tools.video.clock import Clock, read_clock
from gopro_tools.video.pictures import ContainerFacts, Look


@dataclass(frozen=True, slots=True)
class FrameProblem:
    """Why a frame, or what follows it, cannot be used."""

    text: str
    """A sentence that names the file; empty if already reported."""
    frame: int | None = None
    """Index of the first frame it concerns, where that is known."""
    reason: str = ""
    """For the list of rejected windows, such as "is 40x56 instead of 80x112 (HxW)"."""
    misplaced: bool = False
    """The index is wrong: a frame is not where its packet places it."""

    def __str__(self) -> str:
        """The sentence."""
        return self.text


_SAME_RATE = 0.02
"""Largest relative difference that rounding a rate, as 29.97 to 30, may make."""

Problem = Callable[[FrameProblem], None]
"""Called for each frame or stretch that cannot be read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceInfo:
    """What is known of a source before its frames are read."""

    path: Path
    kind: Literal["video", "frames"]
    look: Look
    """How the stored samples become upright pictures."""
    ticks: NDArray[np.int64]
    """(n_frames,) When each frame is shown, in display order, in units of `seconds_per_tick`;
    non-decreasing, as a clock that goes back is continued (see `parts`)."""
    seconds_per_tick: Fraction
    keyframes: NDArray[np.int64]
    """(n, 2) Where decoding can start: index of the first frame it gives, and tick to seek to, or
    how many packets to skip if ``by_order``."""
    frame_rate_from_header: float | None
    """What the container says; it may lie."""
    parts: tuple[int, ...] = ()
    """Frames before which the file's clock went back: recordings put together."""
    capture_rate_hz: float | None = None
    """Rate at which a slow-motion file says it was captured, where it does."""
    stream: int = 0
    """Number of the stream in its container."""
    other_streams: tuple[str, ...] = ()
    """The video streams that are not used, in words."""
    codec: str = ""
    hidden: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Ticks of stored frames that are not shown (an edit list hides them)."""
    cut_short: str = ""
    """What the header promises, if that is more than there is."""
    complaints: tuple[str, ...] = ()
    """Damage to the container that FFmpeg found while indexing the frames."""
    notes: tuple[str, ...] = ()
    """What a person should know about how the file is read, though nothing is wrong."""
    by_order: bool = False
    """The file's times do not tell its frames apart: frames are counted in the file's order."""
    headers: bytes = b""
    """Parameter sets that come with the first keyframe."""
    facts: ContainerFacts | None = None
    """For a video: what opening it revealed."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the upright frames, in pixels."""
        return self.look.geometry.size_hw

    @property
    def n_frames(self) -> int:
        """Frames that are presented (an edit list may hide stored ones)."""
        return len(self.ticks)

    @cached_property
    def _clock(self) -> Clock:
        return read_clock(self.ticks, self.seconds_per_tick, self.frame_rate_from_header)

    @property
    def frame_rate_measured(self) -> float:
        """Frames per second of playback, from the times themselves, ignoring gaps."""
        return float(1 / (self._clock.interval_ticks * self.seconds_per_tick))

    @property
    def constant_rate(self) -> bool:
        """Every interval is the usual one within a tick (240 Hz in whole ms is 4, 4, 4, 5, ...)."""
        return self._clock.constant

    def gaps(self) -> NDArray[np.int64]:
        """Indices of the frames before which time is missing (or runs double)."""
        return self._clock.gaps

    def rate_hz(self, override: float | None) -> float:
        """Frames per second of real time: ``--fps``, else the capture tag, else the times."""
        return override or self.capture_rate_hz or self.frame_rate_measured

    def times_s(self, override: float | None) -> NDArray[np.float64]:
        """(n_frames,) seconds of real time since the first frame."""
        slowdown = self.rate_hz(override) / self.frame_rate_measured
        seconds = (self.ticks - self.ticks[0]) * float(self.seconds_per_tick)
        return np.asarray(seconds / slowdown, dtype=np.float64)

    def record(self, override_hz: float | None) -> dict[str, Any]:
        """What the container said, what was measured and what was decided, for dataset.json."""
        look = self.look
        return {
            "kind": self.kind,
            "stream": self.stream,
            "other_streams": list(self.other_streams),
            "codec": self.codec,
            "pixel_format": look.pixel_format,
            "height": self.size_hw[0],
            "width": self.size_hw[1],
            "geometry": look.geometry.record(),
            "interlaced": look.interlaced,
            "color": look.color.text,
            "hdr": look.color.hdr,
            "transfer": look.color.curve,
            "n_frames": self.n_frames,
            "n_parts": len(self.parts) + 1,
            "frame_rate_from_header": self.frame_rate_from_header,
            "capture_rate_hz": self.capture_rate_hz,
            "frame_rate_measured": round(self.frame_rate_measured, 6),
            "constant_rate": self.constant_rate,
            "n_gaps": len(self.gaps()),
            "rate_hz": round(self.rate_hz(override_hz), 6),
            "notes": list(self.notes_at(override_hz)),
        }

    def notes_at(self, override_hz: float | None) -> tuple[str, ...]:
        """`notes`, plus one where ``--fps`` disagrees with the file's rate."""
        own_hz = self.rate_hz(None)
        is_own = override_hz is None or abs(override_hz / own_hz - 1) < _SAME_RATE
        if is_own or self.kind == "frames":  # images have no frame rate
            return self.notes
        said = (
            f"taken as {override_hz:.4g} frames a second, as --fps says; the file says {own_hz:.4g}"
        )
        return *self.notes, said


class FrameSource(Protocol):
    """Anything that gives frames: the seam for another decoder or file format."""

    @property
    def info(self) -> SourceInfo:
        """What is known without decoding."""
        ...

    def read(self, start: int, stop: int, on_problem: Problem) -> Iterator[tuple[int, Rgb]]:
        """Frames ``[start, stop)`` in order, with their indices.

        A frame that cannot be decoded or trusted is left out; ``on_problem`` is told why.
        """
        ...
