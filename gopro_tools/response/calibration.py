"""Measuring the response of a camera from a bracket: one still scene at several exposures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gopro_tools.errors import InputError
from gopro_tools.files import natural_key
from gopro_tools.images import IMAGE_SUFFIXES, Rgb, read_rgb
from gopro_tools.response.config import Method
from gopro_tools.response.curves import Response

_EXIF_IFD, _EXPOSURE_TIME, _WHITE_BALANCE = 0x8769, 0x829A, 0xA403
_KEPT_SETTINGS = {0x0110: "camera", 0x8827: "ISO", 0x829D: "aperture", 0x920A: "focal length"}
"""EXIF tags of settings that must be the same throughout a bracket."""
_AUTOMATIC = 0
_LEAST_IMAGES = 3
_LEAST_STOPS = 2.0
_DEBEVEC_SAMPLES = 300
_DEBEVEC_SMOOTHNESS = 20.0
USED_CODES = (10, 245)
"""Codes over which a calibration is judged: below is noise, above is saturation."""


@dataclass(frozen=True, kw_only=True)
class Bracket:
    """One still scene, the same aperture, gain and white balance, several exposures."""

    paths: tuple[Path, ...]
    images: tuple[Rgb, ...]
    """(H, W, 3) uint8 each, one size."""
    times_s: tuple[float, ...]
    """Exposure time of each, in s; only their ratios matter."""
    notes: tuple[str, ...] = ()
    """What a person should know about how they were taken."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A measured response."""

    table: NDArray[np.float32]
    """(256, 1, 3) relative light for each code, BGR, code 128 near 1: what
    `Response.from_file` reads and the REDS page publishes."""
    response: Response
    """The same, made smooth and rising."""
    misfit_codes: float
    """By how many codes an image differs from what the others say it should be: the median over
    pixels that no image saturates. Above 2 or so the scene moved or a setting changed."""


def read_bracket(folder: Path, times_s: Sequence[str] = ()) -> Bracket:
    """The images of a folder, with their exposure times.

    Args:
        folder: 8-bit RGB images of one size.
        times_s: Exposure times in natural order of the file names, such as ``1/60``; empty takes
            them from EXIF.

    Raises:
        InputError: Fewer than three images, sizes that differ, times missing or too much alike, or
            a setting other than the time that differs according to EXIF.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: a folder of images of one scene was expected.")
    found = (
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    paths = sorted(found, key=lambda path: natural_key(path.name))
    if len(paths) < _LEAST_IMAGES:
        raise InputError(
            f"{folder}: {len(paths)} image(s) there; at least {_LEAST_IMAGES} exposures of one "
            "scene are needed, better eight or more over four stops."
        )
    if times_s and len(times_s) != len(paths):
        names = ", ".join(path.name for path in paths)
        raise InputError(
            f"--times: {len(times_s)} given for {len(paths)} images; one per image in this order "
            f"was expected: {names}."
        )
    settings = [_settings(path) for path in paths]
    times = [_seconds(text) for text in times_s] or [
        _time_from_exif(path, of_image) for path, of_image in zip(paths, settings, strict=True)
    ]
    _check_kept(paths, settings)
    stops = np.log2(max(times) / min(times))
    if stops < _LEAST_STOPS:
        raise InputError(
            f"{folder}: the exposures span {stops:.2f} stops; at least {_LEAST_STOPS:.0f} are "
            "needed. Where EXIF does not have the times, give them with --times."
        )
    images = [read_rgb(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise InputError(
                f"{path}: {image.shape[1]}x{image.shape[0]} pixels, but {paths[0].name} has "
                f"{images[0].shape[1]}x{images[0].shape[0]}; one size was expected."
            )
    is_automatic = any(each.get(_WHITE_BALANCE) == _AUTOMATIC for each in settings)
    return Bracket(
        paths=tuple(paths),
        images=tuple(images),
        times_s=tuple(times),
        notes=(
            "White balance was automatic according to EXIF: where it changed from image to "
            "image, red and blue come out wrong. A fixed one is safer.",
        )
        if is_automatic
        else (),
    )


def calibrate(bracket: Bracket, method: Method = "robertson") -> Calibration:
    """Measure the response.

    Args:
        bracket: See `read_bracket`.
        method: ``robertson`` (Robertson, Borman and Stevenson 2003: all pixels, what the REDS page
            used) or ``debevec`` (Debevec and Malik 1997: few pixels and a smooth curve).

    Raises:
        InputError: The images do not determine a rising curve.
    """
    times = np.array(bracket.times_s, np.float32)
    if method == "robertson":
        curve = cv2.createCalibrateRobertson(100, 0.001).process(bracket.images, times)
    else:
        curve = cv2.createCalibrateDebevec(_DEBEVEC_SAMPLES, _DEBEVEC_SMOOTHNESS, False).process(
            bracket.images, times
        )
    table = np.asarray(curve, np.float64).reshape(256, 3)  # in the images' order: RGB
    low, high = USED_CODES
    if not np.isfinite(table).all() or (table[low] <= 0).any() or (table[high] <= table[low]).any():
        raise InputError(
            "The images do not determine a rising response: make sure that the scene is still and "
            "has dark and bright parts, and that the times are right."
        )
    response = Response.measured("calibrated", table)
    return Calibration(
        table=table[:, None, ::-1].astype(np.float32),
        response=response,
        misfit_codes=_misfit_codes(bracket, response),
    )


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far a response is from another, over `USED_CODES`, at the best-fitting brightness."""

    mean_codes: float
    largest_codes: float
    at_code: int
    """Where it is largest."""


