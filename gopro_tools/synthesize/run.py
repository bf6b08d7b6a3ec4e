"""Drive the synthesis: from sources to a sealed dataset, resuming after an interruption."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gopro_tools.dataset import MANIFEST_FILE
from gopro_tools.errors import InputError
from gopro_tools.files import sync_file_system, write_atomic
from gopro_tools.images import PNG_ENCODER
from gopro_tools.locks import held
from gopro_tools.processes import Workers
from gopro_tools.seal import Seal, read_seal
from gopro_tools.shown import ShownResult
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.output import (
    STATE_FOLDER,
    begin_again,
    check_space,
    clean_state,
    fingerprint_of,
    only_run,
    refuse_foreign,
)
from gopro_tools.synthesize.plan import Plan, Probe, SequencePlan, make_plan, probe_source
from gopro_tools.synthesize.publish import publish
from gopro_tools.synthesize.repair import Lost, is_as_listed, listed_pairs, pairs_of, tasks_with
from gopro_tools.synthesize.segment import (
    OutputError,
    SegmentRecord,
    SegmentTask,
    process_segment,
    task_of,
    window_row,
)
from gopro_tools.synthesize.sources import Source, discover
from gopro_tools.synthesize.worker import started_workers
from gopro_tools.text import markdown_cell, markdown_table, read_csv
from gopro_tools.threads import Progress, thread_pool

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Summary(ShownResult):
    """Result of `synthesize`; shows itself as the manifest of the dataset."""

    out: Path
    """Folder of the dataset."""
    n_pairs: int = 0
    """Pairs in the finished dataset; 0 while other shards are at work."""
    n_rejected: int = 0
    """Windows left out."""
    failed: dict[str, str] = field(default_factory=dict)
    """Sources that gave nothing, and why."""
    damaged: dict[str, list[str]] = field(default_factory=dict)
    """Sources of which some frames could not be read."""
    already_complete: bool = False
    """There was nothing to do."""
    n_repaired: int = 0
    """Images of a finished dataset that were missing or changed, and are as they were again."""
    segments_left: int = 0
    """Segments that other shards have still to make."""

    def to_dataframe(self) -> "pd.DataFrame":
        """The manifest: one row per pair. Empty while other shards are still to be made."""
        import pandas as pd

        path = self.out / MANIFEST_FILE
        return pd.DataFrame(read_csv(path, ()) if path.is_file() else ())

    def to_markdown(self) -> str:
        """Number of pairs of each sequence."""
        frame = self.to_dataframe()
        if frame.empty:
            return "No pairs.\n"
        counts = Counter(zip(frame["split"], frame["sequence"], strict=True))
        rows = [[split, markdown_cell(name), str(n)] for (split, name), n in counts.items()]
        return markdown_table(["split", "sequence", "pairs"], rows, n_text_columns=2) + "\n"


def plan_synthesis(
    workers: Workers, sources: Sequence[Path], out: Path, config: SynthesisConfig
) -> Plan:
    """Look at all sources and decide what would be made of them, without writing anything.

    Raises:
        InputError: A source does not exist, or there is none; the config cannot be used; or
            ``out`` holds something else.
    """
    _ = config.camera
    refuse_foreign(out)
    return _plan(sources, out, config, workers)


def _plan(sources: Sequence[Path], out: Path, config: SynthesisConfig, workers: Workers) -> Plan:
    found = discover(sources, exclude=out)
    probes: dict[Source, Probe] = {}

    def crashed(source: Source) -> None:
        probes[source] = Probe(
            source=source,
            error=f"{source.path}: the decoder crashed on it. The file is damaged; copy it again.",
        )

    probe = partial(probe_source, config=config.absolute())
    workers.run(probe, found, probes.__setitem__, crashed)
    return make_plan([probes[source] for source in found], config)


def synthesize(
    sources: Path | str | Sequence[Path | str],
    config: SynthesisConfig | None = None,
    *,
    out: Path | str,
    on_progress: Progress | None = None,
    jobs: int | None = None,
    executor: Executor | None = None,
    shard: tuple[int, int] = (1, 1),
    overwrite: bool = False,
) -> Summary:
    """Make a dataset of blurred/sharp pairs in the GOPRO_Large layout from videos.

    Interrupted at any point, the same call resumes where it stopped, and the result is the same in
    every byte. As it starts processes, call it under ``if __name__ == "__main__":`` in a script.

    Args:
        sources: Video files, folders of numbered frames, or folders to search for such.
        config: The recipe; that of GOPRO_Large by default.
        out: Folder of the dataset.
        on_progress: Called with the number of windows dealt with and of all windows.
        jobs: Worker processes; one per core by default. The result does not depend on it.
        executor: Runs the work instead of local processes; it must see the same files under the
            same absolute paths.
        shard: ``(i, n)``: make only the i-th of n shares, counted from 1, for job arrays. The share
            that finds all others done finishes the dataset.
        overwrite: Replace the dataset that lies at ``out`` if it was made otherwise: the files that
            its manifest lists, and no others.

    Returns:
        What was made and what failed; a bad source does not stop the others.

    Raises:
        InputError: Nothing to work on; ``out`` holds something else, is in use by another run or
            full; the disk is full.
        PassingError: Something failed that may work next time, such as a source that went away or
            a lack of memory. What was made is kept, and the same call resumes.
    """
    named = [sources] if isinstance(sources, str | Path) else sources
    with started_workers(jobs, executor) as workers:
        return synthesize_with(
            workers,
            [Path(source) for source in named],
            Path(out),
            config or SynthesisConfig(),
            shard=shard,
            overwrite=overwrite,
            on_progress=on_progress,
        )


def synthesize_with(
    workers: Workers,
    sources: Sequence[Path],
    out: Path,
    config: SynthesisConfig,
    *,
    shard: tuple[int, int],
    overwrite: bool,
    on_progress: Progress | None,
) -> Summary:
    """`synthesize` with workers that were started before."""
    shard_index, n_shards = shard
    if not 1 <= shard_index <= n_shards:
        raise InputError(f"shard {shard_index}/{n_shards}: 1/{n_shards} ... expected.")
    _ = config.camera
    refuse_foreign(out)
    if PNG_ENCODER == "opencv":
        logger.warning("fpng is not installed: OpenCV writes the PNG files, ten times slower.")
    plan = _plan(sources, out, config, workers)
    if not plan.segments:
        raise InputError(_nothing_to_make(plan))
    with only_run(out, plan, shard, overwrite=overwrite) as lost:
        tasks = _tasks(plan, out, workers.n_jobs)
        mine = [task for i, task in enumerate(tasks) if i % n_shards == shard_index - 1]
        summary = None
        if lost is not None:
            summary = _repaired(plan, out, lost, tasks, mine, workers, on_progress)
        if summary is None:
            _make_segments(plan, mine, _not_done(mine, with_hashes=True), workers, on_progress)
            summary = _finish(plan, out, tasks)
        if not summary.segments_left:
            clean_state(out)
    return summary


def _repaired(
    plan: Plan,
    out: Path,
    lost: Lost,
    tasks: Sequence[SegmentTask],
    mine: Sequence[SegmentTask],
    workers: Workers,
    progress: Progress | None,
) -> Summary | None:
    """Make those segments again that a finished dataset lost images of.

    Returns:
        None if they do not come out as the manifest lists them: all is to be made again.
    """
    if not lost:
        return _summary(out, plan, read_seal(out), already_complete=True)
    concerned = tasks_with(tasks, lost)
    names = [name for names in lost.values() for name in names]
    logger.warning(
        "%s: %d image(s) are missing or changed, first %s; %d of %d segments are made again.",
        out,
        len(names),
        names[0],
        len(concerned),
        len(tasks),
    )
    listed = listed_pairs(out)
    here = tasks_with(mine, lost)
    _make_segments(plan, here, here, workers, progress)
    sync_file_system(out)
    made = [SegmentRecord.load(task, with_hashes=False) for task in here]
    if not all(is_as_listed(*one, listed) for one in zip(here, made, strict=True)):
        logger.warning(
            "%s: they do not come out as %s lists them, so the whole dataset is made again; "
            "another version of this program or of FFmpeg may have made it.",
            out,
            MANIFEST_FILE,
        )
        begin_again(out, plan)
        return None
    of_others = [task for task in concerned if task not in here]
    return replace(
        _summary(out, plan, read_seal(out), already_complete=False),
        n_repaired=sum(len(lost.get(key, ())) for task in here for key in pairs_of(task)),
        segments_left=len(_not_done(of_others, with_hashes=False)),
    )


def _make_segments(
    plan: Plan,
    tasks: Sequence[SegmentTask],
    pending: list[SegmentTask],
    workers: Workers,
    progress: Progress | None,
) -> None:
    """Make those of the segments that are pending."""
    names = {task.name for task in pending}
    if pending:
        check_space(pending[0].out, plan.bytes_of([s for s in plan.segments if s.name in names]))
    # The longest first, so that no worker starts one when the others are done.
    pending = sorted(pending, key=lambda task: -len(task.windows))
    n_total = sum(len(task.windows) for task in tasks)
    n_done = n_total - sum(len(task.windows) for task in pending)

    def done(task: SegmentTask, _: SegmentRecord) -> None:
        nonlocal n_done
        n_done += len(task.windows)
        if progress:
            progress(n_done, n_total)

    def crashed(task: SegmentTask) -> None:
        reason = (
            f"the decoder crashed on frames {task.windows[0].start}-{task.windows[-1].stop - 1}"
        )
        record = SegmentRecord(
            name=task.name,
            fingerprint=task.fingerprint,
            rejected=[
                window_row(
                    split=task.split, sequence=task.sequence, source=task.source, window=window
                )
                | {"reason": reason}
                for window in task.windows
            ],
            problems=[reason],
        )
        write_atomic(task.record, record.to_json(), task.temporary)
        done(task, record)

    if progress:
        progress(n_done, n_total)
    with _writing():
        workers.run(process_segment, pending, done, crashed)


def _not_done(tasks: Sequence[SegmentTask], *, with_hashes: bool) -> list[SegmentTask]:
    with thread_pool() as pool:
        made = pool.map(
            lambda task: SegmentRecord.load(task, with_hashes=with_hashes) is not None, tasks
        )
        return [task for task, is_made in zip(tasks, made, strict=True) if not is_made]


def _finish(plan: Plan, out: Path, tasks: Sequence[SegmentTask]) -> Summary:
    """Seal the dataset if all segments are made; of shards that end together, one does."""
    lock = out / STATE_FOLDER / "finish.lock"
    with held(lock, f"{out}: another shard is finishing the dataset.", timeout_s=3600):
        seal = read_seal(out)
        if seal.state != "whole":
            left = _not_done(tasks, with_hashes=False)
            if left:
                return Summary(out=out, failed=plan.failed, segments_left=len(left))
            with _writing():
                publish(plan, _records_of(tasks), out, out / STATE_FOLDER)
            seal = read_seal(out)
        return _summary(out, plan, seal, already_complete=False)


def _records_of(tasks: Sequence[SegmentTask]) -> Callable[[SequencePlan], list[SegmentRecord]]:
    """What loads the records of a sequence, all of which are made."""
    by_sequence: defaultdict[tuple[str, str], list[SegmentTask]] = defaultdict(list)
    for task in tasks:
        by_sequence[task.split, task.sequence].append(task)

    def load(sequence: SequencePlan) -> list[SegmentRecord]:
        loaded = [
            SegmentRecord.load(task, with_hashes=False)
            for task in by_sequence[sequence.split, sequence.name]
        ]
        records = [record for record in loaded if record is not None]
        if len(records) < len(loaded):
            raise InputError(
                f"{tasks[0].out}: images of {sequence.name} went away while the dataset was "
                "finished; run the same command again."
            )
        return records

    return load


@contextmanager
def _writing() -> Iterator[None]:
    """Turn a failure to write into a message that says how to resume."""
    try:
        yield
    except (OutputError, OSError) as error:
        raise InputError(
            f"Cannot write the dataset: {error}. What was made is kept: make room (or mend the "
            "folder) and run the same command again; it resumes from here."
        ) from error


def _tasks(plan: Plan, out: Path, n_jobs: int) -> list[SegmentTask]:
    # Where there are fewer segments than workers, let each decoder use the idle cores.
    threads = max(1, n_jobs // max(len(plan.segments), 1))
    fingerprint = fingerprint_of(plan)
    # An executor's workers may have another working folder.
    config, out = plan.config.absolute(), out.absolute()
    return [
        task_of(
            segment,
            config=config,
            out=out,
            state=out / STATE_FOLDER,
            fingerprint=fingerprint,
            decode_threads=threads,
        )
        for segment in plan.segments
    ]


def _summary(out: Path, plan: Plan, seal: Seal, *, already_complete: bool) -> Summary:
    described = seal.record
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
