"""From samples to 8-bit RGB codes: matrix, range, transfer; and what cannot be converted."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.response import Response

HD_LINES = 720
"""At or above this height, video without a colour tag is BT.709, as cameras write it."""
_WELL_ROUNDED = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

# Code points of ITU-T H.273, which FFmpeg uses as they are.
_UNSPECIFIED = (2, 0, 3)
_MATRICES = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
_SWSCALE_MATRIX = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}
_OTHER_MATRICES = {
    8: "YCgCo",
    10: "BT.2020 constant luminance",
    11: "SMPTE ST 2085 (Y'D'zD'x)",
    12: "chromaticity-derived",
    13: "chromaticity-derived, constant luminance",
    14: "ICtCp (BT.2100)",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_HDR_TRANSFERS = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}
_CURVES = {
    8: ("linear light", "linear"),
    9: ("logarithmic, 100:1", "log100"),
    10: ("logarithmic, 316:1", "log316"),
    17: ("SMPTE ST 428-1 (gamma 2.6)", "gamma2.6"),
}
"""Transfers that are not a camera's ordinary curve: their names, and the responses that undo
them."""
_WIDE_PRIMARIES = {9: "BT.2020", 10: "CIE XYZ", 11: "DCI-P3", 12: "Display P3"}
_FULL_UNLESS_SAID = ("ffv1", "rawvideo", "png", "mjpeg", "huffyuv", "ffvhuff", "utvideo", "tiff")
"""Codecs whose grey pictures are full range unless tagged otherwise; others have limited range."""

Reformat = Callable[..., av.VideoFrame]


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerColor:
    """What the container says about colour, which a decoder may drop (code points of H.273)."""

    transfer: int = 2
    matrix: int = 2
    linear_format: str = ""
    """Name of a format whose samples are light by definition, such as Phantom's .cine."""
    dolby_vision: str = ""
    """Profile, if the picture has no ordinary base layer to show."""
    base_layer_transfer: int = 2
    """Transfer of the base layer according to its Dolby Vision compatibility."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Color:
    """How the samples of a clip become RGB."""

    text: str
    """Matrix and range they are converted with, and whether the file says so."""
    matrix: int = 2
    """Code point that is passed to the conversion; 2 leaves it to FFmpeg."""
    grey_limited: bool | None = None
    """Range of grey samples; None for colour."""
    hdr: str = ""
    """Name of an HDR transfer function; empty for ordinary video."""
    curve: str = ""
    """Name of another transfer function that no ordinary response undoes."""
    response: str = ""
    """The response that undoes ``curve``."""
    primaries: str = ""
    """Primaries wider than those of BT.709 and sRGB, which SDR video keeps."""


def color_by_transfer(text: str, transfer: int) -> Color:
    """Colour of RGB samples whose transfer is a code point of H.273."""
    curve, response = _CURVES.get(transfer, ("", ""))
    return Color(text=text, hdr=_HDR_TRANSFERS.get(transfer, ""), curve=curve, response=response)


def color_of(frame: av.VideoFrame, codec: str, container: ContainerColor) -> Color:
    """Colour of a decoded frame and what its container says.

    Raises:
        ValueError: A matrix, a pixel format or a kind of Dolby Vision that nothing here converts.
    """
    if container.dolby_vision:
        raise ValueError(
            f"Dolby Vision {container.dolby_vision}, whose samples are neither SDR nor HDR10 nor "
            "HLG; export it as one of these first"
        )
    name = frame.format.name
    if name.startswith("xyz"):
        raise ValueError("samples in CIE XYZ, as in digital cinema; convert it to RGB first")
    transfer = _transfer(int(frame.color_trc), container)
    curve, response = _CURVES.get(transfer, ("", ""))
    if container.linear_format or ((not curve and "f16" in name) or "f32" in name):
        curve, response = container.linear_format or "floating-point samples, linear", "linear"
    hdr = _HDR_TRANSFERS.get(transfer, "")
    primaries = "" if hdr else _WIDE_PRIMARIES.get(int(frame.color_primaries), "")
    if frame.format.is_rgb or name.startswith(("bayer", "pal8")):
        return Color(text="RGB", hdr=hdr, curve=curve, response=response, primaries=primaries)
    full = int(frame.color_range) == 2 or name.startswith("yuvj")
    if name.startswith(("gray", "ya")):
        assumed = "" if int(frame.color_range) in (1, 2) else ", assumed as the file does not say"
        full = full or (bool(assumed) and codec in _FULL_UNLESS_SAID)
        extent = "full range" if full else "limited range"
        return Color(
            text=f"grey, {extent}{assumed}",
            grey_limited=not full,
            hdr=hdr,
            curve=curve,
            response=response,
        )
    extent = "full range" if full else "limited range"
    matrix = int(frame.colorspace)
    from_container = ""
    if matrix in _UNSPECIFIED and container.matrix in _MATRICES:
        matrix, from_container = container.matrix, ", as the container says"
    if matrix in _OTHER_MATRICES:
        raise ValueError(
            f"colour matrix {_OTHER_MATRICES[matrix]} (code {matrix} of ITU-T H.273), which FFmpeg "
            "cannot convert to RGB; convert it to BT.709 first"
        )
    if matrix in _MATRICES:
        text = f"{_MATRICES[matrix]}, {extent}{from_container}"
        chosen = matrix if from_container else 2
    else:
        hd = frame.height >= HD_LINES
        chosen = 1 if hd else 2
        assumed = "BT.709" if hd else "BT.601"
        text = f"{assumed}, assumed as the file does not say, {extent}"
    return Color(
        text=text, matrix=chosen, hdr=hdr, curve=curve, response=response, primaries=primaries
    )


def _transfer(of_frame: int, container: ContainerColor) -> int:
    """The bitstream's transfer, unless the container or Dolby Vision names an unusual one."""
    unusual = {*_HDR_TRANSFERS, *_CURVES}
    said = (of_frame, container.transfer, container.base_layer_transfer)
    return next((transfer for transfer in said if transfer in unusual), of_frame)


