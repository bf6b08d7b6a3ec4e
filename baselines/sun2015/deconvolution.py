"""Non-uniform deconvolution by half-quadratic splitting, under a patch prior.

Minimised over the sharp image x, by alternating with an auxiliary z that a growing penalty beta
ties to x (Sun et al. 2015, section 5; EPLL: Zoran & Weiss, ICCV 2011):

    1 / (2 sigma^2) |M (K x - y)|^2  +  beta / 2 |P x - z|^2  -  log p(z)

- K is **one sparse matrix**: a row for each blurred pixel with the taps of that pixel's kernel, so
  the cost of a product is the sum of all taps (some 25 million at 1280x720), however many kernels
  are in use; one FFT per kernel costs far more.
- Its columns are the pixels of a **larger** image: what moved in from outside is unknown, so it is
  estimated too and cropped. Nothing wraps round, so the borders do not ring.
- M leaves out **clipped pixels** where the estimate is at least as bright (at first: nearly), since
  the sensor would have recorded the same. The linear model does not hold there, and bright lights
  would ring.
- x is found by conjugate gradients, starting from the last estimate; all arithmetic is float32.
- Patches lie on a grid that moves at every step; the paper (from memory, unverified) takes all.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from baselines.sun2015.prior import PATCH_PX, PatchDenoiser, Spectrum

_N_PENALTIES = 7
"""Each twice the one before."""
_FIRST_PENALTY = 0.005
"""In units of 1 / noise_sigma^2."""
_PATCH_STRIDE = 4
"""Pixels between patches; the grid moves at every step."""
_N_CONJUGATE_GRADIENTS = 10
"""Steps towards each image estimate."""
_FIRST_SLACK = 0.1
"""At first a clipped pixel counts as explained where the estimate is at most this much darker, at
last where it is not darker at all. Without slack, estimates stay where they begin, at the clipped
values; were it kept, bright sharp details would lose up to a tenth."""
_CLIPPED_ABOVE = 0.98
"""Blurred values from here on count as clipped."""


def deconvolve(
    blurred: NDArray[np.float32],
    field: NDArray[np.integer[Any]],
    kernels: NDArray[np.float32],
    prior: Spectrum,
    *,
    noise_sigma: float,
    device: torch.device | str,
) -> NDArray[np.float32]:
    """Restore an image whose pixels are blurred by different kernels: (H, W, 3) in [0, 1].

    Args:
        blurred: (H, W, 3) in [0, 1], at least 8x8, proportional to the light that was blurred.
        field: (H, W): for each pixel, the index of its kernel.
        kernels: (N, S, S), S odd, each of sum 1.
        prior: On the device.
        noise_sigma: Standard deviation of what the blur model leaves unexplained, of [0, 1]; larger
            is smoother. An estimated field needs more than the camera's noise.
        device: Where it is computed.
    """
    blur = VaryingBlur(field, kernels, device, least_margin=PATCH_PX)
    copy = np.array(blurred, np.float32, order="C")  # torch takes no read-only array
    observed = torch.from_numpy(copy).to(device)
    problem = _Problem(blur, observed.view(-1, 3), noise_sigma)
    with torch.inference_mode():
        estimate = _epll(problem, blur.extended(observed), prior)
    return np.ascontiguousarray(blur.cropped(estimate).clamp(0, 1).cpu().numpy())


class _Problem:
    """The data term, and x-steps with it."""

    def __init__(self, blur: "VaryingBlur", observed: Tensor, noise_sigma: float) -> None:
        self.blur, self.observed = blur, observed
        self.precision = 1 / noise_sigma**2
        self._clipped = observed >= _CLIPPED_ABOVE
        self._mask = torch.ones_like(observed)

    def observe_clipping(self, x: Tensor, done: float) -> None:
        """Leave out the clipped pixels that the estimate explains; `done` is a share of steps."""
        slack = _FIRST_SLACK * (1 - done)
        explained = self._clipped & (self.blur(x) >= self.observed - slack)
        self._mask = 1 - explained.float()

    def minimise(
        self, x: Tensor, z: Tensor, penalty: float, n_steps: int = _N_CONJUGATE_GRADIENTS
    ) -> Tensor:
        """Conjugate gradients for (K' M K / sigma^2 + penalty) x = K' M y / sigma^2 + penalty z.

        x and z are (h, w, 3); x is where it starts, and is not changed.
        """

        def data(blurred: Tensor) -> Tensor:
            return self.blur.adjoint(blurred * self._mask).mul_(self.precision)

        def dot(a: Tensor, b: Tensor) -> Tensor:
            return torch.einsum("hwc,hwc->c", a, b)  # channels are problems of their own

        residual = data(self.observed - self.blur(x)).add_(z * penalty).sub_(x * penalty)
        direction, x = residual.clone(), x.clone()
        size = dot(residual, residual)
        for _ in range(n_steps):
            image = data(self.blur(direction)).add_(direction * penalty)
            step = size / dot(direction, image).clamp(min=1e-30)
            x.addcmul_(direction, step)
            residual.addcmul_(image, -step)
            last, size = size, dot(residual, residual)
            direction.mul_(size / last.clamp(min=1e-30)).add_(residual)
        return x


def _epll(problem: _Problem, x: Tensor, prior: Spectrum) -> Tensor:
    for step in range(_N_PENALTIES):
        penalty = _FIRST_PENALTY * 2**step * problem.precision
        # Steps apart by about the golden section, down and across: no two grids coincide early.
        offset = [round(step * part * _PATCH_STRIDE) % _PATCH_STRIDE for part in (0.618, 0.382)]
        z = denoised_image(x, PatchDenoiser(prior, 1 / penalty), _PATCH_STRIDE, offset)
        problem.observe_clipping(x, (step + 1) / _N_PENALTIES)
        x = problem.minimise(x, z, penalty)
    return x


def denoised_image(
    image: Tensor, denoiser: PatchDenoiser, stride: int, offset: Sequence[int]
) -> Tensor:
    """The mean of the denoised patches over each pixel: (h, w, C) to the same.

    Patches lie ``stride`` pixels apart, at most 8, the first at ``offset`` (down and across, below
    ``stride``); pixels at the borders that none covers stay as they are.
    """
    planes = image.permute(2, 0, 1)[:, None, offset[0] :, offset[1] :]
    height, width = ((n - PATCH_PX) // stride * stride + PATCH_PX for n in planes.shape[2:])
    planes = planes[:, :, :height, :width]
    total = torch.zeros_like(planes)
    count = planes.new_zeros(height, width)
    band = max(1, 2**21 // (width * PATCH_PX**2 // stride)) * stride  # patches of bounded memory
    for top in range(0, height - PATCH_PX + 1, band):
        part = slice(top, min(top + band - stride + PATCH_PX, height))
        columns = F.unfold(planes[:, :, part], PATCH_PX, stride=stride)
        cleaned = denoiser(columns.transpose(1, 2)).transpose(1, 2)
        size = (part.stop - part.start, width)
        total[:, :, part] += F.fold(cleaned, size, PATCH_PX, stride=stride)
        ones = torch.ones_like(columns[:1])
        count[part] += F.fold(ones, size, PATCH_PX, stride=stride)[0, 0]
    result = image.clone()
    inside = result[offset[0] : offset[0] + height, offset[1] : offset[1] + width]
    inside.copy_((total[:, 0] / count).permute(1, 2, 0))
    return result


class VaryingBlur:
    """K of y = K x: y[p] = sum over o of kernel_of_p[o] x[p - o].

    x is larger than y by `margin` pixels on each side, so that every tap meets a pixel. K and
    its transpose take 16 bytes per tap: at 1280x720 0.4 GB on average over the 361 candidates, 0.8
    GB if every pixel had the one with the most taps.
    """

    def __init__(
        self,
        field: NDArray[np.integer[Any]],
        kernels: NDArray[np.floating[Any]],
        device: torch.device | str = "cpu",
        *,
        least_margin: int = 0,
    ) -> None:
        """Make the matrix of an (H, W) field of indices into (N, S, S) kernels, S odd.

        The margin is as wide as the kernels reach, and at least ``least_margin``.
        """
        radius = kernels.shape[1] // 2
        used, kernel_of_pixel = np.unique(field, return_inverse=True)
        flipped = kernels[used, ::-1, ::-1]  # x[p - o]: so taps come in the order of x's pixels
        taps = np.nonzero(flipped)
        down, right = (place.astype(np.int32) - radius for place in taps[1:])
        self.margin = max(int(np.abs([down, right]).max()), least_margin)
        height, width = field.shape
        self.size_hw: tuple[int, int] = (height, width)
        self.extended_hw = (height + 2 * self.margin, width + 2 * self.margin)
        row_length = self.extended_hw[1]
        home = np.add.outer(
            (np.arange(height, dtype=np.int32) + self.margin) * row_length,
            np.arange(width, dtype=np.int32) + self.margin,
        ).ravel()
        n_taps = np.bincount(taps[0])
        first_tap = np.cumsum(n_taps) - n_taps
        n_entries = n_taps[kernel_of_pixel.ravel()]
        starts = np.concatenate([[0], np.cumsum(n_entries)]).astype(np.int32)
        # Which tap each entry is, from the place of the entry: all in 32 bits, to save memory.
        tap_less_place = (first_tap[kernel_of_pixel.ravel()] - starts[:-1]).astype(np.int32)
        tap = np.repeat(tap_less_place, n_entries)
        tap += np.arange(starts[-1], dtype=np.int32)
        columns = np.repeat(home, n_entries)
        columns += (down * row_length + right)[tap]
        shape = (field.size, self.extended_hw[0] * row_length)
        matrix = sparse.csr_array((flipped[taps][tap], columns, starts), shape=shape)
        self._matrix = _torch_csr(matrix, device)
        self._transposed = _torch_csr(matrix.T.tocsr(), device)

    def __call__(self, x: Tensor) -> Tensor:
        """Blur: (h, w, C) of the extended size -> (H W, C)."""
        blurred: Tensor = self._matrix @ x.reshape(-1, x.shape[2])
        return blurred

    def adjoint(self, y: Tensor) -> Tensor:
        """The transpose: (H W, C) -> (h, w, C)."""
        spread: Tensor = self._transposed @ y
        return spread.view(*self.extended_hw, y.shape[1])

    def extended(self, image: Tensor) -> Tensor:
        """(H, W, C) -> (h, w, C) with its border pixels repeated outwards."""
        planes = image.permute(2, 0, 1)[None]
        padded = F.pad(planes, [self.margin] * 4, mode="replicate")
        return padded[0].permute(1, 2, 0).contiguous()

    def cropped(self, x: Tensor) -> Tensor:
        """(h, w, C) -> (H, W, C)."""
        height, width = self.size_hw
        return x[self.margin : self.margin + height, self.margin : self.margin + width]


def _torch_csr(matrix: Any, device: torch.device | str) -> Tensor:
    # 32-bit indices, as scipy has them: half the memory, and what the CPU's library works with.
    starts, columns, values = map(torch.from_numpy, (matrix.indptr, matrix.indices, matrix.data))
    # torch calls sparse tensors a beta; the tests compare every product with scipy.
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return torch.sparse_csr_tensor(
            starts, columns, values, matrix.shape, device=device, check_invariants=False
        )
