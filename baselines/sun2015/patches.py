"""Training patches of known motion, made on the device from sharp ones (Sun et al. 2015, 3.1).

A sharp piece, just large enough for the longest kernel around a patch, is blurred by the kernel of
one candidate in linear light, gets a little noise, and is rounded to 8 bits again. A batch is
computed at once, by Fourier transforms, so that a GPU makes patches as fast as it learns.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.sun2015.kernels import (
    TRAINED,
    TRAINED_STEP_DEGREES,
    kernels,
    transfers,
    turned_candidates,
)
from baselines.sun2015.method import SOURCE_PX, PatchOptions
from baselines.sun2015.network import PATCH_PX
from gopro_tools.response import Response

NORMALISED_OVER_PX = 15
"""Side of the square around a pixel whose mean and contrast it is compared with."""
_COMPARED_PX = PATCH_PX + 2 * (NORMALISED_OVER_PX // 2)
_REACH_PX = kernels().shape[1] // 2
_BLURRED_PX = SOURCE_PX - 2 * _REACH_PX
"""54: turned by 12 degrees it still covers those 44, and a margin to interpolate."""

TURNS_DEGREES = (-12, -6, 0, 6, 12)
"""With these turns each of the 30 orientations is reached from exactly one of the trained six."""

_MOST_NOISE_SIGMA = 0.015  # of [0, 1]; a patch's is drawn uniformly up to it
_LEAST_CONTRAST = 0.01  # of [0, 1]: limits how much noise is amplified
_N_LEVELS = 4096
_OCTAVE_SIGMAS_PX = (0.7, 1.4, 2.8)


def normalised(images: Tensor) -> Tensor:
    """Images as the network of `sun2015-plus` sees them: pixels against their surroundings.

    A long motion leaves little contrast, and the difference between 21 and 25 pixels is a small
    part of it, which a short training does not learn at the scale of the whole image's contrast.
    (N, 3, H, W) code values in [0, 1] to the same shape, of mean 0 and standard deviation near 1;
    flat regions stay near 0.
    """
    margin = NORMALISED_OVER_PX // 2
    padded = F.pad(images, (margin,) * 4, mode="reflect")
    mean = F.avg_pool2d(padded, NORMALISED_OVER_PX, stride=1)
    squares = F.avg_pool2d(padded.square(), NORMALISED_OVER_PX, stride=1)
    variance = (squares - mean.square()).mean(dim=1, keepdim=True)
    return (images - mean) / (variance.clamp(min=0).sqrt() + _LEAST_CONTRAST)


def centred(images: Tensor) -> Tensor:
    """Images as the paper's network sees them: minus the middle of the range."""
    return images - 0.5


