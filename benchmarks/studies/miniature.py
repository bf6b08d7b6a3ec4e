"""The tables and curves of the page on GOPRO in miniature, made from records alone.

They come from the trainings under ``results/runs/train``, evaluations under
``results/runs/evaluate/{miniature,stages}-*`` and detections under
``results/runs/detect/miniature-*``. `benchmarks.table1.publish` draws
``results/miniature/curves.png`` and fills the blocks of ``results/miniature/README.md``.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.keeping import filled
from benchmarks.train.journal import BLURRED_DB, VALIDATION_DB, read_log
from gopro_tools.figures import new_figure
from gopro_tools.records import RunRecord, iterate_runs
from gopro_tools.sources import BLURRED, SHARP
from gopro_tools.text import markdown_table

_PAGE = "miniature/README.md"
_NARROW = "reduced-cpu"
_BATCH = 16
_STOPPED = "deepdeblur-k1-stopped.jsonl"
"""The log of a training that was stopped, and so has no record of its own."""
_MOST_SEQUENCES = 8


def pages(results: Path) -> dict[Path, str]:
    """The page with its blocks as the records give them, by its path."""
    page = results / _PAGE
    if not page.is_file():
        return {}
    blocks = {
        "trainings": _trainings(results),
        "scales": _scales(results),
        "evaluations": _sections(results, "evaluate/miniature-*", _evaluated),
        "detections": _sections(results, "detect/miniature-*", _detected),
        "fine_tunings": _fine_tunings(results),
        "stages": _sections(results, "evaluate/stages-*", _evaluated),
    }
    return {page: filled(page, blocks)}


def _sections(results: Path, suite: str, section: Callable[[Path, str], list[str]]) -> str:
    """A section for each record, with its name in the results folder."""
    folders = [path.parent for path in sorted((results / "runs").glob(f"{suite}/*/run.json"))]
    return "\n\n".join(
        part
        for folder in folders
        for part in section(folder, folder.relative_to(results).as_posix())
    )


# --- trainings ---


def _runs(results: Path) -> Iterator[tuple[Path, RunRecord, str]]:
    """Trainings in miniature, and whether the network is narrow or full."""
    for folder, run in iterate_runs(results, "train"):
        preset = run.config["recipe"]["preset"]
        if "started_from_sha256" in run.config:
            continue  # see `_fine_tunings`
        if run.scale == "reduced" and preset in (_NARROW, "reduced"):
            yield folder, run, "narrow" if preset == _NARROW else "full"


def _gain_in(entry: Mapping[str, Any]) -> float:
    return float(entry[VALIDATION_DB] - entry[BLURRED_DB])


def _gains_by_step(entries: list[dict[str, Any]]) -> dict[int, float]:
    """Gain over blurred of each validation in a log."""
    return {entry["step"]: _gain_in(entry) for entry in entries if VALIDATION_DB in entry}


def _stopped(results: Path) -> dict[int, float]:
    """Gains of the training that was stopped."""
    lines = (results / "miniature" / _STOPPED).read_text(encoding="utf-8").splitlines()
    return _gains_by_step([json.loads(line) for line in lines])


def _trainings(results: Path) -> str:
    rows = []
    for _, run, width in _runs(results):
        name = run.method
        if name == "deblurgan":
            name += f" {run.config['recipe']['content_loss']}"
        # Sun et al. learn to classify motion: nothing is restored while they do.
        gain = f"{_gain_in(run.results):+.2f}" if VALIDATION_DB in run.results else "–"
        numbers = [f"{run.results['n_patches']:,}", f"{run.timings_s['training']:.0f}", gain]
        rows.append([name, width, str(run.seed), *numbers])
    head = ["method", "network", "seed", "patches", "seconds", "validation gain, dB"]
    return markdown_table(head, rows, n_text_columns=2)


def _fine_tunings(results: Path) -> str:
    """What the networks that compare stages of blur were fine-tuned on."""
    rows = []
    for _, run in iterate_runs(results, "train"):
        if "started_from_sha256" in run.config:
            data, rate = run.config["data"], run.config["recipe"]["optimisation"]["learning_rate"]
            numbers = [str(run.seed), f"{run.results['n_patches']:,}", f"{rate:g}"]
            rows.append([data["name"], f"{data['n_pairs']:,}", data["blur_kind"], *numbers])
    head = ["data", "pairs", "blur_kind", "seed", "patches", "learning rate"]
    return markdown_table(head, sorted(rows))


def draw(results: Path) -> None:
    """Gain on validation scenes over patches seen, for each K."""
    if not (results / _PAGE).is_file():
        return
    figure = new_figure(8, 5)
    axes = figure.subplots(1, 1)
    colours = {"deepdeblur-k1": "C0", "deepdeblur-k2": "C1", "deepdeblur-k3": "C2"}
    curves = [
        (
            run.method,
            "-" if width == "full" else ":",
            f"{run.method}, {width}" if run.seed == 0 else None,
            _gains_by_step(read_log(folder)),
        )
        for folder, run, width in _runs(results)
        if run.method in colours
    ]
    curves.append(("deepdeblur-k1", "-.", "deepdeblur-k1, full, stopped", _stopped(results)))
    for method, style, label, gains in curves:
        patches = [step * _BATCH / 1000 for step in gains]
        axes.plot(patches, gains.values(), color=colours[method], linestyle=style, label=label)
    axes.set_xlabel("thousand patches seen")
    axes.set_ylabel("gain over blurred on validation scenes, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig((results / _PAGE).with_name("curves.png"), dpi=100)


def _scales(results: Path) -> str:
    """The gains behind the paper's claim about scales: narrow networks, and full ones."""
    (rendered,) = (results / "runs" / "evaluate").glob("miniature-rendered120/*/summary.csv")
    summary = pd.read_csv(rendered)
    narrow = summary[(summary["metric"] == "psnr_rgb") & summary["method"].str.contains("-narrow-")]
    gains = narrow.groupby(narrow["method"].str[1])["delta_mean"]
    at_step, gain = list(_stopped(results).items())[-1]
    full = {"1": gain}
    for folder, run, width in _runs(results):
        if width == "full":
            full[run.method[-1]] = _gains_by_step(read_log(folder))[at_step]
    rows = [
        [str(k), *(f"{gain:+.2f}" for gain in (own.mean(), own.min(), own.max(), full[str(k)]))]
        for k, own in gains
    ]
    head = ["K", "narrow, 120 rendered images: mean of the seeds", "lowest", "highest",
            f"full, validation after {at_step:,} steps"]  # fmt: skip
    return markdown_table(head, rows)


