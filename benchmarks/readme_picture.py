"""The picture at the top of the README: ``python -m benchmarks.readme_picture``.

A rendered scene (scikit-image's photograph of an astronaut, by NASA, in the public domain), filmed
at 240 frames per second: the mean of 11 frames, what the network of the package makes of it, and
the middle frame. The crop is shown at two screen pixels per pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro

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
_CAPTION_PX = 30


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
        (blurred, "mean of 11 frames: blurred"),
        (restored, f"deblurred ({gain_db:+.1f} dB)"),
        (sharp, "middle frame: the truth"),
    ]
    return _side_by_side(panels, config.crop_hw), gain_db


def _side_by_side(panels: Sequence[tuple[Rgb, str]], crop_hw: tuple[int, int]) -> Rgb:
    shown = []
    for image, caption in panels:
        top, left = ((image.shape[axis] - crop_hw[axis]) // 2 for axis in (0, 1))
        crop = image[top : top + crop_hw[0], left : left + crop_hw[1]]
        size = (_ZOOM * crop_hw[1], _ZOOM * crop_hw[0])
        enlarged = cv2.resize(crop, size, interpolation=cv2.INTER_NEAREST)
        head = np.full((_CAPTION_PX, size[0], 3), 255, np.uint8)
        cv2.putText(
            head, caption, (4, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (30,) * 3, 1, cv2.LINE_AA
        )
        shown.append(
            np.pad(np.vstack([head, enlarged]), ((0, 0), (3, 3), (0, 0)), constant_values=255)
        )
    return np.hstack(shown).astype(np.uint8)


def command(config: Annotated[PictureConfig, tyro.conf.arg(name="")]) -> int:
    """Make the picture at the top of the README."""
    picture, gain_db = readme_picture(config)
    data = encode_jpeg(picture, 90)
    write_atomic(config.out, data)
    stderr.print(f"{config.out}: {len(data) / 1000:.0f} kB, {gain_db:+.2f} dB")
    return 0


if __name__ == "__main__":
    run_command(command)
