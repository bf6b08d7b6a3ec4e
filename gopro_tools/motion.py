"""How blurred, saturated and noisy a pair is: what results are broken down by.

The length of blur is measured by optical flow from the middle frame to the first and the last of
the exposure: how far the content of a pixel moved while the shutter was open.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.flow import FlowEstimator
from gopro_tools.images import Rgb

_LEAST_SIDE_PX = 360
"""Frames are measured at a size of at least this many pixels along their shorter side: enough for
tenths of a pixel, and 720p in a quarter of the time."""
_BORDER_SHARE = 0.04
_NOISE_BLOCK_PX = 16
_FLATTEST_SHARE = 0.2
_LAPLACIAN_DIFFERENCE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Blind to edges and ramps; white noise of deviation s gives it a deviation of 6 s."""


@dataclass(frozen=True, kw_only=True)
class BlurLength:
    """How far the scene moves in the image during an exposure, in pixels of the image."""

    mean_px: float
    """Mean over the image."""
    p95_px: float
    """95th percentile over the image: the fastest object that is not tiny."""


class MotionMeter:
    """Measures blur. One instance serves one thread."""

    def __init__(self) -> None:
        self._estimator = FlowEstimator(refine=False)

    def blur_length(
        self, frames: Sequence[Rgb], *, exposure_frames: float | None = None
    ) -> BlurLength:
        """Length of the blur of an exposure.

        Args:
            frames: (H, W, 3) uint8 RGB, evenly spaced in time, at least two; the middle one and the
                two ends are used.
            exposure_frames: How many frame intervals the exposure lasts; by default as many as
                there are frames, which is what their mean stands for. The ends are one less apart.
        """
        n_frames = len(frames)
        if n_frames < 2:
            raise ValueError("at least two frames expected")
        exposure = float(n_frames) if exposure_frames is None else exposure_frames
        middle = n_frames // 2
        here, scale = _shrunk(frames[middle])
        way = np.zeros(here.shape[:2], np.float32)
        for end in {0, n_frames - 1} - {middle}:
            there, _ = _shrunk(frames[end])
            flow = self._estimator.estimate(here, there)
            way += np.linalg.norm(flow.forward, axis=2)
        # What leaves the frame has no match there; its flow is a guess.
        border = max(1, round(_BORDER_SHARE * min(here.shape[:2])))
        inner = way[border:-border, border:-border] / scale * (exposure / (n_frames - 1))
        return BlurLength(mean_px=float(inner.mean()), p95_px=float(np.percentile(inner, 95)))


def saturated_share(image: Rgb) -> float:
    """Share of the pixels, in [0, 1], with a channel at code 255."""
    return float((image.max(axis=2) == 255).mean())


def noise_sigma(image: Rgb) -> float:
    """Standard deviation of the noise of an image, in code values.

    The mean absolute response to a mask blind to edges and ramps (Immerkaer 1996), in the flattest
    blocks of the image, as detail only adds to it.

    Args:
        image: (H, W, 3) uint8 RGB, at least 64x64; smaller ones are taken as one block.
    """
    green = image[..., 1].astype(np.float32)
    response = np.abs(cv2.filter2D(green, cv2.CV_32F, _LAPLACIAN_DIFFERENCE))[1:-1, 1:-1]
    # Clipped values hide their noise.
    clipped = (image[1:-1, 1:-1, 1] <= 2) | (image[1:-1, 1:-1, 1] >= 253)
    block = _NOISE_BLOCK_PX
    height, width = (side // block * block for side in response.shape)
    if height == 0 or width == 0:
        return float(response.mean() * np.sqrt(np.pi / 2) / 6)
    means = _block_means(response[:height, :width])
    usable = _block_means(clipped[:height, :width].astype(np.float32)) < 0.05
    if not usable.any():
        return 0.0
    return float(np.quantile(means[usable], _FLATTEST_SHARE) * np.sqrt(np.pi / 2) / 6)


def _block_means(values: NDArray[np.float32]) -> NDArray[np.float32]:
    block = _NOISE_BLOCK_PX
    height, width = values.shape
    means: NDArray[np.float32] = values.reshape(height // block, block, width // block, block).mean(
        axis=(1, 3)
    )
    return means


def _shrunk(image: Rgb) -> tuple[Rgb, float]:
    """The image at the size it is measured at, and that size as a share of its own."""
    shorter = min(image.shape[:2])
    factor = max(1, shorter // _LEAST_SIDE_PX)
    if factor == 1:
        return image, 1.0
    height, width = (side // factor for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), height / image.shape[0]
