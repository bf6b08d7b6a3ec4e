"""Intervals of means over images, from drawing whole sequences (or images) again.

Frames of one sequence are alike: an interval that draws single images says how the mean varies over
frames of these very sequences, and is far too narrow for another dataset. So sequences are drawn
wherever nobody asks for images.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gopro_tools.options import DrawnUnit

CONFIDENCE = 0.95
_CELLS_AT_ONCE = 1 << 22
"""Of (resamples, images) arrays: 32 MiB each, however many images there are."""
_RESAMPLES_AT_ONCE = 500


def units_of(sequences: Sequence[str], drawn: DrawnUnit) -> NDArray[np.int64]:
    """(images,) index of what each image is drawn with: its sequence, or itself.

    Args:
        sequences: Name of the sequence of each image.
        drawn: What is drawn.
    """
    if drawn == "image":
        return np.arange(len(sequences))
    return np.unique(list(sequences), return_inverse=True)[1].astype(np.int64)


def drawn_text(units: NDArray[np.int64], drawn: DrawnUnit, n_resamples: int, seed: int) -> str:
    """How intervals were made, for reports; or why there are none."""
    n_units = int(units.max()) + 1
    if n_units < 2:
        other = "; --bootstrap-over image draws images" if drawn == "sequence" else ""
        return f"none: all images are of one {drawn}{other}"
    return (
        f"{CONFIDENCE:.0%} bootstrap over {n_units} {drawn}s, {n_resamples} resamples, seed {seed}"
    )


def drawn_counts(
    units: NDArray[np.int64], n_resamples: int, seed: int, *, n_at_once: int
) -> Iterator[NDArray[np.int64]]:
    """How often each unit was drawn, (resamples, units), a few resamples at a time.

    Args:
        units: (images,) index of what each image is drawn with.
        n_resamples: How often to draw, in all.
        seed: Of the draws, which are the same however many there are at once.
        n_at_once: Resamples at most in an array; fewer where there are many images.
    """
    n_units = int(units.max()) + 1
    chances = np.full(n_units, 1 / n_units)
    rng = np.random.default_rng(seed)
    step = min(n_at_once, max(1, _CELLS_AT_ONCE // len(units)))
    for start in range(0, n_resamples, step):
        yield rng.multinomial(n_units, chances, size=min(step, n_resamples - start))


def bootstrap_interval(
    deltas: NDArray[np.float64], units: NDArray[np.int64], n_resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % percentile intervals of the mean over images, resampled with replacement.

    Every method and metric sees the same draws, so the comparison is paired across them too.

    Args:
        deltas: (methods, images, metrics) differences within images; NaN counts as no image.
        units: (images,) index of what each image is drawn with (see `units_of`).
        n_resamples: How often to draw.
        seed: Of the draws.

    Returns:
        Lower and upper ends, (methods, metrics) each; NaN where a difference is infinite, or where
        fewer than two units have differences to draw from.
    """
    n_methods, n_images, n_metrics = deltas.shape
    ends = np.full((2, n_methods * n_metrics), np.nan)
    n_units = int(units.max()) + 1
    columns = deltas.transpose(0, 2, 1).reshape(-1, n_images)
    known = ~np.isnan(columns)
    sizes = np.zeros((n_units, len(columns)))
    np.add.at(sizes, units, known.T)
    usable = ~np.isinf(columns).any(axis=1) & ((sizes > 0).sum(axis=0) > 1)
    if usable.any():
        # A mean of drawn images needs only how often each unit was drawn: its sum and its size.
        sizes = sizes[:, usable]
        sums = np.zeros_like(sizes)
        np.add.at(sums, units, np.where(known, columns, 0.0)[usable].T)
        means = []
        for counts in drawn_counts(units, n_resamples, seed, n_at_once=_RESAMPLES_AT_ONCE):
            with np.errstate(invalid="ignore"):  # only units without differences were drawn
                means.append((counts @ sums) / (counts @ sizes))
        tail = 50 * (1 - CONFIDENCE)
        ends[:, usable] = np.nanpercentile(np.concatenate(means), [tail, 100 - tail], axis=0)
    low, high = ends.reshape(2, n_methods, n_metrics)
    return low, high
