"""The command line of the page."""

from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.console import EXIT_FINDINGS, progress_bar, stderr
from gopro_tools.report.config import IMAGE_FOLDER, ReportConfig

LARGE_MB = 100
"""From this size on, the command says how to make the page smaller."""


def command(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    config: Annotated[ReportConfig, tyro.conf.arg(name="")] = ReportConfig(),  # noqa: B008
) -> int:
    """Make a page to look at from folders of results, datasets and findings.

    Args:
        folders: OUT folders of evaluate, detect, restore or train, folders that hold such,
            datasets, or CSV files of verify.
        out: Folder of the page; with --single-file the HTML file.
        config: What to show, and how.
    """
    from gopro_tools.report.run import report

    missing: list[str] = []
    with progress_bar("images", "Page") as bar:
        index = report(
            folders,
            out,
            config,
            on_progress=bar.show,
            on_missing=missing.append,
        )
    for what in missing:
        stderr.print(f"not shown: {what}", markup=False, style="yellow")
    stderr.print(f"Open {index} in a browser.", markup=False)
    if hint := size_hint(index, config):
        stderr.print(f"note: {hint}", markup=False, style="yellow")
    return EXIT_FINDINGS if missing else 0


def size_hint(index: Path, config: ReportConfig) -> str:
    """How to make a large page smaller; empty where it is not large."""
    images = () if config.single_file else (index.parent / IMAGE_FOLDER).glob("*")
    size_mb = sum(path.stat().st_size for path in (index, *images)) / 1e6
    if size_mb <= LARGE_MB:
        return ""
    ways = [] if config.images == "compressed" or config.single_file else ["--images compressed"]
    return (
        f"the page is {size_mb:.0f} MB; {' or '.join([*ways, '--max-images N'])} makes it smaller."
    )
