"""Light gathered over an exposure, row by row: the mean of frames, also with a rolling shutter."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gopro_tools.response import Response


@dataclass(frozen=True)
class Light:
    """What an exposure gathered."""

    mean: NDArray[np.float32]
    """(H, W, 3) mean linear light of the frames, in [0, 1]."""
    clipped: NDArray[np.float32]
    """(H, W, 3) share of the frames, in [0, 1], that were saturated there (code 255)."""


def expose(
    frames: NDArray[np.uint8],
    response: Response,
    *,
    order: NDArray[np.int64] | None = None,
    n_frames: int | None = None,
    readout_frames: float = 0.0,
) -> Light:
    """Mean light of frames, each row over its own window of them.

    A rolling shutter reads the rows one after the other: row r of H rows is exposed r T / H later
    than the first. The middle row gets the middle ``n_frames`` frames; others get a window shifted
    by a fractional number of frames, whose first and last frames count in part.

    Args:
        frames: (N, H, W, 3) uint8 RGB.
        response: Decodes them.
        order: (n,) which of the N frames, in time order; all by default.
        n_frames: Length of an exposure in frames; all of ``order`` by default.
        readout_frames: How many frames pass while the sensor is read out (T). ``order`` must hold
            half as many more on either side.

    Raises:
        ValueError: Too few frames for the readout.
    """
    order = np.arange(len(frames)) if order is None else order
    n_frames = len(order) if n_frames is None else n_frames
    height = frames.shape[1]
    rows = np.arange(height)
    # The middle row is (H - 1) / 2, so that both ends shift equally.
    shift = readout_frames * (rows - (height - 1) / 2) / height
    first = (len(order) - n_frames) / 2 + shift
    if first[0] < -1e-9 or first[-1] + n_frames > len(order) + 1e-9:
        raise ValueError(
            f"{len(order)} frames are too few for {n_frames} and a readout of {readout_frames:g}"
        )
    shape = frames.shape[1:]
    mean, clipped = np.empty(shape, np.float32), np.empty(shape, np.float32)
    curves = np.ascontiguousarray(response.linear_of_code.T, np.float32)
    _expose_rows(
        frames, order.astype(np.int64), np.maximum(first, 0), float(n_frames), curves, mean, clipped
    )
    return Light(mean, clipped)


@njit(nogil=True, cache=True, fastmath=True)
def _expose_rows(frames, order, first, length, curves, mean, clipped):  # type: ignore[no-untyped-def]
    _, height, width, _ = frames.shape
    n_values = 3 * width
    total = np.empty(n_values, np.float32)
    full = np.empty(n_values, np.float32)
    for y in range(height):
        total[:] = 0
        full[:] = 0
        start = first[y]
        stop = min(start + length, float(len(order)))
        for k in range(int(start), min(int(np.ceil(stop)), len(order))):
            weight = np.float32((min(stop, k + 1.0) - max(start, float(k))) / length)
            if weight <= 0:
                continue
            frame = frames[order[k], y]
            for x in range(width):
                for c in range(3):
                    code = frame[x, c]
                    total[3 * x + c] += weight * curves[c, code]
                    if code == 255:
                        full[3 * x + c] += weight
        for x in range(width):
            for c in range(3):
                mean[y, x, c] = total[3 * x + c]
                clipped[y, x, c] = full[3 * x + c]
