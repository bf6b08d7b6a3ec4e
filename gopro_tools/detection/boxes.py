"""Boxes, what a detector must offer, and which candidate box belongs to which reference box."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gopro_tools.images import Rgb

MAX_DETECTIONS = 100
"""Boxes that count per class and image, best first: COCO's ``maxDets``."""

TRUE_POSITIVE, FALSE_POSITIVE, IGNORED = 1, 0, -1
"""What a candidate box turned out to be; `IGNORED` counts as nothing at all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """The boxes found in one image."""

    box_xyxy: NDArray[np.float32]
    """(N, 4): left, top, right, bottom in px of the image; the right and bottom edges lie outside
    (a box over a whole image is 0, 0, width, height)."""
    score: NDArray[np.float32]
    """(N,) confidence in [0, 1]."""
    class_id: NDArray[np.int64]
    """(N,) position in the detector's `Detector.class_names`."""

    def __post_init__(self) -> None:
        """Convert what is array-like, and refuse what cannot be boxes.

        Raises:
            ValueError: Shapes that do not fit, values that are not finite, edges out of order.
        """
        object.__setattr__(self, "box_xyxy", _boxes(self.box_xyxy))
        object.__setattr__(self, "score", np.asarray(self.score, np.float32).reshape(-1))
        object.__setattr__(self, "class_id", np.asarray(self.class_id, np.int64).reshape(-1))
        n = len(self.box_xyxy)
        if not len(self.score) == len(self.class_id) == n:
            raise ValueError(
                f"{n} boxes, {len(self.score)} scores and {len(self.class_id)} classes do not fit"
            )
        if not ((self.score >= 0) & (self.score <= 1)).all() or (self.class_id < 0).any():
            raise ValueError("scores must be in [0, 1] and class ids not negative")

    @classmethod
    def none(cls) -> Self:
        """An image in which nothing was found."""
        return cls(box_xyxy=np.empty((0, 4)), score=np.empty(0), class_id=np.empty(0))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.score)

    def select(self, index: NDArray[Any]) -> "Detections":
        """The boxes at `index`: a mask or positions, in that order."""
        return Detections(
            box_xyxy=self.box_xyxy[index], score=self.score[index], class_id=self.class_id[index]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class References:
    """The boxes that one image should show."""

    box_xyxy: NDArray[np.float32]
    """(M, 4), as in `Detections`."""
    class_id: NDArray[np.int64]
    """(M,) position in the detector's `Detector.class_names`."""
    is_crowd: NDArray[np.bool_]
    """(M,) COCO's ``iscrowd``: a region, not an object; every candidate inside it is ignored."""
    too_small: NDArray[np.bool_]
    """(M,) smaller than the minimum area; what matches such a box is ignored."""

    def __post_init__(self) -> None:
        """Convert what is array-like; `ValueError` where edges are out of order."""
        object.__setattr__(self, "box_xyxy", _boxes(self.box_xyxy))
        object.__setattr__(self, "class_id", np.asarray(self.class_id, np.int64).reshape(-1))

    @property
    def counts(self) -> NDArray[np.bool_]:
        """(M,) whether a method is expected to find the box."""
        return ~(self.is_crowd | self.too_small)


@dataclass(frozen=True, kw_only=True)
class DetectorIdentity:
    """Everything that decides which boxes a detector gives; stored with them and in every row."""

    weights_sha256: str
    """SHA-256 of the weight file's bytes; for a detector without one, a text that stands for it."""
    input_size_px: int
    """Long side to which images are resized, in px; 0 if unknown."""
    runtime: str
    """What runs the network, with its version, such as ``onnxruntime 1.20.0``."""
    min_score: float = 0.001
    """Boxes with lower scores were not requested."""
    nms_iou: float = 0.7
    """IoU threshold of non-maximum suppression, class by class."""


class Detector(Protocol):
    """Finds objects; name one of your own as ``package.module:factory`` on the command line."""

    @property
    def name(self) -> str:
        """Short name for tables, such as the weight file's."""

    @property
    def identity(self) -> DetectorIdentity:
        """What decides its boxes; must be cheap, as it is read before anything is loaded."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; `Detections.class_id` counts them from 0."""

    def detect(self, images: Sequence[Rgb]) -> list[Detections]:
        """Find the objects in each image: (H, W, 3) uint8 RGB, of any sizes.

        Returns every box with a score of at least `DetectorIdentity.min_score`, after non-maximum
        suppression: what counts is decided later.
        """


def references_from(detections: Detections, *, confidence: float, min_area_px: float) -> References:
    """The detector's own boxes on a sharp image as references (Kupyn et al., CVPR 2018, §6.3).

    Args:
        detections: On the sharp image.
        confidence: Boxes with at least this score are references.
        min_area_px: Boxes with a smaller area, in px², are marked `References.too_small`.
    """
    sure = detections.select(detections.score >= np.float32(confidence))
    return References(
        box_xyxy=sure.box_xyxy,
        class_id=sure.class_id,
        is_crowd=np.zeros(len(sure), bool),
        too_small=is_too_small(sure.box_xyxy, min_area_px),
    )


def box_area_px(box_xyxy: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) areas in px² of (N, 4) boxes."""
    box = box_xyxy.astype(np.float64)
    return (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])


def is_too_small(box_xyxy: NDArray[np.float32], min_area_px: float) -> NDArray[np.bool_]:
    """(N,) whether a box is smaller than the minimum area in px², or empty."""
    area = box_area_px(box_xyxy)
    return np.asarray((area < min_area_px) | (area == 0))


def box_iou(
    candidates: NDArray[np.float32],
    references: NDArray[np.float32],
    is_crowd: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Intersection over union of each candidate with each reference, in [0, 1].

    Args:
        candidates: (N, 4) xyxy in px.
        references: (M, 4) xyxy in px.
        is_crowd: (M,) references for which the union is the candidate alone, as in COCO.

    Returns:
        (N, M) float64; 0 where both boxes are empty.
    """
    a, b = candidates.astype(np.float64)[:, None], references.astype(np.float64)[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    intersection = np.prod(np.clip(high - low, 0, None), axis=2)
    own = box_area_px(candidates)[:, None]
    union = own + box_area_px(references)[None] - intersection
    if is_crowd is not None:
        union = np.where(is_crowd[None], own, union)
    iou: NDArray[np.float64] = np.zeros_like(union)
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou


def most_confident(detections: Detections) -> Detections:
    """Sort by descending score (ties keep their order), at most `MAX_DETECTIONS` per class."""
    ordered = detections.select(np.argsort(-detections.score, kind="stable"))
    rank = np.zeros(len(ordered), np.int64)
    for class_id in np.unique(ordered.class_id):
        members = ordered.class_id == class_id
        rank[members] = np.arange(members.sum())
    return ordered.select(rank < MAX_DETECTIONS)


def match(
    references: References, candidates: Detections, iou_thresholds: Sequence[float]
) -> NDArray[np.int64]:
    """Give candidates their references, greedily by descending score, class by class.

    Each candidate takes the free reference of its class that it overlaps most, from the threshold
    up; a crowd only where there is nothing else, and a crowd stays free. Among equal overlaps the
    last reference wins, as in COCO's own program. What lower-scored candidates take never changes
    what higher-scored ones took, so one matching serves every confidence.

    Args:
        references: (M,) boxes.
        candidates: (N,) boxes by descending score, see `most_confident`.
        iou_thresholds: (T,) minimum IoUs.

    Returns:
        (T, N) index of the reference taken, -1 for none.
    """
    n_references = len(references.class_id)
    iou = box_iou(candidates.box_xyxy, references.box_xyxy, references.is_crowd)
    iou[candidates.class_id[:, None] != references.class_id[None]] = -1
    taken = np.full((len(iou_thresholds), len(candidates)), -1, np.int64)
    before = np.zeros(iou.shape, bool)
    for row, threshold in enumerate(iou_thresholds):
        # COCO's guard: rounding must not make a perfect overlap miss a threshold of 1.
        enough = iou >= min(threshold, 1 - 1e-10)
        if row and (enough == before).all():  # as most thresholds are
            taken[row] = taken[row - 1]
            continue
        before = enough
        free = np.ones(n_references, bool)
        for n in np.flatnonzero(enough.any(axis=1)):
            objects = enough[n] & free & ~references.is_crowd
            allowed = objects if objects.any() else enough[n] & references.is_crowd
            if allowed.any():
                best = n_references - 1 - int(np.where(allowed, iou[n], -1)[::-1].argmax())
                taken[row, n] = best
                free[best] = False
    return taken


def judge(
    references: References,
    candidates: Detections,
    iou_thresholds: Sequence[float],
    *,
    min_area_px: float,
) -> NDArray[np.int8]:
    """What each candidate is: `TRUE_POSITIVE`, `FALSE_POSITIVE` or `IGNORED`.

    A candidate is ignored if it matched a crowd or a reference that is too small, or if it is
    unmatched and itself too small: a box whose area is just below the minimum in one image and just
    above it in the other is not an error.

    Args:
        references: Of one image.
        candidates: Of the same image, by descending score.
        iou_thresholds: (T,) minimum IoUs.
        min_area_px: Area in px² from which a candidate can be false.

    Returns:
        (T, N) int8.
    """
    taken = match(references, candidates, iou_thresholds)
    small = is_too_small(candidates.box_xyxy, min_area_px)
    verdict = np.where(taken >= 0, TRUE_POSITIVE, np.where(small, IGNORED, FALSE_POSITIVE))
    uncounted = np.append(~references.counts, False)  # the last is for index -1: not matched
    return np.where(uncounted[taken], IGNORED, verdict).astype(np.int8)


def _boxes(box_xyxy: ArrayLike) -> NDArray[np.float32]:
    boxes = np.asarray(box_xyxy, np.float32).reshape(-1, 4)
    if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
        raise ValueError("boxes must be finite, as left, top, right, bottom")
    return boxes
