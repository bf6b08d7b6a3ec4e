"""Precision, recall, F1 and COCO's average precision, from what became of every candidate box.

Each score is a function of one weight per image: all ones give the score itself, the counts of a
resample with replacement give a bootstrap replicate. One implementation serves both.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gopro_tools.detection.boxes import (
    FALSE_POSITIVE,
    TRUE_POSITIVE,
    Detections,
    References,
    judge,
    most_confident,
)

COCO_IOUS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""0.50, 0.55, ..., 0.95, with the rounding of COCO's own program."""

_COCO_RECALLS = np.linspace(0.0, 1.0, 101)
_BOOTSTRAP_CELLS = 1_000_000  # curve points held at once: 8 MB per array

SCORES = (
    "precision", "recall", "f1",
    "precision_per_image", "recall_per_image", "f1_per_image",
    "ap50", "ap75", "map50_95",
)  # fmt: skip
"""Every score, under its column's name."""

PER_IMAGE_RULES = (
    "Per-image means: recall over images with a reference; precision over images with a candidate, "
    "those without a reference included (it is 0 there); F1 over images with either."
)
"""What happens to an image whose ratio is 0/0; written with every row."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """What became of every candidate box of one method, over all images."""

    image_index: NDArray[np.int32]
    """(D,) which image."""
    class_id: NDArray[np.int32]
    """(D,)"""
    score: NDArray[np.float32]
    """(D,) confidence."""
    verdict: NDArray[np.int8]
    """(1 + 10, D) see `judge`: at the chosen IoU, then at each of `COCO_IOUS`."""
    reference_image: NDArray[np.int32]
    """(R,) image of each reference that counts."""
    reference_class: NDArray[np.int32]
    """(R,)"""
    n_images: int
    """I"""
    n_classes: int
    """C"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """True positives, false positives and false negatives at one confidence.

    Each is (I,) per image, (C,) per class, or a single number.
    """

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]

    @property
    def n_references(self) -> NDArray[np.int64]:
        """References that count."""
        return self.tp + self.fn

    @property
    def ratios(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Precision, recall and F1, elementwise; NaN where a ratio is 0/0."""
        return precision_recall_f1(self.tp, self.fp, self.fn)


def outcomes_of(
    references: Sequence[References],
    candidates: Sequence[Detections],
    *,
    n_classes: int,
    iou: float,
    min_area_px: float,
) -> Outcomes:
    """Judge the boxes of one method on all images.

    Args:
        references: One per image.
        candidates: One per image, in the same order, at every confidence; class ids below
            `n_classes`.
        n_classes: C.
        iou: Minimum IoU for precision, recall and F1; average precision uses COCO's.
        min_area_px: See `judge`.
    """
    thresholds = (iou, *COCO_IOUS)
    # Millions of boxes: arrays that grow, and nothing that is kept per image.
    image_index, class_id = array("i"), array("i")
    score, verdicts = array("f"), [array("b") for _ in thresholds]
    reference_image, reference_class = array("i"), array("i")
    for index, (expected, found) in enumerate(zip(references, candidates, strict=True)):
        ordered = most_confident(found)
        image_index.extend([index] * len(ordered))
        class_id.extend(ordered.class_id.tolist())
        score.frombytes(ordered.score.tobytes())
        judged = judge(expected, ordered, thresholds, min_area_px=min_area_px)
        for row, verdict in zip(verdicts, judged, strict=True):
            row.frombytes(verdict.tobytes())
        wanted = expected.class_id[expected.counts].tolist()
        reference_image.extend([index] * len(wanted))
        reference_class.extend(wanted)
    return Outcomes(
        image_index=np.array(image_index, np.int32),
        class_id=np.array(class_id, np.int32),
        score=np.array(score, np.float32),
        verdict=np.array(verdicts, np.int8).reshape(len(thresholds), -1),
        reference_image=np.array(reference_image, np.int32),
        reference_class=np.array(reference_class, np.int32),
        n_images=len(candidates),
        n_classes=n_classes,
    )


def counts_at(
    outcomes: Outcomes, confidence: float, per: Literal["image", "class"] | None = None
) -> Counts:
    """Count with the candidates of score `confidence` and up, at the chosen IoU.

    Args:
        outcomes: Of one method.
        confidence: Minimum score of a candidate.
        per: Count each image or each class separately; all together by default.
    """
    kept = outcomes.score >= np.float32(confidence)
    candidate, reference, n_cells = _cells(outcomes, per)

    def count(kind: int) -> NDArray[np.int64]:
        chosen = candidate[kept & (outcomes.verdict[0] == kind)]
        return np.bincount(chosen, minlength=n_cells)

    tp, fp = count(TRUE_POSITIVE), count(FALSE_POSITIVE)
    fn = np.bincount(reference, minlength=n_cells) - tp
    if per is None:
        return Counts(tp=tp[0], fp=fp[0], fn=fn[0])
    return Counts(tp=tp, fp=fp, fn=fn)


