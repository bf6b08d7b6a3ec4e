"""What every command shares: a progress bar, errors a person can read, exit codes.

Exit codes: 0 all done; 1 done, but something was found or some inputs failed; 2 the command could
not run as asked; 70 a fault of the program, with a log file; 128 + n ended by signal n (130 Ctrl-C,
141 nobody reads the output any longer, 143 SIGTERM).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import tyro

from gopro_tools.ending import EndingSignals
from gopro_tools.errors import InputError, OtherShardsLeftError
from gopro_tools.faults import fault_message, system_message
from gopro_tools.options import LISTS

if TYPE_CHECKING:
    from gopro_tools.terminal import ProgressBar

EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_FAULT = 70
EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141


class _Messages:
    """Prints on stderr as `gopro_tools.terminal` does, which is loaded when there is a message."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As `rich.console.Console.print`."""
        from gopro_tools.terminal import CONSOLE

        CONSOLE.print(*objects, **options)


stderr = _Messages()
"""Where progress, summaries and messages go; stdout is for machine-readable output."""


class _Log(logging.Handler):
    """Shows log records on stderr; loads what shows them with the first one."""

    def emit(self, record: logging.LogRecord) -> None:
        from gopro_tools.terminal import LOG

        LOG.handle(record)


def progress_bar(unit: str, title: str = "") -> ProgressBar:
    """A bar on stderr with count, rate in ``unit`` per second, and time left.

    Its `show` and `show_task` are what functions take as ``on_progress``.
    """
    from gopro_tools.terminal import ProgressBar

    return ProgressBar(unit, title)


def run_command(function: Callable[..., int], arguments: Sequence[str] | None = None) -> None:
    """Run ``function`` with arguments taken from the command line, and end the process.

    Whatever happens ends in a line that a person can read and an exit code: never in a traceback,
    and never more than two seconds after the second Ctrl-C, a SIGTERM or a SIGHUP.

    Args:
        function: Typed and documented; tyro makes the command line from its signature. It returns
            the exit code.
        arguments: Instead of ``sys.argv[1:]``.
    """
    _open_missing_streams()
    logging.basicConfig(level=logging.INFO, handlers=[_Log()])
    for chatty in ("aiobotocore", "botocore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    spec = sys.modules["__main__"].__spec__
    program = f"python -m {spec.name.removesuffix('.__main__')}" if spec else None
    with EndingSignals() as signals:
        code = exit_code_of(
            lambda: tyro.cli(function, args=arguments, prog=program, registry=LISTS)
        )
        if code == EXIT_INTERRUPTED and signals.first is not None:
            code = 128 + signals.first
    sys.exit(code)


def exit_code_of(command: Callable[[], Any]) -> int:
    """Run ``command`` and turn whatever it raises into a message and an exit code."""
    try:
        code = _code_of(command)
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:  # while the end was reported
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `... | head` has seen enough
        _point_streams_at_nothing()
        return EXIT_CLOSED_PIPE
    except OSError as error:  # such as a full disk that stdout was sent to
        _point_streams_at_nothing()
        with suppress(OSError):  # stderr may be what is full
            stderr.print(f"error: {system_message(error)}", style="red")
        return EXIT_USAGE
    return code


def _code_of(command: Callable[[], Any]) -> int:
    try:
        return int(command())
    except InputError as error:
        message, code = str(error), EXIT_USAGE
    except OtherShardsLeftError as done:
        stderr.print(str(done))
        return 0
    except KeyboardInterrupt:
        stderr.print("Stopped.")
        return EXIT_INTERRUPTED
    except SystemExit as end:  # tyro has shown its help, or what is wrong with the arguments
        if isinstance(end.code, str):
            stderr.print(end.code)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        raise
    except (OSError, MemoryError) as error:
        message, code = system_message(error), EXIT_USAGE
    except Exception as error:
        message, code = fault_message(error), EXIT_FAULT
    stderr.print(f"error: {message}", style="red")
    return code


def _open_missing_streams() -> None:
    """Give a process that was started with closed streams (``>&-``) some to write to."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names need not be text


def _point_streams_at_nothing() -> None:
    """Let what is still buffered vanish, or Python would complain of it when it ends."""
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, descriptor)
                os.close(nothing)
