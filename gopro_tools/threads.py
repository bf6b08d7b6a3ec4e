"""Threads for work on images: decoding, hashing and transforms release the interpreter's lock."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def thread_pool(jobs: int = 0) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of ``jobs`` threads; 0 takes one a core.

    An exception, Ctrl-C among them, drops what was not begun instead of working it off first.
    """
    pool = ThreadPoolExecutor(jobs or os.cpu_count() or 1)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
