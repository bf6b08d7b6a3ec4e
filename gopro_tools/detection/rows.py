"""The tables of a detection run: a row a method, a class, an image, a confidence."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from gopro_tools.detection.scoring import (
    SCORES,
    Outcomes,
    average_precision,
    counts_at,
    interval,
    intervals,
    resampled_images,
    scores,
)
from gopro_tools.pairing import BLURRED, SHARP, ImageSet

COMPARED = ("precision", "recall", "f1", "ap50", "map50_95")
"""Scores whose difference to the blurred input has columns of its own."""

SWEEP = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Confidences of the sweep."""


def summary_rows(
    judged: Mapping[str, Outcomes], confidence: float, *, n_resamples: int, seed: int
) -> pd.DataFrame:
    """A row a method: all `SCORES`, their intervals, and differences to the blurred input."""
    n_images = len(judged[SHARP].n_references)
    weight = resampled_images(n_images, n_resamples, seed)
    points = {method: scores(outcomes, confidence) for method, outcomes in judged.items()}
    replicates = {
        method: scores(outcomes, confidence, weight) for method, outcomes in judged.items()
    }
    rows = []
    for method, outcomes in judged.items():
        counts = counts_at(outcomes, confidence).sum()
        row: dict[str, object] = {"method": method}
        row |= {name: float(points[method][name][0]) for name in SCORES}
        row |= {"tp": int(counts.tp), "fp": int(counts.fp), "fn": int(counts.fn)}
        row |= {"n_images": n_images, "n_references": int(outcomes.n_references.sum())}
        row |= intervals(replicates[method])
        for name in COMPARED:
            difference = replicates[method][name] - replicates[BLURRED][name]
            low, high = interval(difference)
            row[f"{name}_minus_blurred"] = float(points[method][name][0] - points[BLURRED][name][0])
            row[f"{name}_minus_blurred_low"], row[f"{name}_minus_blurred_high"] = low, high
        rows.append(row)
    return pd.DataFrame(rows)


def class_rows(
    judged: Mapping[str, Outcomes], class_names: Sequence[str], confidence: float
) -> pd.DataFrame:
    """A row a method and class that has a reference or a candidate."""
    tables = []
    for method, outcomes in judged.items():
        counts = counts_at(outcomes, confidence).sum(axis=0)
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
                "n_references": outcomes.n_references.sum(axis=0),
            }
        )
        tables.append(table[(table["n_references"] > 0) | (table["fp"] > 0)])
    return pd.concat(tables)


def image_rows(
    judged: Mapping[str, Outcomes], image_sets: Sequence[ImageSet], confidence: float
) -> pd.DataFrame:
    """A row a method and image."""
    tables = []
    for method, outcomes in judged.items():
        counts = counts_at(outcomes, confidence).sum(axis=1)
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
                    "n_references": outcomes.n_references.sum(axis=1),
                }
            )
        )
    return pd.concat(tables)


def sweep_rows(
    judged: Mapping[str, Outcomes], confidences: Sequence[float], reference_confidence: float | None
) -> pd.DataFrame:
    """A row a method and confidence, for one set of references (None: human labels)."""
    rows = []
    for method, outcomes in judged.items():
        for confidence in confidences:
            counts = counts_at(outcomes, confidence).sum()
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
