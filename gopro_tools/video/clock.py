"""When frames are shown: their typical interval, gaps, and clocks too coarse for the rate.

A container rounds times to its own tick. Matroska's is a millisecond, so that 720 fps comes as
1, 1, 2, 1, 1, 2, ... ticks and 1057 fps has frames that share a tick. Such intervals are not gaps:
what counts is whether the times as a whole lie on a straight line, within the rounding.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Ticks = NDArray[np.int64]

_COARSE_TICKS = 4
"""With fewer ticks between frames than this, rounding alone can look like a gap."""
_LAGS = (8, 32)
"""Frames over which rounding averages out; the first pass must not rely on an exact interval."""
_SLACK_TICKS = (0.25, 0.1)
_HEADER_ERROR = 0.02
"""A header's rate is trusted if the times differ from it by less than this share."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What follows from the times of a clip."""

    interval_ticks: float
    """Interval from frame to frame, ignoring gaps."""
    gaps: Ticks
    """Indices of the frames before which time is missing (or runs double)."""
    constant: bool
    """Every interval is the usual one, within the rounding to ticks."""


def read_clock(ticks: Ticks, seconds_per_tick: Fraction, rate_from_header: float | None) -> Clock:
    """Interval and gaps of frames shown at ``ticks``, (n_frames,), non-decreasing.

    Args:
        ticks: When each frame is shown.
        seconds_per_tick: The clock's resolution.
        rate_from_header: Frames per second according to the container; only decides whether the
            clock is exact, so that every frame falls on a whole tick.
    """
    intervals = np.diff(ticks)
    if len(intervals) == 0:
        return Clock(1.0, np.empty(0, np.int64), True)
    median = float(np.median(intervals))
    if median < _COARSE_TICKS and not _is_exact(seconds_per_tick, rate_from_header, median):
        return _coarse(ticks, seconds_per_tick, rate_from_header)
    usual = intervals[intervals <= 1.5 * median]
    if (alike := usual[usual >= 0.6 * median]).size:
        usual = alike  # without doubled frames and those of a faster part
    interval = float(usual.mean()) or 1.0
    odd = (intervals > 1.5 * interval) | (intervals < 0.5 * interval)
    constant = bool((np.abs(intervals - interval) <= 1).all())
    return Clock(interval, np.flatnonzero(odd) + 1, constant)


def _is_exact(seconds_per_tick: Fraction, rate_hz: float | None, median: float) -> bool:
    """Whether a frame's interval is a whole number of ticks (AVI counts frames, for one)."""
    if not rate_hz:
        return median >= 1 and seconds_per_tick != Fraction(1, 1000)
    ticks = 1 / (rate_hz * float(seconds_per_tick))
    return round(ticks) >= 1 and abs(ticks - round(ticks)) < 1e-3 * ticks


def _coarse(ticks: Ticks, seconds_per_tick: Fraction, rate_hz: float | None) -> Clock:
    intervals = np.diff(ticks)
    interval = _typical_of_coarse(ticks, min(_LAGS[0], len(intervals)))
    from_header = 1 / (rate_hz * float(seconds_per_tick)) if rate_hz else 0.0
    if abs(from_header - interval) < _HEADER_ERROR * interval:
        interval = from_header
    odd = np.zeros(len(intervals), dtype=bool)
    for longest, slack in zip(_LAGS, _SLACK_TICKS, strict=True):
        odd = _off_the_line(ticks, interval, longest, slack)
        measured = float(intervals[~odd].mean()) if not odd.all() else interval
        is_header = abs(from_header - measured) * len(intervals) < 1
        interval = from_header if is_header else measured
    return Clock(interval or 1.0, np.flatnonzero(odd) + 1, not odd.any())


def _typical_of_coarse(ticks: Ticks, lag: int) -> float:
    """Interval from the steps over ``lag`` frames without a gap: of two neighbouring lengths."""
    steps = ticks[lag:] - ticks[:-lag]
    lengths, counts = np.unique(steps, return_counts=True)
    together = [counts[(lengths == n) | (lengths == n + 1)].sum() for n in lengths]
    usual = lengths[int(np.argmax(together))]
    return float(steps[(steps == usual) | (steps == usual + 1)].mean()) / lag


def _off_the_line(ticks: Ticks, interval: float, longest: int, slack: float) -> NDArray[np.bool_]:
    """Intervals without which these ticks are a straight line of that slope, rounded."""
    intervals = np.diff(ticks)
    odd = np.zeros(len(intervals), dtype=bool)
    for sign in (1, -1):
        stretches: list[tuple[int, int]] = []
        for lag in range(1, min(longest, len(intervals)) + 1):
            excess = sign * (ticks[lag:] - ticks[:-lag] - interval * lag)
            starts = np.flatnonzero(excess >= 1 + slack)
            stretches += [(start + lag, start) for start in starts.tolist()]
        # Each stretch holds an odd interval: take the fewest that explain all stretches.
        stretches.sort()
        i = 0
        while i < len(stretches):
            end = stretches[i][0]
            start = stretches[i][1]
            while i < len(stretches) and stretches[i][1] < end:
                start = max(start, stretches[i][1])
                i += 1
            odd[start + int(np.argmax(sign * intervals[start:end]))] = True
    return odd


_REORDERED = 17
"""Pictures are decoded at most this many places ahead of display (H.264, HEVC: 16)."""


def restarts(ticks: Ticks) -> Ticks:
    """Indices of the frames at which the clock goes back, as in joined recordings."""
    return np.flatnonzero(np.diff(ticks) < 0) + 1


def in_disorder(ticks: Ticks, starts: Ticks) -> bool:
    """Whether times go back by only a few frames, not to a beginning, as no recording does."""
    if len(starts) == 0:
        return False
    step = float(np.median(np.abs(np.diff(ticks)))) or 1.0
    begins = np.concatenate([[0], starts[:-1]])
    back = ticks[starts - 1] - ticks[starts]
    anew = ticks[starts] <= ticks[begins] + step
    return bool((~anew & (back <= _REORDERED * step)).any())


def one_timeline(ticks: Ticks, starts: Ticks) -> Ticks:
    """Non-decreasing times: each part follows the one before at that one's usual interval."""
    result = ticks.copy()
    for start in starts.tolist():
        before = np.diff(result[:start])
        step = max(1, round(float(np.median(before[before >= 0])))) if len(before) else 1
        result[start:] += result[start - 1] + step - result[start]
    return result
