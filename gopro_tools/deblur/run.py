"""Photos, videos, folders and datasets in, each deblurred one by one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gopro_tools.dataset import is_image_of_another_split
from gopro_tools.deblur.config import DeblurConfig
from gopro_tools.deblur.network import (
    Card,
    OnnxRestorer,
    read_card,
    shipped_network,
)
from gopro_tools.deblur.photo import read_photo, write_photo
from gopro_tools.errors import InputError
from gopro_tools.files import (
    FreeNames,
    natural_key,
    refuse_inside,
    refuse_unwritable,
    refuse_url,
    write_atomic,
)
from gopro_tools.images import IMAGE_SUFFIXES, Rgb, encode_jpeg, find_files, other_kinds
from gopro_tools.movie_config import MovieConfig
from gopro_tools.movies import beside, restore_video, side_by_side, take_movie_name
from gopro_tools.restorers import find_images, is_dataset
from gopro_tools.shape import config_from, path_from
from gopro_tools.storage import local_copy
from gopro_tools.video import VIDEO_SUFFIXES
from gopro_tools.video.stills import color_of_still

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with a file's name, and how many of its tiles or frames are done."""


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
    sources: Path | str | Sequence[Path | str],
    out: Path | str,
    config: DeblurConfig | None = None,
    *,
    on_progress: OnProgress = lambda name, done, total: None,
) -> DeblurSummary:
    """Deblur photos and videos; a file that fails is named and the others are done.

    Args:
        sources: Photos, videos, folders that are searched for such, or datasets in the GOPRO layout
            (results are OUT/<sequence>/<name>, as gopro_tools.evaluate expects); or URLs of such,
            which are copied to this machine.
        out: Folder for the results, which keep the names of their sources; or a file name with the
            suffix of an image or video, for one source.
        config: How.
        on_progress: Called after each tile or frame.

    Raises:
        InputError: There is nothing to deblur, no network, or a result would replace its source.
    """
    config, out = config_from(DeblurConfig, config), path_from(out, "out")
    refuse_url(out)
    of_another_split = partial(is_image_of_another_split, split=config.split)
    named = [sources] if isinstance(sources, str | Path) else sources
    here = [local_copy(path, skip=of_another_split, may_be_file=True) for path in named]
    weights = config.weights or shipped_network()
    summary = DeblurSummary(card=read_card(weights))
    jobs = _jobs(here, out, config, summary)
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
    color = color_of_still(source)
    if values := color.hdr or color.curve:
        summary.notes.append(
            f"{source.name}: its values are {values}, and the network was made for those of "
            "ordinary (sRGB) images: convert it to sRGB first for a good result"
        )
    restored = restorer.restore_light(photo.rgb, show)
    summary.notes += write_photo(target, photo, restored)
    summary.written.append(target)
    summary.megapixels += photo.rgb.shape[0] * photo.rgb.shape[1] / 1e6
    if config.compare:
        codes = [np.rint(image * 255).astype(np.uint8) for image in (photo.rgb, restored)]
        compared = _files_of(target, config)[1]
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

    result = restore_video(Counting(), source, target, _movies(config), on_progress=counted)
    summary.written += _files_of(target, config)
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
            refuse_inside(out, source)
            if is_dataset(source):
                found += find_images(source, config.split, config.blur_kind)
                continue
            try:
                files = find_files(source, known, any_name=True)
            except InputError as error:
                summary.failures.append(str(error))
                continue
            if others := other_kinds(source, known):
                summary.notes.append(
                    f"{source}: files of other kinds were left out ({', '.join(others)})"
                )
            for inside in sorted(files, key=lambda path: natural_key(str(path))):
                if files[inside].is_file():
                    found.append((files[inside], Path(inside)))
                else:  # reading a pipe would wait for ever
                    summary.failures.append(f"{files[inside]}: a link to nothing, or no file.")
        else:
            summary.failures.append(f"{source}: no such file or folder.")
    if not found:
        nothing = f"{', '.join(map(str, sources))}: no photo or video there."
        raise InputError("\n".join(summary.failures) or nothing)
    to_file = not out.is_dir() and out.suffix.lower() in known
    refuse_unwritable(out, is_folder=not to_file)
    if to_file:
        _check_file_name(out, [source for source, _ in found])
    targets = [out] if to_file else _names_in(out, [inside for _, inside in found], config)
    originals = {source.resolve(): source for source, _ in found}
    for target in targets:
        for path in _files_of(target, config):
            if path.exists() and (replaced := originals.get(path.resolve())):
                raise InputError(
                    f"{replaced}: the result {path} would replace it; choose another --out."
                )
    return [(source, target) for (source, _), target in zip(found, targets, strict=True)]


def _check_file_name(out: Path, sources: Sequence[Path]) -> None:
    """Refuse the name of a file for several results, or of a video for a photo."""
    if len(sources) > 1:
        raise InputError(
            f"--out {out}: the name of one file, but there are {len(sources)} results; name a "
            "folder."
        )
    suffixes = VIDEO_SUFFIXES if sources[0].suffix.lower() in VIDEO_SUFFIXES else IMAGE_SUFFIXES
    if out.suffix.lower() not in suffixes:
        kind = "a video" if suffixes is VIDEO_SUFFIXES else "a photo"
        raise InputError(
            f"--out {out}: {sources[0]} is {kind}; {', '.join(sorted(suffixes))} expected."
        )


def _names_in(out: Path, inside: Sequence[Path], config: DeblurConfig) -> list[Path]:
    """Where each result goes: photos keep their format, videos become MP4 or Matroska."""
    names = FreeNames()
    return [
        take_movie_name(names, out / path, _movies(config))
        if path.suffix.lower() in VIDEO_SUFFIXES
        else names.take(out / path, files=lambda target: _files_of(target, config))
        for path in inside
    ]


def _files_of(target: Path, config: DeblurConfig) -> list[Path]:
    """What a result is written to: its own file, and that of the comparison."""
    if not config.compare:
        return [target]
    is_video = target.suffix.lower() in VIDEO_SUFFIXES
    return [target, beside(target) if is_video else beside(target, ".jpg")]


def _movies(config: DeblurConfig) -> MovieConfig:
    return MovieConfig(
        lossless=config.lossless,
        compare=config.compare,
        hdr=config.hdr,
        deinterlace=config.deinterlace,
    )
