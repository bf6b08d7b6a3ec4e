"""What an image file says about its code values, which image libraries do not tell."""

import io
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from gopro_tools.errors import InputError
from gopro_tools.image_headers import read_header
from gopro_tools.response import Response
from gopro_tools.video.color import Color, check_response, color_by_transfer

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ORDINARY_GAMMA = (1.9, 2.5)
"""Range of camera curves, by the gamma of the whole curve; sRGB and BT.709 are about 2.2."""
_AS_STORED = "as stored"
_MIDDLE_CODES = (64, 193)
"""Grey codes by which a profile's curve is judged: darker ones may lie on a linear toe."""
_SRGB_CHROMA = 132.0
"""CIELAB chroma of sRGB's purest colour, blue 131; the green of Display P3, 151."""


def color_of_still(path: Path) -> Color:
    """Colour of an image file, such as linear or PQ values, if the file says so.

    A PNG file says so in its chunks, any file in its ICC profile.

    Raises:
        InputError: It cannot be read, or is not an image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    chunks = dict(_chunks(data)) if data.startswith(_SIGNATURE) else {}
    if "cICP" in chunks and len(chunks["cICP"]) == 4:
        return color_by_transfer(_AS_STORED, chunks["cICP"][1])
    if profile := read_header(path, data).icc_profile:
        return _by_profile(profile)
    if "gAMA" in chunks and len(chunks["gAMA"]) == 4 and "sRGB" not in chunks:
        return _by_gamma(struct.unpack(">I", chunks["gAMA"])[0] / 100_000)
    return Color(text=_AS_STORED)


def check_still(path: Path, response: Response) -> Color:
    """Refuse an image whose code values ``response`` does not decode; its colour otherwise.

    Raises:
        InputError: It says that its values are HDR, linear, or have a gamma other than a camera's.
    """
    color = color_of_still(path)
    if color.hdr:
        raise InputError(f"{path}: {color.hdr} values, an HDR image; convert it to sRGB first.")
    check_response(path, color, response)
    return color


def _by_gamma(stored: float, primaries: str = "") -> Color:
    gamma = round(1 / stored, 1) if stored > 0.1 else 0.0
    if not gamma or _ORDINARY_GAMMA[0] <= gamma <= _ORDINARY_GAMMA[1]:
        return Color(text=_AS_STORED, primaries=primaries)
    if gamma == 1:
        return color_by_transfer(_AS_STORED, 8)
    return Color(
        text=_AS_STORED,
        curve=f"gamma {gamma}",
        response=f"gamma{gamma}",
        primaries=primaries,
    )


@lru_cache(maxsize=64)
def _by_profile(profile: bytes) -> Color:
    """Curve and primaries of an ICC profile, judged by the colours it gives a few codes."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = " ".join(ImageCms.getProfileDescription(source).split())
        to_lab = ImageCms.buildTransform(
            source, ImageCms.createProfile("LAB"), "RGB", "LAB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )  # fmt: skip
    except (ImageCms.PyCMSError, OSError, ValueError):
        return Color(text=_AS_STORED)  # damaged, or for grey: viewers ignore it
    codes = np.arange(*_MIDDLE_CODES, dtype=np.uint8)
    lightness = _in_lab(to_lab, np.repeat(codes[:, None], 3, axis=1))[:, 0]
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, np.maximum(lightness, 1) / 903.3)
    gamma = float(np.median(np.log(light) / np.log(codes / 255)))
    chroma = np.hypot(*_in_lab(to_lab, np.diag([255, 255, 255]).astype(np.uint8))[:, 1:].T)
    return _by_gamma(1 / max(gamma, 0.1), name if chroma.max() > _SRGB_CHROMA else "")


def _in_lab(to_lab: ImageCms.ImageCmsTransform, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 3) lightness from 0 to 100, a and b, of (n, 3) uint8 RGB."""
    image = ImageCms.applyTransform(Image.fromarray(rgb[None]), to_lab)
    assert image is not None  # it is None only for in-place changes
    lab = np.asarray(image)[0]
    return np.column_stack([lab[:, 0] * (100 / 255), lab[:, 1:].astype(np.uint8).view(np.int8)])


def _chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    position = len(_SIGNATURE)
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        name = data[position + 4 : position + 8].decode("latin-1")
        if name == "IDAT":
            return
        yield name, data[position + 8 : position + 8 + length]
        position += 12 + length
