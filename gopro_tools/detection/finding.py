"""The boxes of every method on every image: found before, or found now and stored."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gopro_tools.detection.boxes import Detections, Detector
from gopro_tools.detection.stored import DetectionStore
from gopro_tools.errors import InputError
from gopro_tools.executors import mapped
from gopro_tools.images import Rgb, pixel_hash
from gopro_tools.pairing import ImageSet, Pairing, raise_all, read_images
from gopro_tools.threads import Progress

_SECONDS_BETWEEN_SAVES = 30.0


@dataclass(frozen=True, kw_only=True)
class Found:
    """The boxes of every method on every image, at every confidence."""

    class_names: tuple[str, ...]
    sizes_hw: Mapping[str, tuple[int, int]]
    """Image size by key, in the order of the images."""
    boxes: Mapping[str, Sequence[Detections]]
    """By method, one per image, in the same order."""
    hashes: Mapping[str, Sequence[str]]
    """Pixel hash of each image by method, in the same order."""

    def rows(self) -> list[dict[str, Any]]:
        """One row per image, as JSON can hold it."""
        return [
            {
                "size_hw": size_hw,
                "methods": {
                    method: {
                        "pixels": self.hashes[method][index],
                        "box_xyxy": found[index].box_xyxy.tolist(),
                        "score": found[index].score.tolist(),
                        "class_id": found[index].class_id.tolist(),
                    }
                    for method, found in self.boxes.items()
                },
            }
            for index, size_hw in enumerate(self.sizes_hw.values())
        ]

    @classmethod
    def of_rows(
        cls, rows: Sequence[Mapping[str, Any]], keys: Sequence[str], class_names: tuple[str, ...]
    ) -> "Found":
        """What `rows` were made of; ``keys`` are those of the images."""
        methods = tuple(rows[0]["methods"])
        return cls(
            class_names=class_names,
            sizes_hw={
                key: (row["size_hw"][0], row["size_hw"][1])
                for key, row in zip(keys, rows, strict=True)
            },
            boxes={
                method: [
                    Detections(
                        box_xyxy=np.array(found["box_xyxy"], np.float32).reshape(-1, 4),
                        score=np.array(found["score"], np.float32),
                        class_id=np.array(found["class_id"], np.int64),
                    )
                    for found in (row["methods"][method] for row in rows)
                ]
                for method in methods
            },
            hashes={
                method: [row["methods"][method]["pixels"] for row in rows] for method in methods
            },
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """One image after it was read."""

    digest: str
    """Its `pixel_hash`."""
    size_hw: tuple[int, int]
    image: Rgb | None
    """None where it was detected already, or need not be."""
    found: Detections | None = None


_Looks = Mapping[str, _Look] | InputError
"""One image set by method; an error is kept for the list of all."""
_Work = tuple[ImageSet, frozenset[str]]
"""An image set, and the hashes its images had when their boxes were stored."""


def store_boxes(found: Found, store: DetectionStore) -> None:
    """Store boxes that other processes found, as `find_boxes` stores its own."""
    for method, boxes in found.boxes.items():
        images = zip(found.sizes_hw.items(), found.hashes[method], boxes, strict=True)
        for (key, size_hw), pixels, one in images:
            store.place(method, key, pixels, size_hw)
            store.add(pixels, one)
    store.save(found.class_names, tuple(found.boxes), set(found.sizes_hw))


def find_boxes(
    pairing: Pairing,
    detector: Detector,
    folder: Path,
    *,
    batch: int = 8,
    stored_names: bool = True,
    jobs: int = 0,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
    open_detector: Callable[[], Detector] | None = None,
) -> Found:
    """Detect in every image that a folder has no boxes of yet, and store them there.

    They are stored every half minute and at the end, however it comes.

    Args:
        pairing: The images.
        detector: Not asked at all where the folder has its boxes for every image.
        folder: Where `DetectionStore` keeps the boxes of all detectors.
        batch: Images the detector is given at once.
        stored_names: Take the names of classes from the folder where it has them.
        jobs: Threads that read images; 0 takes one per core.
        on_progress: Called with the images done and all, those of each method counted.
        executor: Reads and detects instead of threads and ``detector`` here; the images of one
            moment are given at once, whatever ``batch`` says.
        open_detector: Gives an executor's worker its detector.

    Raises:
        InputError: Images that cannot be compared, all listed, after all others were detected; or
            the detector failed.
    """
    store = DetectionStore(folder, detector.name, detector.identity)
    methods = tuple(pairing.image_sets[0].paths)
    n_total, n_done = len(pairing.image_sets) * len(methods), 0
    pixels: dict[str, dict[str, str]] = {method: {} for method in methods}
    sizes_hw: dict[str, tuple[int, int]] = {}
    problems: list[str] = []
    waiting: dict[str, tuple[Path, Rgb]] = {}
    detected = False
    saved_at = time.monotonic()
    image_sets = pairing.image_sets
    function: Callable[[_Work], _Looks] = _look
    if executor is not None:
        assert open_detector is not None
        image_sets = tuple(images.absolute() for images in image_sets)
        function = partial(_look_and_detect, open_detector)
    work = [(images, store.expected(images.key)) for images in image_sets]
    looked_at = mapped(function, work, jobs=jobs, executor=executor)
    try:
        for images, looks in zip(image_sets, looked_at, strict=True):
            n_done += len(methods)
            if on_progress:
                on_progress(n_done, n_total)
            if isinstance(looks, InputError):
                problems.append(str(looks))
                continue
            for method, look in looks.items():
                sizes_hw[images.key] = look.size_hw
                pixels[method][images.key] = look.digest
                store.place(method, images.key, look.digest, look.size_hw)
                if look.found is not None:
                    store.add(look.digest, look.found)
                    detected = True
                elif look.digest not in store and look.image is not None:
                    waiting[look.digest] = (images.paths[method], look.image)
            while len(waiting) >= batch:
                _detect_some(waiting, detector, store, batch)
                detected = True
            if detected and time.monotonic() - saved_at > _SECONDS_BETWEEN_SAVES:
                store.save(detector.class_names, methods)
                saved_at = time.monotonic()
        while waiting:
            _detect_some(waiting, detector, store, batch)
            detected = True
    finally:
        looked_at.close()
        if detected:
            store.save(detector.class_names, methods)
    raise_all(problems)
    # Scoring again needs no detector: the stored boxes know the names of their classes.
    class_names = store.class_names
    if detected or class_names is None or not stored_names:
        class_names = detector.class_names
    store.save(class_names, methods, set(sizes_hw))
    return Found(
        class_names=class_names,
        sizes_hw=sizes_hw,
        boxes={
            method: [store.boxes_of(digest) for digest in digests.values()]
            for method, digests in pixels.items()
        },
        hashes={method: list(digests.values()) for method, digests in pixels.items()},
    )


def _look(work: _Work) -> _Looks:
    """Read the images of one moment."""
    images, _ = work
    try:
        read = read_images(images)
    except InputError as error:
        return error
    return {
        method: _Look(pixel_hash(image), (image.shape[0], image.shape[1]), image)
        for method, image in read.items()
    }


def _look_and_detect(open_detector: Callable[[], Detector], work: _Work) -> _Looks:
    """The same, and detect in those that are not known: what a worker elsewhere does."""
    images, known = work
    looks = _look(work)
    if isinstance(looks, InputError):
        return looks
    new = {
        look.digest: (images.paths[method], look.image)
        for method, look in looks.items()
        if look.digest not in known and look.image is not None
    }
    found = _detect(open_detector(), new) if new else {}
    return {
        method: _Look(look.digest, look.size_hw, None, found.get(look.digest))
        for method, look in looks.items()
    }


def _detect_some(
    waiting: dict[str, tuple[Path, Rgb]], detector: Detector, store: DetectionStore, batch: int
) -> None:
    """Run the detector on the first images that wait, and take them off."""
    digests = list(waiting)[:batch]
    found = _detect(detector, {digest: waiting.pop(digest) for digest in digests})
    for digest, boxes in found.items():
        store.add(digest, boxes)


def _detect(detector: Detector, images: Mapping[str, tuple[Path, Rgb]]) -> dict[str, Detections]:
    """Boxes by pixel hash.

    Raises:
        InputError: The detector failed, or gave something else than boxes of its classes.
    """
    paths, pixels = zip(*images.values(), strict=True)
    named = f"The images: {', '.join(map(str, paths))}."
    try:
        found = detector.detect(pixels)
    except InputError as error:
        raise InputError(f"{error} {named}") from error
    n_classes = len(detector.class_names)
    if len(found) != len(images) or any((boxes.class_id >= n_classes).any() for boxes in found):
        raise InputError(
            f"{detector.name}: {len(images)} answers with class ids below {n_classes} were "
            f"expected, one per image; it gave {len(found)}, or other classes. {named}"
        )
    return dict(zip(images, found, strict=True))
