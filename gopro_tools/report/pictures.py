"""The images of a page: copied, compressed or embedded, each under a name made by us.

Other people's file names never become file names or URLs here.
"""

import base64
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.images import encode_jpeg, encode_png, read_rgb
from gopro_tools.report.config import IMAGE_FOLDER, Quality
from gopro_tools.report.content import Collection
from gopro_tools.sources import BLURRED, SHARP
from gopro_tools.threads import Progress, thread_pool

OUR_NAMES = re.compile(r"\d+-\d{6,}-(\d+|small)\.[a-z]+")
"""What files in it are called: collection, image, method."""
_THUMB_WIDTH_PX = 320
_MEDIA_TYPES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".bmp": "bmp"}
"""What browsers show; other files are written as PNG."""
_JPEG_QUALITY = 92


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """URLs of the images of one collection, as the page uses them."""

    urls: dict[str, list[str | None]]
    """Method to one URL per image; None where there is no picture."""
    thumbs: list[str | None]
    """A small picture of each image."""
    problems: list[str] = field(default_factory=list)
    """Images that could not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One picture to make, and where its URL goes."""

    path: Path
    stem: str
    small: bool
    target: list[str | None]
    index: int
    problems: list[str]


def write_pictures(
    collections: Sequence[Collection],
    folder: Path | None,
    *,
    quality: Quality,
    max_images: int | None,
    on_progress: Progress,
) -> list[Pictures]:
    """Bring the images of every collection onto the page.

    Args:
        collections: What to show.
        folder: The page's folder, which gets ``images/``; None embeds the images as data URLs.
        quality: ``lossless`` copies files byte by byte; ``compressed`` writes JPEG.
        max_images: Images per collection, spread over the range of gains; None takes all.
        on_progress: Called with the number of pictures made and in total.
    """
    made: list[Pictures] = []
    jobs: list[_Job] = []
    for number, collection in enumerate(collections):
        n_images = len(collection.keys)
        pictures = Pictures(
            urls={method: [None] * n_images for method in collection.paths},
            thumbs=[None] * n_images,
        )
        made.append(pictures)
        shown_small = BLURRED if BLURRED in collection.paths else SHARP
        for index in chosen_images(collection, max_images):
            for place, (method, paths) in enumerate(collection.paths.items()):
                path = paths[index]
                targets = [(pictures.urls[method], False)]
                if method == shown_small:
                    targets.append((pictures.thumbs, True))
                jobs += [
                    _Job(
                        path=path,
                        stem=f"{number}-{index:06d}-{'small' if small else place}",
                        small=small,
                        target=target,
                        index=index,
                        problems=pictures.problems,
                    )
                    for target, small in targets
                    if path is not None
                ]
    with thread_pool() as pool:
        for done, _ in enumerate(pool.map(lambda job: _make(job, folder, quality), jobs), start=1):
            on_progress(done, len(jobs))
    return made


def chosen_images(collection: Collection, most: int | None) -> list[int]:
    """Which images to show: all, or ``most`` of them evenly over the order of mean gain.

    Without scores they are spread evenly over the collection.
    """
    n_images = len(collection.keys)
    order = list(range(n_images))
    if most is None or n_images <= most:
        return order
    for methods in collection.scores.values():
        before = methods.get(BLURRED)
        restored = [values for name, values in methods.items() if name not in (BLURRED, SHARP)]
        if before and restored:
            table = np.array([before, *restored], dtype=np.float64)  # None becomes NaN
            with np.errstate(invalid="ignore"):
                gain = np.nan_to_num(table[1:] - table[0]).mean(axis=0)
            order = np.argsort(gain, kind="stable").tolist()
            break
    places = np.linspace(0, n_images - 1, most).round().astype(int)
    return sorted(order[place] for place in places)


def _make(job: _Job, folder: Path | None, quality: Quality) -> None:
    try:
        job.target[job.index] = _address(job, folder, quality)
    except (InputError, OSError) as error:
        if str(error) not in job.problems:
            job.problems.append(str(error))


def _address(job: _Job, folder: Path | None, quality: Quality) -> str:
    """Write or embed one picture; returns the URL under which the page loads it."""
    suffix = job.path.suffix.lower()
    copied = quality == "lossless" and not job.small and suffix in _MEDIA_TYPES
    if copied and folder is not None:
        name = f"{IMAGE_FOLDER}/{job.stem}{suffix}"
        (folder / IMAGE_FOLDER).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(job.path, folder / name)
        return name
    if copied:
        data = job.path.read_bytes()
    else:
        suffix, data = _encoded(job, quality)
    if folder is None:
        return f"data:image/{_MEDIA_TYPES[suffix]};base64,{base64.b64encode(data).decode()}"
    name = f"{IMAGE_FOLDER}/{job.stem}{suffix}"
    write_atomic(folder / name, data)
    return name


def _encoded(job: _Job, quality: Quality) -> tuple[str, bytes]:
    image = read_rgb(job.path)
    if quality == "lossless" and not job.small:
        return ".png", encode_png(image)
    jpeg_quality = _JPEG_QUALITY
    if job.small:
        height, width = image.shape[:2]
        thumb_px = min(width, _THUMB_WIDTH_PX)
        size = (thumb_px, max(1, round(thumb_px * height / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        jpeg_quality = 80
    return ".jpg", encode_jpeg(image, jpeg_quality)
