"""From confidences to the motion field: fusion of overlapping patches, and the random field."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from baselines.sun2015.confidences import LEAST_CONFIDENCE, Confidences, FieldOptions
from baselines.sun2015.kernels import N_KERNELS, N_ORIENTATIONS, motion_vectors
from baselines.sun2015.mrf import smoothed_labels

_SURROUNDINGS_CELLS = 3.0


def fused(confidences: Confidences, options: FieldOptions) -> Confidences:
    """The Gaussian-weighted mean over overlapping patches, each by how much detail it shows."""
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
        logs = np.log(confidences.values + np.float32(LEAST_CONFIDENCE))
        values = np.exp(mean(logs * confidences.weights) / weights)
    return replace(confidences, values=values / values.sum(axis=0), weights=weights)


def supported(values: NDArray[np.float32], support: float) -> NDArray[np.float32]:
    """Each candidate's confidence plus those of the candidates around it.

    Args:
        values: (361, h, w), of `CANDIDATES`.
        support: Weight of lengths 2 px shorter or longer, up to 0.6; orientations 6 degrees off
            have 1.5 times this weight, those 12 degrees off 0.75 times.

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


def field_from(confidences: Confidences, options: FieldOptions) -> NDArray[np.int64]:
    """The motion field of fused confidences: (H, W) int64 indices into `CANDIDATES`."""
    values = supported(confidences.values, options.neighbour_support)
    # The best candidate of a cell full of detail has -1, however many are as likely.
    unary = -values * (confidences.weights / values.max(axis=0))
    surroundings = ndimage.gaussian_filter(
        unary, (0, _SURROUNDINGS_CELLS, _SURROUNDINGS_CELLS), mode="nearest", truncate=2.0
    )
    labels = smoothed_labels(unary, motion_vectors(), options.mrf, surroundings)
    return confidences.enlarged(labels)
