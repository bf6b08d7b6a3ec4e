"""Restoring the images of a dataset or a folder with any method, recorded."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gopro_tools.content import dataset_facts, image_facts, pixel_hashes
from gopro_tools.dataset import BlurKind, Split, is_image_of_another_split
from gopro_tools.errors import InputError
from gopro_tools.files import (
    refuse_inside,
    refuse_url,
    sha256_of_file,
    sha256_of_path,
    write_atomic,
)
from gopro_tools.images import find_images as images_in
from gopro_tools.movie_config import MovieConfig
from gopro_tools.movies import find_videos, open_movie, restore_video
from gopro_tools.plugins import source_sha256
from gopro_tools.records import (
    RESTORE_SUITE,
    RunRecord,
    Scale,
    jsonable,
    refuse_other_record,
    seal,
    to_json,
    unseal,
)
from gopro_tools.restorers import (
    RECORD_FILE,
    RESTORERS,
    Restorer,
    RestoreSummary,
    find_images,
    is_dataset,
    restore_elsewhere,
    restore_images,
    resumable_facts,
)
from gopro_tools.shape import config_from, convert_fields, path_from
from gopro_tools.shards import WHOLE, Parts, Shard, divided, shard_from
from gopro_tools.shown import ShownResult
from gopro_tools.storage import local_copy
from gopro_tools.threads import Progress, no_progress
from gopro_tools.video import open_source

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RestoreConfig:
    """What restores, and which images."""

    method: str
    """Name of the method in records; or ``package.module:factory[:name=value...]``, which is loaded
    where no ``restorer`` is given."""
    restorer: Restorer | None = None
    """What restores: any object with ``restore(blurred)``."""
    open_restorer: Callable[[], Restorer] | None = None
    """Makes the restorer instead; must be picklable and hashable, so that an executor's workers can
    call it too."""
    weights: Path | None = None
    """Weight file or folder; its hash goes into the record, and a factory gets its path."""
    device: str = "auto"
    """What a factory gets: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What else decides the results, for the record."""
    code_sha256: str | None = None
    """Hash of the code that restores; that of the factory's package by default."""
    scale: Scale | None = None
    """Effort of the training compared with the paper's, where it is known."""
    cost: Callable[[Restorer], Mapping[str, int]] | None = None
    """Returns what a restorer costs, for tables: ``n_parameters``, and ``n_macs`` (multiplications)
    for one image of 1280x720."""
    published_name: str = ""
    """What published tables call the method."""
    split: Split = "test"
    """Which part of a dataset."""
    blur_kind: BlurKind = "gamma"
    """Which blurred images of a dataset."""
    resume: bool = False
    """Keep complete results that are there; refused if method, weights, options, code or images
    differ."""
    seed: int | None = None
    """Seed of what is random in the method, for the record."""
    movies: MovieConfig = field(default_factory=MovieConfig)
    """How videos are read and written."""

    def __post_init__(self) -> None:
        """Refuse wrong types, and objects that cannot restore."""
        convert_fields(self)
        part = self.restorer
        if isinstance(part, type) or not (part is None or hasattr(part, "restore")):
            raise InputError(
                f"RestoreConfig: restorer is {part!r}; an object with restore(blurred) was "
                "expected, such as MyNetwork()."
            )


@dataclass(frozen=True, kw_only=True)
class Restoration(ShownResult):
    """Result of `restore`; shows itself as one row per image."""

    out: Path
    """Folder of the results."""
    images: tuple[tuple[Path, Path], ...]
    """Each input, and its result inside ``out``."""
    summary: RestoreSummary
    """Counts, failures and time."""
    record: RunRecord | None
    """None where images failed: the folder is not complete then."""

    def to_dataframe(self) -> "pd.DataFrame":
        """``image``, ``result`` (relative to ``out``) and ``failure`` (empty for most)."""
        import pandas as pd

        failures = {
            path: next((f for f in self.summary.failures if str(path) in f), "")
            for path, _ in self.images
        }
        return pd.DataFrame(
            {
                "image": [path.as_posix() for path, _ in self.images],
                "result": [result.as_posix() for _, result in self.images],
                "failure": [failures[path] for path, _ in self.images],
            }
        )


