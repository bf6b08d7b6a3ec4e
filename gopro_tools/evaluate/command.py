"""The command line of the evaluation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gopro_tools.console import progress_bar, stderr
from gopro_tools.evaluate.config import EvaluateConfig
from gopro_tools.executors import named_executor
from gopro_tools.shards import Shard
from gopro_tools.sources import Sources

if TYPE_CHECKING:
    from gopro_tools.evaluate.run import Evaluation


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
            scores the images in place of threads here, such as gopro_tools.distributed:dask.
        shard: I/N: score only the I-th of N shares of the images, for job arrays. The one that ends
            last writes the files, which equal those of a single run.
    """
    from gopro_tools.evaluate.verb import evaluate

    part = Shard.parse(shard)
    with named_executor(executor) as given, progress_bar("images", "Scoring") as bar:
        evaluation = evaluate(
            sources, config, out=out, on_progress=bar.show, executor=given, shard=part
        )
    _report(evaluation)
    stderr.print(f"{out / 'summary.md'} and the CSV files beside it have the rest.", markup=False)
    return 0


def _report(evaluation: "Evaluation") -> None:
    from rich.table import Table
    from rich.text import Text

    from gopro_tools.evaluate.report import format_score, heading

    labels = evaluation.sources.labels
    n_images = len(evaluation.pairing.image_sets)
    dataset = f"{labels['dataset']} {labels['split']}".strip()
    title = f"{dataset}, {labels['blur_kind']}, {n_images} images"
    means = {(row.metric, row.method): row.mean for row in evaluation.summary}
    cells = [
        [heading(metric), *(format_score(metric, means[metric, m]) for m in evaluation.methods)]
        for metric in evaluation.metrics
    ]
    lines = [["mean", *evaluation.methods], *cells]
    if len(evaluation.methods) > len(evaluation.metrics):  # what there is more of, goes down
        lines = [list(line) for line in zip(*lines, strict=True)]
    table = Table(title=Text(title))
    for column, name in enumerate(lines[0]):
        table.add_column(Text(name), justify="right" if column else "left", overflow="fold")
    for row in lines[1:]:
        table.add_row(*map(Text, row))
    stderr.print(table)
    for name, why in evaluation.absent.items():
        stderr.print(f"absent: {name}: {why}", markup=False, style="yellow")
    for line in evaluation.pairing.notes:
        stderr.print(f"taken as: {line}", markup=False)
    for line in evaluation.pairing.left_out:
        stderr.print(f"left out of every row: {line}", markup=False, style="yellow")
    for line in evaluation.doubts:
        stderr.print(f"doubtful: {line}", markup=False, style="yellow")
