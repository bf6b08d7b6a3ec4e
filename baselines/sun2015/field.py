"""From a blurred image to its motion field: dense confidences, their fusion, the random field."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from baselines.sun2015.kernels import (
    LENGTHS_PX,
    N_KERNELS,
    N_ORIENTATIONS,
    TRAINED,
    TRAINED_STEP_DEGREES,
    motion_vectors,
    turned_candidate,
)
from baselines.sun2015.mrf import MrfOptions, smoothed_labels
from baselines.sun2015.network import GRID_PX, PATCH_PX, MotionClassifier
from baselines.sun2015.patches import TURNS_DEGREES, centred, normalised
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb

_HALF_SEEN_PER_PX = 0.01
_LEAST_SIDE_PX = 64  # below, too few turned patches lie inside
_LEAST_CONFIDENCE = 1e-4  # no single patch, and no single copy, rules a candidate out for all


@dataclass(frozen=True, kw_only=True)
class FieldOptions:
    """How a motion field is estimated; the defaults are the paper's as far as it is known."""

    normalise: bool = False
    """Show the network pixels against their surroundings (`patches.normalised`), as in training."""
    stride_px: int = 6
    """Distance of the patches that are classified, an even number."""
    turns_degrees: tuple[int, ...] = tuple(range(-24, 25, 6))
    """Copies of the image that are classified, turned by multiples of 6 degrees."""
    sizes: tuple[float, ...] = (1.0,)
    """Sizes of the copies. A patch shows too little of a long motion to distinguish 17 pixels from
    21; in a smaller copy it is a short one. Copies below 64 pixels are left out."""
    fusion_sigma_px: float = 10.0
    """Overlapping patches' confidences are fused with a Gaussian weight of this sigma; 0 leaves
    each patch alone."""
    fusion: Literal["product", "mean"] = "mean"
    """``mean``: the arithmetic mean of the paper; ``product``: the geometric mean, for which each
    patch may rule a candidate out."""
    neighbour_support: float = 0.0
    """How much candidates next to each other, in length or orientation, support one another: the
    network spreads its confidence over what it cannot distinguish."""
    flat_weight: float = 1.0
    """Weight of a patch without texture beside one with plenty; 1 weighs all alike."""
    mrf: MrfOptions = field(default_factory=lambda: MrfOptions(largest_difference_px=None))
    """How the field is smoothed."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 <= self.neighbour_support <= 0.6:
            raise InputError(f"neighbour_support={self.neighbour_support}: 0 to 0.6 was expected.")
        if not 0 < self.flat_weight <= 1:
            raise InputError(f"flat_weight={self.flat_weight}: above 0 and at most 1.")
        if not self.sizes or not all(0 < size <= 1 for size in self.sizes):
            raise InputError(f"sizes={self.sizes}: above 0 and at most 1, at least one of them.")
        if not {t % TRAINED_STEP_DEGREES for t in self.turns_degrees} >= set(range(0, 30, 6)):
            raise InputError(
                f"turns_degrees={self.turns_degrees}: multiples of 6 that reach all orientations "
                "were expected, such as -12 -6 0 6 12."
            )
        if self.stride_px < 2 or self.stride_px % 2 or self.fusion_sigma_px < 0:
            raise InputError(
                f"stride_px={self.stride_px}: a positive even number was expected; "
                "fusion_sigma_px must not be negative."
            )


PAPER_FIELD = FieldOptions()
"""As in the paper."""

PLUS_FIELD = FieldOptions(
    normalise=True,
    stride_px=8,
    turns_degrees=TURNS_DEGREES,
    sizes=(1.0, 0.5, 0.35),
    fusion_sigma_px=16.0,
    fusion="product",
    neighbour_support=0.5,
    flat_weight=0.02,
    mrf=MrfOptions(),
)
"""As `sun2015-plus` does it."""


@dataclass(frozen=True)
class Confidences:
    """How well each candidate explains the blur around each point of a grid."""

    values: NDArray[np.float32]
    """(361, h, w) float32, at least 0, of sum 1 over the candidates."""
    weights: NDArray[np.float32]
    """(h, w) float32 in (0, 1]: how much there is to see; `FieldOptions.flat_weight` where nothing
    is."""
    stride_px: int
    """Distance of the points."""
    origin_px: float
    """Coordinate of the first point, x and y alike, in pixel centres."""
    size_hw: tuple[int, int]
    """Of the image."""

    def enlarged(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(H, W) of (h, w): each pixel takes the nearest point's label."""
        rows, columns = (
            np.clip(np.rint((np.arange(side) - self.origin_px) / self.stride_px), 0, n - 1)
            for side, n in zip(self.size_hw, labels.shape, strict=True)
        )
        return labels[rows.astype(np.int64)[:, None], columns.astype(np.int64)]


