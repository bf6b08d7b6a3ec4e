"""Detections on disk: as COCO JSON, and as a line per image while they are found."""

import hashlib
import itertools
import json
import logging
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

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
from gopro_tools.detection.packed import Computed, PackedDetections
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file, written_atomic
from gopro_tools.images import pixel_hash, read_rgb

SizeHw: TypeAlias = tuple[int, int]

STORED = "stored boxes"
"""`DetectorIdentity.runtime` of another program's file."""

FOUND_FILE = "found.jsonl"
"""A line per image; see `DetectionStore`."""

_STEPS_A_PX = 64  # binary fractions of a pixel, so that x, y, width, height give the edges exactly
_SCORE_DECIMALS = 6

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredImage:
    """The boxes of one image of a file."""

    pixels: str
    """`pixel_hash` of the image: an image is identified by its pixels, not its name."""
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
    """Round so that reading gives back what was written: boxes to 1/64 px, scores to 6 decimals."""
    return Detections(
        box_xyxy=np.round(found.box_xyxy * _STEPS_A_PX) / np.float32(_STEPS_A_PX),
        score=np.round(found.score.astype(np.float64), _SCORE_DECIMALS).astype(np.float32),
        class_id=found.class_id,
    )


def write_detections(path: Path, stored: StoredDetections) -> None:
    """Write detections as `write_coco` does."""
    write_coco(
        path,
        list(stored.images.items()),
        name=stored.name,
        identity=stored.identity,
        class_names=stored.class_names,
        code=stored.code,
    )


def write_coco(
    path: Path,
    images: Sequence[tuple[str, StoredImage]],
    *,
    name: str,
    identity: DetectorIdentity,
    class_names: Sequence[str],
    code: str,
) -> None:
    """Write a COCO JSON file: ``images``, ``annotations`` with ``score``, ``categories``, ``info``.

    Category ids are class ids (from 0), image and annotation ids count from 1, and each image has
    its ``pixel_hash``. Only one image is in memory at a time where ``images`` computes them.

    Args:
        path: Where it goes.
        images: Each with its file name; iterated over twice.
        name: Of the detector.
        identity: Of the detector.
        class_names: Of the detector.
        code: `detecting_code` that found the boxes.
    """
    info = {"detector": name, "code": code, **asdict(identity)}
    names = [{"id": i, "name": name} for i, name in enumerate(class_names)]
    with written_atomic(path) as file:
        file.write(f'{{"info": {json.dumps(info)}, "images": ['.encode())
        _write_items(file, _coco_images(images))
        file.write(b'], "annotations": [')
        _write_items(file, _coco_annotations(images))
        file.write(f'], "categories": {json.dumps(names)}}}'.encode())


def _write_items(file: BinaryIO, items: Iterable[dict[str, Any]]) -> None:
    for number, item in enumerate(items):
        file.write(((", " if number else "") + json.dumps(item)).encode())


def _coco_images(images: Sequence[tuple[str, StoredImage]]) -> Iterator[dict[str, Any]]:
    for number, (file_name, image) in enumerate(images, start=1):
        height, width = image.size_hw
        size = {"width": width, "height": height}
        yield {"id": number, "file_name": file_name, **size, "pixel_hash": image.pixels}


def _coco_annotations(images: Sequence[tuple[str, StoredImage]]) -> Iterator[dict[str, Any]]:
    ids = itertools.count(1)
    for number, (_, image) in enumerate(images, start=1):
        for box, score, class_id, area in zip(
            image.found.box_xyxy.tolist(),
            image.found.score.tolist(),
            image.found.class_id.tolist(),
            box_area_px(image.found.box_xyxy).tolist(),
            strict=True,
        ):
            yield {
                "id": next(ids),
                "image_id": number,
                "category_id": class_id,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "score": round(score, _SCORE_DECIMALS),
                "area": area,
                "iscrowd": 0,
            }


