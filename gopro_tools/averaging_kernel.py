"""The compiled loop of `gopro_tools.exposure`: sums of light over frames, turned into codes."""

import numpy as np
from numba import njit

from gopro_tools.exposure import BIN_SHIFT, CODE_SHIFT

_LIGHT_MASK = (np.uint64(1) << CODE_SHIFT) - np.uint64(1)


@njit(nogil=True, cache=True)
def average_rows(  # type: ignore[no-untyped-def]
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
            blur[y, i] = rounded_mean[sums[i] >> CODE_SHIFT]
            light = np.int64(sums[i] & _LIGHT_MASK)
            code = np.int64(code_of_bin[light >> BIN_SHIFT])
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
