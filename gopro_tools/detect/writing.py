"""The files of a detection run."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gopro_tools.detect.config import DetectConfig
from gopro_tools.detect.run import Detection
from gopro_tools.detection import Detections
from gopro_tools.detection.overlays import Panel, most_changed, overlay, write_overlays
from gopro_tools.detection.report import markdown, plot_sweep
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.pairing import read_images
from gopro_tools.records import seal, unseal
from gopro_tools.sources import Sources, remember_sources

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

DETECTION_FILE = "detection.csv"


def write_detection(result: Detection, sources: Sources, config: DetectConfig, out: Path) -> None:
    """Write the tables, pictures and report; the record last."""
    tables = {
        DETECTION_FILE: result.summary,
        "detection_per_class.csv": result.per_class,
        "detection_per_image.csv": result.per_image,
        "detection_sweep.csv": result.sweep,
    }
    unseal(out)
    for name, table in tables.items():
        write_atomic(out / name, table.to_csv(index=False, lineterminator="\n"))
    pictures = _draw_overlays(result, config, out)
    plot = _plot(config, result.sweep, out)
    report = markdown(result.summary, result.sweep, result.settings, plot=plot, overlays=pictures)
    remember_sources(out, sources, config.labels)
    write_atomic(out / "detection.md", report)
    seal(out, result.record, tables)


def _draw_overlays(result: Detection, config: DetectConfig, out: Path) -> list[str]:
    """Draw the images that changed most; the files, relative to the output folder."""
    named = [(images.sequence, images.name) for images in result.image_sets]
    overlays = {}
    for rank, index in enumerate(most_changed(result.per_image, named, config.overlays), start=1):
        images = result.image_sets[index]
        panels = [
            Panel(
                title=method,
                image=image,
                references=result.references[index],
                candidates=_at_least(result.boxes[method][index], config.confidence),
            )
            for method, image in read_images(images).items()
        ]
        stem = images.key.rpartition(".")[0].replace("/", "_")
        overlays[f"{rank:02d}_{stem}"] = overlay(
            panels, result.class_names, iou=config.iou, min_area_px=config.min_area_px
        )
    paths = write_overlays(out / "overlays", overlays)
    return [path.relative_to(out).as_posix() for path in paths]


def _at_least(found: Detections, confidence: float) -> Detections:
    return found.select(found.score >= np.float32(confidence))


def _plot(config: DetectConfig, sweep: "pd.DataFrame", out: Path) -> str:
    """Plot the sweep over the chosen references: the file's name, or why there is none."""
    path = out / "recall_over_confidence.png"
    level = config.reference_confidence
    rows = sweep if config.labels is not None else sweep[sweep["reference_confidence"] == level]
    try:
        plot_sweep(path, rows, confidence=config.confidence)
    except InputError as error:
        log.warning("No plot: %s", error)
        path.unlink(missing_ok=True)
        return f"No plot was made: {error}"
    return path.name
