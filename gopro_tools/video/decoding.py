"""Decode part of a video, and trust only what no damage can have touched.

FFmpeg's decoders run with ``err_detect=explode``: what would have to be guessed is an error. After
an error nothing is trusted until the next keyframe, as pictures refer to one another. Two kinds of
picture fail without any damage: those before the first keyframe, and the leading pictures of an
*open* group, shown before its keyframe, which refer to the group before. They are missing where
decoding starts at that keyframe, and taint nothing after it. Nor do those that fail before a
recovery point has refreshed the whole picture, of which the decoder shows none.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import av
import numpy as np

from gopro_tools.video.container import Places
from gopro_tools.video.decoders import Decoders, Opened, new_decoder
from gopro_tools.video.libav import heard, hearing
from gopro_tools.video.packets import Packet, PacketReader
from gopro_tools.video.pictures import Sample
from gopro_tools.video.source import FrameProblem, Problem

Decoded = Generator[Sample, None, None]
_RECENT_PACKETS = 17
"""The times of this many packets show whether the clock goes back."""


class _InDoubt(Exception):  # noqa: N818  # not an error of the user's
    """Something is wrong, but with several threads it is not clear in which frame."""


class _BadStart(Exception):  # noqa: N818  # not an error of the user's
    """Something is wrong with the group of pictures that decoding started at."""


@dataclass(slots=True)
class Seams:
    """Where one recording ends and another begins, as found in a pass through the packets."""

    fresh_starts: list[tuple[int, int]] = field(default_factory=list)
    """Index of the first frame of another recording, and number of the keyframe's packet."""
    n_lost: int = 0
    """Packets before these keyframes."""
    n_waiting: int = 0
    """Packets of another recording that has had no keyframe yet."""


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
        self.last_pass = Seams()

    def frames(self, start: int, on_problem: Problem) -> Decoded:
        """Frames from index ``start`` on."""
        position = start
        if self._threads > 1:
            # Several threads report an error late, with another frame: a single thread checks
            # again.
            try:
                for sample in self._from(start, self._threads, on_problem):
                    yield sample
                    position = sample.index + 1
            except _InDoubt:
                pass
            else:
                return
        yield from self._from(position, 1, on_problem)

    def gives_first(self, key: int) -> bool:
        """Whether decoding that starts at keyframe number ``key`` outputs that keyframe first."""
        problems: list[FrameProblem] = []
        with closing(self._run(key, 1, problems.append)) as frames:
            first = next(frames, None)
        return first is not None and first.index == int(self._places.keyframes[key, 0])

    def _from(self, start: int, threads: int, on_problem: Problem) -> Decoded:
        usable = np.flatnonzero(self._places.keyframes[:, 0] <= start)
        last = int(usable[-1]) if len(usable) else 0
        position = start
        # Not everything may decode correctly from a keyframe (a recovery point needs the pictures
        # before it, and an open group's may drop some), and containers may seek to a later one than
        # was asked for. Then an earlier one is tried, and finally the beginning.
        for key in sorted({last, max(last - 1, 0), max(last - 2, 0), 0}, reverse=True):
            problems: list[FrameProblem] = []
            settled = key == 0
            # Real damage is met again on the way from an earlier keyframe.
            wary = key > max(last - 2, 0)
            try:
                with closing(self._run(key, threads, problems.append, wary=wary)) as frames:
                    for sample in frames:
                        if sample.index > position and not settled:
                            break
                        settled = True
                        _pass_on(problems, on_problem)
                        if sample.index >= position:
                            yield sample
                            position = sample.index + 1
            except _BadStart:
                continue
            if settled:
                _pass_on(problems, on_problem)
                return

    def _run(self, key: int, threads: int, on_problem: Problem, *, wary: bool = False) -> Decoded:
        """Frames from a keyframe on; number 0 is the beginning of the file.

        Raises:
            _BadStart: If ``wary``, instead of reporting damage before the next keyframe.
        """
        container, stream = self._open(threads)
        with container:
            reading = _Reading(
                self._path, self._places, from_start=key == 0, threads=threads, wary=wary
            )
            self.last_pass = reading.seams
            decoders = Decoders(self._open, container, stream, self._places.headers, threads)
            packets = PacketReader(self._path, container, stream, everywhere=threads > 1)
            try:
                with hearing():
                    if key > 0 and self._places.by_order:
                        index, n_packets = self._places.keyframes[key].tolist()
                        packets.skip(n_packets)
                        reading.count_from(index)
                    elif key > 0:
                        tick = int(self._places.keyframes[key, 1])
                        container.seek(tick, stream=stream, backward=True, any_frame=False)
                    yield from reading.samples(packets, decoders, on_problem)
            finally:
                decoders.close()


