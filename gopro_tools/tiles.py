"""Running a network a tile at a time, so that an image of any size fits into memory."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gopro_tools.threads import Progress, no_progress

Number = TypeVar("Number", np.uint8, np.float32)

TILE_ALIGNMENT_PX = 16
"""Tiles start on multiples of this, so that they align with the coarser scales of every network."""

GIVEN_UP = 3 / 8
"""Share of an overlap that each tile gives up at its border before the rest is blended."""


def in_tiles(
    run: Callable[[NDArray[Number]], NDArray[Number]],
    image: NDArray[Number],
    *,
    tile_px: int,
    overlap_px: int,
    on_progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """Run a network on overlapping square tiles and blend the results.

    Of each overlap a tile gives up the outer 3/8, where it lacks context, and the quarter in the
    middle is blended linearly. Where that margin covers the receptive field the result equals the
    whole image's; operations on the whole input (instance norm, a mean) differ a little.

    Args:
        run: Maps (h, w, C) of the image's type to the same.
        image: (H, W, C).
        tile_px: Longest side of a tile. Tiles are no larger than the fewest that cover the image
            have to be; the last one of a row or column may be up to 15 longer than the others.
        overlap_px: Minimum overlap of neighbours, in px.
        on_progress: Called with the number of tiles done and in total.

    Returns:
        (H, W, C) float32, in the units of ``run``.
    """
    height, width, n_channels = image.shape
    rows, columns = (_spans(length, tile_px, overlap_px) for length in (height, width))
    n_tiles, n_done = len(rows) * len(columns), 0
    total = np.zeros((height, width, n_channels), np.float32)
    weight = np.zeros((height, width, 1), np.float32)
    for top, bottom, fade_y in rows:
        for left, right, fade_x in columns:
            tile = run(np.ascontiguousarray(image[top:bottom, left:right]))
            fade = (fade_y[:, None] * fade_x)[:, :, None]
            total[top:bottom, left:right] += tile * fade
            weight[top:bottom, left:right] += fade
            n_done += 1
            on_progress(n_done, n_tiles)
    return total / weight


def _spans(
    length: int, tile_px: int, overlap_px: int
) -> list[tuple[int, int, NDArray[np.float32]]]:
    """Start, end and weights of the tiles along one axis."""
    if length <= tile_px:
        return [(0, length, np.ones(length, np.float32))]
    tile_px = _least_tile(length, tile_px, overlap_px)
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


def _least_tile(length: int, tile_px: int, overlap_px: int) -> int:
    """The smallest tile that covers a length with equally many tiles: less is computed twice.

    640 px take two tiles of 352 px instead of two of 512.
    """
    shared = _aligned(overlap_px)
    if tile_px <= shared:
        return tile_px
    n_tiles = -(-(length - shared) // (tile_px - shared))
    return min(tile_px, _aligned(-(-(length + (n_tiles - 1) * shared) // n_tiles)))


def _aligned(length: int) -> int:
    return -(-length // TILE_ALIGNMENT_PX) * TILE_ALIGNMENT_PX


def _ramp(n: int) -> NDArray[np.float32]:
    """0 over the first 3/8, 1 over the last, linear between; adds to 1 with its mirror image."""
    places = (np.arange(n) + 0.5) / max(n, 1)
    return np.clip((places - GIVEN_UP) / (1 - 2 * GIVEN_UP), 0, 1).astype(np.float32)
