"""The boxes of a detection run as the page draws them: matched, missed and false."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gopro_tools.detection import (
    Detections,
    References,
    StoredDetections,
    most_confident,
    read_detections,
    read_labels,
    references_from,
)
from gopro_tools.detection.overlays import Kind, KindBoxes, boxes_by_kind
from gopro_tools.errors import InputError
from gopro_tools.files import read_json
from gopro_tools.report.content import Box, Boxes
from gopro_tools.sources import SHARP
from gopro_tools.text import read_csv

_SETTINGS = (
    "detector", "weights_sha256", "confidence", "reference_confidence", "iou", "min_area_px",
    "classes",
)  # fmt: skip


def read_boxes(folder: Path, keys: Sequence[str], labels: Path | None) -> Boxes:
    """Judge the stored boxes of a detection run again, with the run's own settings.

    Args:
        folder: OUT folder of `gopro_tools.detect`.
        keys: The images, as ``<sequence>/<name>``.
        labels: Human labels of the sharp images, for a run that used such.

    Raises:
        InputError: The boxes or the labels are no longer there, or are damaged.
    """
    settings = read_csv(folder / "detection.csv", _SETTINGS)[0]
    stored = {
        path.stem: read_detections(path)
        for path in sorted((folder / "detections").glob("*/*.json"))
        if _weights_of(path) == settings["weights_sha256"]
    }
    if SHARP not in stored:
        raise InputError(f"{folder / 'detections'}: no boxes of {settings['detector']} there.")
    wanted = _wanted(settings["classes"], stored[SHARP].class_names)
    found = {method: _found(boxes, keys, wanted) for method, boxes in stored.items()}
    references, judged = _references(settings, stored[SHARP], found[SHARP], keys, wanted, labels)
    found = {
        method: [image.select(np.isin(image.class_id, judged)) for image in images]
        for method, images in found.items()
    }
    iou, min_area_px = float(settings["iou"]), float(settings["min_area_px"])
    confidence = np.float32(settings["confidence"])
    by_method = {
        method: [
            _listed(
                boxes_by_kind(
                    reference,
                    image.select(image.score >= confidence),
                    iou=iou,
                    min_area_px=min_area_px,
                )
            )
            for reference, image in zip(references, images, strict=True)
        ]
        for method, images in found.items()
    }
    return Boxes(
        class_names=stored[SHARP].class_names,
        by_method=by_method,
        note=(
            f"{settings['detector']}: boxes of confidence {confidence:g} and up, matched from an "
            f"overlap (IoU) of {iou:g}"
        ),
    )


def _weights_of(path: Path) -> str:
    try:
        return str(read_json(path)["info"]["weights_sha256"])
    except (InputError, KeyError, TypeError):
        return ""


def _wanted(classes: str, names: Sequence[str]) -> list[int]:
    """Class ids of the ``classes`` column: ``all``, or names or numbers with spaces between."""
    if classes == "all":
        return list(range(len(names)))
    # A name may hold a space itself, so each is looked for among the words.
    words = f" {classes} "
    return [i for i, name in enumerate(names) if f" {name} " in words or f" {i} " in words]


def _found(boxes: StoredDetections, keys: Sequence[str], wanted: Sequence[int]) -> list[Detections]:
    images = (boxes.images.get(key) for key in keys)
    return [
        most_confident(image.found.select(np.isin(image.found.class_id, wanted)))
        if image
        else Detections.none()
        for image in images
    ]


def _references(
    settings: Mapping[str, str],
    sharp: StoredDetections,
    on_sharp: Sequence[Detections],
    keys: Sequence[str],
    wanted: Sequence[int],
    labels: Path | None,
) -> tuple[list[References], list[int]]:
    """What should be found, and the classes that count: labels may have fewer than the detector."""
    min_area_px = float(settings["min_area_px"])
    if settings["reference_confidence"]:
        confidence = float(settings["reference_confidence"])
        references = [
            references_from(image, confidence=confidence, min_area_px=min_area_px)
            for image in on_sharp
        ]
        return references, list(wanted)
    if labels is None or not labels.exists():
        raise InputError("The human labels were not found, so no boxes are drawn.")
    sizes = {key: sharp.images[key].size_hw for key in keys}
    read = read_labels(labels, sizes, sharp.class_names, wanted=wanted, min_area_px=min_area_px)
    return list(read.references), [i for i in wanted if i in read.judged]


def _listed(kinds: Mapping[Kind, KindBoxes]) -> list[Box]:
    boxes: list[Box] = []
    for kind, group in kinds.items():
        scores = [None] * len(group.class_id) if group.score is None else group.score.tolist()
        boxes += [
            Box(
                kind=kind,
                box_xyxy=tuple(round(edge, 1) for edge in box),
                class_id=class_id,
                score=score if score is None else round(score, 3),
            )
            for box, class_id, score in zip(
                group.box_xyxy.tolist(), group.class_id.tolist(), scores, strict=True
            )
        ]
    return boxes
