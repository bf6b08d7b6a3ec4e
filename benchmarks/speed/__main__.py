"""``python -m benchmarks.speed SUITE``: ratios, measured here and now."""

import importlib
import logging
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import tyro

from gopro_tools.console import run_command
from gopro_tools.files import write_atomic
from gopro_tools.records import RunRecord, jsonable, recorded_run

logger = logging.getLogger(__name__)

Suite = Literal["synthesize", "blur", "metrics", "train", "restore", "many", "schedule"]


def command(
    suite: tyro.conf.Positional[Suite],
    record: bool = False,
    results: Path = Path("results"),
) -> int:
    """Time ours against its rivals in one run, and print the ratios to the fastest.

    Args:
        suite: What to time.
        record: Store the figures, and remake the pages that show them.
        results: Where records and pages lie.
    """
    from benchmarks.pages import pages, tables

    timings = importlib.import_module(f"benchmarks.speed.{suite}").measure()
    run = RunRecord(
        suite=f"speed-{suite}",
        method="gopro_tools",
        scale="full",
        config={"suite": suite},
        results={"timings": jsonable(timings)},
    )
    with nullcontext(results) if record else TemporaryDirectory() as folder:
        with recorded_run(Path(folder), run):
            pass
        sys.stdout.write(tables(Path(folder), f"FROM ratios('{suite}')") + "\n")
    if record:
        for path, text in pages(results).items():
            write_atomic(path, text)
            logger.info("%s says what its records say.", path)
    return 0


if __name__ == "__main__":
    run_command(command)
