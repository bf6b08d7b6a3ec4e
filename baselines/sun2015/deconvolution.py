"""Non-uniform deconvolution by half-quadratic splitting, with a patch prior or a gradient prior.

Minimised over the sharp image x, by alternating with an auxiliary z that a growing penalty beta
ties to x (Sun et al. 2015, section 5; EPLL: Zoran & Weiss, ICCV 2011; hyper-Laplacian: Krishnan &
Fergus, NIPS 2009):

    1 / (2 sigma^2) |M (K x - y)|^2  +  beta / 2 |P x - z|^2  -  log p(z)

- K is **one sparse matrix**: a row for each blurred pixel with the taps of that pixel's kernel, so
  the cost of a product is the sum of all taps (some 25 million at 1280x720), however many kernels
  are in use; one FFT a kernel costs far more (`benchmarks.speed deconvolve`).
- Its columns are the pixels of a **larger** image: what moved in from outside is unknown, and is
  estimated and cut off. Nothing wraps round, so the borders do not ring.
- M leaves out **clipped pixels** where the estimate is at least as bright, or nearly so at first:
  the sensor would have recorded the same. There the linear model does not hold, and bright lights
  would ring.
- x is found by conjugate gradients from where the last step ended; all arithmetic is float32.

| | paper (from memory, unverified) | here |
|---|---|---|
| prior | EPLL, 200 components, all patches | `--prior epll`: a grid, shifted at each step |
| | | `--prior hyper-laplacian`: faster |
| colour | not known to us | one choice of component for the three channels |
| 720p image | about 20 minutes | see `python -m benchmarks.speed deconvolve` |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.devices import chosen_device
from baselines.sun2015.blur import VaryingBlur
from baselines.sun2015.prior import PATCH_PX, PatchDenoiser, PatchPrior
from gopro_tools.errors import InputError

Prior = Literal["epll", "hyper-laplacian"]
Progress = Callable[[int, int], None]

_FIRST_SLACK = 0.1
"""At first a clipped pixel counts as explained where the estimate is at most this much darker, at
last where it is not darker at all. Without, estimates are held where they begin, at the clipped
values; were it kept, what is bright and sharp would lose up to a tenth."""


@dataclass(frozen=True, kw_only=True)
class DeconvolutionOptions:
    """How an image is deconvolved."""

    prior: Prior = "epll"
    """Gaussian mixture of patches, or sparse gradients (faster)."""
    noise_sigma: float = 0.01
    """Standard deviation of what the blur model leaves unexplained, for values in [0, 1]; larger is
    smoother. An estimated motion field needs more than the camera's noise."""
    patch_stride: int = 4
    """EPLL: pixels between patches, 1 to 8; the grid moves at every step."""
    n_steps: int = 7
    """EPLL: penalties, each twice the one before."""
    first_penalty: float = 0.005
    """EPLL: the first penalty, in units of 1 / noise_sigma^2."""
    gradient_weight: float = 0.05
    """Hyper-Laplacian: the larger, the smoother. With the true motion and noise of 1 % this one
    gains most, 4.8 dB on average of four photographs and three motions; 0.02 and 0.1 gain 4.1."""
    n_conjugate_gradients: int = 10
    """Steps towards each image estimate."""
    clipped_above: float = 0.98
    """Blurred values from here on count as clipped; above 1 none does."""
    device: str = "auto"
    """"auto" takes a GPU where there is one."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.noise_sigma < 1:
            raise InputError(f"noise_sigma={self.noise_sigma}: expected between 0 and 1.")
        if not 1 <= self.patch_stride <= PATCH_PX:
            raise InputError(f"patch_stride={self.patch_stride}: expected 1 to {PATCH_PX}.")
        if min(self.n_steps, self.n_conjugate_gradients) < 1:
            raise InputError("n_steps and n_conjugate_gradients are at least 1.")
        if min(self.first_penalty, self.gradient_weight) <= 0:
            raise InputError("first_penalty and gradient_weight are positive.")
        if self.prior not in ("epll", "hyper-laplacian"):
            raise InputError(f'prior={self.prior!r}: expected "epll" or "hyper-laplacian".')


def deconvolve(
    blurred: NDArray[np.float32],
    field: NDArray[np.integer[Any]],
    kernels: NDArray[np.float32],
    options: DeconvolutionOptions | None = None,
    prior: PatchPrior | None = None,
    on_progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Restore an image whose pixels are blurred by different kernels.

    To look at a part quickly, pass that part of the image and of the field: borders are unknown to
    the method anyway.

    Args:
        blurred: (H, W, 3) float in [0, 1], at least 8x8, in whatever light the blur happened in.
        field: (H, W) integers: for each pixel of `blurred`, the index of its kernel.
        kernels: (N, S, S) float, S odd, each of sum 1.
        options: The defaults are EPLL's.
        prior: The patch prior that EPLL needs; the other does not look at it.
        on_progress: Called with steps done and their number.

    Returns:
        (H, W, 3) float32 in [0, 1].

    Raises:
        InputError: Shapes or values are not as above, or the prior is missing.
    """
    options = options or DeconvolutionOptions()
    _check(blurred, field, kernels, options, prior)
    device = chosen_device(options.device)
    blur = VaryingBlur(field, kernels, device, least_margin=PATCH_PX)
    copy = np.array(blurred, np.float32, order="C")  # torch takes no read-only array
    observed = torch.from_numpy(copy).to(device)
    problem = _Problem(blur, observed.view(-1, 3), options)
    start = blur.extended(observed)
    with torch.inference_mode():
        if options.prior == "epll":
            assert prior is not None  # _check
            estimate = _epll(problem, start, prior.to(device), on_progress)
        else:
            estimate = _hyper_laplacian(problem, start, on_progress)
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

    def energy(self, x: Tensor) -> float:
        """The data term at x."""
        rest = self.blur(x) - self.observed
        if self._mask is not None:
            rest = rest * self._mask
        return self.precision / 2 * float(rest.square().sum())

    def minimise(
        self, x: Tensor, target: Tensor, regulariser: Callable[[Tensor], Tensor], n_steps: int
    ) -> Tensor:
        """Conjugate gradients for (K' M K / sigma^2 + R) x = K' M y / sigma^2 + target.

        Args:
            x: (h, w, 3), where to start; not changed.
            target: (h, w, 3).
            regulariser: R, positive semidefinite.
            n_steps: How many.
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


def _epll(problem: _Problem, x: Tensor, prior: PatchPrior, on_progress: Progress | None) -> Tensor:
    options = problem.options
    stride = options.patch_stride
    for step in range(options.n_steps):
        if on_progress is not None:
            on_progress(step, options.n_steps)
        penalty = options.first_penalty * 2**step * problem.precision
        # Steps apart by about the golden section, down and across: no two grids coincide early.
        offset = (round(step * 0.618 * stride) % stride, round(step * 0.382 * stride) % stride)
        z = denoised_image(x, PatchDenoiser(prior, 1 / penalty), stride, offset)
        problem.observe_clipping(x, (step + 1) / options.n_steps)

        def times_penalty(v: Tensor, penalty: float = penalty) -> Tensor:
            return v * penalty

        x = problem.minimise(x, z * penalty, times_penalty, options.n_conjugate_gradients)
    if on_progress is not None:
        on_progress(options.n_steps, options.n_steps)
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


def _hyper_laplacian(problem: _Problem, x: Tensor, on_progress: Progress | None) -> Tensor:
    """With w = grad x: |K x - y|^2 / (2 sigma^2) + weight x |w|^(2/3), one z-step a penalty."""
    options = problem.options
    weight = options.gradient_weight / options.noise_sigma
    penalties = [weight * 2 ** (1.5 * step + 2) for step in range(6)]
    for step, penalty in enumerate(penalties):
        if on_progress is not None:
            on_progress(step, len(penalties))
        problem.observe_clipping(x, (step + 1) / len(penalties))
        targets = [shrunk(gradient, penalty / weight) for gradient in gradients(x)]

        def smoothness(v: Tensor, penalty: float = penalty) -> Tensor:
            return gradients_adjoint(*gradients(v)) * penalty

        target = gradients_adjoint(*targets) * penalty
        x = problem.minimise(x, target, smoothness, options.n_conjugate_gradients)
    if on_progress is not None:
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

    With r = |w|^(1/3) and m = 2 / (3 penalty) the derivative is zero where r^4 - |v| r + m is, and
    the largest root is the minimum beside zero (Krishnan & Fergus 2009, for this exponent). That
    minimum is as deep as zero's where r^4 = m, so |v| = 2 m^(3/4).
    """
    m = 2 / (3 * penalty)
    threshold = 2 * m**0.75
    size = v.abs().clamp(min=threshold)
    root = size ** (1 / 3)
    for _ in range(4):  # Newton's method from above, where it falls without overshooting
        cube = root**3
        root = root - (cube * root - size * root + m) / (4 * cube - size)
    return torch.where(v.abs() > threshold, torch.sign(v) * root**3, 0.0)


