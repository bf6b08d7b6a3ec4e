"""What single results look like, measured where they are scored, for `gopro_tools.doubts`.

Everything is compared on a grid of pixels or on blocks, which is enough to notice a mistake that
is in every image, and costs less than one of the metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.jpeg_traces import LEAST_TRACE, jpeg_trace
from gopro_tools.mistakes import GRID, chosen, psnr, psnrs_with_mistakes
from gopro_tools.pairing import ImageSet, read_images
from gopro_tools.sources import BLURRED, SHARP

LEAST_HARM_DB = 1.0
"""By how many dB another size must explain an image better to be noted."""
_MIDDLE_PX = 512
"""Side of the part of an image in which a shift is looked for."""
_BLOCK_PX = 16
_LEAST_VARIANCE = 64.0
"""Minimum variance of code values in a block in which a mistake shows."""
_WORSE = 10.0
"""Times the blurred image's mean squared error: 10 dB."""
_MULTIPLES = (4, 8, 16, 32, 64)
"""Networks take sizes that are multiples of these."""
_KEPT, _A_LITTLE, _MORE = (
    np.array(kernel) / sum(kernel) for kernel in ([1], [1, 10, 1], [1, 2, 1])
)
_SOFTENING = (
    *((_A_LITTLE, _A_LITTLE), (_MORE, _MORE)),
    *((_A_LITTLE, _KEPT), (_KEPT, _A_LITTLE), (_MORE, _KEPT), (_KEPT, _MORE)),
)
"""Kernels across and down: softening as by linear resampling, averaged over its phases, and more;
also in one direction alone, as remaining motion blur is."""
_MOST_SIDE_PX = 2**15 - 1
"""The longest side that OpenCV resamples."""
HALF_PX: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "right": (0.5, 0.0),
        "left": (-0.5, 0.0),
        "down": (0.0, 0.5),
        "up": (0.0, -0.5),
        "right and down": (0.5, 0.5),
        "left and up": (-0.5, -0.5),
        "right and up": (0.5, -0.5),
        "left and down": (-0.5, 0.5),
    }
)
"""Moves across and down, each beside its opposite."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one result looks like, measured where its image is scored; stored with a run's parts."""

    as_is_db: float
    """PSNR to the sharp image."""
    blurred_db: float
    """The blurred input's."""
    mistakes_db: Mapping[str, float]
    """PSNR against the sharp image with each mistake that keeps its shape."""
    shift_px: tuple[float, float]
    """How far right and down its content lies from the sharp image's."""
    half_px_db: Mapping[str, float]
    """PSNR against the sharp image moved by half a pixel, by direction."""
    resized_db: Mapping[str, float]
    """PSNR against the sharp image resized as a result of another size would be, where that is
    higher."""
    coarser_db: float
    """By how much the PSNR to itself, shrunk to half and enlarged, exceeds that of the sharp and of
    the blurred image: above 0, the result has less fine detail than both."""
    broken: float
    """Share of the area that is worse than one flat value, and much worse than the blurred."""
    n_colours: int
    """On the grid."""
    n_colours_sharp: int
    """Of the sharp image."""
    is_of_one_value: bool
    is_grey: bool
    """Grey, and the sharp image is not."""
    was_jpeg: bool
    """Was saved as JPEG, and the blurred image was not."""


def looked_at(image_sets: Sequence[ImageSet]) -> frozenset[int]:
    """Indices of the images to `look` at, evenly spread.

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
    blurred = images[BLURRED]
    blurred_db = psnr(blurred[GRID], sharp[GRID])
    own_half_db = max(_own_half_db(sharp), _own_half_db(blurred))
    n_colours_sharp = _n_colours(sharp)
    looks: dict[str, Look] = {}
    for method in images.keys() - {SHARP, BLURRED}:
        result = images[method]
        (right, down), _ = cv2.phaseCorrelate(grey(_middle(sharp)), grey(_middle(result)))
        looks[method] = Look(
            as_is_db=psnr(result[GRID], sharp[GRID]),
            blurred_db=blurred_db,
            mistakes_db=psnrs_with_mistakes(result, sharp, GRID),
            shift_px=(right, down),
            half_px_db=_half_px_db(result, sharp),
            resized_db=_resized(result, sharp),
            coarser_db=_own_half_db(result) - own_half_db,
            broken=_broken(result, sharp, blurred),
            n_colours=_n_colours(result),
            n_colours_sharp=n_colours_sharp,
            is_of_one_value=bool(result.min() == result.max()),
            is_grey=_is_grey(result) and not _is_grey(sharp),
            was_jpeg=jpeg_trace(result) > LEAST_TRACE and jpeg_trace(blurred) <= LEAST_TRACE,
        )
    return looks


def looks_at(image_sets: Sequence[ImageSet]) -> dict[int, dict[str, Look]]:
    """Read the images to look at, and `look`; none where one of them can no longer be read."""
    try:
        return {index: look(read_images(image_sets[index])) for index in looked_at(image_sets)}
    except InputError:
        return {}


def grey(image: Rgb) -> NDArray[np.float32]:
    """(H, W) luma of (H, W, 3)."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _is_grey(image: Rgb) -> bool:
    return bool((image == image[..., :1]).all())


