"""Where an image shows enough detail for its motion to be estimated."""

import cv2
import numpy as np
from numpy.typing import NDArray

from baselines.sun2015.network import PATCH_PX
from gopro_tools.images import Rgb

_FINE_SIGMAS_PX = (0.7, 2.0)  # noise is finer, defocused detail coarser


def detail_per_patch(image: Rgb, stride_px: int, half_per_px: float) -> NDArray[np.float32]:
    """How much fine detail a patch has in the direction that shows most of it.

    Across a motion, detail stays as fine as it was; where no direction shows any, things are flat
    or out of focus, and look the same whether they move or not.

    Args:
        image: (H, W, 3) uint8, blurred.
        stride_px: Distance of the patches.
        half_per_px: RMS slope of fine detail (luma in [0, 1], per pixel) at which the result is
            0.5.

    Returns:
        (h, w) float32 in [0, 1], one per patch whose upper left corner lies in the image; beyond
        its border the image is mirrored.
    """
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    finer, coarser = (cv2.GaussianBlur(luma, (0, 0), sigma_px) for sigma_px in _FINE_SIGMAS_PX)
    fine = cv2.subtract(finer, coarser)
    x, y = (cv2.Sobel(fine, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    xx, yy, xy = (
        cv2.boxFilter(product, -1, (PATCH_PX, PATCH_PX), anchor=(0, 0))[::stride_px, ::stride_px]
        for product in (x * x, y * y, x * y)
    )
    squared = (xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)
    detail = squared**2 / (squared**2 + half_per_px**4)
    return detail.astype(np.float32)
