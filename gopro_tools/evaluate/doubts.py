"""Reasons to doubt a method's images as a whole: a mistake in how they were saved or named.

Results with red and blue swapped, mirrored, a pixel off, or of other images score low, and the
score looks like a bad method's. So a few images are compared with the sharp ones changed as each
such mistake would change them; the scores themselves never change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.pairing import BLURRED, SHARP, ImageSet, read_images

N_LOOKED_AT = 5
"""Images of each method, evenly spread."""
LEAST_GAIN_DB = 3.0
"""How much more like the sharp images with the mistake they have to be than like those without."""
MOST_UNEXPLAINED_DB = 3.0
"""How far below the blurred input they may be to the sharp images with the mistake: the rest of
what is wrong with them."""
LEAST_HARM_DB = 1.0
"""How far below the blurred input a method has to be before wrong names are looked for."""

_MOST_COMPARED = 200
"""Sharp images among which those of wrongly named results are looked for."""
_THUMBNAIL = 32
_GAMMA = 2.2
_MOST_DB = 60.0
"""Of images that are equal, so that means stay finite."""

_ROWS = slice(None, None, 4)
"""Rows that are compared: enough to tell mistakes of whole images."""


def _codes(values: NDArray[Any]) -> Rgb:
    return np.asarray(np.clip(values, 0, 255), np.uint8)


_MISTAKES: tuple[tuple[str, Callable[[Rgb], Rgb]], ...] = (
    ("with red and blue swapped", lambda image: image[..., ::-1]),
    ("mirrored left to right", lambda image: image[:, ::-1]),
    ("mirrored top to bottom", lambda image: image[::-1]),
    ("turned by 180 degrees", lambda image: image[::-1, ::-1]),
    ("turned left by 90 degrees", lambda image: np.rot90(image)),
    ("turned right by 90 degrees", lambda image: np.rot90(image, -1)),
    ("as negatives", lambda image: 255 - image),
    ("in limited range (16 to 235)", lambda image: _codes(image * (219 / 255) + 16)),
    (
        "stretched as if they had been in limited range (16 to 235)",
        lambda image: _codes((image - 16.0) * (255 / 219)),
    ),
    ("as values from 0 to 1, not multiplied by 255", lambda image: image // 255),
    ("as values from -1 to 1 saved as if from 0 to 1", lambda image: _codes(image * 2.0 - 255)),
    ("as values from 0 to 1 saved as if from -1 to 1", lambda image: _codes((image + 255.0) / 2)),
    (
        f"with a second gamma of {_GAMMA}",
        lambda image: _codes(255 * (image / 255.0) ** (1 / _GAMMA)),
    ),
    (
        f"in linear light, with no gamma of {_GAMMA}",
        lambda image: _codes(255 * (image / 255.0) ** _GAMMA),
    ),
)
"""What to say of results that are more like sharp images changed in some way, and the way."""


@dataclass(frozen=True, slots=True)
class _Likeness:
    """To sharp images with a mistake, and to those without, in dB."""

    mistake: str
    with_db: float
    without_db: float

    @property
    def gain_db(self) -> float:
        """How much the mistake explains."""
        return self.with_db - self.without_db


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
    spread = np.linspace(0, len(image_sets) - 1, N_LOOKED_AT).round().astype(int)
    chosen = sorted(set(spread.tolist()))
    try:
        looked_at = [read_images(image_sets[index]) for index in chosen]
        others = _Thumbnails(image_sets, chosen)
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
    result_db = _psnrs(results, sharp)
    likenesses = []
    for mistake, make in _MISTAKES:
        wrong = [make(image) for image in sharp]
        if all(a.shape == b.shape for a, b in zip(wrong, results, strict=True)):
            likenesses.append(_likeness(mistake, _psnrs(results, wrong), result_db))
    likenesses.append(_shifted(results, sharp))
    blurred_db = _psnrs([images[BLURRED] for images in looked_at], sharp)
    if result_db.mean() < blurred_db.mean() - LEAST_HARM_DB:
        likenesses.append(others.matched(results, result_db))
    least_db = blurred_db.mean() - MOST_UNEXPLAINED_DB
    found = [likeness for likeness in likenesses if likeness and likeness.with_db >= least_db]
    if not found:
        return ""
    best = max(found, key=lambda likeness: likeness.gain_db)
    return (
        f"{method}: more like the sharp images {best.mistake} ({best.with_db:.2f} dB) than like "
        f"the sharp images as they are ({best.without_db:.2f} dB), in the {n}."
    )


def _likeness(
    mistake: str, with_db: NDArray[np.float64], without_db: NDArray[np.float64]
) -> _Likeness | None:
    """None where the mistake does not explain enough of most images."""
    if np.median(with_db - without_db) < LEAST_GAIN_DB:
        return None
    return _Likeness(mistake, float(with_db.mean()), float(without_db.mean()))


def _psnrs(images: Sequence[NDArray[Any]], sharp: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """PSNR of each in dB, at most `_MOST_DB`."""
    errors = [
        np.square(np.subtract(image[_ROWS], reference[_ROWS], dtype=np.float32)).mean()
        for image, reference in zip(images, sharp, strict=True)
    ]
    least = 255**2 / 10 ** (_MOST_DB / 10)
    return np.asarray(10 * np.log10(255**2 / np.maximum(errors, least)))


def _shifted(results: Sequence[Rgb], sharp: Sequence[Rgb]) -> _Likeness | None:
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
    moved = _psnrs([_overlap(image, right, down) for image in results], inside)
    as_is = _psnrs([_overlap(image, -right, -down) for image in results], inside)
    ways = [
        f"{abs(by)} px {names[by > 0]}"
        for by, names in ((right, ("left", "right")), (down, ("up", "down")))
        if by
    ]
    return _likeness(f"moved {' and '.join(ways)}", moved, as_is)


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

    def matched(self, results: Sequence[Rgb], own_db: NDArray[np.float64]) -> _Likeness | None:
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
                nearest_db[at] = _psnrs([image], [reference])[0]
                names.append(f"{self._sets[own].key} is like {self._sets[nearest].key}")
        return _likeness(f"of other names ({', '.join(names[:2])})", nearest_db, own_db)

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
