"""Finding the boxes of every method and scoring them."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gopro_tools.bootstrap import drawn_text, units_of
from gopro_tools.detect.config import DetectConfig
from gopro_tools.detection import (
    PER_IMAGE_RULES,
    PROTOCOL,
    Detections,
    Detector,
    Outcomes,
    References,
    load_detector,
    most_confident,
    outcomes_of,
    read_labels,
    references_from,
)
from gopro_tools.detection.doubts import doubts_about_labels
from gopro_tools.detection.finding import Found, find_boxes, store_boxes
from gopro_tools.detection.packed import Computed, PackedDetections
from gopro_tools.detection.report import markdown
from gopro_tools.detection.rows import (
    SWEEP,
    class_rows,
    image_rows,
    summary_rows,
    sweep_rows,
)
from gopro_tools.detection.stored import DetectionStore
from gopro_tools.doubts import doubts_about_results
from gopro_tools.errors import InputError
from gopro_tools.executors import kept
from gopro_tools.files import sha256_of_file
from gopro_tools.looks import looks_at
from gopro_tools.pairing import ImageSet, Pairing, pair_images
from gopro_tools.provenance import scored_dataset, scored_methods
from gopro_tools.records import RunRecord, hash_of, jsonable
from gopro_tools.shards import Parts
from gopro_tools.shown import ShownResult
from gopro_tools.sources import SHARP, Sources
from gopro_tools.threads import Progress

if TYPE_CHECKING:
    import pandas as pd

_REFERENCE_SWEEP = (0.25, 0.5)


@dataclass(frozen=True, kw_only=True)
class Detection(ShownResult):
    """Scores of every method; shows itself as the rows of ``detection.csv``."""

    summary: "pd.DataFrame"
    """One row per method: ``sharp``, ``blurred``, then the restored ones."""
    per_class: "pd.DataFrame"
    per_image: "pd.DataFrame"
    sweep: "pd.DataFrame"
    """One row per method and confidence."""
    settings: Mapping[str, str | float | None]
    """What decides the numbers."""
    image_sets: Sequence[ImageSet]
    """The images."""
    class_names: Sequence[str]
    """Of the detector."""
    boxes: Mapping[str, Sequence[Detections]]
    """Boxes of the chosen classes by method, one entry per image, at every confidence."""
    references: Sequence[References]
    """What should be found, one entry per image."""
    record: RunRecord
    """What was compared, with what."""

    def to_dataframe(self) -> "pd.DataFrame":
        """The rows of ``detection.csv``."""
        return self.summary

    def to_markdown(self) -> str:
        """The report, without plot and overlays."""
        return markdown(self.summary, self.sweep, self.settings, plot="", overlays=())


def score_detections(
    sources: Sources,
    config: DetectConfig,
    store: Path,
    *,
    detector: Detector | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
    parts: Parts | None = None,
) -> Detection:
    """Detect and score; boxes that are stored already are not looked for again.

    Args:
        sources: The images to compare.
        config: The detector, and how boxes are compared.
        store: Folder that keeps the boxes.
        detector: Instead of `DetectConfig.detector`.
        on_progress: Called with the number of images done and in total, counted once per method.
        executor: As `gopro_tools.detect.detect`.
        parts: Of a run that is divided: boxes are found in the images of this share and stored, and
            the share that finds all others stored gives the result.

    Raises:
        OtherShardsLeftError: This share is done, others are not.
        InputError: As `gopro_tools.detect.detect`.
    """
    began = time.perf_counter()
    if not sources.has_sharp:
        raise InputError("--sharp DIR is missing: what is found on sharp images is the reference.")
    pairing = pair_images(sources)
    if any(images.more_sharp for images in pairing.image_sets):
        raise InputError(
            f"{sources.dataset}: has many sharp images for each blurred one, so there is no one "
            "set of boxes to find again; name folders with --sharp and --blurred."
        )
    if config.labels is not None and not config.labels.exists():
        raise InputError(
            f"--labels {config.labels}: not there; COCO JSON or a folder of YOLO text files was "
            "expected."
        )
    if executor is not None and detector is not None:
        raise InputError(
            "A detector that is an object stays in this process: name one that an executor's "
            "workers can load, a weight file or package.module:factory."
        )
    detector = detector or _load(config)
    least = detector.identity.min_score
    if min(config.confidence, config.reference_confidence) < least:
        raise InputError(f"{detector.name} gives boxes at or above confidence {least}; ask for it.")
    find = partial(
        find_boxes,
        detector=detector,
        batch=config.batch,
        stored_names=config.class_names is None,
        jobs=config.jobs,
        on_progress=on_progress,
        executor=executor,
        open_detector=partial(kept, _load, config.absolute()),
    )
    found = (
        find(pairing, folder=store)
        if parts is None
        else _found_of_all(pairing, parts, store, find, detector)
    )
    wanted = _class_ids(config.classes, found.class_names, detector.name)
    labels = config.labels and read_labels(
        config.labels,
        found.sizes_hw,
        found.class_names,
        wanted=wanted,
        min_area_px=config.min_area_px,
    )
    if labels:
        wanted &= labels.judged
    boxes = {
        method: PackedDetections(_counted(image, wanted) for image in images)
        for method, images in found.boxes.items()
    }
    references: Sequence[References] = (
        labels.references
        if labels
        else _references_from_sharp(boxes[SHARP], config.reference_confidence, config.min_area_px)
    )
    if not any(image.counts.any() for image in references):
        raise InputError(
            f"{config.labels or detector.name}: no reference box on any of {len(references)} sharp "
            "images, so there is nothing to find again. Choose other classes, a lower "
            "--reference-confidence or --min-area-px, or another detector."
        )
    n_classes = len(found.class_names)
    doubts = doubts_about_results(pairing.image_sets, looks_at(pairing.image_sets), found.hashes)
    if labels:
        doubts += doubts_about_labels(
            labels.references, found.boxes[SHARP], found.class_names, confidence=config.confidence
        )
    notes = (*pairing.notes, *(labels.notes if labels else ()))
    class_names, hashes, sizes_hw = found.class_names, found.hashes, found.sizes_hw
    del found  # its boxes, of millions, are needed no more
    judged = _judged(config, boxes, references, n_classes)
    dataset = scored_dataset(sources, pairing, hashes, sizes_hw.values())
    methods = scored_methods(sources, dataset, hashes, pairing)
    units = units_of([images.group for images in pairing.image_sets], config.bootstrap_over)
    settings: dict[str, str | float | None] = _settings(config, detector, pairing, dataset)
    settings["interval"] = drawn_text(units, config.bootstrap_over, config.n_resamples, config.seed)
    summary = summary_rows(
        judged, config.confidence, units, n_resamples=config.n_resamples, seed=config.seed
    )
    summary["scale"] = [methods.get(name, {}).get("scale") or "" for name in summary["method"]]
    for name, value in settings.items():
        summary[name] = value
    return Detection(
        summary=summary,
        per_class=class_rows(judged, class_names, config.confidence),
        per_image=image_rows(judged, pairing.image_sets, config.confidence),
        sweep=_sweep(config, boxes, judged, n_classes),
        settings=settings,
        image_sets=pairing.image_sets,
        class_names=class_names,
        boxes=boxes,
        references=references,
        record=RunRecord(
            suite="detect",
            methods={method: methods.get(method, {}) for method in judged},
            config={
                **jsonable(config),
                "detector": Path(config.detector).name,  # records hold no folders
                "allow_missing": sources.allow_missing,
            },
            results={
                "settings": jsonable(settings),
                "left_out": pairing.left_out,
                "notes": notes,
                "doubts": doubts,
            },
            timings_s={"detection": round(time.perf_counter() - began, 3)},
            dataset=dataset,
            detector={"name": detector.name, **asdict(detector.identity)},
            protocols=(PROTOCOL,),
            seed=config.seed,
        ),
    )


def _load(config: DetectConfig) -> Detector:
    return load_detector(
        config.detector,
        runtime=config.runtime,
        input_size_px=config.input_size,
        nms_iou=config.nms_iou,
        class_names=config.class_names,
        trust_weights=config.trust_weights,
    )


def _found_of_all(
    pairing: Pairing,
    parts: Parts,
    store: Path,
    find: Callable[..., Found],
    detector: Detector,
) -> Found:
    """Find the boxes of this share, and store and give those of all."""
    mine = tuple(parts.shard.of(pairing.image_sets))
    rows: list[Any] = []
    class_names = detector.class_names
    if mine:
        found = find(replace(pairing, image_sets=mine), folder=parts.scratch)
        rows, class_names = found.rows(), found.class_names
    everything = parts.exchanged(rows, (images.files for images in pairing.image_sets))
    keys = [images.key for images in pairing.image_sets]
    joined = Found.of_rows(everything, keys, class_names)
    store_boxes(joined, DetectionStore(store, detector.name, detector.identity))
    return joined


def _class_ids(classes: Sequence[str], names: Sequence[str], detector_name: str) -> set[int]:
    """Class ids of names or numbers; all where none is given."""
    ids = {name: i for i, name in enumerate(names)} | {str(i): i for i in range(len(names))}
    unknown = [name for name in classes if name not in ids]
    if unknown:
        raise InputError(
            f"--classes {' '.join(unknown)}: {detector_name} has no such class. It has: "
            f"{', '.join(names)}."
        )
    return {ids[name] for name in classes} or set(range(len(names)))


def _counted(found: Detections, wanted: set[int]) -> Detections:
    """The boxes of the chosen classes that count, best first."""
    return most_confident(found.select(np.isin(found.class_id, list(wanted))))


def _references_from_sharp(
    sharp: Sequence[Detections], confidence: float, min_area_px: float
) -> Sequence[References]:
    return Computed(partial(references_from, confidence=confidence, min_area_px=min_area_px), sharp)


def _judged(
    config: DetectConfig,
    boxes: Mapping[str, Sequence[Detections]],
    references: Sequence[References],
    n_classes: int,
) -> dict[str, Outcomes]:
    return {
        method: outcomes_of(
            references,
            candidates,
            n_classes=n_classes,
            iou=config.iou,
            min_area_px=config.min_area_px,
        )
        for method, candidates in boxes.items()
    }


def _sweep(
    config: DetectConfig,
    boxes: Mapping[str, Sequence[Detections]],
    judged: Mapping[str, Outcomes],
    n_classes: int,
) -> "pd.DataFrame":
    """All methods over the confidence; the detector's own references also from other levels."""
    confidences = sorted({*SWEEP, config.confidence})
    if config.labels is not None:
        return sweep_rows(judged, confidences, None)
    tables = [sweep_rows(judged, confidences, config.reference_confidence)]
    for level in sorted({*_REFERENCE_SWEEP} - {config.reference_confidence}):
        references = _references_from_sharp(boxes[SHARP], level, config.min_area_px)
        others = _judged(config, boxes, references, n_classes)
        tables.append(sweep_rows(others, confidences, level))
    import pandas as pd

    return pd.concat(tables)


