"""Restoring many images, from files to files."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.restore.tiles import Restorer
from gopro_tools.dataset import BLUR_FOLDERS, BlurKind, Split, iterate_pairs, sequences_of
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key, write_atomic
from gopro_tools.images import IMAGE_SUFFIXES, Rgb, encode_png, read_rgb
from gopro_tools.threads import prefetched


@dataclass(frozen=True, kw_only=True)
class RestoreSummary:
    """What `restore_all` did."""

    n_restored: int
    """Images restored now."""
    n_kept: int
    """Images that were there already and kept."""
    failures: Sequence[str]
    """A message for each image that could not be restored."""
    seconds: float
    """Wall-clock time."""


def find_images(
    source: Path, split: Split = "test", blur_kind: BlurKind = "gamma"
) -> list[tuple[Path, Path]]:
    """What to restore, and the path of each result inside the output folder.

    Args:
        source: An image; a folder of images, searched to any depth; or a dataset in the GOPRO
            layout, whose results are ``<sequence>/<name>``.
        split: Of a dataset.
        blur_kind: Of a dataset.

    Raises:
        InputError: There is nothing.
    """
    if source.is_file():
        return [(source, Path(source.name))]
    if sequences_of(source, "test") or sequences_of(source, "train"):
        return [
            (pair.path(BLUR_FOLDERS[blur_kind]), Path(pair.sequence, pair.name))
            for pair in iterate_pairs(source, split, blur_kind)
        ]
    found = [p for p in source.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    if not found:
        raise InputError(
            f"{source}: no images there; an image, a folder of images "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}) or a dataset in the GOPRO layout was expected."
        )
    found.sort(key=lambda path: natural_key(path.as_posix()))
    return [(path, path.relative_to(source)) for path in found]


def restore_all(
    restorer: Restorer,
    images: Sequence[tuple[Path, Path]],
    out: Path,
    *,
    keep_done: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> RestoreSummary:
    """Restore many images; one that cannot be restored is named and the others go on.

    Args:
        restorer: What restores.
        images: Input paths and result paths inside ``out``, as `find_images` gives them.
        out: Where results go, each written whole or not at all, in the format its suffix says.
        keep_done: Leave results alone that are there.
        on_progress: Called with (images done, all).
    """
    begin = time.perf_counter()
    waiting = [pair for pair in images if not (keep_done and (out / pair[1]).is_file())]
    n_kept = len(images) - len(waiting)
    failures: list[str] = []
    writes: list[Future[None]] = []

    def read(index: int) -> Rgb | InputError:
        try:
            return read_rgb(waiting[index][0])
        except InputError as error:
            return error

    with ThreadPoolExecutor(2) as writers:
        blurred_images = prefetched(read, range(len(waiting)), n_threads=2)
        for done, (blurred, (path, relative)) in enumerate(
            zip(blurred_images, waiting, strict=True), start=n_kept + 1
        ):
            try:
                if isinstance(blurred, InputError):
                    raise blurred
                restored = restorer.restore(blurred)
                if restored.shape != blurred.shape or restored.dtype != np.uint8:
                    raise InputError(
                        f"{path}: restored to {restored.shape} {restored.dtype}; "
                        f"{blurred.shape} uint8 was expected."
                    )
                if len(writes) >= 8:  # no more results in memory than that
                    writes.pop(0).result()
                writes.append(writers.submit(_write, out / relative, restored))
            except InputError as error:
                failures.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            on_progress(done, len(images))
        for write in writes:
            write.result()
    return RestoreSummary(
        n_restored=len(waiting) - len(failures),
        n_kept=n_kept,
        failures=failures,
        seconds=time.perf_counter() - begin,
    )


def _write(path: Path, image: Rgb) -> None:
    if path.suffix.lower() == ".png":
        write_atomic(path, encode_png(image))
        return
    lossless = {".webp": [cv2.IMWRITE_WEBP_QUALITY, 101]}
    nearly = [
        cv2.IMWRITE_JPEG_QUALITY, 100,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]  # fmt: skip
    suffix = path.suffix.lower()
    options = nearly if suffix in (".jpg", ".jpeg") else lossless.get(suffix, [])
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    write_atomic(path, cv2.imencode(suffix, bgr, options)[1].tobytes())
