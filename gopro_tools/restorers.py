"""Restoring many images with any method: what a restorer must offer, files in and files out."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from gopro_tools.dataset import BLUR_FOLDERS, SPLITS, BlurKind, Split, iterate_pairs
from gopro_tools.errors import InputError
from gopro_tools.executors import kept, mapped
from gopro_tools.files import LOCK_FILE, natural_key, read_json, write_atomic
from gopro_tools.images import IMAGE_SUFFIXES, Rgb, encode_png, read_rgb
from gopro_tools.images import find_images as images_in
from gopro_tools.layouts import GOPRO, find_dataset, list_pairs
from gopro_tools.plugins import FOREIGN_FAULTS, PluginKind, described
from gopro_tools.threads import Progress, no_progress, prefetched

RECORD_FILE = "restored.json"
"""Beside the results: a record of what made them."""

_MOST_WAITING_WRITES = 8  # bounds the memory for results not yet on disk


class Restorer(Protocol):
    """A deblurring method; name one of your own as ``package.module:factory``."""

    def restore(self, blurred: Rgb) -> Rgb:
        """Restore one image.

        Args:
            blurred: (H, W, 3) uint8 RGB of any size.

        Returns:
            (H, W, 3) uint8 RGB of the same size.
        """
        ...


RESTORERS = PluginKind(
    what="restorer",
    option="--method",
    signature="factory(weights: Path | None, device: str) -> object with restore(blurred)",
    needs=("restore",),
    example="""\
import cv2

class Unsharp:
    def __init__(self, sigma): self.sigma = sigma
    def restore(self, blurred):  # (H, W, 3) uint8 RGB, returns the same
        soft = cv2.GaussianBlur(blurred, (0, 0), self.sigma)
        return cv2.addWeighted(blurred, 1.5, soft, -0.5, 0)