def restore(
    source: Path | str,
    config: RestoreConfig,
    *,
    out: Path | str,
    on_progress: Progress = no_progress,
    executor: Executor | None = None,
    shard: Shard = WHOLE,
) -> Restoration:
    """Restore images, videos or a dataset; results keep the names of the inputs.

    An image that fails is named in the result, and the others are still restored. When all are
    there, ``run.json`` says what made them; `gopro_tools.evaluate` passes it on to tables.

    Args:
        source: An image, a video, a folder of such, or a dataset in the GOPRO layout, whose results
            are ``<sequence>/<name>``, as evaluate expects. Videos become MP4 (H.264) with their
            times and their sound, or Matroska (FFV1) where lossless. Or the URL of such.
        config: What restores, and which images.
        out: Output folder, outside of ``source``.
        on_progress: Called with the number of images done and in total, then with the frames of
            each video.
        executor: Restores the images in place of this process, which restores the videos; its
            workers must see the same files.
        shard: Restore only this share of the images and videos. The share that finds all others
            done writes ``run.json``.

    Raises:
        OtherShardsLeftError: This share is done, and others are not.
        InputError: There is nothing to restore, the method cannot be loaded, ``out`` lies in
            ``source`` or holds the results of something else, or cannot be written to.
    """
    config, shard = config_from(RestoreConfig, config), shard_from(shard)
    out = path_from(out, "out")
    refuse_url(out)
    of_another_split = partial(is_image_of_another_split, split=config.split)
    source = local_copy(source, skip=of_another_split, may_be_file=True)
    videos = find_videos(source, config.movies)
    has_images = source.is_dir() and (not videos or bool(images_in(source)))
    if videos and not has_images:
        images = []
    else:
        images = find_images(source, config.split, config.blur_kind)
    refuse_inside(out / source.name if source.is_file() else out, source)
    restorer, code_sha256 = config.restorer, config.code_sha256
    if executor is not None and restorer is not None:
        raise InputError(
            "A restorer that is an object stays in this process: name one that an executor's "
            "workers can load, package.module:factory, or give RestoreConfig.open_restorer."
        )
    if restorer is None and config.open_restorer is None:
        RESTORERS.imported(config.method)  # says in a sentence what is wrong with the name
        code_sha256 = code_sha256 or source_sha256(config.method.partition(":")[0])
    weights = config.weights and config.weights.absolute()
    open_restorer = config.open_restorer or partial(
        RESTORERS.load, config.method, weights, config.device
    )
    if restorer is None and (executor is None or videos):
        restorer = open_restorer()
    dataset = dataset_facts(source, config.split, config.blur_kind) if is_dataset(source) else None
    facts = jsonable(
        {
            "method": config.method,
            "weights_sha256": sha256_of_path(config.weights) if config.weights else None,
            "options": config.options,
            "code_sha256": code_sha256,
            "dataset": dataset,
            "images": {}
            if dataset
            else {
                **pixel_hashes(images),
                **{inside.as_posix(): sha256_of_file(path) for path, inside in videos},
            },
            "movies": config.movies,
        }
    )
    if any(path.suffix.lower() in (".jpg", ".jpeg") for path, _ in images):
        log.warning("JPEG inputs give JPEG results, off by a level here and there.")
    record: RunRecord | None = None
    my_images, my_videos = shard.of(images), shard.of(videos)
    inside = {relative.parent for _, relative in [*images, *videos]}
    refuse_other_record(out, RESTORE_SUITE)
    with divided(out, shard, facts, *inside) as parts:
        facts = resumable_facts(out, facts, resume=config.resume)
        unseal(out)
        write_atomic(out / RECORD_FILE, to_json(facts))
        if executor is not None:
            restore_all = partial(restore_elsewhere, executor, open_restorer)
        else:
            assert restorer is not None
            restore_all = partial(restore_images, restorer)
        summary = restore_all(
            my_images,
            out,
            method=config.method,
            keep_done=config.resume,
            on_progress=on_progress,
        )
        if restorer is not None:
            summary = _restore_videos(restorer, my_videos, out, summary, config, on_progress)
        if parts is not None and not summary.failures:
            summary = _summary_of_all(parts, summary, images, videos, out)
        if not summary.failures:
            cost = config.cost(restorer or open_restorer()) if config.cost else {}
            record = RunRecord(
                suite=RESTORE_SUITE,
                method=config.method,
                published_name=config.published_name,
                scale=config.scale,
                config={name: fact for name, fact in facts.items() if name != "images"},
                results={"n_images": len(images), "n_videos": len(videos), **cost},
                timings_s={"restoring": round(summary.seconds, 3)},
                dataset=dataset or (image_facts([path for path, _ in images]) if images else None),
                weights_sha256=facts["weights_sha256"],
                seed=config.seed,
            )
            record = seal(out, record, names=())
    return Restoration(out=out, images=(*images, *videos), summary=summary, record=record)


