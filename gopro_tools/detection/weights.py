"""What all networks share: where weights come from, and what the classes of COCO are called."""

import importlib.metadata

from gopro_tools.errors import InputError, installs

DEFAULT_INPUT_PX = 640
"""Input of ultralytics' networks, and of ONNX files that leave their size open."""

INSTALL = installs("detect")

WEIGHTS_FROM = (
    "YOLO weights such as yolov8n.pt are at https://github.com/ultralytics/assets/releases "
    "(AGPL-3.0), YOLOX as ONNX at https://github.com/Megvii-BaseDetection/YOLOX/releases "
    "(Apache-2.0). Nothing is downloaded here."
)

COCO_CLASS_NAMES: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 classes of COCO, in the order in which detectors number them."""


def version_of(package: str) -> str:
    """Name and version of an installed package; `InputError` where it is not installed."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError as error:
        hint = ", or --runtime opencv" if package == "onnxruntime" else ""
        raise InputError(f"{package} is not installed: {INSTALL}{hint}.") from error
