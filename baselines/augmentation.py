"""Random changes of training patches."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of a pair of patches, drawn independently."""

    sharp_to_sharp_p: float = 0.0
    """Probability that the input is the sharp patch itself."""
    hflip_p: float = 0.0
    """Probability of a left-right flip."""
    vflip_p: float = 0.0
    """Probability of an upside-down flip."""
    rotate: bool = False
    """Whether to turn by 0, 90, 180 or 270 degrees, all equally likely."""
    permute_channels: bool = False
    """Whether to shuffle red, green and blue, all six orders equally likely."""
    saturation_p: float = 0.0
    """Probability that the HSV saturation of both patches is multiplied."""
    saturation_range: tuple[float, float] = (0.5, 1.5)
    """Range of the factor, drawn uniformly."""
    noise_sigma_std: float = 0.0
    """The input gets noise N(0, sigma^2) with sigma drawn per patch from N(0, this^2)."""

    def __post_init__(self) -> None:
        for name in ("sharp_to_sharp_p", "hflip_p", "vflip_p", "saturation_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"{name} = {getattr(self, name)}: a probability in [0, 1] was expected."
                )
        if (
            self.noise_sigma_std < 0
            or not 0 <= self.saturation_range[0] <= self.saturation_range[1]
        ):
            raise InputError("noise_sigma_std and saturation_range: 0 <= low <= high was expected.")


NAH2017_AUGMENTATION = Augmentation(
    sharp_to_sharp_p=0.1,
    hflip_p=0.5,
    rotate=True,
    permute_channels=True,
    saturation_p=1.0,
    noise_sigma_std=2 / 255,
)
"""Nah et al. 2017. The Torch7 code multiplies the saturation of one patch in ten only."""


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

    Args:
        blurred: (P, P, 3) uint8.
        sharp: (P, P, 3) uint8.
        config: Which changes, and how likely.
        rng: See `draw_augmentation`.

    Returns:
        Blurred and sharp patch, (3, P, P) float32 in [0, 1].
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
