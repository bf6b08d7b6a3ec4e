"""Blur as cameras make it against how it is done today: interpolation, and the sensor's stages.

The rival of our interpolation is FFmpeg's ``minterpolate`` with motion compensation; that of our
sensor is RSBlur's model (Rim et al., ECCV 2022) as one writes it with numpy and colour-demosaicing.
All at 720p.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import cv2
import numpy as np

from benchmarks.speed.timing import (
    Timing,
    resident_peak_mib,
    take_turns,
    timings_of,
)
from benchmarks.studies.interpolation import minterpolate
from gopro_tools.images import Rgb
from gopro_tools.interpolation import FlowInterpolator, Frames
from gopro_tools.response import Response
from gopro_tools.scenes import Scene, SceneConfig, render_frames
from gopro_tools.sensor import NOISE_LEVELS, Isp, Light, Saturation, Sensor, expose

_SIZE_HW = (720, 1280)
_FACTOR = 8
_FRAMES, _IMAGES = "filled frames", "images"
OURS_FILLED = "ours x8, two threads"
OURS_STAGES = "ours, saturation + noise + camera"
_MINTERPOLATE = "FFmpeg minterpolate x8"
_PLAIN = "RSBlur's model in plain numpy"


def measure(*, n_repeats: int = 3, size_hw: tuple[int, int] = _SIZE_HW) -> list[Timing]:
    """Time all contenders, in turns; each ends with whole frames in memory."""
    cv2.setNumThreads(1)
    scene = Scene(SceneConfig(seed=3, size_hw=size_hw, photograph="motorcycle", shake_px_s=600))
    frames = np.stack(list(render_frames(scene, rate_hz=240, n_frames=5)))
    response = Response.named("srgb")
    light = expose(frames, response)
    sensor = Sensor(saturation=Saturation(), noise=NOISE_LEVELS["rsblur"], isp=Isp())
    filling: dict[str, Callable[[], int]] = {
        OURS_FILLED: lambda: _fill(frames, 2),
        "ours x8, one thread": lambda: _fill(frames, 1),
        _MINTERPOLATE: lambda: _minterpolate(frames),
    }
    capturing: dict[str, Callable[[], object]] = {
        OURS_STAGES: lambda: sensor.capture(light, response, np.random.default_rng(0)),
        _PLAIN: lambda: _plain_numpy(light, response, Isp()),
    }
    calls: dict[str, Callable[[], object]] = {**filling, **capturing}
    for run in calls.values():
        run()  # compile and load
    seconds = take_turns(calls, n_repeats)
    notes = {
        _MINTERPOLATE: "aobmc, bidirectional, variable blocks; it uses one core",
        OURS_STAGES: "one thread",
        _PLAIN: "one thread, float64",
    }
    peaks = {OURS_FILLED: resident_peak_mib()}
    return [
        *timings_of({n: seconds[n] for n in filling}, 1, _FRAMES, peaks_mib=peaks, notes=notes),
        *timings_of({n: seconds[n] for n in capturing}, 1, _IMAGES, notes=notes),
    ]


def _fill(frames: Frames, n_threads: int) -> int:
    """Fill the gaps, and return how many frames that gave, the given ones counted."""

    def fill(pair: tuple[Rgb, Rgb]) -> Frames:
        return FlowInterpolator().between(*pair, _FACTOR - 1)

    with ThreadPoolExecutor(n_threads) as pool:
        return _FACTOR * len(list(pool.map(fill, pairwise(frames))))


def _minterpolate(frames: Frames) -> int:
    minterpolate(frames, _FACTOR, "yuv420p", "yuv420p")
    return _FACTOR * (len(frames) + 1)  # it starts and ends between its repeated ends


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