def _summary_of_all(
    parts: Parts,
    mine: RestoreSummary,
    images: Sequence[tuple[Path, Path]],
    videos: Sequence[tuple[Path, Path]],
    out: Path,
) -> RestoreSummary:
    """The summary of all shares, once every result is there."""
    # Images and videos are divided alike: item i of the parts is the i-th image and the i-th video.
    n_items = max(len(images), len(videos))
    items = [[*images[i : i + 1], *videos[i : i + 1]] for i in range(n_items)]
    n_mine = len(parts.shard.of(items))
    counts = {**asdict(mine), "failures": ()}
    results = [counts] + [None] * (n_mine - 1) if n_mine else []
    files = ([(inside.as_posix(), path) for path, inside in item] for item in items)
    summaries = [one for one in parts.exchanged(results, files) if one is not None]
    missing = [str(inside) for item in items for _, inside in item if not (out / inside).is_file()]
    if missing:
        raise InputError(
            f"{out}: {len(missing)} result(s) that a shard restored are gone, first {missing[0]}. "
            "Restore again."
        )
    return RestoreSummary(
        n_restored=sum(one["n_restored"] for one in summaries),
        n_kept=sum(one["n_kept"] for one in summaries),
        failures=(),
        seconds=sum(one["seconds"] for one in summaries),
    )


def _restore_videos(
    restorer: Restorer,
    videos: Sequence[tuple[Path, Path]],
    out: Path,
    images: RestoreSummary,
    config: RestoreConfig,
    on_progress: Progress,
) -> RestoreSummary:
    """The summary of the images and of these videos; a video that fails is named."""
    begin = time.perf_counter()
    failures = list(images.failures)
    n_kept = 0
    for source, inside in videos:
        if config.resume and _is_whole(out / inside, source, config.movies):
            n_kept += 1
            continue
        try:
            result = restore_video(
                restorer, source, out / inside, config.movies, on_progress=on_progress
            )
        except InputError as error:
            text = str(error)
            failures.append(text if str(source) in text else f"{source}: {config.method}: {text}")
            continue
        if result.silent_because:
            log.warning("%s: without sound; %s", inside, result.silent_because)
        if result.problems:
            failures.append(
                f"{source}: {len(result.problems)} problem(s), frames are missing from the result; "
                f"first: {result.problems[0]}"
            )
    n_failed = len(failures) - len(images.failures)
    return RestoreSummary(
        n_restored=images.n_restored + len(videos) - n_kept - n_failed,
        n_kept=images.n_kept + n_kept,
        failures=failures,
        seconds=images.seconds + time.perf_counter() - begin,
    )


def _is_whole(result: Path, source: Path, movies: MovieConfig) -> bool:
    """Whether a restored video is there with all frames of its source."""
    try:
        return result.is_file() and (
            open_source(result).info.n_frames == open_movie(source, movies).info.n_frames
        )
    except InputError:
        return False
