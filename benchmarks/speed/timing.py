"""Contenders that take turns, and what was measured of each."""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from gopro_tools.errors import InputError
from gopro_tools.processes import end_with_parent

Result = TypeVar("Result")


class PeakMib(float):
    """Largest resident memory of a program, in MiB."""


@dataclass(frozen=True)
class Contender:
    """A way of doing a piece of work."""

    name: str
    """What runs, as a reader would say it."""
    n_units: float
    """How much work a turn of it is."""
    run: Callable[[], object]
    """Takes a turn; a `PeakMib` that it returns is kept."""
    note: str = ""
    """What a reader must know to trust the figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """What one contender took for a stated amount of work; see `Contender` for the other fields."""

    name: str
    seconds: float
    """Wall-clock time of a turn, the median where there were several."""
    n_units: float
    unit: str
    """What it is counted in: frames, images, patches, megapixels."""
    peak_mib: float | None = None
    """Largest resident memory of the contender's processes, in MiB, where it was watched."""
    n_repeats: int = 1
    """Turns."""
    note: str = ""

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.n_units / self.seconds


def in_own_process(function: Callable[[], Result]) -> Result:
    """Call a function that can be pickled where no other contender has left its memory."""
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=end_with_parent) as process:
        return process.submit(function).result()


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


def run_watched(*command: object) -> PeakMib:
    """Run a program, and return its largest resident memory; Linux alone.

    Of the programs that it starts, the largest counts, where that one is larger.

    Raises:
        InputError: It failed.
    """
    words = [str(word) for word in command]
    watcher = (sys.executable, "-I", "-S", "-c", _WATCHER)
    result = subprocess.run([*watcher, *words], capture_output=True, text=True, check=False)
    if result.returncode:
        raise InputError(f"{' '.join(words)} failed: {result.stderr[-2000:]}")
    return PeakMib(int(result.stdout) / 2**10)


def race(
    contenders: Sequence[Contender],
    n_rounds: int,
    unit: str,
    *,
    wait: Callable[[], object] = lambda: None,
) -> list[Timing]:
    """Time contenders that take turns, so that a busy machine slows all alike.

    Args:
        contenders: Warmed up.
        n_rounds: Turns of each.
        unit: What their work is counted in.
        wait: Returns when a device has done what a turn left to it.
    """
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    peaks: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for contender in [*contenders] * n_rounds:
        wait()
        begin = time.perf_counter()
        found = contender.run()
        wait()
        seconds[contender.name].append(time.perf_counter() - begin)
        if isinstance(found, PeakMib):
            peaks[contender.name].append(found)
    return [
        Timing(
            name=contender.name,
            seconds=statistics.median(seconds[contender.name]),
            n_units=contender.n_units,
            unit=unit,
            peak_mib=max(peaks[contender.name], default=None),
            n_repeats=n_rounds,
            note=contender.note,
        )
        for contender in contenders
    ]