def _settings(
    config: DetectConfig, detector: Detector, pairing: Pairing, dataset: Mapping[str, Any]
) -> dict[str, str | float | None]:
    """What decides the numbers, as columns of every row."""
    labelled = config.labels is not None
    return {
        "protocol": PROTOCOL,
        "dataset": dataset["name"],
        "dataset_sha256": dataset["content_sha256"],
        "split": dataset["split"],
        "blur_kind": dataset["blur_kind"],
        "resolution": dataset["resolution"],
        "reference": _labels_text(config.labels) if config.labels else "detector",
        "reference_confidence": None if labelled else config.reference_confidence,
        "confidence": config.confidence,
        "iou": config.iou,
        "min_area_px": config.min_area_px,
        "classes": " ".join(config.classes) or "all",
        "detector": detector.name,
        "weights_sha256": detector.identity.weights_sha256,
        "input_size_px": detector.identity.input_size_px,
        "runtime": detector.identity.runtime,
        "nms_iou": detector.identity.nms_iou,
        "min_score": detector.identity.min_score,
        "per_image_rules": PER_IMAGE_RULES,
        "left_out": "; ".join(pairing.left_out),
    }


def _labels_text(labels: Path) -> str:
    """Labels by name and content: their folder is nobody's business, and may hold others later."""
    files = [labels] if labels.is_file() else sorted(p for p in labels.rglob("*") if p.is_file())
    names = [(p.relative_to(labels).as_posix(), sha256_of_file(p)) for p in files]
    return f"labels {labels.name} {hash_of(names)[:12]}"
