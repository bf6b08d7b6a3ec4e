"""Deblur your own photos and videos: ``python -m gopro_tools.deblur PHOTO -o OUT``.

Needs the base install alone: a small network that ships with the package (or ``--weights
FILE.onnx``) runs with OpenCV, or with onnxruntime where it is installed. Images of any size are
restored in overlapping tiles; depth, alpha, greyscale, orientation and metadata are kept, and what
a format cannot hold is said. Videos keep their times and their sound.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import tyro

from gopro_tools.console import EXIT_FINDINGS, progress_bar, run_command, stderr
from gopro_tools.dataset import BlurKind, Split
from gopro_tools.deblur.network import (
    Card,
    OnnxRestorer,
    Runtime,
    read_card,
    shipped_network,
)
from gopro_tools.deblur.photo import read_photo, write_photo
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key, write_atomic
from gopro_tools.images import IMAGE_SUFFIXES, Rgb, encode_jpeg
from gopro_tools.movies import MovieConfig, beside, movie_name, restore_video, side_by_side
from gopro_tools.restorers import find_images, is_dataset
from gopro_tools.video import VIDEO_SUFFIXES

__all__ = [
    "Card",
    "DeblurConfig",
    "DeblurSummary",
    "OnnxRestorer",
    "command",
    "deblur",
    "main",
    "read_card",
    "shipped_network",
]

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with a file's name, and how many of its tiles or frames are done."""

_MOST_LISTED = 6


@dataclass(frozen=True, kw_only=True)
class DeblurConfig:
    """How to deblur."""

    weights: Path | None = None
    """ONNX file of a network that takes and gives (N, 3, H, W) RGB in [0, 1]; the one that ships
    with the package by default."""
    runtime: Runtime = "auto"
    """What runs it; auto takes onnxruntime where it is installed, else OpenCV."""
    tile: int = 512
    """Side in px of the tiles that larger images are cut into."""
    overlap: int = 64
    """What neighbouring tiles share, in px."""
    compare: bool = False
    """Write blurred beside deblurred too, as <name>_compare.jpg or .mp4."""
    lossless: bool = False
    """Write videos as FFV1 in Matroska instead of H.264."""
    hdr: bool = False
    """Convert PQ and HLG video to SDR; without this it is refused."""
    split: Split = "test"
    """Which part of a dataset in the GOPRO layout."""
    blur_kind: BlurKind = "gamma"
    """Which blurred images of a dataset."""

    def __post_init__(self) -> None:
        """Refuse tiles that could not be blended."""
        if self.tile < 64:
            raise InputError(f"--tile {self.tile}: at least 64 px expected.")
        if not 0 <= self.overlap <= self.tile // 2:
            raise InputError(f"--overlap {self.overlap}: at most half a tile expected.")


@dataclass(kw_only=True)
class DeblurSummary:
    """Result of `deblur`."""

    card: Card
    """The network."""
    written: list[Path] = field(default_factory=list)
    """Results, those of ``--compare`` after their own."""
    failures: list[str] = field(default_factory=list)
    """A message for each file that could not be deblurred."""
    notes: list[str] = field(default_factory=list)
    """What could not be kept, and which files were left out."""
    megapixels: float = 0.0
    """Restored, frames of videos included."""
    seconds: float = 0.0
    """Spent on that, reading and writing included."""


def deblur(
    sources: Sequence[Path],
    out: Path,
    config: DeblurConfig | None = None,
    *,
    on_progress: OnProgress = lambda name, done, total: None,
) -> DeblurSummary:
    """Deblur photos and videos; a file that fails is named and the others are done.

    Args:
        sources: Photos, videos, folders that are searched for such, or datasets in the GOPRO layout
            (results are OUT/<sequence>/<name>, as gopro_tools.evaluate expects).
        out: Folder for the results, which keep the names of their sources; or a file name with the
            suffix of an image or video, for one source.
        config: How.
        on_progress: Called after each tile or frame.

    Raises:
        InputError: There is nothing to deblur, no network, or a result would replace its source.
    """
    config = config or DeblurConfig()
    weights = config.weights or shipped_network()
    summary = DeblurSummary(card=read_card(weights))
    jobs = _jobs(sources, out, config, summary)
    restorer = OnnxRestorer(
        weights, runtime=config.runtime, tile_px=config.tile, overlap_px=config.overlap
    )
    started = time.perf_counter()
    for source, target in jobs:

        def show(done: int, total: int, name: str = source.name) -> None:
            on_progress(name, done, total)

        is_video = source.suffix.lower() in VIDEO_SUFFIXES
        do = _deblur_video if is_video else _deblur_photo
        try:
            do(restorer, source, target, config, summary, show)
        except InputError as error:
            text = str(error)
            summary.failures.append(text if str(source) in text else f"{source}: {text}")
    summary.seconds = time.perf_counter() - started
    return summary


def _deblur_photo(
    restorer: OnnxRestorer,
    source: Path,
    target: Path,
    config: DeblurConfig,
    summary: DeblurSummary,
    show: Callable[[int, int], None],
) -> None:
    photo = read_photo(source)
    restored = restorer.restore_light(photo.rgb, show)
    lost = write_photo(target, photo, restored)
    summary.written.append(target)
    summary.notes += [lost] if lost else []
    summary.megapixels += photo.rgb.shape[0] * photo.rgb.shape[1] / 1e6
    if config.compare:
        codes = [np.rint(image * 255).astype(np.uint8) for image in (photo.rgb, restored)]
        compared = beside(target, ".jpg")
        write_atomic(compared, encode_jpeg(side_by_side(codes[0], codes[1]), 95))
        summary.written.append(compared)


