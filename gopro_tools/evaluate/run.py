"""Reading and scoring every image of every method."""

import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gopro_tools.bootstrap import units_of
from gopro_tools.doubts import doubts_about_results, doubts_about_scores
from gopro_tools.errors import InputError
from gopro_tools.evaluate.config import EvaluateConfig
from gopro_tools.executors import mapped
from gopro_tools.images import pixel_hash, read_rgb
from gopro_tools.looks import Look, look, looked_at
from gopro_tools.metrics import METRICS, metrics_of, score
from gopro_tools.metrics.parts import MetricParts, parts_from
from gopro_tools.pairing import ImageSet, Pairing, pair_images, raise_all, read_images
from gopro_tools.provenance import scored_dataset, scored_methods
from gopro_tools.shards import Parts
from gopro_tools.shown import ShownResult
from gopro_tools.sources import SHARP, Sources
from gopro_tools.threads import Progress

if TYPE_CHECKING:
    import pandas as pd

    from gopro_tools.evaluate.summary import SummaryRow


@dataclass(frozen=True, kw_only=True)
class Evaluation(ShownResult):
    """Scores of every method on every image; shows itself as its summary."""

    sources: Sources
    """What was compared."""
    config: EvaluateConfig
    """Protocols and bootstrap."""
    pairing: Pairing
    """The images."""
    methods: tuple[str, ...]
    """``blurred``, then the restored ones in the order given."""
    metrics: tuple[str, ...]
    """Metrics that were computed."""
    absent: Mapping[str, str]
    """Metrics that were asked for and could not be computed, each with the reason."""
    settings: Mapping[str, str]
    """What else decides the numbers of some metrics, such as the model that was named."""
    scores: NDArray[np.float64]
    """(methods, images, metrics); NaN where a metric is not defined."""
    sizes_hw: tuple[tuple[int, int], ...]
    """Height and width of each image."""
    n_missing: int
    """Sharp images left out of every row."""
    dataset: Mapping[str, Any]
    """Identity of the pairs, by their pixels (see `gopro_tools.content.content_facts`)."""
    provenance: Mapping[str, Mapping[str, Any]]
    """What is known of each restored method: hash of its images, and scale, weights and code where
    its folder has a record."""
    doubts: tuple[str, ...]
    """What looks like a mistake in how a method's images were saved or named; changes no score."""
    seconds: float
    """Wall-clock time of reading and scoring."""

    @property
    def resolution(self) -> str:
        """``1280x720`` where all images have one size, else ``mixed``."""
        return str(self.dataset["resolution"])

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """(images,) the bootstrap unit that each image belongs to."""
        sequences = [images.group for images in self.pairing.image_sets]
        return units_of(sequences, self.config.bootstrap_over)

    @cached_property
    def summary(self) -> list["SummaryRow"]:
        """One row per method and metric; the bootstrap of their intervals is most of the work."""
        from gopro_tools.evaluate.summary import summarize

        return summarize(self)

    def to_dataframe(self) -> "pd.DataFrame":
        """One row per method and metric, the columns of `SummaryRow`."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.summary])

    def to_markdown(self) -> str:
        """The text of ``summary.md``."""
        from gopro_tools.evaluate.report import summary_markdown

        return summary_markdown(self)


def score_images(
    sources: Sources,
    config: EvaluateConfig | None = None,
    on_progress: Progress | None = None,
    *,
    executor: Executor | None = None,
    parts: Parts | None = None,
) -> Evaluation:
    """Score the blurred and every restored image against the sharp one, on all cores.

    Args:
        sources: Folders or dataset, and the restored folders.
        config: Protocols and bootstrap.
        on_progress: Called after each image, once all methods' results on it are scored.
        executor: Reads and scores in place of threads here; it must see the same files.
        parts: For a divided run: this share is scored and stored, and the share that finds all
            others stored returns the evaluation.

    Raises:
        OtherShardsLeftError: This share is done, others are not.
        InputError: Files without a partner; images that cannot be read, are not 8-bit RGB, have
            another size or cannot be scored (all are listed, after all the others were read); a
            metric that was asked for by name and lacks its parts; or images that were restored from
            others than those they are compared with.
    """
    config = config or EvaluateConfig()
    pairing = pair_images(sources)
    methods = tuple(method for method in pairing.image_sets[0].paths if method != SHARP)

    started = time.perf_counter()
    metric_parts, image_sets = config.parts, pairing.image_sets
    if executor is not None:  # its workers may have another working folder
        metric_parts = metric_parts.absolute()
        image_sets = tuple(images.absolute() for images in image_sets)
    with parts_from(metric_parts):
        metrics, absent = _available(config.protocol, has_sharp=sources.has_sharp)
        settings = {name: text for name in metrics if (text := METRICS[name].settings())}
    before = _images_before(image_sets) if _any_needs_before(metrics) else {}
    doubtful = looked_at(image_sets)
    work = [
        _Work(images, before.get(images.key), index in doubtful)
        for index, images in enumerate(image_sets)
    ]
    score_one = partial(_score_one, metrics, metric_parts)
    mine = work if parts is None else parts.shard.of(work)
    scored = _all_scored(
        mapped(score_one, mine, jobs=config.jobs, executor=executor), len(mine), on_progress
    )
    if parts is not None:
        files = (images.files for images in image_sets)
        everything = parts.exchanged([asdict(one) for one in scored], files)
        scored = [_Scored.of_row(row) for row in everything]
    sizes_hw = tuple((one.size_hw[0], one.size_hw[1]) for one in scored)
    hashes = {method: [one.hashes[method] for one in scored] for method in scored[0].hashes}
    dataset = scored_dataset(sources, pairing, hashes, sizes_hw)
    scores = np.array([one.scores for one in scored], dtype=np.float64).transpose(1, 0, 2)
    looks = {index: scored[index].looks for index in doubtful}
    doubts = doubts_about_results(pairing.image_sets, looks, hashes)
    if "psnr_rgb" in metrics:
        names = [images.key for images in image_sets]
        doubts += doubts_about_scores(names, methods, scores[:, :, metrics.index("psnr_rgb")])
    return Evaluation(
        sources=sources,
        config=config,
        pairing=pairing,
        methods=methods,
        metrics=metrics,
        absent=absent,
        settings=settings,
        scores=scores,
        sizes_hw=sizes_hw,
        dataset=dataset,
        provenance=scored_methods(sources, dataset, hashes, pairing),
        n_missing=pairing.n_missing,
        doubts=doubts,
        seconds=time.perf_counter() - started,
    )


def _all_scored(
    results: Generator["_Scored | InputError"], n_total: int, on_progress: Progress | None
) -> list["_Scored"]:
    scored: list[_Scored] = []
    problems: list[str] = []
    with closing(results):
        for n_done, result in enumerate(results, start=1):
            if isinstance(result, InputError):
                problems += str(result).splitlines()
            else:
                scored.append(result)
            if on_progress:
                on_progress(n_done, n_total)
    raise_all(problems)
    return scored


def _available(
    protocol: Sequence[str], *, has_sharp: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Metrics that can be computed here, and why the others cannot."""
    asked_for = metrics_of(protocol)
    absent = {name: why for name in asked_for if (why := METRICS[name].absent())}
    if not has_sharp:
        why = "compares with sharp images, and there are none."
        absent |= {name: why for name in asked_for if METRICS[name].needs_sharp}
    for name, why in absent.items():
        if name in protocol:
            raise InputError(f"--protocol {name}: {why}")
    available = tuple(name for name in asked_for if name not in absent)
    if not available:
        raise InputError(
            "None of these metrics can be computed: "
            + "; ".join(f"{name}: {why}" for name, why in absent.items())
            + " --protocol blur_effect always can."
        )
    return available, absent


