"""Decode a stretch of a video, and trust only what no damage can have touched.

FFmpeg's decoders run with ``err_detect=explode``: what would have to be guessed is an error. After
an error nothing is trusted until the next keyframe, as pictures lean on one another. Two kinds of
picture fail without any damage: those before the first keyframe, and those that a keyframe of an
*open* group carries along to be shown before it, which lean on the group before. They are missing
where decoding starts at that keyframe, and taint nothing after it.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from gopro_tools.video.container import Places
from gopro_tools.video.libav import heard, hearing
from gopro_tools.video.source import FrameProblem, Problem

Packet: TypeAlias = "av.Packet[VideoStream]"
Opened = tuple[InputContainer, VideoStream]
Decoded = Generator[tuple[int, av.VideoFrame, VideoStream], None, None]
"""Index of a frame, the frame, and the stream it is from."""


_JOINT_PACKETS = 3
"""Where two recordings are put together, FFmpeg takes the last packets of the first for damaged:
if the clock goes back within so many packets, it was only the joint."""


class _InDoubt(Exception):  # noqa: N818  # not an error of the user's
    """Something is wrong, and with several threads it is not clear with which frame."""


class Decoder:
    """Gives decoded frames of a video with their indices.

    Args:
        path: For messages.
        open_stream: Opens the file anew for a number of decoder threads.
        places: Where its frames are.
    """

    def __init__(
        self, path: Path, open_stream: Callable[[int], Opened], places: Places, threads: int = 1
    ) -> None:
        self._path = path
        self._open = open_stream
        self._places = places
        self._threads = threads

    def frames(self, start: int, on_problem: Problem) -> Decoded:
        """Frames from index ``start`` on, each with its index and the stream it is from."""
        position = start
        if self._threads > 1:
            # Several threads report an error late, with another frame: one thread looks again.
            try:
                for index, frame, stream in self._from(start, self._threads, on_problem):
                    yield index, frame, stream
                    position = index + 1
            except _InDoubt:
                pass
            else:
                return
        yield from self._from(position, 1, on_problem)

    def gives_first(self, key: int) -> bool:
        """Whether decoding that starts at keyframe number ``key`` gives that keyframe first."""
        problems: list[FrameProblem] = []
        with closing(self._run(key, 1, problems.append)) as frames:
            first = next(frames, None)
        return first is not None and first[0] == int(self._places.keyframes[key, 0])

    def _from(self, start: int, threads: int, on_problem: Problem) -> Decoded:
        usable = np.flatnonzero(self._places.keyframes[:, 0] <= start)
        last = int(usable[-1]) if len(usable) and not self._places.by_order else 0
        # A keyframe may not be one from which everything comes out right (a recovery point needs
        # the pictures before it), and containers may seek to a later one than was asked for. Then
        # an earlier one is tried, and at last the beginning.
        for key in sorted({last, max(last - 1, 0), max(last - 2, 0), 0}, reverse=True):
            problems: list[FrameProblem] = []
            settled = key == 0
            with closing(self._run(key, threads, problems.append)) as frames:
                for index, frame, stream in frames:
                    if index > start and not settled:
                        break
                    settled = True
                    _pass_on(problems, on_problem)
                    if index >= start:
                        yield index, frame, stream
            if settled:
                _pass_on(problems, on_problem)
                return

    def _run(self, key: int, threads: int, on_problem: Problem) -> Decoded:
        """Frames from a keyframe on; number 0 is the beginning of the file."""
        container, stream = self._open(threads)
        with container:
            if key > 0:
                tick = int(self._places.keyframes[key, 1])
                container.seek(tick, stream=stream, backward=True, any_frame=False)
            reading = _Reading(self._path, self._places, from_start=key == 0, threads=threads)
            decoder = stream.codec_context
            try:
                with hearing():
                    for index, frame in reading.frames(container, stream, on_problem):
                        yield index, frame, stream
            finally:
                # The decoder's threads must rest before it is freed: one may be about to speak.
                decoder.flush_buffers()


def _goes_back(
    packet: "av.Packet[VideoStream]", following: "av.Packet[VideoStream] | None"
) -> bool:
    if following is None or packet.dts is None or following.dts is None:
        return False
    return following.dts < packet.dts


def _pass_on(problems: list[FrameProblem], on_problem: Problem) -> None:
    for problem in problems:
        on_problem(problem)
    problems.clear()


class _Reading:
    """One pass through packets: which of them, and of the frames they give, can be trusted."""

    def __init__(self, path: Path, places: Places, *, from_start: bool, threads: int) -> None:
        self._path = path
        self._places = places
        self._threads = threads
        self._from_start = from_start
        self._trusted = True
        self._seen_keyframe = not len(places.keyframes)
        self._carried_before: int | None = None
        """Pictures shown before this tick may lean on what was not decoded."""
        self._dropped_before: int | None = None
        """Pictures shown before this tick are not used, whatever the decoder makes of them."""
        self._broken: int | None = None
        """Tick of the picture that was damaged."""
        self._n_given = 0
        self._last = -1

    def frames(
        self, container: InputContainer, stream: VideoStream, on_problem: Problem
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        packets = container.demux(stream)
        decoder = stream.codec_context
        everywhere = self._threads > 1
        lossy: Packet | None = None
        n_since_loss = 0
        doubtful = False
        while True:
            packet, complaints = heard(partial(next, packets, None), everywhere=everywhere)
            if lossy is not None and _goes_back(lossy, packet):
                lossy = None
            n_since_loss += 1
            if lossy is not None and (packet is None or n_since_loss > _JOINT_PACKETS):
                self._report(lossy.pts, ["data is missing from the stream"], on_problem)
                lossy = None
            if packet is None:
                if complaints:
                    self._report(None, complaints, on_problem)
                return
            if not packet.size and (packet.pts is not None or packet.dts is not None):
                continue  # an empty chunk, by which AVI repeats a picture
            complaints = [] if packet.is_corrupt else complaints
            if complaints:
                self._report(packet.pts, complaints, on_problem)
            if complaints or packet.is_corrupt:
                self._trusted = False
            if packet.is_corrupt:
                lossy, n_since_loss, doubtful = packet, 0, True
                continue
            if doubtful and packet.size:
                doubtful = False  # FFmpeg's parsers mark the packet before the one that lacks data
                continue
            if not packet.size and not self._trusted:
                yield from self._sound_waiting(decoder, on_problem)
                continue
            if packet.is_keyframe and packet.size:
                yield from self._pass_keyframe(packet.pts, decoder, on_problem)
            if not self._trusted:
                continue
            decoded, complaints = heard(packet.decode, everywhere=everywhere)
            frames = decoded or []
            if complaints and not self._is_carried(packet.pts):
                self._report(packet.pts, complaints, on_problem)
                # Later pictures lean on the broken one until a keyframe starts afresh.
                self._trusted = False
                self._broken = packet.pts
                frames = [f for f in frames if f.pts is not None and f.pts != packet.pts]
            for frame in frames:
                index = self._place(frame, on_problem)
                if index is not None:
                    yield index, frame

    def _pass_keyframe(
        self, tick: int | None, decoder: "av.VideoCodecContext", on_problem: Problem
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Start afresh; what was decoded before the damage and waits to be shown is sound."""
        if not self._trusted:
            yield from self._sound_waiting(decoder, on_problem)
            decoder.flush_buffers()
            self._broken = None
            self._dropped_before = tick
        elif not self._seen_keyframe and not self._from_start:
            self._dropped_before = tick
        if not self._trusted or not self._seen_keyframe:
            self._carried_before = tick
        self._trusted = self._seen_keyframe = True

    def _sound_waiting(
        self, decoder: "av.VideoCodecContext", on_problem: Problem
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        for frame in self._waiting(decoder):
            index = self._place(frame, on_problem)
            if index is not None:
                yield index, frame

    def _waiting(self, decoder: "av.VideoCodecContext") -> list[av.VideoFrame]:
        if not self._seen_keyframe:
            return []
        frames, complaints = heard(partial(decoder.decode, None), everywhere=False)
        if complaints:
            return []
        return [f for f in frames or [] if f.pts is not None and f.pts != self._broken]

    def _is_carried(self, tick: int | None) -> bool:
        """Whether a picture that fails was not to be expected here."""
        if not self._seen_keyframe:
            self._trusted = False  # quietly: the first keyframe starts afresh
            return True
        before = self._carried_before
        return tick is not None and before is not None and tick < before

    def _place(self, frame: av.VideoFrame, on_problem: Problem) -> int | None:
        """Index of a frame that can be used."""
        if self._places.by_order:
            index: int | None = self._n_given
            self._n_given += 1
        else:
            index = self._places.index(frame.pts)
        if self._dropped_before is not None and (frame.pts or 0) < self._dropped_before:
            return None
        if index == -1:
            return None
        if index is None:
            self._misplaced(f"the frame at tick {frame.pts} is not in its index", on_problem)
            return None
        if frame.is_corrupt:
            self._report(frame.pts, [], on_problem, index)
            return None
        if index <= self._last:
            self._misplaced(f"frame {index} comes twice or out of order", on_problem)
            return None
        self._last = index
        return index

    def _misplaced(self, what: str, on_problem: Problem) -> None:
        if self._threads > 1:
            raise _InDoubt
        on_problem(FrameProblem(f"{self._path}: {what}.", misplaced=True))

    def _report(
        self,
        tick: int | None,
        complaints: list[str],
        on_problem: Problem,
        index: int | None = None,
    ) -> None:
        if self._threads > 1:
            raise _InDoubt
        if index is None and not self._places.by_order and tick is not None:
            index = int(np.searchsorted(self._places.ticks, tick))
        where = "" if index is None else f" at frame {index}"
        said = f" ({'; '.join(dict.fromkeys(complaints))})" if complaints else ""
        on_problem(FrameProblem(f"{self._path}: damaged data{where}{said}.", index))
