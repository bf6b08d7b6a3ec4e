"""What a video's container says before anything is decoded: its streams, its index, its header."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.video.headers import headers_of
from gopro_tools.video.libav import listening

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("mp4", "mov", "m4v", "mkv", "avi", "webm", "mts", "m2ts", "ts", "mpg", "mpeg"),
        *("3gp", "wmv", "lrv", "lrf", "360", "cine", "mxf", "insv", "m2t", "dv", "vob", "asf"),
        *("flv", "ogv", "qt", "3g2", "y4m", "mod", "tod"),
    )
)
_PREVIEW_SHARE = 4
"""A stream with less than this share of another's frames is a still or a preview."""
_PLAYLISTS = ("hls", "concat", "dash", "imf", "sdp")
"""Formats whose pictures are stored in other files."""
_STILLS = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


@dataclass(kw_only=True, slots=True)
class Packets:
    """The packets of one stream, in the file's order."""

    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    is_keyframe: list[bool] = field(default_factory=list)
    is_hidden: list[bool] = field(default_factory=list)
    place: list[int | None] = field(default_factory=list)
    """Byte offset in the file, if the container knows it."""
    n_empty: int = 0
    """Chunks without data, with which AVI repeats a picture."""
    headers: bytes = b""
    """The first ones that come with a keyframe; see `headers_of`."""
    is_encrypted: bool = False

    @property
    def n_pictures(self) -> int:
        """Number of packets with data."""
        return len(self.pts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the frames of a stream are, according to its packets."""

    ticks: NDArray[np.int64]
    hidden: NDArray[np.int64]
    """Ticks of decoded frames that are not shown."""
    keyframes: NDArray[np.int64]
    """(n, 2) index of the first frame, and tick to seek to; packets to skip if ``by_order``."""
    by_order: bool
    """Frames are counted from the start of the file, as ticks do not tell them apart."""
    headers: bytes = b""
    """Those in the stream that the file begins with."""

    def index(self, tick: int | None) -> int | None:
        """Index of the frame shown at ``tick``; -1 for a hidden one, None for an unknown one."""
        if tick is None:
            return None
        index = int(np.searchsorted(self.ticks, tick))
        if index < len(self.ticks) and self.ticks[index] == tick:
            return index
        known = int(np.searchsorted(self.hidden, tick))
        return -1 if known < len(self.hidden) and self.hidden[known] == tick else None

    def without(self, indices: list[int]) -> "Places":
        """The same places with some of the first frames hidden."""
        n = len(indices)
        keys = self.keyframes.copy()
        keys[:, 0] = np.maximum(keys[:, 0] - n, 0)
        return replace(
            self,
            ticks=np.delete(self.ticks, indices),
            hidden=np.union1d(self.hidden, self.ticks[indices]),
            keyframes=keys,
        )


def open_video(path: Path, *, decoding: bool = True) -> InputContainer:
    """Open a file that FFmpeg may know, whatever bytes its name contains.

    A relative name could be taken for a protocol ("file:x", "concat:a").

    Args:
        path: The file.
        decoding: Whether FFmpeg decodes the first frames to learn what the headers do not say,
            which is most of the time that opening a file takes.

    Raises:
        InputError: It is a list of other files, so its own bytes do not determine its content.
    """
    try:
        name, options = str(path.absolute()), {}
        name.encode()
        descriptor = None
    except UnicodeEncodeError:
        descriptor = os.open(path, os.O_RDONLY)  # FFmpeg keeps a copy of it
        name, options = "fd:", {"fd": str(descriptor)}
    try:
        with listening():  # messages about headers do not mean damage
            container = av.open(
                name,
                mode="r",
                options={} if decoding else {"skip_frame": "all"},
                container_options=options,
                metadata_errors="replace",
            )
        if container.format.name not in _PLAYLISTS:
            return container
        container.close()
        raise InputError(f"{path}: a list of other files; name the videos themselves.")
    finally:
        if descriptor is not None:
            os.close(descriptor)


def read_packets(container: InputContainer) -> tuple[dict[int, Packets], list[str]]:
    """The packets of every video stream, by stream number, and the damage found on the way."""
    streams = list(container.streams.video)
    packets = {stream.index: Packets() for stream in streams}
    if not streams:
        return packets, []  # without a stream, FFmpeg gives the packets of all
    with listening() as complaints:
        for packet in container.demux(streams):
            of_stream = packets[packet.stream.index]
            if not packet.size:
                # Each stream ends with an empty packet without times, which PyAV makes up.
                of_stream.n_empty += packet.dts is not None or packet.pts is not None
                continue
            of_stream.pts.append(packet.pts)
            of_stream.dts.append(packet.dts)
            of_stream.is_keyframe.append(packet.is_keyframe)
            of_stream.is_hidden.append(packet.is_discard)
            of_stream.place.append(packet.pos)
            if not of_stream.is_encrypted:
                of_stream.is_encrypted = packet.has_sidedata("encryption_info")
            if packet.is_keyframe and not of_stream.headers:
                of_stream.headers = headers_of(packet)
    return packets, complaints


def choose_stream(
    path: Path, container: InputContainer, packets: dict[int, Packets], wanted: int | None
) -> tuple[VideoStream, tuple[str, ...]]:
    """The stream to read, and the others in words.

    Stills and thumbnails are skipped; of the rest, the stream marked as default is chosen, then the
    largest picture, then the most frames, then the first.

    Raises:
        InputError: There is no video stream, only a cover picture, no video stream number
            ``wanted``, or FFmpeg has no decoder for it.
    """
    streams = list(container.streams.video)
    described = {s.index: _describe(s, packets[s.index]) for s in streams}
    if not streams:
        raise InputError(f"{path}: no video stream in it.")
    if all(s.disposition & Disposition.attached_pic for s in streams):
        raise InputError(f"{path}: no video stream in it, only a cover picture.")
    if wanted is not None:
        if wanted not in described:
            raise InputError(
                f"{path}: --stream {wanted} is not one of its video streams; there are "
                f"{'; '.join(described.values())}."
            )
        chosen = next(s for s in streams if s.index == wanted)
    else:
        moving = [s for s in streams if not _is_still(s, packets[s.index], packets)]
        readable = [s for s in moving if _decodes(s)] or moving or streams
        chosen = max(readable, key=lambda s: _rank(s, packets[s.index]))
    if not _decodes(chosen):
        raise InputError(f"{path}: FFmpeg has no decoder for its video stream.")
    return chosen, tuple(text for index, text in described.items() if index != chosen.index)


def _rank(stream: VideoStream, packets: Packets) -> tuple[bool, int, int, int]:
    is_default = bool(stream.disposition & Disposition.default)
    area = stream.codec_context.width * stream.codec_context.height if _decodes(stream) else 0
    return is_default, area, packets.n_pictures, -stream.index


def _is_still(stream: VideoStream, own: Packets, packets: dict[int, Packets]) -> bool:
    longest = max(of_stream.n_pictures for of_stream in packets.values())
    return bool(stream.disposition & _STILLS) or own.n_pictures * _PREVIEW_SHARE < longest


def _decodes(stream: VideoStream) -> bool:
    return stream.codec_context is not None  # whatever its type says


def _describe(stream: VideoStream, packets: Packets) -> str:
    what = "unknown codec"
    if _decodes(stream):
        context = stream.codec_context
        what = f"{context.name} {context.width}x{context.height}"
    n = packets.n_pictures
    return f"stream {stream.index}: {what}, {n} frame{'' if n == 1 else 's'}"


def index_of(packets: Packets) -> tuple[Places, int | None]:
    """Where the frames of a stream are, and the tick of the first keyframe in the file's order."""
    known = [
        (tick, is_key, is_hidden)
        for tick, is_key, is_hidden in zip(
            packets.pts, packets.is_keyframe, packets.is_hidden, strict=True
        )
        if tick is not None
    ]
    shown = sorted(tick for tick, _, is_hidden in known if not is_hidden)
    hidden = sorted(tick for tick, _, is_hidden in known if is_hidden)
    keys = [tick for tick, is_key, _ in known if is_key]
    ticks = np.array(shown, dtype=np.int64)
    places = Places(
        ticks=ticks,
        hidden=np.array(hidden, dtype=np.int64),
        keyframes=np.stack([np.searchsorted(ticks, keys), np.array(keys, np.int64)], axis=1),
        by_order=len(known) < packets.n_pictures
        or len({tick for tick, _, _ in known}) < len(known)
        or _goes_back(packets.dts)
        or _goes_back(keys),
        headers=packets.headers,
    )
    return places, keys[0] if keys else None


def _goes_back(times: Sequence[int | None]) -> bool:
    known = [time for time in times if time is not None]
    return any(later < earlier for earlier, later in pairwise(known))


def cut_short(
    container: InputContainer,
    stream: VideoStream,
    packets: Packets,
    found_s: float,
    interval_s: float,
    complaints: Sequence[str],
) -> str:
    """What the header promises beyond what there is; empty if it keeps its promise.

    Args:
        container: The file, read to its end.
        stream: The stream in question.
        packets: What was found of it.
        found_s: When its last frame ends, in s. A header may count from zero or from the first
            frame; counting from the first frame only promises less.
        interval_s: From frame to frame.
        complaints: What FFmpeg said on the way.
    """
    n_found = packets.n_pictures + packets.n_empty
    n_promised = stream.frames
    if container.format.name == "avi":
        # Its count includes dropped pictures; FFmpeg's duration for it is what FFmpeg found.
        n_promised = 0 if n_promised <= (stream.duration or 0) else n_promised
    elif "mp4" in container.format.name.split(","):
        # An edit list hides whole groups of pictures: they are not in the index.
        n_promised = min(n_promised, len(stream.index_entries) or n_promised)
    if n_promised > n_found:
        return f"{n_promised} frames promised, {n_found} found"
    promised_s = 0.0 if stream.frames else _promised_s(container, stream)
    if promised_s - found_s > max(2 * interval_s, 0.02):
        return f"{promised_s:.2f} s promised, {found_s:.2f} s found"
    ended = [text for text in complaints if "prematurely" in text.lower()]
    return f"the file ends in the middle ({ended[0]})" if ended else ""


def _promised_s(container: InputContainer, stream: VideoStream) -> float:
    """Duration of the video stream by the header; 0 if it only states that of the whole file."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    stored = ""
    if "matroska" in container.format.name:  # elsewhere the tag is the original file's
        tags = stream.metadata.items()
        stored = next((value for name, value in tags if name.upper().startswith("DURATION")), "")
    parts = stored.split(":")
    if len(parts) == 3:
        try:
            return float(parts[0]) * 3600 + float(parts[1]) * 60 + float(parts[2])
        except ValueError:
            return 0.0
    alone = len(container.streams) == 1
    return (container.duration or 0) / av.time_base if alone else 0.0


def capture_rate(metadata: dict[str, str]) -> float | None:
    """Capture rate of a slow-motion recording, in Hz (Android's tag, which Samsung writes too)."""
    for name, value in metadata.items():
        if name.lower() == "com.android.capture.fps":
            try:
                rate = float(value)
            except ValueError:
                continue
            if rate > 0:
                return rate
    return None


def stream_header(container: InputContainer, stream_index: int) -> list[str]:
    """Lines of FFmpeg's own description of a stream, for what PyAV has no attribute for."""
    with listening(chatty=True):
        text: str = container.dumps_format()  # type: ignore[attr-defined]
    lines: list[str] = []
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("Stream #"):
            number = re.match(r"Stream #\d+:(\d+)", line)
            inside = number is not None and int(number[1]) == stream_index
        if inside:
            lines.append(line)
    return lines


def pixel_aspect_of(stream: VideoStream) -> Fraction | None:
    """Width of a pixel divided by its height, if the container or the bitstream states it."""
    aspect = stream.sample_aspect_ratio
    return aspect if aspect and aspect > 0 else None
