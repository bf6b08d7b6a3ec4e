"""The picture at the top of the README: ``python -m benchmarks.readme_picture``.

A rendered scene (scikit-image's photograph of an astronaut, by NASA, in the public domain), filmed
at 240 frames per second: the mean of 11 frames, what the network of the package makes of it, and
the middle frame. The crop is shown at two screen pixels per pixel.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gopro_tools.console import run_command, stderr
from gopro_tools.files import write_atomic
from gopro_tools.scenes import SceneConfig

if TYPE_CHECKING:
    from gopro_tools.images import Rgb

_RATE_HZ = 240.0
_N_FRAMES = 11
_ZOOM = 2
_CROP = (slice(15, 165), slice(65, 255))
"""Rows and columns that are shown: the middle."""
_SCENE = SceneConfig(
    seed=5,
    size_hw=(180, 320),
    photograph="astronaut",
    object_photographs=("astronaut",),
    n_objects=1,
    shake_px_s=130.0,
)


def readme_picture() -> "tuple[Rgb, float]":
    """Render, blur, deblur, and set the three side by side.

    Returns:
        The picture, (H, W, 3) uint8, and the gain in PSNR over the blurred image, dB.

    Raises:
        InputError: No network ships with this version.
    """
    from benchmarks.pictures import sheet
    from gopro_tools.averaging import average_exposure
    from gopro_tools.deblur import OnnxRestorer, shipped_network
    from gopro_tools.metrics import psnr_rgb
    from gopro_tools.response import Response
    from gopro_tools.scenes import Scene

    scene = Scene(_SCENE)
    frames = [scene.frame(index / _RATE_HZ) for index in range(_N_FRAMES)]
    blurred = average_exposure(frames, Response.named("gamma2.2")).blur_gamma
    sharp = frames[_N_FRAMES // 2]
    restored = OnnxRestorer(shipped_network()).restore(blurred)
    gain_db = psnr_rgb(sharp, restored) - psnr_rgb(sharp, blurred)
    panels = {
        "mean of 11 frames: blurred": blurred,
        f"deblurred ({gain_db:+.1f} dB)": restored,
        "middle frame: the truth": sharp,
    }
    enlarged = [
        (title, image[_CROP].repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1))
        for title, image in panels.items()
    ]
    return sheet(enlarged, n_columns=3), gain_db


def command(
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("results/readme.jpg"),
) -> int:
    """Make the picture at the top of the README.

    Args:
        out: File to write, JPEG.
    """
    from gopro_tools.images import encode_jpeg

    picture, gain_db = readme_picture()
    write_atomic(out, encode_jpeg(picture, 90))
    stderr.print(f"{out}: {gain_db:+.2f} dB")
    return 0


if __name__ == "__main__":
    run_command(command)
