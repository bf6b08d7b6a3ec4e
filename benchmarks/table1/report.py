"""From a record to tables and figures: nothing is measured here; equal records, equal text."""

import csv
import io
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table1.compare import (
    Comparison,
    bin_name,
    compare_methods,
    read_scores,
    verdict,
)
from benchmarks.table1.figures import CROPS_FILE, CURVES_FILE, GAIN_FILE, plot_curves, plot_gain
from benchmarks.table1.plan import ALL_METHODS, PROTOCOLS, SCALE_SWEEP
from gopro_tools.files import write_atomic
from gopro_tools.pairing import BLURRED
from gopro_tools.records import RUN_FILE, RunRecord, read_record
from gopro_tools.tables import (
    Column,
    Row,
    Table,
    published_rows,
    rows_of,
    table_of,
    to_csv,
    to_latex,
    to_markdown,
)

PAGE_FILE = "README.md"
NAMES: Mapping[str, str] = {
    BLURRED: "the blurred input",
    "sun2015": "Sun et al.",
    "deepdeblur-k1": "K=1",
    "deepdeblur-k2": "K=2",
    "deepdeblur-k3": "K=3",
    "deblurgan": "DeblurGAN",
}

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


def _methods(run: RunRecord) -> Mapping[str, Mapping[str, Any]]:
    methods: Mapping[str, Mapping[str, Any]] = run.results["methods"]
    return methods


def device_name(run: RunRecord) -> str:
    """What the networks ran on."""
    gpus = run.machine.get("gpus") or []
    if run.config["device"] == "cuda" and gpus:
        return str(gpus[0])
    return f"{run.machine['cpu']}, {run.machine['n_cores']} cores"


def _table1_rows(record: Path, run: RunRecord) -> list[Row]:
    measured = [row for row in rows_of(record / "scores") if row.column.protocol in PROTOCOLS]
    assert run.dataset is not None
    for method, figures in _methods(run).items():
        measured += [
            Row(
                method=method,
                column=Column(
                    quantity="time_s",
                    protocol="time_s",
                    settings=device_name(run),
                    resolution="1280x720",
                    dataset="one image",
                    blur_kind=run.dataset["blur_kind"],
                ),
                value=figures["seconds_an_image"],
                scale=run.scale or "",
                n_images=1,
            ),
            Row(
                method=method,
                column=Column(
                    quantity="parameters_m",
                    protocol="parameters_m",
                    dataset="as trained here",
                    blur_kind=run.dataset["blur_kind"],
                ),
                value=figures["n_parameters"] / 1e6,
                scale=run.scale or "",
                n_images=None,
            ),
        ]
    shown = {plain(method) for method in (BLURRED, *ALL_METHODS)}
    published = [
        row
        for row in published_rows()
        if row.column.dataset.startswith("GOPRO_Large")
        and row.column.blur_kind in ("gamma", "unstated")
        and row.column.protocol in _PUBLISHED_PROTOCOLS
        and row.column.source == "published"
        and plain(row.method) in shown
    ]
    return measured + published


def plain(method: str) -> str:
    """A method's name without case and punctuation."""
    return "".join(c for c in method.casefold() if c.isalnum())


def _comparisons(record: Path, run: RunRecord) -> list[Comparison]:
    networks = [method for method in SCALE_SWEEP if method in _methods(run)]
    pairs = [(method, BLURRED) for method in _methods(run)] + [
        (later, earlier)
        for index, earlier in enumerate(networks)
        for later in networks[index + 1 :]
    ]
    found: list[Comparison] = []
    for metric in PROTOCOLS:
        scores = read_scores(record / "scores/per_image.csv", record / "blur_lengths.csv", metric)
        found += compare_methods(scores, pairs, metric, seed=run.seed or 0)
    return found


def _comparisons_csv(comparisons: Iterable[Comparison]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ["metric", "method", "baseline", "blur_px_from", "blur_px_to", "n_images", "n_clips",
         "difference", "low", "high"]
    )  # fmt: skip
    for c in comparisons:
        # Rounded, as the last digits of a mean depend on the processor that takes it.
        figures = ["" if math.isnan(v) else f"{v:.5f}" for v in (c.difference, c.low, c.high)]
        table.writerow(
            [c.metric, c.method, c.baseline, *c.blur_px, c.n_images, c.n_clips, *figures]
        )
    return text.getvalue()


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
        *_scales_section(run, comparisons),
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
        f"{facts.get('n_pairs')} test pairs of {name}, blur_kind {kind}; trained and measured on "
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
            "The published columns are another dataset, full-size networks and days of training; "
            "they stand beside, not for comparison."
        )
    return " ".join(lines)


