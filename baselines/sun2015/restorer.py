"""From a blurred image to its motion field and the restored image: the whole method."""

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from baselines.devices import chosen_device
from baselines.sun2015.confidences import (
    PAPER_FIELD,
    PLUS_FIELD,
    FieldOptions,
    dense_confidences,
)
from baselines.sun2015.deconvolution import DeconvolutionOptions, deconvolve
from baselines.sun2015.detail import detail_per_patch
from baselines.sun2015.field import field_from, fused
from baselines.sun2015.kernels import kernels
from baselines.sun2015.network import PATCH_PX, Sun2015
from baselines.sun2015.risk import safest_field
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.response import Response

ESTIMATED_NOISE_SIGMA = 0.03
"""Estimated motion leaves more unexplained than a camera's noise: with EPLL, on 14 rendered clips
that the network had not seen, 0.02 was as good and 0.06 lost about 0.1 dB."""

_FEATHER_SIGMA_PX = 4.0  # between moving and unmoved regions
_DETAIL_STRIDE_PX = 8
_HALF_UNDONE_PER_PX = 0.005  # slope of fine detail; 0.0025 was as good, 0.01 left too much alone


@dataclass(frozen=True, kw_only=True)
class Sun2015Options:
    """How images are restored; the defaults are the paper's as far as it is known."""

    motion: FieldOptions = PAPER_FIELD
    """How motion is estimated."""
    undo: Literal["safest", "likeliest"] = "likeliest"
    """Which motion is undone: that of least expected error (see `risk`), or the estimated field."""
    keep_unmoved: bool = False
    """Keep the blurred image where nothing moves, or where no fine detail is left to estimate
    motion from."""
    deconvolution: DeconvolutionOptions = field(
        default_factory=lambda: DeconvolutionOptions(noise_sigma=ESTIMATED_NOISE_SIGMA)
    )
    """How the estimated motion is undone."""


PAPER = Sun2015Options()
"""`sun2015`."""
PLUS = Sun2015Options(motion=PLUS_FIELD, undo="safest", keep_unmoved=True)
"""`sun2015-plus`."""


@dataclass(frozen=True)
class Restored:
    """A restored image and its motion."""

    image: Rgb
    """(H, W, 3) uint8."""
    motion: NDArray[np.int64]
    """(H, W) the estimated candidate of each pixel."""
    undone: NDArray[np.int64]
    """(H, W) the candidate that was undone; see `Sun2015Options.undo`."""


class Sun2015Restorer:
    """Sun et al. 2015 as a restorer of images; deterministic on a CPU."""

    def __init__(self, network: Sun2015, response: str, options: Sun2015Options = PAPER) -> None:
        """Set up a trained network.

        Args:
            network: Trained; it is moved to the device of the deconvolution's options.
            response: Camera response of its training: blur is undone in its linear light.
            options: How images are restored.

        Raises:
            InputError: The network has no fitted prior, there is no such device, or the response
                cannot be read.
        """
        self.options = options
        self._response = Response.named(response)
        device = chosen_device(options.deconvolution.device)
        self.classifier = network.classifier.eval().to(device)
        self._prior = network.prior.to(device).spectrum()

    def restore(self, blurred: Rgb) -> Rgb:
        """See `Restorer`.

        Raises:
            InputError: The image is smaller than 30x30 pixels.
        """
        return self.restore_with_motion(blurred).image

    def restore_with_motion(self, blurred: Rgb) -> Restored:
        """Restore one image and keep its motion field.

        Raises:
            InputError: The image is smaller than 30x30 pixels.
        """
        height, width = blurred.shape[:2]
        if min(height, width) < PATCH_PX:
            raise InputError(
                f"{width}x{height} pixels: at least {PATCH_PX}x{PATCH_PX} were expected, the "
                "patch whose motion is estimated."
            )
        options = self.options
        each = dense_confidences(self.classifier, blurred, options.motion)
        confidences = fused(each, options.motion)
        undone = motion = field_from(confidences, options.motion)
        if options.undo == "safest":
            undone = safest_field(confidences, options.deconvolution.noise_sigma)
        light = self._response.decode(blurred).astype(np.float32)
        restored = deconvolve(light, undone, kernels(), options.deconvolution, self._prior)
        if options.keep_unmoved:
            share = _share_undone(blurred, undone)[..., None]
            restored = light + share * (restored - light)
        return Restored(self._response.encode(restored), motion, undone)


def _share_undone(blurred: Rgb, motion: NDArray[np.int64]) -> NDArray[np.float32]:
    """(H, W) in [0, 1]: how much of the deconvolved image is used, the rest being the blurred one.

    None where nothing moves: the prior alone would only smooth. None where no detail shows the
    motion: undoing one that was not there costs more than leaving one that was.
    """
    moves = (motion > 0).astype(np.float32)
    share = np.asarray(cv2.GaussianBlur(moves, (0, 0), _FEATHER_SIGMA_PX), np.float32)
    detail = cv2.GaussianBlur(
        detail_per_patch(blurred, _DETAIL_STRIDE_PX, _HALF_UNDONE_PER_PX), (0, 0), 1.5
    )
    middle = (PATCH_PX - 1) / 2
    to_pixels = np.array([[_DETAIL_STRIDE_PX, 0, middle], [0, _DETAIL_STRIDE_PX, middle]], float)
    size_wh = (blurred.shape[1], blurred.shape[0])
    shown = cv2.warpAffine(detail, to_pixels, size_wh, borderMode=cv2.BORDER_REPLICATE)
    return share * np.asarray(shown, np.float32)
