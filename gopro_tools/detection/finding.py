"""The boxes of every method on every image: found before, or found now and stored."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gopro_tools.detection.boxes import Detections, Detector
from gopro_tools.detection.stored import DetectionStore
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, pixel_hash
from gopro_tools.pairing import ImageSet, Pairing, raise_all, read_images
from gopro_tools.threads import Progress, n_cores, prefetched

_SECONDS_BETWEEN_SAVES = 30.0
_N_READ_AHEAD = 8


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


def find_boxes(
    pairing: Pairing,
    detector: Detector,
    folder: Path,
    *,
    batch: int = 8,
    stored_names: bool = True,
    jobs: int = 0,
    on_progress: Progress | None = None,
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
        reading = prefetched(
            _read_and_hash, pairing.image_sets, n_threads=jobs or n_cores(), n_ahead=_N_READ_AHEAD
        )
        for images, read in zip(pairing.image_sets, reading, strict=True):
            n_done += len(methods)
            if on_progress:
                on_progress(n_done, n_total)
            if isinstance(read, InputError):
                problems.append(str(read))
                continue
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
        hashes={method: list(digests.values()) for method, digests in pixels.items()},
    )


def _read_and_hash(images: ImageSet) -> dict[str, tuple[Rgb, str]] | InputError:
    """Image and pixel hash by method; an error is kept for the list of all."""
    try:
        read = read_images(images)
    except InputError as error:
        return error
    return {method: (image, pixel_hash(image)) for method, image in read.items()}


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
            f"expected, one per image; it gave {len(found)}, or other classes. {named}"
        )
    for digest, boxes in zip(digests, found, strict=True):
        store.add(digest, boxes)
