"""Reasons to doubt labels: the detector finds their objects as another class, or not at all.

Category ids that are off by one, corners where widths belong, labels of other images: each of these
reads without an error, and gives a recall that looks like a bad detector's.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gopro_tools.detection.boxes import Detections, References, box_iou

_SAME_PLACE = 0.5
"""Minimum IoU of two boxes of the same object."""


_LEAST_FITTING = 2
"""How many labelled boxes must be found under another reading before that is reported."""

_Boxes = NDArray[np.float32]


def _corners_for_sizes(box: _Boxes) -> _Boxes:
    return np.column_stack([box[:, :2], box[:, 2:] - box[:, :2]])


def _corners_for_centres(box: _Boxes) -> _Boxes:
    return np.column_stack([(box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]])


def _moved(box: _Boxes, sizes: float) -> _Boxes:
    return np.asarray(box + sizes * np.tile(box[:, 2:] - box[:, :2], 2), np.float32)


_OTHER_READINGS: tuple[tuple[str, Callable[[_Boxes], _Boxes]], ...] = (
    ("left, top, right and bottom", _corners_for_sizes),  # of COCO's left, top, width, height
    ("left, top, right and bottom", _corners_for_centres),  # of YOLO's centre, width, height
    ("left, top, width and height", lambda box: _moved(box, 0.5)),
    ("centre, width and height", lambda box: _moved(box, -0.5)),
    ("top, left, height and width", lambda box: box[:, [1, 0, 3, 2]]),
)
"""What the four numbers of a box may have been meant as, and how to get that box (x0, y0, x1, y1)
from the one that was read."""


def doubts_about_labels(
    references: Sequence[References],
    found: Sequence[Detections],
    class_names: Sequence[str],
    *,
    confidence: float,
) -> tuple[str, ...]:
    """Sentences for people, from the sharp images alone; none where the labels look right.

    Args:
        references: What people drew, one per image.
        found: Boxes of all classes on the sharp images, in the same order.
        class_names: Of the detector.
        confidence: Minimum score of a box that counts as found.
    """
    sure = [boxes.select(boxes.score >= np.float32(confidence)) for boxes in found]
    n_labelled = sum(int(labelled.counts.sum()) for labelled in references)
    if n_labelled == 0:
        return ()
    n_own, others = _found_where(references, sure, lambda box: box)
    n_other, reading = max(
        ((_found_where(references, sure, change)[0], said) for said, change in _OTHER_READINGS),
        key=lambda counted: counted[0],
    )
    if n_other >= _LEAST_FITTING and n_other > max(2 * n_own, others.total()):
        return (
            f"the detector finds {n_other} of {n_labelled} labelled boxes on the sharp images where"
            f" their four numbers are {reading}, and {n_own} as they were read: were they stored "
            "so?",
        )
    if others.total() > n_own:
        (theirs, ours), count = others.most_common(1)[0]
        return (
            f"where {others.total()} of {n_labelled} labelled boxes are, the detector finds "
            f"another class on the sharp images ({class_names[ours]} instead of "
            f"{class_names[theirs]}, {count} times), and the right one for {n_own}: are the "
            "labels numbered as their list of classes says?",
        )
    if n_own == 0:
        return (
            f"the detector finds none of the {n_labelled} labelled boxes on the sharp images: are "
            "these the labels of these images, at their size?",
        )
    return ()


def _found_where(
    references: Sequence[References],
    sure: Sequence[Detections],
    change: Callable[[_Boxes], _Boxes],
) -> tuple[int, Counter[tuple[int, int]]]:
    """How many labelled boxes are found, once changed, as their own class and as others.

    Returns:
        The number found as their own class, and counts by (labelled class, class found).
    """
    n_own = 0
    others: Counter[tuple[int, int]] = Counter()
    for labelled, boxes in zip(references, sure, strict=True):
        wanted = np.flatnonzero(labelled.counts)
        changed = change(labelled.box_xyxy[wanted])
        is_box = (changed[:, 2:] > changed[:, :2]).all(axis=1)
        if not len(boxes) or not is_box.any():
            continue
        near = box_iou(boxes.box_xyxy, changed[is_box]) >= _SAME_PLACE
        for index, at in zip(wanted[is_box], near.T, strict=True):
            classes = boxes.class_id[at].tolist()
            if labelled.class_id[index] in classes:
                n_own += 1
            elif classes:
                others[int(labelled.class_id[index]), classes[0]] += 1
    return n_own, others
