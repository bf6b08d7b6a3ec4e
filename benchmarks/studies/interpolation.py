"""How close blur from interpolated frames is to a real exposure.

Scenes are filmed at 1,920 Hz. The mean of all frames of 50 ms, in linear light, is the truth.
Contenders get every 8th, 16th or 32nd frame (240, 120, 60 Hz): the plain mean of those, the mean
after FFmpeg's ``minterpolate`` has filled the gaps, and the mean after ours has made the frames 4,
8 and 16 times as dense.
"""

import resource
import subprocess
import time
from collections.abc import Sequence
from itertools import pairwise, product
from statistics import mean

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd

from gopro_tools.averaging import average_exposure
from gopro_tools.flow import FlowEstimator
from gopro_tools.images import Rgb
from gopro_tools.interpolation import FlowInterpolator, Frames
from gopro_tools.metrics import psnr_rgb
from gopro_tools.records import RunRecord
from gopro_tools.response import Response
from gopro_tools.scenes import Scene, SceneConfig

SUITE = "interpolation"
RATES_HZ = (60, 120, 240)
FACTORS = (4, 8, 16)
MOTIONS_PX_S = {"slow": 100.0, "fast": 400.0, "very fast": 1200.0}
"""RMS speed of the background, in a frame of 640x360; objects move as fast relative to it."""
NOISES = (0.0, 4.0)
"""Standard deviation in code values of noise in the frames; the truth has none."""
PHOTOGRAPHS = ("astronaut", "coffee", "rocket")
MINTERPOLATE = "FFmpeg minterpolate x8"
_DENSE_HZ = 1920
_EXPOSURE_FRAMES = 96  # 50 ms
_MARGIN_FRAMES = 16
_SIZE_HW = (360, 640)


def measure(
    photographs: Sequence[str] = PHOTOGRAPHS,
    motions: Sequence[str] = tuple(MOTIONS_PX_S),
    rates_hz: Sequence[int] = RATES_HZ,
) -> pd.DataFrame:
    """All contenders on all scenes, rates and noises.

    Returns:
        One row per contender and case: ``photograph, motion, rate_hz, noise``; ``px_per_frame``,
        the 95th percentile over the image of the true motion from frame to frame; ``contender``;
        ``psnr_db`` of the blurred image (gamma 2.2) to the continuous exposure; ``cpu_s_per_gap``,
        seconds of one thread per gap between two frames; ``unmatched_share``, the mean share of
        pixels without a match in the next frame, 0 where none is reported.
    """
    rows = []
    cv2.setNumThreads(1)
    # Compile before anything is timed.
    _ours(np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3)).astype(np.uint8), 2)
    for (seed, photograph), motion in product(enumerate(photographs), motions):
        scene = Scene(
            SceneConfig(
                seed=seed + 1,
                photograph=photograph,
                size_hw=_SIZE_HW,
                shake_px_s=MOTIONS_PX_S[motion],
                object_speed_px_s=MOTIONS_PX_S[motion],
                highlights=False,
            )
        )
        n_dense = _EXPOSURE_FRAMES + 1 + 2 * _MARGIN_FRAMES
        instants = [0.3 + (i - _MARGIN_FRAMES) / _DENSE_HZ for i in range(n_dense)]
        dense = np.stack([scene.frame(instant) for instant in instants])
        for rate_hz, noise in product(rates_hz, NOISES):
            flow_px = np.linalg.norm(scene.flow(0.3, 0.3 + 1 / rate_hz), axis=2)
            case = {
                "photograph": photograph,
                "motion": motion,
                "rate_hz": rate_hz,
                "noise": noise,
                "px_per_frame": float(np.percentile(flow_px, 95)),
            }
            rows += [case | found for found in _contend(dense, rate_hz, noise)]
    return pd.DataFrame(rows)


def _contend(dense: Frames, rate_hz: int, noise: float) -> list[dict[str, str | float]]:
    step = _DENSE_HZ // rate_hz
    inner = dense[_MARGIN_FRAMES : len(dense) - _MARGIN_FRAMES]
    frames = np.ascontiguousarray(inner[::step])
    if noise:
        grain = np.random.default_rng(0).normal(0, noise, frames.shape)
        frames = np.clip(np.rint(frames + grain), 0, 255).astype(np.uint8)
    truth = _blurred(inner)
    # The plain mean of M frames stands for M intervals, half an interval more on either side.
    half = step // 2
    wider = _blurred(dense[_MARGIN_FRAMES - half : len(dense) - _MARGIN_FRAMES + half])
    found = [("plain", psnr_rgb(wider, _blurred(frames)), 0.0, 0.0)]
    filled, seconds = _minterpolated(frames, 8)
    found.append((MINTERPOLATE, psnr_rgb(truth, _blurred(filled)), seconds, 0.0))
    for factor in FACTORS:
        filled, seconds, unmatched = _ours(frames, factor)
        found.append((f"ours x{factor}", psnr_rgb(truth, _blurred(filled)), seconds, unmatched))
    columns = ("contender", "psnr_db", "cpu_s_per_gap", "unmatched_share")
    return [dict(zip(columns, values, strict=True)) for values in found]


def _blurred(frames: Frames) -> Rgb:
    return average_exposure(np.ascontiguousarray(frames), Response.named("gamma2.2")).blur_gamma


def _ours(frames: Frames, factor: int) -> tuple[Frames, float, float]:
    estimator, interpolator = FlowEstimator(), FlowInterpolator()
    filled, unmatched = [frames[:1]], []
    begin = time.process_time()
    for first, second in pairwise(frames):
        flow = estimator.estimate(first, second)
        unmatched.append(flow.unmatched_share)
        filled += [interpolator.along(flow, first, second, factor - 1), second[None]]
    seconds = (time.process_time() - begin) / len(unmatched)
    return np.concatenate(filled), seconds, mean(unmatched)


def minterpolate(frames: Frames, factor: int, inside: str, result: str) -> bytes:
    """FFmpeg's motion compensation with its best settings, on one core; returns raw frames.

    It needs neighbours, so the ends are repeated: of N frames, N + 3 go in. Its first output lies
    one frame in, and it drops the last ones. Pixel formats are those it works in and returns.
    """
    height, width = frames.shape[1:3]
    padded = np.concatenate([frames[:1], frames, *[frames[-1:]] * 2])
    picture = (
        f"format={inside},minterpolate=fps={30 * factor}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:"
        f"vsbmc=1:scd=none,format={result}"
    )
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "30", "-i", "-"]
    command += ["-vf", picture, "-f", "rawvideo", "-pix_fmt", result, "-"]
    return subprocess.run(command, input=padded.tobytes(), capture_output=True, check=True).stdout


def _minterpolated(frames: Frames, factor: int) -> tuple[Frames, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    raw = minterpolate(frames, factor, "yuv444p", "rgb24")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = np.frombuffer(raw, np.uint8).reshape(-1, *frames.shape[1:])
    # The place of the second frame gives that of the first.
    at = int(np.argmax([psnr_rgb(frame, frames[1]) for frame in found])) - factor
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Two gaps more than there are between the frames, as the ends are repeated.
    return found[at : at + (len(frames) - 1) * factor + 1], seconds / (len(frames) + 2)


def record() -> RunRecord:
    """What `measure` measures."""
    return RunRecord(
        suite=SUITE,
        method="flow",
        scale="full",
        config={
            "rates_hz": RATES_HZ,
            "motions_px_s": MOTIONS_PX_S,
            "noises": NOISES,
            "photographs": PHOTOGRAPHS,
            "size_hw": _SIZE_HW,
        },
        seed=1,
    )
