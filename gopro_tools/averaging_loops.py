"""The inner loops of averaging, for `gopro_tools.machine_code`."""

from typing import Any

import numpy as np
from numba import njit

from gopro_tools.averaging import BIN_SHIFT, CODE_SHIFT
from gopro_tools.machine_code import INNER_OPTIONS, OPTIONS

# Unsigned, as numba turns a mix of uint64 and int64 into float64.
_CODE_SHIFT = np.uint64(CODE_SHIFT)
_LIGHT_MASK = np.uint64((1 << CODE_SHIFT) - 1)


@njit(**OPTIONS)
def average_light(
    frames: Any,
    order: Any,
    summands: Any,
    code_of_bin: Any,
    limits: Any,
    margin: Any,
    exact_light: Any,
    exact_limits: Any,
    sums: Any,
    blur_gamma: Any,
) -> None:
    """The mean in linear light, row by row, so that the sums stay in the first-level cache."""
    for y in range(blur_gamma.shape[0]):
        _sum_up(frames, order, y, summands, sums)
        for i in range(blur_gamma.shape[1]):
            light = np.int64(sums[i])
            code = np.int64(code_of_bin[light >> BIN_SHIFT])
            if light >= limits[code + 1] - margin:
                code = _code_near_limit(
                    light, code, limits, margin, frames, order, y, i, exact_light, exact_limits
                )
            blur_gamma[y, i] = code


@njit(**OPTIONS)
def average_both(
    frames: Any,
    order: Any,
    summands: Any,
    code_of_bin: Any,
    limits: Any,
    margin: Any,
    exact_light: Any,
    exact_limits: Any,
    sums: Any,
    blur_gamma: Any,
    rounded_mean: Any,
    blur: Any,
) -> None:
    """The same, and the mean of the code values beside it."""
    for y in range(blur.shape[0]):
        _sum_up(frames, order, y, summands, sums)
        for i in range(blur.shape[1]):
            blur[y, i] = rounded_mean[sums[i] >> _CODE_SHIFT]
            light = np.int64(sums[i] & _LIGHT_MASK)
            code = np.int64(code_of_bin[light >> BIN_SHIFT])
            if light >= limits[code + 1] - margin:
                code = _code_near_limit(
                    light, code, limits, margin, frames, order, y, i, exact_light, exact_limits
                )
            blur_gamma[y, i] = code


@njit(**INNER_OPTIONS)
def _sum_up(frames: Any, order: Any, y: Any, summands: Any, sums: Any) -> None:
    """Sums of one row."""
    n_frames = len(order)
    n_values = len(sums)
    for i in range(n_values):
        sums[i] = 0
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


@njit(**INNER_OPTIONS)
def _code_near_limit(
    light: Any,
    code: Any,
    limits: Any,
    margin: Any,
    frames: Any,
    order: Any,
    y: Any,
    i: Any,
    exact_light: Any,
    exact_limits: Any,
) -> Any:
    """The code of a sum in a bin with a limit: where rounding could decide, in float64."""
    while light >= limits[code + 1]:
        code += 1
    if light - limits[code] >= margin and limits[code + 1] - light >= margin:
        return code
    mean = 0.0
    for k in order:
        mean += exact_light[frames[k, y, i]]
    mean /= len(order)
    return np.searchsorted(exact_limits, mean, side="right") - 1
