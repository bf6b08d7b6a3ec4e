"""Drive the synthesis: one run at a time, worker processes, going on after an interruption."""

import json
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Self, TypeVar

import cv2
from filelock import FileLock, Timeout

from gopro_tools.dataset import SPLITS
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.images import PNG_ENCODER
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.plan import (
    Plan,
    Probe,
    make_plan,
    probe_source,
)
from gopro_tools.synthesize.publish import PUBLISHED_FILES, publish
from gopro_tools.synthesize.segment import (
    OutputError,
    SegmentRecord,
    SegmentTask,
    process_segment,
    save_probe,
    task_of,
    window_row,
)
from gopro_tools.synthesize.sources import DATASET_FILE, Source, discover
from gopro_tools.threads import Progress, n_cores

logger = logging.getLogger(__name__)

STATE_FOLDER = ".synthesis"
"""In the output while it is being made: what is done, the lock, files being written."""
_IDENTITY_FILE = "identity.json"
_SPARE_BYTES = 16 << 20

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run came to."""

    out: Path
    n_pairs: int = 0
    """Pairs in the finished dataset; 0 while other shards are at work."""
    n_rejected: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Sources that gave nothing, and why."""
    damaged: dict[str, list[str]] = field(default_factory=dict)
    """Sources of which some frames could not be read."""
    already_complete: bool = False
    """There was nothing to do."""
    segments_left: int = 0
    """Segments that other shards have still to make."""


def plan_synthesis(
    sources: Sequence[Path], out: Path, config: SynthesisConfig, *, jobs: int | None = None
) -> Plan:
    """Look at all sources and decide what would be made of them, without writing anything.

    Raises:
        InputError: A source does not exist, or there is none.
    """
    with Workers(jobs, None) as workers:
        return _plan(sources, out, config, workers)


def _plan(sources: Sequence[Path], out: Path, config: SynthesisConfig, workers: "Workers") -> Plan:
    found = discover(sources, exclude=out)
    probes: dict[Source, Probe] = {}

    def crashed(source: Source) -> None:
        probes[source] = Probe(
            source=source,
            error=f"{source.path}: the decoder crashed on it. The file is damaged; copy it again.",
        )

    workers.run(partial(probe_source, config=config), found, probes.__setitem__, crashed)
    return make_plan([probes[source] for source in found], config)


