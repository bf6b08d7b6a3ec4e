"""YOLOX, YOLOv5 and YOLOv8 networks in ONNX files, without torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.detection.boxes import MAX_DETECTIONS, Detections, DetectorIdentity
from gopro_tools.detection.coco_json import listed
from gopro_tools.detection.heads import STRIDES_PX, Head, expected_shapes, recognised_head
from gopro_tools.detection.onnx_header import OnnxHeader, read_onnx_header
from gopro_tools.detection.weights import (
    COCO_CLASS_NAMES,
    DEFAULT_INPUT_PX,
    WEIGHTS_FROM,
)
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.onnx_process import OnnxLibrary, OnnxProcess

_GREY = 114  # what the networks were trained to see around an image
_MAX_SIDE_PX = 8192
_MAX_BATCH = 1024
_SCORE_TOLERANCE = 1e-3
_SURE = 0.1
_MOST_VALUE = 1e9
_PARTS = 2.0
"""Confident boxes no larger than this are fractions of the input, not px."""
_CELLS_NEAR = 1.5
_CELLS_FAR = 6.0


class OnnxDetector:
    """A YOLOX, YOLOv5 to v12 or YOLOv10 network in an ONNX file, run by onnxruntime or OpenCV.

    The shape of the output tells which head it has, see `gopro_tools.detection.heads`. YOLOX's
    boxes still need grid and stride applied (Ge et al. 2021, arXiv 2107.08430); YOLOv5's and
    YOLOv8's have centre, width and height in px of the input; final boxes are taken as they are. Of
    pose and mask networks, only the boxes are used. YOLOX's shape with boxes that are decoded
    already (``--decode_in_inference``, YOLOv6) is refused. The file runs in a process of its own
    (see `gopro_tools.onnx_process`).

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
        self._run: OnnxProcess | None = None
        self._head = Head(kind="yolox", n_classes=0, output_index=0)
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
                self._output(run(batch)), part, images[start : start + n_together], strict=False
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
        if max(height, width) > _MAX_SIDE_PX or (shape[0] or 1) > _MAX_BATCH:
            raise InputError(
                f"{self._path}: an input {shape} was found; at most {_MAX_SIDE_PX} px and "
                f"{_MAX_BATCH} images at once are run."
            )
        if asked and asked != max(height, width):
            raise InputError(
                f"{self._path}: its input is {width}x{height}; leave --input-size out."
            )
        if height % 32 or width % 32:
            raise InputError(f"{self._path}: the input must be a multiple of 32 px, not {height}.")
        return height, width

    def _loaded(self) -> OnnxProcess:
        if self._run is None:
            if self._header.task not in (None, "detect", "segment", "pose"):
                raise InputError(
                    f"{self._path}: a network for the task {self._header.task!r}; one that finds "
                    f"upright boxes was expected. {WEIGHTS_FROM}"
                )
            library: OnnxLibrary = (
                "onnxruntime" if self.identity.runtime.startswith("onnxruntime") else "opencv"
            )
            run = OnnxProcess(self._path, library)
            grey = np.full((self._header.input_shape[0] or 1, 3, *self._size_hw), _GREY, np.float32)
            outputs = run(grey)
            self._head = self._recognised(outputs)
            is_yolox = self._head.kind == "yolox"
            if is_yolox and _is_decoded(outputs[self._head.output_index], self._size_hw):
                raise self._decoded_already()
            self._names = self._named(self._head.n_classes)
            self._run = run
        return self._run

    def _recognised(self, outputs: Sequence[NDArray[np.float32]]) -> Head:
        names = self._given_names or self._header.class_names
        head = recognised_head(outputs, self._size_hw, names, self._header.task)
        if head is None:
            found = ", ".join(str(output.shape) for output in outputs) or "nothing"
            raise InputError(
                f"{self._path}: output {found} is neither {expected_shapes(self._size_hw)} of a "
                "file that names its classes. Export one of these, or run it with --runtime "
                "ultralytics."
            )
        return head

    def _output(self, outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        output = outputs[self._head.output_index]
        return output.transpose(0, 2, 1) if self._head.transposed else output

    def _decoded_already(self) -> InputError:
        return InputError(
            f"{self._path}: the output has YOLOX's shape, but boxes that are decoded already (as "
            "YOLOX's --decode_in_inference and YOLOv6 export them), and how these want their "
            "images is not known. Export YOLOX without --decode_in_inference."
        )

    def _named(self, n_classes: int) -> tuple[str, ...]:
        coco = COCO_CLASS_NAMES if n_classes == len(COCO_CLASS_NAMES) else None
        names = self._given_names or self._header.class_names or coco
        if names is None or len(names) != n_classes:
            found = f"{len(names)} names were given" if names else "the file names none"
            raise InputError(
                f"{self._path}: it has {n_classes} classes, and {found}. "
                "Give --class-names FILE with one name per line."
            )
        if len({name.strip() for name in names} - {""}) != n_classes:
            raise InputError(
                f"{self._path}: two of its classes have one name, or one has none "
                f"({listed(names)}); their boxes could not be told apart. Give --class-names FILE."
            )
        return names

    def _fit(self, image: Rgb) -> tuple[NDArray[np.float32], "_Placement"]:
        """Scale the image into the input, as each head was trained: (3, H, W) float32."""
        height, width = self._size_hw
        scale = min(height / image.shape[0], width / image.shape[1])
        canvas = np.full((height, width, 3), _GREY, np.uint8)
        if self._head.kind == "yolox":  # to the top left, BGR, 0-255
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
        blob = blob[::-1] if self._head.kind == "yolox" else blob / np.float32(255)
        return np.ascontiguousarray(blob), _Placement(scale=scale, top_px=top, left_px=left)

    def _decode(
        self, output: NDArray[np.float32], placement: "_Placement", size_hw: tuple[int, ...]
    ) -> Detections:
        """Boxes of one image from the network's output: best class, threshold, suppression."""
        if not np.isfinite(output).all() or np.abs(output).max(initial=0) > _MOST_VALUE:
            raise InputError(
                f"{self._path}: the network gave values that are not boxes (not numbers, or beyond "
                f"{_MOST_VALUE:g}); is the file complete?"
            )
        if self._head.kind == "suppressed":
            return self._final(output, placement, size_hw)
        if self._head.kind == "yolov8":
            centre, size = output[:2].T, output[2:4].T
            score = output[4 : 4 + len(self._names)].T
        else:
            centre, size = output[:, :2], output[:, 2:4]
            score = output[:, 5:] * output[:, 4:5]
        class_id, best = score.argmax(axis=1), score.max(axis=1)
        if best.max(initial=0) > 1 + _SCORE_TOLERANCE or best.min(initial=0) < -_SCORE_TOLERANCE:
            raise InputError(
                f"{self._path}: class scores from {best.min():.3g} to {best.max():.3g} were found, "
                "and [0, 1] was expected: is it a network for poses or masks, or one without a "
                "sigmoid at its end?"
            )
        sure = best >= self.identity.min_score
        if self._head.kind == "yolox":
            if _is_absurd(centre[sure], size[sure], best[sure], self._size_hw):
                raise self._decoded_already()
            grid, stride = _grid(self._size_hw)
            with np.errstate(over="ignore"):
                centre, size = (centre + grid) * stride, np.exp(size) * stride
            size = np.minimum(size, np.float32(1e6))
        elif problem := _no_pixels(centre[sure], size[sure], best[sure]):
            raise InputError(f"{self._path}: {problem}, and px of the input were expected.")
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
            0.0,  # the minimum score is applied above
            self.identity.nms_iou,
        )
        index = np.asarray(kept, np.int64).reshape(-1)
        index = index[np.argsort(-best[index], kind="stable")][:MAX_DETECTIONS]
        return _detections(box_xyxy[index], best[index], class_id[index], size_hw)

    def _final(
        self, output: NDArray[np.float32], placement: "_Placement", size_hw: tuple[int, ...]
    ) -> Detections:
        """Boxes of one image from rows of left, top, right, bottom, score and class."""
        corners, score, class_id = output[:, :4], output[:, 4], output[:, 5]
        kept = score >= self.identity.min_score
        corners, score, class_id = corners[kept], score[kept], class_id[kept]
        if (
            (score > 1 + _SCORE_TOLERANCE).any()
            or not np.isin(class_id, range(len(self._names))).all()
            or (corners[:, 2:] < corners[:, :2]).any()
        ):
            raise InputError(
                f"{self._path}: rows of left, top, right, bottom, score in [0, 1] and class were "
                "expected, and found something else. Export it without non-maximum suppression."
            )
        if problem := _no_pixels(corners[:, :2], corners[:, 2:], score):
            raise InputError(f"{self._path}: {problem}, and px of the input were expected.")
        order = np.argsort(-score, kind="stable")[:MAX_DETECTIONS]
        offset = np.array([placement.left_px, placement.top_px] * 2, np.float32)
        box_xyxy = (corners[order] - offset) / placement.scale
        return _detections(box_xyxy, score[order], class_id[order].astype(np.int64), size_hw)


