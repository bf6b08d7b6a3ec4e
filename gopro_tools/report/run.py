"""Folders of results, datasets and videos in, a page out."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from gopro_tools.errors import InputError
from gopro_tools.files import refuse_unwritable, refuse_url, write_atomic
from gopro_tools.findings import is_findings_file
from gopro_tools.report.config import IMAGE_FOLDER, ReportConfig
from gopro_tools.report.content import CheckView, Content, DatasetView, RunView
from gopro_tools.report.page import PAGE_MARK, page_html
from gopro_tools.report.pictures import OUR_NAMES, write_pictures
from gopro_tools.report.reading import (
    DETECTION_FILE,
    EVALUATION_FILE,
    add_remarks,
    folders_with_scores,
    joined,
    read_checks,
    read_comparisons,
    read_dataset,
)
from gopro_tools.report.runs import read_runs
from gopro_tools.report.tabular import read_tables
from gopro_tools.restorers import is_dataset
from gopro_tools.shape import config_from, path_from
from gopro_tools.storage import local_copy
from gopro_tools.threads import Progress, no_progress

INDEX_FILE = "index.html"
_EMBEDDED_IMAGES = 24


def report(
    folders: Path | str | Sequence[Path | str],
    out: Path | str,
    config: ReportConfig | None = None,
    *,
    on_progress: Progress = no_progress,
    on_missing: Callable[[str], None] = lambda reason: None,
) -> Path:
    """Write a page.

    Args:
        folders: OUT folders of evaluate, detect, restore or train, folders that hold such, datasets
            in the GOPRO layout, CSV files of verify, or URLs of any of these; may be empty if
            ``config`` names videos.
        out: Folder of the page, or the HTML file where ``config.single_file``.
        config: How.
        on_progress: Called with the number of images checked or pictures made, and in total.
        on_missing: Called with what is not on the page and why, which the page says too.

    Returns:
        The HTML file.

    Raises:
        InputError: A folder holds nothing to show, the folders disagree, or ``out`` is a folder of
            something else.
    """
    config, out = config_from(ReportConfig, config), path_from(out, "out")
    refuse_url(out)
    named = [folders] if isinstance(folders, str | Path) else folders
    here = [local_copy(folder, may_be_file=True) for folder in named]
    index = out if config.single_file else out / INDEX_FILE
    if config.single_file and out.is_dir():
        index = out / INDEX_FILE
    refuse_unwritable(index)
    with tempfile.TemporaryDirectory() as frames:  # frames of videos, until they are on the page
        content = _content(here, config, Path(frames), on_progress)
        if not config.single_file:
            _clear(out)
            # So that the next run knows the folder, whatever ends this one.
            write_atomic(index, _UNFINISHED)
        embedded = _EMBEDDED_IMAGES if config.single_file else None
        pictures = write_pictures(
            content.collections,
            None if config.single_file else out,
            quality=config.images or ("compressed" if config.single_file else "lossless"),
            max_images=config.max_images or embedded,
            on_progress=on_progress,
        )
        write_atomic(index, page_html(content, pictures))
    of_images = [what for one in content.collections for what in one.missing]
    of_pictures = [what for one in pictures for what in one.problems]
    for what in dict.fromkeys([*content.notes, *of_images, *of_pictures]):
        on_missing(what)
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
        if not (folder.is_dir() or is_findings_file(folder)):
            raise InputError(
                f"{folder}: no such folder, and no CSV of gopro_tools.verify. Videos are named as "
                "--blurred VIDEO --restored NAME=VIDEO."
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
    checks: list[CheckView] = []
    for folder in folders:
        if is_dataset(folder):
            continue
        found = read_checks(folder)
        recorded = read_runs(folder) if folder.is_dir() else []
        if any(folders_with_scores(folder)):
            results.append(folder)
        elif not (recorded or found):
            raise InputError(
                f"{folder}: no {EVALUATION_FILE} or {DETECTION_FILE} in it or below it, no record "
                "of a run, no CSV of verify, and no dataset; an OUT folder of evaluate, detect, "
                "restore or train, a CSV of verify or a dataset was expected."
            )
        runs += recorded
        checks += found
    problems: list[str] = []
    collections = read_comparisons(results, config.sources and config.sources.copied(), problems)
    tables, of_tables = read_tables(results)
    problems += of_tables
    if videos:
        from gopro_tools.report.videos import DEFAULT_FRAMES, read_videos

        n_frames = config.max_images or DEFAULT_FRAMES
        clip, table = read_videos(videos, frames, n_frames=n_frames, on_progress=on_progress)
        collections.append(clip)
        tables += [table] if table else []
    pairs = [collection for dataset in datasets for collection in dataset.collections]
    if len(datasets) == 1:  # with several, no CSV says which one it belongs to
        add_remarks(pairs, [finding for check in checks for finding in check.findings])
    return Content(
        title=config.title,
        notes=problems,
        tables=tables,
        collections=joined([*collections, *pairs]),
        datasets=datasets,
        checks=checks,
        runs=runs,
    )


_UNFINISHED = (
    f'<!doctype html><meta charset="utf-8">{PAGE_MARK}<title>Unfinished</title>'
    "<p>This page is unfinished: the command that makes it is at work, or was stopped. "
    "Run it again."
)


def _clear(out: Path) -> None:
    """Remove an earlier page, and nothing that is not a page's."""
    if not out.exists():
        return
    index, images = out / INDEX_FILE, out / IMAGE_FOLDER
    if not out.is_dir() or (any(out.iterdir()) and not _is_page(index)):
        raise InputError(f"{out}: holds something that is not a page; name a new or empty folder.")
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
