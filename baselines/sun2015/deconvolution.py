"""Non-uniform deconvolution by half-quadratic splitting, with a patch prior or a gradient prior.

Minimised over the sharp image x, by alternating with an auxiliary z that a growing penalty beta
ties to x (Sun et al. 2015, section 5; EPLL: Zoran & Weiss, ICCV 2011; hyper-Laplacian: Krishnan &
Fergus, NIPS 2009):

    1 / (2 sigma^2) |M (K x - y)|^2  +  beta / 2 |P x - z|^2  -  log p(z)

- K is **one sparse matrix**: a row for each blurred pixel with the taps of that pixel's kernel, so
  the cost of a product is the sum of all taps (some 25 million at 1280x720), however many kernels
  are in use; one FFT per kernel costs far more (`benchmarks.speed deconvolve`).
- Its columns are the pixels of a **larger** image: what moved in from outside is unknown, so it is
  estimated too and cropped. Nothing wraps round, so the borders do not ring.
- M leaves out **clipped pixels** where the estimate is at least as bright (at first: nearly), since
  the sensor would have recorded the same. The linear model does not hold there, and bright lights
  would ring.
- x is found by conjugate gradients, starting from the last estimate; all arithmetic is float32.

| | paper (from memory, unverified) | here |
|---|---|---|
| prior | EPLL, 200 components, all patches | `--prior epll`: a grid, shifted at each step |
| | | `--prior hyper-laplacian`: faster |
| colour | not known to us | one choice of component for the three channels |
| 720p image | about 20 minutes | see `python -m benchmarks.speed deconvolve` |
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.devices import chosen_device
from baselines.sun2015.blur import VaryingBlur
from baselines.sun2015.prior import PATCH_PX, PatchDenoiser, Spectrum
from gopro_tools.errors import InputError
from gopro_tools.threads import Progress, no_progress

Prior = Literal["epll", "hyper-laplacian"]

_N_PENALTIES = 7
"""EPLL: penalties, each twice the one before."""
_FIRST_PENALTY = 0.005
"""EPLL: the first penalty, in units of 1 / noise_sigma^2."""
_PATCH_STRIDE = 4
"""EPLL: pixels between patches; the grid moves at every step."""
_GRADIENT_WEIGHT = 0.05
"""Hyper-Laplacian: the larger, the smoother. With the true motion and noise of 1 % this one gains
most, 4.8 dB on average of four photographs and three motions; 0.02 and 0.1 gain 4.1."""
_N_CONJUGATE_GRADIENTS = 10
"""Steps towards each image estimate."""
_FIRST_SLACK = 0.1
"""At first a clipped pixel counts as explained where the estimate is at most this much darker, at
last where it is not darker at all. Without slack, estimates stay where they begin, at the clipped
values; were it kept, bright sharp details would lose up to a tenth."""


@dataclass(frozen=True, kw_only=True)
class DeconvolutionOptions:
    """How an image is deconvolved."""

    prior: Prior = "epll"
    """Gaussian mixture of patches, or sparse gradients (faster)."""
    noise_sigma: float = 0.01
    """Standard deviation of what the blur model leaves unexplained, for values in [0, 1]; larger is
    smoother. An estimated motion field needs more than the camera's noise."""
    clipped_above: float = 0.98
    """Blurred values from here on count as clipped; above 1 none does."""
    device: str = "auto"
    """``auto`` takes a GPU where there is one."""


