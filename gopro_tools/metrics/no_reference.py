"""Quality of an image without a sharp one to compare it with: NIQE and the blur effect.

Neither knows what the scene looked like: a method that invents detail can please both. They are for
photos without a ground truth.
"""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.metrics.mat_file import read_mat
from gopro_tools.metrics.parts import given_parts
from gopro_tools.text import size_text

BLOCK_PX = 96
"""Side of the blocks whose statistics NIQE compares; half as many at half size."""
LEAST_BLOCKS = 2
"""A covariance needs two observations."""
_MODEL_KEYS = (("mu_prisparam", "cov_prisparam"), ("mu_pris_param", "cov_pris_param"))
"""Names in the authors' ``modelparameters.mat`` and in BasicSR's copy of it."""
_N_FEATURES = 36
_MOST = 1e6
"""Far above any feature of an image, or covariance of two."""
_GREY = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])
"""MATLAB's rgb2gray."""
_SHIFTS_YX = ((0, 1), (1, 0), (1, 1), (1, -1))
_SHAPES = np.arange(0.2, 10.0005, 0.001)
"""Shape parameters tried for a generalised Gaussian."""
_HALVING = np.array([-0.01171875, -0.03515625, 0.11328125, 0.43359375])
"""MATLAB's bicubic kernel (Keys, a = -0.5) at half size: its weights at distances of 3.5, 2.5, 1.5
and 0.5 px, the same on both sides."""

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class NiqeModel:
    """Statistics of natural images that NIQE measures the distance from."""

    mean: Values
    """(36,) features of undistorted photographs."""
    covariance: Values
    """(36, 36)."""

    @property
    def sha256(self) -> str:
        """Hash of its numbers, whatever the file: scores of two models are not comparable."""
        return hashlib.sha256(self.mean.tobytes() + self.covariance.tobytes()).hexdigest()


def blur_effect(image: Rgb) -> float:
    """Blur without a reference, 0 (none) to 1 (most), lower is better.

    The share of the variation between neighbours that remains after another blur over 11 px, along
    rows or columns, whichever is more (Crete et al., "The blur effect", HVEI 2007): a sharp image
    loses much. As scikit-image computes it, on grey.

    Args:
        image: (H, W, 3) uint8.
    """
    from skimage.measure import blur_effect as of_scikit_image  # half a second to import

    return float(of_scikit_image(image, h_size=11, channel_axis=2))


def niqe_absent() -> str | None:
    """Why NIQE cannot be computed here; None where it can."""
    try:
        _given_model()
    except InputError as error:
        return str(error)
    return None


def niqe_settings() -> str:
    """Which model the scores are distances from."""
    return f"model {_given_model().sha256[:12]}"


def niqe_distance(image: Rgb) -> float:
    """NIQE, the distance from natural images; lower is better (Mittal et al., SPL 2013).

    As the authors' MATLAB release computes it: grey by rgb2gray, blocks of 96x96 that do not
    overlap, two scales. Code that takes BT.601 luma instead (BasicSR) differs in the second digit.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        The distance; NaN where fewer than two blocks have any texture.

    Raises:
        InputError: No model was given, or the image has fewer than two blocks.
    """
    model = _given_model()
    features = niqe_features(image)
    whole = features[~np.isnan(features).any(axis=1)]
    if len(whole) < LEAST_BLOCKS:
        return float("nan")
    # As in the release: means skip single missing features, the covariance skips whole blocks.
    apart = model.mean - np.nanmean(features, axis=0)
    covariance = (model.covariance + np.cov(whole, rowvar=False)) / 2
    return float(np.sqrt(max(0.0, apart @ np.linalg.pinv(covariance) @ apart)))


