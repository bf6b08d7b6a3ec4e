"""Writes frames with their times into a video file, with the sound of another file."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb

LOSSLESS_SUFFIX = ".mkv"
"""FFV1 goes into Matroska, H.264 into the container that the suffix names."""
_BT709 = 1
_CRF = "16"
"""Constant quality of H.264, visually lossless."""
SAME_EVERY_TIME: Mapping[str, str] = MappingProxyType({"x264-params": "mbtree=0"})
"""Options of x264 with which the same frames give the same file. With its macroblock tree, 10
encodings of 60 frames gave 4 to 7 different files."""


class VideoWriter:
    """Writes frames at given times; use it as a context manager.

    Args:
        path: Where the video goes: ``.mp4``, ``.mov`` or ``.mkv``. A half-written file never has
            this name.
        size_hw: Height and width of every frame.
        seconds_per_tick: Unit of the times.
        frame_ticks: How long the last frame is shown.
        lossless: FFV1 instead of H.264.
        sound_from: Copy the audio streams of this file, at their own times.

    Raises:
        InputError: The container cannot hold the video, or the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        size_hw: tuple[int, int],
        seconds_per_tick: Fraction,
        frame_ticks: int = 1,
        lossless: bool = False,
        sound_from: Path | None = None,
    ) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._container = av.open(str(self._partial), "w")
        except (av.FFmpegError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be written as a video ({error}); .mp4, .mov or .mkv expected."
            ) from error
        height, width = size_hw
        # A rate must be given, but the times of the frames count.
        stream: Any = self._container.add_stream("ffv1" if lossless else "libx264", rate=30)
        stream.width, stream.height = width, height
        odd = bool(height % 2 or width % 2)
        stream.pix_fmt = "bgr0" if lossless else ("yuv444p" if odd else "yuv420p")
        stream.codec_context.time_base = seconds_per_tick
        stream.time_base = seconds_per_tick
        if not lossless:
            stream.options = {"crf": _CRF, "preset": "medium", **SAME_EVERY_TIME}
            context = stream.codec_context
            context.color_range, context.colorspace = 1, _BT709
            context.color_primaries, context.color_trc = _BT709, _BT709
        self._stream, self._time_base, self._frame_ticks = stream, seconds_per_tick, frame_ticks
        self._reformatter = VideoReformatter()  # one for all frames: it keeps FFmpeg's tables
        self._sound = _Sound(sound_from, self._container) if sound_from else None
        self.silent_because = self._sound.problem if self._sound else ""
        """Why the sound of the source was left out; empty if it was not, or there is none."""

    def write(self, frame: Rgb, tick: int) -> None:
        """Add a frame: (H, W, 3) uint8 RGB, shown from ``tick`` on; ticks must increase."""
        picture: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if self._stream.pix_fmt != "bgr0":
            picture = self._reformatter.reformat(
                picture, format=self._stream.pix_fmt, dst_colorspace=_BT709, dst_color_range=1
            )
        picture.pts, picture.time_base = tick, self._time_base
        self._encode(picture)
        if self._sound:
            self._sound.copy_until(tick * self._time_base)

    def _encode(self, picture: Any) -> None:
        """Encode a frame, or flush the encoder."""
        for packet in self._stream.encode(picture):
            # Containers use the time to the next frame instead; only the last one has none.
            packet.duration = self._frame_ticks
            self._container.mux(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or remove it where the block failed."""
        try:
            if kind is None:
                self._encode(None)
                if self._sound:
                    self._sound.copy_until(None)
        finally:
            if self._sound:
                self._sound.close()
            self._container.close()
            if kind is not None:
                self._partial.unlink(missing_ok=True)
        if kind is None:
            self._partial.replace(self._path)


class _Sound:
    """Audio packets of a file, copied as they are."""

    def __init__(self, source: Path, target: Any) -> None:
        self.problem = ""
        self._target = target
        self._input: Any = av.open(str(source), metadata_errors="replace")
        self._streams: dict[int, Any] = {}
        for stream in self._input.streams.audio:
            try:
                self._streams[stream.index] = target.add_stream_from_template(stream)
            except (av.FFmpegError, ValueError) as error:
                self.problem = f"{stream.codec_context.name} sound does not fit there ({error})"
        self._packets = self._demuxed()
        self._next: Any = next(self._packets, None)

    def _demuxed(self) -> Iterator[Any]:
        wanted = [stream for stream in self._input.streams.audio if stream.index in self._streams]
        if not wanted:
            return
        for packet in self._input.demux(wanted):
            if packet.dts is not None:
                yield packet

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copy what starts before a time, or all the rest."""
        while self._next is not None:
            packet = self._next
            if seconds is not None and packet.dts * packet.time_base > seconds:
                return
            packet.stream = self._streams[packet.stream.index]
            self._target.mux(packet)
            self._next = next(self._packets, None)

    def close(self) -> None:
        self._input.close()
