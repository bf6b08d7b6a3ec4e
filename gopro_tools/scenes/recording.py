"""Write frames as a video with every property specified, or as a folder of numbered images."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from gopro_tools.files import temporary_beside, write_atomic
from gopro_tools.images import Rgb, encode_png

Matrix = Literal["bt709", "bt601", "bt2020"]
Transfer = Literal["bt709", "bt601", "srgb", "linear", "pq", "hlg"]

_UNSPECIFIED = 2
# Code points of ITU-T H.273, which FFmpeg uses as they are: (primaries, matrix) and transfer.
_PRIMARIES_AND_MATRIX = {"bt709": (1, 1), "bt601": (6, 6), "bt2020": (9, 9)}
_TRANSFER = {"bt709": 1, "bt601": 6, "srgb": 13, "linear": 8, "pq": 16, "hlg": 18}
# swscale names matrices by its own numbers.
_SWSCALE_MATRIX = {"bt709": 1, "bt601": 5, "bt2020": 9}
_BEST_CONVERSION = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.FULL_CHR_H_INT
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How a video is coded; the colour conversion follows the tags it writes."""

    codec: str = "libx264"
    """FFmpeg's name of an encoder: libx264, libx265, libx264rgb, ffv1, ..."""
    pixel_format: str = "yuv420p"
    """FFmpeg's name: yuv420p, yuv444p, yuv420p10le (10 bit), rgb24, bgr0, gbrp, ..."""
    crf: int | None = 12
    """Constant quality of x264 and x265, 0 lossless; None leaves the encoder's default."""
    bit_rate: int | None = None
    """Bits per second, instead of ``crf``."""
    gop_size: int | None = 30
    """Most frames from one keyframe to the next; None leaves the encoder's default."""
    matrix: Matrix = "bt709"
    """Matrix and primaries: the samples are converted with them and, if ``tagged``, say so."""
    transfer: Transfer = "bt709"
    """Transfer function the tag names. Code values are stored as given: it converts nothing."""
    full_range: bool = False
    """Whether luma uses all codes rather than 16-235 (8 bit) or 64-940 (10 bit)."""
    tagged: bool = True
    """False leaves every colour property untagged; the samples stay as ``matrix`` makes them."""
    options: Mapping[str, str] = field(default_factory=lambda: {"preset": "veryfast"})
    """Private options of the encoder."""

    @property
    def is_rgb(self) -> bool:
        """Whether the stored samples are RGB, so that nothing is converted."""
        return self.pixel_format.startswith(("rgb", "bgr", "gbr"))


H264 = Encoding()
"""What cameras write: 4:2:0, BT.709, limited range."""

LOSSLESS = Encoding(codec="libx264rgb", pixel_format="rgb24", crf=0)
"""8-bit RGB that decodes to exactly the values given, in MP4 or Matroska."""


