"""Patches with known motion, from sharp images: what the network learns from.

A *source* is a sharp piece just large enough for the longest kernel around a patch. Sources are cut
once, from textured places of all images alike; a training patch is a source, blurred by a
candidate's kernel in linear light, with a little noise, rounded to 8 bits again, and turned as the
images will be. A network that saw its six orientations alone was sure of short motions wherever a
long one lay between them, in four of five turned copies.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from baselines.sun2015.kernels import (
    ROTATIONS_DEGREES,
    TRAINED,
    TRAINED_STEP_DEGREES,
    kernels,
    turned_candidate,
)
from baselines.sun2015.network import PATCH_PX
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key
from gopro_tools.images import IMAGE_SUFFIXES, Rgb, read_rgb
from gopro_tools.response import Response

log = logging.getLogger(__name__)

KERNEL_RADIUS_PX = kernels().shape[1] // 2
NORMALISED_OVER_PX = 15
"""Side of the square about a pixel whose mean and contrast it is compared with."""
_COMPARED_PX = PATCH_PX + 2 * (NORMALISED_OVER_PX // 2)
_BLURRED_PX = 56  # turned by 12 degrees it still holds those 44, and what is interpolated from
SOURCE_PX = _BLURRED_PX + 2 * KERNEL_RADIUS_PX
"""Side of a source: a patch, turned, what its pixels are compared with, and what blurs into it."""

TEXTURED_PER_PX = 0.02
"""A patch is textured where luma (0 to 1) changes by this much a pixel, RMS, in the direction in
which it changes least: 5 of 255 levels. Along a lone straight edge that direction shows nothing,
and no more does a blur along it."""

_GRID_PX = 6  # between the places where texture is looked for
_LARGEST_SIDE_PX = 1600  # photographs at full size are soft at the pixel
_SMALLEST_SCALE = 0.12
_N_SCALES = 5
_N_BANDS = 3
_FINEST_SIGMA_PX = 0.7
_LEAST_SOFT_PX = 0.4
_MOST_SOFT_PX = 4.0
_LEAST_CONTRAST = 0.01  # of [0, 1]: noise is not to be amplified without end


def texture_per_px(image: Rgb) -> NDArray[np.float32]:
    """How strongly each patch of a sharp image is textured in its weakest direction.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (H - 29, W - 29) float32: of the patch with its upper left pixel there, the square root of
        the smaller eigenvalue of the structure tensor of luma in [0, 1]; see `TEXTURED_PER_PX`.
    """
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    gradients = [cv2.Sobel(luma, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0)]
    xx, yy, xy = (
        cv2.boxFilter(a * b, -1, (PATCH_PX, PATCH_PX), anchor=(0, 0))
        for a, b in ((gradients[0],) * 2, (gradients[1],) * 2, gradients)
    )
    smaller = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
    inside = smaller[: luma.shape[0] - PATCH_PX + 1, : luma.shape[1] - PATCH_PX + 1]
    return np.sqrt(np.maximum(inside, 0)).astype(np.float32)


def normalised(image: Rgb) -> NDArray[np.float32]:
    """An image as the network sees it: pixels against their surroundings, in units of contrast.

    A long motion leaves little contrast, and what tells 21 pixels from 25 is a small part of it; at
    the scale of a whole image's contrast a short training never comes to see it.

    Args:
        image: (H, W, 3) uint8, code values.

    Returns:
        (H, W, 3) float32, of mean 0 and deviation near 1; flat places stay near 0.
    """
    codes = image.astype(np.float32) * np.float32(1 / 255)
    window = (NORMALISED_OVER_PX, NORMALISED_OVER_PX)
    mean = cv2.boxFilter(codes, -1, window)
    variance = (cv2.boxFilter(codes * codes, -1, window) - mean * mean).mean(axis=2, keepdims=True)
    contrast = np.sqrt(np.maximum(variance, 0)) + np.float32(_LEAST_CONTRAST)
    result: NDArray[np.float32] = (codes - mean) / contrast
    return result


def find_photographs(places: Sequence[Path]) -> list[Path]:
    """Image files in order, each once.

    Args:
        places: Image files; folders, searched to any depth; of a dataset in the GOPRO layout only
            the sharp images of its train split are taken.

    Raises:
        InputError: A place is missing, or there is no image at all.
    """
    found: list[Path] = []
    for place in places:
        if place.is_file():
            found.append(place)
            continue
        if not place.is_dir():
            raise InputError(f"{place}: neither an image nor a folder of images is there.")
        sharp = [path for path in place.glob("train/*/sharp/*") if path.is_file()]
        inside = sharp or [path for path in place.rglob("*") if path.is_file()]
        images = [path for path in inside if path.suffix.lower() in IMAGE_SUFFIXES]
        found += sorted(images, key=lambda path: natural_key(path.as_posix()))
    found = list(dict.fromkeys(found))
    if not found:
        raise InputError(
            f"{', '.join(map(str, places))}: no images there; photographs "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}) or a dataset in the GOPRO layout were expected."
        )
    return found


@dataclass(frozen=True)
class Sources:
    """Sharp pieces to blur, and where they come from."""

    pieces: NDArray[np.uint8]
    """(N, 82, 82, 3) uint8 RGB."""
    used: Sequence[Path]
    """Images that gave pieces."""
    skipped: Sequence[str]
    """A message for each image that gave none."""


def cut_sources(
    images: Sequence[Path],
    n_sources: int,
    seed: int,
    *,
    anywhere_share: float = 0.0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Sources:
    """Cut pieces from textured places, as evenly from all images as their texture allows.

    Each image is shrunk to at most 1600 pixels and then by a factor drawn for each pass, so that
    pieces are sharp at the pixel and objects appear in many sizes. Images without texture, such as
    drawings of flat colours, are left out and named.

    Args:
        images: Files.
        n_sources: How many pieces.
        seed: Decides places and sizes.
        anywhere_share: Share of the pieces cut from anywhere in the images, texture or not.
        on_progress: Called with (images read, all).

    Raises:
        InputError: No image can be used.
    """
    shares: list[NDArray[np.uint8]] = []
    used: list[Path] = []
    skipped: list[str] = []
    n_each = -(-2 * n_sources // len(images))  # some images give fewer, or none
    for index, path in enumerate(images):
        try:
            rng = np.random.default_rng([seed, index])
            shares.append(_cut_from(path, n_each, anywhere_share, rng))
            used.append(path)
        except InputError as error:
            skipped.append(str(error))
        on_progress(index + 1, len(images))
    if not shares:
        raise InputError(
            "None of the images can be trained on; sharp photographs were expected:\n"
            + "\n".join(skipped[:20])
        )
    order = np.random.default_rng([seed, len(images)])
    pieces = _even_choice([len(share) for share in shares], n_sources)
    chosen = [share[:n] for share, n in zip(shares, pieces, strict=True)]
    stacked = np.concatenate(chosen)
    return Sources(stacked[order.permutation(len(stacked))], used, skipped)


def _even_choice(available: Sequence[int], wanted: int) -> list[int]:
    """How many to take of each: all that is above one level is cut off.

    The level is the lowest that gives what is wanted, and so up to one each more.
    """
    low, high = 0, max(available)
    while low < high:
        middle = (low + high) // 2
        if sum(min(n, middle) for n in available) >= wanted:
            high = middle
        else:
            low = middle + 1
    return [min(n, low) for n in available]


def shrunk(image: Rgb, factor: float = 1.0) -> Rgb:
    """A photograph made at most 1600 pixels large, then smaller by a factor of at most 1."""
    scale = factor * min(1.0, _LARGEST_SIDE_PX / max(image.shape[:2]))
    if scale >= 1:
        return image
    size_wh = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    resized = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
    return resized.astype(np.uint8, copy=False)


def _cut_from(
    path: Path, n_pieces: int, anywhere_share: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    image = read_rgb(path)
    pieces: list[Rgb] = []
    largest = shrunk(image)
    smallest_scale = max(_SMALLEST_SCALE, min(1.0, (SOURCE_PX + 1) / min(largest.shape[:2])))
    for factor in (1.0, *smallest_scale ** rng.random(_N_SCALES - 1)):
        small = shrunk(image, factor)
        if min(small.shape[:2]) < SOURCE_PX:
            continue
        margin = (SOURCE_PX - PATCH_PX) // 2
        texture = texture_per_px(small)[margin:-margin, margin:-margin]
        rows, columns = np.nonzero(texture[::_GRID_PX, ::_GRID_PX] >= TEXTURED_PER_PX)
        drawn = rng.permutation(len(rows))[: -(-n_pieces // _N_SCALES)]
        places = np.stack([rows[drawn], columns[drawn]], axis=1) * _GRID_PX
        if anywhere_share and len(places):
            # Each time a place is replaced, so that the number stays what texture allows.
            anywhere = rng.integers(0, np.array(texture.shape), size=places.shape)
            places = np.where(rng.random((len(places), 1)) < anywhere_share, anywhere, places)
        for row, column in places:
            pieces.append(small[row : row + SOURCE_PX, column : column + SOURCE_PX].copy())
    if not pieces:
        raise InputError(
            f"{path}: {image.shape[1]}x{image.shape[0]} pixels without a textured place of "
            f"{SOURCE_PX}x{SOURCE_PX}; left out."
        )
    return np.stack(pieces)[rng.permutation(len(pieces))]


class BlurredPatches:
    """Training patches, each a pure function of the seed and its number."""

    def __init__(
        self,
        sources: Sources,
        response: Response,
        noise_sigma_max: float,
        seed: int,
        *,
        band_gain_max: float = 1.0,
        grain_share: float = 0.0,
        soft_share: float = 0.0,
    ) -> None:
        """Remember what to draw from.

        Args:
            sources: Sharp pieces.
            response: In whose light the blur happens.
            noise_sigma_max: Gaussian noise has a sigma drawn evenly from 0 to this, of [0, 1].
            seed: Decides all that is drawn.
            band_gain_max: Before they are blurred, the detail of pieces is amplified or damped in
                each of three octaves by a factor drawn between one over this and this. How much
                detail is left then says little about the motion; its shape has to.
            grain_share: Share of the pieces that are given a random texture.
            soft_share: Share of the pieces that are made soft, as things out of focus are.
        """
        rng = np.random.default_rng([seed, 2])
        gains = band_gain_max ** rng.uniform(-1, 1, (len(sources.pieces), _N_BANDS))
        pieces = sources.pieces
        if band_gain_max > 1:
            pieces = np.stack([_equalised(*each) for each in zip(pieces, gains, strict=True)])
        grained = rng.random(len(pieces)) < grain_share
        pieces = _changed(pieces, grained, _grained, rng)
        softened = np.random.default_rng([seed, 3]).random(len(pieces)) < soft_share
        pieces = _changed(pieces, softened, _softened, np.random.default_rng([seed, 4]))
        self._pieces = pieces
        self._blurring = Blurring(response)
        self._noise_sigma_max = noise_sigma_max
        self._seed = seed

    def batch(self, number: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Batch ``number``.

        Classes come equally often, all of them once before any a second time. A motion lies up to
        12 degrees off its class's orientation, as it will in turned copies of an image, and then
        belongs to the next orientation in part: what is halfway is as much the one as the other.

        Returns:
            (size, 3, 30, 30) float32, `normalised`, and (size, 73) float32, the share of each
            class, of sum 1.
        """
        rng = np.random.default_rng([self._seed, number])
        first = number * size
        patches = np.empty((size, 3, PATCH_PX, PATCH_PX), np.float32)
        shares = np.zeros((size, len(TRAINED)), np.float32)
        for place in range(size):
            one = _class_of(self._seed, first + place)
            off = int(rng.choice(ROTATIONS_DEGREES))
            shares[place] = _shares(one, off)
            piece = self._pieces[rng.integers(len(self._pieces))]
            piece = np.rot90(piece[:, ::-1] if rng.random() < 0.5 else piece, int(rng.integers(4)))
            piece = np.ascontiguousarray(piece[..., rng.permutation(3)])
            degrees = int(rng.choice(ROTATIONS_DEGREES))
            blurred = self._blurred(piece, turned_candidate(TRAINED[one], off - degrees))
            noisy = with_noise(blurred, rng.uniform(0, self._noise_sigma_max), rng)
            seen = normalised(_turned_middle(noisy, degrees))
            patches[place] = _middle(seen, PATCH_PX).transpose(2, 0, 1)
        return patches, shares

    def _blurred(self, piece: Rgb, candidate: int) -> Rgb:
        """The middle of the piece; what does not blur into it is left out first."""
        reach_px = max(_trimmed(kernels()[candidate]).shape) // 2
        return _middle(
            self._blurring.blurred(_middle(piece, _BLURRED_PX + 2 * reach_px), candidate),
            _BLURRED_PX,
        )


