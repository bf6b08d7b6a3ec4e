"""What shows in the pixels of one image set: readable, as promised, sharp, in place."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER
from gopro_tools.errors import InputError
from gopro_tools.findings import Finding, Severity
from gopro_tools.images import Rgb, pixel_hash, read_rgb, sharpness
from gopro_tools.jpeg_traces import LEAST_TRACE, jpeg_trace
from gopro_tools.mistakes import chosen
from gopro_tools.text import size_text
from gopro_tools.verify.config import VerifyConfig
from gopro_tools.verify.folders import MANIFEST, ImageSet

_Value = TypeVar("_Value", np.uint8, np.float32)

_BLUR_SCALE_PX = 16.0
_NEGLIGIBLE = 1e-8
"""Below this, the gain of the low-pass filter counts as zero."""
LEAST_CONTRAST = 2.0
_LEAST_SIDE_PX = 64
_LEAST_AGREEMENT = 0.75
_SMALL_WIDTH_PX = 80  # blur hardly shows there, but mistakes in saving do
_LEAST_DARKER = 0.1  # code values, more than rounding and compression make
_LEAST_BLUR = 5.0  # RMS of code values; with less, the two means may round to the same


@dataclass(slots=True)
class Result:
    """What checking one image set gave; for most sets, without pixels."""

    findings: list[Finding] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    size_hw: tuple[int, int] | None = None
    kinds: Literal["", "darker", "same"] = ""
    """What is wrong with `blur_gamma` compared with `blur`."""
    small: dict[str, tuple[Rgb, Rgb]] = field(default_factory=dict)
    """Thumbnails, blurred and sharp, by kind of blur; for images examined for mistakes in
    saving."""
    was_jpeg: bool | None = None
    """Whether the sharp image was a JPEG file; None where it still is one, or was not examined."""
    views: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """Luma thumbnail of each kind, to compare images with."""


def check_images(
    image: ImageSet, config: VerifyConfig, promised: Mapping[str, str], small: set[str]
) -> Result:
    """All checks that need the pixels of one image set.

    Args:
        image: The files.
        config: What counts as suspicious.
        promised: Its row of the manifest; empty where there is none.
        small: Kinds of blur to keep thumbnails of.
    """
    result = Result()

    def report(severity: Severity, check: str, message: str) -> None:
        result.findings.append(Finding(severity, check, message, *image.key))

    pixels: dict[str, Rgb] = {}
    for kind in image.kinds:
        try:
            pixels[kind] = read_rgb(image.places[kind])
        except InputError as error:
            # The message begins with a path, but the finding already says where it was found.
            what = str(error).removeprefix(f"{image.places[kind]}: ")
            report("error", "unreadable", f"{kind}/{image.places[kind].name}: {what}")
            continue
        result.hashes[kind] = pixel_hash(pixels[kind])
        column = f"hash_{kind}"
        if column in promised and promised[column] != result.hashes[kind]:
            expected = promised[column] or "no image of this kind"
            report(
                "error",
                "hash",
                f"{kind}/{image.name}: {MANIFEST} promises {expected}, found {result.hashes[kind]}",
            )
    sharp = pixels.pop(SHARP_FOLDER, None)
    if sharp is None:
        return result
    result.size_hw = sharp.shape[0], sharp.shape[1]
    for column, value in (
        ("height", f"{sharp.shape[0]}"),
        ("width", f"{sharp.shape[1]}"),
        ("sharpness", f"{sharpness(sharp):.4f}"),
    ):
        if column in promised and not _is_same_number(promised[column], value):
            message = f"{MANIFEST} promises {column} {promised[column]}, found {value}"
            report("error", "manifest", message)
    sharp_luma = _luma(sharp)
    result.views[SHARP_FOLDER] = _in_small(sharp_luma)
    if sharp_luma.std() < LEAST_CONTRAST:
        report("info", "contrast", "the sharp image is almost constant; its shift is not measured")
    for kind, blurred in pixels.items():
        if blurred.shape != sharp.shape:
            report(
                "error",
                "size",
                f"{kind} is {size_text(blurred.shape)}, {SHARP_FOLDER} {size_text(sharp.shape)}",
            )
            continue
        if result.hashes[kind] == result.hashes[SHARP_FOLDER]:
            report("warning", "identical", f"{kind} and {SHARP_FOLDER} are the same image")
            continue
        blurred_luma = _luma(blurred)
        result.views[kind] = _in_small(blurred_luma)
        ratio = (sharpness(sharp) + 1e-6) / (sharpness(blurred) + 1e-6)
        # Noise, which blur_real has, counts as sharpness.
        if ratio < 1 and kind != BLUR_FOLDERS["real"]:
            report(
                "error" if ratio < config.least_sharpness_ratio else "warning",
                "sharpness",
                f"{SHARP_FOLDER} is blurrier than {kind}: {ratio:.3f} of its variance of the "
                "Laplacian",
            )
        lumas = sharp_luma, blurred_luma
        if min(sharp.shape[:2]) < _LEAST_SIDE_PX or min(x.std() for x in lumas) < LEAST_CONTRAST:
            continue
        shift = measure_shift(*lumas)
        if shift.agreement < _LEAST_AGREEMENT:
            what = f"{kind} and {SHARP_FOLDER} do not show the same ({shift.agreement:.2f} of 1)"
            report("warning", "scene", what)
        elif np.hypot(shift.x_px, shift.y_px) > config.max_shift_px:
            report(
                "warning",
                "shift",
                f"{kind} lies {shift.x_px:+.1f} px to the right of {SHARP_FOLDER} and "
                f"{shift.y_px:+.1f} px below it",
            )
    result.kinds = _compared_kinds(pixels, sharp)
    if small and image.places[SHARP_FOLDER].suffix.lower() == ".png":
        result.was_jpeg = jpeg_trace(sharp) > LEAST_TRACE
    for kind in small & pixels.keys():
        if pixels[kind].shape == sharp.shape:
            result.small[kind] = _in_small(pixels[kind]), _in_small(sharp)
    return result


def _compared_kinds(blurred: Mapping[str, Rgb], sharp: Rgb) -> Literal["", "darker", "same"]:
    """What `blur_gamma` is compared with `blur`, if no mean in linear light can be that."""
    gamma, plain = (blurred.get(BLUR_FOLDERS[kind]) for kind in ("gamma", "linear_crf"))
    if gamma is None or plain is None or not gamma.shape == plain.shape == sharp.shape:
        return ""
    if gamma.mean() < plain.mean() - _LEAST_DARKER:
        return "darker"
    squares = np.square(np.subtract(sharp, plain, dtype=np.float32))
    is_blurred = np.sqrt(squares.mean()) > _LEAST_BLUR
    return "same" if is_blurred and np.array_equal(gamma, plain) else ""


def looked_at(images: Sequence[ImageSet]) -> Mapping[int, set[str]]:
    """Kinds of blur to look at for mistakes in saving, by image: few of each kind in each split."""
    kinds: defaultdict[int, set[str]] = defaultdict(set)
    of_kind: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        if SHARP_FOLDER in image.kinds:
            for kind in {*image.kinds} - {SHARP_FOLDER}:
                of_kind[image.split, kind].append(index)
    for (_, kind), indices in of_kind.items():
        for at in chosen(len(indices)):
            kinds[indices[at]].add(kind)
    return kinds


def _in_small(image: NDArray[_Value]) -> NDArray[_Value]:
    width = min(image.shape[1], _SMALL_WIDTH_PX)
    size = width, max(1, round(image.shape[0] * width / image.shape[1]))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), image.dtype)


def _is_same_number(promised: str, found: str) -> bool:
    try:
        return math.isclose(float(promised), float(found), rel_tol=1e-4, abs_tol=1e-4)
    except ValueError:
        return False


class Shift(NamedTuple):
    """Where the blurred image lies, seen from the sharp one."""

    x_px: float
    """To the right."""
    y_px: float
    """Down."""
    agreement: float
    """In [0, 1]: how much of the spectrum the shift explains. Photographs blurred over up to 60 px
    reach 0.93; different scenes, and noise, stay below 0.6."""


def measure_shift(sharp_luma: NDArray[np.float32], blurred_luma: NDArray[np.float32]) -> Shift:
    """How far the blurred image lies from the sharp one, by phase correlation, sub-pixel.

    Textbook phase correlation (Kuglin and Hines, 1975) fails here: whitened, an image and its copy
    blurred over L pixels correlate best at half of L to either side, because the blur's transfer
    function changes sign. So the spectrum is only half whitened and limited to scales coarser than
    the blur, which merges the two peaks into one between them. Error on photographs with blur up to
    45 px: 0.3 px in the median, 1.5 px at most.

    Args:
        sharp_luma: (H, W) float32, at least 16 px wide and high.
        blurred_luma: (H, W) float32.
    """
    return _shift_between(_spectrum(sharp_luma), _spectrum(blurred_luma), sharp_luma.shape)


_Spectrum = NDArray[np.complex64]
"""(2 * Y + 1, X + 1): only the low frequencies, from -Y to Y down and from 0 to X across the image
(for real images, the others are their mirror image)."""


def _spectrum(luma: NDArray[np.float32]) -> _Spectrum:
    window, low_pass = _filters(luma.shape)
    n_down, n_across = (side // 2 for side in (low_pass.shape[0], 2 * low_pass.shape[1] - 1))
    rows = cv2.dft((luma - luma.mean()) * window, flags=cv2.DFT_ROWS)
    waves = np.empty((luma.shape[0], n_across + 1), np.complex64)
    waves[:, 0] = rows[:, 0]  # each row is real 0, real 1, imaginary 1, real 2, ...
    waves[:, 1:].view(np.float32)[...] = rows[:, 1 : 2 * n_across + 1]
    found = np.fft.fft(waves, axis=0)
    return np.concatenate([found[-n_down:], found[: n_down + 1]]).astype(np.complex64)


def _shift_between(sharp: _Spectrum, blurred: _Spectrum, size_hw: tuple[int, ...]) -> Shift:
    cross = np.conj(sharp) * blurred
    cross *= _filters(size_hw)[1] / np.sqrt(np.maximum(np.abs(cross), 1e-6))
    # At frequencies this low, no peak can hide between the points of a coarse surface.
    coarse = np.fft.irfft2(
        np.fft.ifftshift(cross, axes=0), (cross.shape[0], 2 * cross.shape[1] - 1)
    )
    peak = np.unravel_index(int(coarse.argmax()), coarse.shape)
    steps = [side / n for side, n in zip(size_hw, coarse.shape, strict=True)]
    near_px = [
        round(at * step) + np.arange(-math.ceil(step) - 2, math.ceil(step) + 3)
        for at, step in zip(peak, steps, strict=True)
    ]
    cross[:, 1:] *= 2  # for the mirrored ones
    near = _surface(cross, size_hw, *near_px)
    inner = near[1:-1, 1:-1]
    row, column = (int(at) + 1 for at in np.unravel_index(int(inner.argmax()), inner.shape))
    y = near_px[0][row] + _peak_offset(near[row - 1 : row + 2, column])
    x = near_px[1][column] + _peak_offset(near[row, column - 1 : column + 2])
    height, width = size_hw
    in_phase = float(np.abs(cross).sum())
    return Shift(
        # The surface repeats: the second half of each axis is the negative shifts.
        x_px=float((x + width / 2) % width - width / 2),
        y_px=float((y + height / 2) % height - height / 2),
        agreement=float(near[row, column] / in_phase) if in_phase > 0 else 0.0,
    )


def _surface(
    cross: _Spectrum, size_hw: tuple[int, ...], y_px: NDArray[np.int64], x_px: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How well two images agree if one is moved by each of some offsets: an inverse Fourier sum."""
    height, width = size_hw
    down = np.arange(cross.shape[0]) - cross.shape[0] // 2
    turn_y = np.exp(2j * np.pi / height * np.outer(y_px, down))
    turn_x = np.exp(2j * np.pi / width * np.outer(np.arange(cross.shape[1]), x_px))
    # Not `@`: with matrices this small, the threads of BLAS mostly wait for each other.
    rows = np.einsum("yd,da->ya", turn_y, cross)
    return np.asarray(np.einsum("ya,ax->yx", rows, turn_x).real)


@lru_cache(maxsize=4)
def _filters(size_hw: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Hann window, and the Gaussian low pass over the frequencies of `_Spectrum`."""
    height, width = size_hw
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    sigma_px = min(_BLUR_SCALE_PX, min(height, width) / 16)
    decay = 2 * (np.pi * sigma_px) ** 2
    highest = math.sqrt(-math.log(_NEGLIGIBLE) / decay)
    n_down, n_across = (min(math.ceil(highest * side), (side - 1) // 2) for side in size_hw)
    squared = (np.arange(-n_down, n_down + 1)[:, None] / height) ** 2
    squared = squared + (np.arange(n_across + 1)[None, :] / width) ** 2
    return window, np.exp(-decay * squared).astype(np.float32)


def _peak_offset(values: NDArray[np.floating]) -> float:
    """Where a parabola through three values, the middle one highest, has its top: in [-.5, .5]."""
    before, top, after = (float(value) for value in values)
    curvature = before - 2 * top + after
    return 0.5 * (before - after) / curvature if curvature < 0 else 0.0


def _luma(image: Rgb) -> NDArray[np.float32]:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
