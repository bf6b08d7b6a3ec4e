"""How well objects are found after deblurring, and ``python -m gopro_tools.detect``.

Protocol ``yolo-consistency-v1``: a detector runs on the sharp, the blurred and the restored images;
its own boxes on the sharp ones (or human labels) are what the others should find (Kupyn et al.,
CVPR 2018, §6.3, who left classes, overlap and confidence open).
"""

import sys
import tempfile
import time
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.console import progress_bar, run_command, stderr
from gopro_tools.detect.config import DetectConfig
from gopro_tools.detect.run import Detection, score_detections
from gopro_tools.detect.writing import DETECTION_FILE, write_detection
from gopro_tools.detection import PROTOCOL, Detector
from gopro_tools.detection.rows import COMPARED
from gopro_tools.errors import InputError
from gopro_tools.executors import named_executor
from gopro_tools.files import refuse_inside
from gopro_tools.pairing import Sources, restored_folders
from gopro_tools.records import jsonable
from gopro_tools.shards import WHOLE, Shard, divided
from gopro_tools.threads import Progress
from gopro_tools.verbs import callable_package

__all__ = ["DetectConfig", "Detection", "command", "detect", "main"]


def detect(
    sources: Sources,
    config: DetectConfig,
    *,
    out: Path | None = None,
    detector: Detector | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
    shard: Shard = WHOLE,
) -> Detection:
    """Detect objects in sharp, blurred and restored images, and score what each method shows.

    Boxes found before, by this detector on the same pixels, are taken from ``out``; an interrupted
    run resumes.

    Args:
        sources: The images to compare.
        config: The detector, and how boxes are compared.
        out: Folder for the tables, the plot, the overlays and the boxes that were found; None
            writes nothing.
        detector: Instead of `DetectConfig.detector`.
        on_progress: Called with the images done and all, those of each method counted.
        executor: Reads and detects instead of this process; its workers must see the same files
            and load the detector of ``config`` themselves.
        shard: Detect in this share of the images only. The share that finds all others done makes
            the result, the same as that of one run.

    Raises:
        OtherShardsLeftError: This share is done, and others are not.
        InputError: Images do not pair up or cannot be read, or the detector, the labels or a class
            cannot be used. All other images are detected first, so nothing is lost.
    """
    sources = sources.copied()
    if out is None:
        if not shard.is_all:
            raise InputError("A shard leaves its part in the output folder: give `out`.")
        with tempfile.TemporaryDirectory() as folder:
            return score_detections(
                sources,
                config,
                Path(folder),
                detector=detector,
                on_progress=on_progress,
                executor=executor,
            )
    asked_for = jsonable({"config": replace(config, jobs=0), "labels": sources.labels})
    compared = (sources.dataset, sources.sharp, sources.blurred)
    restored = restored_folders(sources.restored).values()
    # Overlays in a folder of images would be images of it.
    refuse_inside(out, *filter(None, compared), *restored)
    with divided(out, shard, asked_for, "detections", "overlays") as parts:
        result = score_detections(
            sources,
            config,
            out / "detections",
            detector=detector,
            on_progress=on_progress,
            executor=executor,
            parts=parts,
        )
        write_detection(result, sources, config, out)
    return result


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
    part = Shard.parse(shard)
    started = time.monotonic()
    with named_executor(executor) as given, progress_bar("images") as bar:
        task = bar.add_task("Detecting", total=None, rate="")

        def show(n_done: int, n_total: int) -> None:
            speed = n_done / max(1e-9, time.monotonic() - started)
            bar.update(task, completed=n_done, total=n_total, rate=f"{speed:.1f}/s")

        result = detect(sources, config, out=out, on_progress=show, executor=given, shard=part)
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


def main() -> None:
    """Run as a command."""
    run_command(command)


callable_package(__name__, "gopro_tools.api:detect")
