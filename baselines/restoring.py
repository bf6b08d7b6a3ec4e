"""Networks as restorers of images: device, precision, rounding, tiles."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from baselines.checkpoints.store import CheckpointRecord
from baselines.devices import autocast, chosen_device, placed
from baselines.options import RestoreOptions
from gopro_tools import tiles
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.restorers import Restorer
from gopro_tools.tiles import GIVEN_UP

log = logging.getLogger(__name__)


class NetworkRestorer:
    """Restores with a network of this project."""

    def __init__(self, network: nn.Module, options: RestoreOptions) -> None:
        """Move a network to its device; `in_tiles` adds tiles.

        It takes (N, 3, H, W) floats in [0, 1] and returns the same, or a list that starts with it.

        Raises:
            InputError: There is no such device.
        """
        self.network = network.eval()
        self._options = options
        self._device = chosen_device(options.device)
        placed(network, self._device, options)

    @torch.inference_mode()
    def restore(self, blurred: Rgb) -> Rgb:
        """See `Restorer`.

        Raises:
            InputError: The image does not fit into memory, or the network returned NaN.
        """
        torch.manual_seed(self._options.seed)
        planes = torch.from_numpy(np.ascontiguousarray(blurred)).to(self._device)
        # (H, W, 3) in memory is channels_last already; only the other layout needs a copy.
        images = planes.permute(2, 0, 1)[None].float() / 255
        if not self._options.channels_last:
            images = images.contiguous()
        try:
            with autocast(self._device, self._options):
                restored = self.network(images)
        except torch.OutOfMemoryError as error:
            height, width = blurred.shape[:2]
            raise InputError(
                f"{width}x{height} pixels do not fit into the memory of {self._device}: restore in "
                "tiles (--tile 512) or in half precision (--precision bf16)."
            ) from error
        restored = restored if isinstance(restored, torch.Tensor) else restored[0]
        values = restored[0].float()
        if not bool(torch.isfinite(values).all()):
            raise InputError(
                "the network returned NaN or infinite values; its weights are damaged, or training "
                "diverged."
            )
        codes = values.clamp(0, 1) * 255
        if self._options.rounding != "truncate":
            codes = codes.round()
        result: Rgb = codes.byte().permute(1, 2, 0).contiguous().cpu().numpy()
        return result


def network_restorer(
    network: nn.Module, record: CheckpointRecord, options: RestoreOptions
) -> Restorer:
    """A restorer that runs the network on the whole image, and rounds as its recipe says."""
    rounding = options.rounding or record.config.get("recipe", {}).get("output_rounding")
    return NetworkRestorer(network, replace(options, rounding=rounding))


@dataclass(frozen=True)
class TiledRestorer:
    """Any restorer, one tile at a time; see `gopro_tools.tiles.in_tiles`.

    Instance norm (DeblurGAN) takes statistics over the whole of what it is given, and Torch7's
    pyramid pads with its mean, so that tiles differ a little from the whole image.
    """

    restorer: Restorer
    """Restores the tiles."""
    tile_px: int
    """Side of a tile."""
    overlap_px: int
    """Pixels that neighbours share, at least."""

    def restore(self, blurred: Rgb) -> Rgb:
        """See `Restorer`."""
        restored = tiles.in_tiles(
            self.restorer.restore, blurred, tile_px=self.tile_px, overlap_px=self.overlap_px
        )
        return np.rint(restored).astype(np.uint8)


def in_tiles(restorer: Restorer, options: RestoreOptions, radius_px: int | None = None) -> Restorer:
    """The restorer, one tile at a time if the options ask for tiles.

    A result pixel sees ``radius_px`` to each side; None for the whole image.
    """
    if options.tile is None:
        return restorer
    wanted = options.tile if radius_px is None else round(radius_px / GIVEN_UP + 0.5)
    overlap_px = min(wanted, options.tile // 4)
    if wanted > overlap_px:
        reach = "the whole image" if radius_px is None else f"{radius_px} px to each side"
        log.info(
            "Tiles overlap by %d px, but a result pixel sees %s: it may differ a little from the "
            "whole image's.",
            overlap_px,
            reach,
        )
    return TiledRestorer(restorer, options.tile, overlap_px)