def _cells(
    outcomes: Outcomes, per: Literal["image", "class"] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Where each candidate and each reference is counted, and how many such places there are."""
    if per == "image":
        return outcomes.image_index, outcomes.reference_image, outcomes.n_images
    if per == "class":
        return outcomes.class_id, outcomes.reference_class, outcomes.n_classes
    return np.zeros_like(outcomes.class_id), np.zeros_like(outcomes.reference_class), 1


def precision_recall_f1(
    tp: NDArray[Any], fp: NDArray[Any], fn: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """TP/(TP+FP), TP/(TP+FN) and 2TP/(2TP+FP+FN), elementwise; NaN where it is 0/0."""
    return _ratio(tp, tp + fp), _ratio(tp, tp + fn), _ratio(2 * tp, 2 * tp + fp + fn)


def scores(
    outcomes: Outcomes, confidence: float, image_weight: NDArray[np.float64] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Every score of one method.

    Args:
        outcomes: Of the method.
        confidence: Minimum score of a candidate for precision, recall and F1; average precision
            uses all candidates.
        image_weight: (B, I) how often each image counts; once by default, which gives B = 1.

    Returns:
        `SCORES` to (B,) values; NaN where one is not defined.
    """
    weight = np.ones((1, outcomes.n_images)) if image_weight is None else image_weight
    images = counts_at(outcomes, confidence, "image")
    pooled = precision_recall_f1(weight @ images.tp, weight @ images.fp, weight @ images.fn)
    means = (
        _ratio(weight @ np.nan_to_num(values), weight @ np.isfinite(values))
        for values in images.ratios
    )
    # (B, T, C) -> (B, T): the mean over the classes that have a reference
    average = _mean_of_defined(average_precision(outcomes, weight))
    families = (*pooled, *means, average[:, 0], average[:, 5], average.mean(axis=1))
    return dict(zip(SCORES, families, strict=True))


def average_precision(
    outcomes: Outcomes, image_weight: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """COCO's average precision (area ``all``, 101 recalls, 100 boxes per image and class).

    Precision is made monotone from the right, read at recall 0, 0.01, ..., 1, and averaged; a
    recall that is never reached counts as 0.

    Args:
        outcomes: Of one method.
        image_weight: (B, I), as in `scores`.

    Returns:
        (B, 10, C) for `COCO_IOUS` and all classes; NaN for classes without a reference.
    """
    weight = np.ones((1, outcomes.n_images)) if image_weight is None else image_weight
    result = np.full((len(weight), len(COCO_IOUS), outcomes.n_classes), np.nan)
    by_score = np.argsort(-outcomes.score, kind="stable")
    for class_id in np.unique(outcomes.reference_class):
        member = by_score[outcomes.class_id[by_score] == class_id]
        references = outcomes.reference_image[outcomes.reference_class == class_id]
        expected = weight @ np.bincount(references, minlength=outcomes.n_images)
        image_index = outcomes.image_index[member]
        before = outcomes.verdict[0, member]
        for row in range(len(COCO_IOUS)):
            verdict = outcomes.verdict[1 + row, member]
            if row and np.array_equal(verdict, before):  # as where boxes fit well, or not at all
                result[:, row, class_id] = result[:, row - 1, class_id]
                continue
            before = verdict
            result[:, row, class_id] = _interpolated(verdict, image_index, weight, expected)
    return result


def resampled_images(n_images: int, n_resamples: int, seed: int) -> NDArray[np.float64]:
    """(B, I) weights: how often each image is in each of B resamples with replacement.

    The same weights serve all methods, so that differences between methods are paired.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_images, np.full(n_images, 1 / n_images), n_resamples).astype(float)


def interval(replicates: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile interval of bootstrap replicates; NaN where none is defined."""
    defined = replicates[np.isfinite(replicates)]
    if defined.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def intervals(
    replicates: Mapping[str, NDArray[np.float64]],
) -> dict[str, float]:
    """`interval` of every score, as columns ``<score>_low`` and ``<score>_high``."""
    columns: dict[str, float] = {}
    for name, values in replicates.items():
        columns[f"{name}_low"], columns[f"{name}_high"] = interval(values)
    return columns


def _interpolated(
    verdict: NDArray[np.int8],
    image_index: NDArray[np.int32],
    image_weight: NDArray[np.float64],
    expected: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(B,) average precision of one class.

    Args:
        verdict: (D,) by descending score.
        image_index: (D,) which image.
        image_weight: (B, I).
        expected: (B,) weighted references.
    """
    # Recall grows, and precision rises, only at a true positive: the curve is needed nowhere else.
    hits = np.flatnonzero(verdict == TRUE_POSITIVE)
    if hits.size == 0:
        return np.where(expected > 0, 0.0, np.nan)
    errors = np.flatnonzero(verdict[: hits[-1]] == FALSE_POSITIVE)
    place = (np.searchsorted(hits, errors), image_index[errors])
    shape = (len(hits), image_weight.shape[1])
    # (K, I): false positives of each image between a true positive and the one before
    import scipy.sparse

    between = scipy.sparse.coo_array((np.ones(len(errors)), place), shape=shape).tocsr()
    result = np.empty(len(image_weight))
    step = max(1, _BOOTSTRAP_CELLS // len(hits))
    for start in range(0, len(image_weight), step):
        part = slice(start, start + step)
        weight = np.ascontiguousarray(image_weight[part].T)
        false = np.cumsum(np.asarray(between @ weight), axis=0)  # (K, B)
        true = np.cumsum(weight[image_index[hits]], axis=0)
        precision = np.nan_to_num(_ratio(true, true + false))
        envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        # How many of the 101 recalls each true positive is the first to reach.
        reached = np.searchsorted(_COCO_RECALLS, _ratio(true, expected[part]), side="right")
        read = np.diff(reached, axis=0, prepend=0)
        result[part] = (read * envelope).sum(axis=0) / len(_COCO_RECALLS)
    return np.where(expected > 0, result, np.nan)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    ratio = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))