def niqe_features(image: Rgb) -> Values:
    """Natural scene statistics of each block of an image.

    Args:
        image: (H, W, 3) uint8; what exceeds whole blocks of 96x96 is cut off.

    Returns:
        (blocks, 36): 18 features at full and 18 at half size; NaN where a block has no texture.

    Raises:
        InputError: There are fewer than two blocks.
    """
    rows, columns = (side // BLOCK_PX for side in image.shape[:2])
    if rows * columns < LEAST_BLOCKS:
        raise InputError(
            f"NIQE needs images of at least {2 * BLOCK_PX}x{BLOCK_PX} pixels, this one is "
            f"{size_text(image.shape)}."
        )
    grey = np.rint(image[: rows * BLOCK_PX, : columns * BLOCK_PX] @ _GREY)
    scales = []
    for block_px in (BLOCK_PX, BLOCK_PX // 2):
        normalised = _without_local_contrast(grey)
        blocks = normalised.reshape(rows, block_px, columns, block_px).swapaxes(1, 2)
        scales.append(_block_features(blocks.reshape(-1, block_px, block_px)))
        grey = _halved(grey)
    return np.hstack(scales)


def _without_local_contrast(grey: Values) -> Values:
    """Luminance minus its local mean, over its local deviation (Gaussian 7x7, edges replicated)."""
    mean = _smoothed(grey)
    deviation = np.sqrt(np.abs(_smoothed(grey**2) - mean**2))
    normalised: Values = (grey - mean) / (deviation + 1)
    return normalised


def _smoothed(values: Values) -> Values:
    taps = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    taps /= taps.sum()
    from scipy import ndimage

    for axis in (0, 1):
        values = ndimage.correlate1d(values, taps, axis=axis, mode="nearest")
    return values


def _halved(values: Values) -> Values:
    """MATLAB's ``imresize(x, 0.5)``: bicubic with antialiasing, edges mirrored. Sides are even."""
    taps = np.concatenate([_HALVING, _HALVING[::-1]])
    from scipy import ndimage

    for axis in (0, 1):
        filtered = ndimage.correlate1d(values, taps, axis=axis, mode="reflect", origin=-1)
        values = filtered.take(range(0, values.shape[axis], 2), axis=axis)
    return values


def _block_features(blocks: Values) -> Values:
    """(n, side, side) -> (n, 18): shape and scale of the values, then of products of neighbours."""
    from scipy import special

    shape, left, right = fitted_generalised_gaussian(blocks)
    features = [shape, (left + right) / 2]
    for shift in _SHIFTS_YX:
        shape, left, right = fitted_generalised_gaussian(
            blocks * np.roll(blocks, shift, axis=(1, 2))
        )
        mean = (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape)
        features += [shape, mean, left, right]
    return np.stack(features, axis=1)


def fitted_generalised_gaussian(blocks: Values) -> tuple[Values, Values, Values]:
    """Asymmetric generalised Gaussian of each block, by moments (Lasmar et al., ICIP 2009).

    Args:
        blocks: (n, ...) values around zero.

    Returns:
        Shape, left scale and right scale, (n,) each; NaN where a side has no values.
    """
    from scipy import special

    values = blocks.reshape(len(blocks), -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = values**2
        left = np.sqrt(_mean_where(squares, values < 0))
        right = np.sqrt(_mean_where(squares, values > 0))
        lopsided = left / right
        ratio = np.abs(values).mean(axis=1) ** 2 / squares.mean(axis=1)
        ratio *= (lopsided**3 + 1) * (lopsided + 1) / (lopsided**2 + 1) ** 2
    ratios = _ratios_of_shapes()
    above = np.clip(np.searchsorted(ratios, ratio), 1, len(ratios) - 1)
    nearer_below = ratio - ratios[above - 1] <= ratios[above] - ratio
    shape = np.where(np.isnan(ratio), np.nan, _SHAPES[above - nearer_below])
    scale = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return shape, left * scale, right * scale


@functools.cache
def _ratios_of_shapes() -> Values:
    """Squared mean magnitude over mean square of each of `_SHAPES`; rises with the shape."""
    from scipy import special

    ratios: Values = special.gamma(2 / _SHAPES) ** 2 / (
        special.gamma(1 / _SHAPES) * special.gamma(3 / _SHAPES)
    )
    return ratios


def _mean_where(values: Values, chosen: NDArray[np.bool_]) -> Values:
    mean: Values = (values * chosen).sum(axis=1) / chosen.sum(axis=1)
    return mean


def _given_model() -> NiqeModel:
    path = given_parts().niqe_model
    if path is None:
        raise InputError(
            "needs the statistics of natural images that its authors released: name their "
            "modelparameters.mat with --niqe-model; nothing is downloaded here."
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file; --niqe-model names NIQE's modelparameters.mat.")
    return _read_model(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _read_model(path: Path, _modified_ns: int) -> NiqeModel:
    try:
        if path.suffix.lower() == ".npz":
            # Opened here: numpy leaves files that it finds damaged open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                stored = dict(archive)
        else:
            stored = read_mat(path.read_bytes())
        mean, covariance = next(
            (np.asarray(stored[a], np.float64), np.asarray(stored[b], np.float64))
            for a, b in _MODEL_KEYS
            if a in stored and b in stored
        )
        model = NiqeModel(mean=mean.reshape(_N_FEATURES), covariance=covariance)
        if covariance.shape != (_N_FEATURES, _N_FEATURES):
            raise ValueError(f"a covariance of {covariance.shape}")
        if not np.abs([*mean.flat, *covariance.flat]).max() <= _MOST:  # nor is NaN
            raise ValueError("values that no image has")
    except StopIteration:
        raise InputError(
            f"{path}: not a NIQE model; {_MODEL_KEYS[0][0]} (36) and {_MODEL_KEYS[0][1]} (36x36) "
            "were expected, as in the authors' modelparameters.mat."
        ) from None
    except Exception as error:  # readers of both formats raise what they like on damaged files
        raise InputError(
            f"{path}: cannot be read as a NIQE model ({error}); the authors' modelparameters.mat, "
            "or BasicSR's .npz of it, was expected."
        ) from error
    return model
