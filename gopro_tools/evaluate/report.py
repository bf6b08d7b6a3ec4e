"""The files of an evaluation."""

import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from gopro_tools.bootstrap import drawn_text
from gopro_tools.evaluate.run import Evaluation
from gopro_tools.evaluate.strata import strata_csv, strata_markdown, stratify
from gopro_tools.evaluate.summary import SummaryRow, mean_of_defined
from gopro_tools.files import write_atomic
from gopro_tools.metrics import METRICS
from gopro_tools.records import RunRecord, jsonable, seal, unseal
from gopro_tools.sources import BLURRED, remember_sources
from gopro_tools.text import csv_text, markdown_cell, markdown_table

PER_IMAGE_FILE = "per_image.csv"
SEQUENCES_FILE = "sequences.csv"
SUMMARY_FILE = "summary.csv"
STRATA_FILE = "strata.csv"


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Write the CSV files, ``summary.md``, ``images.json`` and, last, ``run.json``."""
    rows = evaluation.summary
    strata = stratify(evaluation) if evaluation.config.by else []
    unseal(out)
    write_atomic(out / PER_IMAGE_FILE, per_image_csv(evaluation))
    write_atomic(out / SEQUENCES_FILE, sequences_csv(evaluation))
    write_atomic(out / SUMMARY_FILE, summary_csv(rows))
    page = summary_markdown(evaluation)
    (out / STRATA_FILE).unlink(missing_ok=True)
    names = [PER_IMAGE_FILE, SEQUENCES_FILE, SUMMARY_FILE]
    if strata:
        names.append(STRATA_FILE)
        write_atomic(out / STRATA_FILE, strata_csv(strata))
        page += "\n" + strata_markdown(strata)
    write_atomic(out / "summary.md", page)
    remember_sources(out, evaluation.sources)
    seal(out, _record(evaluation), names)


def per_image_csv(evaluation: Evaluation) -> str:
    """One row per method and image: ``method, sequence, name`` and the scores at full precision."""
    return csv_text(
        ["method", "sequence", "name", *evaluation.metrics],
        (
            [method, images.sequence, images.name, *map(_cell, row)]
            for method, scores in zip(evaluation.methods, evaluation.scores, strict=True)
            for images, row in zip(evaluation.pairing.image_sets, scores, strict=True)
        ),
    )


def sequences_csv(evaluation: Evaluation) -> str:
    """A row per method and sequence: how many images, and the mean of each metric."""
    groups: dict[str, list[int]] = {}
    for index, images in enumerate(evaluation.pairing.image_sets):
        groups.setdefault(images.group, []).append(index)
    return csv_text(
        ["method", "sequence", "n_images", *evaluation.metrics],
        (
            [method, group, len(indices), *map(_cell, map(mean_of_defined, scores[indices].T))]
            for method, scores in zip(evaluation.methods, evaluation.scores, strict=True)
            for group, indices in groups.items()
        ),
    )


def _cell(score: float) -> float | str:
    """A number; nothing where the metric is not defined."""
    return "" if math.isnan(score) else float(score)


def summary_csv(rows: Sequence[SummaryRow]) -> str:
    """The rows as CSV; empty cells where there is no interval."""
    columns = [field.name for field in fields(SummaryRow)]
    cells = ([getattr(row, column) for column in columns] for row in rows)
    return csv_text(columns, (["" if cell != cell else cell for cell in row] for row in cells))


def summary_markdown(evaluation: Evaluation) -> str:
    """The summary for people, with everything that a reader must know to use them."""
    labels, config = evaluation.sources.labels, evaluation.config
    n_images = len(evaluation.pairing.image_sets)
    over = f"{n_images} images"
    if evaluation.n_missing:
        over += f" that all methods have, {evaluation.n_missing} more were left out"
    where = f"{labels['dataset']} {labels['split']}".strip()
    lines = [
        f"# {where}: {config.bundle}",
        "",
        f"Mean over {over}, {evaluation.resolution}, blur_kind {labels['blur_kind']}."
        + (" Best restored value bold." if len(evaluation.methods) > 2 else ""),
        "",
    ]
    lines.append(_means_table(evaluation))
    lines += [
        "",
        "Difference from the blurred input: mean within images. Intervals, paired: "
        f"{_intervals(evaluation)}.",
        "",
    ]
    body: list[list[str]] = []
    for row in evaluation.summary:
        low, high = (format_score(row.metric, end, "+") for end in (row.delta_low, row.delta_high))
        cells = [
            markdown_cell(row.method),
            row.metric,
            format_score(row.metric, row.mean),
            format_score(row.metric, row.median),
            format_score(row.metric, row.delta_mean, "+"),
            "none" if math.isnan(row.delta_low) else f"{low} to {high}",
            str(row.n_images),
        ]
        body.append(cells)
    head = ["method", "metric", "mean", "median", "difference", "interval", "n"]
    lines += [markdown_table(head, body, n_text_columns=2), "", *_notes(evaluation)]
    return "\n".join(lines) + "\n"


def _means_table(evaluation: Evaluation) -> str:
    mean = {(row.method, row.metric): row.mean for row in evaluation.summary}
    restored = [method for method in evaluation.methods if method != BLURRED]
    best: dict[str, float] = {}
    for name in evaluation.metrics if len(restored) > 1 else ():
        pick = max if METRICS[name].higher_is_better else min
        best[name] = pick(mean[method, name] for method in restored)
    body: list[list[str]] = []
    for method in evaluation.methods:
        cells = [markdown_cell(method)]
        for name in evaluation.metrics:
            value = format_score(name, mean[method, name])
            is_best = method != BLURRED and mean[method, name] == best.get(name)
            cells.append(f"**{value}**" if is_best else value)
        body.append(cells)
    return markdown_table(["method", *map(heading, evaluation.metrics)], body)


def _notes(evaluation: Evaluation) -> list[str]:
    lines = [f"- Absent: `{name}`. {why}" for name, why in evaluation.absent.items()]
    lines += [f"- Left out of every row: {line}" for line in evaluation.pairing.left_out]
    lines += [f"- Taken as: {line}." for line in evaluation.pairing.notes]
    lines += [f"- Doubtful: {line}" for line in evaluation.doubts]
    infinite: dict[tuple[str, int], list[str]] = {}
    for row in evaluation.summary:
        if row.n_infinite:
            infinite.setdefault((row.method, row.n_infinite), []).append(f"`{row.metric}`")
    lines += [
        f"- {n_infinite} of {len(evaluation.pairing.image_sets)} images of `{method}` equal the "
        f"sharp one: infinite {', '.join(names)}, and so are the means."
        for (method, n_infinite), names in infinite.items()
    ]
    for name in evaluation.metrics:
        metric = METRICS[name]
        used_by = metric.used_by and f"used by {metric.used_by}"
        settings = evaluation.settings.get(name)
        parts = [metric.color_space, metric.rounding, metric.ssim_kind, metric.citation, settings]
        parts.append(used_by)
        lines.append(f"- `{name}`: {'; '.join(filter(None, parts))}.")
    return lines


def heading(name: str) -> str:
    """A metric as a column head, with unit and direction: ``psnr_rgb dB ↑``."""
    metric = METRICS[name]
    return " ".join(filter(None, [name, metric.unit, "↑" if metric.higher_is_better else "↓"]))


def format_score(name: str, value: float, sign: str = "") -> str:
    """A score with the decimals that papers print."""
    return "–" if math.isnan(value) else f"{value:{sign}.{METRICS[name].digits}f}"


def _record(evaluation: Evaluation) -> RunRecord:
    """Settings, identity of the images, and what is known of the methods."""
    metrics = {}
    for name in evaluation.metrics:
        facts = asdict(METRICS[name]) | {"settings": evaluation.settings.get(name, "")}
        metrics[name] = {k: fact for k, fact in facts.items() if isinstance(fact, str | bool)}
    config = {
        **jsonable(evaluation.config),
        "by": Path(evaluation.config.by).name,  # folders above a table are nobody's business
        "allow_missing": evaluation.sources.allow_missing,
    }
    return RunRecord(
        suite="evaluate",
        methods={method: evaluation.provenance.get(method, {}) for method in evaluation.methods},
        config=config,
        results={
            "metrics": metrics,
            "absent": dict(evaluation.absent),
            "n_missing": evaluation.n_missing,
            "left_out": evaluation.pairing.left_out,
            "notes": evaluation.pairing.notes,
            "doubts": evaluation.doubts,
            "intervals": _intervals(evaluation),
        },
        timings_s={"scoring": round(evaluation.seconds, 3)},
        dataset=evaluation.dataset,
        protocols=evaluation.metrics,
        seed=evaluation.config.seed,
    )


def _intervals(evaluation: Evaluation) -> str:
    config = evaluation.config
    return drawn_text(evaluation.units, config.bootstrap_over, config.n_resamples, config.seed)
