"""A video file, read with FFmpeg's libraries (PyAV)."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av import VideoCodecContext
from av.codec.context import Flags as CodecFlags
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.response import Response
from gopro_tools.signatures import kind_of
from gopro_tools.threads import thread_pool
from gopro_tools.video.clock import in_disorder, one_timeline, read_clock, restarts
from gopro_tools.video.container import (
    Places,
    capture_rate,
    choose_stream,
    cut_short,
    index_of,
    open_video,
    read_packets,
)
from gopro_tools.video.decoders import Opened
from gopro_tools.video.decoding import Decoded, Decoder
from gopro_tools.video.edits import seams_s
from gopro_tools.video.joined import second_recording_at
from gopro_tools.video.pictures import ContainerFacts, Look, Pictures, Sample, container_facts
from gopro_tools.video.source import FrameProblem, Problem, SourceInfo

logger = logging.getLogger(__name__)

_CHECKED_FRAMES = 8
"""How many frames are decoded on opening, to check that the index is right."""


_SEAM_FRAMES = 6.01
"""How far off a seam's time in an edit list may be, in frames: at most 5 are reordered."""


class VideoFile:
    """A video file; see `gopro_tools.video.open_source` for the arguments."""

    def __init__(
        self,
        path: Path,
        *,
        hdr: Response | None = None,
        stream: int | None = None,
        deinterlace: bool = False,
        decode_threads: int = 1,
        info: SourceInfo | None = None,
    ) -> None:
        self._path = path
        self._decode_threads = decode_threads
        self._hdr = hdr
        self._deinterlace = deinterlace
        self._stream = info.stream if info else stream
        self._facts: ContainerFacts | None = info.facts if info else None
        self._first: Sample | None = None
        """The first frame, where opening the file has decoded it, until it is read."""
        try:
            self.info = info or self._read_info()
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            reason = error.strerror if isinstance(error, av.FFmpegError) else str(error)
            if kind := _other_kind(path):
                raise InputError(f"{path}: cannot be read as a video; found {kind}.") from error
            raise InputError(
                f"{path}: cannot be read as a video ({reason}). The file is truncated, damaged or "
                "not a video; copy it again from the camera."
            ) from error

    def read(self, start: int, stop: int, on_problem: Problem) -> Iterator[tuple[int, Rgb]]:
        """See `FrameSource.read`."""
        pictures: Pictures | None = None
        odd = ""
        expected = start
        n_problems = 0

        def noted(problem: FrameProblem) -> None:
            nonlocal n_problems
            n_problems += 1
            on_problem(problem)

        places = Places(
            ticks=self.info.ticks,
            hidden=self.info.hidden,
            keyframes=self.info.keyframes,
            by_order=self.info.by_order,
            headers=self.info.headers,
        )
        with closing(self._samples(start, places, noted)) as frames:
            for sample in frames:
                index = sample.index
                if expected < min(index, stop) and not n_problems:
                    text = f"{self._path}: no frame {expected} came out of the decoder."
                    noted(FrameProblem(text, expected, "did not come out of the decoder"))
                if index >= stop:
                    return
                expected = index + 1
                if pictures is None:
                    assert self._facts is not None
                    pictures = Pictures(self._facts, self.info.look, self._hdr)
                fault = pictures.fault(sample)
                if fault:
                    text = f"{self._path}: frame {index} {fault}."
                    # One sentence for a stretch of them, a reason for each.
                    on_problem(FrameProblem("" if fault == odd else text, index, fault))
                    odd = fault
                    continue
                odd = ""
                yield index, pictures.rgb(sample.frame)

    def _samples(self, start: int, places: Places, on_problem: Problem) -> Decoded:
        first, self._first = self._first, None
        if first is not None and first.index == start:
            yield first
            start += 1
        yield from self._decoder(places, self._decode_threads).frames(start, on_problem)

    def _open(self, threads: int) -> Opened:
        facts = self._facts
        is_known = facts is not None and facts.are_enough
        container = open_video(self._path, decoding=not is_known)
        stream = next(s for s in container.streams.video if s.index == self._stream)
        decoder: VideoCodecContext | None = stream.codec_context  # None, whatever its type says
        if decoder is None:
            container.close()
            raise InputError(f"{self._path}: FFmpeg has no decoder for its video stream.")
        if facts is not None and is_known:
            decoder.reorder_depth = facts.reorder_depth
        self._facts = facts or container_facts(container, stream)
        decoder.thread_count = threads
        decoder.thread_type = "SLICE" if threads == 1 else "AUTO"
        # A frame that would have to be guessed is not a frame.
        decoder.options = {"err_detect": "explode"}
        # Otherwise what the bitstream crops on the left stays, as far as memory is not aligned
        # there.
        decoder.flags |= CodecFlags.unaligned
        return container, stream

    def _decoder(self, places: Places, threads: int = 1) -> Decoder:
        return Decoder(self._path, self._open, places, threads)

    def _read_info(self) -> SourceInfo:
        with open_video(self._path) as container:
            packets, complaints = read_packets(container)
            stream, others = choose_stream(self._path, container, packets, self._stream)
            self._stream = number = stream.index
            chosen = packets[stream.index]
            if not chosen.n_pictures:
                raise InputError(f"{self._path}: the video holds no frames.")
            if chosen.is_encrypted:
                raise InputError(
                    f"{self._path}: encrypted (DRM); export it from the program that may play it."
                )
            self._facts = container_facts(container, stream)
            seconds_per_tick = stream.time_base or Fraction(1, 1000)
            rate_hz = float(stream.average_rate) if stream.average_rate else None
            capture_hz = capture_rate(dict(container.metadata) | dict(stream.metadata))
            places, first_key = index_of(chosen)
            clock = read_clock(places.ticks, seconds_per_tick, rate_hz)
            first, last = places.ticks[[0, -1]].tolist() if len(places.ticks) else (0, 0)
            shown_until_s = float(max(last, last - first) * seconds_per_tick)
            interval_s = clock.interval_ticks * float(seconds_per_tick)
            promise = cut_short(container, stream, chosen, shown_until_s, interval_s, complaints)
            edits = seams_s(self._path, stream.id) if "mp4" in container.format.name else []
        joint = second_recording_at(self._path)
        start, tried, keyframes_hold = None, None, False
        # AVI does not say when a picture is shown. FFmpeg takes decoding order, which is right up
        # to the first reordered picture, wherever that is.
        is_guessed = self._facts.container == "avi" and self._facts.reorder_depth > 0
        if not places.by_order and not is_guessed:
            with thread_pool(1) as beside:
                checked = beside.submit(self._keyframes_hold, places)
                start = self._check_start(places, first_key)
                tried, keyframes_hold = places, checked.result()
        notes: list[str] = []
        parts: tuple[int, ...] = ()
        if start is None:
            counted = self._count(places, seconds_per_tick, rate_hz, complaints, notes)
            places, seconds_per_tick, parts, start = counted
        elif start.missing:
            places = places.without(start.missing)
            notes.append(f"its first {len(start.missing)} frame(s) need earlier ones that it lacks")
        if joint is not None:
            beyond = [i for i, place in enumerate(chosen.place) if place and place >= joint]
            if beyond:
                # Up to this one, no picture was reordered across the joint: packets count frames.
                parts = tuple(sorted({*parts, min(beyond[0], len(places.ticks) - 1)}))
            else:
                complaints.append(
                    f"from byte {joint} on another recording follows, which is not read"
                )
        if parts:
            where = ", ".join(map(str, parts))
            notes.append(f"recordings put together: another one begins at frame {where}")
        if edits:
            near = _frames_near(edits, places.ticks, seconds_per_tick)
            parts = tuple(sorted({*parts, *(index for frames in near for index in frames)}))
            where = ", ".join(str(frames[len(frames) // 2]) for frames in near if frames)
            notes.append(f"pieces put together by an edit list: about frame {where}")
        look = start.look
        self._first = start.first
        if places is not tried:
            keyframes_hold = self._keyframes_hold(places)
        # Nor can decoding start where colours come from a palette, which holds until another one
        # comes.
        if not keyframes_hold or look.pixel_format == "pal8":
            places = replace(places, keyframes=places.keyframes[:1])
        return SourceInfo(
            path=self._path,
            kind="video",
            look=look,
            ticks=places.ticks,
            seconds_per_tick=seconds_per_tick,
            keyframes=places.keyframes,
            frame_rate_from_header=rate_hz,
            parts=parts,
            capture_rate_hz=capture_hz,
            stream=number,
            other_streams=others,
            codec=self._facts.codec,
            hidden=places.hidden,
            cut_short=promise,
            complaints=tuple(dict.fromkeys(complaints)),
            notes=(*notes, *look.notes, *(f"not used: {other}" for other in others)),
            by_order=places.by_order,
            headers=places.headers,
            facts=self._facts,
        )

    def _check_start(self, places: Places, first_key: int | None) -> "_Start | None":
        """The first few frames, if they match the index; else None."""
        if not len(places.ticks) or not len(places.keyframes):
            return None
        n_carried = int(np.searchsorted(places.ticks, first_key)) if first_key is not None else 0
        until = min(n_carried + _CHECKED_FRAMES, len(places.ticks))
        start = _Start()
        problems: list[FrameProblem] = []
        seen: list[int] = []
        with closing(self._decoder(places).frames(0, problems.append)) as frames:
            for sample in frames:
                self._look_at(start, sample)
                start.first = start.first or sample
                seen.append(sample.index)
                if sample.index + 1 >= until:
                    break
        if any(problem.misplaced for problem in problems):
            return None
        if not seen and any("non-existing PPS" in str(problem) for problem in problems):
            raise InputError(
                f"{self._path}: none of its pictures has the headers (SPS, PPS) that a decoder "
                "needs: it was cut from another file without them. Cut it again: `ffmpeg -ss ... "
                "-i WHOLE -c copy -bsf:v h264_mp4toannexb,dump_extra OUT.ts`."
            )
        if not seen:
            reason = f": {problems[0]}" if problems else ""
            raise ValueError(f"no frame of it can be decoded{reason}")
        missing = sorted(set(range(until)) - set(seen))
        start.missing = [index for index in missing if index < n_carried]
        if start.missing:
            start.first = None  # frames get other indices
        return None if len(missing) > len(start.missing) and not problems else start

    def _keyframes_hold(self, places: Places) -> bool:
        """Whether decoding can start at the two keyframes tried; at recovery points it cannot."""
        n = len(places.keyframes)
        keys = sorted({n // 2, n - 1} - {0, -1})
        with thread_pool(2) as pool:
            return all(pool.map(lambda key: self._decoder(places).gives_first(key), keys))

    def _count(
        self,
        places: Places,
        seconds_per_tick: Fraction,
        rate_hz: float | None,
        complaints: list[str],
        notes: list[str],
    ) -> tuple[Places, Fraction, tuple[int, ...], "_Start"]:
        """Index of a file whose packets do not identify its frames: decode it once, and count."""
        logger.info("%s: its times do not tell its frames apart; decoding it once.", self._path)
        places = replace(places, by_order=True, keyframes=np.zeros((1, 2), np.int64))
        start = _Start()
        times: dict[int, int | None] = {}
        decoder = self._decoder(places)
        with closing(decoder.frames(0, lambda problem: None)) as frames:
            for sample in frames:
                if len(times) < _CHECKED_FRAMES:
                    self._look_at(start, sample)
                times[sample.index] = sample.frame.pts
        if not times:
            raise ValueError("no frame of it can be decoded")
        # Decoding starts afresh where another recording begins: earlier ones can be skipped.
        seams = decoder.last_pass
        if seams.n_lost:
            notes.append(
                f"where another recording begins, {seams.n_lost} frame(s) need earlier ones that "
                "it lacks"
            )
        if seams.n_waiting:
            complaints.append(
                f"its last {seams.n_waiting} frame(s) cannot be decoded: the clock goes back "
                "before them, and no keyframe follows"
            )
        starts_at = [(0, 0), *(at for at in seams.fresh_starts if at[0] < max(times))]
        places = replace(places, keyframes=np.array(starts_at, np.int64))
        n_frames = max(times) + 1
        known = {index: tick for index, tick in times.items() if tick is not None}
        # Place frames that could not be decoded between their neighbours.
        stored = np.interp(np.arange(n_frames), list(known) or [0], list(known.values()) or [0])
        ticks = stored.round().astype(np.int64)
        starts = restarts(ticks)
        if len(known) < len(times):
            if not rate_hz:
                raise ValueError("neither its frames nor its header have times")
            tick_s = 1 / Fraction(rate_hz).limit_denominator(100_000)
            parts = tuple(places.keyframes[1:, 0].tolist())
            return replace(places, ticks=np.arange(n_frames)), tick_s, parts, start
        if not seams.fresh_starts and in_disorder(ticks, starts):
            # AVI stores pictures in decoding order: the times are right, but not their order.
            return replace(places, ticks=np.sort(ticks)), seconds_per_tick, (), start
        return (
            replace(places, ticks=one_timeline(ticks, starts)),
            seconds_per_tick,
            tuple(starts.tolist()),
            start,
        )

    def _look_at(self, start: "_Start", sample: Sample) -> None:
        """Add one of the first frames."""
        assert self._facts is not None
        start.pictures = start.pictures or Pictures(self._facts)
        try:
            look = start.pictures.look_of(sample)
        except ValueError as error:
            raise InputError(f"{self._path}: {error}.") from error
        first = start.found or look
        start.found = replace(first, interlaced=first.interlaced or look.interlaced)


def _other_kind(path: Path) -> str:
    """What a file is that cannot be read as a video; empty if it may be a damaged video.

    Raises:
        OSError: It cannot be read at all.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    if not start.strip(b"\0"):
        return "zeros: a download or copy that did not finish" if start else "an empty file"
    kind = kind_of(start)
    return "" if kind == "a video" else kind


def _frames_near(
    seams: Sequence[float], ticks: NDArray[np.int64], seconds_per_tick: Fraction
) -> list[list[int]]:
    """The frames around each seam of an edit list, any of which may begin the other piece.

    Edits are cut between frames, and FFmpeg moves the frames of a piece by as many as its encoder
    reordered.
    """
    times_s = (ticks - ticks[0]) * float(seconds_per_tick)
    reach_s = _SEAM_FRAMES * float(np.median(np.diff(times_s))) if len(ticks) > 1 else 0.0
    near = (np.flatnonzero(np.abs(times_s - seam) <= reach_s).tolist() for seam in seams)
    return [[index for index in frames if index] for frames in near]


@dataclass(slots=True)
class _Start:
    """What the first frames of a file look like."""

    pictures: Pictures | None = None
    found: Look | None = None
    first: Sample | None = None
    """The first frame, if it has the index under which it will be read."""
    missing: list[int] = field(default_factory=list)
    """Indices of frames that need earlier ones, which the file does not have."""

    @property
    def look(self) -> Look:
        """How the clip is stored and shown."""
        assert self.found is not None
        return self.found
