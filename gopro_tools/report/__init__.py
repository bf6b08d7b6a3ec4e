"""A page to look at: ``python -m gopro_tools.report FOLDER... -o page``.

Folders of results (evaluate, detect, train, restore, or any folder above such) and datasets become
one folder with ``index.html`` and the images, or with ``--single-file`` one HTML file. It opens
from the disk, needs no server and loads nothing from elsewhere.

On it: the comparison tables, which sort; every image with its scores, to sort by gain, blur or
quality; a slider between two methods, a key to hold for the sharp image, the same region of all
methods enlarged, the detector's boxes; plots of gain and recall; a dataset's pairs, rejected
windows and check findings; what trainings reached, and how.
"""

from typing import TYPE_CHECKING

from gopro_tools.verbs import callable_package

if TYPE_CHECKING:
    from gopro_tools.report.config import ReportConfig
    from gopro_tools.report.run import report

__all__ = ["ReportConfig", "main", "report"]


def main() -> None:
    """Console script and ``python -m gopro_tools.report``."""
    from gopro_tools.console import run_command
    from gopro_tools.report.command import command

    run_command(command)


callable_package(
    __name__,
    "gopro_tools.report.run:report",
    ReportConfig="gopro_tools.report.config",
    report="gopro_tools.report.run",
)
