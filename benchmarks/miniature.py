"""The tables and curves of the page on GOPRO in miniature, made from records alone.

    python -m benchmarks.miniature

reads the trainings under ``results/runs/train``, evaluations under
``results/runs/evaluate/{miniature,stages}-*`` and detections under
``results/runs/detect/miniature-*``. It draws ``results/miniature/curves.png``, and fills the blocks
between markers in ``results/miniature/README.md``, where the prose is written by hand.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.train.journal import read_log
from gopro_tools.console import run_command, stderr
from gopro_tools.figures import new_figure
from gopro_tools.files import write_atomic
from gopro_tools.records import RunRecord, iterate_runs
from gopro_tools.text import markdown_table, read_csv

_NARROW = "reduced-cpu"
_PSNR = "validation_psnr_rgb_db"
_BATCH = 16
_STOPPED = "deepdeblur-k1-stopped.jsonl"
"""The log of a training that was stopped, and so has no record of its own."""
_MOST_SEQUENCES = 8
_BLOCK = re.compile(r"(<!-- begin: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def command(results: Path = Path("results")) -> int:
    """Fill the page on GOPRO in miniature from the records.

    Args:
        results: Where records lie and the page is.
    """
    path = results / "miniature" / "README.md"
    _draw_curves(results, path.with_name("curves.png"))
    write_atomic(path, page(results))
    stderr.print(f"{path}")
    return 0


def page(results: Path) -> str:
    """The page with its blocks as the records give them."""
    blocks: Mapping[str, Callable[[Path], str]] = {
        "trainings": _trainings,
        "scales": _scales,
        "evaluations": lambda results: _sections(results, "evaluate/miniature-*", _evaluated),
        "detections": lambda results: _sections(results, "detect/miniature-*", _detected),
        "fine_tunings": _fine_tunings,
        "stages": lambda results: _sections(results, "evaluate/stages-*", _evaluated),
    }
    text = (results / "miniature" / "README.md").read_text(encoding="utf-8")
    return _BLOCK.sub(lambda found: f"{found[1]}{blocks[found[2]](results)}\n{found[3]}", text)


def _sections(results: Path, suite: str, section: Callable[[Path, str], list[str]]) -> str:
    """A section for each record, with its name in the results folder."""
    folders = [path.parent for path in sorted((results / "runs").glob(f"{suite}/*/run.json"))]
    names = [folder.relative_to(results).as_posix() for folder in folders]
    return "\n\n".join(
        part for folder, name in zip(folders, names, strict=True) for part in section(folder, name)
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
    return float(entry[_PSNR] - entry["validation_blurred_psnr_rgb_db"])


def _stopped(results: Path) -> list[dict[str, Any]]:
    """The validations of the training that was stopped."""
    lines = (results / "miniature" / _STOPPED).read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if _PSNR in entry]


def _trainings(results: Path) -> str:
    rows = []
    for _, run, width in _runs(results):
        name = run.method
        if name == "deblurgan":
            name += f" {run.config['recipe']['content_loss']}"
        # Sun et al. learn to classify motion: nothing is restored while they do.
        gain = f"{_gain_in(run.results):+.2f}" if _PSNR in run.results else "–"
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


def _draw_curves(results: Path, path: Path) -> None:
    """Gain on validation scenes over patches seen, for each K."""
    figure = new_figure(8, 5)
    axes = figure.subplots(1, 1)
    colours = {"deepdeblur-k1": "C0", "deepdeblur-k2": "C1", "deepdeblur-k3": "C2"}
    curves = [
        (
            run.method,
            "-" if width == "full" else ":",
            f"{run.method}, {width}" if run.seed == 0 else None,
            [entry for entry in read_log(folder) if _PSNR in entry],
        )
        for folder, run, width in _runs(results)
        if run.method in colours
    ]
    curves.append(("deepdeblur-k1", "-.", "deepdeblur-k1, full, stopped", _stopped(results)))
    for method, style, label, entries in curves:
        points = [(entry["step"] * _BATCH / 1000, _gain_in(entry)) for entry in entries]
        axes.plot(*zip(*points, strict=True), color=colours[method], linestyle=style, label=label)
    axes.set_xlabel("thousand patches seen")
    axes.set_ylabel("gain over blurred on validation scenes, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)


def _scales(results: Path) -> str:
    """The gains behind the paper's claim about scales: narrow networks, and full ones."""
    (rendered,) = (results / "runs" / "evaluate").glob("miniature-rendered120/*/summary.csv")
    gains: dict[str, list[float]] = defaultdict(list)
    for row in read_csv(rendered, ()):
        if "-narrow-" in row["method"] and row["metric"] == "psnr_rgb":
            gains[row["method"][:2].upper()].append(float(row["delta_mean"]))
    last = _stopped(results)[-1]
    at_same_step = {"K1": _gain_in(last)}
    for folder, run, width in _runs(results):
        if width == "full":
            (entry,) = [e for e in read_log(folder) if e["step"] == last["step"] and _PSNR in e]
            at_same_step[f"K{run.method[-1]}"] = _gain_in(entry)
    head = ["K", "narrow, 120 rendered images: mean of the seeds", "lowest", "highest",
            f"full, validation after {last['step']:,} steps"]  # fmt: skip
    rows = [
        [k[1], *(f"{v:+.2f}" for v in (sum(own) / len(own), min(own), max(own), at_same_step[k]))]
        for k, own in sorted(gains.items())
    ]
    return markdown_table(head, rows)


