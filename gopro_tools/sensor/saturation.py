"""Lights brighter than the frames could record: their streaks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gopro_tools.sensor.light import Light


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """RSBlur's saturation: light is added in proportion to how long a pixel was saturated.

    A lamp that clips every frame it is in may be twice or twenty times as bright as white; the mean
    of clipped frames turns its streak grey. B + alpha M, clipped, with M the mean of the frames'
    masks of saturated values and one alpha per image (Rim et al., ECCV 2022, section 4.2).
    """

    alpha: tuple[float, float] = (0.25, 1.75)
    """Range from which alpha is drawn uniformly."""

    def draw(self, rng: np.random.Generator) -> float:
        """Alpha of one image."""
        return float(rng.uniform(*self.alpha))

    def brighten(self, light: Light, alpha: float) -> NDArray[np.float32]:
        """(H, W, 3) float32: B + alpha M, at most 1."""
        brighter: NDArray[np.float32] = np.minimum(
            light.mean + np.float32(alpha) * light.clipped, np.float32(1)
        )
        return brighter
