"""From scores to rows: means, medians, and differences to the blurred input with intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gopro_tools.evaluate.run import Evaluation
from gopro_tools.metrics import METRICS
from gopro_tools.pairing import BLURRED

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """One method under one metric."""

    method: str
    """``blurred``, or the name given with --restored."""
    metric: str
    """Name in `gopro_tools.metrics.METRICS`."""
    mean: float
    """Over images."""
    median: float
    """Over images."""
    delta_mean: float
    """Mean over images of this score minus the blurred input's."""
    delta_low: float
    """Lower end of the 95 % percentile interval of ``delta_mean``; NaN where there is none."""
    delta_high: float
    """Upper end."""
    n_images: int
    """How many images the means are over."""
    n_missing: int
    """Sharp images that were left out because some method lacks them (--allow-missing)."""
    blur_kind: str
    """gamma, linear_crf, or ``unstated``."""
    dataset: str
    """Name of the dataset, or the sharp folder as it was given."""
    split: str
    """train or test; empty for plain folders."""
    bundle: str
    """The protocols that were asked for."""
    n_infinite: int
    """Images with an infinite score: equal to the sharp one."""
    higher_is_better: bool
    """Direction."""
    color_space: str
    """RGB or Y."""
    rounding: str
    """How values were brought to code values."""
    ssim_kind: str
    """Window, covariance and borders of an SSIM."""
    resolution: str
    """``1280x720``, or ``mixed``."""
    source: str = "measured"
    """These numbers were measured, not copied from a paper."""


def summarize(evaluation: Evaluation) -> list[SummaryRow]:
    """A row a method and metric, methods in order, metrics in order."""
    deltas = differences(evaluation)
    low, high = bootstrap_interval(
        deltas, _units(evaluation), evaluation.config.n_resamples, evaluation.config.seed
    )
    labels = evaluation.sources.labels
    rows = []
    for i, method in enumerate(evaluation.methods):
        for k, name in enumerate(evaluation.metrics):
            values, metric = evaluation.scores[i, :, k], METRICS[name]
            rows.append(
                SummaryRow(
                    method=method,
                    metric=name,
                    mean=float(values.mean()),
                    median=_median(values),
                    delta_mean=float(deltas[i, :, k].mean()),
                    delta_low=float(low[i, k]),
                    delta_high=float(high[i, k]),
                    n_images=len(values),
                    n_missing=evaluation.n_missing,
                    blur_kind=labels["blur_kind"],
                    dataset=labels["dataset"],
                    split=labels["split"],
                    bundle=evaluation.config.bundle,
                    n_infinite=int(np.isinf(values).sum()),
                    higher_is_better=metric.higher_is_better,
                    color_space=metric.color_space,
                    rounding=metric.rounding,
                    ssim_kind=metric.ssim_kind,
                    resolution=evaluation.resolution,
                )
            )
    return rows


def differences(evaluation: Evaluation) -> NDArray[np.float64]:
    """Score minus the blurred input's, (methods, images, metrics).

    Two infinite scores differ by 0; an infinite and a finite one by infinity.
    """
    scores = evaluation.scores
    blurred = scores[evaluation.methods.index(BLURRED)]
    with np.errstate(invalid="ignore"):
        return np.where(scores == blurred, 0.0, scores - blurred)


def bootstrap_interval(
    deltas: NDArray[np.float64], units: NDArray[np.int64], n_resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % percentile intervals of the mean over images, resampled with replacement.

    Every method and metric sees the same draws, so the comparison is paired across them too.

    Args:
        deltas: (methods, images, metrics) differences within images.
        units: (images,) index of what each image is drawn with: itself, or its sequence.
        n_resamples: How often to draw.
        seed: Of the draws.

    Returns:
        Lower and upper ends, (methods, metrics) each; NaN where a difference is infinite, or where
        there are fewer than two units to draw from.
    """
    n_methods, n_images, n_metrics = deltas.shape
    ends = np.full((2, n_methods * n_metrics), np.nan)
    n_units = int(units.max()) + 1
    columns = deltas.transpose(0, 2, 1).reshape(-1, n_images)
    finite = np.isfinite(columns).all(axis=1)
    if n_units > 1 and finite.any():
        # A mean of drawn images needs only how often each unit was drawn: its sum and its size.
        sums = np.zeros((n_units, int(finite.sum())))
        np.add.at(sums, units, columns[finite].T)
        sizes = np.bincount(units, minlength=n_units)
        rng = np.random.default_rng(seed)
        means = []
        for start in range(0, n_resamples, 500):  # 500 x 1,111 counts at a time, not all
            n_drawn = min(500, n_resamples - start)
            counts = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_drawn)
            means.append((counts @ sums) / (counts @ sizes)[:, np.newaxis])
        tail = 50 * (1 - CONFIDENCE)
        ends[:, finite] = np.percentile(np.concatenate(means), [tail, 100 - tail], axis=0)
    low, high = ends.reshape(2, n_methods, n_metrics)
    return low, high


def _units(evaluation: Evaluation) -> NDArray[np.int64]:
    image_sets = evaluation.pairing.image_sets
    if evaluation.config.bootstrap_over == "image":
        return np.arange(len(image_sets))
    return np.unique([images.sequence for images in image_sets], return_inverse=True)[1]


def _median(values: NDArray[np.float64]) -> float:
    # numpy's averages two infinite middle values to NaN with a warning.
    middle = np.sort(values)[[(len(values) - 1) // 2, len(values) // 2]]
    return float(middle[0] if middle[0] == middle[1] else middle.mean())
