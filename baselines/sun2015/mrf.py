"""A Markov random field over motion vectors, smoothed by max-product (Sun et al. 2015, 3.3).

    E(m) = sum_p U_p(m_p) + smoothness * sum_(p,q) d(m_p, m_q)^2

over the cells p of a grid and their 4-neighbours q. d is the distance of two motion vectors; as
blur is the same for v and -v, it is the smaller of |v_p - v_q| and |v_p + v_q|.

Messages are passed in sweeps across the grid, as Tappen and Freeman do it: one sweep carries
information from one side to the other, and all cells of a row or column are computed at once.
"""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Labels = NDArray[np.int64]

_MOST_DESCENTS = 20


def pair_costs(a: Float, b: Float, smoothness: float) -> Float:
    """Cost of the motions of two neighbours: (..., 2) and (..., 2) pixels to (...) float32."""
    # |a - b|^2 and |a + b|^2 differ in the sign of the product alone.
    product = np.abs(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1])
    squared = (a**2).sum(-1) + (b**2).sum(-1) - 2 * product
    costs: Float = smoothness * np.maximum(squared, 0)
    return costs


def energy(labels: Labels, unary: Float, vectors: Float, smoothness: float) -> float:
    """E of a labelling (h, w); see `smoothed_labels`."""
    chosen = np.take_along_axis(unary, labels[None], axis=0)
    motion = vectors[labels]
    across = pair_costs(motion[:, 1:], motion[:, :-1], smoothness)
    down = pair_costs(motion[1:], motion[:-1], smoothness)
    return float(sum(part.sum(dtype=np.float64) for part in (chosen, across, down)))


def smoothed_labels(
    unary: Float,
    vectors: Float,
    surroundings: Float,
    *,
    smoothness: float = 0.01,
    n_labels: int = 16,
    n_sweeps: int = 6,
) -> Labels:
    """An (h, w) labelling of low energy, never above that of each cell's own best label.

    Args:
        unary: (L, h, w) float32, cost of each label in each cell.
        vectors: (L, 2) float32, motions in pixels.
        surroundings: (L, h, w), a smoother version of ``unary`` that proposes labels to cells whose
            own costs say little.
        smoothness: Weight of squared differences of motion, per px^2.
        n_labels: Labels that each cell considers while messages are passed: this number of the
            cheapest by ``unary``, and as many by ``surroundings``; some may be both.
        n_sweeps: How often messages are passed in all four directions.
    """
    n = min(n_labels, len(unary))
    best = [np.argpartition(costs, n - 1, axis=0)[:n] for costs in (unary, surroundings)]
    candidates = np.moveaxis(np.concatenate(best), 0, -1)
    after_messages = _after_messages(unary, vectors, candidates, smoothness, n_sweeps)
    starts = unary.argmin(axis=0), after_messages
    found = [_descended(labels, unary, vectors, smoothness) for labels in starts]
    return min(found, key=lambda labels: energy(labels, unary, vectors, smoothness))


def _after_messages(
    unary: Float, vectors: Float, candidates: Labels, smoothness: float, n_sweeps: int
) -> Labels:
    """The best labels after min-sum belief propagation over the (h, w, N) candidates of cells."""
    own = np.take_along_axis(np.moveaxis(unary, 0, -1), candidates, axis=-1)  # (h, w, N)
    motion = vectors[candidates]
    # (h, w - 1, N, N) and (h - 1, w, N, N): first the label of the left or upper cell.
    across = pair_costs(motion[:, :-1, :, None], motion[:, 1:, None], smoothness)
    down = pair_costs(motion[:-1, :, :, None], motion[1:, :, None], smoothness)
    costs_of = (across, across.swapaxes(-1, -2), down, down.swapaxes(-1, -2))
    # What each cell has received from its left, right, upper and lower neighbour.
    received = [np.zeros_like(own) for _ in range(4)]

    def along(side: int, cells: Float) -> Float:
        """With the rows or columns first, in the order that messages from this side travel."""
        return (cells if side >= 2 else cells.swapaxes(0, 1))[:: -1 if side % 2 else 1]

    for _ in range(n_sweeps):
        for side in range(4):
            cells, costs = along(side, own), along(side, costs_of[side])
            messages = [along(side, each) for each in received]
            # A message ignores what came from its receiver.
            senders = [messages[other] for other in range(4) if other != side ^ 1]
            for place in range(len(cells) - 1):
                belief = cells[place] + sum(sender[place] for sender in senders)
                message = (belief[..., :, None] + costs[place]).min(axis=-2)
                messages[side][place + 1] = message - message.min(axis=-1, keepdims=True)
    best = (own + sum(received)).argmin(axis=-1)[..., None]
    return np.take_along_axis(candidates, best, axis=-1)[..., 0]


def _descended(labels: Labels, unary: Float, vectors: Float, smoothness: float) -> Labels:
    """Iterated conditional modes: cells of one colour of a chessboard at a time, over all labels.

    Neighbours never change together, so no step can raise the energy.
    """
    colour_of = np.indices(labels.shape).sum(axis=0) % 2
    for _ in range(_MOST_DESCENTS):
        before = labels
        for colour in (0, 1):
            # (L, h, w): what each label costs the neighbours of a cell, and then the cell itself.
            beside = pair_costs(vectors[:, None, None], vectors[labels], smoothness)
            costs = unary.copy()
            costs[:, :, :-1] += beside[:, :, 1:]
            costs[:, :, 1:] += beside[:, :, :-1]
            costs[:, :-1] += beside[:, 1:]
            costs[:, 1:] += beside[:, :-1]
            own = np.take_along_axis(costs, labels[None], axis=0)[0]
            better = (colour_of == colour) & (costs.min(axis=0) < own)
            labels = np.where(better, costs.argmin(axis=0), labels)
        if np.array_equal(labels, before):
            break
    return labels
