"""PNG files as our encoder writes them, read at three times the speed of libpng.

`gopro_tools.png_encoder` and fpng mark their files with a chunk of their own and leave rows as they
are or as differences to the row above, so that inflating is nearly all the work, which ISA-L does
best. A file is taken only where every checksum holds and nothing is missing or left over. All
others go to libpng, less what it would only complain of.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

try:
    from isal import isal_zlib as _isal
except ImportError:  # the general reader does as well
    _isal = None  # type: ignore[assignment]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MARK = b"upRW"
"""Name of the empty chunk by which our encoder marks its files."""
_MARKS = (MARK, b"fdEC")
_AS_IT_IS, FROM_ABOVE = 0, 2
"""Filters of rows."""
_DECISIVE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def decode_plain_rows(data: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    """The image in an undamaged file of our encoder's, or of fpng's.

    Args:
        data: The whole file.
        max_pixels: Larger images are left to the general reader.

    Returns:
        (H, W, 3) uint8 RGB; None where the file is not exactly that.
    """
    if _isal is None or data[37:41] not in _MARKS or not data.startswith(PNG_SIGNATURE):
        return None
    chunks = _chunks(data)
    if chunks is None or [name for name, _ in chunks] != [b"IHDR", data[37:41], b"IDAT", b"IEND"]:
        return None
    header, _, compressed, end = (body for _, body in chunks)
    if len(header) != 13 or len(end):
        return None
    width, height, *kind = struct.unpack(">IIBBBBB", header)
    if kind != [8, 2, 0, 0, 0] or not 0 < width * height <= max_pixels:  # 8-bit RGB, plain rows
        return None
    stride = 1 + 3 * width
    stream = _isal.decompressobj()
    try:
        raw = stream.decompress(compressed, height * stride + 1)
    except Exception:  # the general reader says what is wrong
        return None
    if len(raw) != height * stride or not stream.eof or stream.unused_data:
        return None
    return _rows(np.frombuffer(raw, np.uint8).reshape(height, stride))


def _chunks(data: bytes) -> list[tuple[bytes, memoryview]] | None:
    """Names and bodies of all chunks; None where one is cut off or its checksum is wrong."""
    chunks = []
    view, position = memoryview(data), len(PNG_SIGNATURE)
    while position < len(data):
        if position + 12 > len(data):
            return None
        end = position + 8 + int.from_bytes(view[position : position + 4])
        if end + 4 > len(data):
            return None
        if int.from_bytes(view[end : end + 4]) != _isal.crc32(view[position + 4 : end]):
            return None
        chunks.append((data[position + 4 : position + 8], view[position + 8 : end]))
        position = end + 4
    return chunks


def _rows(stored: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The image of rows that each start with their filter; None for other filters."""
    height, stride = stored.shape
    image = np.empty((height, stride - 1), np.uint8)
    above = np.zeros(stride - 1, np.uint8)
    for row, kind, values in zip(image, stored[:, 0].tolist(), stored[:, 1:], strict=True):
        if kind == FROM_ABOVE:
            np.add(above, values, out=row)
        elif kind == _AS_IT_IS:
            row[:] = values
        else:
            return None
        above = row
    return image.reshape(height, -1, 3)


def plain_png(data: bytes) -> bytes | None:
    """The same image without the chunks that decide about no pixel.

    libpng writes what it thinks of profiles, times and gamma values to the terminal, and what it
    thinks of damage. A checksum finds that first, unless the program that wrote the file made it.

    Args:
        data: A file that begins as PNG files do.

    Returns:
        None where it is damaged or cut off.
    """
    kept = [data[: len(PNG_SIGNATURE)]]
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4])
        name = data[position + 4 : position + 8]
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4]):
            return None
        if name in _DECISIVE:
            kept.append(data[position : end + 4])
        if name == b"IEND":
            return b"".join(kept)
        position = end + 4
    return None
