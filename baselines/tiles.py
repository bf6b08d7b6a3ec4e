"""Restoring an image a tile at a time, so that any size fits into memory."""

import numpy as np

from gopro_tools.images import Rgb
from gopro_tools.restorers import Restorer
from gopro_tools.tiles import in_tiles


class TiledRestorer:
    """Any restorer, a tile at a time."""

    def __init__(self, restorer: Restorer, tile_px: int, overlap_px: int) -> None:
        """See `restore_in_tiles`."""
        self._restorer, self._tile_px, self._overlap_px = restorer, tile_px, overlap_px

    def restore(self, blurred: Rgb) -> Rgb:
        """See `Restorer`."""
        return restore_in_tiles(self._restorer, blurred, self._tile_px, self._overlap_px)


def restore_in_tiles(restorer: Restorer, blurred: Rgb, tile_px: int, overlap_px: int) -> Rgb:
    """Restore an image in overlapping square tiles, see `gopro_tools.tiles.in_tiles`.

    Instance norm (DeblurGAN) looks at the whole of what it is given, and Torch7's pyramid surrounds
    it with its mean, which shows at the image's border.

    Args:
        restorer: Restores the tiles.
        blurred: (H, W, 3) uint8.
        tile_px: Side of a tile.
        overlap_px: What neighbours share, at least.

    Returns:
        (H, W, 3) uint8.
    """
    restored = in_tiles(restorer.restore, blurred, tile_px=tile_px, overlap_px=overlap_px)
    return np.rint(restored).astype(np.uint8)
