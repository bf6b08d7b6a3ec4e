"""Frames between two frames along a flow: project the motion to the instant, fetch, blend."""

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from gopro_tools.flow import CELL_PX
from gopro_tools.images import Rgb

_HALF_PIXEL_TAPS = np.array([-1, 4, -11, 40, 40, -11, 4, -1], np.float32) / 64
"""H.265's half-pixel filter: bilinear fetches from the doubled grid keep fine detail that they
would smooth if they read the frame itself."""

NOTHING = np.float32(1e9)
"""Priority of an instant's pixel to which no motion leads; lower is better."""
UNMATCHED = np.float32(1000)
"""Added to the priority of motion that failed the forward-backward check."""
_DISTANCE_CODES = np.float32(4)
"""Mismatch in code values that one pixel of distance from the predicted place counts as."""
_LANES = np.uint64(0xFFFF)


def doubled(image: Rgb) -> NDArray[np.uint64]:
    """The image on a grid of half pixels, each pixel one number with 16 bits per channel.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (2 H, 2 W) uint64: pixel (y, x) of the image lies at (2 y, 2 x).
    """
    taps = _HALF_PIXEL_TAPS
    before = len(taps) // 2 - 1
    border = cv2.BORDER_REPLICATE
    right = cv2.filter2D(image, -1, taps[None], anchor=(before, 0), borderType=border)
    below = cv2.filter2D(image, -1, taps[:, None], anchor=(0, before), borderType=border)
    both = cv2.filter2D(right, -1, taps[:, None], anchor=(0, before), borderType=border)
    height, width = image.shape[:2]
    packed = np.empty((2 * height, 2 * width), np.uint64)
    _pack(image, right, below, both, packed)
    return packed


@njit(nogil=True, cache=True)
def _pack(image, right, below, both, packed):  # type: ignore[no-untyped-def]
    height, width = image.shape[:2]
    for y in range(height):
        for x in range(width):
            packed[2 * y, 2 * x] = _packed(image[y, x])
            packed[2 * y, 2 * x + 1] = _packed(right[y, x])
            packed[2 * y + 1, 2 * x] = _packed(below[y, x])
            packed[2 * y + 1, 2 * x + 1] = _packed(both[y, x])


@njit(nogil=True, cache=True, inline="always")
def _packed(pixel):  # type: ignore[no-untyped-def]
    return (
        np.uint64(pixel[0])
        | np.uint64(pixel[1]) << np.uint64(16)
        | np.uint64(pixel[2]) << np.uint64(32)
    )


