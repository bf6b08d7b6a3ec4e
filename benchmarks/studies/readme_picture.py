"""The picture at the top of the README: blurred, deblurred by the network of the package, sharp.

scikit-image's photograph of an astronaut (by NASA, in the public domain), filmed at 240 frames per
second by a shaking camera.
"""

from pathlib import Path

import numpy as np

from benchmarks.pictures import sheet
from gopro_tools.averaging import average_exposure
from gopro_tools.deblur import OnnxRestorer, shipped_network
from gopro_tools.files import write_atomic
from gopro_tools.images import encode_jpeg
from gopro_tools.response import Response
from gopro_tools.scenes import Scene, SceneConfig, render_frames

_SCENE = SceneConfig(
    seed=5, size_hw=(180, 320), photograph="astronaut", n_objects=1, shake_px_s=130.0,
    object_photographs=("astronaut",),
)  # fmt: skip


def draw(results: Path) -> None:
    """Make ``readme.jpg`` again, where the folder has one; two screen pixels per pixel."""
    if not (path := results / "readme.jpg").is_file():
        return
    frames = list(render_frames(Scene(_SCENE), rate_hz=240, n_frames=11))
    blurred = average_exposure(frames, Response.named("gamma2.2")).blur_gamma
    panels = {
        "mean of 11 frames": blurred,
        "deblurred": OnnxRestorer(shipped_network()).restore(blurred),
        "middle frame": frames[5],
    }
    face = np.s_[:150, 65:255]
    crops = [(title, image[face].repeat(2, 0).repeat(2, 1)) for title, image in panels.items()]
    write_atomic(path, encode_jpeg(sheet(crops, n_columns=3), 90))