def _n_colours(image: Rgb) -> int:
    red, green, blue = (image[GRID][..., channel].astype(np.uint32) for channel in range(3))
    return len(np.unique(red << 16 | green << 8 | blue))


def _broken(result: Rgb, sharp: Rgb, blurred: Rgb) -> float:
    """Share of the blocks with more error than one flat value and than the blurred image have."""
    right = _blocks(sharp)
    if not right.size:
        return 0.0
    error, before = (np.square(_blocks(image) - right).mean((2, 3)) for image in (result, blurred))
    variance = np.maximum(right.var(axis=2).mean(-1), _LEAST_VARIANCE)
    return float(((error > variance) & (error > _WORSE * before)).mean())


def _blocks(image: Rgb) -> NDArray[np.float32]:
    """(rows, columns, pixels, 3)."""
    rows, columns = (side // _BLOCK_PX for side in image.shape[:2])
    whole = image[: rows * _BLOCK_PX, : columns * _BLOCK_PX].astype(np.float32)
    blocks = whole.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX, 3).swapaxes(1, 2)
    return blocks.reshape(rows, columns, _BLOCK_PX**2, 3)


def _own_half_db(image: Rgb) -> float:
    """PSNR to itself after shrinking to half and enlarging; low where there is fine detail."""
    height, width = (side // 2 * 2 for side in image.shape[:2])
    if not (height and width) or max(height, width) > _MOST_SIDE_PX:
        return 0.0
    own = image[:height, :width]
    half = cv2.resize(own, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return max(
        psnr(
            np.asarray(cv2.resize(half, (width, height), interpolation=way), np.uint8)[GRID],
            own[GRID],
        )
        for way in (cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    )


def _half_px_db(result: Rgb, sharp: Rgb) -> dict[str, float]:
    """By direction in which the sharp image is moved.

    All pixels in the middle are compared: with doubled pixels, a grid would see only one phase.
    """
    own, right = _middle(result), _middle(sharp)
    rows, columns = map(np.arange, right.shape[:2])
    return {
        way: psnr(own, _sampled(right, rows - down, columns - across))
        for way, (across, down) in HALF_PX.items()
    }


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
    # Resizing softens as well: a result that is merely soft must fit this less well.
    for across, down in _SOFTENING:
        soft = np.asarray(cv2.sepFilter2D(sharp, -1, across, down), np.uint8)
        least_db = max(least_db, psnr(own, soft[GRID]) + LEAST_HARM_DB)
    return {what: db for what, db in found.items() if db > least_db}


def _on_grid(image: Rgb, size_hw: tuple[int, int]) -> Rgb:
    """The pixels of `GRID` of an image that was cut or padded to a size, and resized to its own."""
    rows, columns = (
        (np.arange(side)[grid] + 0.5) * size / side - 0.5
        for side, grid, size in zip(image.shape[:2], GRID, size_hw, strict=True)
    )
    return _sampled(image, rows, columns)


def _sampled(image: Rgb, rows: NDArray[Any], columns: NDArray[Any]) -> Rgb:
    x, y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    found = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8)


def _middle(image: Rgb) -> Rgb:
    top, left = (max(0, side - _MIDDLE_PX) // 2 for side in image.shape[:2])
    return image[top : top + _MIDDLE_PX, left : left + _MIDDLE_PX]
