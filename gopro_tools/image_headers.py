"""What image files say about themselves before any pixel is decoded, as Pillow reads it."""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.Image import Exif

from gopro_tools.errors import InputError
from gopro_tools.signatures import kind_of

_EXIF_ORIENTATION = 0x0112
_TILE_WIDTH = 322
_LARGEST_EXACT_STEP = 2
"""Of JPEG's quantisation."""

# The classes rather than `Image.open`, whose limit on pixels holds for the whole process.
_HEADER_READERS: tuple[tuple[bytes, Callable[[io.BytesIO], Any]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"II+\0", TiffImagePlugin.TiffImageFile),  # BigTIFF
    (b"RIFF", WebPImagePlugin.WebPImageFile),
)
_header_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageHeader:
    """What a file says about itself before any pixel is decoded."""

    width: int
    height: int
    orientation: int
    n_images: int
    mode: str
    is_jpeg: bool
    icc_profile: bytes
    """Empty where there is none."""
    lossy: str
    """The name of a lossy format, in which values are not those that were saved; else empty. JPEG
    of quality 99 and above counts as exact: its values are off by a level or so."""


def read_header(path: Path, data: bytes) -> ImageHeader:
    """What the bytes of a file say about its image; ``path`` names it in errors.

    Raises:
        InputError: It is not an image of a supported kind, or its header is damaged.
    """
    reader = next((read for start, read in _HEADER_READERS if data.startswith(start)), None)
    if reader is None:
        raise unreadable(path, data)
    # Pillow warns of odd metadata, which changes no pixel; the lock keeps threads from mixing up
    # their warning filters.
    with _header_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = reader(io.BytesIO(data))
            if _is_turned_in_tiles(image):
                raise InputError(
                    f"{path}: a tiled TIFF file that also has an orientation; programs do not "
                    "agree on how to turn it. Save it upright."
                )
            return ImageHeader(
                width=int(image.width),
                height=int(image.height),
                orientation=_orientation(image, data),
                n_images=int(getattr(image, "n_frames", 1)),
                mode=image.mode,
                is_jpeg=isinstance(image, JpegImagePlugin.JpegImageFile),
                icc_profile=image.info.get("icc_profile") or b"",
                lossy=_lossy_format(image, data),
            )
        except InputError:
            raise
        except Exception as error:  # it raises anything at all on a damaged file
            raise unreadable(path, data) from error


def _is_turned_in_tiles(image: Any) -> bool:
    is_tiff = isinstance(image, TiffImagePlugin.TiffImageFile)
    return is_tiff and _TILE_WIDTH in image.tag_v2 and image.tag_v2.get(_EXIF_ORIENTATION, 1) != 1


def _orientation(image: Any, data: bytes) -> int:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1  # OpenCV turns TIFF files itself
    if isinstance(image, PngImagePlugin.PngImageFile):
        # Pillow would decode the pixels first, as the chunk may come after them.
        exif = Exif()
        exif.load(_png_exif(data))
    else:
        exif = image.getexif()
    found = exif.get(_EXIF_ORIENTATION, 1)
    return found if isinstance(found, int) else 1


def _png_exif(data: bytes) -> bytes:
    """The body of a PNG file's eXIf chunk; empty where there is none."""
    position = 8
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"eXIf":
            return b"Exif\0\0" + data[position + 8 : position + 8 + length]
        position += 12 + length
    return b""


def unreadable(path: Path, data: bytes) -> InputError:
    """The error for a file that holds no image that can be read."""
    if kind := kind_of(data):
        return InputError(
            f"{path}: a PNG, JPEG, BMP, TIFF or WebP image was expected, found {kind}."
        )
    what = "of a kind that is not read" if data[:2] in (b"II", b"MM") else "not an image"
    return InputError(f"{path}: not a readable image; the file is truncated, damaged or {what}.")


def _lossy_format(image: Any, data: bytes) -> str:
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        steps = max(max(table) for table in image.quantization.values())
        return f"JPEG (steps of up to {steps})" if steps > _LARGEST_EXACT_STEP else ""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        compression = image.info.get("compression")
        return f"TIFF ({compression})" if compression in ("jpeg", "webp") else ""
    return "lossy WebP" if b"VP8 " in _riff_chunks(data) else ""


def _riff_chunks(data: bytes) -> Iterator[bytes]:
    """Names of the parts of a WebP file; none of others."""
    at = 12 if data.startswith(b"RIFF") else len(data)
    while at + 8 <= len(data):
        yield data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
