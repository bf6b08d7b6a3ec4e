"""Reasons to doubt a method's images as a whole: a mistake in how they were saved or named.

Results with red and blue swapped, mirrored, a pixel off, or of other images score low, and the
score looks like a bad method's. So a few images are compared with the sharp ones changed as each
such mistake would change them; the scores themselves never change.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

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
from gopro_tools.pairing import ImageSet, read_images
from gopro_tools.sources import BLURRED, SHARP

MOST_UNEXPLAINED_DB = 3.0
"""How far below the blurred input they may be to the sharp images with the mistake: the rest of
what is wrong with them."""
LEAST_HARM_DB = 1.0
"""How far below the blurred input a method has to be before wrong names are looked for, and how
much another size has to explain in an image to be noted."""


_MOST_COMPARED = 200
"""Sharp images among which those of wrongly named results are looked for."""
_THUMBNAIL = 32
_MIDDLE_PX = 512
"""Side of the part of an image in which a shift is looked for."""
_FAILED_DB = 10.0
"""An image so far below its blurred input is looked at by name."""
_LARGEST_STEP = 2
"""Of a JPEG file's quantisation: quality 99 and above, which changes values by a level or so."""
_BLOCK_PX = 8
_DETAIL = 8.0
"""Standard deviation of code values in a block that shows something."""
_LEAST_EMPTY = 0.01
"""Share of an image's blocks: blurred images have none, very hard contrast makes up to 0.003."""
_MULTIPLES = (4, 8, 16, 32, 64)
"""Of which networks take sizes."""
_KEPT, _A_LITTLE, _MORE = (
    np.array(kernel) / sum(kernel) for kernel in ([1], [1, 10, 1], [1, 2, 1])
)
_SOFTENING = (
    *((_A_LITTLE, _A_LITTLE), (_MORE, _MORE)),
    *((_A_LITTLE, _KEPT), (_KEPT, _A_LITTLE), (_MORE, _KEPT), (_KEPT, _MORE)),
)
"""Kernels across and down: what linear resampling softens on the average over its phases, and more;
in one direction alone, as rests of motion blur are."""
_MOST_SIDE_PX = 2**15 - 1
"""OpenCV's resampling takes no longer sides."""


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
    resized_db: Mapping[str, float]
    """PSNR to the sharp image as a result of another size would be after resizing, where that is
    higher."""
    empty: float
    """Share of the area that has one value where the sharp image shows something."""
    is_of_one_value: bool
    is_grey: bool
    """And the sharp image is not."""


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
            resized_db=_resized(result, sharp),
            empty=_empty(result, sharp),
            is_of_one_value=bool(result.min() == result.max()),
            is_grey=_is_grey(result) and not _is_grey(sharp),
        )
    return looks


def looks_at(image_sets: Sequence[ImageSet]) -> dict[int, dict[str, Look]]:
    """Read the images to look at, and `look`; none where one of them cannot be read any more."""
    try:
        return {index: look(read_images(image_sets[index])) for index in looked_at(image_sets)}
    except InputError:
        return {}


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
        Some for a method, or none. An image that cannot be read any more is no doubt.
    """
    found = [*_copies(hashes)]
    if looks:
        images = _LookedAt(image_sets, sorted(looks))
        methods = [name for name in image_sets[0].paths if name not in (SHARP, BLURRED)]
        try:
            for method in methods:
                found += _doubts(method, [looks[index][method] for index in images.chosen], images)
                paths = [image_sets[index].paths[method] for index in images.chosen]
                found += _doubts_about_files(method, paths)
        except InputError:
            pass
    return tuple(found)


def doubts_about_scores(
    names: Sequence[str], methods: Sequence[str], psnr_db: NDArray[np.float64]
) -> tuple[str, ...]:
    """Single images whose results are no restored versions of them.

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
    """What is somebody else's pixels."""
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
    empty = float(np.median([look.empty for look in looks]))
    if found:
        best = max(found, key=lambda one: one.gain_db)
        yield (
            f"{method}: more like the sharp images {best.mistake} ({best.with_db:.2f} dB) than "
            f"like the sharp images as they are ({best.without_db:.2f} dB), in the {n}."
        )
    elif empty > _LEAST_EMPTY:
        yield (
            f"{method}: one value in {100 * empty:.1f} % of the area, where the sharp images show "
            f"something (missing tiles, or padding left on), in the {n}."
        )


