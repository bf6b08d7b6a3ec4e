"""From a record to tables and figures: nothing is measured here; equal records, equal text."""

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from baselines.methods import METHODS
from benchmarks.table1.compare import Comparison, bin_name, compare_methods, read_scores, verdict
from benchmarks.table1.figures import CROPS_FILE, CURVES_FILE, GAIN_FILE, plot_curves, plot_gain
from benchmarks.table1.plan import PROTOCOLS
from gopro_tools.files import write_atomic
from gopro_tools.pairing import BLURRED
from gopro_tools.records import RunRecord, read_record
from gopro_tools.tables import (
    Column,
    Row,
    Table,
    plain_name,
    published_rows,
    rows_of,
    table_of,
    to_csv,
    to_latex,
    to_markdown,
)
from gopro_tools.text import csv_text, markdown_table

PAGE_FILE = "README.md"

_PUBLISHED_PROTOCOLS = ("psnr_rgb", "ssim_matlab_rgb3d", "psnr_rgb_truncated", "ssim_cw")
_MAIN = PROTOCOLS[0]


def write_report(record: Path, out: Path) -> list[str]:
    """Make every table and figure of a record.

    Args:
        record: Folder of the record, as a run leaves it.
        out: Folder for them; what lay there is replaced.

    Returns:
        Names of the files.
    """
    texts = report_texts(record)
    for name, text in texts.items():
        write_atomic(out / name, text)
    scores = read_scores(record / "scores/per_image.csv", record / "blur_lengths.csv", _MAIN)
    if np.isfinite(scores.blur_px).all():
        plot_gain(scores, out / GAIN_FILE)
    plot_curves(record / "validation.csv", out / CURVES_FILE)
    if (record / CROPS_FILE).is_file():
        shutil.copyfile(record / CROPS_FILE, out / CROPS_FILE)
    return [*texts, GAIN_FILE, CURVES_FILE, CROPS_FILE]


def report_texts(record: Path) -> dict[str, str]:
    """The tables and the page, by file name: a pure function of the record."""
    run = read_record(record)
    tables = {"table1": table_of(_table1_rows(record, run))}
    if (record / "detection").is_dir():
        tables["detection"] = table_of(rows_of(record / "detection"))
    if (record / "real").is_dir():
        tables["real_pairs"] = table_of(rows_of(record / "real"))
    comparisons = _comparisons(record, run)
    texts = {
        f"{name}{suffix}": render(table)
        for name, table in tables.items()
        for suffix, render in ((".csv", to_csv), (".md", to_markdown), (".tex", to_latex))
    }
    texts["comparisons.csv"] = _comparisons_csv(comparisons)
    texts[PAGE_FILE] = _page(record, run, tables, comparisons)
    return texts


def device_name(run: RunRecord) -> str:
    """What the networks ran on."""
    gpus = run.machine.get("gpus") or []
    if run.config["device"] == "cuda" and gpus:
        return str(gpus[0])
    return f"{run.machine['cpu']}, {run.machine['n_cores']} cores"


def _table1_rows(record: Path, run: RunRecord) -> list[Row]:
    measured = [row for row in rows_of(record / "scores") if row.column.protocol in PROTOCOLS]
    assert run.dataset is not None
    for method, figures in run.methods.items():
        of_method: dict[str, tuple[str, str, str, float | None]] = {
            "time_s": (device_name(run), "1280x720", "one image", figures["seconds_per_image"]),
            "macs_g": ("", "1280x720", "one image", _scaled(figures.get("n_macs"), 1e-9)),
            "parameters_m": (
                "", "", "as trained here", _scaled(figures.get("n_parameters"), 1e-6),
            ),
        }  # fmt: skip
        measured += [
            Row(
                method=method,
                column=Column(
                    quantity=quantity,
                    protocol=quantity,
                    settings=settings,
                    resolution=resolution,
                    dataset=dataset,
                    blur_kind=run.dataset["blur_kind"],
                ),
                value=value,
                scale=figures.get("scale") or "",
                published_name=figures.get("published_name") or "",
                n_images=None,
            )
            for quantity, (settings, resolution, dataset, value) in of_method.items()
            if value is not None
        ]
    ours = {method.published_name or method.name for method in METHODS}
    measured_names = {figures.get("published_name") or m for m, figures in run.methods.items()}
    names = {plain_name(name) for name in ours | measured_names}
    published = [
        row
        for row in published_rows()
        if row.column.dataset.startswith("GOPRO_Large")
        and row.column.blur_kind in ("gamma", "unstated")
        and row.column.protocol in _PUBLISHED_PROTOCOLS
        and row.column.source == "published"
        and plain_name(row.method) in names | {BLURRED}
    ]
    return measured + published


def _scaled(count: float | None, factor: float) -> float | None:
    return None if count is None else count * factor


def _families(run: RunRecord) -> list[list[str]]:
    """Methods that are compared with each other, in the order of the record."""
    by_name: dict[str, list[str]] = {}
    for method, figures in run.methods.items():
        if figures.get("family"):
            by_name.setdefault(figures["family"], []).append(method)
    return [methods for methods in by_name.values() if len(methods) > 1]


