"""Files concatenated byte by byte, as by ``cat``, in formats whose clock does not show it."""

import struct
from pathlib import Path
from typing import BinaryIO

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
"""The object by which WMV and ASF files begin."""


def second_recording_at(path: Path) -> int | None:
    """Byte at which another recording begins in an AVI, MP4, MOV, FLV or WMV file; None if none.

    Transport streams, Matroska and MPEG program streams restart their clock there, which shows in
    their frames' times; AVI counts on, and of the others only the first recording is read.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        start = file.read(12)
        if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
            return _second_riff(file, size)
        if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _second_movie(file, size)
        if start[:3] == b"FLV":
            return _second_flash(file, size)
        if start == _ASF_HEADER[:12]:
            return _second_asf(file, size)
    return None


def _second_riff(file: BinaryIO, size: int) -> int | None:
    position = 0
    while position + 12 <= size:
        file.seek(position)
        name, length, kind = struct.unpack("<4sI4s", file.read(12))
        if name != b"RIFF" or (position and kind == b"AVI "):  # AVIX continues the first
            return position if name == b"RIFF" else None
        position += 8 + length + length % 2
    return None


def _second_movie(file: BinaryIO, size: int) -> int | None:
    position, brand_at, has_movie = 0, 0, False
    while position + 8 <= size:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            large = file.read(8)
            length = struct.unpack(">Q", large)[0] if len(large) == 8 else 0
        if name == b"ftyp":
            brand_at = position
        if name == b"moov":
            if has_movie:
                return brand_at or position
            has_movie = True
        if length < 8:
            return None
        position += length
    return None


def _second_flash(file: BinaryIO, size: int) -> int | None:
    position = 13  # the header, and the length of no tag before the first
    while position + 15 <= size:
        file.seek(position)
        head = file.read(4)
        if head[:3] == b"FLV":
            return position
        position += 15 + int.from_bytes(head[1:], "big")
    return None


def _second_asf(file: BinaryIO, size: int) -> int | None:
    position = 0
    while position + 24 <= size:
        file.seek(position)
        kind, length = struct.unpack("<16sQ", file.read(24))
        if position and kind == _ASF_HEADER:
            return position
        if length < 24:
            return None
        position += length
    return None
