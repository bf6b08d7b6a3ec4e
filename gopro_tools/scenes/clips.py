"""Rendered clips on disk, and ``python -m gopro_tools.scenes``."""

import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from tyro.constructors import PrimitiveConstructorSpec

from gopro_tools.console import EXIT_FINDINGS, progress_bar, run_command, stderr
from gopro_tools.errors import InputError
from gopro_tools.files import claimed, temporary_beside, write_atomic
from gopro_tools.images import Rgb
from gopro_tools.scenes.camera import Float
from gopro_tools.scenes.photographs import LeftOut, PhotographChooser
from gopro_tools.scenes.recording import H264, LOSSLESS, write_video
from gopro_tools.scenes.scene import Scene, SceneConfig, render_frames
from gopro_tools.scenes.textures import PHOTOGRAPHS


def _size_from_text(values: list[str]) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", values[0])
    if match is None:
        raise ValueError(f"height x width, such as 540x960, was expected, found {values[0]}")
    return int(match[1]), int(match[2])


_SIZE = PrimitiveConstructorSpec(
    nargs=1,
    metavar="HxW",
    instance_from_str=_size_from_text,
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda size: ["x".join(map(str, size))],
)


@dataclass(frozen=True, kw_only=True)
class ClipsConfig:
    """Which clips to render."""

    out: Path
    """Folder the clips go to; a clip of the same name is replaced."""
    clips: int = 2
    """How many, each of another photograph while they last."""
    seconds: float = 0.5
    """Length of a clip."""
    rate_hz: Annotated[float, tyro.conf.arg(aliases=["--rate"])] = 240.0
    """Frames per second."""
    size_hw: Annotated[tuple[int, int], _SIZE, tyro.conf.arg(aliases=["--size"])] = (540, 960)
    """Height and width, even."""
    seed: int = 0
    """Another seed gives other clips of the same photographs."""
    photographs: Path | None = None
    """Folder of photographs to render, searched to any depth, the largest files first; flat ones
    and look-alikes are left out. By default those that come with scikit-image. Keep what is for
    training and what is for testing in folders of their own."""
    n_objects: int = SceneConfig.n_objects
    """Objects that move on their own in front."""
    shake_px_s: float = SceneConfig.shake_px_s
    """RMS speed of the background in the image."""
    object_speed_px_s: float = SceneConfig.object_speed_px_s
    """RMS speed of each object relative to the background."""
    lossless: bool = False
    """H.264 in 8-bit RGB that decodes to the rendered values, instead of what cameras write."""
    motion_truth: bool = False
    """Also write NAME.motion.npz: ``homographies`` (frames, 1 + objects, 3, 3), from the plane of
    the background and of each object to the image, and ``object_ids_000000`` etc., (H, W), which of
    them each pixel of a frame shows."""

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise InputError(f"{self.clips} clips: at least one was expected.")
        if not (self.rate_hz > 0 and self.n_frames >= 1):
            raise InputError(
                f"{self.seconds:g} s at {self.rate_hz:g} Hz: at least one frame was expected."
            )
        if any(side % 2 for side in self.size_hw) and not self.lossless:
            height, width = self.size_hw
            raise InputError(
                f"size {height}x{width}: video with 4:2:0 chroma needs even sides; choose even "
                "ones, or --lossless."
            )

    @property
    def n_frames(self) -> int:
        """Frames of each clip."""
        return round(self.seconds * self.rate_hz)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip that was written."""

    path: Path
    scene: SceneConfig
    """Renders the same frames again."""
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
        for frame in render_frames(scene, config.rate_hz, config.n_frames):
            yield frame
            on_frame()

    write_video(path, frames(), config.rate_hz, LOSSLESS if config.lossless else H264)
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


def command(config: Annotated[ClipsConfig, tyro.conf.arg(name="")]) -> int:
    """Render short clips: a photograph before a shaking camera, objects moving in front.

    Writes OUT/handheld_NAME.mp4 and, beside each, a JSON file with what is known of it. Prints the
    clips' paths.
    """
    with claimed(config.out), progress_bar("frames") as bar:
        task = bar.add_task("Rendering", total=config.clips * config.n_frames, rate="")
        clips, left_out = render_clips(config, on_frame=lambda: bar.advance(task))
    height, width = config.size_hw
    for clip in clips:
        background, *objects = (f"{speed:.2f}" for speed in clip.speed_px)
        moving = f", objects by {', '.join(objects)}" if objects else ""
        stderr.print(
            f"{clip.path}: {config.n_frames} frames of {width}x{height} at {config.rate_hz:g} Hz; "
            f"from frame to frame the background moves by {background} px{moving}"
        )
        sys.stdout.write(f"{clip.path}\n")
    for reason in left_out:
        stderr.print(f"left out: {reason}", style="yellow")
    return EXIT_FINDINGS if any(reason.failed for reason in left_out) else 0


def main() -> None:
    """The command line."""
    run_command(command)