def dense_confidences(
    classifier: MotionClassifier, blurred: Rgb, options: FieldOptions | None = None
) -> Confidences:
    """Confidences of all candidates on a grid, from a few turned and shrunk copies of the image.

    Turning an image by some degrees turns its motions alike, so the trained six orientations become
    others; shrinking it shortens them (`at_full_size`). Patches that reach beyond the image do not
    count; points near its border take the nearest ones that lie inside.

    Args:
        classifier: In evaluation mode, on any device.
        blurred: (H, W, 3) uint8.
        options: Grid and fusion.
    """
    options = options or FieldOptions()
    size_hw = (blurred.shape[0], blurred.shape[1])
    short = [max(0, _LEAST_SIDE_PX - side) for side in size_hw]
    seen = np.pad(blurred, ((0, short[0]), (0, short[1]), (0, 0)), mode="symmetric")
    stride = options.stride_px
    origin_px = (PATCH_PX - 1) / 2
    n_rows, n_columns = ((side - PATCH_PX) // stride + 1 for side in seen.shape[:2])
    y, x = np.mgrid[:n_rows, :n_columns] * float(stride) + origin_px
    points = np.stack([x, y, np.ones_like(x)])
    sizes = [size for size in options.sizes if size * min(seen.shape[:2]) >= _LEAST_SIDE_PX]
    values = _geometric_mean(
        [
            _confidences_at(size, classifier, seen, points, options)
            for size in sizes or [max(options.sizes)]
        ]
    )
    kept = [-(-side // stride) for side in size_hw]
    weights = _weights(seen, options)[:n_rows, :n_columns]
    single = Confidences(
        values[:, : kept[0], : kept[1]], weights[: kept[0], : kept[1]], stride, origin_px, size_hw
    )
    return fused(single, options)


def _geometric_mean(opinions: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Of confidences, each (361, h, w) of sum 1, to the same: each may rule a candidate out."""
    if len(opinions) == 1:
        return opinions[0]
    logs = sum(np.log(each + np.float32(_LEAST_CONFIDENCE)) for each in opinions)
    values = np.exp(logs / np.float32(len(opinions)))
    result: NDArray[np.float32] = values / values.sum(axis=0)
    return result


def _confidences_at(
    size: float,
    classifier: MotionClassifier,
    image: Rgb,
    points: NDArray[np.float64],
    options: FieldOptions,
) -> NDArray[np.float32]:
    """(361, h, w) confidences at points of an image, from turned copies of it at one size."""
    height, width = image.shape[:2]
    small_wh = (max(PATCH_PX, round(width * size)), max(PATCH_PX, round(height * size)))
    if small_wh != (width, height):
        image = cv2.resize(image, small_wh, interpolation=cv2.INTER_AREA).astype(np.uint8)
        points = points.copy()
        points[0] = (points[0] + 0.5) * (small_wh[0] / width) - 0.5
        points[1] = (points[1] + 0.5) * (small_wh[1] / height) - 0.5
        stride = GRID_PX * max(1, round(options.stride_px * size / GRID_PX))
        options = replace(options, stride_px=stride)
    values = np.zeros((N_KERNELS, *points.shape[1:]), np.float32)
    n_copies = np.zeros(N_KERNELS, np.float32)  # that show each candidate
    for degrees in options.turns_degrees:
        found = _filled(_turned_probabilities(classifier, image, points, degrees, options))
        probabilities = at_full_size(found, size)
        for place, candidate in enumerate(TRAINED):
            values[turned_candidate(candidate, -degrees)] += probabilities[place]
            n_copies[turned_candidate(candidate, -degrees)] += 1
    values /= n_copies[:, None, None]
    values /= values.sum(axis=0)
    return values


def at_full_size(probabilities: NDArray[np.float32], size: float) -> NDArray[np.float32]:
    """What the motions of a shrunk copy say of those of the image.

    A motion over n pixels, each of them counted, has the variance (n^2 - 1) / 12; a copy has size^2
    times that. Between the lengths that were trained, logarithms are interpolated.

    Args:
        probabilities: (73, h, w) float32 of `TRAINED`, in the copy.
        size: Of the copy, at most 1.

    Returns:
        (73, h, w) float32 of `TRAINED`, in the image, of sum 1.
    """
    if size == 1:
        return probabilities
    n_lengths, spatial = len(LENGTHS_PX), probabilities.shape[1:]
    logs = np.log(probabilities + np.float32(_LEAST_CONFIDENCE))
    moving = logs[1:].reshape(n_lengths - 1, -1, *spatial)
    # No motion is the shortest of every orientation.
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


def _weights(image: Rgb, options: FieldOptions) -> NDArray[np.float32]:
    """(h, w) weight of each patch: up to 1, or `flat_weight` where nothing is seen in it."""
    seen = seen_per_patch(image, options.stride_px, _HALF_SEEN_PER_PX)
    return (options.flat_weight + (1 - options.flat_weight) * seen).astype(np.float32)


def seen_per_patch(image: Rgb, stride_px: int, half_per_px: float) -> NDArray[np.float32]:
    """How much of a motion there is to see, by the finest detail in the direction of most.

    Across a motion, detail stays as fine as it was; where no direction shows any, things are flat
    or out of focus, and look alike whether they move or not.

    Args:
        image: (H, W, 3) uint8, blurred.
        stride_px: Distance of the patches.
        half_per_px: RMS slope of fine detail (luma in [0, 1], a pixel) at which 0.5 is seen.

    Returns:
        (h, w) float32 in [0, 1], a value for each patch that begins in the image; those that reach
        beyond it see it mirrored.
    """
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    # Noise is finer still, and what is out of focus coarser.
    finer, coarser = (cv2.GaussianBlur(luma, (0, 0), sigma_px) for sigma_px in _FINE_SIGMAS_PX)
    fine = cv2.subtract(finer, coarser)
    x, y = (cv2.Sobel(fine, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    xx, yy, xy = (
        cv2.boxFilter(product, -1, (PATCH_PX, PATCH_PX), anchor=(0, 0))[::stride_px, ::stride_px]
        for product in (x * x, y * y, x * y)
    )
    squared = (xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)
    seen = squared**2 / (squared**2 + half_per_px**4)
    return seen.astype(np.float32)


_FINE_SIGMAS_PX = (0.7, 2.0)


def fused(confidences: Confidences, options: FieldOptions) -> Confidences:
    """Gaussian-weighted mean over overlapping patches, the textured ones first."""
    if options.fusion_sigma_px == 0:
        return confidences
    sigma = options.fusion_sigma_px / confidences.stride_px

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        sigmas = (0,) * (values.ndim - 2) + (sigma, sigma)
        smooth: NDArray[np.float32] = ndimage.gaussian_filter(
            values, sigmas, mode="nearest", truncate=2.5
        )
        return smooth

    weights = mean(confidences.weights)
    if options.fusion == "mean":
        values = mean(confidences.values * confidences.weights) / weights
    else:
        logs = np.log(confidences.values + np.float32(_LEAST_CONFIDENCE))
        values = np.exp(mean(logs * confidences.weights) / weights)
    return replace(confidences, values=values / values.sum(axis=0), weights=weights)


def supported(values: NDArray[np.float32], support: float) -> NDArray[np.float32]:
    """Each candidate's confidence with those of the candidates around it.

    Args:
        values: (361, h, w), of `CANDIDATES`.
        support: Weight of the lengths 2 px shorter and longer; orientations 6 degrees off have 1.5
            times this, those 12 degrees off half as much as those.

    Returns:
        (361, h, w), not of sum 1.
    """
    if not support:
        return values
    n_lengths = (N_KERNELS - 1) // N_ORIENTATIONS
    moving = values[1:].reshape(n_lengths, N_ORIENTATIONS, *values.shape[1:])
    beside = moving.copy()
    for steps in (1, 2):
        both = np.roll(moving, steps, axis=1) + np.roll(moving, -steps, axis=1)
        beside += np.float32(1.5 * support / steps) * both
    result = beside.copy()
    result[1:] += np.float32(support) * beside[:-1]
    result[:-1] += np.float32(support) * beside[1:]
    result[0] += np.float32(support) * values[0]
    none = values[0] * np.float32(1 + support)
    return np.concatenate([none[None], result.reshape(N_KERNELS - 1, *values.shape[1:])])


def _turned_probabilities(
    classifier: MotionClassifier,
    image: Rgb,
    points: NDArray[np.float64],
    degrees: int,
    options: FieldOptions,
) -> NDArray[np.float32]:
    """Probabilities of the classes in an image turned counter-clockwise, at points of the image.

    Returns:
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
    turned = image
    if degrees:
        turned = cv2.warpAffine(
            image, to_turned[:2], size_wh, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        ).astype(np.uint8, copy=False)
    probabilities = _probabilities(classifier, turned, options)
    rows, columns = probabilities.shape[-2:]
    stride_px = options.stride_px
    # Whether the corners of each patch lie inside the image.
    from_turned = np.linalg.inv(to_turned)
    inside = np.ones((rows, columns), bool)
    patch_y, patch_x = np.mgrid[:rows, :columns] * float(stride_px)
    for dy in (0, PATCH_PX - 1):
        for dx in (0, PATCH_PX - 1):
            place = np.stack([patch_x + dx, patch_y + dy, np.ones_like(patch_x)])
            at = np.einsum("ij,jyx->iyx", from_turned, place)
            inside &= (at[0] > -1) & (at[0] < width) & (at[1] > -1) & (at[1] < height)
    at = np.einsum("ij,jyx->iyx", to_turned, points)
    grid = (at[:2] - (PATCH_PX - 1) / 2) / stride_px
    if grid.shape[1:] == (rows, columns) and np.allclose(grid, np.mgrid[:rows, :columns][::-1]):
        return probabilities.numpy()
    scale = 2 / np.maximum(np.array([columns - 1, rows - 1]), 1)
    sampled_at = torch.from_numpy((np.moveaxis(grid, 0, -1) * scale - 1).astype(np.float32)[None])
    weight = torch.from_numpy(inside.astype(np.float32))[None, None]
    both = torch.cat([probabilities[None] * weight, weight], dim=1)
    sampled = F.grid_sample(both, sampled_at, padding_mode="zeros", align_corners=True)[0].numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float32] = np.where(
            sampled[-1:] > 0.25, sampled[:-1] / sampled[-1:], np.nan
        )
    return result


@torch.inference_mode()
def _probabilities(classifier: MotionClassifier, image: Rgb, options: FieldOptions) -> torch.Tensor:
    """(73, h, w) on the CPU, a band of rows at a time so that large images fit into memory.

    One pass looks at every fourth pixel; for other strides, shifted passes are interleaved.
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


_BAND_PX2 = 120_000


def _filled(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest patch that lies inside the image speaks for where none does."""
    known = np.isfinite(probabilities[0])
    if known.all():
        return probabilities
    if not known.any():
        return np.full_like(probabilities, 1 / len(probabilities))
    rows, columns = ndimage.distance_transform_edt(
        ~known, return_distances=False, return_indices=True
    )
    return probabilities[:, rows, columns]


def field_from(confidences: Confidences, options: FieldOptions | None = None) -> NDArray[np.int64]:
    """The motion field that fused confidences and smoothness make.

    Args:
        confidences: Fused.
        options: How neighbours support one another, and the random field.

    Returns:
        (H, W) int64 indices into `CANDIDATES`.
    """
    options = options or FieldOptions()
    values = supported(confidences.values, options.neighbour_support)
    # The best candidate of a cell where all is seen has -1, however many are as likely.
    unary = -values * (confidences.weights / values.max(axis=0))
    surroundings = ndimage.gaussian_filter(
        unary, (0, _SURROUNDINGS_CELLS, _SURROUNDINGS_CELLS), mode="nearest", truncate=2.0
    )
    labels = smoothed_labels(unary, motion_vectors(), options.mrf, surroundings)
    return confidences.enlarged(labels)


_SURROUNDINGS_CELLS = 3.0
