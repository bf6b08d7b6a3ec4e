"""Videos on the page: frames of each method at the same moments, and a short loop of both."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png
from gopro_tools.movies import side_by_side
from gopro_tools.pairing import BLURRED, SHARP, UNSTATED
from gopro_tools.report.animation import LOOP_FRAMES, looped
from gopro_tools.report.content import Collection
from gopro_tools.threads import Progress
from gopro_tools.video import FrameSource, open_source

DEFAULT_FRAMES = 24
"""Frames shown of a video where nobody says how many."""


def read_videos(
    videos: Mapping[str, Path], folder: Path, *, n_frames: int, on_progress: Progress
) -> Collection:
    """Frames of the same video as several methods show it.

    Args:
        videos: Method to file: ``blurred``, the restored ones and, where there is one, ``sharp``.
        folder: Gets the frames that are shown, as PNG.
        n_frames: How many to show, evenly spread.
        on_progress: Called with frames read, and all.

    Raises:
        InputError: A video cannot be read, or differs from the blurred one in its number of frames
            or in its size.
    """
    sources = {method: open_source(path) for method, path in videos.items()}
    blurred = sources[BLURRED].info
    for method, source in sources.items():
        for what, found, expected in (
            ("frames", source.info.n_frames, blurred.n_frames),
            ("height and width", source.info.size_hw, blurred.size_hw),
        ):
            if found != expected:
                raise InputError(
                    f"{videos[method]}: {what} {found}, but {videos[BLURRED]} has {expected}; the "
                    "same video as each method restored it was expected."
                )
    n_all = blurred.n_frames
    shown = sorted(
        set(np.linspace(0, n_all - 1, min(n_frames, n_all)).round().astype(int).tolist())
    )
    start = max(0, (n_all - LOOP_FRAMES) // 2)
    in_loop = range(start, min(n_all, start + LOOP_FRAMES))
    times_s = (blurred.ticks - blurred.ticks[0]) * float(blurred.seconds_per_tick)
    collection = Collection(
        labels={"dataset": videos[BLURRED].name, "split": "", "blur_kind": UNSTATED},
        keys=[f"frame {index:06d}" for index in shown],
        facts={"time_s": [round(float(times_s[index]), 4) for index in shown]},
    )
    loops: dict[str, list[Rgb]] = {}
    for number, (method, source) in enumerate(sources.items()):
        paths, loops[method] = _frames(source, folder / str(number), shown, in_loop, collection)
        collection.paths[method] = paths
        on_progress(number + 1, len(sources))
    restored = next((method for method in loops if method not in (BLURRED, SHARP)), SHARP)
    pairs = zip(loops[BLURRED], loops.get(restored, []), strict=False)
    pictures = [side_by_side(before, after) for before, after in pairs]
    if pictures:
        usual_s = float(np.median(np.diff(times_s))) if n_all > 1 else 1.0
        collection.animation = looped(pictures, ms_per_picture=max(20, round(1000 * usual_s)))
    return collection


def _frames(
    source: FrameSource, folder: Path, shown: list[int], in_loop: range, collection: Collection
) -> tuple[list[Path | None], list[Rgb]]:
    """The files of the frames that are shown, and the frames of the loop."""
    files: dict[int, Path] = {}
    loop: list[Rgb] = []
    wanted = set(shown)
    for index, frame in source.read(
        0, source.info.n_frames, lambda problem: collection.notes.append(problem.text)
    ):
        if index in wanted:
            files[index] = folder / f"{index:06d}.png"
            write_atomic(files[index], encode_png(frame))
        if index in in_loop:
            loop.append(frame)
    return [files.get(index) for index in shown], loop
