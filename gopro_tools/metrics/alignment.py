"""Bringing a restored image onto the sharp one before scoring, as RealBlur's evaluation does.

Where blurred and sharp come from two cameras, or the sharp image from another moment, a shift of
half a pixel costs more dB than any blur; these protocols take it out first.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb

N_ITERATIONS = 100
"""Always all of them: the published script's tolerance of 0 never stops early."""
GAUSSIAN_FILTER_SIZE = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Aligned:
    """A pair in the sharp image's frame."""

    sharp: NDArray[np.float64]
    """(H, W, 3) in 0..255, zero where ``mask`` is."""
    restored: NDArray[np.float64]
    """The same of the warped restored image; cubic interpolation may leave 0..255 a little."""
    mask: NDArray[np.uint8]
    """(H, W), 1 where the warped restored image has pixels."""
    homography: NDArray[np.float32]
    """(3, 3), from pixels of the sharp image to pixels of the restored one."""
    correlation: float
    """The enhanced correlation coefficient that was reached, at most 1."""


def align(sharp: Rgb, restored: Rgb) -> Aligned:
    """Scale the brightness of ``restored``, find its homography to ``sharp`` and warp it.

    The brightness factor is the least-squares one, Σxz / Σz² over all channels. The homography
    maximises the enhanced correlation coefficient of the grey images (Evangelidis and Psarakis,
    TPAMI 2008), from the identity, 100 iterations, after a 5x5 Gaussian. The warp is cubic with
    reflected borders; the mask is the nearest-neighbour warp of ones. Equal images are left as they
    are.

    Args:
        sharp: (H, W, 3) uint8.
        restored: The same shape.

    Raises:
        InputError: The search fails: the images have too little in common, or one is flat.
    """
    if np.array_equal(sharp, restored):  # the search would end slightly off the identity
        return Aligned(
            sharp=sharp.astype(np.float64),
            restored=restored.astype(np.float64),
            mask=np.ones(sharp.shape[:2], np.uint8),
            homography=np.eye(3, dtype=np.float32),
            correlation=1.0,
        )
    target = sharp.astype(np.float32) / 255
    source = restored.astype(np.float32) / 255
    energy = float(np.vdot(source, source))
    if energy == 0:
        raise InputError("the restored image is black, so it cannot be aligned.")
    source *= np.float32(np.vdot(target, source) / energy)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, N_ITERATIONS, 0)
    try:
        correlation, homography = cv2.findTransformECC(
            cv2.cvtColor(target, cv2.COLOR_RGB2GRAY),
            cv2.cvtColor(source, cv2.COLOR_RGB2GRAY),
            np.eye(3, dtype=np.float32),
            cv2.MOTION_HOMOGRAPHY,
            criteria,
            np.ones(sharp.shape[:2], np.uint8),
            GAUSSIAN_FILTER_SIZE,
        )
    except cv2.error as error:
        raise InputError(
            "the restored image cannot be aligned with the sharp one (ECC did not converge): "
            "they have too little in common, or one of them is flat."
        ) from error
    height, width = sharp.shape[:2]
    warped = cv2.warpPerspective(
        source,
        homography,
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    mask = cv2.warpPerspective(
        np.ones((height, width), np.uint8),
        homography,
        (width, height),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    ).astype(np.uint8)
    if not mask.any():
        raise InputError("the restored image cannot be aligned: its homography leaves no overlap.")
    valid = mask[..., np.newaxis]
    return Aligned(
        sharp=sharp.astype(np.float64) * valid,
        restored=warped.astype(np.float64) * 255 * valid,
        mask=mask,
        homography=homography.astype(np.float32),
        correlation=float(correlation),
    )
