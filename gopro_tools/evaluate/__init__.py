"""Score restored images against sharp ones: folders in, CSV and Markdown out.

    python -m gopro_tools.evaluate --sharp DIR --blurred DIR --restored NAME=DIR -o OUT
    python -m gopro_tools.evaluate --dataset DIR --blur-kind gamma --restored NAME=DIR -o OUT
    python -m gopro_tools.evaluate --blurred DIR --restored NAME=DIR --protocol no_reference -o OUT

The blurred input is always a row: a method that does not beat it has done harm. Files in OUT:

``per_image.csv``
    ``method, sequence, name`` and one column per metric, at full precision: the truth, from which
    all else follows.
``sequences.csv``
    ``method, sequence, n_images`` and the mean of each metric over the sequence's images; where
    all lie in one folder, the sequence is what precedes the number in the name.
``summary.csv``
    One row per method and metric: mean and median over images, the mean difference from the blurred
    input with its 95 % bootstrap interval, and what a table needs to know before it sets the row
    beside another (see `SummaryRow`).
``strata.csv``
    With ``--by``: means and differences on the images of each stratum, such as of blur length.
``summary.md``
    The same for people, with what is absent and how each metric is defined.
``images.json``
    Where the images lie, relative to OUT, for the page of `gopro_tools.report`.
``run.json``
    The settings, the pixels read and the versions used (see `gopro_tools.records`). Written last:
    where it is, the others are complete. `gopro_tools.tables` reads it.

A score of a folder is the mean of its images' scores; for PSNR that is the mean of dB, as every
paper has it. An image equal to the sharp one has a PSNR of infinity, and so has every mean it is
in: nothing is capped or left out, ``n_infinite`` counts such images, and the difference then has no
interval (empty cells). A cell is empty, too, where a metric is not defined, such as that of motion
for the first image of a sequence; means are over the others.
"""

from typing import TYPE_CHECKING

from gopro_tools.verbs import callable_package

if TYPE_CHECKING:
    from gopro_tools.evaluate.config import EvaluateConfig
    from gopro_tools.evaluate.report import write_evaluation
    from gopro_tools.evaluate.run import Evaluation
    from gopro_tools.evaluate.summary import SummaryRow
    from gopro_tools.evaluate.verb import evaluate
    from gopro_tools.sources import Sources

__all__ = [
    "EvaluateConfig",
    "Evaluation",
    "Sources",
    "SummaryRow",
    "evaluate",
    "main",
    "write_evaluation",
]


def main() -> None:
    """Console script and ``python -m gopro_tools.evaluate``."""
    from gopro_tools.console import run_command
    from gopro_tools.evaluate.command import command

    run_command(command)


callable_package(
    __name__,
    "gopro_tools.evaluate.verb:evaluate",
    EvaluateConfig="gopro_tools.evaluate.config",
    Evaluation="gopro_tools.evaluate.run",
    Sources="gopro_tools.sources",
    SummaryRow="gopro_tools.evaluate.summary",
    evaluate="gopro_tools.evaluate.verb",
    write_evaluation="gopro_tools.evaluate.report",
)