def _shares(one: int, off_degrees: int) -> NDArray[np.float32]:
    """(73,) what a motion that lies off its class's orientation has of each class."""
    shares = np.zeros(len(TRAINED), np.float32)
    share = abs(off_degrees) / TRAINED_STEP_DEGREES
    step = TRAINED_STEP_DEGREES if off_degrees > 0 else -TRAINED_STEP_DEGREES
    shares[TRAINED.index(turned_candidate(TRAINED[one], step))] = share
    shares[one] += 1 - share  # no motion has one class alone
    return shares


def _turned_middle(image: Rgb, degrees: int) -> Rgb:
    """The middle of an image turned counter-clockwise."""
    if not degrees:
        return _middle(image, _COMPARED_PX)
    middle = (image.shape[0] - 1) / 2
    matrix = np.asarray(cv2.getRotationMatrix2D((middle, middle), degrees, 1.0), np.float64)
    matrix[:, 2] -= (image.shape[0] - _COMPARED_PX) / 2
    return moved(image, matrix, (_COMPARED_PX, _COMPARED_PX))


def moved(image: Rgb, matrix: NDArray[np.float64], size_wh: tuple[int, int]) -> Rgb:
    """An image turned and shifted by cubic interpolation.

    Args:
        image: (H, W, 3) uint8.
        matrix: (2, 3), from its coordinates (x, y, 1) to those of the result.
        size_wh: Of the result; beyond the image its mirror image is seen.
    """
    result: Rgb = cv2.warpAffine(
        image, matrix, size_wh, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.uint8, copy=False)
    return result


