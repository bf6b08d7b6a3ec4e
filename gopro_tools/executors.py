"""Executors that users name, and work on many items in one: the seam to other machines."""

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import Any, TypeVar

from gopro_tools.errors import InputError
from gopro_tools.plugins import FOREIGN_FAULTS, PluginKind, described
from gopro_tools.processes import Workers, completed
from gopro_tools.threads import n_cores, prefetched

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)

EXECUTORS = PluginKind(
    what="executor",
    option="--executor",
    signature="factory(name=value...) -> concurrent.futures.Executor",
    needs=("submit", "shutdown"),
    example="""\
from concurrent.futures import ProcessPoolExecutor

def make(workers=4):
    return ProcessPoolExecutor(workers)""",
)

_CHUNK = 8
"""Items per task: a message to another machine costs about a millisecond."""
_AHEAD_PER_THREAD = 2


@contextmanager
def named_executor(name: str) -> Iterator[Executor | None]:
    """Make the executor of ``--executor``, and shut it down after the block; None for no name.

    Raises:
        InputError: It cannot be loaded.
    """
    if not name:
        yield None
        return
    executor = EXECUTORS.load(name)
    try:
        yield executor
    except BaseException:
        with suppress(Exception):  # the first error is the one to mend
            executor.shutdown(wait=False, cancel_futures=True)
        raise
    try:
        executor.shutdown()
    except FOREIGN_FAULTS as error:  # the work is done
        log.warning("--executor %s: shutdown() failed: %s", name, described(error))


def mapped(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    jobs: int = 0,
    executor: Executor | None = None,
) -> Generator[Result]:
    """``function(item)`` for each item in order, computed by threads, or in an executor.

    However many items there are, few results wait to be used. Close the generator, or exhaust it,
    to end the threads.

    Args:
        function: What each item needs; in an executor, it and the items are pickled.
        items: What to work on.
        jobs: Threads; 0 takes one per core.
        executor: Where to work instead.

    Raises:
        InputError: In an executor, a worker died on an item, and so did a process here.
    """
    if executor is None:
        n_threads = jobs or n_cores()
        yield from prefetched(
            function, items, n_threads=n_threads, n_ahead=_AHEAD_PER_THREAD * n_threads
        )
        return
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    tasks = list(enumerate(chunks))
    early: dict[int, list[Result]] = {}
    n_used = 0
    lost: list[tuple[int, Sequence[Item]]] = []
    on_chunk = partial(_on_chunk, function)
    for (number, _), results in completed(executor, on_chunk, tasks, lost, n_cores()):
        early[number] = results
        while n_used in early:
            yield from early.pop(n_used)
            n_used += 1
    if lost:
        with Workers(1) as workers:
            workers.run(
                on_chunk, lost, lambda task, results: early.update({task[0]: results}), _crashed
            )
    for number in sorted(early):
        yield from early[number]


def kept(make: Callable[..., Result], *arguments: Any) -> Result:
    """``make(*arguments)``, made once per thread of a worker for all its tasks."""
    part: Result = _kept(make, arguments, threading.get_ident())
    return part


@lru_cache(maxsize=16)
def _kept(make: Callable[..., Any], arguments: tuple[Any, ...], _thread: int) -> Any:
    return make(*arguments)


def _on_chunk(function: Callable[[Item], Result], task: tuple[int, Sequence[Item]]) -> list[Result]:
    return [function(item) for item in task[1]]


def _crashed(task: tuple[int, Sequence[Any]]) -> None:
    named = ", ".join(str(getattr(item, "key", item)) for item in task[1])
    raise InputError(
        f"A worker process crashed on one of these, and again when it was tried here: {named}. "
        "Leave the damaged one out."
    )
