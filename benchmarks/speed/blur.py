"""Blur as cameras make it against how it is done today: interpolation, and the sensor's stages.

The rival of our interpolation is FFmpeg's ``minterpolate`` with motion compensation; that of our
sensor is RSBlur's model (Rim et al., ECCV 2022) as one writes it with numpy and colour-demosaicing.
All at 720p.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np

from benchmarks.speed.timing import Contender, Timing, race, resident_peak_mib
from benchmarks.studies.interpolation import minterpolate
from gopro_tools.images import Rgb
from gopro_tools.interpolation import FlowInterpolator, Frames
from gopro_tools.response import Response
from gopro_tools.scenes import Scene, SceneConfig, render_frames
from gopro_tools.sensor import NOISE_LEVELS, Isp, Light, Saturation, Sensor, expose

_FACTOR = 8
OURS_FILLED = "ours x8, two threads"


def measure(*, n_repeats: int = 3, size_hw: tuple[int, int] = (720, 1280)) -> list[Timing]:
    """Time all contenders, in turns; each ends with whole frames in memory."""
    cv2.setNumThreads(1)
    scene = Scene(SceneConfig(seed=3, size_hw=size_hw, photograph="motorcycle", shake_px_s=600))
    frames = np.stack(list(render_frames(scene, rate_hz=240, n_frames=5)))
    response = Response.named("srgb")
    light = expose(frames, response)
    sensor = Sensor(saturation=Saturation(), noise=NOISE_LEVELS["rsblur"], isp=Isp())
    n_filled = _FACTOR * (len(frames) - 1)
    filling = [
        Contender(OURS_FILLED, n_filled, lambda: _fill(frames, 2)),
        Contender("ours x8, one thread", n_filled, lambda: _fill(frames, 1)),
        Contender(
            "FFmpeg minterpolate x8",
            _FACTOR * (len(frames) + 1),  # it starts and ends between its repeated ends
            lambda: minterpolate(frames, _FACTOR, "yuv420p", "yuv420p"),
            "aobmc, bidirectional, variable blocks; it uses one core",
        ),
    ]
    capturing = [
        Contender(
            "ours, saturation + noise + camera",
            1,
            lambda: sensor.capture(light, response, np.random.default_rng(0)),
            "one thread",
        ),
        Contender(
            "RSBlur's model in plain numpy",
            1,
            lambda: _plain_numpy(light, response, Isp()),
            "one thread, float64",
        ),
    ]
    _fill(frames, 2)
    peak_mib = resident_peak_mib()  # before the others need any
    for contender in [*filling, *capturing]:
        contender.run()  # compile and load
    filled, *others = race(filling, n_repeats, "filled frames")
    captured = race(capturing, n_repeats, "images")
    return [replace(filled, peak_mib=peak_mib), *others, *captured]


def _fill(frames: Frames, n_threads: int) -> None:
    def fill(first: Rgb, second: Rgb) -> Frames:
        return FlowInterpolator().between(first, second, _FACTOR - 1)

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(fill, frames[:-1], frames[1:]))


def _plain_numpy(light: Light, response: Response, isp: Isp) -> Rgb:
    """RSBlur's model step by step, as one writes it without thinking of speed."""
    from colour_demosaicing import (
        demosaicing_CFA_Bayer_Malvar2004,
        masks_CFA_Bayer,
        mosaicing_CFA_Bayer,
    )

    rng = np.random.default_rng(0)
    linear = np.clip(light.mean.astype(np.float64) + rng.uniform(0.25, 1.75) * light.clipped, 0, 1)
    camera = np.maximum(linear @ isp.camera_of_srgb.T, 0)
    gains = np.array([rng.uniform(1.9, 2.4), 1.0, rng.uniform(1.5, 1.9)])
    raw = mosaicing_CFA_Bayer(camera / gains)
    shot, read = 1e-4 * rng.uniform(0.5, 1.5), 9.1504e-4 * rng.uniform(0.5, 1.5)
    raw = rng.poisson(raw / shot) * shot + read * rng.standard_normal(raw.shape)
    raw *= np.tensordot(gains, masks_CFA_Bayer(raw.shape), axes=1)
    back = demosaicing_CFA_Bayer_Malvar2004(raw) @ np.linalg.inv(isp.camera_of_srgb).T
    return response.encode(np.where(linear >= 1, linear, back))
