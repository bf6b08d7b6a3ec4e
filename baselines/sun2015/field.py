"""From confidences to the motion that is undone: fusion of patches, smoothing, least risk."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from baselines.sun2015.confidences import LEAST_CONFIDENCE, Confidences, Sun2015Options
from baselines.sun2015.kernels import motion_vectors, transfers
from baselines.sun2015.mrf import smoothed_labels

CONTRAST = 0.15
"""Standard deviation of a photograph's light, of [0, 1]."""
N_INDEPENDENT = 4.0
"""Independent observations among the fused patches. Fusing takes the mean of logarithms, which is
as certain as a single patch; several independent ones are more certain. Of 3, 4 and 5 the best by
PSNR on 14 rendered clips that the network had not seen."""
NO_MOTION_PRIOR = 5.0
"""Prior odds of no motion against any other candidate: all were equally frequent in training, but
no motion is more frequent in images. By PSNR on the same clips 5 was slightly better than 1 and 30,
and sharp images are changed less."""

_SIDE_PX = 64
_SURROUNDINGS_CELLS = 3.0


def fused(confidences: Confidences, options: Sun2015Options) -> Confidences:
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
    return replace(confidences, values=values / values.sum(axis=0))


def smoothed_field(confidences: Confidences) -> NDArray[np.int64]:
    """The motion field of fused confidences: (H, W) int64 indices into `CANDIDATES`."""
    values = confidences.values
    # The best candidate of a cell has -1, however many are as likely.
    unary = -values * (1 / values.max(axis=0))
    surroundings = ndimage.gaussian_filter(
        unary, (0, _SURROUNDINGS_CELLS, _SURROUNDINGS_CELLS), mode="nearest", truncate=2.0
    )
    labels = smoothed_labels(unary, motion_vectors(), surroundings)
    return confidences.enlarged(labels)


@lru_cache(maxsize=4)
def expected_errors(noise_sigma: float) -> NDArray[np.float32]:
    """What error is left when one motion blurred an image and another is undone.

    The image has the mean power spectrum of photographs (1/f^2), and a Wiener filter undoes the
    motion; both are crude, but all that counts is how errors grow from motion to motion.

    Returns:
        (361, 361) float32, read-only: mean squared error by true motion and motion undone (the
        first, none, leaves the image as it is), in units of the image's variance.
    """
    transfer = transfers(_SIDE_PX).flatten(1).numpy()
    frequency = np.hypot(np.fft.fftfreq(_SIDE_PX)[:, None], np.fft.rfftfreq(_SIDE_PX)[None])
    multiplicity = np.full(frequency.shape, 2.0)  # of each frequency and its opposite
    multiplicity[:, [0, -1]] = 1
    signal = 1 / (frequency**2 + 0.5 / _SIDE_PX**2)
    signal[0, 0] = 0  # the mean is always known
    signal *= CONTRAST**2 / (signal * multiplicity).sum()
    power, times = signal.ravel(), multiplicity.ravel()
    noise = noise_sigma**2 / _SIDE_PX**2
    wiener = transfer * power / (transfer**2 * power + noise)
    wiener[0] = 1
    # |1 - wiener * transfer|^2, multiplied out.
    weights = power * times / CONTRAST**2
    errors = weights.sum() + (weights * transfer**2) @ (wiener**2).T
    errors -= 2 * (weights * transfer) @ wiener.T
    result: NDArray[np.float32] = errors.astype(np.float32)
    result.flags.writeable = False
    return result


def safest_field(confidences: Confidences, noise_sigma: float) -> NDArray[np.int64]:
    """The motion of least expected error at each pixel: (H, W) int64 indices into `CANDIDATES`.

    The likeliest motion is the wrong choice where others are nearly as likely. Undoing 23 pixels
    where 5 were costs several times what leaving the blur alone does, so uncertainty favours a
    shorter motion, and great uncertainty none.
    """
    logs = np.float32(N_INDEPENDENT) * np.log(np.maximum(confidences.values, 1e-12))
    logs[0] += np.float32(np.log(NO_MOTION_PRIOR))
    probabilities = np.exp(logs - logs.max(axis=0))
    probabilities /= probabilities.sum(axis=0)
    n_candidates, *grid = probabilities.shape
    risks = expected_errors(noise_sigma).T @ probabilities.reshape(n_candidates, -1)
    return confidences.enlarged(risks.argmin(axis=0).reshape(grid))
