"""A photo of any kind in, the same kind out: depth, alpha, greyscale and metadata kept.

Pixels are turned upright as they are read, so the orientation in the metadata is set to upright.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.images import read_upright

_ORIENTATION = 0x0112
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_METADATA = frozenset(
    {b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI"}  # how to show the pixels
    | {b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"}
)
_PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"  # begins the iTXt chunk that holds it
_START_OF_SCAN, _END_OF_IMAGE = 0xFFDA, b"\xff\xd9"
_JPEG_QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class Photo:
    """An image apart from its container."""

    path: Path
    rgb: NDArray[np.float32]
    """(H, W, 3) in [0, 1], upright; three equal channels for a grey image."""
    alpha: NDArray[Any] | None
    """(H, W) as stored, where there is one."""
    grey: bool
    depth: np.dtype[Any]
    """uint8 or uint16."""

    def with_rgb(self, rgb: NDArray[np.float32]) -> NDArray[Any]:
        """Pixels as the file had them, with other colours: (H, W), (H, W, 3) RGB or (H, W, 4)."""
        largest = np.iinfo(self.depth).max
        codes = np.rint(np.clip(rgb, 0, 1).astype(np.float64) * largest).astype(self.depth)
        if self.grey:
            codes = np.rint(codes.mean(axis=2)).astype(self.depth)
        if self.alpha is None:
            return codes
        return np.dstack([codes if codes.ndim == 3 else np.dstack([codes] * 3), self.alpha])


def read_photo(path: Path) -> Photo:
    """Read a PNG, JPEG, TIFF, BMP or WebP file of 8 or 16 bits, with or without colour and alpha.

    Raises:
        InputError: See `gopro_tools.images.read_upright`; or the pixels are floats.
    """
    pixels = read_upright(path)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: 8 or 16 bits per channel were expected, found {pixels.dtype}.")
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels not in (1, 3, 4):
        raise InputError(
            f"{path}: grey, RGB or RGB with alpha expected, found {channels} channels."
        )
    if channels == 4 and path.suffix.lower() in (".tif", ".tiff"):
        # libtiff multiplies the colours by alpha while OpenCV reads them.
        raise InputError(f"{path}: TIFF with alpha is not read; save it as PNG first.")
    alpha = None
    if channels == 4:  # OpenCV's order, blue first
        pixels, alpha = pixels[:, :, 2::-1], pixels[:, :, 3]
    elif channels == 1:
        grey_plane = pixels.reshape(pixels.shape[:2])
        pixels = np.dstack([grey_plane] * 3)
    return Photo(
        path=path,
        rgb=pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max),
        alpha=alpha,
        grey=channels == 1,
        depth=pixels.dtype,
    )


@dataclass(frozen=True, kw_only=True)
class _Metadata:
    """What a file says besides its pixels, with the orientation set to upright."""

    exif: bytes = b""
    icc_profile: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    comment: bytes | None = None
    """Of a JPEG file."""
    chunks: Sequence[tuple[bytes, bytes]] = ()
    """Kind and body of the chunks of a PNG file that are metadata, but for EXIF."""
    has_more: bool = False
    """Whether more follows the picture in a JPEG file, as in those of phones."""


def write_photo(path: Path, photo: Photo, rgb: NDArray[np.float32]) -> list[str]:
    """Write restored colours in the format that the suffix says, with the photo's metadata.

    Args:
        path: PNG, JPEG (quality 95, no colour subsampling), TIFF, BMP or WebP (lossless).
        photo: What was restored.
        rgb: (H, W, 3) in [0, 1].

    Returns:
        What could not be kept, for people; empty where all was.
    """
    pixels = photo.with_rgb(rgb)
    metadata = _metadata(photo.path)
    suffix = path.suffix.lower()
    kind = suffix[1:].upper()
    lost: list[str] = []
    if metadata.has_more:
        lost.append(
            f"{path.name}: what follows the picture in its file (a gain map for HDR, another view "
            "or a video) is not kept, nor the XMP that describes it"
        )
    if suffix in (".jpg", ".jpeg", ".webp") and pixels.dtype != np.uint8:
        lost.append(f"{path.name}: {kind} holds 8 bits, the photo has 16")
        pixels = np.rint(pixels / 257.0).astype(np.uint8)
    if suffix in (".jpg", ".jpeg") and photo.alpha is not None:
        lost.append(f"{path.name}: JPEG holds no alpha channel")
        pixels = pixels[:, :, :3]
    if suffix == ".png":
        data = _with_png_metadata(_encoded(path, pixels), metadata)
    elif suffix in (".jpg", ".jpeg", ".webp"):
        data = _by_pillow(suffix, pixels, metadata)
        if names := sorted({name for name, body in metadata.chunks if _is_png_only(name, body)}):
            text = b", ".join(names).decode()
            lost.append(f"{path.name}: {kind} does not hold the PNG chunks {text}")
    else:
        data = _encoded(path, pixels)
        if any((metadata.exif, metadata.icc_profile, metadata.xmp, metadata.chunks)):
            lost.append(f"{path.name}: metadata are not kept in {kind} files")
    write_atomic(path, data)
    return lost


def _encoded(path: Path, pixels: NDArray[Any]) -> bytes:
    order: dict[int, Callable[[NDArray[Any]], Any]] = {
        2: lambda image: image,
        3: lambda image: cv2.cvtColor(
            image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        ),
    }
    written, data = cv2.imencode(path.suffix, order[pixels.ndim](pixels))
    if not written:
        raise InputError(f"{path}: OpenCV cannot write {path.suffix} files of this kind.")
    return data.tobytes()


def _by_pillow(suffix: str, pixels: NDArray[Any], metadata: _Metadata) -> bytes:
    file = io.BytesIO()
    kept: dict[str, Any] = {"exif": metadata.exif}
    kept |= {"icc_profile": metadata.icc_profile} if metadata.icc_profile else {}
    kept |= {"xmp": metadata.xmp} if metadata.xmp else {}
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if suffix == ".webp":
        image.save(file, "WEBP", lossless=True, exact=True, **kept)
    else:
        kept |= {"dpi": metadata.dpi} if metadata.dpi else {}
        kept |= {"comment": metadata.comment} if metadata.comment else {}
        image.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0, **kept)
    return file.getvalue()


def _metadata(source: Path) -> _Metadata:
    try:
        with Image.open(source) as image:
            exif = image.getexif()
            has_more = image.format in ("JPEG", "MPO") and _goes_on(source.read_bytes())
            if _ORIENTATION in exif:
                exif[_ORIENTATION] = 1
            return _Metadata(
                exif=exif.tobytes() if len(exif) else b"",
                icc_profile=image.info.get("icc_profile"),
                xmp=None if has_more else image.info.get("xmp"),
                dpi=image.info.get("dpi"),
                comment=image.info.get("comment"),
                chunks=_metadata_chunks(source.read_bytes()) if image.format == "PNG" else (),
                has_more=has_more,
            )
    except Exception:  # damaged metadata are no reason to lose the picture
        return _Metadata()


def _goes_on(jpeg: bytes) -> bool:
    """Whether more than padding follows the end of the picture."""
    position = 2
    while position + 4 <= len(jpeg):  # thumbnails lie in segments, which end before the picture
        marker, length = struct.unpack_from(">HH", jpeg, position)
        position += 2 + length
        if marker == _START_OF_SCAN:
            end = jpeg.find(_END_OF_IMAGE, position)
            return end >= 0 and bool(jpeg[end + 2 :].strip(b"\0\xff\r\n"))
    return False


def _metadata_chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (kind, body) for kind, body in _png_chunks(png) if kind in _PNG_METADATA and kind != b"eXIf"
    ]


def _is_png_only(kind: bytes, body: bytes) -> bool:
    return kind not in (b"iCCP", b"pHYs") and not body.startswith(_PNG_XMP)


def _with_png_metadata(png: bytes, metadata: _Metadata) -> bytes:
    """A PNG file with the metadata of the source: its own chunks, or what a JPEG file says."""
    chunks = list(metadata.chunks)
    if metadata.icc_profile and not metadata.chunks:
        chunks.append((b"iCCP", b"profile\0\0" + zlib.compress(metadata.icc_profile)))
    if metadata.xmp and not metadata.chunks:
        chunks.append((b"iTXt", _PNG_XMP + metadata.xmp))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")))
    own = list(_png_chunks(png))
    written = [own[0], *chunks, *(chunk for chunk in own[1:] if chunk[0] not in _PNG_METADATA)]
    return _PNG_START + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in written
    )


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(_PNG_START)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        position += 12 + length
