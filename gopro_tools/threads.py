"""Threads for work on images: decoding, hashing and transforms release the interpreter's lock."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress: TypeAlias = Callable[[int, int], None]
"""Called with how much is done and in total, in the unit that its user documents."""


_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def no_progress(_done: int, _total: int) -> None:
    """A `Progress` that shows nothing."""


def n_cores() -> int:
    """Processor cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


@contextmanager
def one_thread_for_blas() -> Iterator[None]:
    """Keep numpy to one thread, if it is loaded in the block or by a process started there.

    Otherwise OpenBLAS starts a thread per core when it is loaded, and these spin while waiting for
    work: a tenth of a second in every process, even if it multiplies nothing.
    """
    if _BLAS_THREADS in os.environ:
        yield
        return
    os.environ[_BLAS_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_BLAS_THREADS]


@contextmanager
def thread_pool(jobs: int = 0) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of ``jobs`` threads; 0 takes one per core.

    An exception, including Ctrl-C, drops what was not begun instead of finishing it first.
    """
    pool = ThreadPoolExecutor(jobs or n_cores())
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def prefetched(
    make: Callable[[Item], Result], items: Iterable[Item], *, n_threads: int, n_ahead: int = 4
) -> Generator[Result]:
    """``make(item)`` for each item in order, computed by threads ahead of its use.

    An exception from ``make`` is raised where its result was due. Close the generator, or exhaust
    it, to end the threads.

    Args:
        make: What each item needs.
        items: Read only as far ahead as results are computed.
        n_threads: Threads; with 0 each result is made on demand.
        n_ahead: At most this many results wait to be used (and at least one per thread).
    """
    if n_threads == 0:
        yield from map(make, items)
        return
    waiting: deque[Future[Result]] = deque()
    threads = ThreadPoolExecutor(n_threads, thread_name_prefix="prefetched")
    try:
        for item in items:
            waiting.append(threads.submit(make, item))
            if len(waiting) > max(n_ahead, n_threads):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(wait=True, cancel_futures=True)
