"""The command line of deblurring."""

from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.console import EXIT_FINDINGS, progress_bar, stderr
from gopro_tools.deblur.config import DeblurConfig
from gopro_tools.errors import InputError

_MOST_LISTED = 6


def command(
    sources: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    config: Annotated[DeblurConfig, tyro.conf.arg(name="")] = DeblurConfig(),  # noqa: B008
) -> int:
    """Deblur photos and videos with a small network; no torch needed.

    Args:
        sources: Photos, videos, folders that are searched for such, or datasets (GOPRO layout).
        out: Folder for the results; or a file name, for one source.
        config: How.
    """
    from gopro_tools.deblur.run import deblur

    if not sources:
        raise InputError("Name a photo, a video or a folder.")
    with progress_bar("tiles or frames", "Deblurring") as bar:
        summary = deblur(sources, out, config, on_progress=bar.show_task)
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
