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
    One row per method and metric: mean and median over images, the mean difference to the blurred
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

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.console import progress_bar, run_command, stderr
from gopro_tools.errors import InputError
from gopro_tools.evaluate.report import format_score, heading, write_evaluation
from gopro_tools.evaluate.run import EvaluateConfig, Evaluation, score_images
from gopro_tools.evaluate.strata import known_values
from gopro_tools.evaluate.summary import SummaryRow, summarize
from gopro_tools.executors import named_executor
from gopro_tools.pairing import Sources
from gopro_tools.records import jsonable
from gopro_tools.shards import WHOLE, Shard, divided
from gopro_tools.threads import Progress
from gopro_tools.verbs import callable_package

__all__ = [
    "EvaluateConfig",
    "Evaluation",
    "Sources",
    "SummaryRow",
    "command",
    "evaluate",
    "main",
    "summarize",
    "write_evaluation",
]


def evaluate(
    sources: Sources,
    config: EvaluateConfig | None = None,
    *,
    out: Path | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
    shard: Shard = WHOLE,
) -> Evaluation:
    """Score restored images against sharp ones, as `score_images` does.

    Args:
        sources: What to compare.
        config: Protocols and bootstrap.
        out: Folder for the files listed above; None writes none.
        on_progress: Called with the images done and all.
        executor: Reads and scores instead of threads here; it must see the same files.
        shard: Score only this share of the images. The share that finds all others done makes the
            result, the same as that of one run.

    Raises:
        OtherShardsLeftError: This share is done, and others are not.
        InputError: As `score_images`; nothing is written then.
    """
    sources = sources.copied()
    if config is not None and config.by:
        known_values(sources, config.by)  # before minutes of scoring
    if out is None:
        if not shard.is_all:
            raise InputError("A shard leaves its part in the output folder: give `out`.")
        return score_images(sources, config, on_progress, executor=executor)
    config = config or EvaluateConfig()
    asked_for = jsonable({"config": replace(config, jobs=0), "labels": sources.labels})
    with divided(out, shard, asked_for) as parts:
        evaluation = score_images(sources, config, on_progress, executor=executor, parts=parts)
        write_evaluation(evaluation, out)
    return evaluation


def command(
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    sources: Annotated[Sources, tyro.conf.arg(name="")],
    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")],
    executor: str = "",
    shard: str = "1/1",
) -> int:
    """Score restored images against sharp ones, or without any, under named protocols.

    Args:
        out: Folder for per_image.csv, summary.csv, summary.md, images.json and run.json.
        sources: What to compare.
        config: How.
        executor: package.module:factory[:name=value...] of a concurrent.futures.Executor that
            scores the images instead of threads here, such as gopro_tools.distributed:dask.
        shard: I/N: score only the I-th of N shares of the images, for job arrays. The one that ends
            last writes the files, the same as those of one run.
    """
    part = Shard.parse(shard)
    started = time.monotonic()
    with named_executor(executor) as given, progress_bar("images") as bar:
        task = bar.add_task("Scoring", total=None, rate="")

        def show(n_done: int, n_total: int) -> None:
            rate = f"{n_done / max(1e-9, time.monotonic() - started):.1f} images/s"
            bar.update(task, completed=n_done, total=n_total, rate=rate)

        evaluation = evaluate(
            sources, config, out=out, on_progress=show, executor=given, shard=part
        )
    _report(evaluation, summarize(evaluation))
    stderr.print(f"{out / 'summary.md'} and the CSV files beside it have the rest.", markup=False)
    return 0


def _report(evaluation: Evaluation, rows: Sequence[SummaryRow]) -> None:
    from rich.table import Table
    from rich.text import Text

    labels = evaluation.sources.labels
    n_images = len(evaluation.pairing.image_sets)
    dataset = f"{labels['dataset']} {labels['split']}".strip()
    title = f"{dataset}, {labels['blur_kind']}, {n_images} images"
    table = Table(title=Text(title))
    table.add_column("mean", no_wrap=True)
    for method in evaluation.methods:
        table.add_column(Text(method), justify="right", overflow="fold")
    for name in evaluation.metrics:
        cells = [format_score(name, row.mean) for row in rows if row.metric == name]
        table.add_row(heading(name), *cells)
    stderr.print(table)
    for name, why in evaluation.absent.items():
        stderr.print(f"absent: {name}: {why}", markup=False, style="yellow")
    for line in evaluation.pairing.notes:
        stderr.print(f"taken as: {line}", markup=False)
    for line in evaluation.pairing.left_out:
        stderr.print(f"left out of every row: {line}", markup=False, style="yellow")
    for line in evaluation.doubts:
        stderr.print(f"doubtful: {line}", markup=False, style="yellow")


def main() -> None:
    """Console script and ``python -m gopro_tools.evaluate``."""
    run_command(command)


callable_package(__name__, "gopro_tools.api:evaluate")
