"""Drive the synthesis: from sources to a sealed dataset, resuming after an interruption."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from gopro_tools.dataset import MANIFEST_FILE
from gopro_tools.errors import InputError
from gopro_tools.files import sync_file_system, write_atomic
from gopro_tools.locks import held
from gopro_tools.processes import Workers
from gopro_tools.seal import Seal, read_seal
from gopro_tools.shape import config_from
from gopro_tools.shown import ShownResult
from gopro_tools.storage import Objects, url_of
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.copies import discover_anywhere, make_anywhere, probe_anywhere
from gopro_tools.synthesize.output import (
    STATE_FOLDER,
    begin_again,
    check_space,
    clean_state,
    only_run,
    refuse_foreign,
)
from gopro_tools.synthesize.plan import Plan, Probe, make_plan
from gopro_tools.synthesize.preview import Shown
from gopro_tools.synthesize.publish import publish
from gopro_tools.synthesize.repair import Lost, is_as_listed, listed_pairs, pairs_of, tasks_with
from gopro_tools.synthesize.segment import (
    SegmentRecord,
    SegmentTask,
)
from gopro_tools.synthesize.sources import Source
from gopro_tools.synthesize.tasks import records_of, run_segments, tasks_of, writing
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
    """Sources that yielded nothing, and why."""
    damaged: dict[str, list[str]] = field(default_factory=dict)
    """Sources with frames that could not be read."""
    already_complete: bool = False
    """There was nothing to do."""
    n_repaired: int = 0
    """Images of a finished dataset that were missing or changed, and have been restored."""
    segments_left: int = 0
    """Segments that other shards still have to make."""

    def to_dataframe(self) -> "pd.DataFrame":
        """The manifest: one row per pair. Empty while other shards are still to be made."""
        import pandas as pd

        path = self.out / MANIFEST_FILE
        if url := url_of(self.out):
            with TemporaryDirectory() as folder:
                Objects(url).get([MANIFEST_FILE], Path(folder))
                return pd.DataFrame(read_csv(Path(folder) / MANIFEST_FILE, ()))
        return pd.DataFrame(read_csv(path, ()) if path.is_file() else ())

    def to_markdown(self) -> str:
        """Number of pairs in each sequence."""
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
    return plan_of(sources, out, config, workers)


def plan_of(sources: Sequence[Path], out: Path, config: SynthesisConfig, workers: Workers) -> Plan:
    """`plan_synthesis`, whatever lies at ``out``."""
    found = discover_anywhere(sources, exclude=out)
    probes: dict[Source, Probe] = {}

    def crashed(source: Source) -> None:
        probes[source] = Probe(
            source=source,
            error=f"{source.path}: the decoder crashed on it. The file is damaged; copy it again.",
        )

    probe = partial(probe_anywhere, config=config.absolute())
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
        sources: Video files, folders of numbered frames, or folders to search for such; or URLs of
            such.
        config: The recipe; that of GOPRO_Large by default.
        out: Folder of the dataset, or a URL.
        on_progress: Called with the number of windows done and in total.
        jobs: Worker processes; one per core by default. The result does not depend on it.
        executor: Runs the work in place of local processes; it must see the same files under the
            same absolute paths.
        shard: ``(i, n)``: make only the i-th of n shares, counted from 1, for job arrays. The share
            that finds all others done finishes the dataset.
        overwrite: Replace the dataset at ``out`` if it was made with other settings: the files that
            its manifest lists, and no others.

    Returns:
        What was made and what failed; a bad source does not stop the others.

    Raises:
        InputError: There is nothing to work on, ``out`` holds something else or is in use by
            another run, or the disk is full.
        PassingError: Something failed that may work next time, such as a source that disappeared or
            a lack of memory. What was made is kept, and the same call resumes.
    """
    named = [sources] if isinstance(sources, str | Path) else sources
    with started_workers(jobs, executor) as workers:
        return synthesize_with(
            workers,
            [Path(source) for source in named],
            Path(out),
            config_from(SynthesisConfig, config),
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
    if url_of(out):
        from gopro_tools.synthesize.remote import synthesize_to  # which uses this module

        if n_shards > 1 or overwrite:
            raise InputError(
                f"{url_of(out)}: objects have no locks, so only one run at a time may make a "
                "dataset there, and none is replaced: leave out --shard and --overwrite. "
                "--executor uses many machines."
            )
        return synthesize_to(url_of(out), workers, sources, config, on_progress)
    refuse_foreign(out)
    plan = plan_of(sources, out, config, workers)
    if not plan.segments:
        raise nothing_to_make(plan)
    with only_run(out, plan, shard, overwrite=overwrite) as lost:
        tasks = tasks_of(plan, out, workers.n_jobs)
        mine = [task for i, task in enumerate(tasks) if i % n_shards == shard_index - 1]
        summary = None
        if lost is not None:
            summary = _repaired(plan, out, lost, tasks, mine, workers, on_progress)
        if summary is None:
            pending = _not_done(mine, with_hashes=True)
            shown = _make_segments(plan, mine, pending, workers, on_progress)
            summary = _finish(plan, out, tasks, shown)
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
    """Remake the segments of which a finished dataset lost images.

    Returns:
        None if they differ from the manifest: everything must be made again.
    """
    if not lost:
        return summary_of(out, plan, read_seal(out), already_complete=True)
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
            "%s: they differ from what %s lists, so the whole dataset is made again; "
            "another version of this program or of FFmpeg may have made it.",
            out,
            MANIFEST_FILE,
        )
        begin_again(out, plan)
        return None
    of_others = [task for task in concerned if task not in here]
    return replace(
        summary_of(out, plan, read_seal(out), already_complete=False),
        n_repaired=sum(len(lost.get(key, ())) for task in here for key in pairs_of(task)),
        segments_left=len(_not_done(of_others, with_hashes=False)),
    )