def check_response(path: object, color: Color, response: Response) -> None:
    """Refuse a response that does not undo the file's transfer function.

    Raises:
        InputError: It does not; the message names the one that does.
    """
    if not color.response or response.name == color.response or response.name.endswith(".npy"):
        return
    raise InputError(
        f"{path}: its transfer is {color.curve}, not a camera's gamma, so {response.name} would "
        f"average wrongly; --response {color.response} is the one that fits (or a .npy table "
        "measured for it)."
    )


def container_color(
    transfer: int, matrix: int, container_format: str, lines: list[str]
) -> ContainerColor:
    """What the container says, from its stream's code points and `dumps_format` lines."""
    dolby, base = "", 2
    for line in lines:
        name, _, value = line.strip().partition(":")
        if name.startswith("DOVI configuration"):
            fields = dict(part.strip().split(": ", 1) for part in value.split(",") if ": " in part)
            compatible = int(fields.get("compatibility id", "0"))
            base = {1: 16, 6: 16, 4: 18}.get(compatible, 2)
            if compatible == 0:
                dolby = f"profile {fields.get('profile', 'unknown')}"
    return ContainerColor(
        transfer=transfer,
        matrix=matrix,
        linear_format="linear light (a high-speed camera's .cine)"
        if container_format == "cine"
        else "",
        dolby_vision=dolby,
        base_layer_transfer=base,
    )


def converter(color: Color, hdr_response: Response | None) -> Callable[[av.VideoFrame], Rgb]:
    """A function from frames of that colour to (H, W, 3) uint8 RGB as stored, not rotated."""
    # One for all frames: it keeps FFmpeg's tables. One thread: workers share the cores.
    reformat = partial(VideoReformatter().reformat, threads=1)
    if color.hdr and hdr_response is not None:
        return partial(_hdr_to_rgb, reformat, transfer=color.hdr, response=hdr_response)
    if color.grey_limited is not None:
        return partial(_grey_to_rgb, reformat, limited=color.grey_limited)
    matrix = _SWSCALE_MATRIX.get(color.matrix)
    return partial(_to_rgb, reformat, matrix=matrix)


def _to_rgb(reformat: Reformat, frame: av.VideoFrame, matrix: Colorspace | None) -> Rgb:
    # FFmpeg's fast path for 8 bit is what every tool shows; its path for more bits is off by up
    # to 3 codes unless told to round accurately.
    quality = None if frame.format.components[0].bits == 8 else _WELL_ROUNDED
    rgb = reformat(frame, format="rgb24", src_colorspace=matrix, interpolation=quality)
    # A view of FFmpeg's buffer, which it keeps alive: copying it would cost as much again.
    plane = rgb.planes[0]
    strides = (plane.line_size, 3, 1)
    return np.ndarray(
        (rgb.height, rgb.width, 3), np.uint8, buffer=memoryview(plane), strides=strides
    )


def _grey_to_rgb(reformat: Reformat, frame: av.VideoFrame, limited: bool) -> Rgb:
    """Three equal channels; FFmpeg's own conversion takes every grey picture for full range."""
    bits = frame.format.components[0].bits
    if bits == 8 and not limited:
        return _to_rgb(reformat, frame, None)
    wanted = "gray" if bits == 8 else f"gray{bits}le"
    if frame.format.name != wanted:
        frame = reformat(frame, format=wanted)
    plane = frame.planes[0]
    if plane.line_size < 0:
        raise ValueError(f"{wanted} samples stored from the bottom up; convert them first")
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    samples = np.ndarray(
        (frame.height, frame.width),
        dtype,
        buffer=memoryview(plane),
        strides=(plane.line_size, dtype.itemsize),
    )
    return np.repeat(_grey_codes(bits, limited)[samples][..., None], 3, axis=2)


@lru_cache(maxsize=8)
def _grey_codes(bits: int, limited: bool) -> NDArray[np.uint8]:
    """(2 ** bits,) 8-bit code of each sample."""
    samples = np.arange(2**bits, dtype=np.float64)
    black, white = (16 << (bits - 8), 235 << (bits - 8)) if limited else (0, 2**bits - 1)
    return np.rint(np.clip((samples - black) / (white - black), 0, 1) * 255).astype(np.uint8)


def _hdr_to_rgb(reformat: Reformat, frame: av.VideoFrame, transfer: str, response: Response) -> Rgb:
    """(H, W, 3) uint8, BT.709 primaries, of a PQ or HLG frame, not rotated.

    Scene light relative to reference white (ITU-R BT.2408: 75 % HLG, 203 cd/m2 PQ); anything
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
    """(65536, 3) code of the light whose square root is k / 65535: fine steps in the shadows."""
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
