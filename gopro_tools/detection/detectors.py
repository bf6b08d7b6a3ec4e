"""Detectors by file name: ultralytics, ONNX without torch, stored boxes, and your own.

Their packages are imported only when they are used. An ONNX file needs only OpenCV, and runs with
onnxruntime where that is installed.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import cv2

from gopro_tools.detection.boxes import Detections, Detector, DetectorIdentity
from gopro_tools.detection.coco_json import listed
from gopro_tools.detection.onnx import OnnxDetector
from gopro_tools.detection.stored import STORED, StoredDetections, read_detections
from gopro_tools.detection.ultralytics_yolo import UltralyticsDetector
from gopro_tools.detection.weights import DEFAULT_INPUT_PX, WEIGHTS_FROM, version_of
from gopro_tools.detection.yolo_text import read_class_names
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file
from gopro_tools.images import Rgb, pixel_hash
from gopro_tools.options import DetectorRuntime
from gopro_tools.plugins import PluginKind, is_plugin_name

DETECTORS = PluginKind(
    what="detector",
    option="--detector",
    signature="factory() -> object with name, identity, class_names, detect(images)",
    needs=("name", "identity", "class_names", "detect"),
    example="""\
import numpy as np
from gopro_tools.detection import Detections, DetectorIdentity

class Nothing:
    name = "nothing"
    class_names = ("thing",)
    identity = DetectorIdentity(weights_sha256="none", input_size_px=0, runtime="numpy")
    def detect(self, images):  # (H, W, 3) uint8 RGB each; boxes per image
        return [Detections.none() for _ in images]

def make():
    return Nothing()""",
)


def load_detector(
    detector: str,
    *,
    runtime: DetectorRuntime = "auto",
    input_size_px: int | None = None,
    nms_iou: float = 0.7,
    min_score: float = 0.001,
    class_names: Path | None = None,
    trust_weights: bool = False,
) -> Detector:
    """Make a detector from what the command line says.

    Args:
        detector: A weight file (``.onnx``, or any that ultralytics loads: ``.pt``, ``.tflite``,
            ...), stored boxes (``.json``, or a folder of them), or
            ``package.module:factory[:name=value...]``, which returns a `Detector`.
        runtime: What runs a weight file. ``auto``: ONNX with onnxruntime if it is installed, else
            with OpenCV; all others with ultralytics.
        input_size_px: Long side that images are resized to; by default the file's own, else 640.
        nms_iou: IoU threshold of non-maximum suppression, class by class.
        min_score: Minimum confidence of a box.
        class_names: File with one name per line, for ONNX files whose classes are not COCO's.
        trust_weights: Load a ``.pt`` file even where that may run code in it.

    Raises:
        InputError: The file is missing or damaged, or a package is (the message says which).
    """
    path = Path(detector)
    if is_plugin_name(detector):
        own_detector: Detector = DETECTORS.load(detector)
        return own_detector
    if not path.exists():
        raise InputError(
            f"{detector}: no such file; detector weights were expected. {WEIGHTS_FROM} "
            "A detector of your own is named package.module:factory."
        )
    if path.is_dir() or path.suffix.lower() == ".json":
        return StoredBoxes(path)
    if path.stat().st_size == 0:
        raise InputError(
            f"{path}: the file is empty; detector weights were expected. {WEIGHTS_FROM}"
        )
    own = runtime in ("onnxruntime", "opencv") or (
        runtime == "auto" and path.suffix.lower() == ".onnx"
    )
    if not own:
        if class_names is not None:
            raise InputError(f"--class-names {class_names}: ultralytics takes them from {path}.")
        identity = DetectorIdentity(
            weights_sha256=sha256_of_file(path),
            input_size_px=input_size_px or DEFAULT_INPUT_PX,
            runtime=version_of("ultralytics"),
            min_score=min_score,
            nms_iou=nms_iou,
        )
        return UltralyticsDetector(path, identity, trust_weights=trust_weights)
    if path.suffix.lower() != ".onnx":
        raise InputError(f"{path}: {runtime} runs .onnx files; export it, or choose ultralytics.")
    chosen = runtime
    if runtime == "auto":
        chosen = "onnxruntime" if importlib.util.find_spec("onnxruntime") else "opencv"
    identity = DetectorIdentity(
        weights_sha256=sha256_of_file(path),
        input_size_px=0,
        runtime=version_of("onnxruntime")
        if chosen == "onnxruntime"
        else f"opencv {cv2.__version__}",
        min_score=min_score,
        nms_iou=nms_iou,
    )
    names = read_class_names(class_names) if class_names else None
    return OnnxDetector(path, identity, input_size_px=input_size_px, class_names=names)


class StoredBoxes:
    """Boxes found earlier, by this package or another program: no network is run.

    Args:
        path: COCO JSON as `gopro_tools.detection.stored.read_detections` reads it, or a folder of
            such files from one detector.

    Raises:
        InputError: No such file, a damaged one, or files of different detectors.
    """

    def __init__(self, path: Path):
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise InputError(f"{path}: no stored boxes there; files NAME.json were expected.")
        stored = [read_detections(file) for file in files]
        first: StoredDetections = stored[0]
        foreign = all(other.identity.runtime == STORED for other in stored)
        for file, other in zip(files, stored, strict=True):
            if other.class_names != first.class_names:
                raise InputError(
                    f"{file}: its classes are {listed(other.class_names)}, those of {files[0]} "
                    f"{listed(first.class_names)}; boxes of one detector were expected."
                )
            if other.identity != first.identity and not foreign:
                raise InputError(
                    f"{file}: boxes of another detector or setting than {files[0]} (`info` in them "
                    "says so); keep the files of one."
                )
        self.name = first.name
        self.identity = first.identity
        if foreign and len(files) > 1:  # a file per method: together they are the detector
            digests = "".join(other.identity.weights_sha256 for other in stored)
            self.name = path.name
            self.identity = replace(
                first.identity, weights_sha256=f"files:{sha256(digests.encode()).hexdigest()}"
            )
        self.class_names = first.class_names
        self._path = path
        self._found = {
            image.pixels: image.found for part in stored for image in part.images.values()
        }

    def detect(self, images: Sequence[Rgb]) -> list[Detections]:
        """Look the images up by their pixels."""
        found = [self._found.get(pixel_hash(image)) for image in images]
        missing = [i for i, boxes in enumerate(found) if boxes is None]
        if missing:
            raise InputError(
                f"{self._path}: no boxes of {len(missing)} image(s) there; its images have other "
                "pixels. Run the detector itself on these images."
            )
        return [boxes for boxes in found if boxes is not None]
