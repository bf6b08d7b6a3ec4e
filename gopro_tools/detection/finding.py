"""The boxes of every method on every image: found before, or found now and stored."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gopro_tools.detection.boxes import Detections, Detector
from gopro_tools.detection.packed import Computed, PackedDetections
from gopro_tools.detection.stored import DetectionStore, StoredImage, line_of, of_line
from gopro_tools.errors import InputError
from gopro_tools.executors import mapped
from gopro_tools.images import Rgb, pixel_hash
from gopro_tools.pairing import ImageSet, Pairing, raise_all, read_images
from gopro_tools.plugins import FOREIGN_FAULTS, described
from gopro_tools.threads import Progress


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
        """One row per image, as JSON can hold it; the boxes as text, which takes less memory."""
        return [
            {
                "size_hw": size_hw,
                "methods": {
                    method: [self.hashes[method][index], json.dumps(line_of(found[index]))]
                    for method, found in self.boxes.items()
                },
            }
            for index, size_hw in enumerate(self.sizes_hw.values())
        ]

    @classmethod
    def of_rows(
        cls, rows: Sequence[Mapping[str, Any]], keys: Sequence[str], class_names: tuple[str, ...]
    ) -> "Found":
        """Inverse of `rows`; ``keys`` are those of the images."""
        methods = tuple(rows[0]["methods"])
        return cls(
            class_names=class_names,
            sizes_hw={
                key: (row["size_hw"][0], row["size_hw"][1])
                for key, row in zip(keys, rows, strict=True)
            },
            boxes={
                method: PackedDetections(
                    of_line(json.loads(row["methods"][method][1])) for row in rows
                )
                for method in methods
            },
            hashes={method: [row["methods"][method][0] for row in rows] for method in methods},
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


_Waiting = tuple[str, Path, Rgb]
"""Key, file and pixels of an image to detect in."""
_Looks = Mapping[str, _Look] | InputError
"""One image set by method; an error is kept for the list of all."""
_Work = tuple[ImageSet, frozenset[str]]
"""An image set, and the hashes its images had when their boxes were stored."""


def store_boxes(found: Found, store: DetectionStore) -> None:
    """Store boxes that other processes found, as `find_boxes` stores its own."""
    for index, key in enumerate(found.sizes_hw):
        for method, boxes in found.boxes.items():
            store.add(key, found.hashes[method][index], boxes[index], found.class_names)
    store.close()
    _write_coco(found, store)


def _write_coco(found: Found, store: DetectionStore) -> None:
    """Write the boxes of every method for people and other programs."""
    images = list(found.sizes_hw.items())

    def image_at(method: str, index: int) -> tuple[str, StoredImage]:
        key, size_hw = images[index]
        boxes, pixels = found.boxes[method][index], found.hashes[method][index]
        return key, StoredImage(pixels=pixels, size_hw=size_hw, found=boxes)

    for method in found.boxes:
        store.write_coco(method, Computed(partial(image_at, method), range(len(images))))


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

    They are stored at once, so that an interrupted run resumes.

    Args:
        pairing: The images.
        detector: Not called at all where the folder has its boxes for every image.
        folder: Where `DetectionStore` keeps the boxes of all detectors.
        batch: Images passed to the detector at once.
        stored_names: Take the class names from the folder where it has them.
        jobs: Threads that read images; 0 takes one per core.
        on_progress: Called with the number of images done and in total, counted once per method.
        executor: Reads and detects in place of the threads and ``detector`` here; the images of one
            moment are passed at once, whatever ``batch`` says.
        open_detector: Gives an executor's worker its detector.

    Raises:
        InputError: Images that cannot be compared, all listed, after all others were detected; or
            the detector failed.
    """
    store = DetectionStore(folder, detector.name, detector.identity)
    methods = tuple(pairing.image_sets[0].paths)
    n_total, n_done = len(pairing.image_sets) * len(methods), 0
    pixels: dict[str, list[str]] = {method: [] for method in methods}
    sizes_hw: dict[str, tuple[int, int]] = {}
    same_size: dict[tuple[int, int], tuple[int, int]] = {}
    problems: list[str] = []
    waiting: dict[str, _Waiting] = {}
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
                pixels[method].append(look.digest)
                if look.found is not None:
                    store.add(images.key, look.digest, look.found, detector.class_names)
                elif look.digest not in store and look.image is not None:
                    waiting[look.digest] = images.key, images.paths[method], look.image
                size_hw = look.size_hw
            sizes_hw[images.key] = same_size.setdefault(size_hw, size_hw)
            while len(waiting) >= batch:
                _detect_some(waiting, detector, store, batch)
        while waiting:
            _detect_some(waiting, detector, store, batch)
    finally:
        looked_at.close()
        store.close()
    raise_all(problems)
    # Scoring again needs no detector: the stored boxes know the names of their classes.
    if store.class_names is None or not stored_names:
        store.class_names = detector.class_names
    found = Found(
        class_names=store.class_names,
        sizes_hw=sizes_hw,
        boxes={method: store.boxes_of(digests) for method, digests in pixels.items()},
        hashes=pixels,
    )
    _write_coco(found, store)
    return found


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
        look.digest: (images.key, images.paths[method], look.image)
        for method, look in looks.items()
        if look.digest not in known and look.image is not None
    }
    found = _detect(open_detector(), new) if new else {}
    return {
        method: _Look(look.digest, look.size_hw, None, found.get(look.digest))
        for method, look in looks.items()
    }


def _detect_some(
    waiting: dict[str, _Waiting], detector: Detector, store: DetectionStore, batch: int
) -> None:
    """Run the detector on the first images that wait, and take them off."""
    some = {digest: waiting.pop(digest) for digest in list(waiting)[:batch]}
    for digest, boxes in _detect(detector, some).items():
        store.add(some[digest][0], digest, boxes, detector.class_names)


def _detect(detector: Detector, images: Mapping[str, _Waiting]) -> dict[str, Detections]:
    """Boxes by pixel hash.

    Raises:
        InputError: The detector failed, or returned something other than boxes of its classes.
    """
    _, paths, pixels = zip(*images.values(), strict=True)
    named = f"The images: {', '.join(map(str, paths))}."
    try:
        found = detector.detect(pixels)
    except InputError as error:
        raise InputError(f"{error} {named}") from error
    except FOREIGN_FAULTS as error:
        raise InputError(
            f"{detector.name}: detect() failed: {described(error)}. {named}"
        ) from error
    if not isinstance(found, Sequence) or not all(isinstance(one, Detections) for one in found):
        raise InputError(
            f"{detector.name}: detect() returned a {type(found).__name__}; a list with Detections "
            f"for each image was expected. {named}"
        )
    n_classes = len(detector.class_names)
    if len(found) != len(images) or any((boxes.class_id >= n_classes).any() for boxes in found):
        raise InputError(
            f"{detector.name}: {len(images)} results with class ids below {n_classes} were "
            f"expected, one per image; it gave {len(found)}, or other classes. {named}"
        )
    return dict(zip(images, found, strict=True))