def make(weights, device, sigma=2.0):
    return Unsharp(sigma)""",
)


@dataclass(frozen=True, kw_only=True)
class RestoreSummary:
    """Result of `restore_images`."""

    n_restored: int
    """Images restored now."""
    n_kept: int
    """Complete results that were already there and kept."""
    failures: Sequence[str]
    """One message per image that could not be restored."""
    seconds: float
    """Wall-clock time."""


def find_images(
    source: Path, split: Split = "test", blur_kind: BlurKind = "gamma"
) -> list[tuple[Path, Path]]:
    """What to restore, and the path of each result inside the output folder.

    Args:
        source: An image; a folder of images, searched to any depth, links followed; or a dataset
            of a layout in `gopro_tools.layouts`, whose results are ``<sequence>/<name>``.
        split: Of a dataset.
        blur_kind: Of a dataset.

    Raises:
        InputError: There is nothing to restore.
    """
    if source.is_file():
        return [(source, Path(source.name))]
    if is_dataset(source):
        return [
            (pair.path(BLUR_FOLDERS[blur_kind]), Path(pair.sequence, pair.name))
            for pair in iterate_pairs(source, split, blur_kind)
        ]
    place = find_dataset(source, split)
    kind = blur_kind if place and place.has_both_kinds else None
    found = list_pairs(place, kind).blurred if place else images_in(source)
    if not found:
        raise InputError(
            f"{source}: no images there; an image, a folder of images "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}) or a dataset of a known layout was expected."
        )
    ordered = sorted(found, key=lambda inside: natural_key(str(inside)))
    return [(found[inside], Path(inside)) for inside in ordered]


def is_dataset(source: Path) -> bool:
    """Whether a folder has a split of the GOPRO layout."""
    places = [find_dataset(source, split) for split in SPLITS] if source.is_dir() else []
    return any(
        place is not None and place.layout == GOPRO and place.folder in (source / s for s in SPLITS)
        for place in places
    )


def restore_images(
    restorer: Restorer,
    images: Sequence[tuple[Path, Path]],
    out: Path,
    *,
    method: str,
    keep_done: bool = False,
    on_progress: Progress = no_progress,
) -> RestoreSummary:
    """Restore many images; an image that fails is named, and the others are still restored.

    Args:
        restorer: What restores.
        images: Input paths and result paths inside ``out``, as `find_images` gives them.
        out: Where results go, each written whole or not at all, in the format of its suffix.
        method: Name of the method, for messages.
        keep_done: Keep existing results that can be read to the end.
        on_progress: Called with (images done, total).

    Raises:
        InputError: Results cannot be written (disk full, no permission); those written are kept.
    """
    begin = time.perf_counter()
    waiting = [pair for pair in images if not (keep_done and _is_whole(out / pair[1]))]
    n_kept = len(images) - len(waiting)
    failures: list[str] = []
    writes: list[Future[None]] = []

    def read(index: int) -> Rgb | InputError:
        try:
            return read_rgb(waiting[index][0])
        except InputError as error:
            return error

    with (
        ThreadPoolExecutor(2) as writers,
        closing(prefetched(read, range(len(waiting)), n_threads=2)) as blurred_images,
    ):
        for done, (blurred, (path, relative)) in enumerate(
            zip(blurred_images, waiting, strict=True), start=n_kept + 1
        ):
            try:
                if isinstance(blurred, InputError):
                    raise blurred
                restored = restored_by(restorer, blurred)
                if len(writes) >= _MOST_WAITING_WRITES:
                    writes.pop(0).result()
                # A copy: the restorer may reuse the same memory for every image.
                writes.append(writers.submit(_write, out / relative, restored.copy()))
            except InputError as error:
                text = str(error)
                failures.append(text if str(path) in text else f"{path}: {method}: {text}")
            except OSError as error:
                raise _unwritable(out, error) from error
            on_progress(done, len(images))
        try:
            for write in writes:
                write.result()
        except OSError as error:
            raise _unwritable(out, error) from error
    return RestoreSummary(
        n_restored=len(waiting) - len(failures),
        n_kept=n_kept,
        failures=failures,
        seconds=time.perf_counter() - begin,
    )


def restore_elsewhere(
    executor: Executor,
    open_restorer: Callable[[], Restorer],
    images: Sequence[tuple[Path, Path]],
    out: Path,
    *,
    method: str,
    keep_done: bool = False,
    on_progress: Progress = no_progress,
) -> RestoreSummary:
    """Do what `restore_images` does in an executor, whose workers must see the same files.

    Args:
        executor: Restores the images and writes the results.
        open_restorer: Makes a worker's restorer; called once per worker.
        images: As for `restore_images`, like the rest.
        out: Where results go.
        method: Name of the method, for messages.
        keep_done: Keep existing results that can be read to the end.
        on_progress: Called with (images done, total).

    Raises:
        InputError: Results cannot be written, or the restorer cannot be made.
    """
    begin = time.perf_counter()
    restore_one = partial(
        _restore_one, partial(kept, open_restorer), out.absolute(), method, keep_done
    )
    work = [(path.absolute(), relative) for path, relative in images]
    summaries: list[RestoreSummary] = []
    with closing(mapped(restore_one, work, executor=executor)) as results:
        for summary in results:
            summaries.append(summary)
            on_progress(len(summaries), len(work))
    return RestoreSummary(
        n_restored=sum(summary.n_restored for summary in summaries),
        n_kept=sum(summary.n_kept for summary in summaries),
        failures=[failure for summary in summaries for failure in summary.failures],
        seconds=time.perf_counter() - begin,
    )


def _restore_one(
    open_restorer: Callable[[], Restorer],
    out: Path,
    method: str,
    keep_done: bool,
    image: tuple[Path, Path],
) -> RestoreSummary:
    return restore_images(open_restorer(), [image], out, method=method, keep_done=keep_done)


def restored_by(restorer: Restorer, blurred: Rgb) -> Rgb:
    """The restored image, checked: (H, W, 3) uint8 like the blurred one.

    Raises:
        InputError: The restorer raised, or returned something else.
    """
    try:
        restored = restorer.restore(blurred)
    except InputError:
        raise
    except FOREIGN_FAULTS as error:
        raise InputError(f"restore() failed: {described(error)}") from error
    if not isinstance(restored, np.ndarray):
        raise InputError(
            f"restore() returned a {type(restored).__name__}; a numpy array of {blurred.shape} "
            "uint8 was expected."
        )
    if restored.shape != blurred.shape or restored.dtype != np.uint8:
        raise InputError(
            f"restore() returned {restored.shape} {restored.dtype}; {blurred.shape} uint8 was "
            "expected."
        )
    return restored


def resumable_facts(out: Path, facts: Mapping[str, Any], *, resume: bool) -> dict[str, Any]:
    """Refuse to mix results of different methods, inputs or code in one folder.

    Args:
        out: Folder of results.
        facts: What makes them, as JSON holds it. ``images`` holds the pixel hash of each input by
            the path of its result: more images may follow later, but not different ones with the
            same name.
        resume: Whether existing results will be kept.

    Returns:
        ``facts``, plus the images whose results are already there.

    Raises:
        InputError: The results there were made by something else, or their record is damaged.
    """
    path = out / RECORD_FILE
    if not path.is_file():
        if (
            resume
            and out.is_dir()
            and any(p.is_file() and p.name != LOCK_FILE for p in out.rglob("*"))
        ):
            raise InputError(
                f"{out}: --resume keeps results, but no {RECORD_FILE} says what made those there; "
                "choose another --out."
            )
        return dict(facts)
    before = read_json(path)
    try:
        images = {**before.get("images", {}), **facts["images"]}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: damaged ({error}), so what made the results there is unknown; choose "
            "another --out, or delete the folder."
        ) from error
    merged = {**facts, "images": images}
    expected = {**before, "images": {**images, **before.get("images", {})}}
    differing = [name for name in merged if expected.get(name) != merged[name]]
    if differing:
        raise InputError(
            f"{out}: the results there differ in {', '.join(differing)} from what was asked for "
            f"(see {RECORD_FILE}); choose another --out, or delete the folder."
        )
    return merged


def _is_whole(path: Path) -> bool:
    """Whether a result exists and can be decoded to its end, which may fail after a power cut."""
    try:
        return path.is_file() and bool(read_rgb(path).size)
    except InputError:
        return False


def _unwritable(out: Path, error: OSError) -> InputError:
    return InputError(
        f"{out}: results cannot be written ({error.strerror or error}). Those already there are "
        "complete; make room and repeat the command with --resume."
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
