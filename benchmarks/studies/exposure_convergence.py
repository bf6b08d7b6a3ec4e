"""How near the mean of frames comes to the exposure a real shutter would have recorded.

The continuous exposure of a rendered scene is known. Filmed at growing frame rates over the same
exposure time, the average of its frames must approach it; the distance left at 240 fps is what the
GOPRO recipe costs. Two limits stay at any rate: lights that saturate each frame would have made a
brighter trail (clipping comes before averaging), and averaging code values is not averaging light.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from gopro_tools.averaging import average_exposure
from gopro_tools.metrics import psnr_rgb
from gopro_tools.records import RunRecord
from gopro_tools.response import Response
from gopro_tools.scenes import PHOTOGRAPHS, Scene, SceneConfig, render_frames

SUITE = "exposure-convergence"
EXPOSURE_S = 11 / 240
"""One exposure of GOPRO_Large: 11 frames at 240 fps."""
FRAME_COUNTS = (3, 5, 7, 11, 15, 23, 33, 55, 77)
_SHAKES_PX_S = (100.0, 200.0, 400.0)
_TRUTH_SUBFRAMES = 256
_SIZE_HW = (270, 480)


def measure(
    photographs: Sequence[str] = tuple(PHOTOGRAPHS),
    shakes_px_s: Sequence[float] = _SHAKES_PX_S,
    size_hw: tuple[int, int] = _SIZE_HW,
) -> pd.DataFrame:
    """Film each scene at growing rates over one exposure, and compare the averages.

    Returns:
        One row per scene and rate: ``photograph, shake_px_s``; ``highlights``, whether lights in
        the scene saturate the frames; ``n_frames, rate_hz``; PSNR to the continuous exposure of the
        average in linear light (``psnr_gamma_db``, GOPRO's ``blur_gamma``) and of the mean of the
        code values (``psnr_linear_crf_db``, GOPRO's ``blur``).
    """
    response = Response.named("gamma2.2")
    rows = []
    cases = product(enumerate(photographs), shakes_px_s, (False, True))
    for (seed, photograph), shake_px_s, highlights in cases:
        scene = Scene(
            SceneConfig(
                seed=seed,
                photograph=photograph,
                shake_px_s=shake_px_s,
                highlights=highlights,
                size_hw=size_hw,
            )
        )
        truth = response.encode(scene.exposure(0.0, EXPOSURE_S, n_subframes=_TRUTH_SUBFRAMES))
        for n_frames in FRAME_COUNTS:
            rate_hz = n_frames / EXPOSURE_S
            # Each frame stands for the middle of its share of the exposure.
            frames = np.stack(list(render_frames(scene, rate_hz, n_frames, start_s=0.5 / rate_hz)))
            average = average_exposure(frames, response)
            rows.append(
                {
                    "photograph": photograph,
                    "shake_px_s": shake_px_s,
                    "highlights": highlights,
                    "n_frames": n_frames,
                    "rate_hz": rate_hz,
                    "psnr_gamma_db": psnr_rgb(truth, average.blur_gamma),
                    "psnr_linear_crf_db": psnr_rgb(truth, average.blur),
                }
            )
    return pd.DataFrame(rows).round(3)


def record() -> RunRecord:
    """What `measure` measures."""
    return RunRecord(
        suite=SUITE,
        method="average",
        config={
            "exposure_s": EXPOSURE_S,
            "frame_counts": FRAME_COUNTS,
            "photographs": sorted(PHOTOGRAPHS),
            "shakes_px_s": _SHAKES_PX_S,
            "size_hw": _SIZE_HW,
            "truth_subframes": _TRUTH_SUBFRAMES,
        },
        protocols=("psnr_rgb",),
    )
