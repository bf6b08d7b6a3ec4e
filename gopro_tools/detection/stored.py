"""Detections on disk, as COCO JSON."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gopro_tools.detection.boxes import (
    Detections,
    DetectorIdentity,
    box_area_px,
)
from gopro_tools.detection.coco_json import (
    as_number,
    as_text,
    box_xywh,
    categories,
    class_of_box,
    described,
    image_ids,
    read_coco,
)
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file, write_atomic
from gopro_tools.images import pixel_hash, read_rgb

log = logging.getLogger(__name__)

SizeHw: TypeAlias = tuple[int, int]

STORED = "stored boxes"
"""`DetectorIdentity.runtime` of another program's file."""

_STEPS_A_PX = 64  # binary fractions of a pixel, so that x, y, width, height give the edges exactly
_SCORE_DECIMALS = 6

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImage:
    """The boxes of one image of a file."""

    pixels: str
    """`pixel_hash` of the image: an image is known by its pixels, not by its name."""
    size_hw: SizeHw
    found: Detections


@dataclass(frozen=True, kw_only=True)
class StoredDetections:
    """What a file of detections holds."""

    name: str
    identity: DetectorIdentity
    class_names: tuple[str, ...]
    images: Mapping[str, StoredImage]
    """By file name, as the file has it."""
    code: str = ""
    """`detecting_code` that found the boxes; empty for another program's."""


@lru_cache(maxsize=1)
def detecting_code() -> str:
    """Hash of the code that decides which boxes a weight file gives."""
    digest = hashlib.sha256()
    for name in ("boxes", "onnx", "onnx_header", "ultralytics_yolo"):
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


def storable(found: Detections) -> Detections:
    """Round so that writing and reading gives the same boxes: to 1/64 px, scores to 6 decimals."""
    return Detections(
        box_xyxy=np.round(found.box_xyxy * _STEPS_A_PX) / np.float32(_STEPS_A_PX),
        score=np.round(found.score.astype(np.float64), _SCORE_DECIMALS).astype(np.float32),
        class_id=found.class_id,
    )


