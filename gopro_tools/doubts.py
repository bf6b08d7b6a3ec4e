"""Reasons to doubt a method's images as a whole: a mistake in how they were saved or named.

Results with red and blue swapped, mirrored, a pixel off, or of other images score low, and the
score looks like a bad method's. So a few images are compared with the sharp ones changed as each
such mistake would change them; the scores themselves never change.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.blur_origin import are_of_other_kind, image_of_other_kind
from gopro_tools.errors import InputError
from gopro_tools.image_headers import read_header
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.looks import HALF_PX, LEAST_HARM_DB, Look, grey
from gopro_tools.mistakes import (
    GRID,
    LEAST_GAIN_DB,
    MOST_DB,
    Likeness,
    best_explanation,
    likeness,
    mistakes_that_explain,
    psnr,
)
from gopro_tools.pairing import ImageSet
from gopro_tools.sources import BLURRED, SHARP

MOST_UNEXPLAINED_DB = 3.0
"""A mistake explains results only if undoing it leaves them at most this far below the blurred
input in PSNR."""

# Limits beyond which results look like a mistake: those of 15 networks and of both Sun et al. on
# eight sets of real and rendered pairs stay within; brackets give the nearest (medians of five
# images).
_LEAST_BROKEN, _MOST_BROKEN = 0.01, 0.5
"""Share of an image's area (0); beyond the second, the whole image is wrong, not a part."""
_MOST_COLOURS, _LEAST_TIMES_FEWER = 512, 4
"""On the grid (1,577 colours, 0.9 times the sharp images')."""
_LEAST_COARSER_DB = 3.0
"""By how many dB halving the size harms a result less than the blurred and sharp images (-0.2)."""
_LEAST_CLOSE_DB, _LEAST_CLOSER_DB = 40.0, 15.0
"""PSNR, and PSNR above that of the blurred images (1.8): no method restores that well."""
_FAR_BELOW_DB = 5.0
"""How far below the blurred images no method leaves them (1.7)."""
_LEAST_HALF_PX_LOOKS = 3
"""With fewer images, one may have moved during its exposure (1.4 dB of `LEAST_GAIN_DB`)."""

_MOST_COMPARED = 200
"""Sharp images among which those of wrongly named results are looked for."""
_THUMBNAIL = 32
_FAILED_DB = 10.0
"""An image this far below its blurred input is reported by name."""


def doubts_about_results(
    image_sets: Sequence[ImageSet],
    looks: Mapping[int, Mapping[str, Look]],
    hashes: Mapping[str, Sequence[str]],
) -> tuple[str, ...]:
    """Sentences for people; none where every method's images look like what they should be.

    Args:
        image_sets: What was scored.
        looks: By index of the image and by method.
        hashes: Hashes of the pixels of each method's images, in order.

    Returns:
        Any number per method. An image that can no longer be read raises no doubt.
    """
    found = [*_copies(hashes)]
    if looks:
        images = _LookedAt(image_sets, sorted(looks))
        methods = [name for name in image_sets[0].paths if name not in (SHARP, BLURRED)]
        try:
            for method in methods:
                found += _doubts(method, [looks[index][method] for index in images.chosen], images)
                paths = [image_sets[index].paths[method] for index in images.chosen]
                were_jpeg = all(looks[index][method].was_jpeg for index in images.chosen)
                found += _doubts_about_files(method, paths, were_jpeg=were_jpeg)
                found += _of_other_kind(method, images)
        except InputError:
            pass
    return tuple(found)


def doubts_about_scores(
    names: Sequence[str], methods: Sequence[str], psnr_db: NDArray[np.float64]
) -> tuple[str, ...]:
    """Single images whose results cannot be restored versions of them.

    Args:
        names: Of the images.
        methods: `BLURRED`, then the restored ones.
        psnr_db: (methods, images).
    """
    found = []
    for method, scores in zip(methods[1:], psnr_db[1:], strict=True):
        failed = np.flatnonzero((scores < psnr_db[0] - _FAILED_DB) & np.isfinite(psnr_db[0]))
        if 0 < len(failed) <= len(names) / 2:  # else it is the method that fails
            first = failed[0]
            found.append(
                f"{method}: {len(failed)} of {len(names)} images are more than {_FAILED_DB:.0f} dB "
                f"below their blurred ones, such as {names[first]} ({scores[first]:.2f} and "
                f"{psnr_db[0, first]:.2f} dB)."
            )
    return tuple(found)


