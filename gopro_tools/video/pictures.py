"""Decoded frames -> the pictures a viewer sees, and frames that are not like the others."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from gopro_tools.images import Rgb
from gopro_tools.response import Response
from gopro_tools.video.color import Color, ContainerColor, color_of, container_color, converter
from gopro_tools.video.container import pixel_aspect_of, stream_header
from gopro_tools.video.geometry import (
    IDENTITY,
    Geometry,
    Matrix,
    crop_of,
    display_matrix,
    geometry_of,
)

_FIELD_ORDERS = (2, 3, 4, 5)
"""Interlaced values of AVFieldOrder."""
_CODECS_THAT_SAY = frozenset(
    (
        *("h264", "hevc", "vvc", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3"),
        *("prores", "dnxhd", "dvvideo", "ffv1"),
    )
)
"""Codecs that mark a frame as interlaced; for all others the container's word counts."""
_ORIENTED_CODECS = ("h264", "hevc")
"""Codecs that can have an orientation in the bitstream, often with the first frame only."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A decoded frame, and what else decides how it looks."""

    index: int
    frame: av.VideoFrame
    aspect: Fraction | None
    """The decoder's pixel aspect ratio."""
    alone: bool
    """Its headers are not those the file begins with, so the container's facts do not apply."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How the frames of a clip are stored and shown: the same for all of them."""

    geometry: Geometry
    color: Color = field(default_factory=lambda: Color(text=""))
    pixel_format: str = ""
    interlaced: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how the frames are shown."""
        said = list(self.geometry.notes)
        if self.pixel_format.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya")):
            said.append("its alpha channel is left out")
        if self.color.primaries:
            said.append(f"its primaries are {self.color.primaries}, and stay as they are")
        if self.interlaced:
            said.append("interlaced: the upper field of each frame, its lines interpolated")
        return tuple(said)

    def difference(self, other: "Look") -> str:
        """How ``other`` differs, for a sentence that begins with "frame 33"; or ""."""
        if other.geometry != self.geometry:
            if other.geometry.stored_hw != self.geometry.stored_hw:
                here, there = self.geometry.stored_hw, other.geometry.stored_hw
                return f"is {there[0]}x{there[1]} instead of {here[0]}x{here[1]} (HxW)"
            if other.geometry.pixel_aspect != self.geometry.pixel_aspect:
                return "has another pixel aspect ratio than the first frame"
            return "is rotated or mirrored differently from the first frame"
        # "yuvj" is FFmpeg's name for full range, which is a tag like the others.
        if other.pixel_format.replace("yuvj", "yuv") != self.pixel_format.replace("yuvj", "yuv"):
            return f"is {other.pixel_format} instead of {self.pixel_format}"
        if other.interlaced and not self.interlaced:
            return "is interlaced, the first frame is not"
        if other.color != self.color:
            return "has other colour tags than the first frame: " + _colors(other, self)
        return ""


def _colors(look: Look, first: Look) -> str:
    here, there = (
        ", ".join(filter(None, (c.text, c.hdr, c.curve, c.primaries)))
        for c in (first.color, look.color)
    )
    return f"{there} instead of {here}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerFacts:
    """What opening a file tells about its stream, before a frame is asked for."""

    container: str
    """FFmpeg's names of its format."""
    codec: str
    crop_trbl: tuple[int, int, int, int]
    pixel_aspect: Fraction | None
    coded_aspect: Fraction | None
    """The decoder's initial pixel aspect ratio."""
    color: ContainerColor
    interlaced: bool
    """Interlaced according to the container, for codecs that cannot mark a frame."""
    reorder_depth: int
    """By how many frames the decoder's output lags behind, which FFmpeg finds out by decoding."""

    @property
    def are_enough(self) -> bool:
        """Whether the file can be opened again without decoding its first frames.

        The decoders of these two take all else from the bitstream, and MP4 says when each frame is
        shown.
        """
        return self.codec in ("h264", "hevc") and "mp4" in self.container.split(",")


def container_facts(container: InputContainer, stream: VideoStream) -> ContainerFacts:
    """Read what the container says; before anything is decoded, as decoders forget it."""
    context = stream.codec_context
    lines = stream_header(container, stream.index)
    field_order = int(context.field_order)
    return ContainerFacts(
        container=container.format.name,
        codec=context.name,
        crop_trbl=crop_of(lines),
        pixel_aspect=pixel_aspect_of(stream),
        coded_aspect=context.sample_aspect_ratio,
        color=container_color(
            int(context.color_trc), int(context.colorspace), container.format.name, lines
        ),
        interlaced=field_order in _FIELD_ORDERS and context.name not in _CODECS_THAT_SAY,
        reorder_depth=context.reorder_depth,
    )


