"""The picture at the top of the README: ``python -m benchmarks.readme_picture``.

A rendered scene (scikit-image's photograph of an astronaut, by NASA, in the public domain), filmed
at 240 frames per second: the mean of 11 frames, what the network of the package makes of it, and
the middle frame. The crop is shown at two screen pixels per pixel.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from baselines.pictures import sheet
from gopro_tools.averaging import average_exposure
from gopro_tools.console import run_command, stderr
from gopro_tools.deblur import OnnxRestorer, shipped_network
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_jpeg
from gopro_tools.metrics import psnr_rgb
from gopro_tools.response import Response
from gopro_tools.scenes import Scene, SceneConfig

_RATE_HZ = 240.0
_N_FRAMES = 11
_ZOOM = 2


@dataclass(frozen=True, kw_only=True)
class PictureConfig:
    """What is rendered and shown."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("results/readme.jpg")
    """File to write, JPEG."""
    size_hw: tuple[int, int] = (180, 320)
    """Size of the rendered frames."""
    crop_hw: tuple[int, int] = (150, 190)
    """Size of the part that is shown, from the middle."""
    shake_px_s: float = 130.0
    """RMS speed of the camera in the image."""
    seed: int = 5
    """Of the scene and its motion."""


def readme_picture(config: PictureConfig) -> tuple[Rgb, float]:
    """Render, blur, deblur, and set the three side by side.

    Returns:
        The picture, (H, W, 3) uint8, and the gain in PSNR over the blurred image, dB.

    Raises:
        InputError: No network ships with this version.
    """
    scene = Scene(
        SceneConfig(
            seed=config.seed,
            size_hw=config.size_hw,
            photograph="astronaut",
            object_photographs=("astronaut",),
            n_objects=1,
            shake_px_s=config.shake_px_s,
        )
    )
    frames = [scene.frame(index / _RATE_HZ) for index in range(_N_FRAMES)]
    blurred = average_exposure(frames, Response.named("gamma2.2")).blur_gamma
    sharp = frames[_N_FRAMES // 2]
    restored = OnnxRestorer(shipped_network()).restore(blurred)
    gain_db = psnr_rgb(sharp, restored) - psnr_rgb(sharp, blurred)
    panels = [
        ("mean of 11 frames: blurred", _enlarged(blurred, config.crop_hw)),
        (f"deblurred ({gain_db:+.1f} dB)", _enlarged(restored, config.crop_hw)),
        ("middle frame: the truth", _enlarged(sharp, config.crop_hw)),
    ]
    return sheet(panels, n_columns=3), gain_db


def _enlarged(image: Rgb, crop_hw: tuple[int, int]) -> Rgb:
    """The middle of an image, at two screen pixels per pixel."""
    top, left = ((image.shape[axis] - crop_hw[axis]) // 2 for axis in (0, 1))
    crop = image[top : top + crop_hw[0], left : left + crop_hw[1]]
    return crop.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)


def command(config: Annotated[PictureConfig, tyro.conf.arg(name="")]) -> int:
    """Make the picture at the top of the README."""
    picture, gain_db = readme_picture(config)
    data = encode_jpeg(picture, 90)
    write_atomic(config.out, data)
    stderr.print(f"{config.out}: {len(data) / 1000:.0f} kB, {gain_db:+.2f} dB")
    return 0


if __name__ == "__main__":
    run_command(command)
