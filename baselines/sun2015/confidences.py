"""How well each candidate motion explains the blur at each point of a grid.

The network classifies the patches of an image and of a few turned and shrunk copies of it. Turning
an image turns its motions by the same angle, so the six trained orientations become others;
shrinking it shortens them (`at_full_size`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from baselines.sun2015.kernels import LENGTHS_PX, N_KERNELS, TRAINED, turned_candidates
from baselines.sun2015.network import GRID_PX, PATCH_PX, MotionClassifier
from baselines.sun2015.patches import TURNS_DEGREES, centred, normalised
from gopro_tools.images import Rgb

LEAST_CONFIDENCE = 1e-4
"""Added before logarithms are taken: no single patch, and no single copy, excludes a candidate."""

_HALF_DETAIL_PER_PX = 0.01
_FINE_SIGMAS_PX = (0.7, 2.0)  # noise is finer, defocused detail coarser
_LEAST_SIDE_PX = 64  # below, too few turned patches lie inside
_MIDDLE_PX = (PATCH_PX - 1) / 2  # of a patch, in x and in y, in pixel centres
_BAND_PX2 = 120_000  # pixels classified at a time, so that large images fit into memory


@dataclass(frozen=True, kw_only=True)
class Sun2015Options:
    """How an image is restored; the defaults are the paper's as far as it is known."""

    normalise: bool = False
    """Show the network pixels against their surroundings (`patches.normalised`), as in training."""
    stride_px: int = 6
    """Distance of the patches that are classified, an even number."""
    turns_degrees: tuple[int, ...] = tuple(range(-24, 25, 6))
    """Copies of the image that are classified, turned by multiples of 6 degrees; with the trained
    orientations they reach all 30."""
    sizes: tuple[float, ...] = (1.0,)
    """Sizes of the copies: 1, and smaller ones. A patch shows too little of a long motion to
    distinguish 17 pixels from 21; in a small copy it is a short one. Copies below 64 pixels are
    left out."""
    fusion_sigma_px: float = 10.0
    """Confidences of overlapping patches are fused with a Gaussian weight of this sigma."""
    fusion: Literal["product", "mean"] = "mean"
    """``mean``: the arithmetic mean of the paper; ``product``: the geometric mean, with which each
    patch may exclude a candidate."""
    flat_weight: float = 1.0
    """Weight of a patch without texture beside one with plenty; 1 weighs all the same."""
    cautious: bool = False
    """Undo the motion of least expected error (`field.safest_field`) instead of the smoothed field,
    and keep the blurred image where nothing moves, or where no fine detail is left to estimate
    motion from."""


PAPER = Sun2015Options()
"""`sun2015`."""

PLUS = Sun2015Options(
    normalise=True,
    stride_px=8,
    turns_degrees=TURNS_DEGREES,
    sizes=(1.0, 0.5, 0.35),
    fusion_sigma_px=16.0,
    fusion="product",
    flat_weight=0.02,
    cautious=True,
)
"""`sun2015-plus`."""


