"""Reasons to doubt a method's images as a whole: a mistake in how they were saved or named.

Results with red and blue swapped, mirrored, a pixel off, or of other images score low, and the
score looks like a bad method's. So a few images are compared with the sharp ones changed as each
such mistake would change them; the scores themselves never change.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.mistakes import (
    GRID,
    Likeness,
    chosen,
    likeness,
    mistakes_that_explain,
    psnr,
    psnrs_with_mistakes,
)
from gopro_tools.pairing import ImageSet
from gopro_tools.sources import BLURRED, SHARP

MOST_UNEXPLAINED_DB = 3.0
"""How far below the blurred input they may be to the sharp images with the mistake: the rest of
what is wrong with them."""
LEAST_HARM_DB = 1.0
"""How far below the blurred input a method has to be before wrong names are looked for."""

_MOST_COMPARED = 200
"""Sharp images among which those of wrongly named results are looked for."""
_THUMBNAIL = 32
_MIDDLE_PX = 512
"""Side of the part of an image in which a shift is looked for."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one result is like, taken where its image is scored; a part of a run stores it."""

    as_is_db: float
    """PSNR to the sharp image."""
    blurred_db: float
    """The blurred input's."""
    mistakes_db: Mapping[str, float]
    """PSNR to the sharp image with each mistake that leaves its shape as it is."""
    shift_px: tuple[float, float]
    """How far right and down its content lies from the sharp image's."""
    is_of_one_value: bool


def looked_at(image_sets: Sequence[ImageSet]) -> frozenset[int]:
    """Index of the images to `look` at, evenly spread.

    None where there are no sharp images, or several of one moment.
    """
    if SHARP not in image_sets[0].paths or any(images.more_sharp for images in image_sets):
        return frozenset()
    return frozenset(chosen(len(image_sets)))


def look(images: Mapping[str, Rgb]) -> dict[str, Look]:
    """Look at the results of one moment.

    Args:
        images: (H, W, 3) by method, all of one size: sharp, blurred and the restored ones.

    Returns:
        By restored method.
    """
    sharp = images[SHARP]
    blurred_db = psnr(images[BLURRED][GRID], sharp[GRID])
    looks: dict[str, Look] = {}
    for method in images.keys() - {SHARP, BLURRED}:
        result = images[method]
        (right, down), _ = cv2.phaseCorrelate(_grey(_middle(sharp)), _grey(_middle(result)))
        looks[method] = Look(
            as_is_db=psnr(result[GRID], sharp[GRID]),
            blurred_db=blurred_db,
            mistakes_db=psnrs_with_mistakes(result, sharp, GRID),
            shift_px=(right, down),
            is_of_one_value=bool(result.min() == result.max()),
        )
    return looks


def doubts_about_results(
    image_sets: Sequence[ImageSet], looks: Mapping[int, Mapping[str, Look]]
) -> tuple[str, ...]:
    """Sentences for people; none where every method's images look like what they should be.

    Args:
        image_sets: What was scored.
        looks: By index of the image and by method.

    Returns:
        At most one a method. An image that cannot be read any more is no doubt.
    """
    if not looks:
        return ()
    images = _LookedAt(image_sets, sorted(looks))
    methods = [name for name in image_sets[0].paths if name not in (SHARP, BLURRED)]
    try:
        found = (
            _doubt(method, [looks[index][method] for index in images.chosen], images)
            for method in methods
        )
        return tuple(sentence for sentence in found if sentence)
    except InputError:
        return ()


def _doubt(method: str, looks: Sequence[Look], images: "_LookedAt") -> str:
    n = f"{len(looks)} image{'s' if len(looks) > 1 else ''} looked at"
    if all(look.is_of_one_value for look in looks):
        return f"{method}: nothing but one value in each of {n}."
    as_is_db = np.array([look.as_is_db for look in looks])
    likenesses: list[Likeness | None] = [
        *mistakes_that_explain(
            [look.as_is_db for look in looks], [look.mistakes_db for look in looks]
        )
    ]
    likenesses.append(_shifted(method, looks, images))
    blurred_db = np.mean([look.blurred_db for look in looks])
    if as_is_db.mean() < blurred_db - LEAST_HARM_DB:
        likenesses.append(images.matched(method, as_is_db))
    least_db = blurred_db - MOST_UNEXPLAINED_DB
    found = [one for one in likenesses if one and one.with_db >= least_db]
    if not found:
        return ""
    best = max(found, key=lambda one: one.gain_db)
    return (
        f"{method}: more like the sharp images {best.mistake} ({best.with_db:.2f} dB) than like "
        f"the sharp images as they are ({best.without_db:.2f} dB), in the {n}."
    )


