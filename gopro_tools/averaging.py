"""Averaging the frames of one exposure in linear light, exactly.

A blurred photograph is modelled as B = g(mean of g^-1(S_i)) over the M frames S_i of one exposure,
g being the camera response (Nah et al., CVPR 2017, eq. 3). The middle frame is its sharp truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gopro_tools.images import Rgb
from gopro_tools.machine_code import Loop
from gopro_tools.response import Response

CODE_SHIFT = 40
"""A summand for both means holds light below this bit, the code above it."""
BIN_SHIFT = 18
"""Sums of light are looked up in bins of 2 ** this."""


def _loops(columns: str) -> tuple[Loop, Loop]:
    """The loops over rows with one curve for all values (``::1``), or over every third (``:``)."""
    rows = f"uint8[:,{columns}]"
    tables = ("uint8[::1]", "int64[::1]", "int64", "float64[::1]", "float64[::1]")
    frames = (f"uint8[:,:,{columns}]", "uint64[::1]")
    return (
        Loop(
            "gopro_tools.averaging_loops:average_light",
            *(*frames, "uint32[::1]", *tables, "uint32[::1]", rows),
        ),
        Loop(
            "gopro_tools.averaging_loops:average_both",
            *(*frames, "uint64[::1]", *tables, "uint64[::1]", rows, "uint8[::1]", rows),
        ),
    )


_CONTIGUOUS = _loops("::1")
_STRIDED = _loops(":")


@dataclass(frozen=True, slots=True)
class Exposure:
    """The two blurred images GOPRO makes of the same frames, (H, W, 3) uint8."""

    blur_gamma: Rgb
    """Averaged in linear light, then encoded: the paper's input."""
    blur: Rgb
    """Plain mean of the code values."""


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
            self._light_loop, self._both_loop = _CONTIGUOUS
            self._channels = [(slice(None), _tables(response, 0, n_frames))]
        else:
            self._light_loop, self._both_loop = _STRIDED
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
        rows, in_order = self._checked(frames, order)
        blur_gamma, blur = (
            np.empty(frames.shape[1:], np.uint8),
            np.empty(frames.shape[1:], np.uint8),
        )
        for values, tables in self._channels:
            of_gamma = _rows_of(blur_gamma)[:, values]
            self._both_loop(
                rows[:, :, values],
                in_order,
                tables.summands_of_both,
                *tables.of_light,
                np.empty(of_gamma.shape[1], np.uint64),
                of_gamma,
                tables.rounded_mean,
                _rows_of(blur)[:, values],
            )
        return Exposure(blur_gamma=blur_gamma, blur=blur)

    def average_light(
        self, frames: NDArray[np.uint8], order: NDArray[np.int64] | None = None
    ) -> Rgb:
        """``blur_gamma`` of `average` alone, in less time."""
        rows, in_order = self._checked(frames, order)
        blur_gamma = np.empty(frames.shape[1:], np.uint8)
        for values, tables in self._channels:
            of_gamma = _rows_of(blur_gamma)[:, values]
            self._light_loop(
                rows[:, :, values],
                in_order,
                tables.summands,
                *tables.of_light,
                np.empty(of_gamma.shape[1], np.uint32),
                of_gamma,
            )
        return blur_gamma

    def _checked(
        self, frames: NDArray[np.uint8], order: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
        """(N, H, 3 W) frames and their order, as the loops take them: they check no index."""
        order = np.arange(self.n_frames) if order is None else order
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"(N, H, W, 3) uint8 expected, found {frames.shape} {frames.dtype}")
        if order.shape != (self.n_frames,) or order.min() < 0 or order.max() >= len(frames):
            raise ValueError(f"{self.n_frames} frames expected, found {len(frames)}")
        rows = np.ascontiguousarray(frames).reshape(len(frames), frames.shape[1], -1)
        return rows, order.astype(np.uint64)


def _rows_of(image: Rgb) -> NDArray[np.uint8]:
    return image.reshape(len(image), -1)


class _Tables(NamedTuple):
    """One curve as the kernel needs it."""

    summands: NDArray[np.uint32]
    """(256,) Light that a code adds to a sum."""
    summands_of_both: NDArray[np.uint64]
    """(256,) The same below bit 40, and the code itself above."""
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

    @property
    def of_light(
        self,
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], int, *tuple[NDArray[np.float64], ...]]:
        """How sums of light become codes, in the order of the loops' arguments."""
        return self.code_of_bin, self.limits, self.margin, self.exact_light, self.exact_limits


def _tables(response: Response, channel: int, n_frames: int) -> _Tables:
    exact_light = np.ascontiguousarray(response.linear_of_code[:, channel])
    exact_limits = np.concatenate([[-np.inf], response.thresholds[:, channel], [np.inf]])
    scale = np.floor((2.0**32 - 1 - n_frames) / n_frames)
    margin = n_frames // 2 + 2  # up to 1/2 for each summand, up to 1 for the limit
    limits = np.concatenate(
        [[-1 << 40], np.floor(exact_limits[1:256] * (scale * n_frames)).astype(np.int64), [1 << 40]]
    )
    bins = np.arange(1 << (32 - BIN_SHIFT)) << BIN_SHIFT
    summands = np.rint(exact_light * scale).astype(np.uint32)
    return _Tables(
        summands=summands,
        summands_of_both=summands | np.arange(256, dtype=np.uint64) << np.uint64(CODE_SHIFT),
        code_of_bin=np.searchsorted(limits[1:256], bins - margin, side="right").astype(np.uint8),
        rounded_mean=np.rint(np.arange(255 * n_frames + 1) / n_frames).astype(np.uint8),
        limits=limits,
        margin=margin,
        exact_light=exact_light,
        exact_limits=exact_limits,
    )


def load_loops() -> None:
    """Load what averaging with one curve for all channels needs, ahead of its first use."""
    for loop in _CONTIGUOUS:
        loop.load()


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
