"""Rendered clips on disk."""

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import chain, count, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.files import temporary_beside, write_atomic
from gopro_tools.images import Rgb
from gopro_tools.scenes.camera import Float
from gopro_tools.scenes.config import ClipsConfig, SceneConfig
from gopro_tools.scenes.photographs import LeftOut, PhotographChooser
from gopro_tools.scenes.recording import H264, LOSSLESS, write_video
from gopro_tools.scenes.scene import Scene
from gopro_tools.scenes.textures import PHOTOGRAPHS
from gopro_tools.threads import n_cores, prefetched
from gopro_tools.video_output import SAME_EVERY_TIME

_LOSSY = replace(H264, options={**H264.options, **SAME_EVERY_TIME})


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip that was written."""

    path: Path
    scene: SceneConfig
    """Config that renders the same frames again."""
    speed_px: tuple[float, ...]
    """Median shift from frame to frame, of the background and of each object, in pixels."""


def render_clips(
    config: ClipsConfig, on_frame: Callable[[], None] = lambda: None
) -> tuple[list[Clip], list[LeftOut]]:
    """Render clips and, beside each, a JSON file of the same name with what is known of it.

    Args:
        config: Which clips.
        on_frame: Called after each frame.

    Returns:
        The clips, and the photographs that were left out.

    Raises:
        InputError: No photograph can be used.
    """
    photographs, left_out = _photographs(config)
    clips: list[Clip] = []
    for index in range(config.clips):
        photograph = photographs[index % len(photographs)]
        name = _new_name(f"handheld_{Path(photograph).stem}", {clip.path.stem for clip in clips})
        others = tuple(other for other in photographs if other != photograph)
        seeds = np.random.SeedSequence([config.seed, index])
        scene_config = SceneConfig(
            seed=int(seeds.generate_state(1)[0]),
            size_hw=config.size_hw,
            photograph=photograph,
            object_photographs=others or (photograph,),
            n_objects=config.n_objects,
            shake_px_s=config.shake_px_s,
            object_speed_px_s=config.object_speed_px_s,
        )
        clips.append(_write_clip(config, scene_config, name, on_frame))
    return clips, left_out


def _new_name(name: str, taken: set[str]) -> str:
    numbered = (f"{name}_{number}" for number in count(2))
    return next(candidate for candidate in chain([name], numbered) if candidate not in taken)


def _photographs(config: ClipsConfig) -> tuple[list[str], list[LeftOut]]:
    """As many usable photographs as the clips need, and those that were left out on the way."""
    if config.photographs is None:
        return list(PHOTOGRAPHS), []
    folder = str(config.photographs)
    if not config.photographs.is_dir():
        raise InputError(f"{folder}: a folder of photographs was expected; there is none.")
    chooser = PhotographChooser()
    n_needed = max(config.clips, config.n_objects + 1)
    usable = list(islice(chooser.choose([folder]), n_needed))
    if not usable:
        reasons = "; ".join(map(str, chooser.left_out)) or "there are no images in it"
        raise InputError(f"{folder}: a folder of photographs was expected; {reasons}")
    return usable, chooser.left_out


def _write_clip(
    config: ClipsConfig, scene_config: SceneConfig, name: str, on_frame: Callable[[], None]
) -> Clip:
    scene = Scene(scene_config)
    path = config.out / f"{name}.mp4"

    def frames() -> Iterator[Rgb]:
        times_s = (index / config.rate_hz for index in range(config.n_frames))
        # Encoding takes as long as rendering: each has a core of its own.
        with closing(prefetched(scene.frame, times_s, n_threads=n_cores())) as rendered:
            for frame in rendered:
                yield frame
                on_frame()

    encoding = LOSSLESS if config.lossless else _LOSSY
    write_video(path, frames(), config.rate_hz, encoding)
    times_s = [index / config.rate_hz for index in range(config.n_frames + 1)]
    homographies = np.stack([scene.homographies(time_s) for time_s in times_s])
    speed_px = _speed_px(homographies, scene_config.size_hw)
    if config.motion_truth:
        masks = (scene.object_mask(time_s) for time_s in times_s[:-1])
        _write_motion(path.with_suffix(".motion.npz"), homographies[:-1], masks)
    record = {
        "scene": asdict(scene_config),
        "objects_cut_from": scene.object_photographs,
        "rate_hz": config.rate_hz,
        "n_frames": config.n_frames,
        "background_px_per_frame": speed_px[0],
        "objects_px_per_frame": speed_px[1:],
    }
    text = json.dumps(record, indent=2, default=lambda value: Path(value).as_posix())
    write_atomic(path.with_suffix(".json"), text + "\n")
    return Clip(path=path, scene=scene_config, speed_px=speed_px)


def _speed_px(homographies: Float, size_hw: tuple[int, int]) -> tuple[float, ...]:
    """Median over time of how far each plane's image moves in a frame."""
    height, width = size_hw
    y, x = (points.ravel() for points in np.mgrid[0 : height - 1 : 5j, 0 : width - 1 : 5j])
    speeds = []
    for index in range(homographies.shape[1]):
        here, there = homographies[:-1, index], homographies[1:, index]
        if index == 0:
            start = np.broadcast_to([x, y, np.ones_like(x)], (len(here), 3, x.size))
            stop = there @ np.linalg.inv(here) @ start
        else:  # the middle of the object
            start, stop = here[..., 2:], there[..., 2:]
        shift = stop[:, :2] / stop[:, 2:] - start[:, :2] / start[:, 2:]
        speeds.append(float(np.median(np.hypot(shift[:, 0], shift[:, 1]).mean(axis=1))))
    return tuple(speeds)


def _write_motion(path: Path, homographies: Float, masks: Iterable[NDArray[np.uint8]]) -> None:
    """What `numpy.savez_compressed` would write, without all the masks in memory."""
    temporary = temporary_beside(path)
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            arrays = chain(
                [("homographies", homographies)],
                ((f"object_ids_{index:06d}", mask) for index, mask in enumerate(masks)),
            )
            for name, array in arrays:
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, np.ascontiguousarray(array))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