def _any_needs_before(metrics: Sequence[str]) -> bool:
    return any(METRICS[name].needs_before for name in metrics)


def _images_before(image_sets: Sequence[ImageSet]) -> dict[str, ImageSet]:
    """The image before each in its sequence, by the key of the image; the first has none."""
    return {
        after.key: before for before, after in pairwise(image_sets) if before.group == after.group
    }


class _Work(NamedTuple):
    """One image to score."""

    images: ImageSet
    before: ImageSet | None
    """The image before it, where a metric compares with that."""
    is_looked_at: bool

    @property
    def key(self) -> str:
        """Its name in the error if a worker dies on it."""
        return self.images.key


@dataclass(frozen=True, slots=True)
class _Scored:
    """One image of every method."""

    size_hw: tuple[int, int]
    hashes: Mapping[str, str]
    """Pixel hash by method, the sharp image's included."""
    scores: list[list[float]]
    """(methods, metrics)."""
    looks: Mapping[str, Look]
    """By restored method; only for images that are examined for mistakes."""

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "_Scored":
        """From what `asdict` made of one, stored as JSON."""
        looks = {method: Look(**facts) for method, facts in row["looks"].items()}
        return cls(**{**row, "looks": looks})


def _score_one(metrics: Sequence[str], parts: MetricParts, work: _Work) -> _Scored | InputError:
    """Score one image; an error is kept for the list of all."""
    with parts_from(parts):
        return _scores_of(work, metrics)


def _scores_of(work: _Work, metrics: Sequence[str]) -> _Scored | InputError:
    images = work.images
    try:
        pixels = read_images(images)
        pixels_before = read_images(work.before) if work.before else {}
    except InputError as error:
        return error
    hashes = {method: pixel_hash(image) for method, image in pixels.items()}
    looks = look(pixels) if work.is_looked_at else {}
    sharp, sharp_before = pixels.pop(SHARP, None), pixels_before.pop(SHARP, None)
    scores: list[list[float]] = []
    problems: list[str] = []
    for method, image in pixels.items():
        before = None if sharp_before is None else (sharp_before, pixels_before[method])
        try:
            found = [list(score(sharp, image, metrics, before=before).values())]
            found += [
                list(score(read_rgb(path), image, metrics, before=before).values())
                for path in images.more_sharp
            ]
        except InputError as error:
            problems.append(f"{images.paths[method]}: {error}")
        else:
            scores.append(_best(found, metrics))
    if problems:
        return InputError("\n".join(problems))
    height, width = image.shape[:2]
    return _Scored((height, width), hashes, scores, looks)


def _best(scores: Sequence[Sequence[float]], metrics: Sequence[str]) -> list[float]:
    """The best score under each metric over several sharp images, as Köhler et al. have it."""
    return [
        (max if METRICS[name].higher_is_better else min)(column)
        for name, column in zip(metrics, zip(*scores, strict=True), strict=True)
    ]
