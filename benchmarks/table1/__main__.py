"""``python -m benchmarks.table1``."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.minutes import EXIT_UNFINISHED
from benchmarks.table1.plan import Table1Config
from gopro_tools.console import EXIT_FINDINGS, EXIT_INTERRUPTED, progress_bar, run_command, stderr


def command(
    config: Annotated[Table1Config, tyro.conf.arg(name="")],
    results: Path | None = None,
) -> int:
    """Train, restore and score the methods of Table 1, and write the comparison.

    Args:
        config: What to compare.
        results: Also keep the record under this folder; `benchmarks.table1.publish` shows it.
    """
    from benchmarks.keeping import keep_run
    from benchmarks.table1.run import run_table1
    from benchmarks.table1.training import OutOfTimeError

    try:
        with progress_bar("parts") as bar:
            report = run_table1(config, on_progress=bar.show_task)
    except (OutOfTimeError, KeyboardInterrupt) as stopped:
        in_time = isinstance(stopped, KeyboardInterrupt)
        why = "Stopped" if in_time else f"{config.minutes:g} minutes are over ({stopped})"
        stderr.print(f"{why}. The same command continues ({config.out}).")
        return EXIT_INTERRUPTED if in_time else EXIT_UNFINISHED
    if report is None:
        return 0
    failures, absent = (report.run.results[name] for name in ("failures", "absent"))
    for name, why in failures.items():
        stderr.print(f"failed: {name}: {why}", style="red")
    for name, why in absent.items():
        stderr.print(f"absent: {name}: {why}", style="yellow")
    if results is not None:
        stderr.print(f"Recorded in {keep_run(report.folder, results)}.")
    stderr.print(f"Look at {config.out / 'report/README.md'} and the figures beside it.")
    sys.stdout.write(f"{config.out / 'report/table1.csv'}\n")
    return EXIT_FINDINGS if failures else 0


if __name__ == "__main__":
    run_command(command)
