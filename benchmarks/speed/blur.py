"""Blur as cameras make it against how it is done today: interpolation, and the sensor's stages.

The rival of our interpolation is FFmpeg's ``minterpolate`` with motion compensation; that of our
sensor is RSBlur's model (Rim et al., ECCV 2022) as one writes it with numpy and scipy. All at 720p.
"""

import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy.ndimage import convolve

from benchmarks.speed.timing import Timing, median_timing, ratio_table, take_turns
from gopro_tools.images import Rgb
from gopro_tools.interpolation import FlowInterpolator, Frames
from gopro_tools.response import Response
from gopro_tools.scenes import Scene, SceneConfig, render_frames
from gopro_tools.sensor import NOISE_LEVELS, Isp, Light, Saturation, Sensor, expose

_SIZE_HW = (720, 1280)
_FACTOR = 8
_INTERPOLATION, _SENSOR = "filled frames", "images"
OURS_FILLED = "ours x8, two threads"
OURS_STAGES = "ours, saturation + noise + camera"


def measure(*, n_repeats: int = 3, size_hw: tuple[int, int] = _SIZE_HW) -> list[Timing]:
    """Time all contenders, in turns; each ends with whole frames in memory."""
    cv2.setNumThreads(1)
    scene = Scene(SceneConfig(seed=3, size_hw=size_hw, photograph="motorcycle", shake_px_s=600))
    frames = np.stack(list(render_frames(scene, rate_hz=240, n_frames=5)))
    response = Response.named("srgb")
    light = expose(frames, response)
    sensor = Sensor(saturation=Saturation(), noise=NOISE_LEVELS["rsblur"], isp=Isp())
    n_gaps = len(frames) - 1
    contenders: dict[str, tuple[Callable[[], Any], float, str, str]] = {
        OURS_FILLED: (lambda: _filled(frames, 2), n_gaps * _FACTOR, _INTERPOLATION, ""),
        "ours x8, one thread": (lambda: _filled(frames, 1), n_gaps * _FACTOR, _INTERPOLATION, ""),
        "FFmpeg minterpolate x8": (
            lambda: _minterpolate(frames),
            # It starts and ends between its repeated ends.
            (n_gaps + 2) * _FACTOR,
            _INTERPOLATION,
            "aobmc, bidirectional, variable blocks; it uses one core",
        ),
        OURS_STAGES: (
            lambda: sensor.capture(light, response, np.random.default_rng(0)),
            1,
            _SENSOR,
            "one thread",
        ),
        "RSBlur's model in plain numpy": (
            lambda: _plain_numpy(light, response, Isp()),
            1,
            _SENSOR,
            "one thread, float64",
        ),
    }
    calls = {name: run for name, (run, *_) in contenders.items()}
    for run in calls.values():
        run()  # compile and load
    seconds = take_turns(calls, n_repeats)
    return [
        median_timing(
            name,
            seconds[name],
            n_units,
            unit,
            note=note,
            peak_mib=_peak_mib() if name == OURS_FILLED else None,
        )
        for name, (_, n_units, unit, note) in contenders.items()
    ]


def tables(timings: Sequence[Timing]) -> list[Table]:
    """One table for the interpolation, one for the stages."""
    titles = {
        _INTERPOLATION: ("Frames between frames, 1280x720", OURS_FILLED),
        _SENSOR: ("Saturation, noise and camera processing, 1280x720", OURS_STAGES),
    }
    return [
        ratio_table(title, [timing for timing in timings if timing.unit == unit], ours=ours)
        for unit, (title, ours) in titles.items()
    ]


def _filled(frames: Frames, n_threads: int) -> list[Frames]:
    def fill(pair: tuple[Rgb, Rgb]) -> Frames:
        return FlowInterpolator().between(*pair, _FACTOR - 1)

    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(fill, pairwise(frames)))


def _minterpolate(frames: Frames) -> bytes:
    height, width = frames.shape[1:3]
    padded = np.concatenate([frames[:1], frames, *[frames[-1:]] * 2])
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p"]
    picture = (
        f"minterpolate=fps={30 * _FACTOR}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none"
    )
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "30", "-i", "-"]
    command += ["-vf", f"format=yuv420p,{picture}", *raw, "-"]
    done = subprocess.run(command, input=padded.tobytes(), capture_output=True, check=True)
    return done.stdout


def _plain_numpy(light: Light, response: Response, isp: Isp) -> Rgb:
    """RSBlur's model step by step, as one writes it without thinking of speed."""
    rng = np.random.default_rng(0)
    linear = np.clip(light.mean.astype(np.float64) + rng.uniform(0.25, 1.75) * light.clipped, 0, 1)
    camera = np.maximum(linear @ isp.camera_of_srgb.T, 0)
    masks = np.zeros(linear.shape)
    masks[0::2, 0::2, 0] = masks[0::2, 1::2, 1] = masks[1::2, 0::2, 1] = masks[1::2, 1::2, 2] = 1
    gains = np.array([rng.uniform(1.9, 2.4), 1.0, rng.uniform(1.5, 1.9)])
    raw = (camera * masks / gains).sum(axis=2)
    shot, read = 1e-4 * rng.uniform(0.5, 1.5), 9.1504e-4 * rng.uniform(0.5, 1.5)
    raw = rng.poisson(raw / shot) * shot + read * rng.standard_normal(raw.shape)
    raw *= (masks * gains).sum(axis=2)
    back = _malvar(raw, masks) @ np.linalg.inv(isp.camera_of_srgb).T
    return response.encode(np.where(linear >= 1, linear, back))


def _malvar(raw: NDArray[np.float64], masks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four 5x5 convolutions of the whole mosaic, each used where it applies (phase RGGB)."""
    of_green = np.array(
        [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
    )
    along = np.array(
        [
            [0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0],
            [0, 0, 0.5, 0, 0],
        ]
    )  # fmt: skip
    across = along.T
    diagonal = np.array(
        [
            [0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0],
            [0, 0, -1.5, 0, 0],
        ]
    )  # fmt: skip
    green, side, above, corner = (
        convolve(raw, kernel / 8, mode="mirror") for kernel in (of_green, along, across, diagonal)
    )
    red, green_at, blue = (masks[..., c] == 1 for c in range(3))
    red_row = np.zeros(raw.shape, bool)
    red_row[0::2] = True
    r = np.where(red, raw, np.where(blue, corner, np.where(red_row, side, above)))
    g = np.where(green_at, raw, green)
    b = np.where(blue, raw, np.where(red, corner, np.where(red_row, above, side)))
    return np.stack([r, g, b], axis=2)


def _peak_mib() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
