"""Shot noise (of the light) and read noise (of the electronics), in linear raw values."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gopro_tools.errors import InputError

_EXACT_BELOW = 64.0
"""Mean photon counts below this are drawn from the Poisson distribution itself; higher ones,
several times faster, from a normal variable adjusted to the same mean, variance and skewness."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Noise of one image."""

    shot: float
    """Gain: linear light of one photon. Variance of shot noise is ``shot`` times the light."""
    read: float
    """Standard deviation of read noise, in linear light."""

    def added_to(
        self, linear: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Noisy values of ``linear`` (any shape, float32 >= 0; below 0 counts as 0), float32."""
        normal = rng.standard_normal(linear.shape, np.float32)
        noisy = np.empty_like(normal)
        shot, read = np.float32(self.shot), np.float32(self.read)
        _add_normal(linear.ravel(), normal.ravel(), shot, read, noisy.ravel())
        few = linear < shot * np.float32(_EXACT_BELOW)
        photons = rng.poisson(np.maximum(linear[few], 0) / shot)
        noisy[few] = shot * photons + read * normal[few]
        return noisy


@njit(nogil=True, cache=True, fastmath=True)
def _add_normal(linear, normal, shot, read, noisy):  # type: ignore[no-untyped-def]
    """Shot and read noise as one variable, with their variance and skewness.

    The skewness comes from the first Cornish-Fisher term; only shot noise has a third moment.
    """
    for i in range(len(linear)):
        value = max(linear[i], np.float32(0))
        variance = shot * value + read * read
        z = normal[i]
        skewed = shot * shot * value / variance * (z * z - 1) * np.float32(1 / 6)
        noisy[i] = value + np.sqrt(variance) * z + skewed


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Noise levels of a camera; each image draws its own around them."""

    shot: float
    """See `Levels`."""
    read: float
    """See `Levels`."""
    spread: tuple[float, float] = (0.5, 1.5)
    """Range of the factors by which both levels vary, drawn uniformly and independently
    (RSBlur)."""

    def draw(self, rng: np.random.Generator) -> Levels:
        """Levels of one image."""
        return Levels(
            shot=self.shot * float(rng.uniform(*self.spread)),
            read=self.read * float(rng.uniform(*self.spread)),
        )

    @classmethod
    def named(cls, name: str) -> "Noise":
        """Noise by a name in `NOISE_LEVELS`, or ``SHOT,READ`` as measured for a camera.

        Raises:
            InputError: It is neither.
        """
        if name in NOISE_LEVELS:
            return NOISE_LEVELS[name]
        try:
            shot, read = (float(part) for part in name.split(","))
        except ValueError:
            shot, read = -1.0, -1.0
        if not (0 < shot < 1 and 0 <= read < 1):
            raise InputError(
                f"--noise {name}: {', '.join(NOISE_LEVELS)} or SHOT,READ was expected, such as "
                "1e-4,9e-4 (gain of shot noise and standard deviation of read noise, relative to "
                "a maximum of 1)."
            )
        return cls(shot=shot, read=read)


NOISE_LEVELS: Mapping[str, Noise] = MappingProxyType(
    {
        "rsblur": Noise(shot=1e-4, read=9.1504e-4),
        "realblur": Noise(shot=8.8915e-5, read=2.9430e-5),
    }
)
"""As estimated by Rim et al. (ECCV 2022) for the cameras of two datasets; their code's values."""