def _doubts_about_files(method: str, paths: Sequence[Path]) -> Iterator[str]:
    steps = max(_quantisation(path) for path in paths)
    if steps > _LARGEST_STEP:
        yield (
            f"{method}: JPEG files that lost detail as they were saved (steps of up to {steps}); "
            "their scores are those of the files. Save PNG."
        )


def _quantisation(path: Path) -> int:
    """The largest step of a JPEG file; 0 for other files."""
    try:
        with path.open("rb") as file:
            if file.read(3) != b"\xff\xd8\xff":
                return 0
            file.seek(0)
            from PIL import JpegImagePlugin

            with JpegImagePlugin.JpegImageFile(file) as image:
                return int(max(max(table) for table in image.quantization.values()))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error


def _is_grey(image: Rgb) -> bool:
    return bool((image == image[..., :1]).all())


def _empty(result: Rgb, sharp: Rgb) -> float:
    """Share of the blocks that have one value, and show something in the sharp image."""
    blocks, right = _blocks(result), _blocks(sharp)
    has_one_value = (blocks[:, :, 0] == blocks[:, :, 0, :1]).all(axis=(2, 3))  # of most, no row has
    rows, columns = np.nonzero(has_one_value)
    whole = blocks[rows, columns]
    has_one_value[rows, columns] = (whole == whole[:, :1, :1]).all(axis=(1, 2, 3))
    rows, columns = np.nonzero(has_one_value)
    shows = right[rows, columns].std(axis=(1, 2), dtype=np.float32).max(axis=-1) > _DETAIL
    return float(shows.sum() / max(1, has_one_value.size))


def _blocks(image: Rgb) -> Rgb:
    """(rows, columns, 8, 8, 3), as a view."""
    rows, columns = (side // _BLOCK_PX for side in image.shape[:2])
    whole = image[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
    return whole.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX, 3).swapaxes(1, 2)


def _resized(result: Rgb, sharp: Rgb) -> dict[str, float]:
    """Cut or padded at the right and bottom to a size a network takes, and resized to its own.

    Returns:
        PSNR in dB by what was done, where that explains something.
    """
    height, width = sharp.shape[:2]
    if max(height, width) > _MOST_SIDE_PX:
        return {}
    own = result[GRID]
    least_db = psnr(own, sharp[GRID]) + LEAST_HARM_DB
    cut = {(height - 1, width - 1)}
    cut |= {(height // by * by, width // by * by) for by in _MULTIPLES}
    padded = {(-(-height // by) * by, -(-width // by) * by) for by in _MULTIPLES}
    found = {
        f"{how} to {size_hw[1]}x{size_hw[0]} and resized": psnr(own, _on_grid(sharp, size_hw))
        for how, sizes in (("cut", cut), ("padded", padded))
        for size_hw in sorted(sizes)
        if size_hw != (height, width) and min(size_hw) > 0
    }
    if all(db <= least_db for db in found.values()):
        return {}
    # Resizing softens as well: a result that is merely soft has to be less like this.
    for across, down in _SOFTENING:
        soft = np.asarray(cv2.sepFilter2D(sharp, -1, across, down), np.uint8)
        least_db = max(least_db, psnr(own, soft[GRID]) + LEAST_HARM_DB)
    return {what: db for what, db in found.items() if db > least_db}


def _on_grid(image: Rgb, size_hw: tuple[int, int]) -> Rgb:
    """The pixels of `GRID` of an image that was cut or padded to a size, and resized to its own."""
    rows, columns = (
        ((np.arange(side)[grid] + 0.5) * size / side - 0.5).astype(np.float32)
        for side, grid, size in zip(image.shape[:2], GRID, size_hw, strict=True)
    )
    x, y = np.meshgrid(columns, rows)
    found = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8)


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
