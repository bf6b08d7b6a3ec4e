"""The SSIM inner loops, compiled: one pass over the two images, rows kept in cache.

Both windows are separable, and the index needs four local averages, not five: with s = x + y and
d = x - y, everything in it follows from the averages of s, d, s² and d². That saves a fifth of the
filtering and, better, makes d = 0 give exactly 1, because the two factors become

    (μs² - μd² + 2 C1) / (μs² + μd² + 2 C1)    and    (σs² - σd² + 2 C2) / (σs² + σd² + 2 C2).

Whole numbers are added and squared as 32-bit integers and turned to float64 once per window row;
float32 is never accurate enough here (μ² of a bright flat area alone has an error near C2 / 10⁴).

All kernels take planes, (channels, H, W), release the GIL and run on one core: the images of a
folder are the parallel axis. `gopro_tools.metrics.kernels` calls them, as machine code.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from gopro_tools.machine_code import INNER_OPTIONS, OPTIONS
from gopro_tools.metrics.windows import GAUSSIAN_RADIUS, GAUSSIAN_SIGMA, UNIFORM_SIZE

_taps = np.exp(-0.5 * (np.arange(-GAUSSIAN_RADIUS, GAUSSIAN_RADIUS + 1) / GAUSSIAN_SIGMA) ** 2)
_taps /= _taps.sum()
WEIGHTS: tuple[float, ...] = tuple(float(tap) for tap in _taps[GAUSSIAN_RADIUS:])
"""The Gaussian's taps from its centre outwards."""

_mix = np.zeros((3, 3))
for _channel in range(3):
    for _offset in range(-GAUSSIAN_RADIUS, GAUSSIAN_RADIUS + 1):
        _mix[_channel, min(max(_channel + _offset, 0), 2)] += WEIGHTS[abs(_offset)]
CHANNEL_MIX = tuple(tuple(float(weight) for weight in row) for row in _mix)
"""The same Gaussian along an axis of three channels with replicated ends, as a 3x3 matrix."""

C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2

# No reordering of sums, so a result does not depend on the machine's vector width; only the fused
# multiply-add is allowed.
_loop = njit(**OPTIONS, fastmath={"contract"})
_inner = njit(**INNER_OPTIONS, fastmath={"contract"})


def _exact(value: Any) -> Any:
    """Keep whole numbers in 32 bits (numba would widen them, at half the speed).

    This body runs only with compilation switched off, where Python's integers are exact.
    """
    return int(value) if isinstance(value, np.integer) else value


@overload(_exact, inline="always")
def _exact_for_type(value: Any) -> Any:
    def narrowed(value: Any) -> Any:
        return np.int32(value)

    def unchanged(value: Any) -> Any:
        return value

    return narrowed if isinstance(value, types.Integer) else unchanged


@_inner
def _average_column(x: Any, y: Any, row: int, averages: Any) -> None:
    """Weighted averages of s, d, s², d² over 11 rows around ``row``, rows replicated at the ends.

    Written to ``averages`` (4, W + 10), leaving room for the horizontal ends.
    """
    last = x.shape[0] - 1
    # Tuples of rows, not indices: the compiler then sees 22 plain pointers and vectorises.
    xs = (
        x[row],
        x[max(row - 1, 0)], x[max(row - 2, 0)], x[max(row - 3, 0)],
        x[max(row - 4, 0)], x[max(row - 5, 0)],
        x[min(row + 1, last)], x[min(row + 2, last)], x[min(row + 3, last)],
        x[min(row + 4, last)], x[min(row + 5, last)],
    )  # fmt: skip
    ys = (
        y[row],
        y[max(row - 1, 0)], y[max(row - 2, 0)], y[max(row - 3, 0)],
        y[max(row - 4, 0)], y[max(row - 5, 0)],
        y[min(row + 1, last)], y[min(row + 2, last)], y[min(row + 3, last)],
        y[min(row + 4, last)], y[min(row + 5, last)],
    )  # fmt: skip
    out_s, out_d, out_ss, out_dd = averages[0], averages[1], averages[2], averages[3]
    for j in range(x.shape[1]):
        s = _exact(_exact(xs[0][j]) + _exact(ys[0][j]))
        d = _exact(_exact(xs[0][j]) - _exact(ys[0][j]))
        mean_s = WEIGHTS[0] * s
        mean_d = WEIGHTS[0] * d
        mean_ss = WEIGHTS[0] * _exact(s * s)
        mean_dd = WEIGHTS[0] * _exact(d * d)
        for k in range(1, GAUSSIAN_RADIUS + 1):
            x_above, x_below = _exact(xs[k][j]), _exact(xs[k + GAUSSIAN_RADIUS][j])
            y_above, y_below = _exact(ys[k][j]), _exact(ys[k + GAUSSIAN_RADIUS][j])
            s, s_below = _exact(x_above + y_above), _exact(x_below + y_below)
            d, d_below = _exact(x_above - y_above), _exact(x_below - y_below)
            mean_s += WEIGHTS[k] * _exact(s + s_below)
            mean_d += WEIGHTS[k] * _exact(d + d_below)
            mean_ss += WEIGHTS[k] * _exact(s * s + s_below * s_below)
            mean_dd += WEIGHTS[k] * _exact(d * d + d_below * d_below)
        out_s[j + GAUSSIAN_RADIUS] = mean_s
        out_d[j + GAUSSIAN_RADIUS] = mean_d
        out_ss[j + GAUSSIAN_RADIUS] = mean_ss
        out_dd[j + GAUSSIAN_RADIUS] = mean_dd


