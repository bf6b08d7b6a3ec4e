"""Boxes, matching, scores and detectors: how well objects are found after deblurring.

The measure of Kupyn et al. (CVPR 2018, §6.3), who left confidence, overlap, classes and averaging
open. Protocol ``yolo-consistency-v1`` fixes them; what is an option is written with every row:

- References are the detector's own boxes on the sharp image with a confidence of at least 0.25, or
  human labels. Candidates are its boxes on another image, with the same threshold.
- By descending score, each candidate takes the free reference of its class that it overlaps most,
  with an IoU of at least 0.5: a true positive. Other candidates are false positives, other
  references are missed.
- Boxes under 16² px are ignored: a candidate that takes a small reference, or takes none and is
  small itself, is neither true nor false. Crowd labels are ignored as COCO does.
- Precision, recall and F1 come from the totals over all images (micro), and as means over images
  (`PER_IMAGE_RULES`). AP50, AP75 and mAP50-95 are COCO's and take candidates of every confidence.
- Intervals come from resampling the images; differences from the blurred input are paired.
"""

from gopro_tools.detection.boxes import (
    Detections,
    Detector,
    DetectorIdentity,
    References,
    box_iou,
    judge,
    match,
    most_confident,
    references_from,
)
from gopro_tools.detection.detectors import StoredBoxes, load_detector
from gopro_tools.detection.labels import Labels, read_labels
from gopro_tools.detection.onnx import OnnxDetector
from gopro_tools.detection.scoring import (
    COCO_IOUS,
    PER_IMAGE_RULES,
    SCORES,
    Outcomes,
    average_precision,
    counts_at,
    outcomes_of,
    scores,
)
from gopro_tools.detection.stored import (
    DetectionStore,
    StoredDetections,
    StoredImage,
    read_detections,
    write_detections,
)
from gopro_tools.detection.ultralytics_yolo import UltralyticsDetector
from gopro_tools.detection.weights import COCO_CLASS_NAMES

PROTOCOL = "yolo-consistency-v1"
"""Name of the protocol, stored with every result."""

__all__ = [
    "COCO_CLASS_NAMES",
    "COCO_IOUS",
    "PER_IMAGE_RULES",
    "PROTOCOL",
    "SCORES",
    "DetectionStore",
    "Detections",
    "Detector",
    "DetectorIdentity",
    "Labels",
    "OnnxDetector",
    "Outcomes",
    "References",
    "StoredBoxes",
    "StoredDetections",
    "StoredImage",
    "UltralyticsDetector",
    "average_precision",
    "box_iou",
    "counts_at",
    "judge",
    "load_detector",
    "match",
    "most_confident",
    "outcomes_of",
    "read_detections",
    "read_labels",
    "references_from",
    "scores",
    "write_detections",
]
