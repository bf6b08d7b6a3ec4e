"""Paired comparisons of methods on the same images, overall and by the length of their blur."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from gopro_tools.bootstrap import bootstrap_interval
from gopro_tools.evaluate.strata import EDGES_PX
from gopro_tools.text import read_csv

ALL_IMAGES = (0.0, float(np.inf))
"""The bin of all images, with those whose blur is not known."""
N_RESAMPLES = 10_000
_FEWEST_CLIPS = 3
"""An interval over fewer clips says nothing."""


def scores_of(record: Path, metric: str) -> pd.DataFrame:
    """One metric of every method on every image of the record of a comparison.

    Returns:
        One column per method, one row per image; index ``sequence, name, blur_px`` (NaN where
        ``blur_lengths.csv`` lacks the image).
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
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare methods pairwise, overall and in each bin of blur length that holds images.

    The bootstrap resamples whole clips: images of one clip show the same scene under the same
    shake, so resampling single images would give intervals that are too narrow.

    Args:
        scores: Of all methods, as `scores_of` gives them.
        pairs: (method, baseline): the first is better where the difference is positive.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        One row per bin and pair: ``method, baseline``; ``blur_px_from, blur_px_to``, the bin, or
        `ALL_IMAGES`; ``n_images``, and ``n_clips`` that they are from; ``difference``, the mean
        over images; ``low, high``, its 95 % interval, NaN where there are too few clips.
    """
    rows = []
    length_px = scores.index.get_level_values("blur_px").to_numpy()
    for low_px, high_px in (ALL_IMAGES, *pairwise(EDGES_PX)):
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
        rows += [
            (*pair, low_px, high_px, len(chosen), n_clips, delta.mean(), *ends)
            for pair, delta, *ends in zip(pairs, deltas, low[:, 0], high[:, 0], strict=True)
        ]
    columns = ["method", "baseline", "blur_px_from", "blur_px_to", "n_images", "n_clips",
               "difference", "low", "high"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
