"""A camera's processing of raw values, and its inverse: colours, mosaic, white balance."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.sensor.noise import Levels

Linear = NDArray[np.float32]

_XYZ_OF_SRGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
"""IEC 61966-2-1, D65."""
_CAMERA_OF_XYZ: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        # LibRaw's table (from Adobe's DNG converter), D65: the camera of RealBlur and RSBlur.
        "sony_a7r3": (
            0.6640, -0.1847, -0.0503, -0.5238, 1.3010, 0.2474, -0.0993, 0.1673, 0.6527,
        ),
    }
)  # fmt: skip
CAMERAS = ("sony_a7r3", "srgb")
"""Cameras whose colours are known; ``srgb`` leaves colours as they are."""

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")
"""Colours of the first two pixels of the first row, then of the second."""


@dataclass(frozen=True, kw_only=True)
class Balance:
    """What is drawn for one image."""

    pattern: str
    """One of `PATTERNS`."""
    red_gain: float
    blue_gain: float


@dataclass(frozen=True, kw_only=True)
class Isp:
    """Mosaic and demosaicing in a camera's own colours, with white balance around them.

    Colours are those of a camera balanced for daylight, so that white is white in both; the gains
    say how much weaker red and blue reach the sensor, and hence how noisy they are.
    """

    camera: str = "sony_a7r3"
    """One of `CAMERAS`."""
    red_gain: tuple[float, float] = (1.9, 2.4)
    """Range from which the gain of red is drawn uniformly (RSBlur)."""
    blue_gain: tuple[float, float] = (1.5, 1.9)
    """The same for blue."""

    def __post_init__(self) -> None:
        """Check the camera's name."""
        if self.camera not in CAMERAS:
            raise InputError(f"--isp {self.camera}: one of {', '.join(CAMERAS)} was expected.")

    @property
    def camera_of_srgb(self) -> NDArray[np.float64]:
        """(3, 3): linear sRGB to balanced camera colours; rows sum to 1."""
        if self.camera == "srgb":
            return np.eye(3)
        matrix = np.reshape(_CAMERA_OF_XYZ[self.camera], (3, 3)) @ _XYZ_OF_SRGB
        balanced: NDArray[np.float64] = matrix / matrix.sum(axis=1, keepdims=True)
        return balanced

    def draw(self, rng: np.random.Generator) -> Balance:
        """Phase of the mosaic and gains of one image."""
        return Balance(
            pattern=PATTERNS[int(rng.integers(len(PATTERNS)))],
            red_gain=float(rng.uniform(*self.red_gain)),
            blue_gain=float(rng.uniform(*self.blue_gain)),
        )

    def develop(
        self, linear: Linear, balance: Balance, levels: Levels | None, rng: np.random.Generator
    ) -> Linear:
        """Through the sensor and back.

        Args:
            linear: (H, W, 3) linear sRGB in [0, 1], at least 3x3.
            balance: See `draw`.
            levels: Noise of the raw values; None for no noise.
            rng: Source of the noise.

        Returns:
            (H, W, 3) linear sRGB, not clipped. Values that were 1 stay 1: a saturated sensor shows
            no noise (RSBlur).
        """
        matrix = self.camera_of_srgb.astype(np.float32)
        gains = np.array([balance.red_gain, 1, balance.blue_gain], np.float32)
        channels = channels_of(balance.pattern)
        raw = np.empty(linear.shape[:2], np.float32)
        _to_raw(linear, matrix / gains[:, None], channels, raw)
        if levels is not None:
            raw = levels.added_to(raw, rng)
        _balance(raw, gains, channels)
        back = np.linalg.inv(self.camera_of_srgb).astype(np.float32)
        developed = np.empty_like(linear)
        _demosaic(np.pad(raw, 2, mode="reflect"), channels, back, developed)
        saturated = linear >= 1
        developed[saturated] = linear[saturated]
        return developed


def channels_of(pattern: str) -> NDArray[np.int64]:
    """(2, 2): channel (0 red, 1 green, 2 blue) at even and odd rows and columns of a pattern."""
    return np.array(["RGB".index(letter) for letter in pattern]).reshape(2, 2)


def mosaic(image: Linear, pattern: str) -> Linear:
    """(H, W): the one channel of (H, W, 3) float32 that each pixel of a Bayer sensor sees."""
    raw = np.empty(image.shape[:2], np.float32)
    _to_raw(image, np.eye(3, dtype=np.float32), channels_of(pattern), raw)
    return raw


def demosaic(raw: Linear, pattern: str) -> Linear:
    """(H, W, 3) from a Bayer mosaic: Malvar, He and Cutler, "High-quality linear interpolation for
    demosaicing of Bayer-patterned color images", ICASSP 2004. Edges are mirrored.

    Args:
        raw: (H, W) float32, at least 3x3.
        pattern: One of `PATTERNS`.
    """  # noqa: D205
    image = np.empty((*raw.shape, 3), np.float32)
    padded = np.pad(raw, 2, mode="reflect")
    _demosaic(padded, channels_of(pattern), np.eye(3, dtype=np.float32), image)
    return image


@njit(nogil=True, cache=True, fastmath=True)
def _to_raw(linear, matrix, channels, raw):  # type: ignore[no-untyped-def]
    height, width = raw.shape
    for y in range(height):
        for x in range(width):
            c = channels[y & 1, x & 1]
            value = (
                matrix[c, 0] * linear[y, x, 0]
                + matrix[c, 1] * linear[y, x, 1]
                + matrix[c, 2] * linear[y, x, 2]
            )
            raw[y, x] = max(value, np.float32(0))


@njit(nogil=True, cache=True, fastmath=True)
def _balance(raw, gains, channels):  # type: ignore[no-untyped-def]
    height, width = raw.shape
    for y in range(height):
        for x in range(width):
            raw[y, x] *= gains[channels[y & 1, x & 1]]


@njit(nogil=True, cache=True, fastmath=True)
def _demosaic(p, channels, matrix, out):  # type: ignore[no-untyped-def]
    """The four 5x5 filters of the paper's figure 2, then a colour matrix; ``p`` is padded by 2."""
    height, width = out.shape[:2]
    colors = np.empty(3, np.float32)
    for y in range(height):
        for x in range(width):
            j = y + 2
            i = x + 2
            here = p[j, i]
            sides = p[j, i - 1] + p[j, i + 1]
            above = p[j - 1, i] + p[j + 1, i]
            far_sides = p[j, i - 2] + p[j, i + 2]
            far_above = p[j - 2, i] + p[j + 2, i]
            corners = p[j - 1, i - 1] + p[j - 1, i + 1] + p[j + 1, i - 1] + p[j + 1, i + 1]
            c = channels[y & 1, x & 1]
            if c == 1:
                along = np.float32(0.125) * (
                    5 * here + 4 * sides - far_sides - corners + np.float32(0.5) * far_above
                )
                across = np.float32(0.125) * (
                    5 * here + 4 * above - far_above - corners + np.float32(0.5) * far_sides
                )
                colors[1] = here
                of_row = channels[y & 1, 1 - (x & 1)]  # the other colour of this row
                colors[of_row] = along
                colors[2 - of_row] = across
            else:
                far = far_sides + far_above
                colors[c] = here
                colors[1] = np.float32(0.125) * (4 * here + 2 * (sides + above) - far)
                colors[2 - c] = np.float32(0.125) * (6 * here + 2 * corners - np.float32(1.5) * far)
            for k in range(3):
                out[y, x, k] = (
                    matrix[k, 0] * colors[0] + matrix[k, 1] * colors[1] + matrix[k, 2] * colors[2]
                )
