"""How well objects are found after deblurring, and ``python -m gopro_tools.detect``.

Protocol ``yolo-consistency-v1``: a detector runs on the sharp, the blurred and the restored images;
its own boxes on the sharp ones (or human labels) are what the others should find (Kupyn et al.,
CVPR 2018, §6.3, who left classes, overlap and confidence open).
"""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro
from rich.table import Table

from gopro_tools.console import progress_bar, run_command, stderr
from gopro_tools.detection import (
    PER_IMAGE_RULES,
    PROTOCOL,
    Detections,
    Detector,
    Outcomes,
    References,
    Runtime,
    load_detector,
    most_confident,
    outcomes_of,
    read_labels,
    references_from,
)
from gopro_tools.detection.finding import find_boxes
from gopro_tools.detection.overlays import Panel, most_changed, overlay, write_overlays
from gopro_tools.detection.report import markdown, plot_sweep
from gopro_tools.detection.rows import (
    COMPARED,
    SWEEP,
    class_rows,
    image_rows,
    summary_rows,
    sweep_rows,
)
from gopro_tools.errors import InputError
from gopro_tools.files import claimed, write_atomic
from gopro_tools.pairing import (
    SHARP,
    Pairing,
    Sources,
    pair_images,
    read_images,
)
from gopro_tools.sources import remember_sources
from gopro_tools.threads import Progress

log = logging.getLogger(__name__)

