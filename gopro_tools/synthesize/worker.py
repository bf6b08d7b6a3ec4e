"""The processes of a synthesis: started first, so that they load while this one does.

This module loads next to nothing itself.
"""

import ctypes
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress

from gopro_tools.processes import Workers
from gopro_tools.threads import n_cores

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
_LARGEST_BLOCK = 2**25
"""The most that it takes; a frame of 4K needs 24 MiB."""
_MOST_KEPT = 2**28

_first: Workers | None = None
"""One process, started ahead of all others."""


def start_first(arguments: Sequence[str]) -> None:
    """Start one process before the command line is loaded and read, so that both load at once.

    Args:
        arguments: The command line; nothing is started if no process will be needed.
    """
    global _first
    names = {word.partition("=")[0] for word in arguments}
    if _first is None and names and not names & {"-h", "--help", "--executor"}:
        _first = _workers(1)
        _first.start()


def started_workers(jobs: int | None, executor: Executor | None = None) -> Workers:
    """Processes that look at sources and make segments; one per core by default."""
    global _first
    n_jobs = jobs or n_cores()
    if executor is None and _first is not None:
        workers, _first = _first, None
        workers.n_jobs = n_jobs
    else:
        workers = _workers(n_jobs, executor)
    workers.start()
    return workers


def _workers(n_jobs: int, executor: Executor | None = None) -> Workers:
    return Workers(n_jobs, executor, prepare=prepare, warm_up=warm_up)


def _keep_memory() -> None:
    """Have Linux's C library keep the memory of a frame for the next one.

    It would give most of it back, and each new page is filled with zeros first: 3 % of the time.
    """
    with suppress(AttributeError, OSError, TypeError):  # other systems have another library
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        library.mallopt(_TRIM_THRESHOLD, _MOST_KEPT)


def prepare() -> None:
    """Load what looking at a source needs, the most of it all."""
    _keep_memory()
    import cv2

    import gopro_tools.synthesize.plan  # noqa: F401

    cv2.setNumThreads(1)


def warm_up() -> None:
    """Load what making segments needs beyond that."""
    import gopro_tools.synthesize.segment  # noqa: F401
    from gopro_tools import averaging, png_encoder

    averaging.load_loops()
    png_encoder.load_loops()
