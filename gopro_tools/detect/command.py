"""The command line of detection."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.console import progress_bar, stderr
from gopro_tools.detect.config import DetectConfig
from gopro_tools.executors import named_executor
from gopro_tools.shards import Shard
from gopro_tools.sources import Sources


def command(
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    sources: Annotated[Sources, tyro.conf.arg(name="")],
    config: Annotated[DetectConfig, tyro.conf.arg(name="")],
    executor: str = "",
    shard: str = "1/1",
) -> int:
    """Score deblurring by the objects a detector finds again.

    Args:
        out: Folder for the tables, the plot, the overlays and the boxes that were found.
        sources: What to compare.
        config: How.
        executor: package.module:factory[:name=value...] of a concurrent.futures.Executor that reads
            and detects instead of this process, such as gopro_tools.distributed:dask.
        shard: I/N: detect in the I-th of N shares of the images only, for job arrays. The one that
            ends last writes the files, the same as those of one run.
    """
    from gopro_tools.detect.verb import detect
    from gopro_tools.detect.writing import DETECTION_FILE
    from gopro_tools.detection import PROTOCOL
    from gopro_tools.detection.rows import COMPARED

    part = Shard.parse(shard)
    with named_executor(executor) as given, progress_bar("images", "Detecting") as bar:
        result = detect(sources, config, out=out, on_progress=bar.show, executor=given, shard=part)
    summary = result.summary
    from rich.table import Table

    table = Table(title=f"{PROTOCOL}, {summary['n_images'][0]} images")
    table.add_column("method")
    for title in ("precision", "recall", "F1", "AP50", "mAP50-95", "TP", "FP", "FN"):
        table.add_column(title, justify="right")
    for row in summary.to_dict("records"):
        numbers = [f"{row[name]:.3f}" for name in COMPARED]
        table.add_row(row["method"], *numbers, *(str(row[name]) for name in ("tp", "fp", "fn")))
    stderr.print(table)
    for line in result.record.results["doubts"]:
        stderr.print(f"doubtful: {line}", markup=False, style="yellow")
    for line in result.record.results["notes"]:
        stderr.print(f"taken as: {line}", markup=False)
    stderr.print(f"Report: {out / 'detection.md'}", markup=False)
    sys.stdout.write(f"{out / DETECTION_FILE}\n")
    return 0