@dataclass(frozen=True)
class Confidences:
    """How well each candidate explains the blur around each point of a grid."""

    values: NDArray[np.float32]
    """(361, h, w) float32, at least 0, of sum 1 over the candidates."""
    weights: NDArray[np.float32]
    """(h, w) float32 in (0, 1]: how much detail there is to estimate motion from."""
    stride_px: int
    """Distance of the points, the first of which is the middle of the image's first patch."""
    size_hw: tuple[int, int]
    """Of the image."""

    def enlarged(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(h, w) to (H, W): each pixel takes the label of the nearest point."""
        rows, columns = (
            np.clip(np.rint((np.arange(side) - _MIDDLE_PX) / self.stride_px), 0, n - 1)
            for side, n in zip(self.size_hw, labels.shape, strict=True)
        )
        return labels[rows.astype(np.int64)[:, None], columns.astype(np.int64)]


def dense_confidences(
    classifier: MotionClassifier, blurred: Rgb, options: Sun2015Options
) -> Confidences:
    """Confidences of all candidates on a grid, each patch by itself; see `field.fused`.

    Patches that reach beyond the (H, W, 3) uint8 image do not count; points near its border take
    the nearest ones that lie inside.
    """
    size_hw = (blurred.shape[0], blurred.shape[1])
    short = [(0, max(0, _LEAST_SIDE_PX - side)) for side in size_hw]
    seen = np.pad(blurred, [*short, (0, 0)], mode="symmetric")
    stride = options.stride_px
    n_rows, n_columns = ((side - PATCH_PX) // stride + 1 for side in seen.shape[:2])
    y, x = np.mgrid[:n_rows, :n_columns] * float(stride) + _MIDDLE_PX
    points = np.stack([x, y, np.ones_like(x)])
    sizes = [size for size in options.sizes if size * min(seen.shape[:2]) >= _LEAST_SIDE_PX]
    values = _geometric_mean(
        [_confidences_at(size, classifier, seen, points, options) for size in sizes]
    )
    detail = detail_per_patch(seen, stride, _HALF_DETAIL_PER_PX)
    weights = options.flat_weight + (1 - options.flat_weight) * detail
    rows, columns = (slice(-(-side // stride)) for side in size_hw)
    return Confidences(
        values[:, rows, columns],
        weights[:n_rows, :n_columns][rows, columns].astype(np.float32),
        stride,
        size_hw,
    )


def _geometric_mean(opinions: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Of confidences, each (361, h, w) of sum 1, to the same: each may exclude a candidate."""
    if len(opinions) == 1:
        return opinions[0]
    logs = sum(np.log(each + np.float32(LEAST_CONFIDENCE)) for each in opinions)
    values = np.exp(logs / np.float32(len(opinions)))
    result: NDArray[np.float32] = values / values.sum(axis=0)
    return result


def _confidences_at(
    size: float,
    classifier: MotionClassifier,
    image: Rgb,
    points: NDArray[np.float64],
    options: Sun2015Options,
) -> NDArray[np.float32]:
    """(361, h, w) confidences at points of an image, from turned copies of it at one size."""
    height, width = image.shape[:2]
    small_wh = (round(width * size), round(height * size))
    if small_wh != (width, height):
        image = cv2.resize(image, small_wh, interpolation=cv2.INTER_AREA).astype(np.uint8)
        shrunk = np.array([[[small_wh[0] / width]], [[small_wh[1] / height]], [[1]]])
        points = (points + 0.5) * shrunk - 0.5
        stride = GRID_PX * max(1, round(options.stride_px * size / GRID_PX))
        options = replace(options, stride_px=stride)
    values = np.zeros((N_KERNELS, *points.shape[1:]), np.float32)
    n_copies = np.zeros(N_KERNELS, np.float32)  # that show each candidate
    for degrees in options.turns_degrees:
        found = _filled(_turned_probabilities(classifier, image, points, degrees, options))
        shown = turned_candidates(TRAINED, -degrees)
        values[shown] += at_full_size(found, size)
        n_copies[shown] += 1
    values /= n_copies[:, None, None]
    values /= values.sum(axis=0)
    return values


def at_full_size(probabilities: NDArray[np.float32], size: float) -> NDArray[np.float32]:
    """Probabilities of motions in the image, from those in a shrunk copy of it.

    A motion over n pixels has the variance (n^2 - 1) / 12, and size^2 times that in the copy.
    Logarithms are interpolated between the trained lengths. (73, h, w) float32 to the same, of
    sum 1; size is at most 1.
    """
    if size == 1:
        return probabilities
    n_lengths, spatial = len(LENGTHS_PX), probabilities.shape[1:]
    logs = np.log(probabilities + np.float32(LEAST_CONFIDENCE))
    moving = logs[1:].reshape(n_lengths - 1, -1, *spatial)
    # No motion is the shortest length of every orientation.
    still = np.broadcast_to(logs[0], moving.shape[1:])
    by_length = np.concatenate([still[None], moving])
    lengths = np.array(LENGTHS_PX, np.float64)
    small = np.sqrt(1 + size**2 * (lengths[1:] ** 2 - 1))
    places = np.interp(small, lengths, np.arange(n_lengths))
    lower = np.minimum(places.astype(int), n_lengths - 2)
    upper_share = (places - lower).astype(np.float32)[:, None, None, None]
    stretched = (1 - upper_share) * by_length[lower] + upper_share * by_length[lower + 1]
    values = np.exp(np.concatenate([logs[:1], stretched.reshape(-1, *spatial)]))
    result: NDArray[np.float32] = values / values.sum(axis=0)
    return result


def _turned_probabilities(
    classifier: MotionClassifier,
    image: Rgb,
    points: NDArray[np.float64],
    degrees: int,
    options: Sun2015Options,
) -> NDArray[np.float32]:
    """Probabilities of the classes in an image turned counter-clockwise, at points of the image.

    (73, h, w) float32; NaN where no patch inside the image is near.
    """
    height, width = image.shape[:2]
    to_turned = np.vstack(
        [cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0), [0, 0, 1]]
    )
    corners = to_turned @ np.array(
        [[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]]
    )
    left, top = np.floor(corners[:2].min(axis=1) + 1e-6)
    right, bottom = np.ceil(corners[:2].max(axis=1) - 1e-6)
    to_turned[:2, 2] -= left, top
    size_wh = (int(right - left) + 1, int(bottom - top) + 1)
    turned = cv2.warpAffine(
        image, to_turned[:2], size_wh, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    probabilities = _probabilities(classifier, turned.astype(np.uint8, copy=False), options)
    rows, columns = probabilities.shape[-2:]
    stride_px = options.stride_px
    # Whether the corners of each patch lie inside the image.
    y, x = np.mgrid[:rows, :columns] * float(stride_px)
    ends = (0, PATCH_PX - 1)
    patch_corners = [[x + right, y + down, np.ones_like(x)] for down in ends for right in ends]
    at_x, at_y, _ = np.einsum("ij,cjyx->icyx", np.linalg.inv(to_turned), patch_corners)
    inside = ((at_x > -1) & (at_x < width) & (at_y > -1) & (at_y < height)).all(axis=0)
    at = np.einsum("ij,jyx->iyx", to_turned, points)
    grid = (at[:2] - _MIDDLE_PX) / stride_px
    if grid.shape[1:] == (rows, columns) and np.allclose(grid, np.mgrid[:rows, :columns][::-1]):
        return probabilities.numpy()
    scale = 2 / np.maximum(np.array([columns - 1, rows - 1]), 1)
    sampled_at = torch.from_numpy((np.moveaxis(grid, 0, -1) * scale - 1).astype(np.float32)[None])
    weight = torch.from_numpy(inside.astype(np.float32))[None, None]
    both = torch.cat([probabilities[None] * weight, weight], dim=1)
    sampled = F.grid_sample(both, sampled_at, padding_mode="zeros", align_corners=True)[0]
    found, seen = sampled[:-1], sampled[-1:]
    result: NDArray[np.float32] = torch.where(seen > 0.25, found / seen, torch.nan).numpy()
    return result


@torch.inference_mode()
def _probabilities(
    classifier: MotionClassifier, image: Rgb, options: Sun2015Options
) -> torch.Tensor:
    """(73, h, w) on the CPU, a band of rows at a time so that large images fit into memory.

    One pass classifies patches 4 px apart; for other strides, shifted passes are interleaved.
    """
    device = next(classifier.parameters()).device
    stride = options.stride_px
    codes = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
    planes = (normalised if options.normalise else centred)(codes.to(device))
    n_rows, n_columns = ((side - PATCH_PX) // stride + 1 for side in image.shape[:2])
    n_passes = GRID_PX // math.gcd(stride, GRID_PX)
    found = torch.empty(len(TRAINED), n_rows, n_columns)
    n_band = n_passes * max(1, _BAND_PX2 // (image.shape[1] * stride * n_passes))
    for first in range(0, n_rows, n_band):
        last = min(first + n_band, n_rows) - 1
        band = planes[:, :, first * stride : last * stride + PATCH_PX]
        for down in range(min(n_passes, last - first + 1)):
            for right in range(min(n_passes, n_columns)):
                seen = band[:, :, down * stride :, right * stride :]
                logits = classifier(
                    seen.contiguous(memory_format=torch.channels_last), stride * n_passes
                )
                part = found[:, first + down : last + 1 : n_passes, right::n_passes]
                part.copy_(logits.float().softmax(dim=1)[0])
    return found


def _filled(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points that no patch inside the image is near take the values of the nearest one."""
    rows, columns = ndimage.distance_transform_edt(
        np.isnan(probabilities[0]), return_distances=False, return_indices=True
    )
    return probabilities[:, rows, columns]


def detail_per_patch(image: Rgb, stride_px: int, half_per_px: float) -> NDArray[np.float32]:
    """How much fine detail a patch has in the direction that shows most of it, in [0, 1].

    Across a motion, detail stays as fine as it was; where no direction shows any, things are flat
    or out of focus, and look the same whether they move or not. The result is 0.5 where fine
    detail of luma in [0, 1] has an RMS slope of ``half_per_px``.

    Returns:
        (h, w) float32: one per patch whose upper left corner lies in the (H, W, 3) uint8 image,
        which is mirrored beyond its border.
    """
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    finer, coarser = (cv2.GaussianBlur(luma, (0, 0), sigma_px) for sigma_px in _FINE_SIGMAS_PX)
    fine = cv2.subtract(finer, coarser)
    x, y = (cv2.Sobel(fine, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    xx, yy, xy = (
        cv2.boxFilter(product, -1, (PATCH_PX, PATCH_PX), anchor=(0, 0))[::stride_px, ::stride_px]
        for product in (x * x, y * y, x * y)
    )
    squared = (xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)
    detail = squared**2 / (squared**2 + half_per_px**4)
    return detail.astype(np.float32)
