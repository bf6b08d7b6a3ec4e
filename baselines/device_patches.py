"""Training patches cut on the device, where the decoded pairs are kept.

They equal those that `baselines.data.Patches` cuts on the CPU, value for value, except for added
noise, which the device's generator draws with the standard deviation that the CPU drew. A patch is
an affine walk over its image (flips and quarter turns only change start and steps), so the CPU
draws a few integers per patch and the device gathers pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.data import Patches, draw_augmentation

_N_INTEGERS = 7  # start in the blurred and in the sharp image, step down, step right, channels


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where the patches of a batch are cut, and how they are augmented."""

    places: Tensor
    """(N, 7) int64."""
    strengths: Tensor
    """(N, 3) float32: whether saturation changes, its factor, sigma of the noise."""


class DevicePatches:
    """All decoded pairs on one device, from which the batches of `Patches` are cut there."""

    def __init__(self, patches: Patches, device: torch.device) -> None:
        """Copy the pairs to the device: 6 bytes per pixel.

        Raises:
            torch.OutOfMemoryError: They do not fit.
        """
        self._patches = patches
        frames = patches.frames
        sizes = (math.prod(frames.size_hw(index)) for index in range(len(frames)))
        # Where each image's pixels start: the blurred images first, then the sharp ones.
        *self._starts, self._n_pixels = accumulate(sizes, initial=0)
        self._pixels = torch.empty((2 * self._n_pixels, 3), dtype=torch.uint8, device=device)
        for index, start in enumerate(self._starts):
            for image, first in zip(
                frames.frames(index), (start, start + self._n_pixels), strict=True
            ):
                rows = torch.from_numpy(np.ascontiguousarray(image)).reshape(-1, 3)
                self._pixels[first : first + len(rows)] = rows.to(device)
        self._steps = torch.arange(patches.config.patch_px, device=device)
        # A tensor, because GPUs divide by a plain number through its rounded reciprocal.
        self._largest = torch.tensor(255.0, device=device)

    def plan(self, number: int, indices: Sequence[int], *, pin: bool = False) -> Plan:
        """Draw a part of batch ``number``; see `Patches.batch`.

        Raises:
            InputError: An image is smaller than a patch.
        """
        config, frames = self._patches.config, self._patches.frames
        places = torch.empty((len(indices), _N_INTEGERS), dtype=torch.int64, pin_memory=pin)
        strengths = torch.empty((len(indices), 3), pin_memory=pin)
        place_rows, strength_rows = places.numpy(), strengths.numpy()
        for row, index in enumerate(indices):
            which, top, left, rng = self._patches.place(number, index)
            draw = draw_augmentation(config.augmentation, rng)
            width = frames.size_hw(which)[1]
            walk = draw.oriented(_indices(config.patch_px, width))
            first = self._starts[which] + top * width + left + walk[0, 0]
            place_rows[row] = (
                first + self._n_pixels * draw.sharp_to_sharp,
                first + self._n_pixels,
                walk[1, 0] - walk[0, 0],
                walk[0, 1] - walk[0, 0],
                *draw.channels,
            )
            factor = draw.saturation
            strength_rows[row] = (factor is not None, factor or 0.0, draw.noise_sigma)
        return Plan(places=places, strengths=strengths)

    def cut(self, places: Tensor, strengths: Tensor) -> tuple[Tensor, Tensor]:
        """Cut and augment the patches of a plan, whose tensors are on the device.

        Returns:
            Blurred and sharp patches, (N, 3, P, P) float32 in [0, 1], in channels_last memory.
        """
        augmentation = self._patches.config.augmentation
        walk = (
            places[:, 2, None, None] * self._steps[:, None]
            + places[:, 3, None, None] * self._steps[None, :]
        )
        channels = places[:, None, None, 4:].expand(*walk.shape, 3)
        planes = []
        for image in (0, 1):
            pixels = self._pixels[places[:, image, None, None] + walk]
            values = pixels.gather(-1, channels).permute(0, 3, 1, 2).float() / self._largest
            if augmentation.saturation_p:
                value = values.amax(dim=1, keepdim=True)
                factor = strengths[:, 1, None, None, None]
                changed = (value - (value - values) * factor).clamp(0, 1)
                values = torch.where(strengths[:, 0, None, None, None] > 0, changed, values)
            planes.append(values)
        blurred, sharp = planes
        if augmentation.noise_sigma_std:
            noise = torch.randn_like(blurred)
            blurred = (blurred + strengths[:, 2, None, None, None] * noise).clamp(0, 1)
        return blurred, sharp


@lru_cache(maxsize=16)
def _indices(size: int, width: int) -> NDArray[np.int64]:
    """(size, size) index of each pixel of a patch among the pixels of an image of that width."""
    return np.add.outer(np.arange(size) * width, np.arange(size))
