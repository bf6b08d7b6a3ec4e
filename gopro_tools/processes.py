"""Work in processes of our own: a crash, a kill or Ctrl-C costs only the task at hand."""

import copy
import logging
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pickle import PicklingError
from queue import SimpleQueue
from typing import Any, Self, TypeVar

from gopro_tools.errors import InputError, PassingError
from gopro_tools.threads import one_thread_for_blas

Task = TypeVar("Task")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)

_KILLED = {
    -getattr(signal, name): name
    for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
    if hasattr(signal, name)
}
"""Exit codes of a process killed by something else: the out-of-memory killer, a scheduler, a
person."""
_READY = "ready"


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    started: bool = False


class Workers:
    """Runs tasks in processes, or in an executor that was handed in.

    A task whose process crashes takes down neither the run nor other tasks.
    """

    def __init__(
        self,
        n_jobs: int,
        executor: Executor | None = None,
        *,
        prepare: Callable[[], None] | None = None,
        warm_up: Callable[[], None] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            n_jobs: Maximum number of processes.
            executor: Runs the tasks instead, and manages its own processes. Tasks whose worker died
                there are run again here, in a process.
            prepare: Called in each process first.
            warm_up: Called once in each process, when it first has nothing to do, to load what
                later tasks need.
        """
        self.n_jobs = n_jobs
        self._given = executor
        self._prepare = prepare
        self._warm_up = warm_up
        self._workers: list[_Worker] = []

    def start(self) -> None:
        """Start all processes now: they load what they need while this one does other work."""
        if self._given is None:
            self._enough(self.n_jobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for worker in self._workers:
            if kind is None:
                with suppress(OSError):
                    worker.pipe.send(None)
            else:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(timeout=1)
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        on_result: Callable[[Task, Result], None],
        on_crash: Callable[[Task], None],
    ) -> None:
        """Run ``function`` over ``tasks``, the first ones first.

        Args:
            function: What to do; an exception from it ends the run.
            tasks: What to do it with.
            on_result: Called in this thread with each task and its result, as they come.
            on_crash: Called with each task whose process crashed, as it does when a decoder
                corrupts memory.

        Raises:
            PassingError: A process was killed from outside.
            InputError: Processes cannot be started here.
        """
        if self._given is not None:
            lost: list[Task] = []
            for task, result in completed(self._given, function, tasks, lost, self.n_jobs):
                on_result(task, result)
            if not lost:
                return
            # Only the exit code of a process of our own tells a crash from a kill.
            logger.warning("%d task(s) lost their worker; they run here instead.", len(lost))
            tasks = lost
        waiting = list(reversed(tasks))
        running: dict[int, tuple[_Worker, Task]] = {}
        while waiting or running:
            busy = {id(worker) for worker, _ in running.values()}
            for worker in self._enough(len(waiting) + len(running)):
                if waiting and id(worker) not in busy:
                    task = waiting.pop()
                    running[id(worker)] = worker, task
                    _send(worker, (function, task))
            for worker in _those_with_news([worker for worker, _ in running.values()]):
                try:
                    answer = worker.pipe.recv()
                except (EOFError, OSError):
                    _, task = running.pop(id(worker))
                    self._bury(worker)
                    on_crash(task)
                    continue
                if answer == _READY:
                    worker.started = True
                    continue
                succeeded, result = answer
                _, task = running.pop(id(worker))
                if not succeeded:
                    raise result
                on_result(task, result)

    def _enough(self, n_tasks: int) -> list[_Worker]:
        """All workers, started if there are tasks for them."""
        while len(self._workers) < min(self.n_jobs, n_tasks):
            self._workers.append(_started(self._prepare, self._warm_up))
        return self._workers

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        code = worker.process.exitcode
        if code in _KILLED:
            raise PassingError(
                f"A worker process was ended from outside ({_KILLED[code]}); if nobody did it, the "
                "system ran out of memory: use fewer --jobs. Nothing was recorded of its task."
            )
        if not worker.started:
            raise InputError(
                f"A worker process could not start (exit code {code}). In a script of your own, "
                'call this under `if __name__ == "__main__":`, as processes import the script.'
            )


def completed(
    executor: Executor,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    lost: list[Task],
    n_slots: int,
) -> Generator[tuple[Task, Result]]:
    """Run ``function`` over ``tasks`` in an executor, the first ones first.

    Two attributes beyond `concurrent.futures.Executor` are used where an executor has them:
    ``n_slots``, how many tasks it runs at once, and ``worker_died``, a tuple of the exceptions that
    mean that the worker of a task died (`BrokenExecutor` always does).

    Args:
        executor: Where.
        function: What to do; an exception from it is raised here.
        tasks: What to do it with; at most twice as many as there are slots are in flight.
        lost: Gets the tasks whose worker died, and all that a broken executor no longer takes.
        n_slots: Used where the executor does not say.

    Yields:
        Each task and its result, as they come.

    Raises:
        PassingError: The executor dropped a task, as it does if it lost its scheduler, or takes no
            more.
        InputError: It is not an executor, or a task cannot be sent to its workers.
    """
    if not hasattr(executor, "submit"):
        raise InputError(
            f"The executor is {executor!r}; a concurrent.futures.Executor was expected."
        )
    died = (BrokenExecutor, *getattr(executor, "worker_died", ()))
    waiting = deque(tasks)
    running: dict[Future[_Answer], Task] = {}
    ended: SimpleQueue[Future[_Answer]] = SimpleQueue()
    try:
        while waiting or running:
            while waiting and len(running) < 2 * max(1, _slots_of(executor, n_slots)):
                try:
                    future = _submitted(executor, function, waiting[0])
                except BrokenExecutor:
                    lost += waiting
                    waiting.clear()
                    break
                running[future] = waiting.popleft()
                future.add_done_callback(ended.put)
            if not running:
                return
            future = ended.get()
            task = running.pop(future)
            try:
                result = _result_of(future, executor)
            except died:
                lost.append(task)
            else:
                yield task, result
    finally:
        for future in running:
            future.cancel()


@dataclass(frozen=True, slots=True)
class _Answer:
    """Wraps what a task returned, so that nothing else an executor returns is mistaken for it."""

    result: Any


def _answer(function: Callable[[Task], Any], task: Task) -> _Answer:
    return _Answer(function(task))


def _slots_of(executor: Executor, n_otherwise: int) -> int:
    n_slots = getattr(executor, "n_slots", n_otherwise)
    if not isinstance(n_slots, int):
        raise InputError(
            f"n_slots of the executor ({type(executor).__name__}) is {n_slots!r}; a number of "
            "tasks that run at once was expected."
        )
    return n_slots


def _submitted(
    executor: Executor, function: Callable[[Task], Any], task: Task
) -> "Future[_Answer]":
    what = type(executor).__name__
    try:
        future = executor.submit(_answer, function, task)
    except BrokenExecutor:
        raise
    except RuntimeError as error:
        raise PassingError(
            f"The executor ({what}) takes no more tasks: {error}. What was made is kept; run the "
            "same command again."
        ) from error
    if not isinstance(future, Future):
        raise InputError(
            f"submit() of the executor ({what}) gave a {type(future).__name__}; a "
            "concurrent.futures.Future was expected."
        )
    return future


def _result_of(future: "Future[_Answer]", executor: Executor) -> Any:
    what = type(executor).__name__
    try:
        answer: object = future.result()
    except CancelledError as error:
        raise PassingError(
            "The executor dropped its tasks: its scheduler or cluster went away. What was made is "
            "kept; run the same command again when it is back."
        ) from error
    except (PicklingError, TypeError, AttributeError) as error:
        if "pickle" not in str(error):
            raise  # it is the work's own
        raise InputError(
            f"A task cannot be sent to the workers of the executor ({what}): {error}."
        ) from error
    if not isinstance(answer, _Answer):
        raise InputError(
            f"The executor ({what}) gave a {type(answer).__name__} for a task, which is not what "
            "the task returned."
        )
    return answer.result


def _those_with_news(workers: Sequence[_Worker]) -> list[_Worker]:
    """Wait until some workers have a result or have ended."""
    ready = connection.wait([worker.pipe for worker in workers])
    return [worker for worker in workers if worker.pipe in ready]


def _send(worker: _Worker, message: Any) -> None:
    # A worker that has just ended is found when its answer is waited for.
    with suppress(BrokenPipeError, ConnectionResetError):
        worker.pipe.send(message)


def _started(prepare: Callable[[], None] | None, warm_up: Callable[[], None] | None) -> _Worker:
    # spawn: OpenCV's and numba's threads do not survive a fork.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, prepare, warm_up), daemon=True)
    with _terminal_signals_blocked(), one_thread_for_blas():  # processes share the cores
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _terminal_signals_blocked() -> Iterator[None]:
    """Children inherit the mask: only the parent reacts to what a terminal sends to all."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started with the first process otherwise, it would end by letting these signals through.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    pipe: Connection, prepare: Callable[[], None] | None, warm_up: Callable[[], None] | None
) -> None:
    """Do task after task, in a worker process."""
    end_with_parent()
    if prepare is not None:
        prepare()
    with suppress(EOFError, OSError):  # the parent is gone
        pipe.send(_READY)
        while True:
            if warm_up is not None and not pipe.poll():
                warm_up()
                warm_up = None
            message = pipe.recv()
            if message is None:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)  # the parent waits, and tearing down all modules takes a while
            function, task = message
            try:
                answer = True, function(task)
            except Exception as error:
                answer = False, _sendable(error)
            pipe.send(answer)


def _sendable(error: Exception) -> Exception:
    """The exception with the traceback that it loses on its way to the parent process."""
    trace = "".join(traceback.format_exception(error))
    try:
        error = copy.copy(error)  # rebuilt from its arguments, as it is on arrival
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(trace)
    return error


def end_with_parent() -> None:
    """Leave Ctrl-C to the parent process, and end when it does, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
