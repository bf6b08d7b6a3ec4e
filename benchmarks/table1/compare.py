"""Paired comparisons of methods on the same images, overall and by the length of their blur."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from gopro_tools.bootstrap import bootstrap_interval
from gopro_tools.text import read_csv

BLUR_EDGES_PX = (0.0, 4.0, 8.0, 12.0, 20.0, np.inf)
"""Bins of known blur length."""
ALL_IMAGES = (0.0, float(np.inf))
"""The bin of all images, with those whose blur is not known."""
N_RESAMPLES = 10_000
_FEWEST_CLIPS = 3
"""An interval over fewer clips says nothing."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much better one method is than another, image by image."""

    method: str  # the one that is better where the difference is positive
    baseline: str
    metric: str
    blur_px: tuple[float, float]  # of the images, or `ALL_IMAGES`
    n_images: int
    n_clips: int  # sequences they are from: what the bootstrap draws
    difference: float  # mean over images
    low: float  # of the 95 % interval; NaN where there are too few clips
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def scores_of(record: Path, metric: str) -> pd.DataFrame:
    """One metric of every method on every image of a comparison.

    Args:
        record: Of a comparison: ``scores/per_image.csv`` as `gopro_tools.evaluate` writes it, and
            ``blur_lengths.csv``, which may lack images, or all.
        metric: The column.

    Returns:
        One column per method, one row per image; index ``sequence, name, blur_px`` (NaN where the
        length of blur is not known).
    """
    lengths = read_csv(record / "blur_lengths.csv", ("sequence", "name", "blur_px"))
    known = {(row["sequence"], row["name"]): float(row["blur_px"]) for row in lengths}
    columns = ("method", "sequence", "name", metric)
    rows = pd.DataFrame(read_csv(record / "scores/per_image.csv", columns))
    images = pd.MultiIndex.from_frame(rows[["sequence", "name"]].drop_duplicates())
    table = rows.astype({metric: float}).pivot(
        index=["sequence", "name"], columns="method", values=metric
    )
    blur_px = pd.Index([known.get(image, np.nan) for image in images], name="blur_px")
    return table.loc[images, rows["method"].unique()].set_index(blur_px, append=True)


def compare_methods(
    scores: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    metric: str,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> list[Comparison]:
    """Compare methods pairwise, overall and in each bin of blur length that holds images.

    The bootstrap resamples whole clips: images of one clip show the same scene under the same
    shake, so resampling single images would give intervals that are too narrow.

    Args:
        scores: Of all methods, as `scores_of` gives them.
        pairs: (method, baseline).
        metric: Name for the results.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    comparisons = []
    length_px = scores.index.get_level_values("blur_px").to_numpy()
    for low_px, high_px in (ALL_IMAGES, *pairwise(BLUR_EDGES_PX)):
        inside = (length_px >= low_px) & (length_px < high_px)
        chosen = scores if (low_px, high_px) == ALL_IMAGES else scores[inside]
        if chosen.empty:
            continue
        clips = np.unique(chosen.index.get_level_values("sequence"), return_inverse=True)[1]
        n_clips = int(clips.max()) + 1
        deltas = np.array([chosen[a] - chosen[b] for a, b in pairs])
        low = high = np.full((len(pairs), 1), np.nan)
        if n_clips >= _FEWEST_CLIPS:
            low, high = bootstrap_interval(deltas[:, :, np.newaxis], clips, n_resamples, seed)
        comparisons += [
            Comparison(
                method=method,
                baseline=baseline,
                metric=metric,
                blur_px=(low_px, high_px),
                n_images=len(chosen),
                n_clips=n_clips,
                difference=float(deltas[index].mean()),
                low=float(low[index, 0]),
                high=float(high[index, 0]),
            )
            for index, (method, baseline) in enumerate(pairs)
        ]
    return comparisons


def verdict(comparisons: Sequence[Comparison], titles: Mapping[str, str]) -> str:
    """What the comparisons within a family of methods show, in words, from the numbers.

    A difference counts only where its interval excludes zero.
    """
    sentences = []
    for method, baseline in dict.fromkeys((c.method, c.baseline) for c in comparisons):
        overall, *bins = [c for c in comparisons if (c.method, c.baseline) == (method, baseline)]
        found = {
            "better": [c for c in bins if c.low > 0],
            "worse": [c for c in bins if c.high < 0],
            "no clear difference": [c for c in bins if not c.is_clear],
        }
        by_blur = "; ".join(
            f"{what} at {', '.join(bin_name(c.blur_px) for c in where)}"
            for what, where in found.items()
            if where
        )
        sentence = f"{titles[method]} against {titles[baseline]}: {_in_words(overall)} overall"
        sentences.append(f"{sentence}; by blur: {by_blur}." if by_blur else f"{sentence}.")
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
