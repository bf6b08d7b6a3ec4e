"""Averaging the frames of one exposure in linear light, exactly.

A blurred photograph is modelled as B = g(mean of g^-1(S_i)) over the M frames S_i of one exposure,
g being the camera response (Nah et al., CVPR 2017, eq. 3). The middle frame is its sharp truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gopro_tools.images import Rgb
from gopro_tools.response import Response

# Unsigned, as numba turns a mix of uint64 and int64 into float64.
_CODE_SHIFT = np.uint64(40)
_LIGHT_MASK = np.uint64((1 << 40) - 1)
_BIN_SHIFT = 18


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
        for values, tables in self._channels:
            _average_rows(
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
    """Least code that a sum of light in a bin of 2**_BIN_SHIFT can have."""
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
    bins = np.arange(1 << (32 - _BIN_SHIFT)) << _BIN_SHIFT
    return _Tables(
        summands=np.rint(exact_light * scale).astype(np.uint64)
        | np.arange(256, dtype=np.uint64) << _CODE_SHIFT,
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


@njit(nogil=True, cache=True)
def _average_rows(  # type: ignore[no-untyped-def]
    frames,
    order,
    summands,
    code_of_bin,
    rounded_mean,
    limits,
    margin,
    exact_light,
    exact_limits,
    blur_gamma,
    blur,
):
    """Row by row, so that the sums stay in the first-level cache."""
    n_frames = len(order)
    height, n_values = blur.shape
    sums = np.empty(n_values, np.uint64)
    for y in range(height):
        sums[:] = 0
        k = 0
        while k + 4 <= n_frames:  # four frames a pass: a quarter of the loads and stores of sums
            row_0 = frames[order[k], y]
            row_1 = frames[order[k + 1], y]
            row_2 = frames[order[k + 2], y]
            row_3 = frames[order[k + 3], y]
            for i in range(n_values):
                sums[i] += (summands[row_0[i]] + summands[row_1[i]]) + (
                    summands[row_2[i]] + summands[row_3[i]]
                )
            k += 4
        while k < n_frames:
            row_0 = frames[order[k], y]
            for i in range(n_values):
                sums[i] += summands[row_0[i]]
            k += 1
        for i in range(n_values):
            blur[y, i] = rounded_mean[sums[i] >> _CODE_SHIFT]
            light = np.int64(sums[i] & _LIGHT_MASK)
            code = np.int64(code_of_bin[light >> _BIN_SHIFT])
            if light >= limits[code + 1] - margin:
                while light >= limits[code + 1]:
                    code += 1
                if light - limits[code] < margin or limits[code + 1] - light < margin:
                    code = _exact_code(frames[:, y, i], order, exact_light, exact_limits)
            blur_gamma[y, i] = code


@njit(nogil=True, cache=True)
def _exact_code(codes, order, exact_light, exact_limits):  # type: ignore[no-untyped-def]
    """The float64 definition itself, for a sum too near a limit."""
    mean = 0.0
    for k in order:
        mean += exact_light[codes[k]]
    mean /= len(order)
    return np.searchsorted(exact_limits, mean, side="right") - 1
