"""What speaks against labels: the detector finds their objects as another class, or not at all.

Category ids that are off by one, boxes in parts of the image, labels of other images: each of these
reads without an error, and gives a recall that looks like a bad detector's.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from gopro_tools.detection.boxes import Detections, References, box_iou

_SAME_PLACE = 0.5
"""Overlap from which two boxes are of one object."""


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
        found: On the sharp images, in the same order, of all classes.
        class_names: Of the detector.
        confidence: Least score of a box that counts as found.
    """
    n_labelled = n_own = 0
    others: Counter[tuple[int, int]] = Counter()
    for labelled, boxes in zip(references, found, strict=True):
        sure = boxes.select(boxes.score >= np.float32(confidence))
        wanted = np.flatnonzero(labelled.counts)
        n_labelled += len(wanted)
        if not len(sure) or not len(wanted):
            continue
        near = box_iou(sure.box_xyxy, labelled.box_xyxy[wanted]) >= _SAME_PLACE
        for index, at in zip(wanted, near.T, strict=True):
            classes = sure.class_id[at].tolist()
            if labelled.class_id[index] in classes:
                n_own += 1
            elif classes:
                others[int(labelled.class_id[index]), classes[0]] += 1
    if n_labelled == 0:
        return ()
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
