"""A page to look at: ``python -m gopro_tools.report FOLDER... -o page``.

Folders of results (evaluate, detect, train, restore, or any folder above such) and datasets become
one folder with ``index.html`` and the images, or with ``--single-file`` one HTML file. It opens
from the disk, needs no server and loads nothing from elsewhere.

On it: the comparison tables, which sort; every image with its scores, to sort by gain, blur or
quality; a slider between two methods, a key to hold for the sharp image, the same region of all
methods enlarged, the detector's boxes; plots of gain and recall; of a dataset its pairs, rejected
windows and what a check finds; of trainings what they reached and how.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.console import progress_bar, run_command, stderr
from gopro_tools.dataset import BlurKind, Split
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.pairing import BLURRED, SHARP, Sources, restored_folders
from gopro_tools.report.content import Content, DatasetView, RunView
from gopro_tools.report.page import PAGE_MARK, page_html
from gopro_tools.report.pictures import IMAGE_FOLDER, OUR_NAMES, Quality, write_pictures
from gopro_tools.report.reading import (
    DETECTION_FILE,
    EVALUATION_FILE,
    folders_with_scores,
    joined,
    read_comparisons,
    read_dataset,
)
from gopro_tools.report.runs import read_runs
from gopro_tools.report.tabular import read_tables
from gopro_tools.report.videos import DEFAULT_FRAMES, read_videos
from gopro_tools.restorers import is_dataset
from gopro_tools.threads import Progress, no_progress
from gopro_tools.video import VIDEO_SUFFIXES

__all__ = ["ReportConfig", "command", "main", "report"]

INDEX_FILE = "index.html"
_EMBEDDED_IMAGES = 24


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What to put on the page, and how."""

    title: str = "Deblurring results"
    """Heading of the page."""
    single_file: bool = False
    """Write one HTML file with everything in it, instead of a folder."""
    images: Quality | None = None
    """lossless copies the images as they are; compressed writes JPEG. lossless by default, in a
    single file compressed."""
    max_images: int | None = None
    """Images per dataset and split, spread over the range of gains; all by default, in a single
    file 24. Scores and plots are always of all. Of a video 24 frames by default."""
    check: bool = True
    """Check datasets as gopro_tools.verify does, and show what it finds."""
    blur_kind: BlurKind | None = None
    """Which blurred images of a dataset: gamma, where there are such, or linear_crf."""
    dataset: Path | None = None
    """Where the images of the scores lie, if they have moved: a dataset in the GOPRO layout."""
    split: Split = "test"
    """Split of --dataset."""
    sharp: Path | None = None
    """Where the images of the scores lie, if they have moved: folder of sharp images. Or a sharp
    video, where there is one."""
    blurred: Path | None = None
    """Folder of blurred images. Or a video, to show its frames beside those of restored videos."""
    restored: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=DIR, once for each method; with --dataset, or --sharp and --blurred. Or NAME=VIDEO."""

    def __post_init__(self) -> None:
        """Refuse a number of images that is none, and restored images without their dataset."""
        if self.max_images is not None and self.max_images < 1:
            raise InputError(f"--max-images {self.max_images}: at least 1 expected.")
        if self.restored and not (self.dataset or self.blurred):
            raise InputError(
                "--restored needs --dataset, or --blurred (and --sharp, where there is such)."
            )

    @property
    def sources(self) -> Sources | None:
        """Where the images lie, as far as the command line says so."""
        if self.videos or not (self.dataset or self.sharp or self.blurred):
            return None
        return Sources(
            dataset=self.dataset,
            split=self.split,
            blur_kind=self.blur_kind,
            sharp=self.sharp,
            blurred=self.blurred,
            restored=self.restored,
            allow_missing=True,
        )

    @property
    def videos(self) -> dict[str, Path]:
        """Method to video; empty where ``blurred`` is none.

        Raises:
            InputError: Videos and folders are mixed, or there is nothing beside the blurred video.
        """
        if self.blurred is None or self.blurred.suffix.lower() not in VIDEO_SUFFIXES:
            return {}
        videos = {BLURRED: self.blurred, **restored_folders(self.restored)}
        if self.sharp is not None:
            videos[SHARP] = self.sharp
        others = [str(path) for path in videos.values() if not path.is_file()]
        if others:
            raise InputError(
                f"{', '.join(others)}: no such file; beside the video {self.blurred} videos were "
                "expected."
            )
        if len(videos) < 2:
            raise InputError(
                f"--blurred {self.blurred}: name a restored one: --restored NAME=VIDEO."
            )
        return videos


def report(
    folders: Sequence[Path],
    out: Path,
    config: ReportConfig | None = None,
    *,
    on_progress: Progress = no_progress,
) -> Path:
    """Write a page.

    Args:
        folders: OUT folders of evaluate, detect, restore or train, folders that hold such, or
            datasets in the GOPRO layout; may be none where ``config`` names videos.
        out: Folder of the page, or the HTML file where ``config.single_file``.
        config: How.
        on_progress: Called with images checked or pictures made, and all of them.

    Returns:
        The HTML file.

    Raises:
        InputError: A folder holds nothing to show, the folders disagree, or ``out`` is a folder of
            something else.
    """
    config = config or ReportConfig()
    index = out if config.single_file else out / INDEX_FILE
    if config.single_file and out.is_dir():
        index = out / INDEX_FILE
    with tempfile.TemporaryDirectory() as frames:  # of videos, until they are on the page
        content = _content(folders, config, Path(frames), on_progress)
        if not config.single_file:
            _clear(out)
        embedded = _EMBEDDED_IMAGES if config.single_file else None
        pictures = write_pictures(
            content.collections,
            None if config.single_file else out,
            quality=config.images or ("compressed" if config.single_file else "lossless"),
            max_images=config.max_images or embedded,
            on_progress=on_progress,
        )
        write_atomic(index, page_html(content, pictures))
    return index


def _content(
    folders: Sequence[Path], config: ReportConfig, frames: Path, on_progress: Progress
) -> Content:
    videos = config.videos
    if not (folders or videos):
        raise InputError(
            "Name at least one folder of results or one dataset; or videos, as --blurred VIDEO "
            "--restored NAME=VIDEO."
        )
    for folder in folders:
        if not folder.is_dir():
            raise InputError(
                f"{folder}: no such folder. Videos are named as --blurred VIDEO --restored "
                "NAME=VIDEO."
            )
    datasets: list[DatasetView] = [
        read_dataset(
            folder, blur_kind=config.blur_kind, check=config.check, on_progress=on_progress
        )
        for folder in folders
        if is_dataset(folder)
    ]
    results: list[Path] = []
    runs: list[RunView] = []
    for folder in folders:
        if is_dataset(folder):
            continue
        recorded = read_runs(folder)
        if any(folders_with_scores(folder)):
            results.append(folder)
        elif not recorded:
            raise InputError(
                f"{folder}: no {EVALUATION_FILE} or {DETECTION_FILE} in it or below it, no record "
                "of a run, and no dataset; an OUT folder of evaluate, detect, restore or train, or "
                "a dataset, was expected."
            )
        runs += recorded
    collections = read_comparisons(results, config.sources)
    if videos:
        n_frames = config.max_images or DEFAULT_FRAMES
        collections.append(read_videos(videos, frames, n_frames=n_frames, on_progress=on_progress))
    pairs = [collection for dataset in datasets for collection in dataset.collections]
    tables, problems = read_tables(results)
    return Content(
        title=config.title,
        notes=problems,
        tables=tables,
        collections=joined([*collections, *pairs]),
        datasets=datasets,
        runs=runs,
    )


def _clear(out: Path) -> None:
    """Remove an earlier page, and nothing that is not a page's."""
    if not out.exists():
        return
    index, images = out / INDEX_FILE, out / IMAGE_FOLDER
    if not out.is_dir() or (any(out.iterdir()) and not _is_page(index)):
        raise InputError(f"{out}: holds something that is no page; choose a new or empty folder.")
    index.unlink(missing_ok=True)
    if images.is_dir() and not images.is_symlink():
        for path in images.iterdir():
            if OUR_NAMES.fullmatch(path.name):
                path.unlink()


def _is_page(index: Path) -> bool:
    try:
        with index.open(encoding="utf-8", errors="replace") as file:
            return PAGE_MARK in file.read(2000)
    except OSError:
        return False


def command(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    config: Annotated[ReportConfig, tyro.conf.arg(name="")] = ReportConfig(),
) -> int:
    """Make a page to look at from folders of results and datasets.

    Args:
        folders: OUT folders of evaluate, detect, restore or train, folders that hold such, or
            datasets.
        out: Folder of the page; with --single-file the HTML file.
        config: What to show, and how.
    """
    with progress_bar("images") as bar:
        task = bar.add_task("Page", total=None, rate="")
        index = report(
            folders,
            out,
            config,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    stderr.print(f"Open {index} in a browser.", markup=False)
    return 0


def main() -> None:
    """Console script and ``python -m gopro_tools.report``."""
    run_command(command)
