"""A video file or a folder of numbered frames -> upright 8-bit RGB frames with their times.

Frames are known before they are decoded: `open_source` reads the container's index and gives every
frame's time, so that windows can be planned and a long video cut into pieces at its keyframes.
Decoding any piece gives the same pixels as decoding the whole. Every property that decides what a
viewer sees (stream, times, crop, pixel aspect, orientation, matrix, range, transfer, fields) is
applied or reported; nothing is silently ignored.
"""

from pathlib import Path

from gopro_tools.errors import InputError
from gopro_tools.image_headers import read_header
from gopro_tools.images import IMAGE_SUFFIXES
from gopro_tools.response import Response
from gopro_tools.video.color import check_response
from gopro_tools.video.container import VIDEO_SUFFIXES
from gopro_tools.video.file import VideoFile
from gopro_tools.video.folder import FrameFolder, frame_files
from gopro_tools.video.source import FrameProblem, FrameSource, Problem, SourceInfo

__all__ = [
    "VIDEO_SUFFIXES",
    "FrameFolder",
    "FrameProblem",
    "FrameSource",
    "Problem",
    "SourceInfo",
    "VideoFile",
    "check_response",
    "frame_files",
    "open_source",
]


def open_source(
    path: Path,
    *,
    fps: float | None = None,
    hdr: Response | None = None,
    stream: int | None = None,
    deinterlace: bool = False,
    decode_threads: int = 1,
    info: SourceInfo | None = None,
) -> FrameSource:
    """Open a video file or a folder of numbered frames.

    Args:
        path: The file or folder.
        fps: Frame rate of a folder, in Hz, which nothing else tells.
        hdr: Convert PQ and HLG video to this response; without it such video is refused.
        stream: Number of the video stream to read, as FFmpeg counts them; by default the one that
            is not a still, is marked as default, and is largest.
        deinterlace: Read interlaced video, one field per frame; without it, such video is refused.
        decode_threads: Threads of the decoder; the frames do not depend on it.
        info: What an earlier opening of the same, unchanged file found, to save reading its index.

    Raises:
        InputError: Not a video, damaged beyond use, HDR without ``hdr``, interlaced without
            ``deinterlace``, a folder without frames or without ``fps``, or something that cannot be
            shown as its file says: the message names it.
    """
    if path.is_dir():
        return FrameFolder(path, fps=fps, info=info)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        _refuse_image(path)
    source = VideoFile(
        path,
        hdr=hdr,
        stream=stream,
        deinterlace=deinterlace,
        decode_threads=decode_threads,
        info=info,
    )
    look = source.info.look
    if look.color.hdr and hdr is None:
        raise InputError(
            f"{path}: {look.color.hdr} video, whose code values are not those of an "
            "ordinary camera response; --hdr converts it to SDR, BT.709."
        )
    if look.interlaced and source.info.codec in ("hevc", "vvc"):
        raise InputError(
            f"{path}: HEVC stores each field as a separate picture, which nothing here puts "
            "together; `ffmpeg -i IN -vf bwdif OUT` makes progressive video of it."
        )
    if look.interlaced and not deinterlace:
        raise InputError(
            f"{path}: interlaced video: each frame holds two moments, in alternate lines. "
            "--deinterlace takes one field of each frame and interpolates its lines."
        )
    return source


def _refuse_image(path: Path) -> None:
    """Refuse images, which FFmpeg takes for videos, such as an animated PNG."""
    try:
        header = read_header(path, path.read_bytes())
    except (InputError, OSError):  # another kind of file, or damaged
        return
    if header.n_images == 1:
        raise InputError(
            f"{path}: a single image; a video or a folder of numbered frames was expected."
        )
    if path.suffix.lower() != ".png":
        raise InputError(
            f"{path}: {header.n_images} pictures in one image file (pages or an animation); a "
            "video or a folder of numbered frames was expected. Save each picture as a separate "
            "file."
        )