def _detections(
    box_xyxy: NDArray[np.float32],
    score: NDArray[np.float32],
    class_id: NDArray[np.int64],
    size_hw: tuple[int, ...],
) -> Detections:
    """Boxes in px of the image, cut at its edges."""
    edges = np.array([*size_hw[1::-1]] * 2, np.float32)
    return Detections(
        box_xyxy=np.clip(box_xyxy, 0, edges), score=np.clip(score, 0, 1), class_id=class_id
    )


def _no_pixels(
    places: NDArray[np.float32], sizes: NDArray[np.float32], score: NDArray[np.float32]
) -> str:
    """Reasons to doubt that boxes are in px; empty where there are none."""
    sure = score >= _SURE
    if (sizes < 0).any():
        return f"boxes of negative size ({sizes.min():.3g}) were found"
    if sure.any() and max(places[sure].max(), sizes[sure].max()) <= _PARTS:
        return "boxes in parts of the input were found"
    return ""


def _is_decoded(output: NDArray[np.float32], size_hw: tuple[int, int]) -> bool:
    """Whether centres lie in their cells: the grid is applied already."""
    grid, stride = _grid(size_hw)
    away = np.abs(output[..., :2] - (grid + np.float32(0.5)) * stride) / stride
    return bool(np.median(away) < _CELLS_NEAR and (output[..., 2:4] >= 0).all())


def _is_absurd(
    centre: NDArray[np.float32],
    size: NDArray[np.float32],
    score: NDArray[np.float32],
    size_hw: tuple[int, int],
) -> bool:
    """Whether most boxes that count would lie or reach far outside if they were decoded.

    YOLOX learns centres up to three cells away, and logarithms of sizes in cells.
    """
    sure = score >= _SURE
    far = (np.abs(centre) > _CELLS_FAR).any(axis=1)
    far |= (size > np.log(4 * max(size_hw) / 8)).any(axis=1)
    return bool(sure.any() and far[sure].mean() > 0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Placement:
    """Where an image lies in the network's input."""

    scale: float
    top_px: int
    left_px: int


def _grid(size_hw: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row of each cell (N, 2), and its side in px (N, 1), strides 8, 16 and 32."""
    cells, strides = [], []
    for stride in STRIDES_PX:
        rows, columns = np.mgrid[: size_hw[0] // stride, : size_hw[1] // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)
