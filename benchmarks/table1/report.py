"""From a record to tables and figures: nothing is measured here; equal records, equal text."""

import math
import shutil
from collections.abc import Mapping
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from baselines.methods import METHODS
from benchmarks.table1.compare import (
    ALL_IMAGES,
    Comparison,
    bin_name,
    compare_methods,
    scores_of,
    verdict,
)
from benchmarks.table1.figures import CROPS_FILE, CURVES_FILE, GAIN_FILE, plot_curves, plot_gain
from benchmarks.table1.plan import PROTOCOLS
from gopro_tools.files import write_atomic
from gopro_tools.records import read_record
from gopro_tools.sources import BLURRED
from gopro_tools.tables.model import Column, Row, Table, plain_name, table_of
from gopro_tools.tables.published import published_rows
from gopro_tools.tables.reading import rows_of
from gopro_tools.tables.rendering import to_csv, to_latex, to_markdown
from gopro_tools.text import csv_text, markdown_table, read_csv

PAGE_FILE = "README.md"

_PUBLISHED_PROTOCOLS = ("psnr_rgb", "ssim_matlab_rgb3d", "psnr_rgb_truncated", "ssim_cw")
_MAIN, _SSIM, *_ = PROTOCOLS


class Report:
    """The tables, figures and pages of one record."""

    def __init__(self, record: Path) -> None:
        """Read ``run.json`` of a record, as a run leaves it."""
        self.folder = record
        self.run = read_record(record)
        self.facts = self.run.dataset or {}

    def write(self, out: Path) -> None:
        """Make every table and figure; what lay in ``out`` under their names is replaced."""
        for name, text in self.texts().items():
            write_atomic(out / name, text)
        if self._lengths_are_known:
            plot_gain(self._scores[_MAIN], out / GAIN_FILE)
        if self._validation:
            plot_curves(self._validation, out / CURVES_FILE)
        if (self.folder / CROPS_FILE).is_file():
            shutil.copyfile(self.folder / CROPS_FILE, out / CROPS_FILE)

    def texts(self) -> dict[str, str]:
        """The tables and the page, by file name: a pure function of the record."""
        tables = {"table1": table_of(self._table1_rows())}
        for name, folder in (("detection", "detection"), ("real_pairs", "real")):
            if (self.folder / folder).is_dir():
                tables[name] = table_of(rows_of(self.folder / folder))
        texts = {
            f"{name}{suffix}": render(table)
            for name, table in tables.items()
            for suffix, render in ((".csv", to_csv), (".md", to_markdown), (".tex", to_latex))
        }
        texts["comparisons.csv"] = self._comparisons_csv()
        texts[PAGE_FILE] = self._page(tables)
        return texts

    @property
    def device_name(self) -> str:
        """What the networks ran on."""
        machine = self.run.machine
        if self.run.config["device"] == "cuda" and machine.get("gpus"):
            return str(machine["gpus"][0])
        return f"{machine['cpu']}, {machine['n_cores']} cores"

    # --- what the record holds ---

    @cached_property
    def _scores(self) -> dict[str, pd.DataFrame]:
        return {protocol: scores_of(self.folder, protocol) for protocol in PROTOCOLS}

    @cached_property
    def _lengths_are_known(self) -> bool:
        return bool(np.isfinite(self._scores[_MAIN].index.get_level_values("blur_px")).all())

    @cached_property
    def _validation(self) -> list[dict[str, str]]:
        return read_csv(self.folder / "validation.csv", ("method", "n_patches", "psnr_rgb_db"))

    @cached_property
    def _families(self) -> dict[str, list[tuple[str, str]]]:
        """Pairs of methods that are compared with each other, later and earlier, by family."""
        members: dict[str, list[str]] = {}
        for method, figures in self.run.methods.items():
            if figures.get("family"):
                members.setdefault(figures["family"], []).append(method)
        return {
            family: [(later, earlier) for earlier, later in combinations(methods, 2)]
            for family, methods in members.items()
            if len(methods) > 1
        }

    @cached_property
    def _comparisons(self) -> list[Comparison]:
        pairs = [(method, BLURRED) for method in self.run.methods]
        pairs += [pair for family in self._families.values() for pair in family]
        return [
            comparison
            for metric, scores in self._scores.items()
            for comparison in compare_methods(scores, pairs, metric, seed=self.run.seed or 0)
        ]

    # --- tables ---

    def _table1_rows(self) -> list[Row]:
        rows = rows_of(self.folder / "scores")
        measured = [row for row in rows if row.column.protocol in PROTOCOLS]
        for method, figures in self.run.methods.items():
            costs: dict[str, tuple[float | None, float, str, str]] = {
                "time_s": (figures["seconds_per_image"], 1, self.device_name, "one image"),
                "macs_g": (figures.get("n_macs"), 1e-9, "", "one image"),
                "parameters_m": (figures.get("n_parameters"), 1e-6, "", "as trained here"),
            }
            measured += [
                Row(
                    method=method,
                    column=Column(
                        quantity=quantity,
                        protocol=quantity,
                        settings=settings,
                        resolution="" if quantity == "parameters_m" else "1280x720",
                        dataset=dataset,
                        blur_kind=self.facts["blur_kind"],
                    ),
                    value=count * factor,
                    scale=figures.get("scale") or "",
                    published_name=figures.get("published_name") or "",
                    n_images=None,
                )
                for quantity, (count, factor, settings, dataset) in costs.items()
                if count is not None
            ]
        ours = {method.published_name or method.name for method in METHODS}
        theirs = {figures.get("published_name") or m for m, figures in self.run.methods.items()}
        names = {plain_name(name) for name in ours | theirs} | {BLURRED}
        return measured + [
            row
            for row in published_rows()
            if row.column.dataset.startswith("GOPRO_Large")
            and row.column.blur_kind in ("gamma", "unstated")
            and row.column.protocol in _PUBLISHED_PROTOCOLS
            and row.column.source == "published"
            and plain_name(row.method) in names
        ]

    def _comparisons_csv(self) -> str:
        columns = ["metric", "method", "baseline", "blur_px_from", "blur_px_to", "n_images",
                   "n_clips", "difference", "low", "high"]  # fmt: skip
        rows = []
        for c in self._comparisons:
            # Rounded, as the last digits of a mean depend on the processor that takes it.
            ends = ["" if math.isnan(v) else f"{v:.5f}" for v in (c.difference, c.low, c.high)]
            rows.append([c.metric, c.method, c.baseline, *c.blur_px, c.n_images, c.n_clips, *ends])
        return csv_text(columns, rows)

    # --- the page ---

    def _page(self, tables: Mapping[str, Table]) -> str:
        blocks = [
            f"# Table 1, {self.run.scale} scale",
            self._what_was_run(),
            to_markdown(tables["table1"]).rstrip(),
            "## Against the blurred input",
            "PSNR minus that of the blurred image, mean, and 95 % interval from a bootstrap that "
            "draws whole clips.",
            self._by_blur({method: (method, BLURRED) for method in self.run.methods}),
            *self._families_section(),
            *self._figures_section(),
            "## Detection on the same images",
        ]
        if "detection" in tables:
            blocks += [
                "Protocol yolo-consistency-v1: the detector's own boxes on the sharp images are "
                "what it should find on the others.",
                to_markdown(tables["detection"]).rstrip(),
            ]
        else:
            blocks.append(f"Not made: {self._why_not('detection')}.")
        blocks.append("## Real pairs")
        if "real_pairs" in tables:
            blocks += [
                "Scored, never trained on. Of another kind of blur than the training pairs where "
                "the heading says so.",
                to_markdown(tables["real_pairs"]).rstrip(),
            ]
        else:
            blocks.append(f"Not scored: {self._why_not('real pairs')}.")
        blocks += ["## What it cost", f"On {self.device_name}.", self._cost_table()]
        if failures := self.run.results["failures"]:
            lines = [f"- {name}: {why}" for name, why in failures.items()]
            blocks += ["## What failed", "\n".join(lines)]
        return "\n\n".join(blocks) + "\n"

    def _what_was_run(self) -> str:
        run, facts = self.run, self.facts
        lines = [
            f"{facts.get('n_pairs')} test pairs of {facts.get('name')}, blur_kind "
            f"{facts.get('blur_kind')}; restored and timed on {self.device_name}, one seed "
            f"({run.seed})."
        ]
        if rendered := facts.get("rendered"):
            slow, fast = rendered["speed_px_s"]
            height, width = rendered["size_hw"]
            photographs = facts["photographs"]
            lines.append(
                f"**Not GOPRO_Large**: clips rendered at 240 fps by `gopro_tools.rendered` (seed "
                f"{rendered['seed']}, {width}x{height}, shake of {slow:g} to {fast:g} px/s), "
                f"averaged by `gopro_tools.synthesize`; {rendered['n_train']} training pairs of "
                f"{len(photographs['train'])} photographs, test pairs of "
                f"{len(photographs['test'])} others."
            )
        if run.scale != "full":
            lines.append(
                "The published columns are of another dataset, full-size networks and days of "
                "training: for reference only, not comparable."
            )
        return " ".join(lines)

    def _by_blur(self, pairs: Mapping[str, tuple[str, str]]) -> str:
        """One row per bin of blur length, one column per pair of methods, by its heading."""
        of_main = [c for c in self._comparisons if c.metric == _MAIN]
        rows = []
        for blur_px in dict.fromkeys(c.blur_px for c in of_main):
            row = {(c.method, c.baseline): c for c in of_main if c.blur_px == blur_px}
            shown = [row[pair] for pair in pairs.values()]
            counts = (str(shown[0].n_images), str(shown[0].n_clips))
            rows.append([bin_name(blur_px), *counts, *map(_interval, shown)])
        return markdown_table(["blur", "images", "clips", *pairs], rows)

    def _families_section(self) -> list[str]:
        blocks: list[str] = []
        titles = {method: str(figures["title"]) for method, figures in self.run.methods.items()}
        for family, pairs in self._families.items():
            methods = [m for m in self.run.methods if any(m in pair for pair in pairs)]
            patches = {self.run.methods[method]["n_patches"] for method in methods}
            budget = f"{patches.pop():,} patches" if len(patches) == 1 else "UNEQUAL budgets"
            own = [
                c
                for c in self._comparisons
                if (c.method, c.baseline) in pairs and c.metric == _MAIN
            ]
            blocks += [
                f"## {family}: {', '.join(titles[method] for method in methods)} at equal budget",
                f"Each network saw {budget}. PSNR differences in dB on the same images, paired, "
                "whole clips drawn:",
                self._by_blur({f"{titles[a]} minus {titles[b]}": (a, b) for a, b in pairs}),
                f"{verdict(own, titles)} One seed each: another may change the order of close "
                "results.",
            ]
        return blocks

    def _figures_section(self) -> list[str]:
        shown = (
            ((self.folder / CROPS_FILE).is_file(), CROPS_FILE,
             "Crops of test images, with the PSNR of the whole image"),
            (self._lengths_are_known, GAIN_FILE, "Gain in PSNR by length of blur"),
            (bool(self._validation), CURVES_FILE, "Validation PSNR while learning"),
        )  # fmt: skip
        return [f"![{title}]({name})" for is_there, name, title in shown if is_there]

    def _why_not(self, part: str) -> str:
        why = {**self.run.results["absent"], **self.run.results["failures"]}
        return str(why.get(part, "no reason is known"))

    def _cost_table(self) -> str:
        rows = []
        for method, figures in self.run.methods.items():
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
        return markdown_table(head, rows, n_text_columns=2)

    def headline(self) -> str:
        """The few lines for the project's front page."""
        means = {protocol: scores.mean() for protocol, scores in self._scores.items()}
        overall = {
            c.method: c
            for c in self._comparisons
            if (c.baseline, c.metric, c.blur_px) == (BLURRED, _MAIN, ALL_IMAGES)
        }
        published = {
            (plain_name(row.method), row.column.protocol): row.printed or repr(row.value)
            for row in self._table1_rows()
            if row.column.source == "published" and row.column.blur_kind == "gamma"
        }
        rows = []
        for method in self._scores[_MAIN].columns:
            own: Mapping[str, Any] = self.run.methods.get(method, {})
            name = plain_name(own.get("published_name") or method)
            seconds = own.get("seconds_per_image")
            rows.append(
                [
                    method,
                    str(own.get("scale") or "–"),
                    _counted(own.get("n_parameters")),
                    f"{means[_MAIN][method]:.2f}",
                    _interval(overall[method]) if method in overall else "",
                    f"{means[_SSIM][method]:.4f}",
                    "–" if seconds is None else f"{seconds:.2f}",
                    *(published.get((name, protocol), "–") for protocol in (_MAIN, _SSIM)),
                ]
            )
        head = ["method", "scale", "parameters", "PSNR (dB)", "gain over blurred",
                "SSIM (MATLAB RGB)", "seconds per image", "published on GOPRO_Large: PSNR",
                "SSIM"]  # fmt: skip
        facts = self.facts
        return (
            f"{str(self.run.scale).capitalize()} scale on {facts.get('name')}, "
            f"{facts.get('n_pairs')} test pairs, blur_kind {facts.get('blur_kind')}, "
            f"{self.device_name}:\n\n" + markdown_table(head, rows, n_text_columns=2)
        )


def _interval(comparison: Comparison) -> str:
    if math.isnan(comparison.low):
        return f"{comparison.difference:+.2f}"
    return f"{comparison.difference:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}]"


def _counted(count: float | None, factor: float = 1) -> str:
    return "–" if count is None else f"{count * factor:,.0f}"
