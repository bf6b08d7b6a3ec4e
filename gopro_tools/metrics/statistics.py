"""What the metrics need to know about a pair of images, and how each is combined from it."""

import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.metrics.alignment import Aligned, align
from gopro_tools.metrics.kernels import gaussian_ssim, uniform_ssim
from gopro_tools.metrics.sequences import LEAST_SIDE_PX, tof_farneback
from gopro_tools.metrics.windows import GAUSSIAN_SIZE, UNIFORM_SIZE
from gopro_tools.text import size_text

PEAK = 255.0
LUMA_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255
LUMA_OFFSET = 16.0

Pixel = TypeVar("Pixel", np.uint8, np.float64)
Part = TypeVar("Part")


class _Once(Generic[Part]):
    """A property computed once per instance.

    ``functools.cached_property`` does the same, but before Python 3.12 under a lock that all
    instances share: a folder's worth of threads would take turns.
    """

    def __init__(self, compute: Callable[[Any], Part]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Part:
        part = self.compute(instance)
        instance.__dict__[self.name] = part  # found before this descriptor from now on
        return part


class Statistics:
    """What the protocols need to know about a pair, each part computed when first asked for."""

    def __init__(self, sharp: Rgb, restored: Rgb, *, before: tuple[Rgb, Rgb] | None = None) -> None:
        """Check the pair.

        Args:
            sharp: (H, W, 3) uint8 RGB.
            restored: The same shape.
            before: The sharp and the restored image before these in their sequence.

        Raises:
            InputError: The type or shape is wrong, or the sizes differ.
        """
        for image, role in ((sharp, "sharp"), (restored, "restored")):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise InputError(
                    f"the {role} image is {image.dtype} {image.shape}; uint8 (H, W, 3) RGB was "
                    "expected. Scale to 0..255 and round: the range is never guessed."
                )
        if sharp.shape != restored.shape:
            raise InputError(
                f"the restored image is {size_text(restored.shape)}, the sharp one "
                f"{size_text(sharp.shape)}; the same size was expected. Nothing is "
                "cropped or resized here."
            )
        self.sharp = np.ascontiguousarray(sharp)
        self.restored = np.ascontiguousarray(restored)
        self.before = before

    @_Once
    def mean_squared_error_rgb(self) -> float:
        """Over all pixels and channels, in squared code values; the sum is a whole number."""
        return cv2.norm(self.sharp, self.restored, cv2.NORM_L2SQR) / self.sharp.size

    @_Once
    def planes(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Both images as (3, H, W)."""
        return _planes(self.sharp), _planes(self.restored)

    @_Once
    def luma(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Luma of both, (H, W) float64 in 16..235."""
        return luma(self.sharp), luma(self.restored)

    @_Once
    def gaussian_ssim(self) -> tuple[float, float]:
        """`ssim_gauss` and `ssim_matlab_rgb3d`, which share all filtering but the last step."""
        inside, cube = gaussian_ssim(*self.planes, _everywhere(self.sharp))
        return float(inside), float(cube)

    @_Once
    def aligned(self) -> Aligned:
        """The pair after alignment, which takes seconds."""
        return align(self.sharp, self.restored)

    def require_window(self, size: int) -> None:
        """Raise InputError where no window of ``size`` pixels fits in."""
        if min(self.sharp.shape[:2]) < size:
            raise InputError(
                f"the images are {size_text(self.sharp.shape)}, smaller than the "
                f"{size}x{size} SSIM window."
            )


def luma(image: Rgb) -> NDArray[np.float64]:
    """BT.601 luma as MATLAB's ``rgb2ycbcr`` defines it, not rounded.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) float64 in 16..235.
    """
    return np.asarray(image @ LUMA_WEIGHTS + LUMA_OFFSET, dtype=np.float64)


# --- one function per protocol: statistics -> score -----------------------------------------------


def combine_psnr_rgb(pair: Statistics) -> float:
    """See `gopro_tools.metrics.psnr_rgb`; the others likewise."""
    return _psnr_db(pair.mean_squared_error_rgb)


def combine_psnr_y(pair: Statistics) -> float:
    """Mean squared error of the two luma planes, in dB."""
    sharp, restored = pair.luma
    return _psnr_db(cv2.norm(sharp, restored, cv2.NORM_L2SQR) / sharp.size)


def combine_ssim_gauss(pair: Statistics) -> float:
    """2-D windows inside the image."""
    pair.require_window(GAUSSIAN_SIZE)
    return pair.gaussian_ssim[0]


def combine_ssim_uniform7(pair: Statistics) -> float:
    """Flat windows inside the image."""
    pair.require_window(UNIFORM_SIZE)
    return float(uniform_ssim(*pair.planes, PEAK))


def combine_ssim_uniform7_range2(pair: Statistics) -> float:
    """Flat windows inside the image, constants for twice the range."""
    pair.require_window(UNIFORM_SIZE)
    return float(uniform_ssim(*pair.planes, 2 * PEAK))


def combine_ssim_matlab_rgb3d(pair: Statistics) -> float:
    """3-D windows at every pixel."""
    return pair.gaussian_ssim[1]


def combine_ssim_y(pair: Statistics) -> float:
    """2-D windows inside the luma planes."""
    pair.require_window(GAUSSIAN_SIZE)
    sharp, restored = (plane[np.newaxis] for plane in pair.luma)
    return float(gaussian_ssim(sharp, restored, _everywhere(pair.sharp))[0])


def combine_psnr_aligned(pair: Statistics) -> float:
    """Squared error over the mask, in dB."""
    aligned = pair.aligned
    squared_error = cv2.norm(aligned.sharp, aligned.restored, cv2.NORM_L2SQR)
    return _psnr_db(squared_error / (3 * int(aligned.mask.sum())))


def combine_ssim_aligned(pair: Statistics) -> float:
    """2-D windows inside the image whose centre is in the mask."""
    pair.require_window(GAUSSIAN_SIZE)
    aligned = pair.aligned
    sharp, restored = _planes(aligned.sharp), _planes(aligned.restored)
    return float(gaussian_ssim(sharp, restored, aligned.mask)[0])


def combine_tof_farneback(pair: Statistics) -> float:
    """Difference of the motion since the images before; NaN where there are none."""
    pair.require_window(LEAST_SIDE_PX)
    if pair.before is None:
        return math.nan
    sharp_before, restored_before = pair.before
    if sharp_before.shape != pair.sharp.shape or restored_before.shape != pair.sharp.shape:
        raise InputError(
            f"the image before it in the sequence is {size_text(sharp_before.shape)}, this one "
            f"{size_text(pair.sharp.shape)}: tOF is of videos, whose frames have one size."
        )
    return tof_farneback(sharp_before, pair.sharp, restored_before, pair.restored)


def _psnr_db(mean_squared_error: float) -> float:
    if mean_squared_error == 0:
        return math.inf
    return 10 * math.log10(PEAK**2 / mean_squared_error)


def _planes(image: NDArray[Pixel]) -> NDArray[Pixel]:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _everywhere(image: Rgb) -> NDArray[np.uint8]:
    return np.ones(image.shape[:2], np.uint8)
