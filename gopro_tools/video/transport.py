"""Where a transport stream ends, and another one appended to it begins.

A frame is a packet of its own, and its last 188 bytes are padded. To FFmpeg a frame that is cut
short looks complete, and its decoders silently fill in what is missing.
"""

from collections.abc import Iterator
from pathlib import Path

_SYNC = 0x47
_SEARCHED_BYTES = 4 << 20
"""How far back, in bytes, the last packet of a stream is searched for."""
_FIELD_BYTES = ((0x10, 6), (0x08, 6), (0x04, 1))
"""Flags of an adaptation field, and the bytes that each adds to it."""
_OPEN_FIELDS = 0x03
"""Flags of fields with a length of their own."""


def joint_before(path: Path, next_at: int, *, clock_goes_back: bool = False) -> bool:
    """Whether a complete transport stream ends, and another begins, before a packet.

    Args:
        path: The file.
        next_at: Byte at which the packet begins.
        clock_goes_back: Whether its time is earlier than the previous packet's, which is a sign of
            another stream. So are tables before it whose counters do not continue.
    """
    data, here = _read_until(path, next_at)
    if here is None:
        return False
    packets = list(_packets_before(data, here))
    stream = _stream_of(data, here)
    last = next((i for i, at in enumerate(packets) if _stream_of(data, at) == stream), None)
    if last is None or not _is_padded(data, packets[last]):
        return False
    if clock_goes_back:
        return True
    counters: dict[int, list[tuple[int, int]]] = {}
    for i, at in enumerate(packets):
        counters.setdefault(_stream_of(data, at), []).append((i, data[at + 3] & 15))
    between = [of for of in counters.values() if of[0][0] < last and len(of) > 1]
    return any(of[0][1] != (of[1][1] + 1) % 16 for of in between)


def may_end_in_the_middle(path: Path, last_at: int) -> bool:
    """Whether the last frame of a transport stream may be cut short; its packet is at a byte.

    One in 184 complete frames happens to need no padding, and cannot be told apart.
    """
    first, here = _read_until(path, last_at)
    if here is None:
        return False
    stream = _stream_of(first, here)
    size = path.stat().st_size
    unit = _unit(first, here)
    with path.open("rb") as file:
        file.seek(last_at)
        data = file.read(min(size - last_at, 8 * _SEARCHED_BYTES))
    start = here - (last_at - max(0, last_at - _SEARCHED_BYTES))
    ends = [
        at
        for at in range(start, len(data) - 187, unit)
        if data[at] == _SYNC and _stream_of(data, at) == stream
    ]
    return bool(ends) and not _is_padded(data, ends[-1])


def _read_until(path: Path, position: int) -> tuple[bytes, int | None]:
    """The bytes before a packet, and where in them the packet begins; None if there is none."""
    start = max(0, position - _SEARCHED_BYTES)
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(position - start + 188 + 4)
    here = position - start
    if here < len(data) and data[here] != _SYNC:
        here += 4  # .m2ts has an arrival time before each packet
    is_packet = here + 188 <= len(data) and data[here] == _SYNC
    return data, here if is_packet else None


def _unit(data: bytes, here: int) -> int:
    return 188 if here >= 188 and data[here - 188] == _SYNC else 192


def _packets_before(data: bytes, here: int) -> Iterator[int]:
    """Where the packets before this one begin, the last one first."""
    unit = _unit(data, here)
    for at in range(here - unit, -1, -unit):
        if data[at] != _SYNC:
            return
        yield at


def _stream_of(data: bytes, at: int) -> int:
    return (data[at + 1] & 31) << 8 | data[at + 2]


def _is_padded(data: bytes, at: int) -> bool:
    if not data[at + 3] & 0x20:
        return False
    length = data[at + 4]
    flags = data[at + 5] if length else 0
    if not flags:
        return True
    used = 1 + sum(n_bytes for flag, n_bytes in _FIELD_BYTES if flags & flag)
    return not flags & _OPEN_FIELDS and length > used
