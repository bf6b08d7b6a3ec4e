"""Reasons to doubt a method's images as a whole: a mistake in how they were saved or named.

Results with red and blue swapped, mirrored, a pixel off, or of other images score low, and the
score looks like a bad method's. So a few images are compared with the sharp ones changed as each
such mistake would change them; the scores themselves never change.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.mistakes import Likeness, chosen, likeness, mistakes_in, psnrs
from gopro_tools.pairing import ImageSet, read_images
from gopro_tools.sources import BLURRED, SHARP

MOST_UNEXPLAINED_DB = 3.0
"""How far below the blurred input they may be to the sharp images with the mistake: the rest of
what is wrong with them."""
LEAST_HARM_DB = 1.0
"""How far below the blurred input a method has to be before wrong names are looked for."""

_MOST_COMPARED = 200
"""Sharp images among which those of wrongly named results are looked for."""
_THUMBNAIL = 32


def doubts_about_results(image_sets: Sequence[ImageSet]) -> tuple[str, ...]:
    """Sentences for people; none where every method's images look like what they should be.

    Args:
        image_sets: What was scored. Where there are no sharp images, or several of one moment,
            nothing is looked at.

    Returns:
        At most one a method. An image that cannot be read any more is no doubt.
    """
    if SHARP not in image_sets[0].paths or any(images.more_sharp for images in image_sets):
        return ()
    indices = chosen(len(image_sets))
    try:
        looked_at = [read_images(image_sets[index]) for index in indices]
        others = _Thumbnails(image_sets, indices)
        methods = [name for name in looked_at[0] if name not in (SHARP, BLURRED)]
        found = (_doubt(method, looked_at, others) for method in methods)
        return tuple(sentence for sentence in found if sentence)
    except InputError:
        return ()


def _doubt(method: str, looked_at: Sequence[dict[str, Rgb]], others: "_Thumbnails") -> str:
    sharp = [images[SHARP] for images in looked_at]
    results = [images[method] for images in looked_at]
    n = f"{len(sharp)} image{'s' if len(sharp) > 1 else ''} looked at"
    if all(image.min() == image.max() for image in results):
        return f"{method}: nothing but one value in each of {n}."
    result_db = psnrs(results, sharp)
    likenesses: list[Likeness | None] = [*mistakes_in(results, sharp)]
    likenesses.append(_shifted(results, sharp))
    blurred_db = psnrs([images[BLURRED] for images in looked_at], sharp)
    if result_db.mean() < blurred_db.mean() - LEAST_HARM_DB:
        likenesses.append(others.matched(results, result_db))
    least_db = blurred_db.mean() - MOST_UNEXPLAINED_DB
    found = [one for one in likenesses if one and one.with_db >= least_db]
    if not found:
        return ""
    best = max(found, key=lambda one: one.gain_db)
    return (
        f"{method}: more like the sharp images {best.mistake} ({best.with_db:.2f} dB) than like "
        f"the sharp images as they are ({best.without_db:.2f} dB), in the {n}."
    )


def _shifted(results: Sequence[Rgb], sharp: Sequence[Rgb]) -> Likeness | None:
    """The same shift of all by whole pixels, compared where both overlap."""
    found = [
        cv2.phaseCorrelate(_grey(reference), _grey(image))[0]
        for image, reference in zip(results, sharp, strict=True)
    ]
    right, down = np.rint(np.median(found, axis=0)).astype(int).tolist()
    height, width = np.min([image.shape[:2] for image in results], axis=0)
    if (right, down) == (0, 0) or abs(right) > width // 4 or abs(down) > height // 4:
        return None
    inside = [_overlap(image, -right, -down) for image in sharp]
    moved = psnrs([_overlap(image, right, down) for image in results], inside)
    as_is = psnrs([_overlap(image, -right, -down) for image in results], inside)
    ways = [
        f"{abs(by)} px {names[by > 0]}"
        for by, names in ((right, ("left", "right")), (down, ("up", "down")))
        if by
    ]
    return likeness(f"moved {' and '.join(ways)}", moved, as_is)


def _overlap(image: Rgb, right: int, down: int) -> Rgb:
    """What remains of an image whose content was moved so far out of another's frame."""
    height, width = image.shape[:2]
    return image[
        max(0, down) : height + min(0, down),
        max(0, right) : width + min(0, right),
    ]


def _grey(image: Rgb) -> NDArray[np.float32]:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


class _Thumbnails:
    """Sharp images in small, made when the first method is in doubt."""

    def __init__(self, image_sets: Sequence[ImageSet], chosen: Sequence[int]) -> None:
        self._sets, self._chosen = image_sets, chosen
        self._small: dict[int, NDArray[np.float32]] = {}

    def matched(self, results: Sequence[Rgb], own_db: NDArray[np.float64]) -> Likeness | None:
        """The sharp images that results are most like, if these are others than by name."""
        if not self._small:
            self._small = {i: _small(self._sharp(i)) for i in self._looked_among()}
        names: list[str] = []
        nearest_db = own_db.copy()
        for at, (image, own) in enumerate(zip(results, self._chosen, strict=True)):
            small = _small(image)
            nearest = min(self._small, key=lambda i: float(np.square(self._small[i] - small).sum()))
            reference = self._sharp(nearest)
            if nearest != own and reference.shape == image.shape:
                nearest_db[at] = psnrs([image], [reference])[0]
                names.append(f"{self._sets[own].key} is like {self._sets[nearest].key}")
        return likeness(f"of other names ({', '.join(names[:2])})", nearest_db, own_db)

    def _sharp(self, index: int) -> Rgb:
        return read_rgb(self._sets[index].paths[SHARP])

    def _looked_among(self) -> list[int]:
        """Neighbours of the images looked at, and others evenly spread."""
        n = len(self._sets)
        near = {index + by for index in self._chosen for by in range(-2, 3)}
        spread = np.linspace(0, n - 1, _MOST_COMPARED).round().astype(int).tolist()
        return sorted(index for index in near.union(spread) if 0 <= index < n)


def _small(image: Rgb) -> NDArray[np.float32]:
    small = cv2.resize(_grey(image), (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)
