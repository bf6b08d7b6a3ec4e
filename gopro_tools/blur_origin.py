"""Which of two kinds of blur results were restored from: their pixels still tell.

Where a dataset has both, results of the one score against the other as if nothing were wrong, a dB
or so lower. What a method leaves of the blur is that of its input: of its change to the image it is
scored beside, as a mix of the way to the sharp image and of that to the other blurred one, the
latter has a share of 1 if it was restored from the other, and of 0 if not.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.dataset import BLUR_FOLDERS
from gopro_tools.images import Rgb
from gopro_tools.mistakes import GRID

_LEAST_SHARE = 0.6
"""On two real clips, of a network, sharpening, smoothing, JPEG, noise, other tones and mixes with
the sharp image, shares are at most 0.38 where the input was the right kind, and at least 0.66 where
it was the wrong one, but for one strong smoothing (0.41)."""
_LEAST_LEFT = 0.05
"""Of the other blur, in the results: of better ones nothing can be said."""
_SOFT_PX = 1.5
_LEAST_APART = 0.1
"""Mean difference of the two kinds in code values: with less, rounding decides."""


def image_of_other_kind(blurred: Path) -> Path | None:
    """The same moment in the other kind of blur by GOPRO's names, where it lies beside this one."""
    kinds = [BLUR_FOLDERS["gamma"], BLUR_FOLDERS["linear_crf"]]
    if blurred.parent.name not in kinds:
        return None
    (other,) = set(kinds) - {blurred.parent.name}
    path = blurred.parent.parent / other / blurred.name
    return path if path.is_file() else None


def are_of_other_kind(moments: Sequence[tuple[Rgb, ...]]) -> bool:
    """Whether results were restored from the other kind.

    Args:
        moments: Sharp, blurred, blurred in the other way, and result, of each moment looked at.
    """
    found = [share for moment in moments if (share := _share(*moment)) is not None]
    return bool(found) and float(np.median(found)) > _LEAST_SHARE


def _share(sharp: Rgb, blurred: Rgb, other: Rgb, result: Rgb) -> float | None:
    right, own, others, made = (_values(image) for image in (sharp, blurred, other, result))
    if float(np.abs(others - own).mean()) < _LEAST_APART:
        return None
    # Another brightness or contrast, and softness, would look like a share of either.
    softer = [_values(_soft(image)) - _values(image) for image in (sharp, blurred)]
    ways = np.stack([right - own, others - own, *softer, own, np.ones_like(own)], axis=1)
    restored, left, *_ = np.linalg.lstsq(ways, made - own, rcond=None)[0].tolist()
    return left / (1 - restored) if left > _LEAST_LEFT and restored < 1 else 0.0


def _soft(image: Rgb) -> Rgb:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _SOFT_PX), np.uint8)


def _values(image: Rgb) -> NDArray[np.float64]:
    return image[GRID].astype(np.float64).ravel()