def synthesize(
    sources: Sequence[Path | str],
    out: Path | str,
    config: SynthesisConfig | None = None,
    *,
    jobs: int | None = None,
    executor: Executor | None = None,
    shard: tuple[int, int] = (1, 1),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Make a dataset of blurred/sharp pairs in the GOPRO_Large layout from videos.

    Interrupted at any point, the same call goes on where it stopped, and the result is the same in
    every byte. As it starts processes, call it under ``if __name__ == "__main__":`` in a script.

    Args:
        sources: Video files, folders of numbered frames, or folders to search for such.
        out: Folder of the dataset.
        config: The recipe; GOPRO's by default.
        jobs: Worker processes; one a core by default. The result does not depend on it.
        executor: Runs the work in place of local processes; it must see the same file system.
        shard: ``(i, n)``: make only the i-th of n shares, counted from 1, for job arrays. The share
            that finds all others done finishes the dataset.
        overwrite: Replace the dataset that lies at ``out`` if it was made otherwise.
        progress: Told how far the work is.

    Returns:
        What was made and what failed; a bad source does not stop the others.

    Raises:
        InputError: Nothing to work on; ``out`` holds something else, is in use by another run or
            full; the disk is full.
    """
    config = config or SynthesisConfig()
    out = Path(out)
    shard_index, n_shards = shard
    if not 1 <= shard_index <= n_shards:
        raise InputError(f"shard {shard_index}/{n_shards}: 1/{n_shards} ... expected.")
    _ = config.camera
    _refuse_foreign(out)
    if PNG_ENCODER == "opencv":
        logger.warning("fpng is not installed: OpenCV writes the PNG files, ten times slower.")
    with Workers(jobs, executor) as workers:
        plan = _plan([Path(source) for source in sources], out, config, workers)
        if not plan.segments:
            raise InputError(_nothing_to_make(plan))
        state = out / STATE_FOLDER
        with _only_run(state, shard_index, n_shards):
            complete = _is_complete(out, plan, overwrite)
            if not complete:
                write_atomic(state / _IDENTITY_FILE, _identity_text(plan))
                tasks = _tasks(plan, out, state, workers.n_jobs)
                mine = [task for i, task in enumerate(tasks) if i % n_shards == shard_index - 1]
                _make_segments(plan, mine, workers, progress)
                left = [task for task in tasks if not task.record.exists()]
                if left:
                    return Summary(out=out, failed=plan.failed, segments_left=len(left))
                records = [SegmentRecord.load(task.record) for task in tasks]
                with _writing():
                    publish(plan, records, out)
            summary = _summary(out, plan, already_complete=complete)
    shutil.rmtree(state, ignore_errors=True)
    return summary


def _make_segments(
    plan: Plan, tasks: Sequence[SegmentTask], workers: "Workers", progress: Progress | None
) -> None:
    """Make those of the segments that are not made yet."""
    pending = [task for task in tasks if not task.record.exists()]
    names = {task.name for task in pending}
    if pending:
        _check_space(pending[0].out, plan.bytes_of([s for s in plan.segments if s.name in names]))
    # The longest first, so that no worker starts one when the others are done.
    pending.sort(key=lambda task: -len(task.windows))
    n_total = sum(len(task.windows) for task in tasks)
    n_done = n_total - sum(len(task.windows) for task in pending)

    def done(task: SegmentTask, _: SegmentRecord) -> None:
        nonlocal n_done
        n_done += len(task.windows)
        if progress:
            progress(n_done, n_total)

    def crashed(task: SegmentTask) -> None:
        reason = f"the decoder crashed on frames {_frames_of(task)}"
        record = SegmentRecord(
            name=task.name,
            rejected=[
                window_row(
                    split=task.split, sequence=task.sequence, source=task.source, window=window
                )
                | {"reason": reason}
                for window in task.windows
            ],
            problems=[reason],
        )
        write_atomic(task.record, json.dumps(asdict(record)))
        done(task, record)

    if progress:
        progress(n_done, n_total)
    with _writing():
        workers.run(process_segment, pending, done, crashed)


def _frames_of(task: SegmentTask) -> str:
    return f"{task.windows[0].start}-{task.windows[-1].stop - 1}"


@contextmanager
def _writing() -> Iterator[None]:
    """Turn a failure to write into a message that says how to go on."""
    try:
        yield
    except (OutputError, OSError) as error:
        raise InputError(
            f"Cannot write the dataset: {error}. What was made is kept: make room (or mend the "
            "folder) and run the same command again; it goes on from here."
        ) from error


def _tasks(plan: Plan, out: Path, state: Path, n_jobs: int) -> list[SegmentTask]:
    """All segments as tasks; the longest videos' probes are stored once, for every worker."""
    probe_files: dict[str, Path] = {}
    for number, probe in enumerate(plan.probes):
        if probe.info is not None:
            probe_files[probe.source.name] = state / f"source-{number:05d}.pickle"
            save_probe(probe, probe_files[probe.source.name])
    # Where there are fewer segments than workers, let each decoder use the idle cores.
    threads = max(1, n_jobs // max(len(plan.segments), 1))
    return [
        task_of(
            segment,
            config=plan.config,
            out=out,
            state=state,
            probe_file=probe_files[segment.sequence.probe.source.name],
            decode_threads=threads,
        )
        for segment in plan.segments
    ]


def _summary(out: Path, plan: Plan, *, already_complete: bool) -> Summary:
    described = json.loads((out / DATASET_FILE).read_text(encoding="utf-8"))
    return Summary(
        out=out,
        n_pairs=sum(described["n_pairs"].values()),
        n_rejected=described["n_rejected"],
        failed=plan.failed,
        damaged={s["name"]: s["problems"] for s in described["sources"] if s["problems"]},
        already_complete=already_complete,
    )


def _nothing_to_make(plan: Plan) -> str:
    reasons = list(plan.failed.values()) or ["Every window crosses a gap in time."]
    return "No pair can be made.\n" + "\n".join(reasons)


# --- the output folder -----------------------------------------------------------------------


def _identity_text(plan: Plan) -> str:
    return json.dumps(plan.identity(), indent=1, sort_keys=True)


def _refuse_foreign(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: a folder was expected; name another one with --out.")
    ours = (out / DATASET_FILE).exists() or (out / STATE_FOLDER).exists()
    if not ours and any(out.iterdir()):
        raise InputError(
            f"{out}: holds files that this program did not make; name an empty or new folder."
        )


def _is_complete(out: Path, plan: Plan, overwrite: bool) -> bool:
    """Whether the dataset at ``out`` is this one; makes room if it is another and may go."""
    dataset, identity = out / DATASET_FILE, out / STATE_FOLDER / _IDENTITY_FILE
    stored: dict[str, object] | None = None
    if dataset.exists():
        stored = json.loads(dataset.read_text(encoding="utf-8"))["identity"]
    elif identity.exists():
        stored = json.loads(identity.read_text(encoding="utf-8"))
    wanted = json.loads(_identity_text(plan))
    if stored is None or stored == wanted:
        return dataset.exists()
    if not overwrite:
        raise InputError(
            f"{out}: holds a dataset made otherwise ({_difference(stored, wanted)}). Name another "
            "folder with --out, or replace it with --overwrite."
        )
    for split in SPLITS:
        shutil.rmtree(out / split, ignore_errors=True)
    for name in reversed(PUBLISHED_FILES):
        (out / name).unlink(missing_ok=True)
    for path in (out / STATE_FOLDER).iterdir():
        if path.suffix in (".json", ".tmp", ".pickle"):
            path.unlink()
    return False


def _difference(stored: dict[str, object], wanted: dict[str, object]) -> str:
    changes: list[str] = []
    for part in ("config", "sources"):
        old, new = stored.get(part), wanted.get(part)
        if not isinstance(old, dict) or not isinstance(new, dict):
            return "by another version of this program"
        changes += [
            f"source {key} differs"
            if part == "sources"
            else f"{key}: {old.get(key)} there, {new.get(key)} asked for"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
    return "; ".join(changes[:5])


@contextmanager
def _only_run(state: Path, shard_index: int, n_shards: int) -> Iterator[None]:
    """Hold the folder for one run; shards of one division may work beside each other."""
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{state.parent}: cannot be made ({error.strerror}).") from error
    mine = f"shard-{shard_index}-of-{n_shards}.lock"
    in_use = InputError(
        f"{state.parent}: another run is at work there. Wait for it, or name another folder."
    )
    lock = FileLock(state / mine)
    try:
        with FileLock(state / "start.lock", timeout=60):
            for other in state.glob("shard-*.lock"):
                if not other.name.endswith(f"-of-{n_shards}.lock"):
                    FileLock(other).acquire(timeout=0).lock.release()
            lock.acquire(timeout=0)
    except Timeout as error:
        raise in_use from error
    try:
        yield
    finally:
        lock.release()


def _check_space(out: Path, bytes_needed: int) -> None:
    free = shutil.disk_usage(out).free
    if bytes_needed + _SPARE_BYTES > free:
        raise InputError(
            f"{out}: about {bytes_needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free. "
            "Make room, or take less: --max-pairs, --scale, fewer --kinds."
        )


# --- workers ---------------------------------------------------------------------------------


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, use one core, and end when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _load_kernel() -> None:
    import gopro_tools.averaging  # noqa: F401


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


class Workers:
    """Runs tasks in processes of its own, or in an executor that was handed in.

    A task whose process dies takes down neither the run nor other tasks.
    """

    def __init__(self, jobs: int | None, executor: Executor | None) -> None:
        self.n_jobs = jobs or n_cores()
        self._given = executor
        self._own: Executor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            self._own.shutdown(wait=True, cancel_futures=True)
            self._own = None

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        on_result: Callable[[Task, Result], None],
        on_crash: Callable[[Task], None],
    ) -> None:
        """Run ``function`` over ``tasks``, the first ones first.

        Args:
            function: What to do; an exception of it ends the run.
            tasks: What to do it with.
            on_result: Called in this thread with each task and its result, as they come.
            on_crash: Called with each task whose process died.
        """
        waiting = list(reversed(tasks))
        while waiting:
            # One of the unfinished killed its worker: each gets a process of its own, to tell.
            for task in self._run_until_broken(function, waiting, on_result):
                with _pool(1) as lone:
                    try:
                        result = lone.submit(function, task).result()
                    except BrokenProcessPool:
                        on_crash(task)
                        continue
                on_result(task, result)

    def _run_until_broken(
        self,
        function: Callable[[Task], Result],
        waiting: list[Task],
        on_result: Callable[[Task, Result], None],
    ) -> list[Task]:
        """Work off ``waiting`` from its end; if a worker dies, return the tasks in hand."""
        if self._given is None and self._own is None:
            self._own = _pool(self.n_jobs)
            # Processes start when there is a task for them: let those that no source keeps busy
            # load what the segments need.
            for _ in range(self.n_jobs - len(waiting)):
                self._own.submit(_load_kernel)
        executor = self._given or self._own
        assert executor is not None
        running: dict[Future[Result], Task] = {}
        try:
            while waiting or running:
                while waiting and len(running) < 2 * self.n_jobs:
                    running[executor.submit(function, waiting[-1])] = waiting[-1]
                    waiting.pop()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    on_result(running.pop(future), result)
        except BrokenProcessPool:
            if self._given is not None:
                raise
            self._own = None
            return list(running.values())
        finally:
            for future in running:
                future.cancel()
        return []


def _pool(jobs: int) -> ProcessPoolExecutor:
    # spawn: OpenCV's and numba's threads do not survive a fork.
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_start_worker)
