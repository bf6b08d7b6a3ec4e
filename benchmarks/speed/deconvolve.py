"""Undoing a varying blur on 1280x720 images: our sparse matrix against one FFT per kernel in use.

The field is that of a camera that turns and shifts a little, so that neighbouring regions need
other kernels. First a single blur of the image and its transpose, of which an image needs dozens;
then whole deconvolutions with either prior. The contenders of a blur take turns; an image is
restored once.
"""

import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from baselines.devices import chosen_device
from baselines.sun2015.blur import VaryingBlur
from baselines.sun2015.deconvolution import DeconvolutionOptions, Prior, deconvolve
from baselines.sun2015.kernels import kernels, motion_vectors
from baselines.sun2015.prior import fit_prior
from benchmarks.speed.timing import Timing, in_own_process, median_timing, ratio_table, take_turns
from benchmarks.speed.train import process_peak_mib, synchronise
from gopro_tools.scenes.textures import read_photograph

SIZE_HW = (720, 1280)
OURS = "one sparse matrix"
RIVAL = "one FFT a kernel in use"
PRIORS: tuple[Prior, ...] = ("epll", "hyper-laplacian")

_N_COMPONENTS = 200
_N_PRIOR_PATCHES = 20_000


class FourierBlur:
    """The rival: sum over kernels of mask x convolution, each by Fourier transforms.

    It wraps around at the borders and ours does not; its work is that of the transforms.
    """

    def __init__(
        self, field: NDArray[np.int64], stack: NDArray[np.float32], device: torch.device
    ) -> None:
        """Transform each kernel that the (H, W) field names, once."""
        self._size_hw = (field.shape[0], field.shape[1])
        used = np.unique(field)
        radius = stack.shape[1] // 2
        self._masks = [torch.from_numpy(field == index).to(device) for index in used]
        self._spectra: list[Tensor] = []
        for index in used:
            padded = torch.zeros(self._size_hw, device=device)
            padded[: 2 * radius + 1, : 2 * radius + 1] = torch.from_numpy(stack[index].copy())
            self._spectra.append(torch.fft.rfft2(padded.roll((-radius, -radius), (0, 1))))

    def __call__(self, x: Tensor) -> Tensor:
        """Blur: (3, H, W) to the same."""
        spectrum = torch.fft.rfft2(x)
        blurred = torch.zeros_like(x)
        for mask, kernel in zip(self._masks, self._spectra, strict=True):
            blurred += mask * torch.fft.irfft2(spectrum * kernel, s=self._size_hw)
        return blurred

    def adjoint(self, y: Tensor) -> Tensor:
        """The transpose: one forward transform per kernel, one inverse transform in all."""
        total = torch.zeros_like(torch.fft.rfft2(y))
        for mask, kernel in zip(self._masks, self._spectra, strict=True):
            total += torch.fft.rfft2(mask * y) * kernel.conj()
        spread: Tensor = torch.fft.irfft2(total, s=self._size_hw)
        return spread


def camera_field(size_hw: tuple[int, int] = SIZE_HW) -> NDArray[np.int64]:
    """(H, W) candidates of a camera that shifts by 10 px and turns, up to 25 px at the corners."""
    height, width = size_hw
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turn = 20 / np.hypot(height, width) * 2
    motion = np.stack([8 - turn * (y - height / 2), 6 + turn * (x - width / 2)], axis=-1)
    vectors = motion_vectors()
    field = np.empty(size_hw, np.int64)
    for row in range(height):
        apart = [((motion[row, :, None] - sign * vectors) ** 2).sum(-1) for sign in (1, -1)]
        field[row] = np.minimum(*apart).argmin(axis=1)
    return field


def measure(n_rounds: int = 5, size_hw: tuple[int, int] = SIZE_HW) -> list[Timing]:
    """Time a blur with its transpose for both, and an image for each prior."""
    device = chosen_device("auto")
    field = camera_field(size_hw)
    n_used = len(np.unique(field))
    note = f"{n_used} kernels in use, {device.type}"
    sparse, fourier = VaryingBlur(field, kernels(), device), FourierBlur(field, kernels(), device)
    planes = torch.rand(3, *size_hw, device=device)
    extended = sparse.extended(planes.permute(1, 2, 0).contiguous())
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: sparse.adjoint(sparse(extended)),
        RIVAL: lambda: fourier.adjoint(fourier(planes)),
    }
    megapixels = size_hw[0] * size_hw[1] / 1e6
    seconds = take_turns(runs, n_rounds, wait=lambda: synchronise(device))
    timings = [
        median_timing(name, values, megapixels, "megapixels", note=note)
        for name, values in seconds.items()
    ]
    for name in PRIORS:
        once, peak_mib = in_own_process(_one_image, (name, size_hw))
        timings.append(
            median_timing(name, [once], megapixels, "megapixels", peak_mib=peak_mib, note=note)
        )
    return timings


def _one_image(what: tuple[Prior, tuple[int, int]]) -> tuple[float, float]:
    """Seconds of one deconvolution, and the largest memory of its process in MiB."""
    name, size_hw = what
    photograph = read_photograph("coffee")
    blurred = cv2.resize(photograph, size_hw[::-1]).astype(np.float32) / np.float32(255)
    prior = fit_prior([photograph], n_components=_N_COMPONENTS, n_patches=_N_PRIOR_PATCHES)
    field = camera_field(size_hw)
    begin = time.perf_counter()
    deconvolve(blurred, field, kernels(), DeconvolutionOptions(prior=name), prior.spectrum())
    return time.perf_counter() - begin, process_peak_mib(chosen_device("auto"))


def tables(timings: Sequence[Timing]) -> list[Table]:
    """One table of a blur, one of whole images."""
    height, width = SIZE_HW
    blurs = [timing for timing in timings if timing.name in (OURS, RIVAL)]
    images = [timing for timing in timings if timing.name in PRIORS]
    return [
        ratio_table(f"A varying blur of {width}x{height} and its transpose", blurs, OURS),
        ratio_table(f"Deconvolving {width}x{height} (Sun et al. 2015)", images, PRIORS[1]),
    ]