def deviation(response: Response, other: Response) -> list[Deviation]:
    """How far ``other`` is from ``response`` over `USED_CODES`, in codes for the same light.

    A response is known up to its scale (what is white), so each channel is first scaled to fit.

    Returns:
        One for each of red, green and blue.
    """
    low, high = USED_CODES
    codes = np.arange(low, high + 1)
    result = []
    for channel in range(3):
        ours = response.linear_of_code[low : high + 1, channel]
        theirs = other.linear_of_code[:, channel]
        usable = (ours > 0) & (theirs[codes] > 0)
        scale = np.exp(np.median(np.log(theirs[codes][usable] / ours[usable])))
        apart = np.abs(np.interp(ours * scale, theirs, np.arange(256.0)) - codes)
        worst = int(np.argmax(apart))
        result.append(
            Deviation(
                mean_codes=float(apart.mean()),
                largest_codes=float(apart[worst]),
                at_code=int(codes[worst]),
            )
        )
    return result


def local_exponents(response: Response) -> dict[str, list[float]]:
    """Slope of log light over log code in shadows, middle tones and highlights, RGB: 2.2 for gamma.

    Returns:
        By range of codes, such as ``20-60``.
    """
    ranges = {"20-60": (20, 60), "60-150": (60, 150), "150-245": (150, 245)}
    slopes = {}
    for name, (low, high) in ranges.items():
        light = response.linear_of_code[[low, high]]
        slopes[name] = [float(s) for s in np.log(light[1] / light[0]) / np.log(high / low)]
    return slopes


def _misfit_codes(bracket: Bracket, response: Response) -> float:
    step = max(1, min(bracket.images[0].shape[:2]) // 200)
    codes = np.stack([image[::step, ::step] for image in bracket.images])
    times = np.array(bracket.times_s)[:, None, None, None]
    low, high = USED_CODES
    usable = (codes >= low) & (codes <= high)
    light = np.stack([response.decode(image) for image in codes]) / times
    n_usable = usable.sum(axis=0)
    mean = (light * usable).sum(axis=0) / np.maximum(n_usable, 1)
    expected = np.stack([response.encode(mean * time) for time in times[:, 0, 0, 0]])
    compared = usable & (n_usable >= 2)
    if not compared.any():
        return float("nan")
    apart = np.abs(expected.astype(int) - codes)[compared]
    return float(np.median(apart))


def _seconds(text: str) -> float:
    try:
        seconds = float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        seconds = 0.0
    if not seconds > 0:
        raise InputError(f"--times {text}: seconds were expected, such as 1/60 or 0.5.")
    return seconds


def _settings(path: Path) -> dict[int, Any]:
    """EXIF tags of an image, those of the exposure included; empty where it has none."""
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            return {**exif, **exif.get_ifd(_EXIF_IFD)}
    except Exception as error:  # Pillow raises anything on a damaged file
        raise InputError(f"{path}: not a readable image ({error}).") from error


def _check_kept(paths: Sequence[Path], settings: Sequence[Mapping[int, Any]]) -> None:
    """Refuse a bracket in which, according to EXIF, more than the time changed.

    Raises:
        InputError: It did; the message names two images and what differs.
    """
    for tag, name in _KEPT_SETTINGS.items():
        known = [(path, str(s[tag])) for path, s in zip(paths, settings, strict=True) if tag in s]
        for path, value in known:
            first, usual = known[0]
            if value != usual:
                raise InputError(
                    f"{path}: {name} {value} in its EXIF, but {usual} in {first.name}; within a "
                    "bracket only the exposure time may differ. Leave out the images with another "
                    "setting, or take them again."
                )


def _time_from_exif(path: Path, settings: Mapping[int, Any]) -> float:
    try:
        seconds = float(settings.get(_EXPOSURE_TIME, 0.0))
    except (TypeError, ValueError, ZeroDivisionError):
        seconds = 0.0
    if not 0 < seconds < np.inf:
        raise InputError(
            f"{path}: its EXIF has no exposure time; give all times with --times, in natural "
            "order of the file names."
        )
    return seconds
