"""Which motion to undo, when none is certain: the one with the least expected error.

The likeliest motion is the wrong choice where others are nearly as likely. Undoing 23 pixels where
5 were costs several times what leaving the blur alone does, so uncertainty favours a shorter
motion, and great uncertainty none.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from baselines.sun2015.confidences import Confidences
from baselines.sun2015.kernels import kernels

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


@lru_cache(maxsize=4)
def expected_errors(noise_sigma: float) -> NDArray[np.float32]:
    """What error is left when one motion blurred an image and another is undone.

    The image has the mean power spectrum of photographs (1/f^2), and a Wiener filter undoes the
    motion; both are crude, but all that counts is how errors grow from motion to motion.

    Args:
        noise_sigma: Noise that the filter assumes, of [0, 1], above 0.

    Returns:
        (361, 361) float32, read-only: mean squared error by true motion and motion undone (the
        first, none, leaves the image as it is), in units of the image's variance.
    """
    sampled = kernels()
    middle = sampled.shape[1] // 2
    padded = np.zeros((len(sampled), _SIDE_PX, _SIDE_PX), np.float32)
    padded[:, : sampled.shape[1], : sampled.shape[2]] = sampled
    centred = np.roll(padded, (-middle, -middle), axis=(1, 2))
    # A straight motion's kernel is its own mirror image: its spectrum is real.
    transfer = np.fft.rfft2(centred).real.reshape(len(sampled), -1)
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
    """The motion of least expected error at each pixel.

    Args:
        confidences: Fused.
        noise_sigma: Noise that the deconvolution assumes, of [0, 1].

    Returns:
        (H, W) int64 indices into `CANDIDATES`.
    """
    logs = np.float32(N_INDEPENDENT) * np.log(np.maximum(confidences.values, 1e-12))
    logs[0] += np.float32(np.log(NO_MOTION_PRIOR))
    probabilities = np.exp(logs - logs.max(axis=0))
    probabilities /= probabilities.sum(axis=0)
    n_candidates, *grid = probabilities.shape
    risks = expected_errors(noise_sigma).T @ probabilities.reshape(n_candidates, -1)
    return confidences.enlarged(risks.argmin(axis=0).reshape(grid))