def _gains_table(run: RunRecord, comparisons: Sequence[Comparison]) -> str:
    lines = [
        "PSNR minus that of the blurred image, mean, and 95 % interval from a bootstrap that draws "
        "whole clips.",
        "",
        "| blur | images | clips | " + " | ".join(_methods(run)) + " |",
        "|---|--:|--:|" + "--:|" * len(_methods(run)),
    ]
    own = [c for c in comparisons if c.baseline == BLURRED and c.metric == _MAIN]
    for blur_px in dict.fromkeys(c.blur_px for c in own):
        row = {c.method: c for c in own if c.blur_px == blur_px}
        first = next(iter(row.values()))
        cells = [_interval(row[method]) for method in _methods(run)]
        lines.append(
            f"| {bin_name(blur_px)} | {first.n_images} | {first.n_clips} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def _interval(comparison: Comparison) -> str:
    if math.isnan(comparison.low):
        return f"{comparison.difference:+.2f}"
    return f"{comparison.difference:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}]"


def _scales_section(run: RunRecord, comparisons: Sequence[Comparison]) -> list[str]:
    own = [c for c in comparisons if c.baseline in SCALE_SWEEP and c.metric == _MAIN]
    if not own:
        return []
    patches = {_methods(run)[m]["n_patches"] for m in SCALE_SWEEP if m in _methods(run)}
    pairs = list(dict.fromkeys((c.method, c.baseline) for c in own))
    lines = [
        "| blur | images | clips | "
        + " | ".join(f"{NAMES[a]} minus {NAMES[b]}" for a, b in pairs)
        + " |",
        "|---|--:|--:|" + "--:|" * len(pairs),
    ]
    for blur_px in dict.fromkeys(c.blur_px for c in own):
        row = {(c.method, c.baseline): c for c in own if c.blur_px == blur_px}
        first = next(iter(row.values()))
        cells = " | ".join(_interval(row[pair]) for pair in pairs)
        lines.append(f"| {bin_name(blur_px)} | {first.n_images} | {first.n_clips} | {cells} |")
    budget = f"{patches.pop():,} patches" if len(patches) == 1 else "UNEQUAL budgets"
    return [
        "## K = 1, 2, 3 at equal budget",
        f"Each network saw {budget} and has the same number of convolutions. PSNR differences in "
        "dB on the same images, paired, whole clips drawn:",
        "\n".join(lines),
        verdict(own, NAMES)
        + " The paper's claim is that more scales help where blur is large. One seed each: another "
        "may change what is close.",
    ]


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
    lines = [
        f"On {device_name(run)}.",
        "",
        "| method | parameters | patches | training | s an image, 1280x720 |",
        "|---|--:|--:|--:|--:|",
    ]
    for method, figures in _methods(run).items():
        lines.append(
            f"| {method} | {figures['n_parameters']:,} | {figures['n_patches']:,} | "
            f"{figures['training_s'] / 60:.1f} min | {figures['seconds_an_image']:.2f} |"
        )
    return "\n".join(lines)


def _missing_section(run: RunRecord) -> list[str]:
    failures = run.results["failures"]
    if not failures:
        return []
    return ["## What failed", "\n".join(f"- {name}: {why}" for name, why in failures.items())]


def headline(record: Path) -> str:
    """The few lines for the project's front page."""
    run = read_record(record)
    figures = json.loads((record / RUN_FILE).read_text())["results"]["methods"]
    facts = run.dataset or {}
    scores = {m: read_scores(record / "scores/per_image.csv", record / "blur_lengths.csv", m)
              for m in PROTOCOLS}  # fmt: skip
    overall = {
        c.method: c
        for c in _comparisons(record, run)
        if c.baseline == BLURRED and c.metric == _MAIN and c.blur_px == (0.0, np.inf)
    }
    published = {
        (plain(row.method), row.column.protocol): row.printed or repr(row.value)
        for row in _table1_rows(record, run)
        if row.column.source == "published" and row.column.blur_kind == "gamma"
    }
    lines = [
        f"{str(run.scale).capitalize()} scale on {facts.get('name')}, {facts.get('n_pairs')} test "
        f"pairs, blur_kind {facts.get('blur_kind')}, {device_name(run)}:",
        "",
        "| method | parameters | PSNR (dB) | gain over blurred | SSIM (MATLAB RGB) | s an image | "
        "published on GOPRO_Large: PSNR | SSIM |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for method in scores[_MAIN].methods:
        own = figures.get(method)
        known = [published.get((plain(method), p), "–") for p in PROTOCOLS[:2]]
        cells = [
            method,
            f"{own['n_parameters']:,}" if own else "",
            f"{scores[_MAIN].of(method).mean():.2f}",
            _interval(overall[method]) if method in overall else "",
            f"{scores[PROTOCOLS[1]].of(method).mean():.4f}",
            f"{own['seconds_an_image']:.2f}" if own else "",
            *known,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
