"""Restoring an image a tile at a time, so that any size fits into memory."""

import numpy as np
from numpy.typing import NDArray

from gopro_tools.images import Rgb
from gopro_tools.restorers import Restorer

TILE_ALIGNMENT_PX = 16
"""Tiles start on multiples of this, where the coarser scales of every network have their pixels."""

GIVEN_UP = 3 / 8
"""Share of an overlap that each tile gives up at its border before the rest is blended."""


class TiledRestorer:
    """Any restorer, a tile at a time."""

    def __init__(self, restorer: Restorer, tile_px: int, overlap_px: int) -> None:
        """See `restore_in_tiles`."""
        self._restorer, self._tile_px, self._overlap_px = restorer, tile_px, overlap_px

    def restore(self, blurred: Rgb) -> Rgb:
        """See `Restorer`."""
        return restore_in_tiles(self._restorer, blurred, self._tile_px, self._overlap_px)


def restore_in_tiles(restorer: Restorer, blurred: Rgb, tile_px: int, overlap_px: int) -> Rgb:
    """Restore an image in overlapping square tiles.

    Of each overlap a tile gives up the outer 3/8, where it lacks context, and the quarter in the
    middle is blended linearly. Where that margin covers the receptive field the result equals the
    whole image's within the rounding of the blend; but instance norm (DeblurGAN) looks at the whole
    of what it is given, and Torch7's pyramid surrounds it with its mean, which shows at the image's
    border.

    Args:
        restorer: Restores the tiles.
        blurred: (H, W, 3) uint8.
        tile_px: Side of a tile; tiles start on multiples of 16 pixels, so the last one of a row or
            column may be up to 15 longer.
        overlap_px: What neighbours share, at least.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = blurred.shape[:2]
    rows, columns = (_spans(length, tile_px, overlap_px) for length in (height, width))
    total = np.zeros((height, width, 3), np.float32)
    weight = np.zeros((height, width, 1), np.float32)
    for top, bottom, fade_y in rows:
        for left, right, fade_x in columns:
            tile = restorer.restore(np.ascontiguousarray(blurred[top:bottom, left:right]))
            fade = (fade_y[:, None] * fade_x)[:, :, None]
            total[top:bottom, left:right] += tile * fade
            weight[top:bottom, left:right] += fade
    result: Rgb = np.rint(total / weight).astype(np.uint8)
    return result


def _spans(
    length: int, tile_px: int, overlap_px: int
) -> list[tuple[int, int, NDArray[np.float32]]]:
    """Start, end and weights of the tiles along one axis."""
    if length <= tile_px:
        return [(0, length, np.ones(length, np.float32))]
    step = max((tile_px - overlap_px) // TILE_ALIGNMENT_PX, 1) * TILE_ALIGNMENT_PX
    last = (length - tile_px) // TILE_ALIGNMENT_PX * TILE_ALIGNMENT_PX
    starts = [*range(0, last, step), last]
    ends = [start + tile_px for start in starts[:-1]] + [length]
    spans = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        fade = np.ones(end - start, np.float32)
        if index > 0:
            shared = ends[index - 1] - start
            fade[:shared] = _ramp(shared)
        if index < len(starts) - 1:
            shared = end - starts[index + 1]
            fade[end - start - shared :] = np.minimum(
                fade[end - start - shared :], _ramp(shared)[::-1]
            )
        spans.append((start, end, fade))
    return spans


def _ramp(n: int) -> NDArray[np.float32]:
    """0 over the first 3/8, 1 over the last, straight between; it and its mirror image add to 1."""
    places = (np.arange(n) + 0.5) / max(n, 1)
    return np.clip((places - GIVEN_UP) / (1 - 2 * GIVEN_UP), 0, 1).astype(np.float32)
