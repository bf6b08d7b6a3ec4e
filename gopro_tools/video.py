"""A video file or a folder of numbered frames -> upright 8-bit RGB frames with their times.

Frames are known before they are decoded: `open_source` reads the container's index and gives every
frame's time, so that windows can be planned and a long video cut into pieces at its keyframes.
Decoding any piece gives the same pixels as decoding the whole.
"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal, Protocol

import av
import numpy as np
from av.codec.context import CodecContext
from av.container import InputContainer
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.files import natural_key
from gopro_tools.images import IMAGE_SUFFIXES, Rgb, read_rgb
from gopro_tools.response import Response

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("mp4", "mov", "m4v", "mkv", "avi", "webm", "mts", "m2ts", "ts", "mpg", "mpeg"),
        *("3gp", "wmv", "lrv", "360"),
    )
)
HD_LINES = 720
"""From so many lines up, video without a colour tag is BT.709, as cameras write it."""
_SLACK_S = 0.02
"""Sound may go on longer than the picture by so much, or by a tenth, before it counts as cut."""
_CHECKED_FRAMES = 8
"""How many frames are decoded on opening, to see that the index tells the truth."""
_WELL_ROUNDED = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_HDR_TRANSFERS = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}

Reformat = Callable[..., av.VideoFrame]
Problem = Callable[[str], None]
"""Called with a sentence for each frame or stretch that cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceInfo:
    """What is known of a source before its frames are read."""

    path: Path
    kind: Literal["video", "frames"]
    size_hw: tuple[int, int]
    """Height and width of the upright frames, in pixels."""
    ticks: NDArray[np.int64]
    """(n_frames,) When each frame is shown, in display order, in units of `seconds_per_tick`."""
    seconds_per_tick: Fraction
    keyframes: NDArray[np.int64]
    """(n, 2) Where decoding can start: index of the first frame it gives, and tick to seek to."""
    frame_rate_from_header: float | None
    """What the container says; it may lie."""
    capture_rate_hz: float | None = None
    """Rate at which a slow-motion file says it was captured, where it does."""
    codec: str = ""
    pixel_format: str = ""
    rotation_deg: int = 0
    """Counter-clockwise rotation that makes the stored frames upright; it has been applied."""
    color: str = ""
    """Matrix and range the frames are converted with, and whether the file says so."""
    hdr: str = ""
    """Name of an HDR transfer function; empty for ordinary video."""
    cut_short: str = ""
    """Where the header promises more than there is: what it promises."""
    by_order: bool = False
    """The file has no usable times: frames are counted from its start."""

    @property
    def n_frames(self) -> int:
        """Frames that are presented (an edit list may hide stored ones)."""
        return len(self.ticks)

    @property
    def _typical_interval(self) -> float:
        """Ticks from frame to frame, gaps left aside."""
        intervals = np.diff(self.ticks)
        if len(intervals) == 0:
            return 1.0
        usual = intervals[intervals <= 1.5 * np.median(intervals)]
        return float(usual.mean()) or 1.0

    @property
    def frame_rate_measured(self) -> float:
        """Frames a second of playback, from the times themselves, gaps left aside."""
        return float(1 / (self._typical_interval * self.seconds_per_tick))

    @property
    def constant_rate(self) -> bool:
        """Every interval is the usual one within a tick (240 Hz in whole ms is 4, 4, 4, 5, ...)."""
        intervals = np.diff(self.ticks)
        return bool((np.abs(intervals - self._typical_interval) <= 1).all())

    def gaps(self) -> NDArray[np.int64]:
        """Indices of the frames before which time is missing (or runs double)."""
        intervals = np.diff(self.ticks)
        usual = self._typical_interval
        odd = (intervals > 1.5 * usual) | (intervals < 0.5 * usual)
        return np.flatnonzero(odd) + 1

    def rate_hz(self, override: float | None) -> float:
        """Frames a second of the filmed world: ``--fps``, else the capture tag, else the times."""
        return override or self.capture_rate_hz or self.frame_rate_measured

    def times_s(self, override: float | None) -> NDArray[np.float64]:
        """(n_frames,) seconds of the filmed world since the first frame."""
        slowdown = self.rate_hz(override) / self.frame_rate_measured
        seconds = (self.ticks - self.ticks[0]) * float(self.seconds_per_tick)
        return np.asarray(seconds / slowdown, dtype=np.float64)


