"""A video in, a deblurred video out: the source's times and sound kept."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.response import Response
from gopro_tools.restorers import Restorer, restored_by
from gopro_tools.threads import Progress, no_progress
from gopro_tools.video import FrameProblem, open_source
from gopro_tools.video_output import VideoWriter

Compare: TypeAlias = Callable[[Rgb, Rgb], Rgb]
"""Puts a blurred and a restored frame side by side, always at the same size."""


@dataclass(kw_only=True)
class MovieResult:
    """Result of `deblur_video`."""

    n_frames: int = 0
    """Frames written."""
    problems: list[str] = field(default_factory=list)
    """Frames of the source that could not be read, and so are missing."""
    silent_because: str = ""
    """Why the sound was left out; empty where it was not."""


def deblur_video(
    restorer: Restorer,
    source: Path,
    out: Path,
    *,
    lossless: bool = False,
    compare: tuple[Path, Compare] | None = None,
    hdr: bool = False,
    on_progress: Progress = no_progress,
) -> MovieResult:
    """Restore every frame of a video on its own.

    Args:
        restorer: What restores.
        source: A video file.
        out: Where the result goes: H.264, or FFV1 where ``lossless``.
        lossless: Keep every restored value; files are about ten times as large.
        compare: Write blurred beside restored to this path too.
        hdr: Convert PQ and HLG video to SDR; without it such video is refused.
        on_progress: Called with frames done, and all.

    Raises:
        InputError: The source cannot be read, no frame of it can, or the result not be written.
    """
    video = open_source(source, hdr=Response.named("gamma2.2") if hdr else None)
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
                    lossless=lossless,
                    sound_from=source,
                )
            )

        def note(problem: FrameProblem) -> None:
            if problem.text:
                result.problems.append(problem.text)

        main = writer(out, info.size_hw)
        beside: VideoWriter | None = None
        for index, frame in video.read(0, info.n_frames, note):
            restored = restored_by(restorer, frame)
            main.write(restored, int(info.ticks[index]))
            if compare is not None:
                picture = compare[1](frame, restored)
                beside = beside or writer(compare[0], picture.shape)
                beside.write(picture, int(info.ticks[index]))
            result.n_frames += 1
            on_progress(index + 1, info.n_frames)
        if not result.n_frames:
            raise InputError(f"{source}: no frame can be read: {'; '.join(result.problems[:1])}")
        result.silent_because = main.silent_because
    return result
