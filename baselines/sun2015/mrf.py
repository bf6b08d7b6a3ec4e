"""A Markov random field over motion vectors, smoothed by max-product (Sun et al. 2015, 3.3).

    E(m) = sum_p U_p(m_p) + smoothness * sum_(p,q) d(m_p, m_q)^2

over the cells p of a grid and its 4-neighbours. d is the distance of two motion vectors; as a blur
does not tell v from -v, the smaller of |v_p - v_q| and |v_p + v_q|. A largest distance that counts
keeps objects' edges sharp.

Messages are passed as Tappen and Freeman do it, in sweeps across the grid, so that one sweep
carries what is known from side to side; within a sweep whole columns are computed at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError

Float = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class MrfOptions:
    """How motion is smoothed."""

    smoothness_per_px2: float = 0.01
    """Weight of squared differences of motion against confidences of 0 to 1."""
    largest_difference_px: float | None = 10.0
    """Differences beyond this cost no more; None for the paper's plain square."""
    n_labels: int = 32
    """Candidates a cell chooses from while messages pass: the best of its own and of its
    surroundings, half each."""
    n_sweeps: int = 6
    """Times that messages pass in all four directions."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.smoothness_per_px2 < 0 or self.n_labels < 1 or self.n_sweeps < 0:
            raise InputError(
                "smoothness_per_px2 and n_sweeps must not be negative, n_labels at least 1."
            )
        if self.largest_difference_px is not None and self.largest_difference_px <= 0:
            raise InputError("largest_difference_px must be positive; leave it out for none.")


def pair_costs(a: Float, b: Float, options: MrfOptions) -> Float:
    """Cost of two neighbours' motions.

    Args:
        a: (..., 2) pixels.
        b: (..., 2) pixels, of a shape that broadcasts with it.
        options: Smoothness and largest difference.

    Returns:
        (...) float32.
    """
    # |a - b|^2 and |a + b|^2 differ in the sign of the product alone.
    product = np.abs(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1])
    squared = (a**2).sum(-1) + (b**2).sum(-1) - 2 * product
    if options.largest_difference_px is not None:
        squared = np.minimum(squared, options.largest_difference_px**2)
    costs: Float = options.smoothness_per_px2 * np.maximum(squared, 0)
    return costs


def energy(labels: Labels, unary: Float, vectors: Float, options: MrfOptions) -> float:
    """E of a labelling.

    Args:
        labels: (h, w) indices.
        unary: (L, h, w) cost of each label in each cell.
        vectors: (L, 2) motions in pixels.
        options: Of the field.
    """
    chosen = np.take_along_axis(unary, labels[None], axis=0)
    motion = vectors[labels]
    across = pair_costs(motion[:, 1:], motion[:, :-1], options)
    down = pair_costs(motion[1:], motion[:-1], options)
    return float(sum(part.sum(dtype=np.float64) for part in (chosen, across, down)))


def smoothed_labels(
    unary: Float,
    vectors: Float,
    options: MrfOptions | None = None,
    surroundings: Float | None = None,
) -> Labels:
    """A labelling of low energy, never above that of the best label of each cell for itself.

    Args:
        unary: (L, h, w) float32, cost of each label in each cell.
        vectors: (L, 2) float32, motions in pixels.
        options: How.
        surroundings: (L, h, w), a smoother version of ``unary`` that proposes labels to cells that
            know little themselves; by default ``unary``.

    Returns:
        (h, w) int64.
    """
    options = options or MrfOptions()
    start: Labels = unary.argmin(axis=0)
    starts = [start]
    if options.smoothness_per_px2 > 0:
        candidates = _candidates(unary, unary if surroundings is None else surroundings, options)
        starts.append(_passed_messages(unary, vectors, candidates, options))
    found = [_descended(labels, unary, vectors, options) for labels in starts]
    return min(found, key=lambda labels: energy(labels, unary, vectors, options))


def _candidates(unary: Float, surroundings: Float, options: MrfOptions) -> Labels:
    """(h, w, N) labels that each cell considers, the cheapest by either; some may be twice."""
    n_all = len(unary)
    if n_all <= options.n_labels:
        return np.broadcast_to(np.arange(n_all), (*unary.shape[1:], n_all)).copy()
    n = max(1, options.n_labels // 2)
    best = [np.argpartition(costs, n - 1, axis=0)[:n] for costs in (unary, surroundings)]
    return np.moveaxis(np.concatenate(best), 0, -1)


def _passed_messages(
    unary: Float, vectors: Float, candidates: Labels, options: MrfOptions
) -> Labels:
    """Min-sum belief propagation over each cell's candidates."""
    own = np.take_along_axis(np.moveaxis(unary, 0, -1), candidates, axis=-1)  # (h, w, N)
    motion = vectors[candidates]
    # (h, w - 1, N, N) and (h - 1, w, N, N): first the left or upper cell's label.
    across = pair_costs(motion[:, :-1, :, None], motion[:, 1:, None], options)
    down = pair_costs(motion[:-1, :, :, None], motion[1:, :, None], options)
    # What each cell has heard from its left, right, upper and lower neighbour.
    heard = {side: np.zeros_like(own) for side in ("left", "right", "upper", "lower")}

    def told(place: tuple[slice | int, ...], costs: Float, but: str) -> Float:
        belief = own[place] + sum(heard[side][place] for side in heard if side != but)
        message = (belief[..., :, None] + costs).min(axis=-2)
        normalised: Float = message - message.min(axis=-1, keepdims=True)
        return normalised

    height, width = own.shape[:2]
    every = slice(None)
    for _ in range(options.n_sweeps):
        for x in range(width - 1):
            heard["left"][:, x + 1] = told((every, x), across[:, x], "right")
        for x in range(width - 1, 0, -1):
            costs = across[:, x - 1].swapaxes(-1, -2)
            heard["right"][:, x - 1] = told((every, x), costs, "left")
        for y in range(height - 1):
            heard["upper"][y + 1] = told((y,), down[y], "lower")
        for y in range(height - 1, 0, -1):
            heard["lower"][y - 1] = told((y,), down[y - 1].swapaxes(-1, -2), "upper")
    belief = own + sum(heard.values())
    best = belief.argmin(axis=-1)[..., None]
    return np.take_along_axis(candidates, best, axis=-1)[..., 0]


def _descended(labels: Labels, unary: Float, vectors: Float, options: MrfOptions) -> Labels:
    """Iterated conditional modes: cells of one colour of a chessboard at a time, over all labels.

    Neighbours never change together, so no step can raise the energy.
    """
    labels = labels.copy()
    height, width = labels.shape
    y, x = np.mgrid[:height, :width]
    costs_of = np.moveaxis(unary, 0, -1)
    for _ in range(_MOST_DESCENTS):
        changed = False
        for colour in (0, 1):
            rows, columns = np.nonzero((y + x) % 2 == colour)
            costs = costs_of[rows, columns].copy()
            for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                near_y, near_x = rows + dy, columns + dx
                inside = (near_y >= 0) & (near_y < height) & (near_x >= 0) & (near_x < width)
                neighbour = vectors[labels[near_y[inside], near_x[inside]]]
                costs[inside] += pair_costs(vectors[None], neighbour[:, None], options)
            best = costs.argmin(axis=1)
            before = labels[rows, columns]
            cells = np.arange(len(rows))
            better = costs[cells, best] < costs[cells, before]
            labels[rows[better], columns[better]] = best[better]
            changed |= bool(better.any())
        if not changed:
            break
    return labels


_MOST_DESCENTS = 20