@_inner
def _average_row(padded: Any, averages: Any) -> None:
    """Weighted average over 11 columns; the ends of ``padded`` (W + 10) are filled here."""
    width = averages.shape[0]
    for k in range(GAUSSIAN_RADIUS):
        padded[k] = padded[GAUSSIAN_RADIUS]
        padded[width + GAUSSIAN_RADIUS + k] = padded[width + GAUSSIAN_RADIUS - 1]
    for j in range(width):
        centre = j + GAUSSIAN_RADIUS
        mean = WEIGHTS[0] * padded[centre]
        for k in range(1, GAUSSIAN_RADIUS + 1):
            mean += WEIGHTS[k] * (padded[centre - k] + padded[centre + k])
        averages[j] = mean


@_inner
def _add_index(means: Any, mask: Any, totals: Any) -> None:
    """Add mask times SSIM of one row to ``totals`` (W), from the four averages of the row."""
    mean_s, mean_d, mean_ss, mean_dd = means[0], means[1], means[2], means[3]
    for j in range(totals.shape[0]):
        s_squared = mean_s[j] * mean_s[j]
        d_squared = mean_d[j] * mean_d[j]
        s_variance = mean_ss[j] - s_squared
        d_variance = mean_dd[j] - d_squared
        numerator = (s_squared - d_squared + 2 * C1) * (s_variance - d_variance + 2 * C2)
        denominator = (s_squared + d_squared + 2 * C1) * (s_variance + d_variance + 2 * C2)
        totals[j] += mask[j] * (numerator / denominator)


@_inner
def _average_channels(means: Any, mixed: Any) -> None:
    """Weighted averages over the channel axis: (3, 4, W) to (3, 4, W)."""
    for field in range(4):
        red, green, blue = means[0, field], means[1, field], means[2, field]
        for channel in range(3):
            from_red, from_green, from_blue = CHANNEL_MIX[channel]
            out = mixed[channel, field]
            for j in range(out.shape[0]):
                out[j] = from_red * red[j] + from_green * green[j] + from_blue * blue[j]


@_inner
def _total(values: Any, start: Any, stop: Any) -> Any:
    total = 0.0
    for j in range(start, stop):
        total += values[j]
    return total


