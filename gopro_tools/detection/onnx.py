"""YOLOX and YOLOv8 networks in ONNX files, without torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.detection.boxes import MAX_DETECTIONS, Detections, DetectorIdentity
from gopro_tools.detection.onnx_header import OnnxHeader, read_onnx_header
from gopro_tools.detection.weights import (
    COCO_CLASS_NAMES,
    DEFAULT_INPUT_PX,
    WEIGHTS_FROM,
)
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.onnx_runtime import Run, with_onnxruntime, with_opencv

_GREY = 114  # what the networks were trained to see around an image


class OnnxDetector:
    """A YOLOX or YOLOv8 network in an ONNX file, run by onnxruntime or OpenCV.

    The head is told from the shape of the output, for a network of ``C`` classes and ``N`` cells
    (of 8, 16 and 32 px): YOLOX's is (N, 5 + C) with grid and stride still to apply (Ge et al. 2021,
    arXiv 2107.08430), YOLOv8's (4 + C, N) with centre, width and height in px of the input.

    Args:
        path: The file.
        identity: Its hash, and how to run it; ``input_size_px`` is filled in.
        input_size_px: Side of the square that images are fitted into; of the file by default.
        class_names: Where the file has none and they are not COCO's.

    Raises:
        InputError: The file is damaged, or has another input or head.
    """

    def __init__(
        self,
        path: Path,
        identity: DetectorIdentity,
        *,
        input_size_px: int | None = None,
        class_names: tuple[str, ...] | None = None,
    ):
        self.name = path.name
        self._path = path
        self._header = read_onnx_header(path)
        self._size_hw = self._input_size_hw(self._header, input_size_px)
        self.identity = replace(identity, input_size_px=max(self._size_hw))
        self._given_names = class_names
        self._run: Run | None = None
        self._head: Literal["yolox", "yolov8"] = "yolox"
        self._names: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes: as given, the file's own, or COCO's where there are 80."""
        self._loaded()
        return self._names

    def detect(self, images: Sequence[Rgb]) -> list[Detections]:
        """Find the objects in each image, see `Detector.detect`."""
        run = self._loaded()
        fitted = [self._fit(image) for image in images]
        n_together = self._header.input_shape[0] or max(1, len(images))
        results: list[Detections] = []
        for start in range(0, len(images), n_together):
            part = fitted[start : start + n_together]
            batch = np.stack([blob for blob, _ in part])
            if self._header.input_shape[0]:
                missing = n_together - len(part)
                batch = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
            for output, (_, placement), image in zip(
                run(batch), part, images[start : start + n_together], strict=False
            ):
                results.append(self._decode(output, placement, image.shape[:2]))
        return results

    def _input_size_hw(self, header: OnnxHeader, asked: int | None) -> tuple[int, int]:
        shape = header.input_shape
        if len(shape) != 4 or shape[1] not in (3, None):
            raise InputError(
                f"{self._path}: an image input (N, 3, H, W) was expected, found {shape}."
            )
        height, width = (side or asked or DEFAULT_INPUT_PX for side in shape[2:])
        if asked and asked != max(height, width):
            raise InputError(
                f"{self._path}: its input is {width}x{height}; leave --input-size out."
            )
        if height % 32 or width % 32:
            raise InputError(f"{self._path}: the input must be a multiple of 32 px, not {height}.")
        return height, width

    def _loaded(self) -> Run:
        if self._run is None:
            by_onnxruntime = self.identity.runtime.startswith("onnxruntime")
            try:
                run = (with_onnxruntime if by_onnxruntime else with_opencv)(self._path)
                blank = np.zeros((self._header.input_shape[0] or 1, 3, *self._size_hw), np.float32)
                shape = run(blank).shape
            except InputError:
                raise
            except Exception as error:  # onnxruntime's and OpenCV's own classes
                raise InputError(
                    f"{self._path}: {self.identity.runtime} cannot run it ({error}). {WEIGHTS_FROM}"
                ) from error
            height, width = self._size_hw
            n_cells = sum((height // s) * (width // s) for s in (8, 16, 32))
            if len(shape) == 3 and shape[1] == n_cells and shape[2] > 5:
                self._head, n_classes = "yolox", shape[2] - 5
            elif len(shape) == 3 and shape[2] == n_cells and shape[1] > 4:
                self._head, n_classes = "yolov8", shape[1] - 4
            else:
                raise InputError(
                    f"{self._path}: output {tuple(shape)} is neither YOLOX's (N, {n_cells}, 5 + "
                    f"classes) nor YOLOv8's (N, 4 + classes, {n_cells}). Export one of these "
                    "without non-maximum suppression, or run it with --runtime ultralytics."
                )
            self._names = self._named(n_classes)
            self._run = run
        return self._run

    def _named(self, n_classes: int) -> tuple[str, ...]:
        coco = COCO_CLASS_NAMES if n_classes == len(COCO_CLASS_NAMES) else None
        names = self._given_names or self._header.class_names or coco
        if names is None or len(names) != n_classes:
            found = f"{len(names)} names were given" if names else "the file names none"
            raise InputError(
                f"{self._path}: it has {n_classes} classes, and {found}. "
                "Give --class-names FILE with a name a line."
            )
        return names

    def _fit(self, image: Rgb) -> tuple[NDArray[np.float32], "_Placement"]:
        """Scale the image into the input, as each head was trained: (3, H, W) float32."""
        height, width = self._size_hw
        scale = min(height / image.shape[0], width / image.shape[1])
        canvas = np.full((height, width, 3), _GREY, np.uint8)
        if self._head == "yolox":  # to the top left, BGR, 0-255
            inner_hw = max(1, int(image.shape[0] * scale)), max(1, int(image.shape[1] * scale))
            top = left = 0
        else:  # centred, RGB, 0-1
            inner_hw = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
            top, left = (
                round((height - inner_hw[0]) / 2 - 0.1),
                round((width - inner_hw[1]) / 2 - 0.1),
            )
        inner = image
        if inner_hw != image.shape[:2]:
            inner = cv2.resize(image, inner_hw[::-1], interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
        canvas[top : top + inner_hw[0], left : left + inner_hw[1]] = inner
        blob = canvas.transpose(2, 0, 1).astype(np.float32)
        blob = blob[::-1] if self._head == "yolox" else blob / np.float32(255)
        return np.ascontiguousarray(blob), _Placement(scale=scale, top_px=top, left_px=left)

    def _decode(
        self, output: NDArray[np.float32], placement: "_Placement", size_hw: tuple[int, ...]
    ) -> Detections:
        """Boxes of one image from the network's output: best class, threshold, suppression."""
        if self._head == "yolox":
            centre, size = output[:, :2].copy(), output[:, 2:4]
            grid, stride = _grid(self._size_hw)
            centre, size = (centre + grid) * stride, np.exp(size) * stride
            score = output[:, 5:] * output[:, 4:5]
        else:
            centre, size, score = output[:2].T, output[2:4].T, output[4:].T
        class_id, best = score.argmax(axis=1), score.max(axis=1)
        sure = best >= self.identity.min_score
        centre, size, class_id, best = centre[sure], size[sure], class_id[sure], best[sure]
        offset = np.array([placement.left_px, placement.top_px], np.float32)
        corners = [(centre + side * size / 2 - offset) / placement.scale for side in (-1, 1)]
        box_xyxy = np.hstack(corners)
        if not len(best):
            return Detections.none()
        kept = cv2.dnn.NMSBoxesBatched(
            np.hstack([box_xyxy[:, :2], box_xyxy[:, 2:] - box_xyxy[:, :2]]).tolist(),
            best.tolist(),
            class_id.tolist(),
            0.0,  # the least score is asked for above
            self.identity.nms_iou,
        )
        index = np.asarray(kept, np.int64).reshape(-1)
        index = index[np.argsort(-best[index], kind="stable")][:MAX_DETECTIONS]
        edges = np.array([*size_hw[1::-1]] * 2, np.float32)
        return Detections(
            box_xyxy=np.clip(box_xyxy[index], 0, edges),
            score=np.clip(best[index], 0, 1),
            class_id=class_id[index],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Placement:
    """Where an image lies in the network's input."""

    scale: float
    top_px: int
    left_px: int


def _grid(size_hw: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row of each cell (N, 2), and its side in px (N, 1), strides 8, 16 and 32."""
    cells, strides = [], []
    for stride in (8, 16, 32):
        rows, columns = np.mgrid[: size_hw[0] // stride, : size_hw[1] // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)
