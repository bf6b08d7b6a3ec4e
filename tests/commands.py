"""Running commands as a person does, and what none of them may ever do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from gopro_tools.console import EXIT_FAULT

ROOT = Path(__file__).resolve().parent.parent


def environment(**changes: str) -> dict[str, str]:
    """This one, with the checkout first on Python's path."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **changes}


def command_line(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(os.fsdecode, map(os.fspath, map(_text, arguments)))]


def _text(argument: object) -> str | os.PathLike[str]:
    return argument if isinstance(argument, str | Path) else str(argument)


def run_command_line(
    module: str, *arguments: object, timeout_s: float = 120, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` to its end; a traceback, a fault or a hang fails the test."""
    result = subprocess.run(
        command_line(module, *arguments),
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
        timeout=timeout_s,
        env=environment(**env),
    )
    assert_ended_well(result.returncode, result.stderr)
    return result


def start_command_line(module: str, *arguments: object, **env: str) -> subprocess.Popen[str]:
    """Start ``python -m module`` as the leader of a process group, as a shell does."""
    return subprocess.Popen(
        command_line(module, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        start_new_session=True,
        env=environment(**env),
        preexec_fn=hear_signals,
    )


def hear_signals() -> None:
    """For a child: a shell's background job ignores Ctrl-C, nohup SIGHUP, and both hand that on."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def wait_until(
    seen: Callable[[], object], process: subprocess.Popen[str], timeout_s: float = 200
) -> None:
    """Wait for what a run does while it is at work; one that ends before fails the test."""
    deadline = time.monotonic() + timeout_s
    while not seen():
        assert process.poll() is None, f"it ended before: {process.communicate()[1]}"
        assert time.monotonic() < deadline, f"not seen within {timeout_s} s"
        time.sleep(0.005)


def assert_ended(processes: list[psutil.Process], timeout_s: float) -> None:
    # A zombie has ended; in a container there may be nobody to take notice.
    deadline = time.monotonic() + timeout_s
    alive = processes
    while alive and time.monotonic() < deadline:
        alive = [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        time.sleep(0.05)
    assert not alive


def assert_ended_well(code: int, stderr: str) -> None:
    """Whatever went wrong was said in a sentence: no traceback, no fault, no crash."""
    assert "Traceback" not in stderr, stderr
    assert code != EXIT_FAULT, stderr
    assert code >= 0 or code == -signal.SIGKILL, f"ended by signal {-code}: {stderr}"
