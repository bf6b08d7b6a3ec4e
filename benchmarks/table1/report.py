"""From a record to tables and figures: nothing is measured here; equal records, equal text."""

import math
import shutil
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from baselines.methods import METHODS
from benchmarks.table1.compare import compare_methods, scores_of
from benchmarks.table1.figures import CROPS_FILE, CURVES_FILE, GAIN_FILE, plot_curves, plot_gain
from benchmarks.table1.plan import PROTOCOLS
from gopro_tools.files import write_atomic
from gopro_tools.records import read_record
from gopro_tools.sources import BLURRED
from gopro_tools.tables.model import Column, Row, Table, plain_name, table_of
from gopro_tools.tables.published import published_rows
from gopro_tools.tables.reading import rows_of
from gopro_tools.tables.rendering import to_csv, to_latex, to_markdown
from gopro_tools.text import csv_text, markdown_table

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
        for name, (_, draw) in self._figures.items():
            draw(out / name)

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
    def _figures(self) -> dict[str, tuple[str, Callable[[Path], object]]]:
        """By file name: the title of each figure that the record allows, and what draws it."""
        title = "Crops of test images, with the PSNR of the whole image"
        copy: Callable[[Path], object] = partial(shutil.copyfile, self.folder / CROPS_FILE)
        figures = {CROPS_FILE: (title, copy)}
        scores, validation = self._scores[_MAIN], pd.read_csv(self.folder / "validation.csv")
        if np.isfinite(scores.index.get_level_values("blur_px")).all():
            figures[GAIN_FILE] = ("Gain in PSNR by length of blur", partial(plot_gain, scores))
        if not validation.empty:
            curves = partial(plot_curves, validation)
            figures[CURVES_FILE] = ("Validation PSNR while learning", curves)
        return figures

    @cached_property
    def _families(self) -> dict[str, list[tuple[str, str]]]:
        """Pairs of methods that are compared with each other, later and earlier, by family."""
        families: dict[str, list[tuple[str, str]]] = {}
        for earlier, later in combinations(self.run.methods, 2):
            family = self.run.methods[later].get("family")
            if family and family == self.run.methods[earlier].get("family"):
                families.setdefault(family, []).append((later, earlier))
        return families

    @cached_property
    def _comparisons(self) -> pd.DataFrame:
        """As `compare_methods` gives them, of each ``metric``."""
        pairs = [(method, BLURRED) for method in self.run.methods]
        pairs += [pair for family in self._families.values() for pair in family]
        compared = {
            metric: compare_methods(scores, pairs, seed=self.run.seed or 0)
            for metric, scores in self._scores.items()
        }
        return pd.concat(compared, names=["metric", None]).reset_index(level="metric")

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
        table = self._comparisons.copy()
        for name in ("difference", "low", "high"):
            # Rounded, as the last digits of a mean depend on the processor that takes it.
            table[name] = ["" if math.isnan(value) else f"{value:.5f}" for value in table[name]]
        return csv_text(list(table.columns), table.itertuples(index=False))

    # --- the page ---

    def _page(self, tables: Mapping[str, Table]) -> str:
        failures = [f"- {name}: {why}" for name, why in self.run.results["failures"].items()]
        blocks = [
            f"# Table 1, {self.run.scale} scale",
            self._what_was_run(),
            to_markdown(tables["table1"]).rstrip(),
            "## Against the blurred input",
            "PSNR minus that of the blurred image, mean, and 95 % interval from a bootstrap that "
            "draws whole clips.",
            self._by_blur({method: (method, BLURRED) for method in self.run.methods}),
            *self._families_section(),
            *(f"![{title}]({name})" for name, (title, _) in self._figures.items()),
            "## Detection on the same images",
            *self._table_or_why_not(
                tables.get("detection"),
                "detection",
                "Protocol yolo-consistency-v1: the detector's own boxes on the sharp images are "
                "what it should find on the others.",
            ),
            "## Real pairs",
            *self._table_or_why_not(
                tables.get("real_pairs"),
                "real pairs",
                "Scored, never trained on. Of another kind of blur than the training pairs where "
                "the heading says so.",
            ),
            "## What it cost",
            self._cost_table(),
            f"Seconds per image are those of {self.device_name}; trainings ran on the machines of "
            "their records under `runs/train`.",
            *(["## What failed", "\n".join(failures)] if failures else []),
        ]
        return "\n\n".join(blocks) + "\n"

    def _table_or_why_not(self, table: Table | None, part: str, about: str) -> list[str]:
        if table is not None:
            return [about, to_markdown(table).rstrip()]
        why = {**self.run.results["absent"], **self.run.results["failures"]}
        return [f"Not made: {why[part]}."]

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
        of_main = self._comparisons[self._comparisons["metric"] == _MAIN]
        rows = []
        for _, inside in of_main.groupby(["blur_px_from", "blur_px_to"], sort=False):
            shown = inside.set_index(["method", "baseline"]).loc[list(pairs.values())]
            first, *others = shown.itertuples()
            counts = [_bin_name(first), str(first.n_images), str(first.n_clips)]
            rows.append([*counts, *map(_interval, [first, *others])])
        return markdown_table(["blur", "images", "clips", *pairs], rows)

    def _families_section(self) -> list[str]:
        blocks: list[str] = []
        methods = self.run.methods
        titles = {method: str(figures["title"]) for method, figures in methods.items()}
        for family, pairs in self._families.items():
            members = [method for method in methods if any(method in pair for pair in pairs)]
            blocks += [
                f"## {family}: {', '.join(titles[method] for method in members)} at equal budget",
                f"Each network saw {methods[members[0]]['n_patches']:,} patches. PSNR differences "
                "in dB on the same images, paired, whole clips drawn. One seed each: another may "
                "change the order of close results.",
                self._by_blur({f"{titles[a]} minus {titles[b]}": (a, b) for a, b in pairs}),
            ]
        return blocks

    def _cost_table(self) -> str:
        rows = [
            [
                method,
                str(figures.get("scale") or "–"),
                _counted(figures.get("n_parameters")),
                _counted(figures.get("n_macs"), 1e-9),
                _counted(figures.get("n_patches")),
                _counted(figures.get("training_s"), 1 / 60, "{:.1f} min"),
                f"{figures['seconds_per_image']:.2f}",
            ]
            for method, figures in self.run.methods.items()
        ]
        head = ["method", "scale", "parameters", "GMACs, 1280x720", "patches", "training",
                "seconds per image, 1280x720"]  # fmt: skip
        return markdown_table(head, rows, n_text_columns=2)


def _bin_name(comparison: Any) -> str:
    """The bin of blur lengths that a row of `compare_methods` is of, in words."""
    low, high = comparison.blur_px_from, comparison.blur_px_to
    if math.isinf(high):
        return "all" if low == 0 else f"{low:g} px and more"
    return f"{low:g} to {high:g} px"


def _interval(comparison: Any) -> str:
    """Of a row of `compare_methods`."""
    if math.isnan(comparison.low):
        return f"{comparison.difference:+.2f}"
    return f"{comparison.difference:+.2f} [{comparison.low:+.2f}, {comparison.high:+.2f}]"


def _counted(count: float | None, factor: float = 1, form: str = "{:,.0f}") -> str:
    return "–" if count is None else form.format(count * factor)
