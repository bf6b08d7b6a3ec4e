"""8-bit RGB images on disk: the only module that knows OpenCV stores them as BGR."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import xxhash
from numpy.typing import NDArray

from gopro_tools.errors import InputError

try:
    from fpng import fpng_ext as _fpng

    _fpng.init()  # picks the SSE code path
except ImportError:
    _fpng = None

Rgb = NDArray[np.uint8]
"""An image as everything here passes it on: (H, W, 3) uint8, red first, sRGB-like code values."""

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

PNG_ENCODER = "fpng" if _fpng is not None else "opencv"
"""Which encoder `encode_png` uses; OpenCV, ten times slower, where fpng is not installed."""


def read_rgb(path: Path) -> Rgb:
    """Read an image file, refusing everything that would have to be converted silently.

    Args:
        path: A PNG, JPEG, BMP, TIFF or WebP file.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: The file is missing, empty or damaged, or it is greyscale, has an alpha channel
            or more than 8 bits: the message says which.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    if data.size == 0:
        raise InputError(f"{path}: the file is empty; an 8-bit RGB image was expected.")
    try:
        image: NDArray[Any] | None = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{path}: not a readable image; the file is truncated or not an image.")
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype != np.uint8 or channels != 3:
        found = f"{channels} channel(s) of {image.dtype}"
        raise InputError(
            f"{path}: 8-bit RGB was expected, found {found}. Convert it first; nothing here "
            "converts silently."
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def encode_png(image: Rgb) -> bytes:
    """PNG bytes of an (H, W, 3) uint8 RGB image, lossless, as fast as this machine can.

    The pixels are what counts: the bytes depend on the encoder, so compare `pixel_hash`.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"(H, W, 3) uint8 was expected, found {image.shape} {image.dtype}")
    if _fpng is not None:
        return bytes(_fpng.encode_ndarray(np.ascontiguousarray(image)))
    # OpenCV drops its fast strategy when only a level is given, so both are named.
    options = [
        cv2.IMWRITE_PNG_COMPRESSION,
        1,
        cv2.IMWRITE_PNG_STRATEGY,
        cv2.IMWRITE_PNG_STRATEGY_RLE,
    ]
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def pixel_hash(image: Rgb) -> str:
    """XXH3-128 of the pixels (row by row, RGB) in hexadecimal: the same for any PNG encoder."""
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(image).data)


def sharpness(image: Rgb) -> float:
    """Variance of the Laplacian of the luma (BT.601): falls as an image blurs, rises with noise."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_16S))
    return float(deviation[0, 0] ** 2)
