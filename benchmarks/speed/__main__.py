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
from typing import Any, Literal, get_args

import tyro

from benchmarks.speed.timing import Timing
from gopro_tools.console import run_command
from gopro_tools.files import write_atomic
from gopro_tools.records import RunRecord, recorded_run

logger = logging.getLogger(__name__)

Suite = Literal["synthesize", "blur", "metrics", "train", "restore", "many", "schedule"]
SUITES: tuple[Suite, ...] = get_args(Suite)


def command(
    suite: tyro.conf.Positional[Suite],
    record: bool = False,
    results: Path = Path("results"),
) -> int:
    """Time ours against its rivals in one run, and print the ratios.

    Args:
        suite: What to time.
        record: Store the figures and update the speed page.
        results: Where records and the page lie.
    """
    timings: list[Timing] = _module(suite).measure()
    sys.stdout.write("\n\n".join(_module(suite).tables(timings)) + "\n")
    if record:
        run = RunRecord(
            suite=f"speed-{suite}",
            method="gopro_tools",
            scale="full",
            config={"suite": suite},
            results={"timings": [asdict(timing) for timing in timings]},
        )
        with recorded_run(results, run):
            pass
        for path, text in speed_pages(results).items():
            write_atomic(path, text)
            logger.info("%s is updated.", path)
    return 0


def speed_pages(results: Path) -> dict[Path, str]:
    """The pages, pure functions of the newest record of each suite, as far as there are any."""
    from benchmarks.speed.plan import plan_page

    pages = {"speed.md": _speed_page(results), "plan.md": plan_page(results)}
    return {results / name: text for name, text in pages.items() if text is not None}


def _speed_page(results: Path) -> str | None:
    from benchmarks.keeping import newest

    parts: list[str] = []
    for suite in SUITES:
        if (found := newest(results, f"speed-{suite}")) is None:
            continue
        folder, run = found
        gpus = ", ".join(run.machine["gpus"]) or "no GPU"
        parts += [
            f"## {suite}",
            f"{run.machine['cpu']}, {run.machine['n_cores']} cores, {gpus}; {run.made_utc}; record "
            f"`{folder.relative_to(results).as_posix()}`.",
            *_module(suite).tables([Timing(**timing) for timing in run.results["timings"]]),
        ]
    head = [
        "# Speed against rivals",
        "Made by `python -m benchmarks.speed <suite> --record`; each table is one run in which all "
        "contenders took turns on one machine. Ratios travel, seconds do not.",
    ]
    return "\n\n".join([*head, *parts]) + "\n" if parts else None


def _module(suite: Suite) -> Any:
    """Of a suite: ``measure() -> list[Timing]``, and ``tables(timings) -> list[str]``, Markdown."""
    return importlib.import_module(f"benchmarks.speed.{suite}")


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m benchmarks.speed``."""
    run_command(command, arguments)


if __name__ == "__main__":
    main()