def _middle(image: NDArray[Any], side: int) -> NDArray[Any]:
    margin = (image.shape[0] - side) // 2
    return image[margin : margin + side, margin : margin + side]


def _changed(
    pieces: NDArray[np.uint8],
    chosen: NDArray[np.bool_],
    change: Callable[[Rgb, np.random.Generator], Rgb],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """The pieces, those that were chosen changed."""
    result = pieces.copy()
    for index in np.flatnonzero(chosen):
        result[index] = change(pieces[index], rng)
    return result


def _equalised(image: Rgb, gains: NDArray[np.float64]) -> Rgb:
    """Detail of each octave, the finest first, times its gain; what is coarser stays."""
    finer: NDArray[Any] = image.astype(np.float32)
    result = np.zeros_like(finer)
    for octave, gain in enumerate(gains):
        coarser = cv2.GaussianBlur(finer, (0, 0), _FINEST_SIGMA_PX * 2**octave)
        result += np.float32(gain) * (finer - coarser)
        finer = coarser
    equalised: Rgb = np.clip(result + finer, 0, 255).astype(np.uint8)
    return equalised


def _grained(image: Rgb, rng: np.random.Generator) -> Rgb:
    """With a random texture on it: noise as coarse, as strong and as colourful as it falls.

    Half of it runs in one direction, as hair, grass and brushed metal do, and is not to be taken
    for motion.
    """
    side = image.shape[0]
    whole = math.ceil(side * math.sqrt(2)) + 1  # what is seen of it once it is turned
    noise: NDArray[Any] = rng.standard_normal((whole, whole, 3), np.float32)
    noise += np.float32(rng.uniform(0, 3)) * rng.standard_normal((whole, whole, 1), np.float32)
    sigma_px, along, degrees = rng.uniform(-1, 2.5), 24 ** rng.random(), rng.uniform(0, 180)
    directed = rng.random() < _DIRECTED_SHARE
    across_px = max(sigma_px, _LEAST_ACROSS_PX) if directed else sigma_px
    if across_px > 0.3:
        noise = cv2.GaussianBlur(
            noise, (0, 0), sigmaX=across_px * along if directed else across_px, sigmaY=across_px
        )
    if directed:
        middle = (whole - 1) / 2
        turn = cv2.getRotationMatrix2D((middle, middle), degrees, 1.0)
        noise = cv2.warpAffine(noise, turn, (whole, whole))
    noise = _middle(noise, side)
    # Leaves and grass are more often dark or bright than grain is.
    noise = np.sign(noise) * np.abs(noise / noise.std()) ** rng.uniform(0.5, 2)
    amplitude = 255 * 0.01 * 30 ** rng.random()
    grained: Rgb = np.clip(image + np.float32(amplitude) * noise, 0, 255).astype(np.uint8)
    return grained


_DIRECTED_SHARE = 0.5
_LEAST_ACROSS_PX = 0.5


def _softened(image: Rgb, rng: np.random.Generator) -> Rgb:
    """As if out of focus: blurred alike in all directions, by 0.4 to 4 px, mostly by little."""
    sigma_px = _LEAST_SOFT_PX * (_MOST_SOFT_PX / _LEAST_SOFT_PX) ** rng.random()
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.uint8)


