"""The command line of the synthesis."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gopro_tools.console import (
    EXIT_FINDINGS,
    EXIT_INTERRUPTED,
    progress_bar,
    stderr,
)
from gopro_tools.errors import InputError
from gopro_tools.executors import named_executor
from gopro_tools.processes import Workers
from gopro_tools.shards import Shard
from gopro_tools.storage import url_of
from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.worker import started_workers
from gopro_tools.text import size_text

if TYPE_CHECKING:
    from gopro_tools.synthesize.plan import Plan
    from gopro_tools.synthesize.run import Summary

logger = logging.getLogger(__name__)

_RECIPE = "--recipe"


def command(
    sources: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("dataset"),
    config: Annotated[SynthesisConfig, tyro.conf.arg(name="")] = SynthesisConfig(),  # noqa: B008
    jobs: int = 0,
    shard: str = "1/1",
    executor: str = "",
    overwrite: bool = False,
    dry_run: bool = False,
) -> int:
    """Make blurred/sharp pairs in the GOPRO_Large layout from high-frame-rate video.

    Args:
        sources: Video files, folders of numbered frames, or folders to search for these; or URLs
            (s3://, gs://).
        out: Folder of the dataset, or a URL. The same command on it resumes after an interruption.
        config: The recipe.
        jobs: Worker processes; 0 takes one per core. The result does not depend on it.
        shard: I/N: make only the I-th of N shares, for job arrays on one file system.
        executor: package.module:factory[:name=value...] of a concurrent.futures.Executor that runs
            the work in place of processes here, such as gopro_tools.distributed:dask.
        overwrite: Replace a dataset at OUT that was made with other settings.
        dry_run: Print what would be made, and write nothing.
    """
    if jobs < 0:
        raise InputError(f"--jobs {jobs}: 0 (one per core) or more expected.")
    if not sources:
        raise InputError("no source: name a video, a folder of videos or a folder of frames.")
    part = Shard.parse(shard)
    try:
        with (
            named_executor(executor) as given,
            started_workers(jobs or None, given) as workers,
        ):
            # Only now, so that the workers load while this process does.
            from gopro_tools.synthesize.run import plan_synthesis

            if dry_run:
                return _show_plan(plan_synthesis(workers, sources, out, config))
            return _report(_synthesize(workers, sources, out, config, part, overwrite=overwrite))
    except KeyboardInterrupt:
        if dry_run:
            raise
        stderr.print(f"Stopped. The same command resumes from here ({out}).", markup=False)
        return EXIT_INTERRUPTED


def command_with_recipe(arguments: Sequence[str]) -> Callable[..., int]:
    """The command, with the defaults of the recipe that the arguments name.

    So the parser fills in the recipe's value of each missing option, and the help shows them; an
    option that is given wins, whatever its value.
    """
    following = [*arguments[1:], ""]
    named = [
        after if word == _RECIPE else word.removeprefix(f"{_RECIPE}=")
        for word, after in zip(arguments, following, strict=True)
        if word == _RECIPE or word.startswith(f"{_RECIPE}=")
    ]
    if not named:
        return command
    try:
        return partial(command, config=SynthesisConfig(recipe=named[-1]))
    except InputError:
        return command  # the parser refuses it, with the other arguments


def _synthesize(
    workers: Workers,
    sources: Sequence[Path],
    out: Path,
    config: SynthesisConfig,
    shard: Shard,
    *,
    overwrite: bool,
) -> "Summary":
    """Show progress, in windows."""
    from gopro_tools.synthesize.run import synthesize_with

    with progress_bar("windows", "synthesize") as bar:
        return synthesize_with(
            workers,
            sources,
            out,
            config,
            shard=(shard.index, shard.count),
            overwrite=overwrite,
            on_progress=bar.show,
        )


def _report(summary: "Summary") -> int:
    out = url_of(summary.out) or summary.out
    for name, problems in summary.damaged.items():
        stderr.print(f"problem: {name}: {problems[0]} ({len(problems)} in all)", markup=False)
    for reason in summary.failed.values():
        stderr.print(f"failed: {reason}", markup=False, style="red")
    if summary.segments_left:
        stderr.print(f"This shard is done; {summary.segments_left} segment(s) of others are left.")
    elif summary.already_complete:
        stderr.print(f"{out}: complete already, {summary.n_pairs} pairs; nothing to do.")
    elif summary.n_repaired:
        stderr.print(
            f"{summary.n_repaired} image(s) remade in {out}, which is complete: "
            f"{summary.n_pairs} pairs."
        )
    else:
        stderr.print(
            f"{summary.n_pairs} pairs in {out}, {summary.n_rejected} windows rejected "
            f"(rejected.csv). Look at {out}/preview.png.",
            markup=False,
        )
    return EXIT_FINDINGS if summary.failed or summary.damaged else 0


def _show_plan(plan: "Plan") -> int:
    from rich.table import Table

    table = Table(title=f"{plan.n_windows} pairs, about {plan.bytes_needed / 1e9:.2f} GB")
    for column in ("split", "sequence", "source", "size", "frames", "Hz", "M", "pairs", "gaps"):
        table.add_column(column)
    for sequence in plan.sequences:
        info = sequence.probe.info
        if info is None:
            continue
        table.add_row(
            sequence.split,
            sequence.name,
            sequence.probe.source.name,
            size_text(plan.config.output_size_hw(info.size_hw)),
            str(info.n_frames),
            f"{info.rate_hz(plan.config.fps):.4g}",
            str(sequence.n_frames),
            str(len(sequence.windows)),
            str(len(sequence.rejected)),
        )
    stderr.print(table)
    failed = [probe.error for probe in plan.probes if probe.error]
    for reason in failed:
        stderr.print(f"failed: {reason}", markup=False, style="red")
    return EXIT_FINDINGS if failed or not plan.n_windows else 0
