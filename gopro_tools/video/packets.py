"""The packets of a stream, and where in a transport stream one recording ends or is cut."""

from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from gopro_tools.video.libav import heard
from gopro_tools.video.transport import joint_before, may_end_in_the_middle

Packet: TypeAlias = "av.Packet[VideoStream]"

_JOINT_PACKETS = 3
"""Where two recordings are joined, FFmpeg takes the last packets of the first for damaged: if the
clock goes back within this many packets, it was only the joint."""
_MOST_REORDERED = 5
"""Matroska stores display times, not decoding times; after a joint FFmpeg mistakes one for the
other. At most this many pictures are decoded before one that is shown first."""


class Read(NamedTuple):
    """A packet (None at the end), and what is wrong with it."""

    packet: "Packet | None"
    complaints: list[str]
    lacks_data: bool
    begins_anew: bool = False
    """Another recording begins with it."""


class PacketReader:
    """Every packet of a stream; in a transport stream, with a look ahead."""

    def __init__(
        self, path: Path, container: InputContainer, stream: VideoStream, *, everywhere: bool
    ) -> None:
        self._path = path
        self._demuxed = container.demux(stream)
        self._everywhere = everywhere
        self._is_transport = container.format.name == "mpegts"
        self._waiting: deque[Read] = deque()
        self.n_read = 0
        """Number of packets returned or skipped."""
        # Elsewhere, one time that runs ahead of all others is a mistake of the writer.
        self.n_out_of_order = _MOST_REORDERED if "matroska" in container.format.name else 1
        """Most packets that may have a later time than one that follows them."""

    def skip(self, n_packets: int) -> None:
        """Skip the first packets."""
        for _ in range(n_packets):
            self._next()
        self.n_read += n_packets

    def __iter__(self) -> Iterator[Read]:
        while True:
            read = self._waiting.popleft() if self._waiting else self._next()
            if self._is_transport and read.packet is not None and read.packet.size:
                read = self._judged(read, read.packet)
            self.n_read += 1
            yield read
            if read.packet is None:
                return

    def _next(self) -> Read:
        packet, complaints = heard(partial(next, self._demuxed, None), everywhere=self._everywhere)
        lacks_data = packet is not None and packet.is_corrupt
        return Read(packet, [] if lacks_data else complaints, lacks_data)

    def _judged(self, read: Read, packet: Packet) -> Read:
        n_ahead = _JOINT_PACKETS if read.lacks_data else 1
        while len(self._waiting) < n_ahead and (not self._waiting or self._waiting[-1].packet):
            self._waiting.append(self._next())
        if read.lacks_data:
            joints = (
                i for i, after in enumerate(self._waiting) if self._is_joint(packet, after.packet)
            )
            joint = next(joints, None)
            if joint is None:
                return read._replace(complaints=["data is missing from the stream"])
            self._waiting[joint] = self._waiting[joint]._replace(begins_anew=True)
            read = read._replace(lacks_data=False)
        return read._replace(lacks_data=self._is_cut(packet, self._waiting[0].packet))

    def _is_joint(self, packet: Packet, following: "Packet | None") -> bool:
        """Whether another recording follows soon."""
        if following is None or following.pos is None:
            return False
        return _goes_back(packet, following) or joint_before(self._path, following.pos)

    def _is_cut(self, packet: Packet, following: "Packet | None") -> bool:
        """Whether the recording ends with an incomplete packet."""
        if following is None or not following.size:
            return packet.pos is not None and may_end_in_the_middle(self._path, packet.pos)
        if following.pos is None or not _goes_back(packet, following):
            return False
        return not joint_before(self._path, following.pos, clock_goes_back=True)


def _goes_back(packet: Packet, following: Packet) -> bool:
    return following.dts is not None and packet.dts is not None and following.dts < packet.dts
