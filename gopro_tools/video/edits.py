"""Edit lists of MP4 and MOV files, with which pieces of a recording are shown in sequence.

FFmpeg gives their frames times without a gap, so that nothing else shows where a piece ends.
"""

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

_LARGEST_BOX = 64 << 20
"""Maximum size of the boxes read here, in bytes; a larger edit list is a mistake."""


def seams_s(path: Path, track: int) -> list[float]:
    """Seconds from the start of the first piece at which another one begins.

    Pieces that continue where the one before ended count as one.

    Args:
        path: The file; of any other format there are none.
        track: Its number in the file, FFmpeg's ``stream.id``.

    Raises:
        OSError: The file cannot be read.
    """
    try:
        movie = _movie(path)
        boxes = dict(_boxes(movie))
        movie_scale = _timescale(boxes[b"mvhd"])
        for name, content in _boxes(movie):
            if name == b"trak" and _track_id(dict(_boxes(content))[b"tkhd"]) == track:
                return _seams(dict(_boxes(content)), movie_scale)
    except (KeyError, struct.error, ZeroDivisionError):  # damaged, or no such file
        pass
    return []


def _seams(track: dict[bytes, bytes], movie_scale: int) -> list[float]:
    if b"edts" not in track:
        return []
    scale = _timescale(dict(_boxes(track[b"mdia"]))[b"mdhd"])
    pieces = [(length / movie_scale, begin / scale) for length, begin in _entries(track)]
    while pieces and pieces[0][1] < 0:  # nothing is shown at first
        del pieces[0]
    seams = []
    shown_s = 0.0
    for (length_s, begin_s), (_, next_s) in pairwise(pieces):
        shown_s += length_s
        if abs(begin_s + length_s - next_s) > 2 / movie_scale:
            seams.append(shown_s)
    return seams


def _entries(track: dict[bytes, bytes]) -> Iterator[tuple[int, int]]:
    """Length, in the movie's ticks, and beginning, in the track's, of each piece."""
    data = dict(_boxes(track[b"edts"]))[b"elst"]
    form = ">Qqi" if data[0] == 1 else ">Iii"
    (n_entries,) = struct.unpack_from(">I", data, 4)
    for number in range(min(n_entries, len(data) // struct.calcsize(form))):
        length, begin, _ = struct.unpack_from(form, data, 8 + number * struct.calcsize(form))
        yield length, begin


def _movie(path: Path) -> bytes:
    """Content of the box ``moov``."""
    size = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, name = struct.unpack(">I4s", file.read(8))
            n_header = 8
            if length == 1:
                (length,), n_header = struct.unpack(">Q", file.read(8)), 16
            length = length or size - position
            if name == b"moov":
                return file.read(min(length - n_header, _LARGEST_BOX))
            if length < n_header:
                break
            position += length
    raise KeyError("moov")


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        if length < 8:
            return
        yield name, data[position + 8 : position + length]
        position += length


def _timescale(header: bytes) -> int:
    return int(struct.unpack_from(">I", header, 20 if header[:1] == b"\1" else 12)[0])


def _track_id(header: bytes) -> int:
    return int(struct.unpack_from(">I", header, 20 if header[:1] == b"\1" else 12)[0])
