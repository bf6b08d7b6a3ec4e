"""Photographs as textures in linear light: backgrounds with lights, and cut-out objects."""

import importlib.util
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.response import Response
from gopro_tools.video.stills import check_still

Texture = NDArray[np.float32]
"""(h, w, 3) linear light, or (h, w, 4): linear light times coverage, and coverage in [0, 1]."""

PHOTOGRAPHS = MappingProxyType(
    {
        "motorcycle": "motorcycle_left.png",
        "astronaut": "astronaut.png",
        "coffee": "coffee.png",
        "rocket": "rocket.jpg",
        "cat": "chelsea.png",
    }
)
"""Colour photographs inside the scikit-image package: name here, file there."""

TEXELS_PER_PX = 2
"""Texels per pixel of the image: the detail that the optics pass lies far below the texels' Nyquist
limit, so that interpolating between them is visually exact and nothing shimmers."""

_OPTICS_SIGMA_PX = 0.45  # lens and pixel aperture: passes 0.37 at the image's Nyquist limit
_LEAST_SIDE_PX = 32
_N_LIGHTS = 12
_CELL_PX = 8  # where lights go is decided on a grid this coarse
_LIGHT_SPACING_CELLS = 9
_GAMMA = Response.named("gamma2.2")


def read_photograph(source: str | Path, response: Response = _GAMMA) -> Rgb:
    """Read a photograph by its name in `PHOTOGRAPHS` or from a file.

    Args:
        source: Which.
        response: What decodes it.

    Raises:
        InputError: No such name, or the file cannot be used, or says that its values are not those
            of ``response``: the message says why.
    """
    if isinstance(source, str) and source in PHOTOGRAPHS:
        return read_rgb(photograph_path(source))
    path = Path(source)
    if isinstance(source, str) and not path.suffix:
        raise InputError(
            f"photograph {source!r}: expected one of {', '.join(PHOTOGRAPHS)} or an image file."
        )
    photograph = read_rgb(path)
    height, width = photograph.shape[:2]
    if min(height, width) < _LEAST_SIDE_PX:
        raise InputError(
            f"{path}: {width}x{height} pixels; a photograph of at least "
            f"{_LEAST_SIDE_PX}x{_LEAST_SIDE_PX} was expected."
        )
    check_still(path, response)
    return photograph


def photograph_path(source: str | Path) -> Path:
    """Where a photograph named in `PHOTOGRAPHS` lies; a file's path is returned as it is.

    Raises:
        InputError: It comes with scikit-image, which is not installed.
    """
    if source not in PHOTOGRAPHS:
        return Path(source)
    # Found without importing scikit-image, which is slow.
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise InputError(
            f"photograph {source!r}: it comes with scikit-image, which is not installed; "
            "`pip install scikit-image`, or name an image file."
        )
    return Path(package.origin).parent / "data" / PHOTOGRAPHS[str(source)]


def background(
    photograph: Rgb, size_hw: tuple[int, int], response: Response, rng: np.random.Generator
) -> Texture:
    """A part of a photograph, as large as its shape allows, made ``size_hw`` pixels large."""
    height, width = photograph.shape[:2]
    scale = min(height / size_hw[0], width / size_hw[1])
    crop_hw = (min(height, round(scale * size_hw[0])), min(width, round(scale * size_hw[1])))
    return _texture(_crop(photograph, crop_hw, rng), size_hw, response)


def cut_out(photograph: Rgb, side_px: int, response: Response, rng: np.random.Generator) -> Texture:
    """A smooth shape cut from a photograph at about its own scale, ``side_px`` pixels large."""
    side = min(*photograph.shape[:2], round(side_px * rng.uniform(1.0, 1.6)))
    colour = _texture(_crop(photograph, (side, side), rng), (side_px, side_px), response)
    coverage = _shape(len(colour), rng)[..., None]
    sprite = np.dstack([colour * coverage, coverage])
    return _blurred(sprite, _OPTICS_SIGMA_PX * TEXELS_PER_PX)