def deconvolve(
    blurred: NDArray[np.float32],
    field: NDArray[np.integer[Any]],
    kernels: NDArray[np.float32],
    options: DeconvolutionOptions,
    prior: Spectrum | None = None,
    on_progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """Restore an image whose pixels are blurred by different kernels.

    To look at a part quickly, pass that part of the image and of the field: borders are unknown to
    the method anyway.

    Args:
        blurred: (H, W, 3) float in [0, 1], at least 8x8, proportional to the light in which the
            blur happened.
        field: (H, W) integers: for each pixel of `blurred`, the index of its kernel.
        kernels: (N, S, S) float, S odd, each of sum 1.
        options: Which prior, and how much is left unexplained.
        prior: The patch prior, for EPLL alone.
        on_progress: Called with steps done and their number.

    Returns:
        (H, W, 3) float32 in [0, 1].

    Raises:
        InputError: EPLL lacks its prior, or there is no such device.
    """
    device = chosen_device(options.device)
    blur = VaryingBlur(field, kernels, device, least_margin=PATCH_PX)
    copy = np.array(blurred, np.float32, order="C")  # torch takes no read-only array
    observed = torch.from_numpy(copy).to(device)
    problem = _Problem(blur, observed.view(-1, 3), options)
    start = blur.extended(observed)
    with torch.inference_mode():
        if options.prior == "hyper-laplacian":
            estimate = _hyper_laplacian(problem, start, on_progress)
        elif prior is not None:
            estimate = _epll(problem, start, prior, on_progress)
        else:
            raise InputError('EPLL needs a patch prior; prior="hyper-laplacian" needs none.')
    restored = blur.cropped(estimate).clamp(0, 1).cpu().numpy()
    return np.ascontiguousarray(restored)


class _Problem:
    """The data term, and x-steps with it."""

    def __init__(self, blur: VaryingBlur, observed: Tensor, options: DeconvolutionOptions) -> None:
        self.blur, self.observed, self.options = blur, observed, options
        self.precision = 1 / options.noise_sigma**2
        clipped = observed >= options.clipped_above
        self._clipped = clipped if bool(clipped.any()) else None
        self._mask = torch.ones_like(observed) if self._clipped is not None else None

    def observe_clipping(self, x: Tensor, done: float) -> None:
        """Leave out the clipped pixels that the estimate explains; `done` is a share of steps."""
        if self._clipped is not None:
            slack = _FIRST_SLACK * (1 - done)
            explained = self._clipped & (self.blur(x) >= self.observed - slack)
            self._mask = 1 - explained.float()

    def minimise(
        self,
        x: Tensor,
        target: Tensor,
        regulariser: Callable[[Tensor], Tensor],
        n_steps: int = _N_CONJUGATE_GRADIENTS,
    ) -> Tensor:
        """Conjugate gradients for (K' M K / sigma^2 + R) x = K' M y / sigma^2 + target.

        Args:
            x: (h, w, 3), where to start; not changed.
            target: (h, w, 3).
            regulariser: R, positive semidefinite.
            n_steps: Number of steps.
        """

        def data(blurred: Tensor) -> Tensor:
            if self._mask is not None:
                blurred = blurred * self._mask
            return self.blur.adjoint(blurred).mul_(self.precision)

        def dot(a: Tensor, b: Tensor) -> Tensor:
            return torch.einsum("hwc,hwc->c", a, b)  # channels are problems of their own

        residual = data(self.observed - self.blur(x)).add_(target).sub_(regulariser(x))
        direction, x = residual.clone(), x.clone()
        size = dot(residual, residual)
        for _ in range(n_steps):
            image = data(self.blur(direction)).add_(regulariser(direction))
            step = size / dot(direction, image).clamp(min=1e-30)
            x.addcmul_(direction, step)
            residual.addcmul_(image, -step)
            last, size = size, dot(residual, residual)
            direction.mul_(size / last.clamp(min=1e-30)).add_(residual)
        return x


def _epll(problem: _Problem, x: Tensor, prior: Spectrum, on_progress: Progress) -> Tensor:
    stride = _PATCH_STRIDE
    for step in range(_N_PENALTIES):
        on_progress(step, _N_PENALTIES)
        penalty = _FIRST_PENALTY * 2**step * problem.precision
        # Steps apart by about the golden section, down and across: no two grids coincide early.
        offset = (round(step * 0.618 * stride) % stride, round(step * 0.382 * stride) % stride)
        z = denoised_image(x, PatchDenoiser(prior, 1 / penalty), stride, offset)
        problem.observe_clipping(x, (step + 1) / _N_PENALTIES)
        x = problem.minimise(x, z * penalty, partial(torch.mul, other=penalty))
    on_progress(_N_PENALTIES, _N_PENALTIES)
    return x


def denoised_image(
    image: Tensor, denoiser: PatchDenoiser, stride: int, offset: tuple[int, int]
) -> Tensor:
    """The mean of the denoised patches over each pixel.

    Args:
        image: (h, w, C).
        denoiser: Of patches.
        stride: Pixels between patches.
        offset: Of the first patch, down and across, below `stride`.

    Returns:
        (h, w, C); the few pixels at the borders that no patch of this grid covers stay as they are.
    """
    planes = image.permute(2, 0, 1)[:, None, offset[0] :, offset[1] :]
    height, width = ((n - PATCH_PX) // stride * stride + PATCH_PX for n in planes.shape[2:])
    planes = planes[:, :, :height, :width]
    total = torch.zeros_like(planes)
    count = planes.new_zeros(height, width)
    band = max(1, 2**21 // (width * PATCH_PX**2 // stride)) * stride  # patches of bounded memory
    for top in range(0, height - PATCH_PX + 1, band):
        part = slice(top, min(top + band - stride + PATCH_PX, height))
        columns = torch.nn.functional.unfold(planes[:, :, part], PATCH_PX, stride=stride)
        cleaned = denoiser(columns.transpose(1, 2)).transpose(1, 2)
        size = (part.stop - part.start, width)
        total[:, :, part] += torch.nn.functional.fold(cleaned, size, PATCH_PX, stride=stride)
        ones = torch.ones_like(columns[:1])
        count[part] += torch.nn.functional.fold(ones, size, PATCH_PX, stride=stride)[0, 0]
    result = image.clone()
    covered = count > 0
    inside = result[offset[0] : offset[0] + height, offset[1] : offset[1] + width]
    mean = (total[:, 0] / count.clamp(min=1)).permute(1, 2, 0)
    inside.copy_(torch.where(covered[..., None], mean, inside))
    return result


def _hyper_laplacian(problem: _Problem, x: Tensor, on_progress: Progress) -> Tensor:
    """With w = grad x: |K x - y|^2 / (2 sigma^2) + weight x |w|^(2/3), one z-step per penalty."""
    weight = _GRADIENT_WEIGHT / problem.options.noise_sigma
    penalties = [weight * 2 ** (1.5 * step + 2) for step in range(6)]
    for step, penalty in enumerate(penalties):
        on_progress(step, len(penalties))
        problem.observe_clipping(x, (step + 1) / len(penalties))
        targets = [shrunk(gradient, penalty / weight) for gradient in gradients(x)]

        def smoothness(v: Tensor, penalty: float = penalty) -> Tensor:
            return gradients_adjoint(*gradients(v)) * penalty

        x = problem.minimise(x, gradients_adjoint(*targets) * penalty, smoothness)
    on_progress(len(penalties), len(penalties))
    return x


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences down and across of (h, w, C): (h - 1, w, C) and (h, w - 1, C)."""
    return x[1:] - x[:-1], x[:, 1:] - x[:, :-1]


def gradients_adjoint(down: Tensor, across: Tensor) -> Tensor:
    """The transpose of `gradients`."""
    x = down.new_zeros(across.shape[0], down.shape[1], down.shape[2])
    x[1:] += down
    x[:-1] -= down
    x[:, 1:] += across
    x[:, :-1] -= across
    return x


def shrunk(v: Tensor, penalty: float) -> Tensor:
    """The w that minimises |w|^(2/3) + penalty / 2 (w - v)^2, for each value.

    With r = |w|^(1/3) and m = 2 / (3 penalty) the derivative is zero where r^4 - |v| r + m = 0, and
    the largest root is the minimum beside zero (Krishnan & Fergus 2009, for this exponent). Both
    minima are equally deep where r^4 = m, so |v| = 2 m^(3/4).
    """
    m = 2 / (3 * penalty)
    threshold = 2 * m**0.75
    size = v.abs().clamp(min=threshold)
    root = size ** (1 / 3)
    for _ in range(4):  # Newton's method from above, where it falls without overshooting
        cube = root**3
        root = root - (cube * root - size * root + m) / (4 * cube - size)
    return torch.where(v.abs() > threshold, torch.sign(v) * root**3, 0.0)