def _copies(hashes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Images that are copies of the blurred, the sharp or another method's."""
    blurred = hashes[BLURRED]
    sharp = hashes.get(SHARP, [""] * len(blurred))
    methods = [name for name in hashes if name not in (SHARP, BLURRED)]
    for method in methods:
        own = hashes[method]
        alike = list(zip(own, blurred, sharp, strict=True))
        for what, n_copies in (
            ("the sharp ones themselves", sum(a == s != b for a, b, s in alike)),
            ("the blurred ones, unchanged", sum(a == b != s for a, b, s in alike)),
            ("copies of others", len(set(zip(own, blurred, strict=True))) - len(set(own))),
        ):
            if n_copies:
                yield f"{method}: {n_copies} of {len(own)} images are {what}."
    for one, other in combinations(methods, 2):
        if list(hashes[one]) == list(hashes[other]):
            yield f"{one}: all images are those of {other}."


def _doubts(method: str, looks: Sequence[Look], images: "_LookedAt") -> Iterator[str]:
    n = f"{len(looks)} image{'s' if len(looks) > 1 else ''} looked at"
    if all(look.is_of_one_value for look in looks):
        yield f"{method}: nothing but one value in each of {n}."
        return
    if all(look.is_grey for look in looks):
        yield f"{method}: grey, where the sharp images have colours, in the {n}."
    as_is_db = np.array([look.as_is_db for look in looks])
    likenesses: list[Likeness | None] = [
        *mistakes_that_explain(as_is_db.tolist(), [look.mistakes_db for look in looks]),
        _shifted(method, looks, images),
        *_of_other_sizes(looks),
    ]
    blurred_db = np.mean([look.blurred_db for look in looks])
    if as_is_db.mean() < blurred_db - LEAST_HARM_DB:
        likenesses.append(images.matched(method, as_is_db))
    least_db = blurred_db - MOST_UNEXPLAINED_DB
    found = [one for one in likenesses if one and one.with_db >= least_db]
    if found:
        best = best_explanation(found)
        yield (
            f"{method}: more like the sharp images {best.mistake} ({best.with_db:.2f} dB) than "
            f"like the sharp images as they are ({best.without_db:.2f} dB), in the {n}."
        )
    elif what := _unlike_a_restored_image(looks):
        yield f"{method}: {what}, in the {n}."


def _unlike_a_restored_image(looks: Sequence[Look]) -> str:
    """What shows that these cannot be a method's results; empty where nothing does."""

    def median(of: Callable[[Look], float]) -> float:
        return float(np.median([of(look) for look in looks]))

    if what := _half_a_pixel_off(looks):
        return what
    own, before = median(lambda look: look.as_is_db), median(lambda look: look.blurred_db)
    coarser_db = median(lambda look: look.coarser_db)
    is_merely_soft = coarser_db > 0 and own < before - LEAST_HARM_DB  # few colours, flat parts
    if not is_merely_soft and (what := _damaged(median)):
        return what
    if not is_merely_soft and coarser_db > _LEAST_COARSER_DB:
        return "no more detail than at half the size (restored small and enlarged?)"
    if _LEAST_CLOSE_DB <= own < MOST_DB and own >= before + _LEAST_CLOSER_DB:
        return (
            f"{own:.2f} dB, {own - before:.2f} more than the blurred images: so close to the sharp "
            "ones that they may be these, saved again"
        )
    if own < before - _FAR_BELOW_DB:
        return (
            f"{before - own:.2f} dB below the blurred images, and none of the usual mistakes "
            "explains it; look at one beside its sharp image"
        )
    return ""


def _damaged(median: Callable[[Callable[[Look], float]], float]) -> str:
    n_colours = median(lambda look: look.n_colours)
    n_right = median(lambda look: look.n_colours_sharp)
    if n_colours <= min(_MOST_COLOURS, n_right / _LEAST_TIMES_FEWER):
        return (
            f"only {n_colours:.0f} colours where the sharp images have {n_right:.0f} (a palette?)"
        )
    if _LEAST_BROKEN < (broken := median(lambda look: look.broken)) < _MOST_BROKEN:
        return (
            f"worse than one flat value in {100 * broken:.1f} % of the area, where the blurred "
            "images are not (missing or misplaced tiles, padding left on, values that wrapped)"
        )
    return ""


def _half_a_pixel_off(looks: Sequence[Look]) -> str:
    """A shift by half a pixel, as resizing with another convention of pixel centres causes.

    The sharp images moved one way are as soft as those moved the other way, so softness in itself
    is not a sign of it.
    """
    if len(looks) < _LEAST_HALF_PX_LOOKS:
        return ""
    ways = list(HALF_PX)
    opposite = dict(zip(ways[::2], ways[1::2], strict=True))
    opposite |= {back: way for way, back in opposite.items()}
    gains = {
        way: float(np.median([look.half_px_db[way] - look.half_px_db[back] for look in looks]))
        for way, back in opposite.items()
    }
    way = max(gains, key=gains.__getitem__)
    if gains[way] < LEAST_GAIN_DB:
        return ""
    return f"a fraction of a pixel too far {way} (half a pixel back is {gains[way]:.2f} dB nearer)"


def _doubts_about_files(method: str, paths: Sequence[Path], *, were_jpeg: bool) -> Iterator[str]:
    if lossy := max(read_header(path, path.read_bytes()).lossy for path in paths):
        yield (
            f"{method}: {lossy} files that lost detail as they were saved; their scores are those "
            "of the files. Save PNG."
        )
    elif were_jpeg:
        yield (
            f"{method}: JPEG files that were later saved in another format; their scores are those "
            "after JPEG. Save PNG from the start."
        )


def _of_other_kind(method: str, images: "_LookedAt") -> Iterator[str]:
    moments = list(images.in_both_kinds(method))
    if moments and are_of_other_kind([pictures for _, pictures in moments]):
        own, other = moments[0][0]
        yield (
            f"{method}: what they keep of the blur is that of {other}, not of {own}, beside which "
            "they are scored: restored from the other kind? Restore and compare the same images."
        )


def _of_other_sizes(looks: Sequence[Look]) -> Iterator[Likeness | None]:
    as_is_db = np.array([look.as_is_db for look in looks])
    for what in dict.fromkeys(what for look in looks for what in look.resized_db):
        with_db = [look.resized_db.get(what, look.as_is_db) for look in looks]
        yield likeness(what, np.array(with_db), as_is_db)


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
    """What remains of an image whose content was moved this far out of another's frame."""
    height, width = image.shape[:2]
    return image[
        max(0, down) : height + min(0, down),
        max(0, right) : width + min(0, right),
    ]


class _LookedAt:
    """The images looked at, read again where a method is in doubt; thumbnails of sharp ones."""

    def __init__(self, image_sets: Sequence[ImageSet], chosen: Sequence[int]) -> None:
        self.chosen = chosen
        self._sets = image_sets
        self._small: dict[int, NDArray[np.float32]] = {}

    def of_chosen(self, method: str) -> Iterator[Rgb]:
        """The images of a method that were looked at, one after another."""
        return (read_rgb(self._sets[index].paths[method]) for index in self.chosen)

    def in_both_kinds(self, method: str) -> Iterator[tuple[tuple[str, str], tuple[Rgb, ...]]]:
        """Where the dataset has both kinds of blur: own and other folder, and the four images."""
        for index in self.chosen:
            paths = self._sets[index].paths
            if (other := image_of_other_kind(paths[BLURRED])) is None:
                continue
            pictures = [read_rgb(path) for path in (paths[SHARP], paths[BLURRED], other)]
            pictures.append(read_rgb(paths[method]))
            if len({picture.shape for picture in pictures}) == 1:
                yield (paths[BLURRED].parent.name, other.parent.name), tuple(pictures)

    def matched(self, method: str, own_db: NDArray[np.float64]) -> Likeness | None:
        """The sharp images that results resemble most, where those have other names."""
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
    small = cv2.resize(grey(image), (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)