def _deblur_video(
    restorer: OnnxRestorer,
    source: Path,
    target: Path,
    config: DeblurConfig,
    summary: DeblurSummary,
    show: Callable[[int, int], None],
) -> None:
    pixels = 0

    def counted(done: int, total: int) -> None:
        summary.megapixels += pixels / 1e6
        show(done, total)

    class Counting:
        def restore(self, blurred: Rgb) -> Rgb:
            nonlocal pixels
            pixels = blurred.shape[0] * blurred.shape[1]
            return restorer.restore(blurred)

    how = MovieConfig(lossless=config.lossless, compare=config.compare, hdr=config.hdr)
    result = restore_video(Counting(), source, target, how, on_progress=counted)
    summary.written += [target, beside(target)] if config.compare else [target]
    if result.silent_because:
        summary.notes.append(f"{target.name}: without sound; {result.silent_because}")
    if result.problems:
        summary.failures.append(
            f"{source}: {len(result.problems)} problem(s), frames are missing from the result; "
            f"first: {result.problems[0]}"
        )


def _jobs(
    sources: Sequence[Path], out: Path, config: DeblurConfig, summary: DeblurSummary
) -> list[tuple[Path, Path]]:
    """What to deblur, and where each result goes; sources that cannot be go to the failures."""
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    found: list[tuple[Path, Path]] = []
    for source in sources:
        if source.is_file():
            if source.suffix.lower() in known:
                found.append((source, Path(source.name)))
            else:
                summary.failures.append(
                    f"{source}: neither a photo nor a video by its suffix; "
                    f"{', '.join(sorted(known))} are read. Convert it first."
                )
        elif source.is_dir():
            if _lies_in(out, source):
                raise InputError(f"--out {out}: lies in the input {source}; choose one outside.")
            if is_dataset(source):
                found += find_images(source, config.split, config.blur_kind)
                continue
            files = list(_files(source))
            others = sorted({f.suffix.lower() for f in files} - known - {""})
            if others:
                summary.notes.append(
                    f"{source}: files of other kinds were left out ({', '.join(others)})"
                )
            found += [(f, f.relative_to(source)) for f in files if f.suffix.lower() in known]
        else:
            summary.failures.append(f"{source}: no such file or folder.")
    if not found:
        nothing = f"{', '.join(map(str, sources))}: no photo or video there."
        raise InputError("\n".join(summary.failures) or nothing)
    to_file = len(found) == 1 and sources[0].is_file() and out.suffix.lower() in known
    jobs: list[tuple[Path, Path]] = []
    taken: set[str] = set()  # without case: some file systems know no other
    for source, relative in found:
        target = out if to_file else out / _result_name(relative, config)
        if str(target).casefold() in taken:
            target = target.with_name(f"{relative.name}{target.suffix}")
        taken.add(str(target).casefold())
        if target.exists() and target.resolve() == source.resolve():
            raise InputError(f"{source}: the result would replace it; choose another --out.")
        jobs.append((source, target))
    return jobs


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*"), key=lambda path: natural_key(path.as_posix())):
        if path.is_file() and not path.name.startswith("."):
            yield path


def _lies_in(out: Path, folder: Path) -> bool:
    return folder.resolve() in (out.resolve(), *out.resolve().parents)


def _result_name(relative: Path, config: DeblurConfig) -> Path:
    """Photos keep their format; videos become MP4, or Matroska where lossless."""
    if relative.suffix.lower() in VIDEO_SUFFIXES:
        return movie_name(relative, lossless=config.lossless)
    return relative


def command(
    sources: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    config: Annotated[DeblurConfig, tyro.conf.arg(name="")] = DeblurConfig(),
) -> int:
    """Deblur photos and videos with a small network; no torch needed.

    Args:
        sources: Photos, videos, folders that are searched for such, or datasets (GOPRO layout).
        out: Folder for the results; or a file name, for one source.
        config: How.
    """
    if not sources:
        raise InputError("Name a photo, a video or a folder.")
    with progress_bar("tiles or frames") as bar:
        task = bar.add_task("Deblurring", total=None, rate="")

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total)

        summary = deblur(sources, out, config, on_progress=show)
    for path in summary.written[:_MOST_LISTED]:
        stderr.print(str(path), markup=False)
    if len(summary.written) > _MOST_LISTED:
        more = len(summary.written) - _MOST_LISTED
        stderr.print(f"and {more} more results in {out}", markup=False)
    for note in summary.notes:
        stderr.print(f"note: {note}", markup=False, style="yellow")
    for failure in summary.failures:
        stderr.print(f"failed: {failure}", markup=False, style="red")
    if summary.megapixels:
        stderr.print(
            f"{summary.megapixels:.1f} megapixels in {summary.seconds:.1f} s "
            f"({summary.seconds / summary.megapixels:.2f} s per megapixel). {summary.card.advice}",
            markup=False,
        )
    return EXIT_FINDINGS if summary.failures else 0


def main() -> None:
    """Console script and ``python -m gopro_tools.deblur``."""
    run_command(command)
