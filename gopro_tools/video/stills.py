"""What a PNG file says of its own code values, which no image library tells."""

import struct
from collections.abc import Iterator
from pathlib import Path

from gopro_tools.video.color import Color, color_by_transfer

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_READ_BYTES = 1 << 18
"""Chunks of colour come before the pixels; a profile may be long."""
_ORDINARY_GAMMA = (1.9, 2.5)
"""Camera curves, by the gamma of the whole curve; sRGB and BT.709 are 2.2 or so."""


def color_of_still(path: Path) -> Color:
    """Colour of an image file: that its values are linear, PQ, ... where the file says so.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(len(_SIGNATURE))
        if data != _SIGNATURE:
            return Color(text="as stored")
        data += file.read(_READ_BYTES)
    chunks = dict(_chunks(data))
    if "cICP" in chunks and len(chunks["cICP"]) == 4:
        return color_by_transfer("as stored", chunks["cICP"][1])
    if "gAMA" in chunks and len(chunks["gAMA"]) == 4 and not {"sRGB", "iCCP"} & chunks.keys():
        return _by_gamma(struct.unpack(">I", chunks["gAMA"])[0] / 100_000)
    return Color(text="as stored")


def _by_gamma(stored: float) -> Color:
    gamma = round(1 / stored, 1) if stored > 0.1 else 0.0
    if not gamma or _ORDINARY_GAMMA[0] <= gamma <= _ORDINARY_GAMMA[1]:
        return Color(text="as stored")
    if gamma == 1:
        return color_by_transfer("as stored", 8)
    return Color(text="as stored", curve=f"gamma {gamma}", response=f"gamma{gamma}")


def _chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    position = len(_SIGNATURE)
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        name = data[position + 4 : position + 8].decode("latin-1")
        if name == "IDAT":
            return
        yield name, data[position + 8 : position + 8 + length]
        position += 12 + length
