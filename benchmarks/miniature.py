"""The page on GOPRO in miniature, made from records alone.

    python -m benchmarks.miniature

reads the trainings under ``results/runs/train``, evaluations under
``results/runs/evaluate/{miniature,stages}-*`` and detections under
``results/runs/detect/miniature-*``, and writes ``results/miniature/README.md`` and ``curves.png``.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.train.journal import read_log
from gopro_tools.console import run_command, stderr
from gopro_tools.figures import new_figure
from gopro_tools.files import write_atomic
from gopro_tools.records import RunRecord, iterate_runs
from gopro_tools.text import markdown_table, read_csv

_NARROW = "reduced-cpu"
_INTRODUCTION = """\
# GOPRO in miniature

Every length is a quarter of GOPRO_Large's: images of 320x180, patches of 64 px, blur of about 1 to
10 px. The networks learned from 2,400 rendered pairs of photographs that no test image shows, on an
H200. *Narrow* networks (preset `reduced-cpu`) have 24 features and 36 convolutions for every K,
*full* ones (preset `reduced`) the paper's 64 features and 120 convolutions. All K of a preset see
the same number of patches. Real pairs are REDS 027 (the dataset's own quarter size), REDS 020,
GOPRO's GOPR0372_07_00 and two more of its pairs, shrunk by area; no network was trained on any
real pair. Images were restored in bf16. DeblurGAN is narrow too: `l1` compares pixels and has a
critic of weight 0.1, `vgg` compares features of VGG19's conv3_1 with the paper's weights of both,
and leaves a checkerboard. This is not the paper's Table 1: its data and budget differ.

Made by `python -m benchmarks.miniature` from the records it names.
"""

_STAGES = """\
# Stages of blur

Which stage of the synthesis helps on real pairs? The narrow K=2 network of `results/weights`
(`shipped`) was fine-tuned on the same 60 rendered clips of 240 Hz, blurred in five ways: the plain
mean of 11 frames, with 7 frames interpolated into each gap, with saturation, with RSBlur's noise,
and by the whole recipe `rsblur` (9 frames, sRGB response, interpolation, saturation, noise, camera
pipeline), which therefore has more and shorter exposures. One seed each.
"""


def command(results: Path = Path("results")) -> int:
    """Write the page on GOPRO in miniature from the records.

    Args:
        results: Where records lie and the page goes.
    """
    out = results / "miniature"
    _draw_curves(results, out)
    write_atomic(out / "README.md", page(results))
    stderr.print(f"{out / 'README.md'}")
    return 0


def page(results: Path) -> str:
    """The page that the records give."""
    parts = [_INTRODUCTION, *_trainings(results), *_scales(results)]
    for folder in _evaluations(results):
        parts += _evaluated(folder, results)
    for path in sorted((results / "runs" / "detect").glob("miniature-*/*/run.json")):
        parts += _detected(path.parent, results)
    for folder in _evaluations(results, "stages"):
        parts += [_STAGES, _fine_tunings(results), *_evaluated(folder, results)]
    return "\n".join(parts)


def _evaluations(results: Path, name: str = "miniature") -> Iterator[Path]:
    for path in sorted((results / "runs" / "evaluate").glob(f"{name}-*/*/run.json")):
        yield path.parent


def _runs(results: Path) -> Iterator[tuple[Path, RunRecord, str]]:
    """Trainings in miniature, and whether the network is narrow or full."""
    for folder, run in iterate_runs(results, "train"):
        preset = run.config["recipe"]["preset"]
        if "started_from_sha256" in run.config:
            continue  # fine-tuned: see `_fine_tunings`
        if run.scale == "reduced" and preset in (_NARROW, "reduced"):
            yield folder, run, "narrow" if preset == _NARROW else "full"


def _trainings(results: Path) -> list[str]:
    rows = []
    for _, run, width in _runs(results):
        name = run.method
        if name == "deblurgan":
            name += f" {run.config['recipe']['content_loss']}"
        # Sun et al. learn to classify motion: nothing is restored while they do.
        gain = f"{_gain_in(run.results):+.2f}" if _PSNR in run.results else "–"
        rows.append(
            [
                name, width, str(run.seed), f"{run.results['n_patches']:,}",
                f"{run.timings_s['training']:.0f}", gain,
            ]
        )  # fmt: skip
    head = ["method", "network", "seed", "patches", "seconds", "validation gain, dB"]
    return [
        "## Trainings\n",
        markdown_table(head, rows, n_text_columns=2),
        "\nValidation scenes show photographs kept out of training and test. Seconds are of "
        "trainings of which up to three shared the GPU; those of Sun et al. ran on two CPU cores "
        "beside other work.\n\n![Gain over patches seen](curves.png)\n",
        "Three of the rendered test images, crops enlarged twice: blurred, K=3 narrow, K=3 full, "
        "K=2 full, DeblurGAN with the perceptual loss, sharp.\n\n![Crops](crops.png)\n",
    ]


def _draw_curves(results: Path, out: Path) -> None:
    """Gain on validation scenes over patches seen, for each K."""
    figure = new_figure(8, 5)
    axes = figure.subplots(1, 1)
    colours = {"deepdeblur-k1": "C0", "deepdeblur-k2": "C1", "deepdeblur-k3": "C2"}
    curves = [
        (
            run.method,
            "-" if width == "full" else ":",
            f"{run.method}, {width}" if run.seed == 0 else None,
            read_log(folder),
        )
        for folder, run, width in _runs(results)
        if run.method in colours
    ]
    stopped = _rows_of_json(out / _STOPPED)
    curves.append(("deepdeblur-k1", "-.", "deepdeblur-k1, full, stopped", stopped))
    for method, style, label, entries in curves:
        points = [(e["step"] * _BATCH / 1000, _gain_in(e)) for e in entries if _PSNR in e]
        axes.plot(*zip(*points, strict=True), color=colours[method], linestyle=style, label=label)
    axes.set_xlabel("thousand patches seen")
    axes.set_ylabel("gain over blurred on validation scenes, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "curves.png", dpi=100)


def _fine_tunings(results: Path) -> str:
    """What the networks that compare stages of blur were fine-tuned on."""
    rows = []
    for _, run in iterate_runs(results, "train"):
        if "started_from_sha256" in run.config:
            recipe, data = run.config["recipe"], run.config["data"]
            rows.append(
                [
                    data["name"], f"{data['n_pairs']:,}", data["blur_kind"],
                    f"{run.results['n_patches']:,}", f"{recipe['optimisation']['learning_rate']:g}",
                ]
            )  # fmt: skip
    head = ["data", "pairs", "blur_kind", "patches", "learning rate"]
    return markdown_table(head, sorted(rows), n_text_columns=1) + "\n"


def _scales(results: Path) -> list[str]:
    """What is seen of the paper's claim that more scales help, K=2 most."""
    rendered = next(f for f in _evaluations(results) if f.parent.name == _SCALES)
    gains: dict[str, list[float]] = defaultdict(list)
    for row in read_csv(rendered / "summary.csv", ()):
        if "-narrow-" in row["method"] and row["metric"] == "psnr_rgb":
            gains[row["method"][:2].upper()].append(float(row["delta_mean"]))
    narrow = "; ".join(
        f"K={k[1]} {sum(values) / len(values):+.2f} dB (seeds {min(values):+.2f} to "
        f"{max(values):+.2f})"
        for k, values in sorted(gains.items())
    )
    stopped = [e for e in _rows_of_json(results / "miniature" / _STOPPED) if _PSNR in e]
    last = stopped[-1]
    at_same_step = [f"K=1 {_gain_in(last):+.2f}"]
    for folder, run, width in _runs(results):
        if width == "full":
            (entry,) = [e for e in read_log(folder) if e["step"] == last["step"] and _PSNR in e]
            at_same_step.append(f"K={run.method[-1]} {_gain_in(entry):+.2f}")
    return [
        "## The claim about scales\n",
        "The paper has K=2 above K=3 above K=1 (29.23, 29.08 and 28.93 dB). That order is not seen "
        f"here. Narrow networks on the 120 rendered images: {narrow}; the seeds of one K "
        "differ by as much as the K do, and so they do on the real pairs. Of the full networks "
        "K=2 and K=3 end equal on every set. K=1, of which a step takes 1.6 to 2.4 times the "
        f"arithmetic, was stopped when the GPU time ran out; after {last['step']:,} steps, "
        "with the learning rate at the same place in its fall, the validation gains were, in dB: "
        f"{', '.join(at_same_step)}. `k1-full-partial` below is that stopped network and no fair "
        "comparison with the other two. The paper's margins of 0.15 and 0.30 dB are of the size of "
        "the differences between seeds here: neither confirmed nor refuted. Longer blur, more "
        "seeds of the full networks and longer training would say more.\n",
    ]


def _gain_in(entry: Mapping[str, Any]) -> float:
    return float(entry[_PSNR] - entry["validation_blurred_psnr_rgb_db"])


def _rows_of_json(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


_PSNR = "validation_psnr_rgb_db"
_BATCH = 16
_SCALES = "miniature-rendered120"
_STOPPED = "deepdeblur-k1-stopped.jsonl"
"""The log of a training that was stopped, and so has no record of its own."""


def _evaluated(folder: Path, results: Path) -> list[str]:
    summary = read_csv(folder / "summary.csv", ())
    by_method: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for row in summary:
        by_method[row["method"]][row["metric"]] = row
    table = []
    for method, metrics in by_method.items():
        psnr, ssim = metrics["psnr_rgb"], metrics["ssim_matlab_rgb3d"]
        interval = [float(psnr[key]) for key in ("delta_mean", "delta_low", "delta_high")]
        gain = "" if method == "blurred" else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*interval)
        table.append([method, f"{float(psnr['mean']):.2f}", gain, f"{float(ssim['mean']):.4f}"])
    head = ["method", "PSNR, dB", "gain [95 % interval over sequences]", "SSIM (MATLAB RGB)"]
    parts = [
        f"## {summary[0]['dataset']}\n",
        f"Record `{folder.relative_to(results).as_posix()}`; blur_kind "
        f"{summary[0]['blur_kind']}.\n",
        markdown_table(head, table, n_text_columns=1),
        "",
    ]
    sequences = read_csv(folder / "sequences.csv", ())
    if len({row["sequence"] for row in sequences}) <= _MOST_SEQUENCES:
        parts += ["Gain by sequence, dB:\n", _gains(sequences, "sequence"), ""]
    for path in folder.glob("strata*.csv"):
        strata = [row for row in read_csv(path, ()) if row["metric"] == "psnr_rgb"]
        parts += ["Gain by length of blur:\n", _strata(strata), ""]
    return parts


def _detected(folder: Path, results: Path) -> list[str]:
    """What a detector finds in images of full size, against what it finds in the sharp ones."""
    rows = read_csv(folder / "detection.csv", ())
    body = [
        [
            row["method"],
            *(_with_interval(row, key) for key in ("precision", "recall", "f1", "ap50")),
        ]
        for row in rows
    ]
    head = ["method", "precision", "recall", "F1", "AP50"]
    return [
        f"## Detection: {rows[0]['dataset']}\n",
        f"Record `{folder.relative_to(results).as_posix()}`, detector {rows[0]['detector']}, "
        f"images of {rows[0]['resolution']}; what it finds in the sharp images counts as truth. "
        f"Intervals: {rows[0]['interval']}. The networks learned at 320x180.\n",
        markdown_table(head, body, n_text_columns=1),
        "",
    ]


def _with_interval(row: Mapping[str, str], key: str) -> str:
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    interval = f" [{float(low):.2f}, {float(high):.2f}]" if low and high else ""
    return f"{float(row[key]):.3f}{interval}"


_MOST_SEQUENCES = 8


def _gains(rows: Sequence[dict[str, str]], column: str) -> str:
    blurred = {row[column]: float(row["psnr_rgb"]) for row in rows if row["method"] == "blurred"}
    names = list(blurred)
    body = []
    for method in dict.fromkeys(row["method"] for row in rows if row["method"] != "blurred"):
        own = {row[column]: float(row["psnr_rgb"]) for row in rows if row["method"] == method}
        body.append([method, *(f"{own[name] - blurred[name]:+.2f}" for name in names)])
    return markdown_table(["method", *names], body, n_text_columns=1)


def _strata(rows: Sequence[dict[str, str]]) -> str:
    """One row per method, one column per bin of blur; gains with their intervals."""

    def title(row: dict[str, str]) -> str:
        low, high = float(row["low"]), float(row["high"])
        return f"{low:g} to {high:g} px ({row['n_images']} images)"

    names = list(dict.fromkeys(title(row) for row in rows))
    body = []
    for method in dict.fromkeys(row["method"] for row in rows if row["method"] != "blurred"):
        own = {title(row): row for row in rows if row["method"] == method}
        body.append([method, *(_gain(own[name]) for name in names)])
    return markdown_table(["method", *names], body, n_text_columns=1)


def _gain(row: dict[str, str]) -> str:
    low, high = (row[key] for key in ("delta_low", "delta_high"))
    interval = f" [{float(low):+.2f}, {float(high):+.2f}]" if low and high else ""
    return f"{float(row['delta_mean']):+.2f}{interval}"


if __name__ == "__main__":
    run_command(command)