class FrameSource(Protocol):
    """Anything that gives frames: the seam for another decoder or file format."""

    @property
    def info(self) -> SourceInfo:
        """What is known without decoding."""
        ...

    def read(self, start: int, stop: int, on_problem: Problem) -> Iterator[tuple[int, Rgb]]:
        """Frames ``[start, stop)`` in order, with their indices.

        A frame that cannot be decoded, or not trusted, is left out; ``on_problem`` is told why.
        """
        ...


def open_source(
    path: Path,
    *,
    fps: float | None = None,
    hdr: Response | None = None,
    decode_threads: int = 1,
    info: SourceInfo | None = None,
) -> FrameSource:
    """Open a video file or a folder of numbered frames.

    Args:
        path: The file or folder.
        fps: Rate of a folder's frames, which nothing else tells.
        hdr: Convert PQ and HLG video to this response; without it such video is refused.
        decode_threads: Threads of the decoder; the frames do not depend on it.
        info: What an earlier opening of the same, unchanged file found, to save reading its index.

    Raises:
        InputError: Not a video, damaged beyond use, HDR without ``hdr``, a folder without frames or
            without ``fps``.
    """
    if path.is_dir():
        return FrameFolder(path, fps=fps)
    source = VideoFile(path, hdr=hdr, decode_threads=decode_threads, info=info)
    if source.info.hdr and hdr is None:
        raise InputError(
            f"{path}: {source.info.hdr} video, whose code values are not those of an ordinary "
            "camera response; --hdr converts it to SDR, BT.709."
        )
    return source


class FrameFolder:
    """A folder of images whose names end in the frame's number; a missing number is a gap."""

    def __init__(self, path: Path, fps: float | None) -> None:
        files = sorted(
            (f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file()),
            key=lambda f: natural_key(f.name),
        )
        numbers = [_trailing_number(f) for f in files]
        if not files:
            raise InputError(f"{path}: no images there; numbered frames (PNG, JPG) expected.")
        if len(set(numbers)) < len(numbers) or numbers != sorted(numbers):
            raise InputError(
                f"{path}: each file name should end in its frame's number, one sequence a folder; "
                f"found {files[0].name} ... {files[-1].name}."
            )
        if fps is None:
            raise InputError(f"{path}: a folder of frames has no frame rate; say it with --fps.")
        self._files = files
        first = read_rgb(files[0])
        self.info = SourceInfo(
            path=path,
            kind="frames",
            size_hw=(first.shape[0], first.shape[1]),
            ticks=np.array(numbers, dtype=np.int64),
            seconds_per_tick=1 / Fraction(fps).limit_denominator(100_000),
            keyframes=np.stack([np.arange(len(files)), np.array(numbers)], axis=1),
            frame_rate_from_header=None,
            codec=files[0].suffix[1:].lower(),
            pixel_format="rgb24",
            color="as stored",
        )

    def read(self, start: int, stop: int, on_problem: Problem) -> Iterator[tuple[int, Rgb]]:
        """See `FrameSource.read`."""
        for index in range(start, stop):
            try:
                frame = read_rgb(self._files[index])
            except InputError as error:
                on_problem(str(error))
                continue
            if frame.shape[:2] != self.info.size_hw:
                expected, found = self.info.size_hw, frame.shape[:2]
                on_problem(f"{self._files[index]}: {expected} expected, found {found} (H, W).")
                continue
            yield index, frame


def _trailing_number(path: Path) -> int:
    match = re.search(r"(\d+)$", path.stem)
    if match is None:
        raise InputError(
            f"{path}: the name of a frame should end in its number, such as 000001.png; rename it "
            "or move it out of the folder."
        )
    return int(match[1])


