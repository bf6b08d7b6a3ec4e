"""Which network an ONNX file holds, as the shapes of its outputs say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

STRIDES_PX = (8, 16, 32)
"""Sides of the cells that YOLO networks divide their input into."""
_MOST_SUPPRESSED = 1000
_MASK_STRIDE_PX = 4

Kind: TypeAlias = Literal["yolox", "yolov5", "yolov8", "suppressed"]


@dataclass(frozen=True, kw_only=True)
class Head:
    """What the output of a network means."""

    kind: Kind
    """YOLOX's with grid and stride to apply; YOLOv5's and v8's in px; or boxes that are final."""
    n_classes: int
    output_index: int
    """Which of the outputs it is."""
    transposed: bool = False
    """Whether YOLOv8's has a row per cell."""


def recognised_head(
    outputs: Sequence[NDArray[np.float32]],
    size_hw: tuple[int, int],
    names: Sequence[str] | None,
    task: str | None,
) -> Head | None:
    """Recognise the head of a network of ``C`` classes and ``N`` cells; None where it is unknown.

    YOLOX's is (N, 5 + C), YOLOv5's and v7's (3 N, 5 + C), YOLOv8's to v12's (4 + C, N) or, where
    the names of the classes say so, its transpose. Those that include non-maximum suppression or
    need none (YOLOv10, exports with ``nms=True`` or end to end) give (M, 6): corners, score and
    class. Mask coefficients and key points follow the classes.

    Args:
        outputs: For one input.
        size_hw: Of the input.
        names: Of the classes, as given or in the file; None where nothing names them.
        task: From the metadata.
    """
    height, width = size_hw
    n_cells = sum((height // stride) * (width // stride) for stride in STRIDES_PX)
    masks = (height // _MASK_STRIDE_PX, width // _MASK_STRIDE_PX)
    n_masks = next((o.shape[1] for o in outputs if o.ndim == 4 and o.shape[2:] == masks), 0)
    for index, output in enumerate(outputs):
        if output.ndim != 3:
            continue
        _, rows, columns = output.shape
        if rows == n_cells and columns > 5:
            if names and columns == 4 + len(names) + n_masks:
                return Head(
                    kind="yolov8", n_classes=len(names), output_index=index, transposed=True
                )
            return Head(kind="yolox", n_classes=columns - 5, output_index=index)
        if rows == 3 * n_cells and columns > 5 + n_masks:
            return Head(kind="yolov5", n_classes=columns - 5 - n_masks, output_index=index)
        if columns == n_cells and rows > 4 + n_masks:
            more = task in ("pose", "segment") and names and len(names) <= rows - 4
            n_classes = len(names) if names and more else rows - 4 - n_masks
            return Head(kind="yolov8", n_classes=n_classes, output_index=index)
        final = columns == 6 or (columns > 6 and task in ("pose", "segment"))
        if final and rows <= _MOST_SUPPRESSED and names:
            return Head(kind="suppressed", n_classes=len(names), output_index=index)
    return None


def expected_shapes(size_hw: tuple[int, int]) -> str:
    """The shapes that are known, for a message."""
    n = sum((size_hw[0] // stride) * (size_hw[1] // stride) for stride in STRIDES_PX)
    return (
        f"YOLOX's (N, {n}, 5 + classes), nor YOLOv5's (N, {3 * n}, 5 + classes), nor YOLOv8's "
        f"(N, 4 + classes, {n}), nor that of final boxes (N, boxes, 6)"
    )
