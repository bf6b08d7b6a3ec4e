"""From a blurred image to its motion field and the restored image: the whole method."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from baselines.checkpoints.store import CheckpointRecord
from baselines.devices import chosen_device
from baselines.options import RestoreOptions
from baselines.sun2015.confidences import (
    PAPER,
    PLUS,
    Sun2015Options,
    dense_confidences,
    detail_per_patch,
)
from baselines.sun2015.deconvolution import deconvolve
from baselines.sun2015.field import fused, safest_field, smoothed_field
from baselines.sun2015.kernels import kernels
from baselines.sun2015.method import KIND_PLUS, RESPONSES
from baselines.sun2015.network import PATCH_PX, Sun2015
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.response import Response

NOISE_SIGMA = 0.03
"""Estimated motion leaves more unexplained than a camera's noise: with EPLL, on 14 rendered clips
that the network had not seen, 0.02 was as good and 0.06 lost about 0.1 dB."""

_FEATHER_SIGMA_PX = 4.0  # between moving and unmoved regions
_DETAIL_STRIDE_PX = 8
_HALF_UNDONE_PER_PX = 0.005  # slope of fine detail; 0.0025 was as good, 0.01 left too much alone


class Sun2015Restorer:
    """Sun et al. 2015 as a restorer of images; deterministic on a CPU."""

    def __init__(
        self,
        network: Sun2015,
        response: str,
        device: torch.device,
        options: Sun2015Options = PAPER,
    ) -> None:
        """Move a trained network to a device; blur is undone in the response's linear light.

        Raises:
            InputError: The network has no fitted prior.
        """
        self.options = options
        self._response = Response.named(response)
        self._device = device
        self.classifier = network.classifier.eval().to(device)
        self._prior = network.prior.to(device).spectrum()

    def restore(self, blurred: Rgb) -> Rgb:
        """See `Restorer`; raises what `motion_to_undo` does."""
        motion = self.motion_to_undo(blurred)
        light = self._response.decode(blurred).astype(np.float32)
        restored = deconvolve(
            light, motion, kernels(), self._prior, noise_sigma=NOISE_SIGMA, device=self._device
        )
        if self.options.cautious:
            share = _share_undone(blurred, motion)[..., None]
            restored = light + share * (restored - light)
        return self._response.encode(restored)

    def motion_to_undo(self, blurred: Rgb) -> NDArray[np.int64]:
        """(H, W) index into `CANDIDATES` for each pixel of an (H, W, 3) uint8 image.

        Raises:
            InputError: The image is smaller than 30x30 pixels.
        """
        height, width = blurred.shape[:2]
        if min(height, width) < PATCH_PX:
            raise InputError(
                f"{width}x{height} pixels: at least {PATCH_PX}x{PATCH_PX} were expected, the "
                "patch whose motion is estimated."
            )
        each = dense_confidences(self.classifier, blurred, self.options)
        confidences = fused(each, self.options)
        if self.options.cautious:
            return safest_field(confidences, NOISE_SIGMA)
        return smoothed_field(confidences)


def sun2015_restorer(
    network: Sun2015, record: CheckpointRecord, options: RestoreOptions
) -> Sun2015Restorer:
    """The restorer of a weight file; the training data's kind of blur decides the response.

    Raises:
        InputError: Options for other methods, no such device, or a damaged prior in the weights.
    """
    if options.precision != "fp32" or options.compile:
        raise InputError(
            "--precision and --compile are for networks; sun2015 computes in single precision, "
            "uncompiled."
        )
    data = record.config.get("data") or {}
    response = RESPONSES[data.get("blur_kind", "gamma")]
    how = PLUS if record.method == KIND_PLUS.name else PAPER
    return Sun2015Restorer(network, response, chosen_device(options.device), how)


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