def _titles(run: RunRecord) -> dict[str, str]:
    own = {method: str(figures["title"]) for method, figures in run.methods.items()}
    return {BLURRED: "the blurred input", **own}


def _comparisons(record: Path, run: RunRecord) -> list[Comparison]:
    pairs = [(method, BLURRED) for method in run.methods]
    for methods in _families(run):
        pairs += [(later, earlier) for earlier, later in combinations(methods, 2)]
    found: list[Comparison] = []
    for metric in PROTOCOLS:
        scores = read_scores(record / "scores/per_image.csv", record / "blur_lengths.csv", metric)
        found += compare_methods(scores, pairs, metric, seed=run.seed or 0)
    return found


def _comparisons_csv(comparisons: Iterable[Comparison]) -> str:
    columns = ["metric", "method", "baseline", "blur_px_from", "blur_px_to", "n_images", "n_clips",
               "difference", "low", "high"]  # fmt: skip
    rows = []
    for c in comparisons:
        # Rounded, as the last digits of a mean depend on the processor that takes it.
        figures = ["" if math.isnan(v) else f"{v:.5f}" for v in (c.difference, c.low, c.high)]
        rows.append([c.metric, c.method, c.baseline, *c.blur_px, c.n_images, c.n_clips, *figures])
    return csv_text(columns, rows)


# --- the page ---


def _page(
    record: Path,
    run: RunRecord,
    tables: Mapping[str, Table],
    comparisons: Sequence[Comparison],
) -> str:
    blocks = [
        f"# Table 1, {run.scale} scale",
        _what_was_run(run),
        to_markdown(tables["table1"]).rstrip(),
        "## Against the blurred input",
        _gains_table(run, comparisons),
        *_families_section(run, comparisons),
        *_figures_section(record),
        "## Detection on the same images",
        _detection_block(run, tables),
        "## Real pairs",
        _real_block(run, tables),
        "## What it cost",
        _cost_table(run),
        *_missing_section(run),
    ]
    return "\n\n".join(blocks) + "\n"


def _what_was_run(run: RunRecord) -> str:
    facts = run.dataset or {}
    name, kind = facts.get("name"), facts.get("blur_kind")
    lines = [
        f"{facts.get('n_pairs')} test pairs of {name}, blur_kind {kind}; restored and timed on "
        f"{device_name(run)}, one seed ({run.seed})."
    ]
    if rendered := facts.get("rendered"):
        slow, fast = rendered["speed_px_s"]
        height, width = rendered["size_hw"]
        photographs = facts["photographs"]
        lines.append(
            f"**Not GOPRO_Large**: clips rendered at 240 fps by `benchmarks.rendered` (seed "
            f"{rendered['seed']}, {width}x{height}, shake of {slow:g} to {fast:g} px/s), averaged "
            f"by `gopro_tools.synthesize`; {rendered['n_train']} training pairs of "
            f"{len(photographs['train'])} photographs, test pairs of "
            f"{len(photographs['test'])} others."
        )
    if run.scale != "full":
        lines.append(
            "The published columns are of another dataset, full-size networks and days of "
            "training: for reference only, not comparable."
        )
    return " ".join(lines)


def _by_blur(
    comparisons: Sequence[Comparison], pairs: Sequence[tuple[str, str]], head: Sequence[str]
) -> str:
    """One row per bin of blur length, one column per pair of methods."""
    rows = []
    for blur_px in dict.fromkeys(c.blur_px for c in comparisons):
        row = {(c.method, c.baseline): c for c in comparisons if c.blur_px == blur_px}
        first = next(iter(row.values()))
        cells = [_interval(row[pair]) for pair in pairs]
        rows.append([bin_name(blur_px), str(first.n_images), str(first.n_clips), *cells])
    return markdown_table(["blur", "images", "clips", *head], rows)


def _gains_table(run: RunRecord, comparisons: Sequence[Comparison]) -> str:
    own = [c for c in comparisons if c.baseline == BLURRED and c.metric == _MAIN]
    pairs = [(method, BLURRED) for method in run.methods]
    return (
        "PSNR minus that of the blurred image, mean, and 95 % interval from a bootstrap that draws "
        "whole clips.\n\n" + _by_blur(own, pairs, list(run.methods))
    )


def _interval(comparison: Comparison) -> str:
    if math.isnan(comparison.low):
        return f"{comparison.difference:+.2f}"
    return f"{comparison.difference:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}]"


def _families_section(run: RunRecord, comparisons: Sequence[Comparison]) -> list[str]:
    blocks: list[str] = []
    titles = _titles(run)
    for methods in _families(run):
        pairs = [(later, earlier) for earlier, later in combinations(methods, 2)]
        own = [c for c in comparisons if (c.method, c.baseline) in pairs and c.metric == _MAIN]
        patches = {run.methods[method]["n_patches"] for method in methods}
        budget = f"{patches.pop():,} patches" if len(patches) == 1 else "UNEQUAL budgets"
        family = run.methods[methods[0]]["family"]
        blocks += [
            f"## {family}: {', '.join(titles[method] for method in methods)} at equal budget",
            f"Each network saw {budget}. PSNR differences in dB on the same images, paired, whole "
            "clips drawn:",
            _by_blur(own, pairs, [f"{titles[a]} minus {titles[b]}" for a, b in pairs]),
            verdict(own, titles) + " One seed each: another may change the order of close results.",
        ]
    return blocks


