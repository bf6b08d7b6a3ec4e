"""The inner loops of optical flow, for `gopro_tools.machine_code`."""

from typing import Any

import numpy as np
from numba import njit

from gopro_tools.flow import BETTER_CODES, BETTER_SHARE, CELL_PX
from gopro_tools.machine_code import INNER_OPTIONS, OPTIONS


@njit(**OPTIONS)
def extremes_of_cells(flow: Any, low: Any, high: Any) -> None:
    """(H, W, 2) -> smallest and largest values in each cell."""
    height, width = flow.shape[:2]
    low[:] = np.inf
    high[:] = -np.inf
    for y in range(height):
        for x in range(width):
            for c in range(2):
                value = flow[y, x, c]
                if value < low[y // CELL_PX, x // CELL_PX, c]:
                    low[y // CELL_PX, x // CELL_PX, c] = value
                if value > high[y // CELL_PX, x // CELL_PX, c]:
                    high[y // CELL_PX, x // CELL_PX, c] = value


@njit(**OPTIONS, fastmath=True)
def check(one: Any, two: Any, flow: Any, returning: Any, ok: Any, cost: Any) -> None:
    """Forward-backward check with the tolerance of Sundaram et al. (ECCV 2010), halved below."""
    height, width = one.shape
    for y in range(height):
        for x in range(width):
            u = flow[y, x, 0]
            v = flow[y, x, 1]
            to_x = x + u
            to_y = y + v
            inside = to_x >= 0 and to_y >= 0 and to_x <= width - 1 and to_y <= height - 1
            to_x = min(max(to_x, np.float32(0)), np.float32(width - 1))
            to_y = min(max(to_y, np.float32(0)), np.float32(height - 1))
            i = min(int(to_x), width - 2)
            j = min(int(to_y), height - 2)
            fx = np.float32(to_x - i)
            fy = np.float32(to_y - j)
            w11 = fx * fy
            w01 = fx - w11
            w10 = fy - w11
            w00 = 1 - fx - fy + w11
            seen = (
                w00 * two[j, i]
                + w01 * two[j, i + 1]
                + w10 * two[j + 1, i]
                + w11 * two[j + 1, i + 1]
            )
            cost[y, x] = abs(one[y, x] - seen)
            back_u = (
                w00 * returning[j, i, 0]
                + w01 * returning[j, i + 1, 0]
                + w10 * returning[j + 1, i, 0]
                + w11 * returning[j + 1, i + 1, 0]
            )
            back_v = (
                w00 * returning[j, i, 1]
                + w01 * returning[j, i + 1, 1]
                + w10 * returning[j + 1, i, 1]
                + w11 * returning[j + 1, i + 1, 1]
            )
            astray = (u + back_u) ** 2 + (v + back_v) ** 2
            size = u * u + v * v + back_u * back_u + back_v * back_v
            ok[y, x] = inside and astray < 0.01 * size + 0.25


@njit(**INNER_OPTIONS, fastmath=True, inline="always")
def _patch_cost(one: Any, two: Any, x: Any, y: Any, u: Any, v: Any, limit: Any) -> Any:
    """Sum of absolute differences over 3x3 pixels; stops once it exceeds ``limit``."""
    height, width = one.shape
    to_x = x + u
    to_y = y + v
    total = np.float32(0)
    if to_x < 1 or to_y < 1 or to_x >= width - 2 or to_y >= height - 2:
        return np.float32(np.inf)
    i = int(to_x)
    j = int(to_y)
    fx = np.float32(to_x - i)
    fy = np.float32(to_y - j)
    w11 = fx * fy
    w01 = fx - w11
    w10 = fy - w11
    w00 = 1 - fx - fy + w11
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            seen = (
                w00 * two[j + dy, i + dx]
                + w01 * two[j + dy, i + dx + 1]
                + w10 * two[j + dy + 1, i + dx]
                + w11 * two[j + dy + 1, i + dx + 1]
            )
            total += abs(np.float32(one[y + dy, x + dx]) - seen)
        if total > limit:
            break
    return total


@njit(**OPTIONS, fastmath=True)
def refine_near_edges(
    one: Any, two: Any, flow: Any, near_edge: Any, candidates_yx: Any, refined: Any
) -> None:
    """Motions from `candidates_yx` away, where they match clearly better; see the estimator."""
    height, width = one.shape
    no_limit = np.float32(np.inf)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if not near_edge[y // CELL_PX, x // CELL_PX]:
                continue
            u = flow[y, x, 0]
            v = flow[y, x, 1]
            own = _patch_cost(one, two, x, y, u, v, no_limit)
            least = own * np.float32(BETTER_SHARE) - np.float32(BETTER_CODES)
            for k in range(len(candidates_yx)):
                if least <= 0:
                    break
                j = y + candidates_yx[k, 0]
                i = x + candidates_yx[k, 1]
                if j < 0 or i < 0 or j >= height or i >= width:
                    continue
                other_u = flow[j, i, 0]
                other_v = flow[j, i, 1]
                if abs(other_u - u) + abs(other_v - v) < 0.5:
                    continue
                cost = _patch_cost(one, two, x, y, other_u, other_v, least)
                if cost < least:
                    least = cost
                    refined[y, x, 0] = other_u
                    refined[y, x, 1] = other_v
