"""Mistakes in how images were saved, found by comparing them with images that are right.

Images with red and blue swapped, mirrored or in limited range look like bad ones to a metric. So
they are compared with the right ones changed as each such mistake would change them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.images import Rgb

N_LOOKED_AT = 5
"""How many images of each kind are enough, evenly spread."""
LEAST_GAIN_DB = 3.0
"""By how many dB images must be closer to the right ones with the mistake than without."""
_GAMMA = 2.2
MOST_DB = 60.0
"""PSNR of equal images, in dB, so that means stay finite."""

ROWS = (slice(None, None, 4),)
"""Rows of small images that are compared."""
GRID = (slice(None, None, 4), slice(None, None, 5))
"""Pixels of whole images that are compared: enough to tell mistakes that affect all of them."""

_CODES = np.arange(256)


def _table(values: NDArray[Any]) -> Callable[[Rgb], Rgb]:
    table = np.asarray(np.clip(values, 0, 255), np.uint8)
    return lambda image: table[image]


def _from_luma_chroma(image: Rgb) -> Rgb:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_YCrCb2RGB), np.uint8)


def _in_order(order: str) -> Callable[[Rgb], Rgb]:
    return lambda image: image[..., ["RGB".index(channel) for channel in order]]


_MOVED: Mapping[str, Callable[[Rgb], Rgb]] = MappingProxyType(
    {
        "mirrored left to right": lambda image: image[:, ::-1],
        "mirrored top to bottom": lambda image: image[::-1],
        "turned by 180 degrees": lambda image: image[::-1, ::-1],
        "turned left by 90 degrees": lambda image: np.rot90(image),
        "turned right by 90 degrees": lambda image: np.rot90(image, -1),
    }
)
"""Mistakes that move pixels, as functions of a right image."""

_CHANGED: Mapping[str, Callable[[Rgb], Rgb]] = MappingProxyType(
    {
        "with red and blue swapped": lambda image: image[..., ::-1],
        **{f"with channels in the order {o}": _in_order(o) for o in ("RBG", "GRB", "GBR", "BRG")},
        "as negatives": _table(255 - _CODES),
        "in limited range (16 to 235)": _table(_CODES * (219 / 255) + 16),
        "stretched as if they had been in limited range (16 to 235)": _table(
            (_CODES - 16.0) * (255 / 219)
        ),
        "as values from 0 to 1, not multiplied by 255": _table(_CODES // 255),
        "as values from -1 to 1 saved as if from 0 to 1": _table(_CODES * 2.0 - 255),
        "as values from 0 to 1 saved as if from -1 to 1": _table((_CODES + 255.0) / 2),
        f"with a second gamma of {_GAMMA}": _table(255 * (_CODES / 255.0) ** (1 / _GAMMA)),
        f"in linear light, with no gamma of {_GAMMA}": _table(255 * (_CODES / 255.0) ** _GAMMA),
    }
)
"""Mistakes that change the values of each pixel."""

_UNDONE: Mapping[str, Callable[[Rgb], Rgb]] = MappingProxyType(
    {
        "as Y, Cr and Cb, not turned back into RGB": _from_luma_chroma,
        "as Y, Cb and Cr, not turned back into RGB": lambda image: _from_luma_chroma(
            image[..., [0, 2, 1]]
        ),
    }
)
"""Inverses of mistakes that leave images so flat that any flat image resembles them."""


OTHER_TONE = "in other brightness, contrast or colours"
"""What one factor and one offset per channel undo."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """PSNR in dB against right images with a mistake, and against those without."""

    mistake: str
    with_db: float
    without_db: float

    @property
    def gain_db(self) -> float:
        """By how many dB the mistake explains the images."""
        return self.with_db - self.without_db


def chosen(n_images: int) -> list[int]:
    """Indices of the images to look at: `N_LOOKED_AT`, evenly spread, or all of fewer."""
    return sorted(set(np.linspace(0, n_images - 1, N_LOOKED_AT).round().astype(int).tolist()))


def mistakes_in(images: Sequence[Rgb], right: Sequence[Rgb]) -> list[Likeness]:
    """Mistakes that explain most of the difference between images and those they should be like.

    Blurred against sharp, 80 px wide, in 173 groups of 5 pairs of GOPRO, REDS and rendered clips:
    as they are, none is found. With a mistake in the sharp images, it is found in 157 (red and blue
    swapped), 103 to 152 (channels in another order), 98 to 103 (10 % or 10 levels brighter).

    Args:
        images: (H, W, 3) uint8 RGB each.
        right: The same views without a mistake, blurred or not, of the same sizes.
    """
    compared = [
        (psnr(image[ROWS], other[ROWS]), psnrs_with_mistakes(image, other, ROWS))
        for image, other in zip(images, right, strict=True)
    ]
    return mistakes_that_explain([as_is for as_is, _ in compared], [with_ for _, with_ in compared])


def psnrs_with_mistakes(image: Rgb, right: Rgb, some: tuple[slice, ...]) -> dict[str, float]:
    """PSNR in dB against a right image with each mistake that keeps its shape.

    Args:
        image: (H, W, 3) uint8 RGB.
        right: The same view without a mistake.
        some: Which pixels are compared: `ROWS` or `GRID`.
    """
    own = np.ascontiguousarray(image[some])
    wrong = {mistake: move(right)[some] for mistake, move in _MOVED.items()}
    wrong |= {mistake: change(right[some]) for mistake, change in _CHANGED.items()}
    found = {
        mistake: psnr(own, other) for mistake, other in wrong.items() if other.shape == own.shape
    }
    if own.shape == right[some].shape:
        found |= {mistake: psnr(undo(own), right[some]) for mistake, undo in _UNDONE.items()}
        found[OTHER_TONE] = psnr(_in_tone_of(right[some], own), right[some])
    return found


def _in_tone_of(right: Rgb, own: Rgb) -> Rgb:
    """An image times a factor plus an offset per channel, fitted to the right image."""
    values, expected = (
        pixels - pixels.mean((0, 1), keepdims=True, dtype=np.float64) for pixels in (own, right)
    )
    variance = np.maximum(np.square(values).mean((0, 1)), 1e-9)
    factor = (values * expected).mean((0, 1)) / variance
    fitted = values * factor + right.mean((0, 1), dtype=np.float64)
    return np.asarray(np.clip(np.rint(fitted), 0, 255), np.uint8)


def mistakes_that_explain(
    as_is_db: Sequence[float], with_mistakes_db: Sequence[Mapping[str, float]]
) -> list[Likeness]:
    """Mistakes that explain most of the difference of most images.

    Args:
        as_is_db: PSNR in dB of each image against the right one.
        with_mistakes_db: `psnrs_with_mistakes` of each.
    """
    found = [
        likeness(mistake, np.array([of[mistake] for of in with_mistakes_db]), np.array(as_is_db))
        for mistake in (*_MOVED, *_CHANGED, *_UNDONE, OTHER_TONE)
        if with_mistakes_db and all(mistake in of for of in with_mistakes_db)
    ]
    return [one for one in found if one]


def best_explanation(found: Sequence[Likeness]) -> Likeness:
    """The mistake that explains most; a change of tone only where nothing else explains it."""
    return max(found, key=lambda one: (one.mistake != OTHER_TONE, one.gain_db))


def likeness(
    mistake: str, with_db: NDArray[np.float64], without_db: NDArray[np.float64]
) -> Likeness | None:
    """None where the mistake does not explain enough of most images."""
    if np.median(with_db - without_db) < LEAST_GAIN_DB:
        return None
    return Likeness(mistake, float(with_db.mean()), float(without_db.mean()))


def psnr(image: Rgb, reference: Rgb) -> float:
    """PSNR in dB, at most `MOST_DB`."""
    error = float(np.square(np.subtract(image, reference, dtype=np.float32)).mean())
    return 10 * math.log10(255**2 / max(error, 255**2 / 10 ** (MOST_DB / 10)))
