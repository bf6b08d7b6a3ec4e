"""Videos on the page: frames of each method at the same moments, a short loop, scores over time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean

import numpy as np

from gopro_tools.animation import LOOP_FRAMES, looped
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png
from gopro_tools.metrics import METRICS, psnr_rgb
from gopro_tools.movies import side_by_side
from gopro_tools.report.content import Cell, Collection, Heading, Series, Table, Timeline
from gopro_tools.sources import BLURRED, SHARP, UNSTATED
from gopro_tools.threads import Progress
from gopro_tools.video import FrameSource, open_source

DEFAULT_FRAMES = 24
"""Frames shown of a video by default."""
_METRIC = "psnr_rgb"


def read_videos(
    videos: Mapping[str, Path], folder: Path, *, n_frames: int, on_progress: Progress
) -> tuple[Collection, Table | None]:
    """Frames of the same video from several methods, and how well each restored them.

    Args:
        videos: Method to file: ``blurred``, the restored ones and, where there is one, ``sharp``.
        folder: Gets the frames that are shown, as PNG.
        n_frames: How many to show, evenly spread.
        on_progress: Called with the number of frames read and in total.

    Returns:
        The frames, and a table of the mean over all frames where there is a sharp video.

    Raises:
        InputError: A video cannot be read, or differs from the blurred one in its number of frames
            or in its size.
    """
    sources = {method: open_source(path) for method, path in videos.items()}
    _check_alike(videos, sources)
    info = sources[BLURRED].info
    n_all = info.n_frames
    places = np.linspace(0, n_all - 1, min(n_frames, n_all)).round().astype(int)
    shown = sorted(set(places.tolist()))
    times_s = [
        round(float(tick) * float(info.seconds_per_tick), 4) for tick in info.ticks - info.ticks[0]
    ]
    collection = Collection(
        labels={"dataset": videos[BLURRED].name, "split": "", "blur_kind": UNSTATED},
        keys=[f"frame {index:06d}" for index in shown],
        facts={"time_s": [times_s[index] for index in shown]},
        paths={method: [None] * len(shown) for method in videos},
    )
    methods = [method for method in videos if method != SHARP]
    restored = next((method for method in methods if method != BLURRED), SHARP)
    scores: dict[str, Series] = {method: [None] * n_all for method in methods}
    start = max(0, (n_all - LOOP_FRAMES) // 2)
    loop: list[Rgb] = []
    for index, frames in _together(sources, collection.notes):
        if SHARP in frames:
            for method in methods:
                if method in frames:
                    scores[method][index] = psnr_rgb(frames[SHARP], frames[method])
        if index in shown:
            for number, method in enumerate(videos):
                if method in frames:
                    path = folder / str(number) / f"{index:06d}.png"
                    write_atomic(path, encode_png(frames[method]))
                    collection.paths[method][shown.index(index)] = path
        if start <= index < start + LOOP_FRAMES and {BLURRED, restored} <= frames.keys():
            loop.append(side_by_side(frames[BLURRED], frames[restored]))
        on_progress(index + 1, n_all)
    if loop:
        usual_s = float(np.median(np.diff(times_s))) if n_all > 1 else 1.0
        collection.animation = looped(loop, ms_per_picture=max(20, round(1000 * usual_s)))
    if SHARP not in videos:
        return collection, None
    collection.scores[_METRIC] = {
        method: [series[index] for index in shown] for method, series in scores.items()
    }
    collection.timeline = Timeline(times_s=times_s, metric=_METRIC, by_method=scores)
    return collection, _table(collection.title, scores)


def _check_alike(videos: Mapping[str, Path], sources: Mapping[str, FrameSource]) -> None:
    blurred = sources[BLURRED].info
    for method, source in sources.items():
        for what, found, expected in (
            ("frames", source.info.n_frames, blurred.n_frames),
            ("height and width", source.info.size_hw, blurred.size_hw),
        ):
            if found != expected:
                raise InputError(
                    f"{videos[method]}: {what} {found}, but {videos[BLURRED]} has {expected}; the "
                    "same video, restored by each method, was expected."
                )


def _together(
    sources: Mapping[str, FrameSource], notes: list[str]
) -> Iterator[tuple[int, dict[str, Rgb]]]:
    """Number of each frame, and that frame of every video in which it can be read."""
    n_all = sources[BLURRED].info.n_frames
    streams = {
        method: source.read(0, n_all, lambda problem: notes.append(problem.text))
        for method, source in sources.items()
    }
    heads = {method: next(stream, None) for method, stream in streams.items()}
    for index in range(n_all):
        frames = {method: head[1] for method, head in heads.items() if head and head[0] == index}
        yield index, frames
        for method in frames:
            heads[method] = next(streams[method], None)


def _table(title: str, scores: Mapping[str, Series]) -> Table | None:
    """Mean over the frames that every video has; the best of several methods is bold."""
    complete = [
        values
        for values in zip(*scores.values(), strict=True)
        if all(v is not None for v in values)
    ]
    if not complete:
        return None
    means = {
        method: mean(float(value or 0) for value in series)
        for method, series in zip(scores, zip(*complete, strict=True), strict=True)
    }
    restored = [value for method, value in means.items() if method != BLURRED]
    best = max(restored) if len(restored) > 1 else None
    metric = METRICS[_METRIC]
    return Table(
        title=f"{title}: mean over {len(complete)} frames."
        + (" Best restored value bold." if best is not None else ""),
        headings=[Heading(lines=["PSNR (dB) ↑", _METRIC], higher_is_better=True)],
        rows=[
            (
                method,
                [
                    Cell(
                        value=value,
                        text=f"{value:.{metric.digits}f}",
                        best=method != BLURRED and value == best,
                        note=f"{value!r}; mean over {len(complete)} frames",
                    )
                ],
            )
            for method, value in means.items()
        ],
    )