_REFERENCE_SWEEP = (0.25, 0.5)


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """Find objects in sharp, blurred and restored images, and score what each method lets see."""

    sources: tyro.conf.OmitArgPrefixes[Sources]
    """The images to compare."""
    detector: str
    """Weight file (.pt, .onnx, .tflite, ...), stored boxes (.json, or a folder of them), or
    package.module:factory."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the tables, the plot, the overlays and the boxes that were found."""
    labels: Path | None = None
    """Human labels of the sharp images, in place of the detector's boxes there: COCO JSON, or a
    folder of YOLO text files."""
    classes: tuple[str, ...] = ()
    """Only these classes count, by name or number, such as car truck; all by default."""
    confidence: float = 0.25
    """Least confidence of a box, for precision, recall and F1."""
    reference_confidence: float = 0.25
    """Least confidence of a box on a sharp image to be a reference."""
    iou: float = 0.5
    """Least overlap of a match, for precision, recall and F1."""
    min_area_px: float = 256.0
    """Boxes of less area, in px², are ignored."""
    runtime: Runtime = "auto"
    """What runs a weight file; auto: onnxruntime or else OpenCV for .onnx, ultralytics for all
    others."""
    input_size: int | None = None
    """Long side in px that images are resized to for the detector; the file's own, else 640."""
    nms_iou: float = 0.7
    """Overlap from which the detector drops the lesser box of a class."""
    class_names: Path | None = None
    """File with a class name a line, for .onnx files that name none and are not of COCO."""
    batch: int = 8
    """Images the detector is given at once."""
    resamples: int = 1000
    """Bootstrap resamples of the images, for the intervals."""
    seed: int = 0
    """Of the bootstrap."""
    overlays: int = 6
    """How many of the images that changed most to draw."""

    def __post_init__(self) -> None:
        """Refuse values that no score is defined for."""
        for name in ("confidence", "reference_confidence", "iou", "nms_iou"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(
                    f"{name} must be above 0 and at most 1, not {getattr(self, name)}."
                )
        for name, least in (("min_area_px", 0), ("batch", 1), ("resamples", 1), ("overlays", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}.")
        if self.input_size is not None and self.input_size < 32:
            raise InputError(f"input_size must be at least 32 px, not {self.input_size}.")


def detect(
    config: DetectConfig, *, detector: Detector | None = None, progress: Progress | None = None
) -> pd.DataFrame:
    """Detect, score and report.

    Boxes found before, by this detector on the same pixels, are not looked for again; an
    interrupted run goes on.

    Args:
        config: What to compare and how.
        detector: In place of `DetectConfig.detector`.
        progress: Told how far the detector is.

    Returns:
        The rows of ``detection.csv``, one a method: ``sharp``, ``blurred``, then the restored ones.

    Raises:
        InputError: Images do not pair up or cannot be read, or the detector, the labels or a class
            cannot be used. All other images are detected first, so nothing is lost.
    """
    with claimed(config.out, "detections", "overlays"):
        return _detect(config, detector, progress)


def _detect(
    config: DetectConfig, detector: Detector | None, progress: Progress | None
) -> pd.DataFrame:
    pairing = pair_images(config.sources)
    detector = detector or load_detector(
        config.detector,
        runtime=config.runtime,
        input_size_px=config.input_size,
        nms_iou=config.nms_iou,
        class_names=config.class_names,
    )
    least = detector.identity.min_score
    if min(config.confidence, config.reference_confidence) < least:
        raise InputError(
            f"{detector.name} gives boxes from confidence {least} up; ask for no less."
        )
    found = find_boxes(
        pairing,
        detector,
        config.out / "detections",
        batch=config.batch,
        stored_names=config.class_names is None,
        progress=progress,
    )
    wanted = _class_ids(config.classes, found.class_names, detector.name)
    boxes = {
        method: [_counted(image, wanted) for image in images]
        for method, images in found.boxes.items()
    }
    references = (
        _references_from_sharp(boxes[SHARP], config.reference_confidence, config.min_area_px)
        if config.labels is None
        else read_labels(
            config.labels,
            found.sizes_hw,
            found.class_names,
            wanted=wanted,
            min_area_px=config.min_area_px,
        )
    )
    if not any(image.counts.any() for image in references):
        raise InputError(
            f"{config.labels or detector.name}: no reference box on any of {len(references)} sharp "
            "images, so there is nothing to find again. Choose other classes, a lower "
            "--reference-confidence or --min-area-px, or another detector."
        )
    n_classes = len(found.class_names)
    judged = _judged(config, boxes, references, n_classes)
    settings = _settings(config, detector, pairing)
    summary = summary_rows(
        judged, config.confidence, n_resamples=config.resamples, seed=config.seed
    )
    for name, value in settings.items():
        summary[name] = value
    per_image = image_rows(judged, pairing.image_sets, config.confidence)
    sweep = _sweep(config, boxes, judged, n_classes)
    tables = {
        "detection": summary,
        "detection_per_class": class_rows(judged, found.class_names, config.confidence),
        "detection_per_image": per_image,
        "detection_sweep": sweep,
    }
    for name, table in tables.items():
        write_atomic(config.out / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    pictures = _draw_overlays(config, pairing, found.class_names, boxes, references, per_image)
    report = markdown(summary, sweep, settings, plot=_plot(config, sweep), overlays=pictures)
    remember_sources(config.out, config.sources, config.labels)
    write_atomic(config.out / "detection.md", report)
    return summary


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
) -> list[References]:
    return [
        references_from(image, confidence=confidence, min_area_px=min_area_px) for image in sharp
    ]


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
) -> pd.DataFrame:
    """All methods over the confidence; the detector's own references also from other levels."""
    confidences = sorted({*SWEEP, config.confidence})
    if config.labels is not None:
        return sweep_rows(judged, confidences, None)
    tables = [sweep_rows(judged, confidences, config.reference_confidence)]
    for level in sorted({*_REFERENCE_SWEEP} - {config.reference_confidence}):
        references = _references_from_sharp(boxes[SHARP], level, config.min_area_px)
        others = _judged(config, boxes, references, n_classes)
        tables.append(sweep_rows(others, confidences, level))
    return pd.concat(tables)


def _settings(
    config: DetectConfig, detector: Detector, pairing: Pairing
) -> dict[str, str | float | None]:
    """What decides the numbers, as columns of every row."""
    labelled = config.labels is not None
    return {
        "protocol": PROTOCOL,
        **config.sources.labels,
        "reference": f"labels:{config.labels}" if labelled else "detector",
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
        "interval": f"95 % bootstrap over images, {config.resamples} resamples, seed {config.seed}",
        "per_image_rules": PER_IMAGE_RULES,
        "left_out": "; ".join(pairing.left_out),
    }


def _draw_overlays(
    config: DetectConfig,
    pairing: Pairing,
    class_names: Sequence[str],
    boxes: Mapping[str, Sequence[Detections]],
    references: Sequence[References],
    per_image: pd.DataFrame,
) -> list[str]:
    """Draw the images that changed most; the files, relative to the output folder."""
    named = [(images.sequence, images.name) for images in pairing.image_sets]
    overlays = {}
    for rank, index in enumerate(most_changed(per_image, named, config.overlays), start=1):
        images = pairing.image_sets[index]
        panels = [
            Panel(
                title=method,
                image=image,
                references=references[index],
                candidates=_at_least(boxes[method][index], config.confidence),
            )
            for method, image in read_images(images).items()
        ]
        stem = images.key.rpartition(".")[0].replace("/", "_")
        overlays[f"{rank:02d}_{stem}"] = overlay(
            panels, class_names, iou=config.iou, min_area_px=config.min_area_px
        )
    paths = write_overlays(config.out / "overlays", overlays)
    return [path.relative_to(config.out).as_posix() for path in paths]


def _at_least(found: Detections, confidence: float) -> Detections:
    return found.select(found.score >= np.float32(confidence))


def _plot(config: DetectConfig, sweep: pd.DataFrame) -> str:
    """Plot the sweep over the chosen references: the file's name, or why there is none."""
    path = config.out / "recall_over_confidence.png"
    level = config.reference_confidence
    rows = sweep if config.labels is not None else sweep[sweep["reference_confidence"] == level]
    try:
        plot_sweep(path, rows, confidence=config.confidence)
    except InputError as error:
        log.warning("No plot: %s", error)
        path.unlink(missing_ok=True)
        return f"No plot was made: {error}"
    return path.name


def command(config: tyro.conf.OmitArgPrefixes[DetectConfig]) -> int:
    """Score deblurring by the objects a detector finds again."""
    started = time.monotonic()
    with progress_bar("images") as bar:
        task = bar.add_task("Detecting", total=None, rate="")

        def show(n_done: int, n_total: int) -> None:
            speed = n_done / max(1e-9, time.monotonic() - started)
            bar.update(task, completed=n_done, total=n_total, rate=f"{speed:.1f}/s")

        summary = detect(config, progress=show)
    table = Table(title=f"{PROTOCOL}, {summary['n_images'][0]} images")
    table.add_column("method")
    for title in ("precision", "recall", "F1", "AP50", "mAP50-95", "TP", "FP", "FN"):
        table.add_column(title, justify="right")
    for row in summary.to_dict("records"):
        numbers = [f"{row[name]:.3f}" for name in COMPARED]
        table.add_row(row["method"], *numbers, *(str(row[name]) for name in ("tp", "fp", "fn")))
    stderr.print(table)
    stderr.print(f"Report: {config.out / 'detection.md'}", markup=False)
    sys.stdout.write(f"{config.out / 'detection.csv'}\n")
    return 0


def main() -> None:
    """Run as a command."""
    run_command(command)


if __name__ == "__main__":
    main()
