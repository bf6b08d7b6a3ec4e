"""From scores to rows: means, medians, and differences from the blurred input with intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gopro_tools.bootstrap import bootstrap_interval
from gopro_tools.evaluate.run import Evaluation
from gopro_tools.metrics import METRICS
from gopro_tools.sources import BLURRED


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """One method under one metric."""

    method: str
    """``blurred``, or the name given with --restored."""
    metric: str
    """Name in `gopro_tools.metrics.METRICS`."""
    mean: float
    """Over the images where the metric is defined; NaN where there are none."""
    median: float
    """Over images."""
    delta_mean: float
    """Mean over images of this score minus the blurred input's."""
    delta_low: float
    """Lower end of the 95 % percentile interval of ``delta_mean``; NaN where there is none."""
    delta_high: float
    """Upper end."""
    n_images: int
    """How many images the means are over; metrics of motion skip the first of each sequence."""
    n_missing: int
    """Sharp images that were left out because some method lacks them (--allow-missing)."""
    scale: str
    """Effort of the method's training compared with the paper's (smoke, reduced, full), as its
    restored folder records it; empty where that is not known."""
    blur_kind: str
    """gamma, linear_crf, or ``unstated``."""
    dataset: str
    """Name of the dataset, or of the sharp folder."""
    dataset_sha256: str
    """Identity of the pairs, by their pixels."""
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
    """How images were turned into code values."""
    ssim_kind: str
    """Window, covariance and borders of an SSIM."""
    resolution: str
    """``1280x720``, or ``mixed``."""
    source: str = "measured"
    """These numbers were measured, not copied from a paper."""


def summarize(evaluation: Evaluation) -> list[SummaryRow]:
    """One row per method and metric, methods in order, metrics in order."""
    deltas = differences(evaluation)
    low, high = bootstrap_interval(
        deltas, evaluation.units, evaluation.config.n_resamples, evaluation.config.seed
    )
    labels = evaluation.sources.labels
    rows = []
    for i, method in enumerate(evaluation.methods):
        for k, name in enumerate(evaluation.metrics):
            metric = METRICS[name]
            defined = ~np.isnan(evaluation.scores[i, :, k])
            values = evaluation.scores[i, defined, k]
            rows.append(
                SummaryRow(
                    method=method,
                    metric=name,
                    mean=mean_of_defined(values),
                    median=_median(values),
                    delta_mean=mean_of_defined(deltas[i, :, k]),
                    delta_low=float(low[i, k]),
                    delta_high=float(high[i, k]),
                    n_images=len(values),
                    n_missing=evaluation.n_missing,
                    scale=evaluation.provenance.get(method, {}).get("scale") or "",
                    blur_kind=labels["blur_kind"],
                    dataset=labels["dataset"],
                    dataset_sha256=evaluation.dataset["content_sha256"],
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

    Two infinite scores differ by 0; an infinite and a finite one by infinity. NaN where either is.
    """
    scores = evaluation.scores
    blurred = scores[evaluation.methods.index(BLURRED)]
    with np.errstate(invalid="ignore"):
        return np.where(scores == blurred, 0.0, scores - blurred)


def mean_of_defined(values: NDArray[np.float64]) -> float:
    """Mean of the values that are not NaN; NaN if all are."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _median(values: NDArray[np.float64]) -> float:
    if not len(values):
        return float("nan")
    # numpy's averages two infinite middle values to NaN with a warning.
    middle = np.sort(values)[[(len(values) - 1) // 2, len(values) // 2]]
    return float(middle[0] if middle[0] == middle[1] else middle.mean())
