"""Blur kernels of random hand-held motion, and blurring photographs with them.

The motion is the random walk of DeblurGAN (Kupyn et al., CVPR 2018, algorithm 1, after Boracchi and
Foi 2012): a point that keeps its velocity, is pulled back to where it started, is shaken, and now
and then reverses. What the released code made of it has flaws (kernels scaled by their largest
value instead of their sum, off-centre, square images only, blurred in code values), which trained
networks on images of changed contrast and shifted truth. Here a kernel sums to 1, has its centroid
in its middle and acts on linear light. The released behaviour is kept under `legacy_kernel` and
`legacy_blur`, to repeat what was published.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.images import Rgb
from gopro_tools.response import Response

Path2d = NDArray[np.float64]
"""(N, 2) x, y in pixels: where a point of light falls at equal steps of the exposure."""
Kernel = NDArray[np.float32]
"""(odd, odd) float32, >= 0, summing to 1."""

SHAKES = (0.01, 0.009, 0.008, 0.007, 0.005, 0.003)
"""How shaky a motion is, drawn from these (the released code's ``expl``)."""
LEGACY_FRACTIONS = (0.01, 0.1, 0.5, 1.0)
"""Fractions of the exposure at which the released code reads a kernel."""
_LEGACY_CANVAS = 64


@dataclass(frozen=True, kw_only=True)
class TrajectoryConfig:
    """What motion is drawn. The defaults are the released code's."""

    length_px: float = 60.0
    """Length of the path, with all its turns, in pixels."""
    n_samples: int = 2000
    """Points of the path."""
    shake: float | None = None
    """One of `SHAKES`, or another value in [0, 1]; None draws one per path."""


def trajectory(rng: np.random.Generator, config: TrajectoryConfig | None = None) -> Path2d:
    """A random path of a point of light, starting at the origin."""
    config = config or TrajectoryConfig()
    if config.n_samples < 2 or not config.length_px >= 0:
        raise ValueError(f"at least 2 samples and a length >= 0 expected, found {config}")
    shake = float(rng.choice(SHAKES)) if config.shake is None else config.shake
    step = config.length_px / (config.n_samples - 1)
    pull = 0.7 * rng.uniform()
    turn_chance = 0.2 * rng.uniform() * shake
    jitter = 10 * rng.uniform()
    velocity = np.exp(2j * np.pi * rng.uniform()) * step
    turns = rng.uniform(size=config.n_samples) < turn_chance
    angles = np.pi + rng.uniform(size=config.n_samples) - 0.5
    shoves = rng.normal(size=(config.n_samples, 2)) @ np.array([1, 1j])
    points = np.zeros(config.n_samples, np.complex128)
    for t in range(config.n_samples - 1):
        change = shake * (jitter * shoves[t] - pull * points[t]) * step
        if turns[t]:
            change += 2 * velocity * np.exp(1j * angles[t])
        velocity += change
        speed = abs(velocity)
        velocity = velocity * (step / speed) if speed > 0 else velocity
        points[t + 1] = points[t] + velocity
    return np.stack([points.real, points.imag], axis=1)


def kernel_of(path: Path2d, *, least_side: int = 1) -> Kernel:
    """The kernel of a path: sum 1, centroid in the middle, as large as it needs to be.

    Centred by its centroid, it blurs an image without shifting it on average, so that the sharp
    image remains its ground truth.

    Args:
        path: See `trajectory`; any other (N, 2) path will do.
        least_side: At least this many pixels a side.
    """
    centred = path - path.mean(axis=0)
    reach = int(np.ceil(np.abs(centred).max())) + 1
    side = max(2 * reach + 1, least_side | 1)
    return _splat(centred + side // 2, side).astype(np.float32)


def blur(image: Rgb, kernel: Kernel, response: Response) -> Rgb:
    """A photograph blurred as light: decoded, convolved, encoded. Edges are mirrored.

    Args:
        image: (H, W, 3) uint8 RGB, any size at least the kernel's.
        kernel: See `kernel_of`.
        response: Decodes and encodes.
    """
    return response.encode(convolve(response.decode(image), kernel))


def blur_codes(image: Rgb, kernel: Kernel) -> Rgb:
    """The same on code values, as GOPRO's folder ``blur`` averages: for comparison."""
    blurred = np.rint(convolve(image.astype(np.float64), kernel))
    return np.clip(blurred, 0, 255).astype(np.uint8)


def convolve(image: NDArray[np.float64], kernel: Kernel) -> NDArray[np.float64]:
    """Each channel of (H, W, C) float64 convolved; edges are mirrored (without the edge pixel)."""
    height, width = image.shape[:2]
    before = kernel.shape[0] // 2
    if before >= min(height, width):
        raise ValueError(
            f"a kernel of {kernel.shape[0]} pixels is too large for {width}x{height} pixels"
        )
    # filter2D correlates.
    flipped = np.ascontiguousarray(kernel[::-1, ::-1], np.float64)
    blurred = cv2.filter2D(image, cv2.CV_64F, flipped, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, np.float64)


def legacy_kernel(path: Path2d, *, fraction: float = 1.0) -> NDArray[np.float64]:
    """The kernel as DeblurGAN's released code makes it: 64x64, scaled to a largest value of 1.

    Args:
        path: See `trajectory`; only what fits into 64 pixels is kept.
        fraction: Fraction of the exposure (`LEGACY_FRACTIONS`); 0.01 gives nearly one point.
    """
    moved = path - path.min(axis=0)
    moved += np.ceil((_LEGACY_CANVAS - moved.max(axis=0)) / 2)
    n_used = max(1, round(fraction * len(path)))
    kernel = _splat(moved[:n_used], _LEGACY_CANVAS) * n_used / len(path)
    return _min_max(kernel)


def legacy_blur(image: Rgb, kernel: NDArray[np.float64]) -> Rgb:
    """Blur as DeblurGAN's released code does: code values, and the result stretched to 0..255.

    Its code takes square images only; this takes any size.
    """
    codes = _min_max(image.astype(np.float64))
    from scipy.signal import fftconvolve

    channels = [fftconvolve(kernel, codes[..., c], mode="full") for c in range(3)]
    top = kernel.shape[0] // 2
    height, width = image.shape[:2]
    blurred = np.stack(channels, axis=2)[top : top + height, top : top + width]
    return (np.abs(_min_max(blurred)) * 255).astype(np.uint8)


def length_px(path: Path2d) -> float:
    """Length of a path with all its turns."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def extent_px(path: Path2d) -> float:
    """Largest distance between two points of a path: how long its blur looks."""
    hull = cv2.convexHull(path.astype(np.float32))[:, 0]
    distances = np.linalg.norm(hull[:, None] - hull[None], axis=2)
    return float(distances.max())


def _splat(points: Path2d, side: int) -> NDArray[np.float64]:
    """Points spread bilinearly over the four pixels around each, divided by their number."""
    kernel = np.zeros((side, side))
    corner = np.floor(points).astype(int)
    part = points - corner
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = corner[:, 0] + dx, corner[:, 1] + dy
            weight = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
            inside = (x >= 0) & (y >= 0) & (x < side) & (y < side)
            np.add.at(kernel, (y[inside], x[inside]), weight[inside])
    return kernel / len(points)


def _min_max(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
