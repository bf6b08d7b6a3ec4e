"""Paired comparisons of methods on the same images, overall and by the length of their blur."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gopro_tools.bootstrap import bootstrap_interval
from gopro_tools.pairing import BLURRED
from gopro_tools.text import read_csv

BLUR_EDGES_PX = (0.0, 4.0, 8.0, 12.0, 20.0, np.inf)
"""Bins of known blur length."""
N_RESAMPLES = 10_000
_FEWEST_CLIPS = 3
"""An interval over fewer clips says nothing."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One metric of every method on every image, in one order."""

    methods: tuple[str, ...]
    """``blurred`` first."""
    sequences: tuple[str, ...]
    """Of each image."""
    values: NDArray[np.float64]
    """(methods, images)."""
    blur_px: NDArray[np.float64]
    """(images,) known blur length; NaN where it is not known."""

    def of(self, method: str) -> NDArray[np.float64]:
        """(images,) scores of a method."""
        return np.asarray(self.values[self.methods.index(method)])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much better one method is than another, image by image."""

    method: str
    """The one that is better where the difference is positive."""
    baseline: str
    """The other."""
    metric: str
    """Of the scores."""
    blur_px: tuple[float, float]
    """Images whose blur is of this length; (0, inf) are all."""
    n_images: int
    """How many."""
    n_clips: int
    """Sequences they are from: what the bootstrap draws."""
    difference: float
    """Mean over images."""
    low: float
    """Lower end of the 95 % interval; NaN where there are too few clips."""
    high: float
    """Upper end."""

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def read_scores(per_image: Path, blur_lengths: Path, metric: str) -> Scores:
    """Scores from ``per_image.csv`` of an evaluation, and the known blur lengths.

    Args:
        per_image: ``method, sequence, name`` and one column per metric.
        blur_lengths: ``sequence, name, blur_px``; it may lack images, or all.
        metric: The column.
    """
    lengths = read_csv(blur_lengths, ("sequence", "name", "blur_px"))
    known = {(row["sequence"], row["name"]): float(row["blur_px"]) for row in lengths}
    by_method: dict[str, dict[tuple[str, str], float]] = {}
    for row in read_csv(per_image, ("method", "sequence", "name", metric)):
        image = (row["sequence"], row["name"])
        by_method.setdefault(row["method"], {})[image] = float(row[metric])
    images = list(by_method[BLURRED])
    return Scores(
        methods=tuple(by_method),
        sequences=tuple(sequence for sequence, _ in images),
        values=np.array([[found[image] for image in images] for found in by_method.values()]),
        blur_px=np.array([known.get(image, np.nan) for image in images]),
    )


def bins_of(scores: Scores) -> list[tuple[float, float]]:
    """All images, then the bins of blur length that hold any."""
    everything = (0.0, float(np.inf))
    return [
        everything,
        *(edges for edges in pairwise(BLUR_EDGES_PX) if _chosen(scores, edges).any()),
    ]


def compare_methods(
    scores: Scores,
    pairs: Sequence[tuple[str, str]],
    metric: str,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> list[Comparison]:
    """Compare methods pairwise, overall and in each bin of blur length.

    The bootstrap resamples whole clips: images of one clip show the same scene under the same
    shake, so resampling single images would give intervals that are too narrow.

    Args:
        scores: Of all methods.
        pairs: (method, baseline).
        metric: Name for the results.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    comparisons = []
    for low_px, high_px in bins_of(scores):
        chosen = _chosen(scores, (low_px, high_px))
        clips = np.unique(np.array(scores.sequences)[chosen], return_inverse=True)[1]
        n_clips = int(clips.max()) + 1
        deltas = np.array([(scores.of(a) - scores.of(b))[chosen] for a, b in pairs])
        low = high = np.full((len(pairs), 1), np.nan)
        if n_clips >= _FEWEST_CLIPS:
            low, high = bootstrap_interval(deltas[:, :, np.newaxis], clips, n_resamples, seed)
        for index, (method, baseline) in enumerate(pairs):
            comparisons.append(
                Comparison(
                    method=method,
                    baseline=baseline,
                    metric=metric,
                    blur_px=(low_px, high_px),
                    n_images=int(chosen.sum()),
                    n_clips=n_clips,
                    difference=float(deltas[index].mean()),
                    low=float(low[index, 0]),
                    high=float(high[index, 0]),
                )
            )
    return comparisons


def _chosen(scores: Scores, blur_px: tuple[float, float]) -> NDArray[np.bool_]:
    low, high = blur_px
    if (low, high) == (0.0, np.inf):
        return np.ones(len(scores.sequences), bool)
    return np.asarray((scores.blur_px >= low) & (scores.blur_px < high))


def verdict(comparisons: Sequence[Comparison], titles: Mapping[str, str]) -> str:
    """What the comparisons within a family of methods show, in words, from the numbers.

    A difference counts only where its interval excludes zero.
    """
    sentences = []
    for method, baseline in dict.fromkeys((c.method, c.baseline) for c in comparisons):
        own = [c for c in comparisons if (c.method, c.baseline) == (method, baseline)]
        overall, bins = own[0], own[1:]
        sentences.append(
            f"{titles[method]} against {titles[baseline]}: {_in_words(overall)} overall"
        )
        better = [bin_name(c.blur_px) for c in bins if c.low > 0]
        worse = [bin_name(c.blur_px) for c in bins if c.high < 0]
        open_ = [bin_name(c.blur_px) for c in bins if not c.is_clear]
        parts = [
            f"{what} at {', '.join(where)}"
            for what, where in (
                ("better", better),
                ("worse", worse),
                ("no clear difference", open_),
            )
            if where
        ]
        sentences[-1] += f"; by blur: {'; '.join(parts)}." if parts else "."
    return " ".join(sentences)


def _in_words(comparison: Comparison) -> str:
    if np.isnan(comparison.low):
        return f"{comparison.difference:+.2f} dB on too few clips for an interval"
    interval = f"{comparison.difference:+.2f} dB [{comparison.low:+.2f}, {comparison.high:+.2f}]"
    if not comparison.is_clear:
        return f"no clear difference ({interval})"
    return f"{'better' if comparison.difference > 0 else 'worse'} ({interval})"


def bin_name(blur_px: tuple[float, float]) -> str:
    """A bin of blur lengths in words."""
    low, high = blur_px
    if np.isinf(high):
        return "all" if low == 0 else f"{low:g} px and more"
    return f"{low:g} to {high:g} px"