class VideoFile:
    """A video file, read with FFmpeg's libraries (PyAV)."""

    def __init__(
        self,
        path: Path,
        hdr: Response | None = None,
        decode_threads: int = 1,
        info: SourceInfo | None = None,
    ) -> None:
        self._path = path
        self._decode_threads = decode_threads
        self._hdr = hdr
        try:
            self.info = info or self._read_info()
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            reason = error.strerror if isinstance(error, av.FFmpegError) else str(error)
            raise InputError(
                f"{path}: cannot be read as a video ({reason}). The file is truncated, damaged or "
                "not a video; copy it again from the camera."
            ) from error

    def read(self, start: int, stop: int, on_problem: Problem) -> Iterator[tuple[int, Rgb]]:
        """See `FrameSource.read`."""
        convert = self._converter()
        for index, frame in self._decode(start, on_problem):
            if index >= stop:
                return
            if index >= start:
                yield index, convert(frame)

    def _open(self) -> tuple[InputContainer, VideoStream]:
        container = av.open(str(self._path), metadata_errors="replace")
        if not container.streams.video:
            container.close()
            raise InputError(f"{self._path}: no video stream in it.")
        stream = container.streams.video[0]
        decoder: CodecContext | None = stream.codec_context  # None, whatever its type says
        if decoder is None:
            container.close()
            raise InputError(f"{self._path}: FFmpeg has no decoder for its video stream.")
        decoder.thread_count = self._decode_threads
        decoder.thread_type = "SLICE" if self._decode_threads == 1 else "AUTO"
        # A frame that would have to be guessed is not a frame.
        decoder.options = {"err_detect": "explode"}
        return container, stream

    def _decode(
        self, start: int, on_problem: Problem, info: SourceInfo | None = None
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames with their indices, from the keyframe at or before frame ``start``."""
        info = info or self.info
        container, stream = self._open()
        with container:
            packets = (
                container.demux(stream) if info.by_order else _seek(container, stream, info, start)
            )
            n_decoded = 0
            trusted = True
            while True:
                try:
                    packet = next(packets)
                    if not trusted and packet.is_keyframe:
                        stream.codec_context.flush_buffers()
                        trusted = True
                    frames = packet.decode() if trusted else []
                except StopIteration:
                    return
                except av.FFmpegError as error:
                    # Later frames lean on the broken one until a keyframe starts afresh.
                    on_problem(f"{self._path}: damaged data ({error.strerror}).")
                    trusted = False
                    if isinstance(error, av.EOFError) or stream.codec_context is None:
                        return
                    continue
                for frame in frames:
                    if info.by_order:
                        index, n_decoded = n_decoded, n_decoded + 1
                    else:
                        index = int(np.searchsorted(info.ticks, frame.pts or 0))
                        if index >= info.n_frames or info.ticks[index] != frame.pts:
                            continue  # hidden by an edit list
                    if frame.is_corrupt:
                        on_problem(f"{self._path}: frame {index} is damaged.")
                        continue
                    yield index, frame

    def _read_info(self) -> SourceInfo:
        container, stream = self._open()
        with container:
            codec = stream.codec_context
            header_rate = float(stream.average_rate) if stream.average_rate else None
            time_base = stream.time_base or Fraction(1, 1000)
            capture = _capture_rate(dict(container.metadata) | dict(stream.metadata))
            codec_name = codec.name
            promised_s = (container.duration or 0) / av.time_base
            n_promised = stream.frames
            packets = [
                (packet.pts, packet.is_keyframe, packet.is_discard)
                for packet in container.demux(stream)
                if packet.size
            ]
        info = SourceInfo(
            path=self._path,
            kind="video",
            size_hw=(0, 0),
            ticks=np.array(
                sorted({pts for pts, _, hidden in packets if pts is not None and not hidden}),
                dtype=np.int64,
            ),
            seconds_per_tick=time_base,
            keyframes=np.empty((0, 2), np.int64),
            frame_rate_from_header=header_rate,
            capture_rate_hz=capture,
            codec=codec_name,
            by_order=any(pts is None for pts, _, _ in packets),
        )
        if not packets:
            raise InputError(f"{self._path}: the video holds no frames.")
        span = info.ticks[-1] - info.ticks[0] if info.n_frames > 1 else 0
        found_s = float(span * time_base) + 1 / info.frame_rate_measured
        if n_promised > len(packets):
            info = replace(info, cut_short=f"{n_promised} frames promised, {len(packets)} found")
        elif info.n_frames and promised_s - found_s > max(0.1 * promised_s, _SLACK_S):
            message = f"{promised_s:.2f} s promised, {found_s:.2f} s found"
            info = replace(info, cut_short=message)
        keys = sorted(pts for pts, key, _ in packets if key and pts is not None)
        first_frames = np.searchsorted(info.ticks, keys)
        info = replace(info, keyframes=np.stack([first_frames, np.array(keys)], axis=1))
        frame = self._check_index(info)
        if frame is None:
            info, frame = self._index_by_decoding(info)
        return _describe(info, frame)

    def _check_index(self, info: SourceInfo) -> av.VideoFrame | None:
        """First frame, if the first few come out as the index says; else None."""
        if info.by_order or not info.n_frames or not len(info.keyframes):
            return None
        first = None
        problems: list[str] = []
        for expected, (index, frame) in enumerate(self._decode(0, problems.append, info)):
            if index != expected and not problems:
                return None
            first = first or frame
            if expected + 1 == min(_CHECKED_FRAMES, info.n_frames):
                break
        if first is None and problems:
            raise ValueError(f"no frame of it can be decoded: {problems[0]}")
        return first

    def _index_by_decoding(self, info: SourceInfo) -> tuple[SourceInfo, av.VideoFrame]:
        """Index of a file whose packets do not tell its frames (no times, hidden frames)."""
        logger.warning("%s: its index cannot be trusted; decoding it once to count.", self._path)
        first: av.VideoFrame | None = None
        counted = replace(info, by_order=True)
        ticks: list[int | None] = []
        for _, frame in self._decode(0, logger.warning, counted):
            first = first or frame
            ticks.append(frame.pts)
        if first is None:
            raise ValueError("no frame of it can be decoded")
        known = [tick for tick in ticks if tick is not None]
        start = np.array([[0, 0]], dtype=np.int64)
        if len(known) == len(ticks) and known == sorted(set(known)):
            return replace(counted, ticks=np.array(known), keyframes=start), first
        if not info.frame_rate_from_header:
            raise ValueError("neither its frames nor its header have times")
        return (
            replace(
                counted,
                ticks=np.arange(len(ticks)),
                seconds_per_tick=1
                / Fraction(info.frame_rate_from_header).limit_denominator(100_000),
                keyframes=start,
            ),
            first,
        )

    def _converter(self) -> Callable[[av.VideoFrame], Rgb]:
        n_turns = self.info.rotation_deg // 90 % 4
        # One for all frames: it keeps FFmpeg's tables. One thread: workers share the cores.
        reformat = partial(VideoReformatter().reformat, threads=1)
        to_rgb = partial(
            _to_rgb, reformat, assume_bt709=self.info.color.startswith("BT.709, assumed")
        )
        if self.info.hdr and self._hdr is not None:
            to_rgb = partial(_hdr_to_rgb, reformat, transfer=self.info.hdr, response=self._hdr)
        if n_turns == 0:
            return to_rgb
        return lambda frame: np.ascontiguousarray(np.rot90(to_rgb(frame), n_turns))


def _seek(
    container: InputContainer, stream: VideoStream, info: SourceInfo, start: int
) -> "Iterator[av.Packet[VideoStream]]":
    """Packets from a keyframe from which frame ``start`` can be decoded."""
    usable = np.flatnonzero(info.keyframes[:, 0] <= start)
    # Containers seek by decoding time, which may find a later keyframe than the one asked for.
    for key in reversed(usable[1:]):
        tick = int(info.keyframes[key, 1])
        container.seek(tick, stream=stream, backward=True, any_frame=False)
        packets = container.demux(stream)
        first = next(packets, None)
        if first is not None and first.is_keyframe and first.pts is not None and first.pts <= tick:
            yield first
            yield from packets
            return
    if len(usable) > 1:
        container.seek(int(info.keyframes[0, 1]), stream=stream, backward=True)
    yield from container.demux(stream)


def _describe(info: SourceInfo, frame: av.VideoFrame) -> SourceInfo:
    """Add what only a decoded frame tells."""
    rotation = int(frame.rotation) % 360
    if rotation % 90:
        raise InputError(f"{info.path}: rotated by {rotation} degrees; a multiple of 90 expected.")
    height, width = frame.height, frame.width
    return replace(
        info,
        size_hw=(width, height) if rotation in (90, 270) else (height, width),
        pixel_format=frame.format.name,
        rotation_deg=rotation,
        color=_color(frame),
        hdr=_HDR_TRANSFERS.get(int(frame.color_trc), ""),
    )


def _color(frame: av.VideoFrame) -> str:
    """The matrix and range that converting this frame uses."""
    if frame.format.is_rgb:
        return "RGB"
    names = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
    full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
    extent = "full range" if full else "limited range"
    if int(frame.colorspace) in names:
        return f"{names[int(frame.colorspace)]}, {extent}"
    assumed = "BT.709" if frame.height >= HD_LINES else "BT.601"
    return f"{assumed}, assumed as the file does not say, {extent}"


def _to_rgb(reformat: Reformat, frame: av.VideoFrame, assume_bt709: bool) -> Rgb:
    """(H, W, 3) uint8 of a frame, not rotated."""
    matrix = Colorspace.ITU709 if assume_bt709 else None
    # FFmpeg's fast path for 8 bit is what every tool shows; its path for more bits is off by up
    # to 3 codes unless told to round well.
    quality = None if frame.format.components[0].bits == 8 else _WELL_ROUNDED
    rgb = reformat(frame, format="rgb24", src_colorspace=matrix, interpolation=quality)
    # A view of FFmpeg's buffer, which it keeps alive: copying it would cost as much again.
    plane = rgb.planes[0]
    strides = (plane.line_size, 3, 1)
    return np.ndarray(
        (rgb.height, rgb.width, 3), np.uint8, buffer=memoryview(plane), strides=strides
    )


def _hdr_to_rgb(reformat: Reformat, frame: av.VideoFrame, transfer: str, response: Response) -> Rgb:
    """(H, W, 3) uint8, BT.709 primaries, of a PQ or HLG frame, not rotated.

    Scene light relative to reference white (ITU-R BT.2408: 75 % HLG, 203 cd/m2 PQ); what is
    brighter saturates, as in an ordinary camera.
    """
    signal = reformat(
        frame,
        format="rgb48le",
        src_colorspace=Colorspace.BT2020,
        interpolation=_WELL_ROUNDED,
    ).to_ndarray()
    light = np.clip(_hdr_light(transfer)[signal] @ _BT2020_TO_BT709.T, 0, 1)
    return _codes_of_root(response)[np.rint(np.sqrt(light) * 65535).astype(np.uint16), range(3)]


@lru_cache(maxsize=2)
def _codes_of_root(response: Response) -> NDArray[np.uint8]:
    """(65536, 3) code of the light whose square root is k / 65535: fine steps in the dark."""
    root = np.linspace(0, 1, 65536)
    return response.encode(np.stack([root**2] * 3, axis=1))


@lru_cache(maxsize=2)
def _hdr_light(transfer: str) -> NDArray[np.float32]:
    """(65536,) light of each 16-bit signal value, 1 at reference white."""
    signal = np.linspace(0, 1, 65536)
    if transfer.startswith("HLG"):
        a, b, c = 0.17883277, 0.28466892, 0.55991073  # ITU-R BT.2100, table 5
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
        white = (np.exp((0.75 - c) / a) + b) / 12
    else:
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875  # table 4
        root = signal ** (1 / m2)
        light = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
        white = 203.0
    return np.asarray(light / white, dtype=np.float32)


_BT2020_TO_BT709 = np.array(  # ITU-R BT.2087
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    dtype=np.float32,
)


def _capture_rate(metadata: dict[str, str]) -> float | None:
    """Rate a slow-motion recording was captured at (Android's tag, which Samsung writes too)."""
    for name, value in metadata.items():
        if name.lower() == "com.android.capture.fps":
            try:
                rate = float(value)
            except ValueError:
                continue
            if rate > 0:
                return rate
    return None