def _pass_on(problems: list[FrameProblem], on_problem: Problem) -> None:
    for problem in problems:
        on_problem(problem)
    problems.clear()


class _Reading:
    """One pass through packets: which of them, and which of their frames, can be trusted."""

    def __init__(
        self, path: Path, places: Places, *, from_start: bool, threads: int, wary: bool
    ) -> None:
        self._path = path
        self._places = places
        self._threads = threads
        self._from_start = from_start
        self._wary = wary
        """In the first group of pictures, damage may come from the start."""
        self._trusted = True
        self._seen_keyframe = not len(places.keyframes)
        self._carried_before: int | None = None
        """Pictures shown before this tick may refer to what was not decoded."""
        self._dropped_before: int | None = None
        """Pictures shown before this tick are not used, whatever the decoder makes of them."""
        self._broken: int | None = None
        """Tick of the picture that was damaged."""
        self._keyframe: Packet | None = None
        """Last keyframe that decoding started from."""
        self._recent: deque[int] = deque(maxlen=_RECENT_PACKETS)
        """Decoding times of earlier packets of the same recording."""
        self._only_keyframe = True
        """Nothing after it was decoded yet."""
        self._shows = False
        """Frames came out since."""
        self._n_given = 0
        self._last = -1
        self.seams = Seams()

    def count_from(self, index: int) -> None:
        """Give the next frame this index, where frames are counted."""
        self._n_given = index

    def samples(
        self,
        packets: PacketReader,
        decoders: Decoders,
        on_problem: Problem,
    ) -> Iterator[Sample]:
        everywhere = self._threads > 1
        doubtful = False
        for packet, complaints, lacks_data, begins_anew in packets:
            if packet is None:
                if complaints:
                    self._report(None, complaints, on_problem)
                return
            if not packet.size and (packet.pts is not None or packet.dts is not None):
                continue  # an empty chunk, with which AVI repeats a picture
            if complaints:
                self._report(packet.pts, complaints, on_problem)
            if complaints or lacks_data:
                self._trusted = False
            if lacks_data and not complaints:
                index = None if self._places.by_order else self._places.index(packet.pts)
                on_problem(FrameProblem("", index, "may be cut short: its recording ends there"))
            if lacks_data:
                doubtful = bool(complaints)
                continue
            if doubtful and packet.size:
                doubtful = False  # FFmpeg's parsers mark the packet before the one that lacks data
                continue
            if not packet.size and not self._trusted:
                yield from self._sound_waiting(decoders, on_problem)
                continue
            if begins_anew or self._is_of_another(packet, packets.n_out_of_order):
                self._trusted = False  # what it lacks is not in the recording before
                self._recent.clear()
                self.seams.n_waiting = 1
            elif self.seams.n_waiting and packet.size:
                self.seams.n_waiting += 1
            if packet.dts is not None:
                self._recent.append(packet.dts)
            if packet.is_keyframe and packet.size:
                yield from self._pass_keyframe(packet, decoders, on_problem)
                if self.seams.n_waiting:
                    self.seams.fresh_starts.append((self._n_given, packets.n_read - 1))
                    self.seams.n_lost += self.seams.n_waiting - 1
                    self.seams.n_waiting = 0
            if not self._trusted:
                continue
            decoded, complaints = heard(
                partial(decoders.current.decode, packet if packet.size else None),
                everywhere=everywhere,
            )
            frames = decoded or []
            if complaints and not self._is_carried(packet.pts) and not self._is_recovering():
                self._report(packet.pts, complaints, on_problem)
                # Later pictures refer to the broken one until a keyframe starts afresh.
                self._trusted = False
                self._broken = packet.pts
                frames = [f for f in frames if f.pts is not None and f.pts != packet.pts]
            if not complaints and packet is not self._keyframe:
                self._only_keyframe = False
            yield from self._usable(frames, decoders, on_problem)

    def _is_of_another(self, packet: Packet, n_out_of_order: int) -> bool:
        """Whether the clock goes back here by more than packets may be out of order."""
        if packet.dts is None or not self._recent:
            return False
        n_later = sum(time > packet.dts for time in self._recent)
        return n_later > n_out_of_order or (packet.is_keyframe and self._recent[-1] > packet.dts)

    def _usable(
        self, frames: Iterable[av.VideoFrame], decoders: Decoders, on_problem: Problem
    ) -> Iterator[Sample]:
        for frame in frames:
            self._shows = True
            index = self._place(frame, on_problem)
            if index is not None:
                aspect = decoders.current.sample_aspect_ratio
                yield Sample(index, frame, aspect, decoders.alone)

    def _pass_keyframe(
        self, packet: Packet, decoders: Decoders, on_problem: Problem
    ) -> Iterator[Sample]:
        """Start afresh; what was decoded before the damage and not yet output is sound."""
        tick = packet.pts
        if self._seen_keyframe:
            self._wary = False
        changes = decoders.changes_at(packet)
        if not self._trusted or changes:
            yield from self._sound_waiting(decoders, on_problem)
        if changes:
            decoders.change(packet)
        elif not self._trusted:
            decoders.current.flush_buffers()
        if not self._trusted:
            self._broken = None
            self._dropped_before = tick
        elif not self._seen_keyframe and not self._from_start:
            self._dropped_before = tick
        if not self._trusted or not self._seen_keyframe:
            self._carried_before = tick
            self._keyframe, self._shows, self._only_keyframe = packet, False, True
        self._trusted = self._seen_keyframe = True

    def _sound_waiting(self, decoders: Decoders, on_problem: Problem) -> Iterator[Sample]:
        if not self._seen_keyframe:
            return
        frames, complaints = heard(partial(decoders.current.decode, None), everywhere=False)
        if not complaints:
            sound = [f for f in frames or [] if f.pts is not None and f.pts != self._broken]
            yield from self._usable(sound, decoders, on_problem)

    def _is_carried(self, tick: int | None) -> bool:
        """Whether a picture cannot be expected to decode here: its failure is not damage."""
        if not self._seen_keyframe:
            self._trusted = False  # quietly: the first keyframe starts afresh
            return True
        if tick is None:  # shown before a start at zero, where some containers have no time for it
            return self._only_keyframe
        before = self._carried_before
        return before is not None and tick < before

    def _is_recovering(self) -> bool:
        """Whether decoding started at a recovery point that has not been completed yet."""
        if self._shows or self._keyframe is None:
            return False
        decoder = new_decoder(self._keyframe.stream.codec_context)
        first, _ = heard(partial(decoder.decode, self._keyframe), everywhere=False)
        rest, _ = heard(partial(decoder.decode, None), everywhere=False)
        return not first and not rest

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
        if self._wary:
            raise _BadStart
        if index is None and not self._places.by_order and tick is not None:
            index = int(np.searchsorted(self._places.ticks, tick))
        where = "" if index is None else f" at frame {index}"
        said = f" ({'; '.join(dict.fromkeys(complaints))})" if complaints else ""
        on_problem(FrameProblem(f"{self._path}: damaged data{where}{said}.", index))
