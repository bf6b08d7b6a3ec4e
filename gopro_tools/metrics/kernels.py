"""SSIM of two stacks of planes, by the loops of `gopro_tools.metrics.loops`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gopro_tools.machine_code import Loop
from gopro_tools.metrics.windows import GAUSSIAN_SIZE, UNIFORM_SIZE


def _gaussian(pixel: str) -> Loop:
    planes, row, rows = f"{pixel}[:,:,::1]", "float64[::1]", "float64[:,::1]"
    return Loop(
        "gopro_tools.metrics.loops:gaussian_ssim",
        *(planes, planes, "uint8[:,::1]", "uint8[::1]"),
        *(rows, "float64[:,:,::1]", "float64[:,:,::1]", rows, row),
    )


_GAUSSIAN_SSIM = {np.dtype(name): _gaussian(name) for name in ("uint8", "float64")}
_UNIFORM_SSIM = Loop(
    "gopro_tools.metrics.loops:uniform_ssim",
    *("uint8[:,:,::1]", "uint8[:,:,::1]", "float64"),
    *("int32[:,::1]", "float64[::1]", "float64[::1]"),
)


def load_loops() -> None:
    """Load what SSIM with a Gaussian window needs, ahead of its first use."""
    _GAUSSIAN_SSIM[np.dtype(np.uint8)].load()


def gaussian_ssim(x: NDArray[Any], y: NDArray[Any], mask: NDArray[np.uint8]) -> tuple[float, float]:
    """SSIM under the 11-tap Gaussian of σ 1.5, population covariance, in two averages.

    Args:
        x: (channels, H, W), uint8, or float64 in 0..255.
        y: The other image, of the same shape and type.
        mask: (H, W) uint8, 1 where a window centred there counts, for the first result.

    Returns:
        Mean over channels and all windows that lie inside the image (2-D windows; NaN where there
        is none), and mean over every pixel under 3-D windows that run over the channels as well,
        all edges replicated (NaN unless there are three channels).
    """
    _same_shape(x, y)
    n_channels, height, width = x.shape
    if mask.shape != (height, width):
        raise ValueError(f"a mask of {height}x{width} expected, found {mask.shape}")
    result = np.empty(2)
    _GAUSSIAN_SSIM[x.dtype](
        np.ascontiguousarray(x),
        np.ascontiguousarray(y),
        np.ascontiguousarray(mask),
        np.ones(width, np.uint8),
        np.empty((4, width + GAUSSIAN_SIZE - 1)),
        np.empty((n_channels, 4, width)),
        np.empty((3, 4, width)),
        np.zeros((2, width)),
        result,
    )
    return float(result[0]), float(result[1])


def uniform_ssim(x: NDArray[np.uint8], y: NDArray[np.uint8], data_range: float) -> float:
    """SSIM under a flat 7x7 window, sample covariance, mean over windows inside and channels.

    Args:
        x: (channels, H, W) uint8.
        y: The other image, of the same shape.
        data_range: What the constants are for: 255, unless code had it wrong.
    """
    _same_shape(x, y)
    width = x.shape[2]
    result = np.empty(1)
    _UNIFORM_SSIM(
        np.ascontiguousarray(x),
        np.ascontiguousarray(y),
        (data_range / 255.0) ** 2,
        np.empty((4, width), np.int32),
        np.zeros(max(width - UNIFORM_SIZE + 1, 0)),
        result,
    )
    return float(result[0])


def _same_shape(x: NDArray[Any], y: NDArray[Any]) -> None:
    # The loops check no index.
    if x.ndim != 3 or x.shape != y.shape:
        raise ValueError(f"two stacks (channels, H, W) expected, found {x.shape} and {y.shape}")
