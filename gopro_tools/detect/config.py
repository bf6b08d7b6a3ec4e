"""The settings of detection."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.errors import InputError
from gopro_tools.options import DetectorRuntime, DrawnUnit
from gopro_tools.plugins import is_plugin_name
from gopro_tools.shape import convert_fields


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """With which detector, and how boxes are compared."""

    detector: str
    """Weight file (.pt, .onnx, .tflite, ...), stored boxes (.json, or a folder of them), or
    package.module:factory."""
    labels: Path | None = None
    """Human labels of the sharp images, instead of the detector's boxes there: COCO JSON, or a
    folder of YOLO text files."""
    classes: tuple[str, ...] = ()
    """Only these classes count, by name or number, such as car truck; all by default."""
    confidence: float = 0.25
    """Minimum confidence of a box, for precision, recall and F1."""
    reference_confidence: float = 0.25
    """Minimum confidence of a box on a sharp image to be a reference."""
    iou: float = 0.5
    """Minimum IoU of a match, for precision, recall and F1."""
    min_area_px: float = 256.0
    """Boxes of less area, in px², are ignored."""
    runtime: DetectorRuntime = "auto"
    """What runs a weight file; auto: onnxruntime or else OpenCV for .onnx, ultralytics for all
    others."""
    input_size: int | None = None
    """Long side in px that images are resized to for the detector; the file's own, else 640."""
    nms_iou: float = 0.7
    """Overlap from which the detector drops the lesser box of a class."""
    class_names: Path | None = None
    """File with one class name per line, for .onnx files that name none and are not of COCO."""
    trust_weights: bool = False
    """Read a .pt file even where that may run programs in it."""
    batch: int = 8
    """Images the detector is given at once."""
    bootstrap_over: DrawnUnit = "sequence"
    """What is drawn again for the intervals: whole sequences, or images. Frames of one sequence are
    alike, so images give intervals that are too narrow for another dataset."""
    n_resamples: Annotated[int, tyro.conf.arg(aliases=["--resamples"])] = 1000
    """Resamples of the bootstrap."""
    seed: int = 0
    """Of the bootstrap."""
    overlays: int = 6
    """Draw at most this many of the images that changed most."""
    jobs: int = 0
    """Threads that read images; 0 takes one per core."""

    def absolute(self) -> "DetectConfig":
        """The same for a process with another working folder: files by their full path."""
        return replace(
            self,
            detector=self.detector
            if is_plugin_name(self.detector)
            else str(Path(self.detector).absolute()),
            class_names=self.class_names and self.class_names.absolute(),
        )

    def __post_init__(self) -> None:
        """Refuse values that no score is defined for."""
        convert_fields(self)
        for name in ("confidence", "reference_confidence", "iou", "nms_iou"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(
                    f"{name} must be above 0 and at most 1, not {getattr(self, name)}."
                )
        least_of = {"min_area_px": 0, "batch": 1, "n_resamples": 1, "overlays": 0, "jobs": 0}
        least_of["seed"] = 0
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}.")
        if self.input_size is not None and self.input_size < 32:
            raise InputError(f"input_size must be at least 32 px, not {self.input_size}.")