def write_detections(path: Path, stored: StoredDetections) -> None:
    """Write a COCO JSON file: ``images``, ``annotations`` with ``score``, ``categories``, ``info``.

    Category ids are class ids (from 0), image and annotation ids count from 1, and each image has
    its ``pixel_hash``.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for file_name, image in stored.images.items():
        height, width = image.size_hw
        size = {"width": width, "height": height}
        images.append(
            {"id": len(images) + 1, "file_name": file_name, **size, "pixel_hash": image.pixels}
        )
        areas = box_area_px(image.found.box_xyxy)
        for box, score, class_id, area in zip(
            image.found.box_xyxy.tolist(),
            image.found.score.tolist(),
            image.found.class_id.tolist(),
            areas.tolist(),
            strict=True,
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": class_id,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "score": round(score, _SCORE_DECIMALS),
                    "area": area,
                    "iscrowd": 0,
                }
            )
    document = {
        "info": {"detector": stored.name, "code": stored.code, **asdict(stored.identity)},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(stored.class_names)],
    }
    write_atomic(path, json.dumps(document))


def read_detections(path: Path) -> StoredDetections:
    """Read detections from COCO JSON, of `write_detections` or of another program.

    A file of another program needs no ``pixel_hash`` where its ``file_name``s lead from its folder
    to the images.

    Raises:
        InputError: The file is missing or damaged, or lacks a part (the message says which).
    """
    document = read_coco(path)
    class_names, class_of = categories(path, document)
    by_id = image_ids(path, document)
    boxes: dict[Any, list[tuple[tuple[float, ...], float, int]]] = {}
    images: dict[str, StoredImage] = {}
    try:
        for box in document["annotations"]:
            score = as_number(box["score"], "score")
            row = (box_xywh(box), score, class_of_box(path, box, class_of))
            boxes.setdefault(box["image_id"], []).append(row)
        for number, image in by_id.items():
            rows = boxes.get(number, [])
            xywh = np.array([row[0] for row in rows], np.float64).reshape(-1, 4)
            found = Detections(
                box_xyxy=np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]),
                score=np.array([row[1] for row in rows]),
                class_id=np.array([row[2] for row in rows]),
            )
            pixels = image.get("pixel_hash")
            if not pixels:
                pixels = pixel_hash(read_rgb(path.parent / image["file_name"]))
            height, width = (
                int(as_number(image.get(side, 0), f"an image's {side}"))
                for side in ("height", "width")
            )
            images[image["file_name"]] = StoredImage(
                pixels=as_text(pixels), size_hw=(height, width), found=found
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: detections need `file_name` for each image, and `image_id`, `category_id`, "
            f"`bbox` and `score` for each annotation; found {described(error)}."
        ) from error
    info = document.get("info")
    info = info if isinstance(info, dict) else {}
    try:
        identity = DetectorIdentity(
            weights_sha256=as_text(info["weights_sha256"]),
            input_size_px=int(as_number(info["input_size_px"], "input_size_px")),
            runtime=as_text(info["runtime"]),
            min_score=as_number(info["min_score"], "min_score"),
            nms_iou=as_number(info["nms_iou"], "nms_iou"),
        )
        name = as_text(info["detector"])
    except (KeyError, TypeError, ValueError):
        # Another program's file: the boxes themselves are all that identifies the detector.
        name = path.name
        identity = DetectorIdentity(
            weights_sha256=f"file:{sha256_of_file(path)}", input_size_px=0, runtime=STORED
        )
    return StoredDetections(
        name=name,
        identity=identity,
        class_names=class_names,
        images=images,
        code=str(info.get("code", "")),
    )


class DetectionStore:
    """The detections of a run, one COCO JSON file per method, found again by an image's pixels.

    The files lie in a folder named after the detector and a digest of its identity, so boxes of
    other weights, another input size or another runtime are never taken for its own. Boxes found by
    other code of ours, and files that a crash left damaged, are not taken either: those images are
    detected again.

    Args:
        folder: Where the folders of all detectors lie.
        name: `Detector.name`.
        identity: `Detector.identity`.
    """

    def __init__(self, folder: Path, name: str, identity: DetectorIdentity):
        settings = json.dumps(asdict(identity), sort_keys=True).encode()
        stem = "".join(c if c.isalnum() else "-" for c in Path(name).stem)
        self.folder = folder / f"{stem}-{hashlib.sha256(settings).hexdigest()[:12]}"
        self.class_names: tuple[str, ...] | None = None
        """Known without the detector where an earlier run stored boxes."""
        self._name, self._identity = name, identity
        self._found: dict[str, Detections] = {}
        self._places: dict[str, dict[str, tuple[str, SizeHw]]] = {}
        self._code = detecting_code()
        for path in sorted(self.folder.glob("*.json")):
            try:
                stored = read_detections(path)
            except InputError as error:
                log.warning("detecting again: %s", error)
                continue
            if stored.code != self._code:
                continue
            self.class_names = stored.class_names
            for key, image in stored.images.items():
                self._found[image.pixels] = image.found
                self.place(path.stem, key, image.pixels, image.size_hw)

    def __contains__(self, pixels: str) -> bool:
        """Whether boxes are known for the image with this `pixel_hash`."""
        return pixels in self._found

    def boxes_of(self, pixels: str) -> Detections:
        """The boxes of an image that was seen."""
        return self._found[pixels]

    def expected(self, key: str) -> frozenset[str]:
        """Pixel hashes with known boxes that the images of a key had when they were stored."""
        places = (images[key][0] for images in self._places.values() if key in images)
        return frozenset(pixels for pixels in places if pixels in self._found)

    def add(self, pixels: str, found: Detections) -> None:
        """Keep the boxes of an image until `save`, rounded as `save` will write them."""
        self._found[pixels] = storable(found)

    def place(self, method: str, key: str, pixels: str, size_hw: SizeHw) -> None:
        """Say that `key` of a method is the image with these pixels."""
        self._places.setdefault(method, {})[key] = (pixels, size_hw)

    def save(
        self,
        class_names: Sequence[str],
        methods: Iterable[str],
        keys: Collection[str] | None = None,
    ) -> None:
        """Write the files of `methods`; with `keys`, without the images that are gone."""
        for method in methods:
            images = {
                key: StoredImage(pixels=pixels, size_hw=size_hw, found=self._found[pixels])
                for key, (pixels, size_hw) in self._places.get(method, {}).items()
                if pixels in self._found and (keys is None or key in keys)
            }
            stored = StoredDetections(
                name=self._name,
                identity=self._identity,
                class_names=tuple(class_names),
                images=images,
                code=self._code,
            )
            write_detections(self.folder / f"{method}.json", stored)
