"""From a blurred image to its motion field: dense confidences, their fusion, the random field."""

from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from baselines.sun2015.kernels import (
    N_KERNELS,
    ROTATIONS_DEGREES,
    TRAINED,
    motion_vectors,
    turned_candidate,
)
from baselines.sun2015.mrf import MrfOptions, smoothed_labels
from baselines.sun2015.network import GRID_PX, PATCH_PX, MotionClassifier
from baselines.sun2015.patches import moved, normalised
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb

_HALF_SEEN_PER_PX = 0.02
_LEAST_SIDE_PX = 64  # below, too few turned patches lie inside


@dataclass(frozen=True, kw_only=True)
class FieldOptions:
    """How a motion field is estimated."""

    stride_px: int = 8
    """Distance of the patches that are classified, a multiple of 4."""
    fusion_sigma_px: float = 12.0
    """Overlapping patches' confidences are fused with a Gaussian weight of this sigma; 0 leaves
    each patch alone."""
    fusion: Literal["product", "mean"] = "product"
    """``product``: the geometric mean, for which each patch may rule a candidate out; ``mean``: the
    arithmetic one of the paper."""
    flat_weight: float = 0.02
    """What a patch without any texture counts beside one with plenty: nothing is to be seen in it,
    and the network was trained on none. 1 weighs all alike, as the paper does."""
    mrf: MrfOptions = field(default_factory=MrfOptions)
    """How the field is smoothed."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 < self.flat_weight <= 1:
            raise InputError(f"flat_weight={self.flat_weight}: above 0 and at most 1.")
        if self.stride_px < GRID_PX or self.stride_px % GRID_PX or self.fusion_sigma_px < 0:
            raise InputError(
                f"stride_px={self.stride_px}: a multiple of {GRID_PX} was expected; "
                "fusion_sigma_px must not be negative."
            )


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
    """Confidences of all candidates on a grid, from a few turned copies of the image.

    Turning an image by some degrees turns its motions alike, so the trained six orientations become
    others. Patches that reach beyond the image do not count; points near its border take the
    nearest ones that lie inside.

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
    values = np.zeros((N_KERNELS, n_rows, n_columns), np.float32)
    for degrees in ROTATIONS_DEGREES:
        probabilities = _filled(_turned_probabilities(classifier, seen, points, degrees, stride))
        for place, candidate in enumerate(TRAINED):
            values[turned_candidate(candidate, -degrees)] += probabilities[place]
    values[0] /= len(ROTATIONS_DEGREES)  # every copy has an opinion on no motion
    values /= values.sum(axis=0)
    kept = [-(-side // stride) for side in size_hw]
    weights = _weights(seen, options)[:n_rows, :n_columns]
    single = Confidences(
        values[:, : kept[0], : kept[1]], weights[: kept[0], : kept[1]], stride, origin_px, size_hw
    )
    return fused(single, options)


def _weights(image: Rgb, options: FieldOptions) -> NDArray[np.float32]:
    """(h, w) weight of each patch on the grid, by its RMS slope in the direction of most.

    Across a motion, texture stays as sharp as it was; where no direction shows any, soft things
    stand still as often as sharp ones move.
    """
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    smooth = cv2.GaussianBlur(luma, (0, 0), 0.7)  # noise has slopes too
    x, y = (cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    step = options.stride_px
    xx, yy, xy = (
        cv2.boxFilter(product, -1, (PATCH_PX, PATCH_PX), anchor=(0, 0))[::step, ::step]
        for product in (x * x, y * y, x * y)
    )
    squared = (xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)
    seen = squared**2 / (squared**2 + _HALF_SEEN_PER_PX**4)
    return (options.flat_weight + (1 - options.flat_weight) * seen).astype(np.float32)


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
        values /= values.sum(axis=0)
    return replace(confidences, values=values, weights=weights)


_LEAST_CONFIDENCE = 1e-4  # no single patch rules a candidate out for all


def _turned_probabilities(
    classifier: MotionClassifier,
    image: Rgb,
    points: NDArray[np.float64],
    degrees: int,
    stride_px: int,
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
        turned = moved(image, to_turned[:2], size_wh)
    probabilities = _probabilities(classifier, turned, stride_px)
    rows, columns = probabilities.shape[-2:]
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
    if not degrees and rows == points.shape[1] and columns == points.shape[2]:
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
def _probabilities(classifier: MotionClassifier, image: Rgb, stride_px: int) -> torch.Tensor:
    """(73, h, w) on the CPU, a band of rows at a time so that large images fit into memory."""
    device = next(classifier.parameters()).device
    planes = torch.from_numpy(normalised(image)).permute(2, 0, 1)[None]
    n_rows = (image.shape[0] - PATCH_PX) // stride_px + 1
    n_band = max(1, _BAND_PX2 // (image.shape[1] * stride_px))
    bands = []
    for first in range(0, n_rows, n_band):
        last = min(first + n_band, n_rows) - 1
        band = planes[:, :, first * stride_px : last * stride_px + PATCH_PX]
        images = band.to(device, memory_format=torch.channels_last)
        bands.append(classifier(images, stride_px).softmax(dim=1)[0].float().cpu())
    return torch.cat(bands, dim=1).contiguous()


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


def estimate_field(
    classifier: MotionClassifier, blurred: Rgb, options: FieldOptions | None = None
) -> NDArray[np.int64]:
    """The motion field of a blurred image.

    Args:
        classifier: In evaluation mode.
        blurred: (H, W, 3) uint8.
        options: How.

    Returns:
        (H, W) int64 indices into `CANDIDATES`.
    """
    options = options or FieldOptions()
    return field_from(dense_confidences(classifier, blurred, options), options.mrf)


def field_from(confidences: Confidences, options: MrfOptions | None = None) -> NDArray[np.int64]:
    """The motion field that confidences and smoothness make: (H, W) int64 candidate indices."""
    unary = -confidences.values * confidences.weights
    surroundings = ndimage.gaussian_filter(
        unary, (0, _SURROUNDINGS_CELLS, _SURROUNDINGS_CELLS), mode="nearest", truncate=2.0
    )
    labels = smoothed_labels(unary, motion_vectors(), options, surroundings)
    return confidences.enlarged(labels)


_SURROUNDINGS_CELLS = 3.0
