"""The inner loops of averaging, for `gopro_tools.machine_code`."""

from typing import Any

import numpy as np
from numba import njit

from gopro_tools.averaging import BIN_SHIFT, CODE_SHIFT, PAIRS_AT_ONCE
from gopro_tools.machine_code import INNER_OPTIONS, OPTIONS

# Unsigned, as numba turns a mix of uint64 and int64 into float64.
_CODE_SHIFT = np.uint64(CODE_SHIFT)
_LIGHT_MASK = np.uint64((1 << CODE_SHIFT) - 1)
_CODE_MASK = np.uint16(255)

assert PAIRS_AT_ONCE == 4  # as `_sum_up` is written out


@njit(**OPTIONS)
def average_light(
    memory: Any,
    starts: Any,
    step: Any,
    pairs: Any,
    summands: Any,
    pair_summands: Any,
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
        row = y * blur_gamma.shape[1] * step
        _sum_up(memory, starts, row, step, pairs, summands, pair_summands, sums)
        for i in range(blur_gamma.shape[1]):
            light = np.int64(sums[i])
            code = np.int64(code_of_bin[light >> BIN_SHIFT])
            if light >= limits[code + 1] - margin:
                place = row + i * step
                code = _code_near_limit(
                    light, code, limits, margin, memory, starts, place, exact_light, exact_limits
                )
            blur_gamma[y, i] = code


@njit(**OPTIONS)
def average_both(
    memory: Any,
    starts: Any,
    step: Any,
    pairs: Any,
    summands: Any,
    pair_summands: Any,
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
        row = y * blur.shape[1] * step
        _sum_up(memory, starts, row, step, pairs, summands, pair_summands, sums)
        for i in range(blur.shape[1]):
            blur[y, i] = rounded_mean[sums[i] >> _CODE_SHIFT]
            light = np.int64(sums[i] & _LIGHT_MASK)
            code = np.int64(code_of_bin[light >> BIN_SHIFT])
            if light >= limits[code + 1] - margin:
                place = row + i * step
                code = _code_near_limit(
                    light, code, limits, margin, memory, starts, place, exact_light, exact_limits
                )
            blur_gamma[y, i] = code


@njit(**INNER_OPTIONS)
def _sum_up(
    memory: Any,
    starts: Any,
    row: Any,
    step: Any,
    pairs: Any,
    summands: Any,
    pair_summands: Any,
    sums: Any,
) -> None:
    """Sums of one row, two frames a look-up and eight a pass: loads are what takes the time."""
    n_frames = len(starts)
    n_values = len(sums)
    pair_0, pair_1, pair_2, pair_3 = pairs[0], pairs[1], pairs[2], pairs[3]
    if n_frames % 2:
        _pair_up(memory, starts[0] + row, starts[0] + row, step, pair_0)
        for i in range(n_values):
            sums[i] = summands[pair_0[i] & _CODE_MASK]
    else:
        for i in range(n_values):
            sums[i] = 0
    k = n_frames % 2
    while k + 8 <= n_frames:
        for j in range(4):
            _pair_up(memory, starts[k + 2 * j] + row, starts[k + 2 * j + 1] + row, step, pairs[j])
        for i in range(n_values):
            sums[i] += (pair_summands[pair_0[i]] + pair_summands[pair_1[i]]) + (
                pair_summands[pair_2[i]] + pair_summands[pair_3[i]]
            )
        k += 8
    while k < n_frames:
        _pair_up(memory, starts[k] + row, starts[k + 1] + row, step, pair_0)
        for i in range(n_values):
            sums[i] += pair_summands[pair_0[i]]
        k += 2


@njit(**INNER_OPTIONS)
def _pair_up(memory: Any, first: Any, second: Any, step: Any, pair: Any) -> None:
    """Where `pair_summands` has what two codes add, for one row.

    With a step that the compiler knows, a loop takes many values at once: hence two of them.
    """
    one, two = memory[first:], memory[second:]
    if step == 1:
        for i in range(len(pair)):
            pair[i] = np.uint16(one[i]) | np.uint16(two[i]) << np.uint16(8)
    else:  # 3, of a channel
        for i in range(len(pair)):
            pair[i] = np.uint16(one[3 * i]) | np.uint16(two[3 * i]) << np.uint16(8)


@njit(**INNER_OPTIONS)
def _code_near_limit(
    light: Any,
    code: Any,
    limits: Any,
    margin: Any,
    memory: Any,
    starts: Any,
    place: Any,
    exact_light: Any,
    exact_limits: Any,
) -> Any:
    """The code of a sum in a bin with a limit: where rounding could decide, in float64."""
    while light >= limits[code + 1]:
        code += 1
    if light - limits[code] >= margin and limits[code + 1] - light >= margin:
        return code
    mean = 0.0
    for start in starts:
        mean += exact_light[memory[start + place]]
    mean /= len(starts)
    return np.searchsorted(exact_limits, mean, side="right") - 1
