"""A video in, a restored video out: the source's times and sound kept."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from gopro_tools.errors import InputError
from gopro_tools.faults import system_message
from gopro_tools.files import FreeNames, natural_key
from gopro_tools.images import Rgb
from gopro_tools.movie_config import MovieConfig
from gopro_tools.response import Response
from gopro_tools.restorers import Restorer, is_dataset, restored_by
from gopro_tools.threads import Progress, no_progress
from gopro_tools.video import VIDEO_SUFFIXES, FrameProblem, FrameSource, open_source
from gopro_tools.video_output import LOSSLESS_SUFFIX, VideoWriter

COMPARE = "_compare"
"""Ends the name of a picture or clip that shows blurred beside restored."""
_LABEL_PX = 28


@dataclass(kw_only=True)
class MovieResult:
    """Result of `restore_video`."""

    n_frames: int = 0
    """Frames written."""
    problems: list[str] = field(default_factory=list)
    """Frames of the source that could not be read, and so are missing."""
    silent_because: str = ""
    """Why the sound was left out; empty where it was not."""


def open_movie(path: Path, config: MovieConfig) -> FrameSource:
    """The frames of a source, read as asked for.

    Raises:
        InputError: As `open_source`; or nobody may read the file, which is no reason to leave the
            other sources undone.
    """
    hdr = Response.named("gamma2.2") if config.hdr else None
    try:
        return open_source(path, hdr=hdr, deinterlace=config.deinterlace)
    except OSError as error:
        raise InputError(system_message(error)) from error


def restore_video(
    restorer: Restorer,
    source: Path,
    out: Path,
    config: MovieConfig | None = None,
    *,
    on_progress: Progress = no_progress,
) -> MovieResult:
    """Restore every frame of a video on its own.

    Args:
        restorer: What restores.
        source: A video file.
        out: Where the result goes; its suffix as `take_movie_name` says. The side-by-side clip
            goes to `beside` it.
        config: How to read and write.
        on_progress: Called with the number of frames done and in total.

    Raises:
        InputError: The source, or any frame of it, cannot be read, or the result cannot be written.
    """
    config = config or MovieConfig()
    video = open_movie(source, config)
    info, result = video.info, MovieResult()
    usual_ticks = int(np.median(np.diff(info.ticks))) if info.n_frames > 1 else 1
    with ExitStack() as writers:

        def writer(path: Path, size_hw: Sequence[int]) -> VideoWriter:
            return writers.enter_context(
                VideoWriter(
                    path,
                    size_hw=(size_hw[0], size_hw[1]),
                    seconds_per_tick=info.seconds_per_tick,
                    frame_ticks=usual_ticks,
                    lossless=config.lossless,
                    sound_from=source,
                )
            )

        def note(problem: FrameProblem) -> None:
            if problem.text:
                result.problems.append(problem.text)

        main = writer(out, info.size_hw)
        comparing: VideoWriter | None = None
        for index, frame in video.read(0, info.n_frames, note):
            restored = restored_by(restorer, frame)
            main.write(restored, int(info.ticks[index]))
            if config.compare:
                picture = side_by_side(frame, restored)
                comparing = comparing or writer(beside(out), picture.shape)
                comparing.write(picture, int(info.ticks[index]))
            result.n_frames += 1
            on_progress(index + 1, info.n_frames)
        if not result.n_frames:
            raise InputError(f"{source}: no frame can be read: {'; '.join(result.problems[:1])}")
        result.silent_because = main.silent_because
    return result


def find_videos(source: Path, config: MovieConfig) -> list[tuple[Path, Path]]:
    """Video files to restore: the source itself, or those of a folder that is not a dataset.

    Returns:
        Each file, and what its result is called inside the output folder, in natural order. Names
        differ in more than the case of letters.
    """
    if source.is_file():
        inside = [Path(source.name)] if source.suffix.lower() in VIDEO_SUFFIXES else []
        source = source.parent
    elif source.is_dir() and not is_dataset(source):
        inside = _videos_in(source)
    else:
        inside = []
    names = FreeNames()
    return [(source / path, take_movie_name(names, path, config)) for path in inside]


def _videos_in(folder: Path) -> list[Path]:
    inside = [
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and path.name[0] != "."
    ]
    return sorted(inside, key=lambda path: natural_key(str(path)))


def take_movie_name(names: FreeNames, relative: Path, config: MovieConfig) -> Path:
    """A free name for the result of a video: MP4, or Matroska where lossless."""
    suffix = LOSSLESS_SUFFIX if config.lossless else ".mp4"
    with_both = relative.with_name(f"{relative.name}{suffix}")  # a.mov beside a.mp4

    def files(path: Path) -> list[Path]:
        return [path, beside(path)] if config.compare else [path]

    return names.take(relative.with_suffix(suffix), with_both, files=files)


def beside(path: Path, suffix: str | None = None) -> Path:
    """Where the comparison that belongs to a result goes."""
    return path.with_name(f"{path.stem}{COMPARE}{suffix or path.suffix}")


def side_by_side(blurred: Rgb, restored: Rgb) -> Rgb:
    """Both images under a line that names them: (28 + H, 2 W, 3) uint8, both made even."""
    height, width = blurred.shape[:2]
    head = np.full((_LABEL_PX, 2 * width, 3), 32, np.uint8)
    for left, text in ((0, "blurred"), (width, "restored")):
        cv2.putText(
            head, text, (left + 8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (235,) * 3, 1, cv2.LINE_AA
        )
    picture = np.vstack([head, np.hstack([blurred, restored])])
    return np.pad(picture, ((0, height % 2), (0, 0), (0, 0)), mode="edge").astype(np.uint8)