def _check(
    blurred: NDArray[np.float32],
    field: NDArray[np.integer[Any]],
    kernels: NDArray[np.float32],
    options: DeconvolutionOptions,
    prior: PatchPrior | None,
) -> None:
    """Name what is wrong with the input."""
    if blurred.ndim != 3 or blurred.shape[2] != 3 or min(blurred.shape[:2]) < PATCH_PX:
        raise InputError(
            f"The blurred image is {blurred.shape}; (H, W, 3) of at least {PATCH_PX}x{PATCH_PX} "
            "was expected."
        )
    if not np.issubdtype(blurred.dtype, np.floating):
        raise InputError(
            f"The blurred image is {blurred.dtype}; floats in [0, 1] were expected: divide 8-bit "
            "values by 255."
        )
    if not np.isfinite(blurred).all():
        raise InputError("The blurred image holds NaN or infinity; nothing sharp can come of it.")
    if blurred.min() < -0.5 or blurred.max() > 1.5:
        raise InputError(
            f"The blurred image's values are {blurred.min():g} to {blurred.max():g}; they should "
            "lie in [0, 1], but for noise."
        )
    if field.shape != blurred.shape[:2] or not np.issubdtype(field.dtype, np.integer):
        raise InputError(
            f"The motion field is {field.shape} {field.dtype}; integers of the image's "
            f"{blurred.shape[:2]} were expected."
        )
    if kernels.ndim != 3 or kernels.shape[1] != kernels.shape[2] or kernels.shape[1] % 2 == 0:
        raise InputError(f"The kernels are {kernels.shape}; (N, S, S) with S odd was expected.")
    if field.min() < 0 or field.max() >= len(kernels):
        raise InputError(
            f"The motion field's indices are {field.min()} to {field.max()}; there are kernels 0 "
            f"to {len(kernels) - 1}."
        )
    sums = kernels[np.unique(field)].sum((1, 2))
    if not np.all(np.abs(sums - 1) < 1e-3):
        raise InputError(f"The kernels' sums are {sums.min():g} to {sums.max():g}, not 1.")
    if options.prior == "epll" and prior is None:
        raise InputError(
            "EPLL needs a patch prior (`fit_prior` makes one of sharp images); none was given. "
            'prior="hyper-laplacian" goes without.'
        )


__all__ = [
    "DeconvolutionOptions",
    "PatchPrior",
    "deconvolve",
    "denoised_image",
    "gradients",
    "gradients_adjoint",
    "shrunk",
]