@_loop
def gaussian_ssim(
    x: Any,
    y: Any,
    mask: Any,
    everywhere: Any,
    padded: Any,
    means: Any,
    mixed: Any,
    totals: Any,
    result: Any,
) -> None:
    """See `gopro_tools.metrics.kernels.gaussian_ssim`; the other arguments are room to work in.

    Args:
        x: (channels, H, W).
        y: The same.
        mask: (H, W).
        everywhere: (W), ones.
        padded: (4, W + 10).
        means: (channels, 4, W).
        mixed: (3, 4, W).
        totals: (2, W), zeros.
        result: (2), both means.
    """
    n_channels, height, width = x.shape
    inside_totals, cube_totals = totals[0], totals[1]
    n_inside = 0
    for row in range(height):
        for channel in range(n_channels):
            _average_column(x[channel], y[channel], row, padded)
            for field in range(4):
                _average_row(padded[field], means[channel, field])
        if GAUSSIAN_RADIUS <= row < height - GAUSSIAN_RADIUS:
            for channel in range(n_channels):
                _add_index(means[channel], mask[row], inside_totals)
            for j in range(GAUSSIAN_RADIUS, width - GAUSSIAN_RADIUS):
                n_inside += mask[row, j]
        if n_channels == 3:
            _average_channels(means, mixed)
            for channel in range(3):
                _add_index(mixed[channel], everywhere, cube_totals)
    inside = _total(inside_totals, GAUSSIAN_RADIUS, width - GAUSSIAN_RADIUS)
    result[0] = inside / (n_channels * n_inside)
    cube = _total(cube_totals, 0, width)
    result[1] = cube / (3 * height * width) if n_channels == 3 else np.nan


@_inner
def _add_row(x: Any, y: Any, sign: Any, sums: Any) -> None:
    """Add (sign 1) or subtract (sign -1) one row's s, d, s², d² in ``sums`` (4, W)."""
    sum_s, sum_d, sum_ss, sum_dd = sums[0], sums[1], sums[2], sums[3]
    for j in range(x.shape[0]):
        s = _exact(_exact(x[j]) + _exact(y[j]))
        d = _exact(_exact(x[j]) - _exact(y[j]))
        sum_s[j] += _exact(sign * s)
        sum_d[j] += _exact(sign * d)
        sum_ss[j] += _exact(sign * _exact(s * s))
        sum_dd[j] += _exact(sign * _exact(d * d))


@_inner
def _add_uniform_index(sums: Any, factor: Any, totals: Any) -> None:
    """Add SSIM of one row of windows to ``totals``, from the column sums of 7 rows.

    Every number up to the quotient is an integer below 2^30: 49·Σs² - (Σs)² is the exact
    variance times 49².
    """
    column_s, column_d, column_ss, column_dd = sums[0], sums[1], sums[2], sums[3]
    n = UNIFORM_SIZE * UNIFORM_SIZE
    luminance_constant = factor * 2 * C1 * n * n
    contrast_constant = factor * 2 * C2 * n * (n - 1)  # sample covariance
    for j in range(totals.shape[0]):
        s = np.int32(0)
        d = np.int32(0)
        ss = np.int32(0)
        dd = np.int32(0)
        for k in range(UNIFORM_SIZE):
            s = _exact(s + column_s[j + k])
            d = _exact(d + column_d[j + k])
            ss = _exact(ss + column_ss[j + k])
            dd = _exact(dd + column_dd[j + k])
        s_squared, d_squared = _exact(s * s), _exact(d * d)
        s_variance, d_variance = _exact(n * ss - s_squared), _exact(n * dd - d_squared)
        numerator = (_exact(s_squared - d_squared) + luminance_constant) * (
            _exact(s_variance - d_variance) + contrast_constant
        )
        denominator = (_exact(s_squared + d_squared) + luminance_constant) * (
            _exact(s_variance + d_variance) + contrast_constant
        )
        totals[j] += numerator / denominator


@_loop
def uniform_ssim(x: Any, y: Any, factor: Any, sums: Any, totals: Any, result: Any) -> None:
    """See `gopro_tools.metrics.kernels.uniform_ssim`; the other arguments are room to work in.

    Args:
        x: (channels, H, W).
        y: The same.
        factor: Square of the constants' data range over 255.
        sums: (4, W).
        totals: (windows in a row), zeros.
        result: (1), the mean.
    """
    n_channels, height, width = x.shape
    for channel in range(n_channels):
        for field in range(4):
            for j in range(width):
                sums[field, j] = 0
        for row in range(height):
            _add_row(x[channel, row], y[channel, row], np.int32(1), sums)
            first = row - UNIFORM_SIZE + 1
            if first >= 0:
                _add_uniform_index(sums, factor, totals)
                _add_row(x[channel, first], y[channel, first], np.int32(-1), sums)
    n_windows = n_channels * max(height - UNIFORM_SIZE + 1, 0) * totals.shape[0]
    result[0] = _total(totals, 0, totals.shape[0]) / n_windows
