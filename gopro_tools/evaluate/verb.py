"""The verb `gopro_tools.evaluate`: score, and write what was found."""

from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from gopro_tools.errors import InputError
from gopro_tools.evaluate.config import EvaluateConfig
from gopro_tools.evaluate.report import write_evaluation
from gopro_tools.evaluate.run import Evaluation, score_images
from gopro_tools.evaluate.strata import known_values
from gopro_tools.records import jsonable, refuse_other_record
from gopro_tools.shape import config_from, path_from
from gopro_tools.shards import WHOLE, Shard, divided, shard_from
from gopro_tools.sources import Sources
from gopro_tools.threads import Progress


def evaluate(
    sources: Sources,
    config: EvaluateConfig | None = None,
    *,
    out: Path | str | None = None,
    on_progress: Progress | None = None,
    executor: Executor | None = None,
    shard: Shard = WHOLE,
) -> Evaluation:
    """Score restored images against sharp ones, as `score_images` does.

    Args:
        sources: What to compare.
        config: Protocols and bootstrap.
        out: Folder for the files that `gopro_tools.evaluate` lists; None writes none.
        on_progress: Called with the number of images done and in total.
        executor: Reads and scores in place of threads here; it must see the same files.
        shard: Score only this share of the images. The share that finds all others done makes the
            result, the same as that of one run.

    Raises:
        OtherShardsLeftError: This share is done, and others are not.
        InputError: As `score_images`; nothing is written then.
    """
    sources, config = config_from(Sources, sources).copied(), config_from(EvaluateConfig, config)
    shard = shard_from(shard)
    if config.by:
        known_values(sources, config.by)  # before minutes of scoring
    if out is None:
        if not shard.is_all:
            raise InputError("A shard leaves its part in the output folder: give `out`.")
        return score_images(sources, config, on_progress, executor=executor)
    out = path_from(out, "out")
    for folder in sources.folders:
        if out.resolve() == folder.resolve():
            raise InputError(f"--out {out}: is one of the inputs; choose another folder.")
    refuse_other_record(out, "evaluate")
    asked_for = jsonable({"config": replace(config, jobs=0), "labels": sources.labels})
    with divided(out, shard, asked_for) as parts:
        evaluation = score_images(sources, config, on_progress, executor=executor, parts=parts)
        write_evaluation(evaluation, out)
    return evaluation
