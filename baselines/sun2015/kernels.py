"""The 361 candidate motions of Sun et al. (CVPR 2015, section 3.1), as kernels and as vectors.

A candidate is a straight, even motion: a length in {1, 3, …, 25} pixels and an orientation. Blur is
the same forwards and backwards, so orientations lie in [0, 180). Length 1 is no motion at all, one
candidate whatever its orientation. The network is trained on six orientations (73 candidates);
rotated images extend them to 30 (361).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

LENGTHS_PX = tuple(range(1, 26, 2))
"""Lengths of the candidates; the first is no motion."""
ORIENTATION_STEP_DEGREES, TRAINED_STEP_DEGREES = 6, 30
"""Between the orientations of all candidates, and of those that the network is trained on."""
N_ORIENTATIONS = 180 // ORIENTATION_STEP_DEGREES
N_KERNELS = 1 + (len(LENGTHS_PX) - 1) * N_ORIENTATIONS

_KERNEL_PX = 27


@dataclass(frozen=True)
class LinearMotion:
    """A straight and even motion during the exposure."""

    length_px: float
    """Number of pixels a point is smeared over; 1 is no motion."""
    angle_degrees: float
    """Orientation, counter-clockwise from the direction to the right as seen, in [0, 180)."""


CANDIDATES: tuple[LinearMotion, ...] = (
    LinearMotion(1, 0),
    *(
        LinearMotion(length_px, ORIENTATION_STEP_DEGREES * orientation)
        for length_px in LENGTHS_PX[1:]
        for orientation in range(N_ORIENTATIONS)
    ),
)
"""The motion of each candidate index: 0 is none, then 30 orientations of each length in turn."""

TRAINED: tuple[int, ...] = tuple(
    index
    for index, motion in enumerate(CANDIDATES)
    if motion.angle_degrees % TRAINED_STEP_DEGREES == 0
)
"""Indices of the 73 candidates that are the network's classes, in the order of its outputs."""


def turned_candidates(candidates: ArrayLike, degrees: ArrayLike) -> NDArray[np.int64]:
    """The candidates whose motions are these, turned counter-clockwise by multiples of 6."""
    moving = np.asarray(candidates) - 1  # the orientations of each length in turn; -1 is no motion
    turned = (moving + np.asarray(degrees) // ORIENTATION_STEP_DEGREES) % N_ORIENTATIONS
    return np.where(moving < 0, 0, 1 + moving // N_ORIENTATIONS * N_ORIENTATIONS + turned)


def linear_kernel(motion: LinearMotion) -> NDArray[np.float64]:
    """The blur kernel of a motion of at most 27 px, an antialiased line: (27, 27) of sum 1.

    A tap weighs 1 minus its distance in pixels to the segment between the outer two of `length_px`
    points one pixel apart, where that is positive; then all are scaled to sum to 1. Along rows
    and columns an odd length gives that number of equal taps. MATLAB's ``fspecial('motion')``
    follows the same definition (from memory, unverified).
    """
    half_px = (motion.length_px - 1) / 2
    angle = np.deg2rad(motion.angle_degrees)
    direction_xy = np.array([np.cos(angle), -np.sin(angle)])  # rows count downwards
    radius = _KERNEL_PX // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    along = x * direction_xy[0] + y * direction_xy[1]
    across = x * direction_xy[1] - y * direction_xy[0]
    beyond = np.maximum(np.abs(along) - half_px, 0)
    taps = np.maximum(1 - np.hypot(across, beyond), 0)
    taps[taps < 1e-12] = 0  # else rounding of the cosine gives an upright line a second column
    kernel: NDArray[np.float64] = taps / taps.sum()
    return kernel


@lru_cache(maxsize=1)
def kernels() -> NDArray[np.float32]:
    """The kernels of all candidates: (361, 27, 27) float32, each of sum 1; read-only."""
    stack = np.stack([linear_kernel(motion) for motion in CANDIDATES]).astype(np.float32)
    stack.setflags(write=False)
    return stack


def transfers(side_px: int) -> Tensor:
    """Transfer functions of all kernels on a square: (361, side, side // 2 + 1) float32.

    A straight motion's kernel is its own mirror image, so they are real.
    """
    padded = torch.zeros(N_KERNELS, side_px, side_px)
    padded[:, :_KERNEL_PX, :_KERNEL_PX] = torch.from_numpy(kernels().copy())
    middle = _KERNEL_PX // 2
    spectra: Tensor = torch.fft.rfft2(padded.roll((-middle, -middle), (1, 2)))
    return spectra.real.contiguous()


def motion_vectors() -> NDArray[np.float32]:
    """The candidates as displacements during the exposure: (361, 2) float32.

    (u, v) in pixels to the right and **down**, as in optical flow; (0, 0) is no motion.
    Orientations in [0, 180) stand for both directions: v <= 0.
    """
    angles = np.deg2rad([motion.angle_degrees for motion in CANDIDATES])
    lengths_px = np.array([0, *(motion.length_px for motion in CANDIDATES[1:])])
    vectors = np.stack([lengths_px * np.cos(angles), -lengths_px * np.sin(angles)], axis=1)
    return vectors.astype(np.float32)
