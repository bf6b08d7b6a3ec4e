"""What every command shares: a progress bar, errors a person can read, exit codes.

Exit codes: 0 all done; 1 done, but something was found or some inputs failed; 2 the command could
not run as asked; 130 stopped with Ctrl-C.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from gopro_tools.errors import InputError

EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

stderr = Console(stderr=True, highlight=False, soft_wrap=True)
"""Where progress, summaries and messages go; stdout is for machine-readable output."""


def progress_bar(unit: str) -> Progress:
    """A bar on stderr with count, rate in ``unit`` a second, and time left.

    Add a task with ``total``; set its field ``rate`` (a string) to show a speed.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=stderr,
    )


def run_command(function: Callable[..., int], arguments: Sequence[str] | None = None) -> None:
    """Run ``function`` with arguments taken from the command line, and end the process.

    Args:
        function: Typed and documented; tyro makes the command line from its signature. It returns
            the exit code.
        arguments: In place of ``sys.argv[1:]``.
    """
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[RichHandler(console=stderr, show_time=False, show_path=False, markup=False)],
    )
    spec = sys.modules["__main__"].__spec__
    program = f"python -m {spec.name.removesuffix('.__main__')}" if spec else None
    sys.exit(exit_code_of(lambda: tyro.cli(function, args=arguments, prog=program)))


def exit_code_of(command: Callable[[], Any]) -> int:
    """Run ``command`` and turn what a user can mend into a message and an exit code."""
    try:
        return int(command())
    except InputError as error:
        stderr.print(f"error: {error}", markup=False, style="red")
        return EXIT_USAGE
    except KeyboardInterrupt:
        stderr.print("Stopped.", markup=False)
        return EXIT_INTERRUPTED
