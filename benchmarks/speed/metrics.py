"""PSNR and SSIM against the libraries that people use for them, on one core, in one run.

Every contender gets the same two uint8 images in memory and returns one number, so conversions that
a library needs are part of its time. All are warmed up (ours compiles then), then take turns, so
that a busy machine slows all alike; the figure is the median. Each note gives the score, so that a
contender that computes something else is seen.
"""

import tempfile
import timeit
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks.speed.timing import Contender, Timing, race
from gopro_tools import metrics
from gopro_tools.evaluate import EvaluateConfig, Sources, evaluate
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png
from gopro_tools.threads import n_cores

Score = Callable[[Rgb, Rgb], float]


def measure(n_repeats: int = 7, n_folder_images: int = 16) -> list[Timing]:
    """Time every protocol that has a rival, then a folder run with one thread and with all."""
    sharp, blurred = example_pair()
    with one_core():
        timings = score_in_turns(contenders(), sharp, blurred, n_repeats)
    return timings + _folder_run(sharp, blurred, n_folder_images, n_repeats)


def example_pair(seed: int = 0) -> tuple[Rgb, Rgb]:
    """A textured 1280x720 image and the same smeared over 11 pixels."""
    noise = np.random.default_rng(seed).normal(size=(720, 1280, 3))
    texture = 128 + 150 * ndimage.gaussian_filter(noise, (1.5, 1.5, 0))
    smeared = ndimage.uniform_filter1d(texture, 11, axis=1)
    sharp, blurred = (np.clip(np.rint(x), 0, 255).astype(np.uint8) for x in (texture, smeared))
    return sharp, blurred


def contenders() -> Mapping[str, Score]:
    """By ``<protocol>: <contender>``; of each protocol, ours first."""
    import piq
    from torchmetrics.functional.image import structural_similarity_index_measure

    def tensors(*images: Rgb) -> list[torch.Tensor]:
        return [torch.from_numpy(image).permute(2, 0, 1)[None].float() for image in images]

    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    skimage_ssim = partial(structural_similarity, channel_axis=2, data_range=255)
    return {
        "psnr_rgb: gopro_tools": metrics.psnr_rgb,
        "psnr_rgb: scikit-image": partial(peak_signal_noise_ratio, data_range=255),
        "ssim_gauss: gopro_tools": metrics.ssim_gauss,
        "ssim_gauss: scikit-image": partial(skimage_ssim, **gaussian),
        "ssim_gauss: torchmetrics, float32": lambda x, y: float(
            structural_similarity_index_measure(*tensors(x, y), data_range=(0.0, 255.0))
        ),
        "ssim_gauss: piq, float32": lambda x, y: float(
            piq.ssim(*tensors(x, y), data_range=255, downsample=False)
        ),
        "ssim_uniform7: gopro_tools": metrics.ssim_uniform7,
        "ssim_uniform7: scikit-image": skimage_ssim,
        "ssim_matlab_rgb3d: gopro_tools": metrics.ssim_matlab_rgb3d,
        "ssim_matlab_rgb3d: scipy, direct": direct_rgb3d,
    }


def direct_rgb3d(sharp: Rgb, restored: Rgb) -> float:
    """`ssim_matlab_rgb3d` as one would write it: three 1-D filters for each of five volumes."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()

    def average(volume: NDArray[np.float64]) -> NDArray[np.float64]:
        for axis in range(3):
            volume = ndimage.correlate1d(volume, taps, axis=axis, mode="nearest")
        return volume

    x, y = sharp.astype(np.float64), restored.astype(np.float64)
    mean_x, mean_y = average(x), average(y)
    variances = average(x * x) - mean_x**2 + average(y * y) - mean_y**2
    covariance = average(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    index = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    index /= (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    return float(index.mean())


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and the pools of OpenCV and torch, on one core; Linux alone."""
    process = psutil.Process()
    cores = process.cpu_affinity() or []
    n_opencv, n_torch = cv2.getNumThreads(), torch.get_num_threads()
    process.cpu_affinity(cores[-1:])
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        process.cpu_affinity(cores)
        cv2.setNumThreads(n_opencv)
        torch.set_num_threads(n_torch)


def score_in_turns(
    scores: Mapping[str, Score], sharp: Rgb, blurred: Rgb, n_repeats: int
) -> list[Timing]:
    """Time each contender once per turn, after a warm-up that does not count; medians.

    A turn is as many calls as last at least 0.2 s, so that the quickest are measured too.
    """
    timed = []
    for name, score in scores.items():
        note = f"one core, score {score(sharp, blurred):.6f}"  # compiles
        timer = timeit.Timer(partial(score, sharp, blurred))
        n_calls, _ = timer.autorange()
        run = partial(timer.timeit, n_calls)
        timed.append(Contender(name, n_calls, run, note))
    return race(timed, n_repeats, "pairs")


def _folder_run(sharp: Rgb, blurred: Rgb, n_images: int, n_repeats: int) -> list[Timing]:
    with tempfile.TemporaryDirectory() as temporary:
        for kind, png in (("sharp", encode_png(sharp)), ("blurred", encode_png(blurred))):
            for number in range(1, n_images + 1):
                write_atomic(Path(temporary, kind, f"{number:06d}.png"), png, durable=False)
        sources = Sources(sharp=Path(temporary, "sharp"), blurred=Path(temporary, "blurred"))
        timed = [
            Contender(
                f"folder of PNG, nah2017: {jobs} thread{'s' if jobs > 1 else ''}",
                n_images,
                partial(evaluate, sources, EvaluateConfig(protocol=("nah2017",), jobs=jobs)),
                "with reading and decoding",
            )
            for jobs in dict.fromkeys((n_cores(), 1))
        ]
        return race(timed, n_repeats, "pairs")
