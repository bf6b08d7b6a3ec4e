"""``python -m benchmarks.speed SUITE``: ratios, measured here and now.

With ``--record`` the figures go into ``results/`` as a run record, and ``results/speed.md`` and
``results/plan.md`` are made from the newest record of each suite.
"""

import importlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, get_args

import tyro

from benchmarks.speed.plan import PLAN_FILE, plan_page
from benchmarks.speed.timing import Timing
from gopro_tools.console import run_command
from gopro_tools.files import write_atomic
from gopro_tools.records import RunRecord, iterate_runs, recorded_run

logger = logging.getLogger(__name__)

Suite = Literal["synthesize", "blur", "metrics", "train", "restore", "many", "schedule"]
SUITES: tuple[Suite, ...] = get_args(Suite)


def command(
    suite: tyro.conf.Positional[Suite],
    video: tyro.conf.Positional[Path | None] = None,
    record: bool = False,
    results: Path = Path("results"),
    most: int = 50_000,
) -> int:
    """Time ours against its rivals in one run, and print the ratios.

    Args:
        suite: What to time.
        video: For synthesize: a video of your own; one is rendered without it.
        record: Store the figures and update the speed page.
        results: Where records and the page lie.
        most: For many: pairs of the largest dataset.
    """
    module = importlib.import_module(f"benchmarks.speed.{suite}")
    given = {"synthesize": (video,), "many": (most,)}
    timings: list[Timing] = module.measure(*given.get(suite, ()))
    sys.stdout.write("\n\n".join(module.tables(timings)) + "\n")
    if record:
        run = RunRecord(
            suite=f"speed-{suite}",
            method="gopro_tools",
            scale="full",
            config={"suite": suite, "video": video},
            results={"timings": [asdict(timing) for timing in timings]},
        )
        with recorded_run(results, run):
            pass
        write_atomic(results / "speed.md", speed_page(results))
        if plan := plan_page(results):
            write_atomic(results / PLAN_FILE, plan)
        logger.info("Recorded in %s; %s updated.", results, results / "speed.md")
    return 0


def speed_page(results: Path) -> str:
    """The speed page: a pure function of the newest record of each suite."""
    parts = [
        "# Speed against rivals",
        "Made by `python -m benchmarks.speed <suite> --record`; each table is one run in which all "
        "contenders took turns on one machine. Ratios travel, seconds do not.",
    ]
    for suite in SUITES:
        runs = list(iterate_runs(results, f"speed-{suite}"))
        if not runs:
            continue
        folder, run = runs[-1]
        machine = run.machine
        gpus = ", ".join(machine["gpus"]) or "no GPU"
        parts += [
            f"## {suite}",
            f"{machine['cpu']}, {machine['n_cores']} cores, {gpus}; {run.made_utc}; record "
            f"`{folder.relative_to(results).as_posix()}`.",
        ]
        module = importlib.import_module(f"benchmarks.speed.{suite}")
        timings = [Timing(**timing) for timing in run.results["timings"]]
        parts += module.tables(timings)
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m benchmarks.speed``."""
    run_command(command, arguments)


if __name__ == "__main__":
    main()
