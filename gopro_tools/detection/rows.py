"""The tables of a detection run: one row per method, class, image or confidence."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gopro_tools.bootstrap import drawn_counts
from gopro_tools.detection.scoring import (
    SCORES,
    Outcomes,
    average_precision,
    counts_at,
    interval,
    intervals,
    scores,
)
from gopro_tools.pairing import ImageSet
from gopro_tools.sources import BLURRED, SHARP

if TYPE_CHECKING:
    import pandas as pd

COMPARED = ("precision", "recall", "f1", "ap50", "map50_95")
"""Scores with columns for their difference from the blurred input."""

SWEEP = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Confidences of the sweep."""


def summary_rows(
    judged: Mapping[str, Outcomes],
    confidence: float,
    units: NDArray[np.int64],
    *,
    n_resamples: int,
    seed: int,
) -> "pd.DataFrame":
    """One row per method: all `SCORES`, their intervals, and differences from the blurred input.

    Args:
        judged: By method.
        confidence: Minimum confidence of a box, for precision, recall and F1.
        units: (images,) index of what each image is drawn with (`gopro_tools.bootstrap.units_of`).
            With fewer than two units there are no intervals: empty cells.
        n_resamples: How often to draw.
        seed: Of the draws.
    """
    import pandas as pd

    n_images = judged[SHARP].n_images
    points = {method: scores(outcomes, confidence) for method, outcomes in judged.items()}
    replicates = _replicates(judged, confidence, units, n_resamples=n_resamples, seed=seed)
    rows = []
    for method, outcomes in judged.items():
        counts = counts_at(outcomes, confidence)
        row: dict[str, object] = {"method": method}
        row |= {name: float(points[method][name][0]) for name in SCORES}
        row |= {"tp": int(counts.tp), "fp": int(counts.fp), "fn": int(counts.fn)}
        row |= {"n_images": n_images, "n_references": int(counts.n_references)}
        row |= intervals(replicates[method])
        for name in COMPARED:
            difference = replicates[method][name] - replicates[BLURRED][name]
            low, high = interval(difference)
            row[f"{name}_minus_blurred"] = float(points[method][name][0] - points[BLURRED][name][0])
            row[f"{name}_minus_blurred_low"], row[f"{name}_minus_blurred_high"] = low, high
        rows.append(row)
    return pd.DataFrame(rows)


def _replicates(
    judged: Mapping[str, Outcomes],
    confidence: float,
    units: NDArray[np.int64],
    *,
    n_resamples: int,
    seed: int,
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """By method, (n_resamples,) values of each of `SCORES`; one NaN where none can be drawn."""
    if units.max() == 0:
        return {method: dict.fromkeys(SCORES, np.full(1, np.nan)) for method in judged}
    drawn: dict[str, list[dict[str, NDArray[np.float64]]]] = {method: [] for method in judged}
    for counts in drawn_counts(units, n_resamples, seed, n_at_once=n_resamples):
        weight = counts[:, units].astype(np.float64)
        for method, outcomes in judged.items():
            drawn[method].append(scores(outcomes, confidence, weight))
    return {
        method: {name: np.concatenate([part[name] for part in parts]) for name in SCORES}
        for method, parts in drawn.items()
    }


def class_rows(
    judged: Mapping[str, Outcomes], class_names: Sequence[str], confidence: float
) -> "pd.DataFrame":
    """One row per method and class that has a reference or a candidate."""
    import pandas as pd

    tables = []
    for method, outcomes in judged.items():
        counts = counts_at(outcomes, confidence, "class")
        precision, recall, f1 = counts.ratios
        average = average_precision(outcomes)[0]
        table = pd.DataFrame(
            {
                "method": method,
                "class_id": np.arange(len(class_names)),
                "class": list(class_names),
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "ap50": average[0],
                "ap75": average[5],
                "map50_95": average.mean(axis=0),
                "tp": counts.tp,
                "fp": counts.fp,
                "fn": counts.fn,
                "n_references": counts.n_references,
            }
        )
        tables.append(table[(table["n_references"] > 0) | (table["fp"] > 0)])
    return pd.concat(tables)


def image_rows(
    judged: Mapping[str, Outcomes], image_sets: Sequence[ImageSet], confidence: float
) -> "pd.DataFrame":
    """One row per method and image."""
    import pandas as pd

    tables = []
    for method, outcomes in judged.items():
        counts = counts_at(outcomes, confidence, "image")
        precision, recall, f1 = counts.ratios
        tables.append(
            pd.DataFrame(
                {
                    "method": method,
                    "sequence": [images.sequence for images in image_sets],
                    "name": [images.name for images in image_sets],
                    "precision": precision,
                    "recall": recall,
                    "f1": f1,
                    "tp": counts.tp,
                    "fp": counts.fp,
                    "fn": counts.fn,
                    "n_references": counts.n_references,
                }
            )
        )
    return pd.concat(tables)


def sweep_rows(
    judged: Mapping[str, Outcomes], confidences: Sequence[float], reference_confidence: float | None
) -> "pd.DataFrame":
    """One row per method and confidence, for one set of references (None: human labels)."""
    import pandas as pd

    rows = []
    for method, outcomes in judged.items():
        for confidence in confidences:
            counts = counts_at(outcomes, confidence)
            precision, recall, f1 = counts.ratios
            rows.append(
                {
                    "method": method,
                    "reference_confidence": reference_confidence,
                    "confidence": confidence,
                    "precision": float(precision),
                    "recall": float(recall),
                    "f1": float(f1),
                    "tp": int(counts.tp),
                    "fp": int(counts.fp),
                    "fn": int(counts.fn),
                }
            )
    return pd.DataFrame(rows)