# --- evaluations and detections ---


def _evaluated(folder: Path, name: str) -> list[str]:
    summary = read_csv(folder / "summary.csv", ())
    scores = {(row["method"], row["metric"]): row for row in summary}
    body = []
    for method in dict.fromkeys(row["method"] for row in summary):
        psnr, ssim = scores[method, "psnr_rgb"], scores[method, "ssim_matlab_rgb3d"]
        gain = "" if method == "blurred" else _gain(psnr)
        body.append([method, f"{float(psnr['mean']):.2f}", gain, f"{float(ssim['mean']):.4f}"])
    head = ["method", "PSNR, dB", "gain [95 % interval over sequences]", "SSIM (MATLAB RGB)"]
    parts = [
        f"## {summary[0]['dataset']}",
        f"Record `{name}`; blur_kind {summary[0]['blur_kind']}.",
        markdown_table(head, body),
    ]
    sequences = read_csv(folder / "sequences.csv", ())
    blurred = {
        row["sequence"]: float(row["psnr_rgb"]) for row in sequences if row["method"] == "blurred"
    }
    if len(blurred) <= _MOST_SEQUENCES:
        gains = {
            (row["method"], row["sequence"]): float(row["psnr_rgb"]) - blurred[row["sequence"]]
            for row in sequences
        }
        table = _across({key: f"{gain:+.2f}" for key, gain in gains.items()})
        parts += ["Gain by sequence, dB:", table]
    for path in folder.glob("strata*.csv"):
        cells = {
            (row["method"], _stratum(row)): _gain(row)
            for row in read_csv(path, ())
            if row["metric"] == "psnr_rgb"
        }
        parts += ["Gain by length of blur:", _across(cells)]
    return parts


def _across(cells: Mapping[tuple[str, str], str]) -> str:
    """Cells by method and what they are of: one row per method that restores, one column each."""
    columns = list(dict.fromkeys(column for _, column in cells))
    methods = dict.fromkeys(method for method, _ in cells if method != "blurred")
    rows = [[method, *(cells[method, column] for column in columns)] for method in methods]
    return markdown_table(["method", *columns], rows)


def _stratum(row: Mapping[str, str]) -> str:
    return f"{float(row['low']):g} to {float(row['high']):g} px ({row['n_images']} images)"


def _gain(row: Mapping[str, str]) -> str:
    low, high = row["delta_low"], row["delta_high"]
    interval = f" [{float(low):+.2f}, {float(high):+.2f}]" if low and high else ""
    return f"{float(row['delta_mean']):+.2f}{interval}"


def _detected(folder: Path, name: str) -> list[str]:
    """What a detector finds, against what it finds in the sharp images."""
    rows = read_csv(folder / "detection.csv", ())
    scores = ("precision", "recall", "f1", "ap50")
    body = [
        [
            row["method"],
            *(f"{float(row[key]):.3f}" for key in scores),
            *("" if row["method"] in ("sharp", "blurred") else _change(row, key)
              for key in ("f1", "ap50")),
        ]
        for row in rows
    ]  # fmt: skip
    head = ["method", "precision", "recall", "F1", "AP50", "F1 over blurred", "AP50 over blurred"]
    return [
        f"## Detection: {rows[0]['dataset']}, {rows[0]['detector']}",
        f"Record `{name}`; images of {rows[0]['resolution']}. Intervals: {rows[0]['interval']}.",
        markdown_table(head, body),
    ]


def _change(row: Mapping[str, str], score: str) -> str:
    value, low, high = (float(row[f"{score}_minus_blurred{end}"]) for end in ("", "_low", "_high"))
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    run_command(command)
