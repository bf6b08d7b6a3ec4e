"""Sizes of the windows of SSIM."""

GAUSSIAN_SIGMA = 1.5
GAUSSIAN_RADIUS = 5
"""11 taps: what 3.5 σ (scikit-image) and MATLAB's ``ceil(3 σ)`` both round to."""
GAUSSIAN_SIZE = 2 * GAUSSIAN_RADIUS + 1
UNIFORM_SIZE = 7
