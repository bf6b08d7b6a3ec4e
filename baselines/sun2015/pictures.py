"""Motion fields as colours, with a legend."""

import cv2
import numpy as np
from numpy.typing import NDArray

from baselines.sun2015.kernels import LENGTHS_PX, motion_vectors
from gopro_tools.images import Rgb

_LEGEND_PX = 150


def motion_colours(vectors: NDArray[np.floating]) -> Rgb:
    """Colours of motions: the hue turns once over 180 degrees, saturation grows with length.

    Args:
        vectors: (H, W, 2) pixels to the right and down. v and -v blur alike and look alike.

    Returns:
        (H, W, 3) uint8: white is no motion; 25 pixels and more are saturated.
    """
    angle = np.arctan2(-vectors[..., 1], vectors[..., 0]) % np.pi
    length = np.hypot(vectors[..., 0], vectors[..., 1]) / LENGTHS_PX[-1]
    hsv = np.empty((*vectors.shape[:-1], 3), np.float32)
    hsv[..., 0] = np.degrees(2 * angle)
    hsv[..., 1] = np.clip(length, 0, 1)
    hsv[..., 2] = 1 - 0.25 * hsv[..., 1]
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    colours: Rgb = np.rint(rgb * 255).astype(np.uint8)
    return colours


def field_colours(field: NDArray[np.int64]) -> Rgb:
    """(H, W, 3) uint8 of a motion field (H, W) of candidate indices; see `motion_colours`."""
    return motion_colours(motion_vectors()[field])


def legend(side_px: int = _LEGEND_PX) -> Rgb:
    """The colours of all motions up to 25 px, each at the end of its vector from the middle."""
    reach = LENGTHS_PX[-1]
    line = np.linspace(-reach, reach, side_px)
    x, y = np.meshgrid(line, line)
    picture = motion_colours(np.stack([x, y], axis=-1).astype(np.float32))
    picture[np.hypot(x, y) > reach] = 255
    middle = side_px // 2
    for length_px in (10, reach):
        radius = round(length_px / reach * (side_px - 1) / 2)
        cv2.circle(picture, (middle, middle), radius, (90, 90, 90), 1, cv2.LINE_AA)
        place = (middle + 2, middle - radius + 11)
        cv2.putText(
            picture, f"{length_px} px", place, cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 0, 0), 1,
            cv2.LINE_AA,
        )  # fmt: skip
    return picture