def add_lights(texture: Texture, rng: np.random.Generator) -> None:
    """Add lamps and glints, brighter than white, where a texture outshines its surroundings."""
    cell = _CELL_PX * TEXELS_PER_PX
    cells_wh = (max(1, texture.shape[1] // cell), max(1, texture.shape[0] // cell))
    brightness = cv2.resize(texture.mean(axis=2), cells_wh, interpolation=cv2.INTER_AREA)
    around = cv2.GaussianBlur(brightness, (0, 0), _LIGHT_SPACING_CELLS / 3)
    contrast = _float32(brightness - around)
    for _ in range(_N_LIGHTS):
        row, column = divmod(int(contrast.argmax()), cells_wh[0])
        cv2.circle(contrast, (column, row), _LIGHT_SPACING_CELLS, -np.inf, cv2.FILLED)
        y, x = (np.array([row, column]) + rng.uniform(0.2, 0.8, 2)) * cell
        peak = 4 * (25 / 4) ** rng.uniform()
        colour = peak * np.array([1, rng.uniform(0.75, 1), rng.uniform(0.5, 1)])
        sigma = rng.uniform(0.6, 1.4) * TEXELS_PER_PX
        reach = int(20 * sigma)
        top, left = max(0, int(y) - reach), max(0, int(x) - reach)
        patch = texture[top : int(y) + reach, left : int(x) + reach]
        rows, columns = np.ogrid[: patch.shape[0], : patch.shape[1]]
        squared = ((rows + top - y) ** 2 + (columns + left - x) ** 2) / (2 * sigma**2)
        glow = np.exp(-squared) + 0.01 * np.exp(-squared / 25)
        patch += _float32(glow[..., None] * colour)


def _texture(photograph: Rgb, size_hw: tuple[int, int], response: Response) -> Texture:
    """A photograph in linear light as the camera's optics show it, ``size_hw`` pixels large."""
    size_wh = (size_hw[1] * TEXELS_PER_PX, size_hw[0] * TEXELS_PER_PX)
    magnification = size_hw[0] / photograph.shape[0]
    # The photograph's own camera has blurred it already, at the photograph's scale.
    sigma_px = _OPTICS_SIGMA_PX * np.sqrt(max(0.0, 1 - magnification**2))
    if magnification * TEXELS_PER_PX <= 1:
        # Before it shrinks, or fine detail would alias as moiré.
        seen = _blurred(_float32(response.decode(photograph)), sigma_px / magnification)
        return _float32(cv2.resize(seen, size_wh, interpolation=cv2.INTER_AREA))
    # On codes, where a sharp filter's overshoot shows as little in shadows as in highlights.
    codes = _float32(cv2.resize(_float32(photograph), size_wh, interpolation=cv2.INTER_CUBIC))
    if magnification > 1:  # restore some of the sharpness that magnifying takes
        softer = _blurred(codes, _OPTICS_SIGMA_PX * magnification * TEXELS_PER_PX)
        codes += min(1.0, magnification - 1) * (codes - softer)
    linear = np.empty_like(codes)
    for channel in range(3):
        table = response.linear_of_code[:, channel]
        linear[..., channel] = np.interp(codes[..., channel], np.arange(256), table)
    return _blurred(linear, sigma_px * TEXELS_PER_PX)


def _crop(image: Rgb, size_hw: tuple[int, int], rng: np.random.Generator) -> Rgb:
    height, width = size_hw
    top = int(rng.integers(image.shape[0] - height + 1))
    left = int(rng.integers(image.shape[1] - width + 1))
    return image[top : top + height, left : left + width]


def _blurred(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    if sigma < 0.1:
        return image
    return _float32(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101))


def _shape(n_texels: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(n, n) coverage of a shape between an ellipse, a box and a pebble, clear of the border."""
    finer = 4
    n = n_texels * finer
    y, x = (np.mgrid[:n, :n].astype(np.float32) + 0.5) * (2 / n) - 1
    exponent, aspect = rng.uniform(2, 6), rng.uniform(0.55, 1)
    radius = (np.abs(x) ** exponent + np.abs(y / aspect) ** exponent) ** (1 / exponent)
    angle = np.arctan2(y, x)
    edge = np.full_like(angle, 0.75)
    for harmonic in (2, 3, 5):
        depth, phase = rng.uniform(0, 0.15 / harmonic), rng.uniform(0, 2 * np.pi)
        edge += depth * np.sin(harmonic * angle + phase)
    inside = _float32(radius < edge)
    return _float32(cv2.resize(inside, (n_texels, n_texels), interpolation=cv2.INTER_AREA))


def _float32(array: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(array, dtype=np.float32)
