"""Rendered scenes with known motion: material for demonstrations, tests and training.

A scene is a photograph seen by a shaking hand-held camera, with objects that move on their own in
front. It is rendered in linear light at any instant, so that any frame rate, the motion of each
pixel and the exposure that a real shutter would have recorded are all at hand::

    scene = Scene(SceneConfig(seed=1, photograph="motorcycle"))
    write_video(Path("clip.mp4"), render_frames(scene, rate_hz=240, n_frames=120), rate_hz=240)
    blurred = scene.encode(scene.exposure(0.0, 11 / 240))

``python -m gopro_tools.scenes --out DIR`` writes such clips.
"""

from typing import TYPE_CHECKING

from gopro_tools.verbs import lazy_package

if TYPE_CHECKING:
    from gopro_tools.scenes.clips import Clip, render_clips
    from gopro_tools.scenes.config import ClipsConfig, SceneConfig
    from gopro_tools.scenes.recording import H264, LOSSLESS, Encoding, write_frames, write_video
    from gopro_tools.scenes.scene import Scene, render_frames
    from gopro_tools.scenes.textures import PHOTOGRAPHS

__all__ = [
    "H264",
    "LOSSLESS",
    "PHOTOGRAPHS",
    "Clip",
    "ClipsConfig",
    "Encoding",
    "Scene",
    "SceneConfig",
    "main",
    "render_clips",
    "render_frames",
    "write_frames",
    "write_video",
]


def main() -> None:
    """The command line."""
    from gopro_tools.console import run_command
    from gopro_tools.scenes.command import command

    run_command(command)


lazy_package(
    __name__,
    H264="gopro_tools.scenes.recording",
    LOSSLESS="gopro_tools.scenes.recording",
    PHOTOGRAPHS="gopro_tools.scenes.textures",
    Clip="gopro_tools.scenes.clips",
    ClipsConfig="gopro_tools.scenes.config",
    Encoding="gopro_tools.scenes.recording",
    Scene="gopro_tools.scenes.scene",
    SceneConfig="gopro_tools.scenes.config",
    render_clips="gopro_tools.scenes.clips",
    render_frames="gopro_tools.scenes.scene",
    write_frames="gopro_tools.scenes.recording",
    write_video="gopro_tools.scenes.recording",
)
