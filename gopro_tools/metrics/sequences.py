"""Metrics of videos: whether a restored sequence moves as the sharp one does."""

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.images import Rgb

_CELL_PX = 32
_LEAST_MARGIN_PX = 16
LEAST_SIDE_PX = _CELL_PX + _LEAST_MARGIN_PX
"""Minimum height and width for a pixel to be left inside the border."""


def tof_farneback(sharp_before: Rgb, sharp: Rgb, restored_before: Rgb, restored: Rgb) -> float:
    """How far the motion of a restored sequence is from that of the sharp one, in px.

    tOF of TecoGAN (Chu et al., TOG 2020) as its code has it: Farneback's flow from the frame before
    to this one, in both sequences; the mean over pixels of the end-point error. A border
    is left out: sides are cut to multiples of 32 px that leave at least 16 px over. Their script
    also leaves out the first and the last two frames of a sequence. Flow by another method gives
    another number, so the method is part of the name.

    Args:
        sharp_before: (H, W, 3) uint8, at least 48x48, the frame before.
        sharp: The same shape.
        restored_before: The same shape.
        restored: The same shape.
    """
    difference = _flow(sharp_before, sharp) - _flow(restored_before, restored)
    rows, columns = (_inner(side) for side in difference.shape[:2])
    return float(np.linalg.norm(difference[rows, columns], axis=2).mean())


def _flow(before: Rgb, after: Rgb) -> NDArray[np.float32]:
    one, two = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    flow = cv2.calcOpticalFlowFarneback(one, two, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
    return np.asarray(flow, np.float32)


def _inner(side_px: int) -> slice:
    kept = (side_px - _LEAST_MARGIN_PX) // _CELL_PX * _CELL_PX
    start = (side_px - kept) // 2
    return slice(start, start + kept)