def _figures_section(record: Path) -> list[str]:
    lines = []
    if (record / CROPS_FILE).is_file():
        lines.append(f"![Crops of test images, with the PSNR of the whole image]({CROPS_FILE})")
    scores = read_scores(record / "scores/per_image.csv", record / "blur_lengths.csv", _MAIN)
    if np.isfinite(scores.blur_px).all():
        lines.append(f"![Gain in PSNR by length of blur]({GAIN_FILE})")
    if len((record / "validation.csv").read_text().splitlines()) > 1:
        lines.append(f"![Validation PSNR while learning]({CURVES_FILE})")
    return lines


def _detection_block(run: RunRecord, tables: Mapping[str, Table]) -> str:
    if "detection" not in tables:
        return f"Not made: {_why_not(run, 'detection')}."
    return (
        "Protocol yolo-consistency-v1: the detector's own boxes on the sharp images are what it "
        "should find on the others.\n\n" + to_markdown(tables["detection"]).rstrip()
    )


def _real_block(run: RunRecord, tables: Mapping[str, Table]) -> str:
    if "real_pairs" not in tables:
        return f"Not scored: {_why_not(run, 'real pairs')}."
    return (
        "Scored, never trained on. Of another kind of blur than the training pairs where the "
        "heading says so.\n\n" + to_markdown(tables["real_pairs"]).rstrip()
    )


def _why_not(run: RunRecord, part: str) -> str:
    return str({**run.results["absent"], **run.results["failures"]}.get(part, "no reason is known"))


def _cost_table(run: RunRecord) -> str:
    rows = []
    for method, figures in run.methods.items():
        seconds = figures.get("training_s")
        rows.append(
            [
                method,
                str(figures.get("scale") or "–"),
                _counted(figures.get("n_parameters")),
                _counted(figures.get("n_macs"), 1e-9),
                _counted(figures.get("n_patches")),
                "–" if seconds is None else f"{seconds / 60:.1f} min",
                f"{figures['seconds_per_image']:.2f}",
            ]
        )
    head = ["method", "scale", "parameters", "GMACs, 1280x720", "patches", "training",
            "seconds per image, 1280x720"]  # fmt: skip
    return f"On {device_name(run)}.\n\n{markdown_table(head, rows, n_text_columns=2)}"


def _counted(count: float | None, factor: float = 1) -> str:
    return "–" if count is None else f"{count * factor:,.0f}"


def _missing_section(run: RunRecord) -> list[str]:
    failures = run.results["failures"]
    if not failures:
        return []
    return ["## What failed", "\n".join(f"- {name}: {why}" for name, why in failures.items())]


def headline(record: Path) -> str:
    """The few lines for the project's front page."""
    run = read_record(record)
    facts = run.dataset or {}
    per_image, lengths = record / "scores/per_image.csv", record / "blur_lengths.csv"
    scores = {protocol: read_scores(per_image, lengths, protocol) for protocol in PROTOCOLS}
    overall = {
        c.method: c
        for c in _comparisons(record, run)
        if c.baseline == BLURRED and c.metric == _MAIN and c.blur_px == (0.0, np.inf)
    }
    published = {
        (plain_name(row.method), row.column.protocol): row.printed or repr(row.value)
        for row in _table1_rows(record, run)
        if row.column.source == "published" and row.column.blur_kind == "gamma"
    }
    rows = []
    for method in scores[_MAIN].methods:
        own: Mapping[str, Any] = run.methods.get(method, {})
        name = plain_name(own.get("published_name") or method)
        seconds = own.get("seconds_per_image")
        rows.append(
            [
                method,
                str(own.get("scale") or "–"),
                _counted(own.get("n_parameters")),
                f"{scores[_MAIN].of(method).mean():.2f}",
                _interval(overall[method]) if method in overall else "",
                f"{scores[PROTOCOLS[1]].of(method).mean():.4f}",
                "–" if seconds is None else f"{seconds:.2f}",
                *(published.get((name, protocol), "–") for protocol in PROTOCOLS[:2]),
            ]
        )
    head = ["method", "scale", "parameters", "PSNR (dB)", "gain over blurred", "SSIM (MATLAB RGB)",
            "seconds per image", "published on GOPRO_Large: PSNR", "SSIM"]  # fmt: skip
    return (
        f"{str(run.scale).capitalize()} scale on {facts.get('name')}, {facts.get('n_pairs')} test "
        f"pairs, blur_kind {facts.get('blur_kind')}, {device_name(run)}:\n\n"
        + markdown_table(head, rows, n_text_columns=2)
    )