class Pictures:
    """Turns the frames of one clip into pictures, and says which differ from the first.

    Args:
        facts: What the container says.
        look: How the clip's frames look; by default, like the first frame seen.
        hdr: Response to convert PQ and HLG to.
    """

    def __init__(
        self, facts: ContainerFacts, look: Look | None = None, hdr: Response | None = None
    ) -> None:
        self._facts = facts
        self._look = look
        self._hdr = hdr
        self._convert: Callable[[av.VideoFrame], Rgb] | None = None
        self._is_plain = False
        self._seen: dict[tuple[object, ...], str] = {}
        self._held = look.geometry.matrix if look else IDENTITY
        self._alone = False

    def look_of(self, sample: Sample) -> Look:
        """Look of a decoded frame. Frames must come in display order.

        Raises:
            ValueError: Something that is not converted here; the message says what.
        """
        facts = self._facts
        frame, aspect = sample.frame, sample.aspect
        return Look(
            geometry=geometry_of(
                frame.height,
                frame.width,
                self._matrix(sample),
                facts.crop_trbl,
                (aspect or None) if sample.alone else self._pixel_aspect(aspect),
            ),
            color=color_of(frame, facts.codec, ContainerColor() if sample.alone else facts.color),
            pixel_format=frame.format.name,
            interlaced=bool(frame.interlaced_frame) or facts.interlaced,
        )

    def _pixel_aspect(self, of_decoder: Fraction | None) -> Fraction | None:
        """The container's word counts, unless the bitstream changes its own."""
        facts = self._facts
        if not of_decoder or of_decoder < 0 or of_decoder == facts.coded_aspect:
            return facts.pixel_aspect
        begins_unsaid = facts.coded_aspect is None and facts.pixel_aspect is not None
        return facts.pixel_aspect if begins_unsaid else of_decoder

    def _matrix(self, sample: Sample) -> Matrix:
        """The frame's display matrix; in a bitstream it holds until the next one."""
        found = display_matrix(sample.frame)
        if found is None and self._facts.codec not in _ORIENTED_CODECS:
            found = IDENTITY
        if sample.alone != self._alone:
            self._alone, self._held = sample.alone, IDENTITY
        self._held = self._held if found is None else found
        return self._held

    def fault(self, sample: Sample) -> str:
        """Why a frame does not belong to the clip ("is 40x56 instead of ..."); "" if it does."""
        frame = sample.frame
        signature = (
            frame.width,
            frame.height,
            frame.format.name,
            int(frame.color_range),
            int(frame.colorspace),
            int(frame.color_trc),
            int(frame.color_primaries),
            bool(frame.interlaced_frame),
            self._matrix(sample),
            sample.aspect,
            sample.alone,
        )
        known = self._seen.get(signature)
        if known is None:
            try:
                look = self.look_of(sample)
                self._look = self._look or look
                known = self._look.difference(look)
            except ValueError as error:
                known = f"cannot be shown: {error}"
            self._seen[signature] = known
        return known

    def rgb(self, frame: av.VideoFrame) -> Rgb:
        """(H, W, 3) uint8 picture of a frame without `fault`."""
        assert self._look is not None
        if self._convert is None:
            self._convert = converter(self._look.color, self._hdr)
            self._is_plain = self._look.geometry.changes_nothing and not self._look.interlaced
        if self._is_plain:
            return self._convert(frame)
        if not self._look.interlaced:
            return self._look.geometry.apply(self._convert(frame))
        half = self._convert(first_field(frame))
        full = cv2.resize(half, (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)
        return self._look.geometry.apply(full.astype(np.uint8, copy=False))


def first_field(frame: av.VideoFrame) -> av.VideoFrame:
    """Every second line of a frame, from the top: one of its two moments, at half the height."""
    half = av.VideoFrame(frame.width, (frame.height + 1) // 2, frame.format.name)
    half.colorspace, half.color_range = frame.colorspace, frame.color_range
    for whole, part in zip(frame.planes, half.planes, strict=True):
        lines = _lines(whole)[::2][: part.height]
        target = np.zeros((part.height, part.line_size), np.uint8)
        n_bytes = min(lines.shape[1], target.shape[1])
        target[: len(lines), :n_bytes] = lines[:, :n_bytes]
        part.update(target.tobytes())
    return half


def _lines(plane: "av.video.plane.VideoPlane") -> NDArray[np.uint8]:
    return np.frombuffer(memoryview(plane), np.uint8)[: plane.height * plane.line_size].reshape(
        plane.height, plane.line_size
    )
