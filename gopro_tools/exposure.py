"""Which frames form one exposure, and averaging them in linear light.

A blurred photograph is modelled as B = g(mean of g^-1(S_i)) over the M frames S_i of one exposure,
g being the camera response (Nah et al., CVPR 2017, eq. 3). The middle frame is its sharp truth.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gopro_tools.dataset import middle_frame_number
from gopro_tools.images import Rgb
from gopro_tools.response import Response


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The frames of one exposure: zero-based indices, half open."""

    blur_number: int
    """Number of the blurred image, from 1, which names its file."""
    start: int
    stop: int

    @property
    def middle(self) -> int:
        """Index of the sharp frame."""
        return (self.start + self.stop) // 2

    @property
    def file_name(self) -> str:
        """Name of the pair's images."""
        return f"{self.blur_number:06d}.png"


def windows(
    start: int, stop: int, *, n_frames: int, stride: int | None = None, clip: int = 0
) -> Iterator[Window]:
    """Windows that fit into frames ``[start, stop)`` of a recording, numbered by GOPRO's rule.

    Args:
        start: First frame of the clip, zero-based.
        stop: End of the clip.
        n_frames: Frames a window (M), odd.
        stride: Frames from one window to the next; M by default: contiguous, no dead time.
        clip: Number of the clip in its recording (ZZ), which shifts the grid by that many frames.
    """
    stride = stride or n_frames
    half = n_frames // 2
    first = -(-(start + half + clip + 1 - (n_frames + 1) // 2) // stride) + 1
    number = max(first, 1)
    while True:
        middle = middle_frame_number(number, n_frames=n_frames, stride=stride, clip=clip) - 1
        if middle + half >= stop:
            return
        if middle - half >= start:
            yield Window(blur_number=number, start=middle - half, stop=middle + half + 1)
        number += 1


@dataclass(frozen=True, slots=True)
class Exposure:
    """The two blurred images GOPRO makes of the same frames, (H, W, 3) uint8."""

    blur_gamma: Rgb
    """Averaged in linear light, then encoded: the paper's input."""
    blur: Rgb
    """Plain mean of the code values."""


CODE_SHIFT = np.uint64(40)
BIN_SHIFT = 18


class ExposureAverager:
    """Averages windows of ``n_frames`` frames, exactly.

    Each value of ``blur_gamma`` is ``rint(255 * mean((v / 255) ** 2.2) ** (1 / 2.2))`` as float64
    arithmetic gives it (for the response gamma2.2; others alike), and each value of ``blur`` is
    ``around(mean(v))``. To be fast, light is summed as 32-bit integers and compared with integer
    thresholds; where the integers' rounding could decide, which happens a few times an image, the
    sum is repeated in float64.
    """

    def __init__(self, response: Response, n_frames: int) -> None:
        if n_frames < 1:
            raise ValueError(f"an exposure needs at least one frame, found {n_frames}")
        self.response = response
        self.n_frames = n_frames
        curves = response.linear_of_code
        if (curves == curves[:, :1]).all():
            # One curve: a row is averaged as one run of values, three times as long.
            self._channels = [(slice(None), _tables(response, 0, n_frames))]
        else:
            self._channels = [(slice(c, None, 3), _tables(response, c, n_frames)) for c in range(3)]

    def average(
        self, frames: NDArray[np.uint8], order: NDArray[np.int64] | None = None
    ) -> Exposure:
        """Average one window.

        Args:
            frames: (N, H, W, 3) uint8 RGB, C-contiguous.
            order: (n_frames,) which of the N frames, in time order; by default the first n_frames.

        Returns:
            Both blurred images.
        """
        order = np.arange(self.n_frames) if order is None else order
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"(N, H, W, 3) uint8 expected, found {frames.shape} {frames.dtype}")
        if order.shape != (self.n_frames,) or len(frames) == 0 or order.max() >= len(frames):
            raise ValueError(f"{self.n_frames} frames expected, found {len(frames)}")
        _, height, width, _ = frames.shape
        rows = np.ascontiguousarray(frames).reshape(-1, height, width * 3)
        blur_gamma = np.empty((height, width, 3), np.uint8)
        blur = np.empty((height, width, 3), np.uint8)
        # Imported here, as numba takes longer to load than a command may take to say it is done.
        from gopro_tools.averaging_kernel import average_rows

        for values, tables in self._channels:
            average_rows(
                rows[:, :, values],
                order.astype(np.uint64),
                *tables,
                blur_gamma.reshape(height, -1)[:, values],
                blur.reshape(height, -1)[:, values],
            )
        return Exposure(blur_gamma=blur_gamma, blur=blur)


class _Tables(NamedTuple):
    """One curve as the kernel needs it."""

    summands: NDArray[np.uint64]
    """(256,) What a code adds to a sum: light below bit 40, the code itself above."""
    code_of_bin: NDArray[np.uint8]
    """Least code that a sum of light in a bin of 2**BIN_SHIFT can have."""
    rounded_mean: NDArray[np.uint8]
    """Mean of the codes, rounded half to even, by their sum."""
    limits: NDArray[np.int64]
    """(257,) Least sum of light that gives a code."""
    margin: int
    """How far a sum and a limit together may be off by their rounding."""
    exact_light: NDArray[np.float64]
    """(256,) Light of a code."""
    exact_limits: NDArray[np.float64]
    """(257,) Least light that gives a code."""


def _tables(response: Response, channel: int, n_frames: int) -> _Tables:
    exact_light = np.ascontiguousarray(response.linear_of_code[:, channel])
    exact_limits = np.concatenate([[-np.inf], response.thresholds[:, channel], [np.inf]])
    scale = np.floor((2.0**32 - 1 - n_frames) / n_frames)
    margin = n_frames // 2 + 2  # up to 1/2 for each summand, up to 1 for the limit
    limits = np.concatenate(
        [[-1 << 40], np.floor(exact_limits[1:256] * (scale * n_frames)).astype(np.int64), [1 << 40]]
    )
    bins = np.arange(1 << (32 - BIN_SHIFT)) << BIN_SHIFT
    return _Tables(
        summands=np.rint(exact_light * scale).astype(np.uint64)
        | np.arange(256, dtype=np.uint64) << CODE_SHIFT,
        code_of_bin=np.searchsorted(limits[1:256], bins - margin, side="right").astype(np.uint8),
        rounded_mean=np.rint(np.arange(255 * n_frames + 1) / n_frames).astype(np.uint8),
        limits=limits,
        margin=margin,
        exact_light=exact_light,
        exact_limits=exact_limits,
    )


@lru_cache(maxsize=16)
def _averager(response: Response, n_frames: int) -> ExposureAverager:
    return ExposureAverager(response, n_frames)


def average_exposure(frames: NDArray[np.uint8] | Sequence[Rgb], response: Response) -> Exposure:
    """Both blurred images of one exposure; see `ExposureAverager` for what exactly.

    Args:
        frames: (M, H, W, 3) uint8 RGB in time order.
        response: The camera response that encoded them.
    """
    stacked = np.ascontiguousarray(frames)
    return _averager(response, len(stacked)).average(stacked)
