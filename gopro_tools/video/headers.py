"""Parameter sets in the stream itself: where they change, another kind of picture begins.

FFmpeg's decoders keep what an earlier header said and a later one does not (range, matrix), and
apply them to pictures still waiting to be output. Where the headers change, the decoder is drained
and a new one takes over, so that each side looks like a separate file.
"""

from collections.abc import Iterator
from typing import Any

import av

_START = b"\0\0\1"
_SEQUENCE, _EXTENSION, _GROUP, _PICTURE = 0xB3, 0xB5, 0xB8, 0x00
_SIZE_AND_RATE = 8
"""Bytes of an MPEG-2 sequence header before the part that may vary from group to group."""


def headers_of(packet: "av.Packet[Any]") -> bytes:
    """The sequence headers that come with a keyframe; empty where there are none."""
    if packet.has_sidedata("new_extradata"):
        return bytes(packet.get_sidedata("new_extradata"))
    context = packet.stream.codec_context
    if context is None:  # FFmpeg has no decoder for it
        return b""
    data = bytes(memoryview(packet)[: 1 << 16])
    if context.name in ("mpeg1video", "mpeg2video"):
        return _of_mpeg2(data)
    if context.name not in ("h264", "hevc"):
        return b""
    found = b""
    for unit in _units(data, context.extradata or b"", context.name):
        kind = unit[0] & 31 if context.name == "h264" else unit[0] >> 1 & 63
        is_picture = 1 <= kind <= 5 if context.name == "h264" else kind < 32
        if is_picture:
            break
        if kind == (7 if context.name == "h264" else 33):
            found += unit
    return found


def _units(data: bytes, extradata: bytes, codec: str) -> Iterator[bytes]:
    """NAL units, however they are delimited."""
    if extradata[:1] != b"\1":
        parts = data.split(_START)[1:]
        yield from (unit for part in parts if (unit := part.rstrip(b"\0")))
        return
    length_at = 4 if codec == "h264" else 21
    n_length = (extradata[length_at] & 3) + 1 if len(extradata) > length_at else 4
    position = 0
    while position + n_length < len(data):
        length = int.from_bytes(data[position : position + n_length], "big")
        position += n_length
        if not length:
            return
        yield data[position : position + length]
        position += length


def _of_mpeg2(data: bytes) -> bytes:
    found = b""
    for part in data.split(_START)[1:]:
        kind = part[0] if part else _PICTURE
        if kind in (_GROUP, _PICTURE):
            break
        if kind == _SEQUENCE:
            found += part[:_SIZE_AND_RATE]
        elif kind == _EXTENSION:
            found += part
    return found