class MotionPatches:
    """Makes training patches of sharp pieces; the device's generator draws."""

    def __init__(self, response: Response, options: PatchOptions, device: torch.device) -> None:
        """Prepare spectra and tables; blur happens in the linear light of the response."""
        self.options = options
        self._transfers = transfers(SOURCE_PX).to(device)
        # The responses are those of `RESPONSES`: the same for all channels.
        self._light_of_code = torch.from_numpy(response.linear_of_code[:, 0]).float().to(device)
        # Codes are dense in the shadows; so are equal steps of the square root.
        light = (torch.arange(_N_LEVELS).double()[:, None] / (_N_LEVELS - 1)).square().expand(-1, 3)
        codes = torch.from_numpy(response.encode(light.numpy()))
        self._code_of_level = (codes[:, 0].float() / 255).to(device)
        turns = np.array(TURNS_DEGREES if options.between_orientations else (0,))
        self._turns = torch.from_numpy(np.radians(turns)).float().to(device)
        candidates = turned_candidates(np.array(TRAINED)[:, None, None], turns[:, None] - turns)
        self._candidates = torch.from_numpy(candidates).to(device)
        self._shares = torch.stack(
            [torch.stack([shares_of(i, off) for off in turns]) for i in range(len(TRAINED))]
        ).to(device)
        y = torch.fft.fftfreq(SOURCE_PX, device=device)[:, None]
        x = torch.fft.rfftfreq(SOURCE_PX, device=device)[None]
        self._y, self._x = y.expand(-1, x.shape[1]), x.expand(len(y), -1)

    def make(self, sharp: Tensor) -> tuple[Tensor, Tensor]:
        """Blur a batch by motions drawn uniformly from the classes.

        Args:
            sharp: (N, 3, 80, 80) in [0, 1], code values.

        Returns:
            (N, 3, 30, 30) as the network sees them, and (N, 73) target shares of the classes.
        """
        n, device = len(sharp), sharp.device
        one = torch.randint(len(TRAINED), (n,), device=device)
        off = torch.randint(len(self._turns), (n,), device=device)
        turn = torch.randint(len(self._turns), (n,), device=device)
        blurred = self.blurred(sharp, self._candidates[one, off, turn])
        sigma = _MOST_NOISE_SIGMA * torch.rand(n, 1, 1, 1, device=device)
        noisy = blurred + sigma * torch.randn_like(blurred)
        codes = (noisy.clamp(0, 1) * 255).round() / 255
        if self.options.between_orientations:
            codes = _turned_middle(codes, self._turns[turn])
        seen = normalised(codes) if self.options.normalise else centred(codes)
        margin = (seen.shape[-1] - PATCH_PX) // 2
        inside = slice(margin, margin + PATCH_PX)
        return seen[..., inside, inside], self._shares[one, off]

    def blurred(self, sharp: Tensor, candidates: Tensor) -> Tensor:
        """The middle of sharp pieces, blurred in linear light by the kernels of candidates.

        (N, 3, 80, 80) and (N,) to (N, 3, 54, 54), code values in [0, 1].
        """
        codes = (sharp * 255).round().long().clamp(0, 255)
        spectrum = torch.fft.rfft2(self._light_of_code[codes])
        transfer = self._transfers[candidates]
        if self.options.grain_share:
            spectrum = spectrum + self._grain(len(sharp), sharp.device)
        if self.options.band_gain_max > 1:
            transfer = transfer * self._band_gains(len(sharp), sharp.device)
        if self.options.soft_share:
            transfer = transfer * self._softness(len(sharp), sharp.device)
        whole = torch.fft.irfft2(spectrum * transfer[:, None], s=(SOURCE_PX, SOURCE_PX))
        inside = slice(_REACH_PX, _REACH_PX + _BLURRED_PX)
        levels = whole[..., inside, inside].clamp(0, 1).sqrt() * (_N_LEVELS - 1)
        return self._code_of_level[levels.round().long()]

    def _gaussian(self, sigma_px: Tensor) -> Tensor:
        """(N, h, w) transfer functions of Gaussians; sigma_px (N,)."""
        squared = self._x.square() + self._y.square()
        return torch.exp(-2 * math.pi**2 * sigma_px[:, None, None].square() * squared)

    def _band_gains(self, n: int, device: torch.device) -> Tensor:
        """Detail of each octave times a gain; coarser structure stays."""
        finer = torch.ones(n, *self._x.shape, device=device)
        result = torch.zeros_like(finer)
        for sigma_px in _OCTAVE_SIGMAS_PX:
            gain = self.options.band_gain_max ** (2 * torch.rand(n, 1, 1, device=device) - 1)
            coarser = self._gaussian(torch.full((n,), sigma_px, device=device)).expand_as(finer)
            result = result + gain * (finer - coarser)
            finer = coarser
        return result + finer

    def _softness(self, n: int, device: torch.device) -> Tensor:
        """Gaussians of 0.4 to 4 px for a share of the patches, mostly narrow ones."""
        sigma_px = 0.4 * 10 ** torch.rand(n, device=device)
        return self._gaussian(sigma_px * (torch.rand(n, device=device) < self.options.soft_share))

    def _grain(self, n: int, device: torch.device) -> Tensor:
        """Spectra of random textures of random coarseness, strength and colourfulness.

        Half of them have one direction, as hair, grass and brushed metal do.
        """

        def drawn(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(n, 1, 1, device=device)

        noise = torch.randn(n, 3, SOURCE_PX, SOURCE_PX, device=device)
        noise = noise + 3 * torch.rand(n, 1, 1, 1, device=device) * torch.randn_like(noise[:, :1])
        angle = drawn(0, math.pi)
        along = self._x * angle.cos() + self._y * angle.sin()
        across = self._y * angle.cos() - self._x * angle.sin()
        sigma_px = drawn(-1, 2.5).clamp(min=0)
        directed = drawn(0, 1) < 0.5
        stretch = torch.where(directed, torch.pow(24.0, drawn(0, 1)), torch.ones_like(sigma_px))
        # A directed texture is at least half a pixel wide, or else its direction would not show.
        sigma_px = torch.where(directed, sigma_px.clamp(min=0.5), sigma_px)
        squared = (sigma_px * stretch * along).square() + (sigma_px * across).square()
        shape = torch.exp(-2 * math.pi**2 * squared)
        shape = shape / shape.square().mean(dim=(1, 2), keepdim=True).sqrt()
        strength = 0.005 * torch.pow(30.0, drawn(0, 1)) * (drawn(0, 1) < self.options.grain_share)
        spectrum: Tensor = torch.fft.rfft2(noise)
        return spectrum * (strength * shape)[:, None]


def shares_of(one: int, off_degrees: int) -> Tensor:
    """(73,) shares of the classes for a motion that lies off the orientation of its class."""
    shares = torch.zeros(len(TRAINED))
    share = abs(off_degrees) / TRAINED_STEP_DEGREES
    step = TRAINED_STEP_DEGREES if off_degrees > 0 else -TRAINED_STEP_DEGREES
    shares[TRAINED.index(int(turned_candidates(TRAINED[one], step)))] = share
    shares[one] += 1 - share  # "no motion" has one class, and gets all
    return shares


def _turned_middle(images: Tensor, radians: Tensor) -> Tensor:
    """The middle of images, each turned counter-clockwise by its own angle."""
    shrink = _COMPARED_PX / images.shape[-1]
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    matrix = shrink * torch.stack(
        [torch.stack([cos, -sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1
    )
    size = [len(images), 3, _COMPARED_PX, _COMPARED_PX]
    grid = F.affine_grid(matrix, size, align_corners=False)
    turned: Tensor = F.grid_sample(
        images, grid, mode="bicubic", padding_mode="reflection", align_corners=False
    )
    return torch.clamp(turned, 0, 1)