def write_video(
    path: Path,
    frames: Iterable[NDArray[Any]],
    rate_hz: float | Fraction,
    encoding: Encoding = H264,
    *,
    times_s: Sequence[float | Fraction] | None = None,
    ticks_per_s: int = 90_000,
    rotation_degrees: float = 0.0,
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Write a video, completely or not at all.

    Args:
        path: Its suffix chooses the container: .mp4, .mov, .mkv, ...
        frames: (H, W, 3) RGB images of one size, uint8, or uint16 with the range 0-65535.
        rate_hz: Frame rate in the header, and the spacing of the frames where ``times_s`` is None.
        encoding: Codec, pixel format, quality and colour.
        times_s: When each frame is shown, strictly increasing; makes the rate variable. There must
            be one for each frame.
        ticks_per_s: Resolution of ``times_s``; Matroska rounds to milliseconds all the same.
        rotation_degrees: Display rotation in the header, counter-clockwise; the samples stay as
            they are.
        metadata: Entries of the container, such as ``com.android.capture.fps`` (MP4 and MOV keep
            any name).

    Returns:
        Number of frames written.

    Raises:
        ValueError: No frames, frames of different sizes or of an odd size that the pixel format
            cannot hold, or a rate or times that do not fit.
        av.error.FFmpegError: The encoder or the container refuses what was asked for.
    """
    waiting = iter(frames)
    first = next(waiting, None)
    if first is None:
        raise ValueError(f"{path}: no frames to write")
    rate = Fraction(rate_hz).limit_denominator(1001)
    if rate <= 0:
        raise ValueError(f"{path}: {rate_hz} Hz is not a frame rate")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path, path.suffix)
    # MP4 drops names it does not know unless asked to keep them.
    drops_metadata = bool(metadata) and path.suffix.lower() in {".mp4", ".mov", ".m4v"}
    options = {"movflags": "use_metadata_tags"} if drops_metadata else {}
    tick_s = 1 / rate if times_s is None else Fraction(1, ticks_per_s)
    ticks = None if times_s is None else [round(time_s * ticks_per_s) for time_s in times_s]
    if ticks is not None and any(later <= earlier for earlier, later in pairwise(ticks)):
        raise ValueError(f"{path}: times must increase by at least 1/{ticks_per_s} s")
    try:
        with av.open(str(temporary), "w", options=options) as container:
            container.metadata.update(metadata or {})
            stream = container.add_stream(encoding.codec, rate=rate)
            assert isinstance(stream, VideoStream)
            _set_up(stream, encoding, first.shape)
            stream.codec_context.time_base = tick_s
            if rotation_degrees:
                stream.set_display_rotation(rotation_degrees)
            convert = _converter(encoding)
            n_frames = 0
            for tick, frame in _timed(chain([first], waiting), ticks):
                if frame.shape != first.shape:
                    raise ValueError(
                        f"{path}: frame {n_frames} is {frame.shape}, the first is {first.shape}"
                    )
                picture = convert(_picture(frame))
                picture.pts, picture.time_base = tick, tick_s
                container.mux(_lasting(stream.encode(picture), ticks, rate, tick_s))
                n_frames += 1
            container.mux(_lasting(stream.encode(None), ticks, rate, tick_s))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return n_frames


def write_frames(folder: Path, frames: Iterable[Rgb]) -> int:
    """Write frames as ``000001.png``, ``000002.png``, ... and return how many there were."""
    number = 0
    for number, frame in enumerate(frames, start=1):
        write_atomic(folder / f"{number:06d}.png", encode_png(frame))
    return number


def _set_up(stream: VideoStream, encoding: Encoding, shape: tuple[int, ...]) -> None:
    height, width = shape[:2]
    chroma = {"yuv420": (2, 2), "yuv422": (1, 2)}.get(encoding.pixel_format[:6], (1, 1))
    if height % chroma[0] or width % chroma[1]:
        raise ValueError(f"{width}x{height} does not divide into {encoding.pixel_format} chroma")
    stream.width, stream.height, stream.pix_fmt = width, height, encoding.pixel_format
    if encoding.gop_size is not None:
        stream.gop_size = encoding.gop_size
    options = dict(encoding.options) if encoding.codec.startswith("libx26") else {}
    if encoding.bit_rate is not None:
        stream.bit_rate = encoding.bit_rate
    elif encoding.crf is not None:
        options["crf"] = str(encoding.crf)
    if encoding.codec == "libx265":  # it writes to stderr by itself
        options["x265-params"] = ":".join(
            filter(None, [options.get("x265-params"), "log-level=error"])
        )
    stream.options = {**options}
    context = stream.codec_context
    if not encoding.tagged:
        context.color_primaries = context.color_trc = context.colorspace = _UNSPECIFIED
        context.color_range = ColorRange.UNSPECIFIED
        return
    primaries, matrix = _PRIMARIES_AND_MATRIX[encoding.matrix]
    context.color_primaries = primaries
    context.color_trc = _TRANSFER[encoding.transfer]
    context.colorspace = 0 if encoding.is_rgb else matrix
    full = encoding.full_range or encoding.is_rgb
    context.color_range = ColorRange.JPEG if full else ColorRange.MPEG


def _picture(frame: NDArray[Any]) -> VideoFrame:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype not in (np.uint8, np.uint16):
        found = f"{frame.shape} {frame.dtype}"
        raise ValueError(f"(H, W, 3) uint8 or uint16 was expected, found {found}")
    name = "rgb24" if frame.dtype == np.uint8 else "rgb48le"
    return VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=name)


def _converter(encoding: Encoding) -> Callable[[VideoFrame], VideoFrame]:
    """A conversion with the matrix and range asked for: the encoder would use its own."""
    full = encoding.full_range or encoding.is_rgb
    # One for all frames: it keeps FFmpeg's tables. Threads take longer to start than they save.
    return partial(
        VideoReformatter().reformat,
        format=encoding.pixel_format,
        dst_colorspace=None if encoding.is_rgb else _SWSCALE_MATRIX[encoding.matrix],
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        interpolation=_BEST_CONVERSION,
        threads=1,
    )


def _timed(
    frames: Iterable[NDArray[Any]], ticks: list[int] | None
) -> Iterator[tuple[int, NDArray[Any]]]:
    if ticks is None:
        return enumerate(frames)
    return zip(ticks, frames, strict=True)  # ValueError where the counts differ


def _lasting(
    packets: "list[Packet[Any]]", ticks: list[int] | None, rate: Fraction, tick_s: Fraction
) -> "list[Packet[Any]]":
    """Set how long each frame lasts: encoders leave it out, and the last frame's would be lost."""
    after = dict(pairwise(ticks or []))
    for packet in packets:
        if packet.pts is not None:
            until = after.get(packet.pts, packet.pts + round(1 / rate / tick_s))
            packet.duration = until - packet.pts
    return packets
