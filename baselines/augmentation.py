"""Random changes of training patches."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.recipe import Augmentation
from gopro_tools.images import Rgb


@dataclass(frozen=True, kw_only=True)
class AugmentationDraw:
    """What was drawn for one patch, except the values of its noise."""

    sharp_to_sharp: bool
    """The input is the sharp patch itself."""
    hflip: bool
    """Left-right, before the other two."""
    vflip: bool
    """Upside down, before the turn."""
    quarter_turns: int
    """Counter-clockwise, 0 to 3."""
    channels: tuple[int, int, int]
    """Which of the image's channels come first, second and third."""
    saturation: float | None
    """Factor of the HSV saturation; None leaves it."""
    noise_sigma: float
    """Of the input's noise, of either sign."""

    def oriented(self, patch: NDArray[Any]) -> NDArray[Any]:
        """A view of a patch, (H, W) or (H, W, 3): flipped and turned."""
        flipped = patch[:: -1 if self.vflip else 1, :: -1 if self.hflip else 1]
        return np.rot90(flipped, self.quarter_turns)


def draw_augmentation(config: Augmentation, rng: np.random.Generator) -> AugmentationDraw:
    """Draw for one patch; the number of draws does not depend on their outcome."""
    copy_p, hflip_p, vflip_p, saturation_p = rng.random(4)
    quarter_turns = int(rng.integers(4)) if config.rotate else 0
    red, green, blue = rng.permutation(3).tolist() if config.permute_channels else (0, 1, 2)
    factor = float(rng.uniform(*config.saturation_range))
    sigma = float(rng.normal(0, config.noise_sigma_std)) if config.noise_sigma_std else 0.0
    return AugmentationDraw(
        sharp_to_sharp=bool(copy_p < config.sharp_to_sharp_p),
        hflip=bool(hflip_p < config.hflip_p),
        vflip=bool(vflip_p < config.vflip_p),
        quarter_turns=quarter_turns,
        channels=(red, green, blue),
        saturation=factor if saturation_p < config.saturation_p else None,
        noise_sigma=sigma,
    )


def augment(
    blurred: Rgb, sharp: Rgb, config: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Augment a blurred and a sharp patch in the same way, except for the input's noise.

    (P, P, 3) uint8 to (3, P, P) float32 in [0, 1].
    """
    draw = draw_augmentation(config, rng)
    if draw.sharp_to_sharp:
        blurred = sharp

    def placed(patch: Rgb) -> NDArray[np.float32]:
        turned = draw.oriented(patch).transpose(2, 0, 1)
        planes = turned[list(draw.channels)].astype(np.float32)
        planes /= 255
        if draw.saturation is not None:
            # Scaling HSV saturation with hue and value fixed moves each channel on the line
            # through the largest one; what leaves [0, 1] is clipped, as the recipes do.
            value = planes.max(axis=0)
            planes = np.clip(value - (value - planes) * np.float32(draw.saturation), 0, 1)
        return planes

    blurred_planes, sharp_planes = placed(blurred), placed(sharp)
    if draw.noise_sigma:
        noise = rng.standard_normal(blurred_planes.shape, dtype=np.float32)
        blurred_planes = np.clip(blurred_planes + np.float32(draw.noise_sigma) * noise, 0, 1)
    return blurred_planes, sharp_planes
