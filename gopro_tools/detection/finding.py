"""The boxes of every method on every image: found before, or found now and stored."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from gopro_tools.detection.boxes import Detections, Detector
from gopro_tools.detection.stored import DetectionStore
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, pixel_hash
from gopro_tools.pairing import ImageSet, Pairing, raise_all, read_images
from gopro_tools.threads import thread_pool

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many images are done, of how many."""

_SECONDS_BETWEEN_SAVES = 30.0
_N_READ_AHEAD = 8


@dataclass(frozen=True, kw_only=True)
class Found:
    """The boxes of every method on every image, at every confidence."""

    class_names: tuple[str, ...]
    sizes_hw: Mapping[str, tuple[int, int]]
    """Image size by key, in the order of the images."""
    boxes: Mapping[str, Sequence[Detections]]
    """By method, one an image, in the same order."""


def find_boxes(
    pairing: Pairing,
    detector: Detector,
    folder: Path,
    *,
    batch: int = 8,
    stored_names: bool = True,
    progress: Progress | None = None,
) -> Found:
    """Detect in every image that a folder has no boxes of yet, and store them there.

    They are stored every half minute and at the end, however it comes.

    Args:
        pairing: The images.
        detector: Not asked at all where the folder has its boxes for every image.
        folder: Where `DetectionStore` keeps the boxes of all detectors.
        batch: Images the detector is given at once.
        stored_names: Take the names of classes from the folder where it has them.
        progress: Told how far the work is.

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
    try:
        with thread_pool() as pool:
            for images, reading in _read_ahead(pool, pairing.image_sets):
                try:
                    read = reading.result()
                except InputError as error:
                    problems.append(str(error))
                    continue
                finally:
                    n_done += len(methods)
                    if progress:
                        progress(n_done, n_total)
                for method, (image, digest) in read.items():
                    sizes_hw[images.key] = (image.shape[0], image.shape[1])
                    pixels[method][images.key] = digest
                    store.place(method, images.key, digest, sizes_hw[images.key])
                    if digest not in store:
                        waiting[digest] = (images.paths[method], image)
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
    )


def _read_ahead(
    pool: Executor, image_sets: Sequence[ImageSet]
) -> Iterator[tuple[ImageSet, "Future[dict[str, tuple[Rgb, str]]]"]]:
    """Read while the detector works, but never more than a few image sets ahead."""
    ahead: deque[tuple[ImageSet, Future[dict[str, tuple[Rgb, str]]]]] = deque()
    for images in image_sets:
        ahead.append((images, pool.submit(_read_and_hash, images)))
        if len(ahead) > _N_READ_AHEAD:
            yield ahead.popleft()
    yield from ahead


def _read_and_hash(images: ImageSet) -> dict[str, tuple[Rgb, str]]:
    return {method: (image, pixel_hash(image)) for method, image in read_images(images).items()}


def _detect_some(
    waiting: dict[str, tuple[Path, Rgb]], detector: Detector, store: DetectionStore, batch: int
) -> None:
    """Run the detector on the first images that wait, and take them off."""
    digests = list(waiting)[:batch]
    paths, images = zip(*(waiting.pop(digest) for digest in digests), strict=True)
    named = f"The images: {', '.join(map(str, paths))}."
    try:
        found = detector.detect(images)
    except InputError as error:
        raise InputError(f"{error} {named}") from error
    n_classes = len(detector.class_names)
    if len(found) != len(images) or any((boxes.class_id >= n_classes).any() for boxes in found):
        raise InputError(
            f"{detector.name}: {len(images)} answers with class ids below {n_classes} were "
            f"expected, one an image; it gave {len(found)}, or other classes. {named}"
        )
    for digest, boxes in zip(digests, found, strict=True):
        store.add(digest, boxes)