# --- evaluations and detections ---


def _evaluated(folder: Path, name: str) -> list[str]:
    summary = pd.read_csv(folder / "summary.csv").set_index("method")
    psnr = summary[summary["metric"] == "psnr_rgb"]
    ssim = summary[summary["metric"] == "ssim_matlab_rgb3d"]["mean"]
    gains = [_gain(row) for _, row in psnr.iterrows()]
    body = [
        [method, f"{mean:.2f}", "" if method == BLURRED else gain, f"{ssim[method]:.4f}"]
        for method, mean, gain in zip(psnr.index, psnr["mean"], gains, strict=True)
    ]
    head = ["method", "PSNR, dB", "gain [95 % interval over sequences]", "SSIM (MATLAB RGB)"]
    parts = [
        f"## {summary['dataset'].iloc[0]}",
        f"Record `{name}`; blur_kind {summary['blur_kind'].iloc[0]}.",
        markdown_table(head, body),
    ]
    sequences = pd.read_csv(folder / "sequences.csv")
    if sequences["sequence"].nunique() <= _MOST_SEQUENCES:
        scores = sequences.pivot(index="method", columns="sequence", values="psnr_rgb")
        by_sequence = (scores - scores.loc[BLURRED]).loc[psnr.index].map("{:+.2f}".format)
        parts += ["Gain by sequence, dB:", _across(by_sequence)]
    for path in folder.glob("strata*.csv"):
        strata = pd.read_csv(path)
        strata = strata[strata["metric"] == "psnr_rgb"]
        bins = [
            f"{row.low:g} to {row.high:g} px ({row.n_images} images)" for row in strata.itertuples()
        ]
        gains = [_gain(row) for _, row in strata.iterrows()]
        by_blur = strata.assign(bin=bins, gain=gains).pivot(
            index="method", columns="bin", values="gain"
        )
        by_blur = by_blur.loc[psnr.index, list(dict.fromkeys(bins))]
        parts += ["Gain by length of blur:", _across(by_blur)]
    return parts


def _across(cells: pd.DataFrame) -> str:
    """One row per method that restores."""
    rows = cells.drop(index=BLURRED).itertuples()
    return markdown_table(["method", *cells.columns], [list(row) for row in rows])


def _gain(row: "pd.Series[Any]") -> str:
    ends = row[["delta_low", "delta_high"]]
    interval = "" if ends.isna().any() else f" [{ends.iloc[0]:+.2f}, {ends.iloc[1]:+.2f}]"
    return f"{row['delta_mean']:+.2f}{interval}"


def _detected(folder: Path, name: str) -> list[str]:
    """What a detector finds, against what it finds in the sharp images."""
    rows = pd.read_csv(folder / "detection.csv").set_index("method")
    body = []
    for method, row in rows.iterrows():
        scores = [f"{row[score]:.3f}" for score in ("precision", "recall", "f1", "ap50")]
        changes = (
            ["", ""] if method in (SHARP, BLURRED) else [_change(row, "f1"), _change(row, "ap50")]
        )
        body.append([str(method), *scores, *changes])
    head = ["method", "precision", "recall", "F1", "AP50", "F1 over blurred", "AP50 over blurred"]
    first = rows.iloc[0]
    return [
        f"## Detection: {first['dataset']}, {first['detector']}",
        f"Record `{name}`; images of {first['resolution']}. Intervals: {first['interval']}.",
        markdown_table(head, body),
    ]


def _change(row: "pd.Series[Any]", score: str) -> str:
    value, low, high = (row[f"{score}_minus_blurred{end}"] for end in ("", "_low", "_high"))
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