def read_detections(path: Path) -> StoredDetections:
    """Read detections from COCO JSON, of `write_detections` or of another program.

    Another program's file needs no ``pixel_hash`` if its ``file_name`` entries lead from its folder
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


def line_of(found: Detections) -> list[list[float]]:
    """Boxes as `of_line` reads them: left, top, right, bottom, score and class of each."""
    found = storable(found)
    scores = (round(score, _SCORE_DECIMALS) for score in found.score.tolist())
    rows = zip(found.box_xyxy.tolist(), scores, found.class_id.tolist(), strict=True)
    return [[*box, score, class_id] for box, score, class_id in rows]


def of_line(rows: Any) -> Detections:
    """Inverse of `line_of`; `ValueError` or `TypeError` where the rows are not boxes."""
    numbers = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(
        box_xyxy=numbers[:, :4], score=numbers[:, 4], class_id=numbers[:, 5].astype(np.int64)
    )


class DetectionStore:
    """What a detector found, by the pixels of the images; kept in a file with a line per image.

    The file lies in a folder named after the detector and a digest of its identity, so boxes of
    other weights, another input size or another runtime are never mistaken for its own. Boxes found
    by another version of our code are not used either, nor is anything after a damaged line, such
    as one cut short by a crash: those images are detected again.

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
        self._name, self._identity, self._code = name, identity, detecting_code()
        self._found = PackedDetections()
        self._at: dict[str, int] = {}
        self._digests_of: dict[str, str] = {}
        self._file: BinaryIO | None = None
        self._n_bytes = self._read()

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FOUND_FILE

    def __contains__(self, pixels: str) -> bool:
        """Whether boxes are known for the image with this `pixel_hash`."""
        return pixels in self._at

    def boxes_of(self, pixels: Sequence[str]) -> Sequence[Detections]:
        """The boxes of images already seen, each rebuilt when it is asked for."""
        return Computed(self._found.__getitem__, array("q", map(self._at.__getitem__, pixels)))

    def expected(self, key: str) -> frozenset[str]:
        """Pixel hashes with known boxes that the images of a key had when they were stored."""
        return frozenset(self._digests_of.get(key, "").split())

    def add(self, key: str, pixels: str, found: Detections, class_names: Sequence[str]) -> None:
        """Store the boxes of an image, rounded as they will be read.

        Args:
            key: Name that the images of its moment share.
            pixels: Its `pixel_hash`.
            found: Its boxes.
            class_names: Of the detector.
        """
        if pixels in self._at:
            return
        rows = line_of(found)
        line = {"image": key, "pixel_hash": pixels, "boxes": rows}
        file = self._opened(class_names)
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        self._keep(key, pixels, of_line(rows))

    def write_coco(self, method: str, images: Sequence[tuple[str, StoredImage]]) -> None:
        """Write the boxes of a method as COCO JSON, for people and other programs."""
        write_coco(
            self.folder / f"{method}.json",
            images,
            name=self._name,
            identity=self._identity,
            class_names=self.class_names or (),
            code=self._code,
        )

    def close(self) -> None:
        """Close the file; what was added is in it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _keep(self, key: str, pixels: str, found: Detections) -> None:
        self._at[pixels] = len(self._found)
        self._found.append(found)
        known = self._digests_of.get(key)
        self._digests_of[key] = f"{known} {pixels}" if known else pixels

    def _read(self) -> int:
        """Read what is stored; how many bytes of the file are to be kept."""
        if not self.path.exists():
            if any(self.folder.glob("*.json")):
                log.info("%s: stored by an earlier version; detecting again.", self.folder)
            return 0
        n_bytes = 0
        try:
            with self.path.open("rb") as file:
                head = json.loads(file.readline())
                if head["code"] != self._code:
                    log.info("%s: found by another version; detecting again.", self.path)
                    return 0
                class_names = tuple(as_text(name) for name in head["class_names"])
                self.class_names, n_bytes = class_names, file.tell()
                for data in file:
                    line = json.loads(data)
                    if not data.endswith(b"\n"):
                        raise ValueError("cut short")
                    found = of_line(line["boxes"])
                    if (found.class_id >= len(class_names)).any():
                        raise ValueError("a class that has no name")
                    self._keep(as_text(line["image"]), as_text(line["pixel_hash"]), found)
                    n_bytes += len(data)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("%s: damaged (%s); detecting the rest again.", self.path, error)
        return n_bytes

    def _opened(self, class_names: Sequence[str]) -> BinaryIO:
        """The file, ready to be appended to."""
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
            self._file.truncate(self._n_bytes)
            if self._n_bytes == 0:
                head = {"code": self._code, "class_names": list(class_names)}
                self._file.write(json.dumps(head).encode() + b"\n")
            self.class_names = tuple(class_names)
        return self._file