@njit(nogil=True, cache=True, fastmath=True)
def project(flow, ok, cost, source_cells, t, sign, motion, priority):  # type: ignore[no-untyped-def]
    """Carry each pixel's motion to where the pixel is at time ``t``.

    Where several arrive, one matched in both frames wins, as foreground is visible in both; then
    the one with the smaller mismatch.

    Args:
        flow: (H, W, 2) motion from the frame the pixels belong to.
        ok: (H, W) forward-backward check.
        cost: (H, W) mismatch in code values.
        source_cells: Cells whose pixels are carried.
        t: How much of their way they have gone, in [0, 1].
        sign: 1, or -1 for the backward flow, so that ``motion`` is always from first to second.
        motion: (H, W, 2) out.
        priority: (H, W) out: `NOTHING` where nothing arrives, above `UNMATCHED` for unmatched.
    """
    height, width = ok.shape
    priority[:] = NOTHING
    for y in range(height):
        for x in range(width):
            if not source_cells[y // CELL_PX, x // CELL_PX]:
                continue
            u = flow[y, x, 0]
            v = flow[y, x, 1]
            at_x = x + t * u
            at_y = y + t * v
            left = int(np.floor(at_x))
            top = int(np.floor(at_y))
            rank = cost[y, x]
            if not ok[y, x]:
                rank += UNMATCHED
            for j in range(max(top, 0), min(top + 2, height)):
                for i in range(max(left, 0), min(left + 2, width)):
                    distance = abs(at_x - i) + abs(at_y - j)
                    if rank + _DISTANCE_CODES * distance < priority[j, i]:
                        priority[j, i] = rank + _DISTANCE_CODES * distance
                        motion[j, i, 0] = sign * u
                        motion[j, i, 1] = sign * v


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _fetch(packed, x, y):  # type: ignore[no-untyped-def]
    """256 times the pixel at (x, y) of the image, bilinear on the doubled grid, lanes kept."""
    height, width = packed.shape
    # 1/16 of the doubled grid: 1/32 pixel.
    x16 = np.uint64(min(max(32 * x + np.float32(0.5), np.float32(0)), 16 * (width - 1) - 1))
    y16 = np.uint64(min(max(32 * y + np.float32(0.5), np.float32(0)), 16 * (height - 1) - 1))
    # Unsigned indices spare numba the question whether they count from the end.
    one = np.uint64(1)
    i = x16 >> np.uint64(4)
    j = y16 >> np.uint64(4)
    fx = x16 & np.uint64(15)
    fy = y16 & np.uint64(15)
    gx = np.uint64(16) - fx
    gy = np.uint64(16) - fy
    return (
        packed[j, i] * (gx * gy)
        + packed[j, i + one] * (fx * gy)
        + packed[j + one, i] * (gx * fy)
        + packed[j + one, i + one] * (fx * fy)
    )


@njit(nogil=True, cache=True, fastmath=True)
def blend(  # type: ignore[no-untyped-def]
    first,
    second,
    flow,
    edge_cells,
    motion_first,
    priority_first,
    motion_second,
    priority_second,
    t,
    out,
):
    """The frame at time ``t`` between two.

    Away from motion boundaries the motion at the instant is that of the first frame, looked up once
    where a pixel came from. Near edges it is what `project` carried there: from the first frame or
    the second, whichever has the better claim. What only one of them claims is occluded in the
    other, and is taken from that frame alone.

    Args:
        first: Doubled first frame (see `doubled`).
        second: Doubled second frame.
        flow: (H, W, 2) motion from first to second.
        edge_cells: Cells in which projected motion is used.
        motion_first: `project` from the first frame, with its ``priority_first``.
        priority_first: See there.
        motion_second: `project` from the second.
        priority_second: See there.
        t: In (0, 1).
        out: (H, W, 3) uint8.
    """
    height, width = out.shape[:2]
    rest = np.float32(1) - t
    weight = np.uint64(np.floor(256 * t + 0.5))
    last_x = np.float32(width - 1)
    last_y = np.float32(height - 1)
    zero = np.float32(0)
    half = np.float32(0.5)
    source = np.empty((4, width), np.float32)
    shares = np.empty(width, np.uint64)
    for y in range(height):
        here_y = np.float32(y)
        for x in range(width):
            here_x = np.float32(x)
            share = weight  # of the second frame, in 256ths
            if edge_cells[y // CELL_PX, x // CELL_PX]:
                one = priority_first[y, x]
                two = priority_second[y, x]
                if min(one, two) >= NOTHING:
                    u = flow[y, x, 0]
                    v = flow[y, x, 1]
                elif one <= two:
                    u = motion_first[y, x, 0]
                    v = motion_first[y, x, 1]
                    if one >= UNMATCHED and two >= NOTHING:
                        share = np.uint64(0)
                else:
                    u = motion_second[y, x, 0]
                    v = motion_second[y, x, 1]
                    if two >= UNMATCHED and one >= NOTHING:
                        share = np.uint64(256)
            else:
                i = np.uint64(min(max(here_x - t * flow[y, x, 0] + half, zero), last_x))
                j = np.uint64(min(max(here_y - t * flow[y, x, 1] + half, zero), last_y))
                u = flow[j, i, 0]
                v = flow[j, i, 1]
            from_x = here_x - t * u
            from_y = here_y - t * v
            to_x = here_x + rest * u
            to_y = here_y + rest * v
            in_first = 0 <= from_x <= last_x and 0 <= from_y <= last_y
            in_second = 0 <= to_x <= last_x and 0 <= to_y <= last_y
            if in_second and not in_first:
                share = np.uint64(256)
            elif in_first and not in_second:
                share = np.uint64(0)
            source[0, x] = from_x
            source[1, x] = from_y
            source[2, x] = to_x
            source[3, x] = to_y
            shares[x] = share
        for x in range(width):
            a = _fetch(first, source[0, x], source[1, x])
            b = _fetch(second, source[2, x], source[3, x])
            share = shares[x]
            other = np.uint64(256) - share
            red = (a & _LANES) * other + (b & _LANES) * share
            green = ((a >> np.uint64(16)) & _LANES) * other + (
                (b >> np.uint64(16)) & _LANES
            ) * share
            blue = (a >> np.uint64(32)) * other + (b >> np.uint64(32)) * share
            out[y, x, 0] = (red + np.uint64(32768)) >> np.uint64(16)
            out[y, x, 1] = (green + np.uint64(32768)) >> np.uint64(16)
            out[y, x, 2] = (blue + np.uint64(32768)) >> np.uint64(16)
