"""Contenders that take turns, and what was measured of each."""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from gopro_tools.errors import InputError
from gopro_tools.processes import end_with_parent

Argument = TypeVar("Argument")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """What one contender took for a stated amount of work."""

    name: str
    """What ran, as a reader would say it."""
    seconds: float
    """Wall-clock time of the whole work, the median where it was repeated."""
    n_units: float
    """How much work that was."""
    unit: str
    """What it is counted in: frames, images, patches, megapixels."""
    peak_mib: float | None = None
    """Largest resident memory of the contender's processes, in MiB, where it was watched."""
    n_repeats: int = 1
    """How often it ran."""
    note: str = ""
    """What a reader must know to trust the figure."""

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.n_units / self.seconds


def in_own_process(function: Callable[[Argument], Result], argument: Argument) -> Result:
    """Call a function where no other contender has left its memory."""
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=end_with_parent) as process:
        return process.submit(function, argument).result()


def resident_peak_mib() -> float:
    """Largest resident memory of this process so far; Linux alone.

    Not `resource.getrusage`, which reports at least the memory of the parent process.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 2**10


_WATCHER = """
import os, sys
quiet = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[quiet])
_, status, used = os.wait4(child, 0)
print(used.ru_maxrss)
sys.exit(abs(os.waitstatus_to_exitcode(status)))
"""
"""Starts a program from a process that is small itself: the system counts the memory of the process
that a program was started from as the program's. It takes 10 ms."""


def run_watched(*command: object) -> float:
    """Run a program, and return its largest resident memory in MiB; Linux alone.

    Of the programs that it starts, the largest counts, where that one is larger.

    Raises:
        InputError: It failed.
    """
    words = [str(word) for word in command]
    watcher = (sys.executable, "-I", "-S", "-c", _WATCHER)
    result = subprocess.run([*watcher, *words], capture_output=True, text=True, check=False)
    if result.returncode:
        raise InputError(f"{' '.join(words)} failed: {result.stderr[-2000:]}")
    return int(result.stdout) / 2**10


def take_turns(
    calls: Mapping[str, Callable[[], object]],
    n_rounds: int,
    *,
    wait: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of each call, by name. The calls take turns, so that a busy machine slows all alike.

    Args:
        calls: Contenders, warmed up. One that returns a number did that many of them in a call.
        n_rounds: Calls of each.
        wait: Returns when a device has done what a call left to it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(n_rounds):
        for name, call in calls.items():
            wait()
            begin = time.perf_counter()
            n_done = call()
            wait()
            n_calls = n_done if isinstance(n_done, int) else 1
            seconds[name].append((time.perf_counter() - begin) / n_calls)
    return seconds


def timings_of(
    seconds: Mapping[str, Sequence[float]],
    n_units: float,
    unit: str,
    *,
    peaks_mib: Mapping[str, float] = MappingProxyType({}),
    notes: Mapping[str, str] = MappingProxyType({}),
) -> list[Timing]:
    """What was measured of contenders in all their turns, each with the same work in a turn."""
    return [
        Timing(
            name=name,
            seconds=statistics.median(turns),
            n_units=n_units,
            unit=unit,
            peak_mib=peaks_mib.get(name),
            n_repeats=len(turns),
            note=notes.get(name, ""),
        )
        for name, turns in seconds.items()
    ]