def _make_segments(
    plan: Plan,
    tasks: Sequence[SegmentTask],
    pending: list[SegmentTask],
    workers: Workers,
    progress: Progress | None,
) -> dict[str, Shown]:
    """Make those of the segments that are pending; see `run_segments`."""
    names = {task.name for task in pending}
    if pending:
        check_space(pending[0].out, plan.bytes_of([s for s in plan.segments if s.name in names]))

    def crashed(task: SegmentTask, record: SegmentRecord) -> None:
        write_atomic(task.record, record.to_json(), task.temporary)

    with writing():
        return run_segments(workers, make_anywhere, tasks, pending, progress, on_crash=crashed)


def _not_done(tasks: Sequence[SegmentTask], *, with_hashes: bool) -> list[SegmentTask]:
    with thread_pool() as pool:
        made = pool.map(
            lambda task: SegmentRecord.load(task, with_hashes=with_hashes) is not None, tasks
        )
        return [task for task, is_made in zip(tasks, made, strict=True) if not is_made]


def _finish(
    plan: Plan, out: Path, tasks: Sequence[SegmentTask], shown: Mapping[str, Shown]
) -> Summary:
    """Seal the dataset if all segments are made; of shards that end together, only one does."""
    lock = out / STATE_FOLDER / "finish.lock"
    with held(lock, f"{out}: another shard is finishing the dataset.", timeout_s=3600):
        seal = read_seal(out)
        if seal.state != "whole":
            left = _not_done(tasks, with_hashes=False)
            if left:
                return Summary(out=out, failed=plan.failed, segments_left=len(left))
            with writing():
                publish(plan, records_of(tasks), out, out / STATE_FOLDER, shown=shown)
            seal = read_seal(out)
        return summary_of(out, plan, seal, already_complete=False)


def summary_of(out: Path, plan: Plan, seal: Seal, *, already_complete: bool) -> Summary:
    """What lies at ``out``, finished."""
    described = seal.record
    return Summary(
        out=out,
        n_pairs=sum(described["n_pairs"].values()),
        n_rejected=described["n_rejected"],
        failed=plan.failed,
        damaged={s["name"]: s["problems"] for s in described["sources"] if s["problems"]},
        already_complete=already_complete,
    )


def nothing_to_make(plan: Plan) -> InputError:
    """The error for sources that yield no pair."""
    reasons = list(plan.failed.values())
    left_out = [item.reason for sequence in plan.sequences for item in sequence.rejected]
    if left_out and not reasons:
        reasons = [f"All {len(left_out)} windows are left out, the first one for: {left_out[0]}."]
    return InputError("No pair can be made.\n" + "\n".join(reasons))
