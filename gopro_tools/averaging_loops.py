"""The inner loops of averaging, for `gopro_tools.machine_code`."""

from typing import Any

import numpy as np
from numba import njit

from gopro_tools.averaging import (
    BIN_SHIFT,
    CODE_SHIFT,
    PAIRS_AT_ONCE,
)
from gopro_tools.averaging_vectors import (
    HAS_LOOKUPS,
    MOST_FRAMES,
    N_AT_ONCE,
    add_light_of_64,
    codes_of_64,
)
from gopro_tools.machine_code import INNER_OPTIONS, OPTIONS

# Unsigned, as numba turns a mix of uint64 and int64 into float64.
_CODE_SHIFT = np.uint64(CODE_SHIFT)
_CODE_MASK = np.uint16(255)

assert PAIRS_AT_ONCE == 4  # as `_sum_up` is written out


@njit(**OPTIONS)
def average_light(
    memory: Any,
    starts: Any,
    step: Any,
    pairs: Any,
    tables: Any,
    summands: Any,
    pair_summands: Any,
    code_of_bin: Any,
    bins: Any,
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
        _sum_up(memory, starts, row, step, pairs, tables, summands, pair_summands, sums)
        _set_codes(
            sums, code_of_bin, bins, limits, margin, memory, starts, row, step, exact_light,
            exact_limits, blur_gamma[y],
        )  # fmt: skip


@njit(**OPTIONS)
def average_both(
    memory: Any,
    starts: Any,
    step: Any,
    pairs: Any,
    tables: Any,
    summands: Any,
    pair_summands: Any,
    code_of_bin: Any,
    bins: Any,
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
        _sum_up(memory, starts, row, step, pairs, tables, summands, pair_summands, sums)
        for i in range(blur.shape[1]):
            blur[y, i] = rounded_mean[sums[i] >> _CODE_SHIFT]
        _set_codes(
            sums, code_of_bin, bins, limits, margin, memory, starts, row, step, exact_light,
            exact_limits, blur_gamma[y],
        )  # fmt: skip


@njit(**INNER_OPTIONS)
def _sum_up_by_vectors(
    memory: Any,
    starts: Any,
    row: Any,
    step: Any,
    pairs: Any,
    tables: Any,
    summands: Any,
    pair_summands: Any,
    sums: Any,
) -> None:
    """Sums of one row: as many values at once as fit, the last ones one by one."""
    if step != 1:
        _sum_up_by_pairs(memory, starts, row, step, pairs, tables, summands, pair_summands, sums)
        return
    whole = len(sums) - len(sums) % N_AT_ONCE
    sums[:whole] = 0
    for first in range(0, len(starts), MOST_FRAMES):
        stop = min(first + MOST_FRAMES, len(starts))
        for i in range(0, whole, N_AT_ONCE):
            add_light_of_64(memory, starts, row + i, first, stop, tables, sums, i)
    for i in range(whole, len(sums)):
        sums[i] = 0
        for start in starts:
            sums[i] += summands[memory[start + row + i]]


@njit(**INNER_OPTIONS)
def _sum_up_by_pairs(
    memory: Any,
    starts: Any,
    row: Any,
    step: Any,
    pairs: Any,
    tables: Any,
    summands: Any,
    pair_summands: Any,
    sums: Any,
) -> None:
    """The same, two frames a look-up and eight a pass: loads are what takes the time."""
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


_sum_up = _sum_up_by_vectors if HAS_LOOKUPS else _sum_up_by_pairs


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
def _set_codes_by_vectors(
    sums: Any,
    code_of_bin: Any,
    bins: Any,
    limits: Any,
    margin: Any,
    memory: Any,
    starts: Any,
    row: Any,
    step: Any,
    exact_light: Any,
    exact_limits: Any,
    codes: Any,
) -> None:
    """The codes of one row: many at once, and one by one where rounding could decide."""
    for first in range(0, len(sums), N_AT_ONCE):
        stop = first + N_AT_ONCE
        if stop > len(sums) or codes_of_64(sums, bins, margin, codes, first):
            _set_codes_singly(
                sums[first:stop], code_of_bin, bins, limits, margin, memory, starts,
                row + first * step, step, exact_light, exact_limits, codes[first:stop],
            )  # fmt: skip


@njit(**INNER_OPTIONS)
def _set_codes_singly(
    sums: Any,
    code_of_bin: Any,
    bins: Any,
    limits: Any,
    margin: Any,
    memory: Any,
    starts: Any,
    row: Any,
    step: Any,
    exact_light: Any,
    exact_limits: Any,
    codes: Any,
) -> None:
    """The same, value by value."""
    for i in range(len(codes)):
        light = np.int64(np.uint32(sums[i]))
        code = np.int64(code_of_bin[light >> BIN_SHIFT])
        if light >= limits[code + 1] - margin:
            place = row + i * step
            code = _code_near_limit(
                light, code, limits, margin, memory, starts, place, exact_light, exact_limits
            )
        codes[i] = code


_set_codes = _set_codes_by_vectors if HAS_LOOKUPS else _set_codes_singly


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
