"""Videos for tests, made by FFmpeg and by patching boxes; and what FFmpeg shows of them."""

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from gopro_tools.images import Rgb
from gopro_tools.scenes import Encoding, write_video

OPEN_GOP = Encoding(
    gop_size=20,
    options={"preset": "veryfast", "x264-params": "open-gop=1:bframes=3:b-pyramid=2:scenecut=0"},
)
INTRA_REFRESH = Encoding(
    gop_size=20, options={"preset": "veryfast", "x264-params": "intra-refresh=1:scenecut=0"}
)


def moving(n_frames: int, size_hw: tuple[int, int] = (48, 64), seed: int = 0) -> list[Rgb]:
    """Frames that all differ, with texture that tells one from the next and up from down."""
    rng = np.random.default_rng(seed)
    texture = np.kron(rng.integers(0, 256, (40, 60, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    height, width = size_hw
    return [np.roll(texture, (2 * i, 3 * i), axis=(0, 1))[:height, :width] for i in range(n_frames)]


def ffmpeg(*arguments: object) -> bytes:
    """Run FFmpeg's program and return what it writes to stdout."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def shown_by_ffmpeg(path: Path, size_hw: tuple[int, int]) -> np.ndarray:
    """The same video through FFmpeg's own program, turned and cropped as it does."""
    raw = ffmpeg("-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, *size_hw, 3)


def with_tags(path: Path, out: Path, **tags: object) -> Path:
    """Copy H.264 or HEVC with other tags in its bitstream (FFmpeg's metadata filters)."""
    codec = "hevc" if b"hvc1" in path.read_bytes() or b"hev1" in path.read_bytes() else "h264"
    values = ":".join(f"{name}={value}" for name, value in tags.items())
    ffmpeg("-i", path, "-c", "copy", "-bsf:v", f"{codec}_metadata={values}", out)
    return out


def with_matrix(path: Path, matrix: Sequence[float]) -> Path:
    """Write a display matrix (a, b, c, d) into the track header of an MP4 file."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (round(value * 65536) for value in matrix)
    last = 1 << 30 if any(matrix) else 0
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, last)
    path.write_bytes(data)
    return path


def with_edits(path: Path, pieces: Sequence[tuple[int, int]]) -> Path:
    """Write an edit list into an MP4 file: length (ms) and beginning (the track's ticks) of each.

    The sizes of the boxes around it follow; the index comes last in the file.
    """
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") - 4
    old = struct.unpack_from(">I", data, at)[0]
    box = struct.pack(">I4sII", 16 + 12 * len(pieces), b"elst", 0, len(pieces))
    box += b"".join(struct.pack(">Iihh", length, begin, 1, 0) for length, begin in pieces)
    data[at : at + old] = box
    for name in (b"edts", b"trak", b"moov"):
        parent = data.rindex(name, 0, at + 4) - 4
        size = struct.unpack_from(">I", data, parent)[0]
        struct.pack_into(">I", data, parent, size + len(box) - old)
    path.write_bytes(data)
    return path


def with_box(path: Path, entry: bytes, kind: bytes, content: bytes) -> Path:
    """Append a box to the sample entry (``avc1``, ``hvc1``) of an MP4 whose moov comes last."""
    data = bytearray(path.read_bytes())
    parents = []
    position, end = 0, len(data)
    names = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", entry]
    while names:
        size, name = struct.unpack_from(">I4s", data, position)
        if name != names[0]:
            position += size
            assert position < end, f"no {names[0]!r}"
            continue
        parents.append(position)
        end = position + size
        position += 16 if names.pop(0) == b"stsd" else 8
    box = struct.pack(">I4s", 8 + len(content), kind) + content
    for parent in parents:
        size = struct.unpack_from(">I", data, parent)[0]
        struct.pack_into(">I", data, parent, size + len(box))
    data[end:end] = box
    path.write_bytes(data)
    return path


def joined(paths: Sequence[Path], out: Path) -> Path:
    """Streams one after the other as one track, each with its own parameters in it."""
    streams = [out.with_name(f"part{i}.ts") for i in range(len(paths))]
    for path, stream in zip(paths, streams, strict=True):
        ffmpeg("-i", path, "-c", "copy", stream)
    listing = out.with_suffix(".txt")
    listing.write_text("".join(f"file '{stream}'\n" for stream in streams))
    ffmpeg("-f", "concat", "-safe", "0", "-i", listing, "-c", "copy", out)
    return out


def written(path: Path, n_frames: int = 44, rate_hz: float = 240, **encoding: object) -> Path:
    """A small H.264 video."""
    write_video(path, moving(n_frames), rate_hz, Encoding(**encoding))  # type: ignore[arg-type]
    return path


_D50_PRIMARIES = {
    "srgb": ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)),
    "p3": ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)),
}


def icc_profile(gamma: float, primaries: str = "srgb") -> bytes:
    """An ICC profile (version 2) of one gamma, as editors write: no program at hand makes any."""

    def xyz(values: Sequence[float]) -> bytes:
        numbers = (round(value * 65536) for value in values)
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *numbers)

    name = f"{primaries}, gamma {gamma:g}".encode()
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(79)
    red, green, blue = map(xyz, _D50_PRIMARIES[primaries])
    bodies = {
        b"desc": description + bytes(-len(description) % 4),
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        **{b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue},
        **{b"rTRC": curve, b"gTRC": curve, b"bTRC": curve},
    }
    start = 128 + 4 + 12 * len(bodies)
    table, content = struct.pack(">I", len(bodies)), b""
    for tag, body in bodies.items():
        table += struct.pack(">4sII", tag, start + len(content), len(body))
        content += body
    size = start + len(content)
    header = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    white = struct.pack(">3i", 63190, 65536, 54061)
    header = header.ljust(36, b"\0") + b"acsp" + bytes(28) + white
    return header.ljust(128, b"\0") + table + content