def _class_of(seed: int, index: int) -> int:
    n_classes = len(TRAINED)
    turn, place = divmod(index, n_classes)
    return int(np.random.default_rng([seed, turn, 1]).permutation(n_classes)[place])


class Blurring:
    """Blurs sharp images by candidates' kernels, in linear light."""

    def __init__(self, response: Response) -> None:
        """Prepare tables: decoding, and encoding finer than a code's rounding needs."""
        self._linear_of_code = response.linear_of_code.astype(np.float32)
        # Codes crowd in the shadows; so do equal steps of the square root.
        light = np.repeat((np.arange(4096)[:, None] / 4095) ** 2, 3, axis=1)
        self._code_of_level = response.encode(light)

    def blurred(self, sharp: Rgb, candidate: int) -> Rgb:
        """Blur an image by one candidate's kernel; beyond its border it is mirrored.

        Args:
            sharp: (H, W, 3) uint8.
            candidate: Index of the kernel.

        Returns:
            (H, W, 3) uint8.
        """
        linear = np.empty(sharp.shape, np.float32)
        for channel in range(3):
            linear[..., channel] = self._linear_of_code[:, channel].take(sharp[..., channel])
        # A straight motion's kernel is its own mirror image, so correlating is convolving.
        kernel = _trimmed(kernels()[candidate])
        light = cv2.filter2D(linear, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        levels = (np.sqrt(np.clip(light, 0, 1)) * 4095 + 0.5).astype(np.int32)
        codes = [self._code_of_level[:, c].take(levels[..., c]) for c in range(3)]
        return np.stack(codes, axis=-1)


def _trimmed(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without rows and columns of zeros around the middle: short motions blur faster."""
    rows, columns = np.nonzero(kernel)
    middle = kernel.shape[0] // 2
    y, x = middle - rows.min(), middle - columns.min()
    return kernel[middle - y : middle + y + 1, middle - x : middle + x + 1]


def with_noise(image: Rgb, sigma: float, rng: np.random.Generator) -> Rgb:
    """Add Gaussian noise of this sigma (of [0, 1], on code values) and round to 8 bits."""
    noisy = image + rng.standard_normal(image.shape, np.float32) * np.float32(255 * sigma)
    result: Rgb = np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)
    return result