def _shifted(method: str, looks: Sequence[Look], images: "_LookedAt") -> Likeness | None:
    """The same shift of all by whole pixels, compared where both overlap."""
    right, down = np.rint(np.median([look.shift_px for look in looks], axis=0)).astype(int).tolist()
    if (right, down) == (0, 0):
        return None
    moved, as_is = [], []
    for reference, image in zip(images.of_chosen(SHARP), images.of_chosen(method), strict=True):
        height, width = image.shape[:2]
        if abs(right) > width // 4 or abs(down) > height // 4:
            return None
        inside = _overlap(reference, -right, -down)[GRID]
        moved.append(psnr(_overlap(image, right, down)[GRID], inside))
        as_is.append(psnr(_overlap(image, -right, -down)[GRID], inside))
    ways = [
        f"{abs(by)} px {names[by > 0]}"
        for by, names in ((right, ("left", "right")), (down, ("up", "down")))
        if by
    ]
    return likeness(f"moved {' and '.join(ways)}", np.array(moved), np.array(as_is))


def _overlap(image: Rgb, right: int, down: int) -> Rgb:
    """What remains of an image whose content was moved so far out of another's frame."""
    height, width = image.shape[:2]
    return image[
        max(0, down) : height + min(0, down),
        max(0, right) : width + min(0, right),
    ]


def _middle(image: Rgb) -> Rgb:
    top, left = (max(0, side - _MIDDLE_PX) // 2 for side in image.shape[:2])
    return image[top : top + _MIDDLE_PX, left : left + _MIDDLE_PX]


def _grey(image: Rgb) -> NDArray[np.float32]:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


class _LookedAt:
    """The images looked at, read again where a method is in doubt, and the sharp ones in small."""

    def __init__(self, image_sets: Sequence[ImageSet], chosen: Sequence[int]) -> None:
        self.chosen = chosen
        self._sets = image_sets
        self._small: dict[int, NDArray[np.float32]] = {}

    def of_chosen(self, method: str) -> Iterator[Rgb]:
        """The images of a method that were looked at, one after another."""
        return (read_rgb(self._sets[index].paths[method]) for index in self.chosen)

    def matched(self, method: str, own_db: NDArray[np.float64]) -> Likeness | None:
        """The sharp images that results are most like, if these are others than by name."""
        if not self._small:
            self._small = {i: _small(self._sharp(i)) for i in self._looked_among()}
        names: list[str] = []
        nearest_db = own_db.copy()
        for at, (own, image) in enumerate(zip(self.chosen, self.of_chosen(method), strict=True)):
            small = _small(image)
            nearest = min(self._small, key=lambda i: float(np.square(self._small[i] - small).sum()))
            reference = self._sharp(nearest)
            if nearest != own and reference.shape == image.shape:
                nearest_db[at] = psnr(image[GRID], reference[GRID])
                names.append(f"{self._sets[own].key} is like {self._sets[nearest].key}")
        return likeness(f"of other names ({', '.join(names[:2])})", nearest_db, own_db)

    def _sharp(self, index: int) -> Rgb:
        return read_rgb(self._sets[index].paths[SHARP])

    def _looked_among(self) -> list[int]:
        """Neighbours of the images looked at, and others evenly spread."""
        n = len(self._sets)
        near = {index + by for index in self.chosen for by in range(-2, 3)}
        spread = np.linspace(0, n - 1, _MOST_COMPARED).round().astype(int).tolist()
        return sorted(index for index in near.union(spread) if 0 <= index < n)


def _small(image: Rgb) -> NDArray[np.float32]:
    small = cv2.resize(_grey(image), (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)
