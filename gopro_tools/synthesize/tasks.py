"""Segments as tasks: packing them, running them in workers, reading their records."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gopro_tools.errors import InputError
from gopro_tools.exposure import Window
from gopro_tools.processes import Workers
from gopro_tools.synthesize.output import STATE_FOLDER, fingerprint_of
from gopro_tools.synthesize.plan import Plan, SequencePlan
from gopro_tools.synthesize.preview import Shown, places_shown
from gopro_tools.synthesize.segment import OutputError, SegmentRecord, SegmentTask, task_of
from gopro_tools.threads import Progress


def run_segments(
    workers: Workers,
    make: Callable[[SegmentTask], SegmentRecord],
    tasks: Sequence[SegmentTask],
    pending: Sequence[SegmentTask],
    progress: Progress | None,
    *,
    on_crash: Callable[[SegmentTask, SegmentRecord], None],
    on_made: Callable[[SegmentTask, SegmentRecord], None] = lambda *_: None,
) -> dict[str, Shown]:
    """Make segments in workers, the longest first, and report the windows done.

    Args:
        workers: Where.
        make: Makes a segment and stores its record.
        tasks: All segments, for the progress.
        pending: Those to make.
        progress: Called with the number of windows done and in total.
        on_crash: Called with the record of a segment on which its worker crashed, to store it.
        on_made: Called with every other record.

    Returns:
        What workers made of the preview, by the pair's name.
    """
    shown: dict[str, Shown] = {}
    n_total = sum(len(task.windows) for task in tasks)
    n_done = n_total - sum(len(task.windows) for task in pending)

    def count(task: SegmentTask) -> None:
        nonlocal n_done
        n_done += len(task.windows)
        if progress:
            progress(n_done, n_total)

    def made(task: SegmentTask, record: SegmentRecord) -> None:
        on_made(task, record)
        shown.update(record.shown)
        count(task)

    def crashed(task: SegmentTask) -> None:
        on_crash(task, SegmentRecord.crashed(task))
        count(task)

    if progress:
        progress(n_done, n_total)
    # The longest first, so that no worker starts one when the others are done.
    workers.run(make, sorted(pending, key=lambda task: -len(task.windows)), made, crashed)
    return shown


def records_of(tasks: Sequence[SegmentTask]) -> Callable[[SequencePlan], list[SegmentRecord]]:
    """A function that loads the records of a sequence, all of which are made."""
    by_sequence: defaultdict[tuple[str, str], list[SegmentTask]] = defaultdict(list)
    for task in tasks:
        by_sequence[task.split, task.sequence].append(task)

    def load(sequence: SequencePlan) -> list[SegmentRecord]:
        read = [SegmentRecord.read(task) for task in by_sequence[sequence.split, sequence.name]]
        records = [record for record in read if record is not None]
        if len(records) < len(read):
            raise InputError(
                f"{tasks[0].record.parent}: records of {sequence.name} disappeared while the "
                "dataset was being finished; run the same command again."
            )
        return records

    return load


@contextmanager
def writing() -> Iterator[None]:
    """Turn a failure to write into a message that says how to resume."""
    try:
        yield
    except (OutputError, OSError) as error:
        raise InputError(
            f"Cannot write the dataset: {error}. What was made is kept: make room (or fix the "
            "folder) and run the same command again; it resumes from here."
        ) from error


def tasks_of(plan: Plan, out: Path, n_jobs: int) -> list[SegmentTask]:
    """The segments of a plan, packed for workers."""
    # Where there are fewer segments than workers, let each decoder use the idle cores.
    threads = max(1, n_jobs // max(len(plan.segments), 1))
    fingerprint = fingerprint_of(plan)
    # An executor's workers may have another working folder.
    config, out = plan.config.absolute(), out.absolute()
    shown = _probably_shown(plan)
    return [
        task_of(
            segment,
            config=config,
            out=out,
            state=out / STATE_FOLDER,
            fingerprint=fingerprint,
            decode_threads=threads,
            shown=shown[segment.sequence.split, segment.sequence.name],
        )
        for segment in plan.segments
    ]


def _probably_shown(plan: Plan) -> Mapping[tuple[str, str], set[Window]]:
    """The windows that the preview shows if none is rejected, by their sequence."""
    shown: defaultdict[tuple[str, str], set[Window]] = defaultdict(set)
    places = places_shown(plan.n_windows)
    start = 0
    for sequence in plan.in_order:
        stop = start + len(sequence.windows)
        here = [place - start for place in places if start <= place < stop]
        shown[sequence.split, sequence.name] = {sequence.windows[place] for place in here}
        start = stop
    return shown
