"""The evaluation command: what it writes, what it refuses, and that its numbers are right."""

import csv
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage, stats

from gopro_tools import evaluate as package
from gopro_tools import metrics, pairing
from gopro_tools.bootstrap import bootstrap_interval, drawn_counts
from gopro_tools.content import dataset_facts
from gopro_tools.errors import InputError
from gopro_tools.evaluate import (
    EvaluateConfig,
    Evaluation,
    Sources,
    evaluate,
    write_evaluation,
)
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.metrics import perceptual
from gopro_tools.records import read_record
from gopro_tools.restoring import RestoreConfig, restore

SEQUENCES = ("GOPR0001_07_00", "GOPR0002_07_00")
N_IMAGES = 6
METHODS = ("blurred", "identity", "sharpened", "oracle")
FAST = EvaluateConfig(protocol=("psnr_rgb", "ssim_gauss"), n_resamples=200)


def picture(seed: int, size_hw: tuple[int, int] = (40, 56)) -> Rgb:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(*size_hw, 3)), (2, 2, 0))
    return np.clip(np.rint(128 + 250 * noise), 0, 255).astype(np.uint8)


def save(path: Path, image: Rgb) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image))


def keys() -> list[str]:
    return [f"{sequence}/{i + 1:06d}.png" for sequence in SEQUENCES for i in range(3)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small dataset in the GOPRO layout, and three made-up methods beside it."""
    for seed, key in enumerate(keys()):
        sequence, name = key.split("/")
        sharp = picture(seed)
        blurred = np.rint(ndimage.uniform_filter1d(sharp.astype(float), 5, axis=1))
        fine = blurred - ndimage.gaussian_filter(blurred, (0, 1.5, 0))
        sharpened = np.clip(np.rint(blurred + fine), 0, 255).astype(np.uint8)
        folder = tmp_path / "dataset" / "test" / sequence
        save(folder / "sharp" / name, sharp)
        save(folder / "blur_gamma" / name, blurred.astype(np.uint8))
        save(tmp_path / "identity" / key, blurred.astype(np.uint8))
        save(tmp_path / "sharpened" / key, sharpened)
        save(tmp_path / "oracle" / key, sharp)
    return tmp_path


def of_dataset(root: Path, *methods: str, **options: bool) -> Sources:
    restored = tuple(f"{method}={root / method}" for method in methods)
    return Sources(dataset=root / "dataset", restored=restored, **options)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The command in this process."""
    monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        package.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


# --- the whole command ---------------------------------------------------------------------------


def test_command_on_a_dataset_with_three_methods(root: Path) -> None:
    out = root / "out"
    command = [sys.executable, "-m", "gopro_tools.evaluate", "--dataset", str(root / "dataset")]
    command += ["--split", "test", "--blur-kind", "gamma", "-o", str(out)]
    for method in METHODS[1:]:
        command += ["--restored", f"{method}={root / method}"]
    # No weights for LPIPS there, wherever this runs.
    environment = os.environ | {"TORCH_HOME": str(root / "empty")}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert "absent: lpips" in result.stderr

    has_vmaf = perceptual.vmaf_absent() is None
    columns = ["psnr_rgb", "psnr_y", "ssim_gauss", "ssim_uniform7", "ssim_matlab_rgb3d", "ssim_y"]
    columns += ["vmaf"] if has_vmaf else []
    per_image = rows_of(out / "per_image.csv")
    assert list(per_image[0]) == ["method", "sequence", "name", *columns]
    assert [row["method"] for row in per_image] == [m for m in METHODS for _ in range(N_IMAGES)]
    assert [f"{row['sequence']}/{row['name']}" for row in per_image] == keys() * 4
    for row in per_image:
        folder = root / "dataset" / "test" / row["sequence"]
        sharp = read_rgb(folder / "sharp" / row["name"])
        blurred = folder / "blur_gamma" / row["name"]
        restored = root / row["method"] / row["sequence"] / row["name"]
        image = read_rgb(blurred if row["method"] == "blurred" else restored)
        for name in columns[:6]:
            assert float(row[name]) == metrics.METRICS[name](sharp, image), "full precision"

    summary = rows_of(out / "summary.csv")
    assert list(summary[0])[:13] == [
        "method", "metric", "mean", "median", "delta_mean", "delta_low", "delta_high",
        "n_images", "n_missing", "scale", "blur_kind", "dataset", "dataset_sha256",
    ]  # fmt: skip
    by_key = {(row["method"], row["metric"]): row for row in summary}
    assert list(by_key) == [(method, name) for method in METHODS for name in columns]
    for (method, name), row in by_key.items():
        values = np.array([float(r[name]) for r in per_image if r["method"] == method])
        assert float(row["mean"]) == pytest.approx(values.mean())
        expected = (str(N_IMAGES), "0", "gamma", "dataset", "test", "standard", "56x40")
        found = ("n_images", "n_missing", "blur_kind", "dataset", "split", "bundle", "resolution")
        assert tuple(row[key] for key in found) == expected
    for name in columns:
        blurred_row, identity = by_key["blurred", name], by_key["identity", name]
        assert identity["mean"] == blurred_row["mean"]
        assert [float(identity[f"delta_{end}"]) for end in ("mean", "low", "high")] == [0, 0, 0]
    oracle = by_key["oracle", "psnr_rgb"]
    assert (oracle["mean"], oracle["delta_mean"], oracle["delta_low"]) == ("inf", "inf", "")
    assert oracle["n_infinite"] == str(N_IMAGES)
    assert float(by_key["oracle", "ssim_matlab_rgb3d"]["mean"]) == 1

    text = (out / "summary.md").read_text(encoding="utf-8")
    assert "Absent: `lpips`" in text
    assert f"{N_IMAGES} of {N_IMAGES} images of `oracle` equal the sharp one" in text
    assert "| blurred |" in text
    assert "ssim_gauss ↑" in text
    assert str(root) not in text
    record = read_record(out)
    facts = dataset_facts(root / "dataset", "test", "gamma")
    assert record.dataset == facts, "the identity does not depend on who reads the pairs"
    assert record.protocols == columns
    assert list(record.methods) == list(METHODS)
    assert record.files["per_image.csv"]["n_rows"] == len(METHODS) * N_IMAGES
    assert list(record.results["absent"]) == (["lpips"] if has_vmaf else ["lpips", "vmaf"])


def test_folders_give_the_scores_of_the_dataset(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--sharp", root / "oracle", "--blurred", root / "identity"]
    arguments += ["--restored", f"sharpened={root / 'sharpened'}", "-o", root / "out"]
    assert run(monkeypatch, *arguments, "--protocol", "nah2017") == 0
    ours = evaluate(of_dataset(root, "sharpened"), EvaluateConfig(protocol=("nah2017",)))
    write_evaluation(ours, root / "again")
    assert rows_of(root / "out" / "per_image.csv") == rows_of(root / "again" / "per_image.csv")
    row = rows_of(root / "out" / "summary.csv")[0]
    assert (row["blur_kind"], row["split"], row["dataset"]) == ("unstated", "", "oracle")
    assert str(root) not in (root / "out" / "run.json").read_text()


def test_files_are_written_again_whole(root: Path) -> None:
    evaluation = evaluate(of_dataset(root, "identity"), FAST)
    write_evaluation(evaluation, root / "out")
    before = {path.name: path.read_bytes() for path in (root / "out").iterdir()}
    write_evaluation(evaluation, root / "out")
    after = {path.name: path.read_bytes() for path in (root / "out").iterdir()}
    assert before.pop("run.json")
    assert after.pop("run.json")
    assert before == after
    assert set(before) == {
        "per_image.csv", "sequences.csv", "summary.csv", "summary.md", "images.json",
    }  # fmt: skip


def test_threads_change_nothing_and_progress_counts_images(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    sources = of_dataset(root, *METHODS[1:])

    def scores(jobs: int) -> Evaluation:
        config = EvaluateConfig(protocol=("nah2017", "ssim_y"), jobs=jobs)
        return evaluate(sources, config, on_progress=lambda *counts: seen.append(counts))

    assert np.array_equal(scores(1).scores, scores(4).scores)
    assert seen == [(i + 1, N_IMAGES) for i in range(N_IMAGES)] * 2


def test_every_file_is_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path) -> Rgb:
        read.append(path)
        return read_rgb(path)

    monkeypatch.setattr(pairing, "read_rgb", counted)
    evaluate(of_dataset(root, *METHODS[1:]), FAST)
    assert len(set(read)) == len(read) == N_IMAGES * 5


def test_sizes_may_differ_between_images(root: Path) -> None:
    for folder in ("oracle", "identity"):
        save(root / folder / "other" / "000001.png", picture(9, (30, 30)))
    evaluation = evaluate(Sources(sharp=root / "oracle", blurred=root / "identity"), FAST)
    assert evaluation.resolution == "mixed"
    assert evaluation.methods == ("blurred",), "the blurred input alone is an evaluation too"


# --- bad input: a message and exit code 2, and nothing is averaged --------------------------------


@pytest.mark.parametrize(
    ("size_hw", "remedy"),
    [
        ((60, 80), ""),
        ((64, 80), "0 columns and 4 rows more, as where a network's padding is left on"),
        ((64, 96), "16 columns and 4 rows more"),
        ((61, 81), "1 columns and 1 rows more"),
        ((56, 80), "cropped to a multiple: pad them before"),
        ((59, 81), "cropped to a multiple"),
        ((80, 60), "lies on its side"),
        ((30, 40), "Restore at full size"),
        ((120, 160), "Restore at full size"),
    ],
)
def test_another_size_is_explained(tmp_path: Path, size_hw: tuple[int, int], remedy: str) -> None:
    for folder, size in (("sharp", (60, 80)), ("blurred", (60, 80)), ("m", size_hw)):
        save(tmp_path / folder / "1.png", picture(1, size))
    sources = Sources(
        sharp=tmp_path / "sharp", blurred=tmp_path / "blurred", restored=(f"m={tmp_path / 'm'}",)
    )
    if remedy:
        with pytest.raises(InputError, match=rf"{remedy}.*nothing here resizes"):
            evaluate(sources, FAST)
    else:
        evaluate(sources, FAST)


def _encode(path: Path, image: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "1 missing"),
    "extra": (lambda path: save(path.with_name("000099.png"), picture(0)), "1 extra"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "truncated": (_truncate, "truncated"),
    "text": (lambda path: path.write_text("no image"), "not an image"),
    "size": (lambda path: save(path, picture(0, (40, 55))), "55x40"),
    "alpha": (lambda path: _encode(path, np.zeros((40, 56, 4), np.uint8)), "4 channel"),
    "grey": (lambda path: _encode(path, np.zeros((40, 56), np.uint8)), "1 channel"),
    "16 bit": (lambda path: _encode(path, np.zeros((40, 56, 3), np.uint16)), "uint16"),
}


@pytest.mark.parametrize("spoil", BAD)
def test_bad_images_are_an_error_that_lists_them(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoil: str
) -> None:
    change, message = BAD[spoil]
    spoilt = [f"{SEQUENCES[0]}/000002.png", f"{SEQUENCES[1]}/000001.png"]
    for method, key in zip(("sharpened", "identity"), spoilt, strict=True):
        change(root / method / key)
    arguments = ["--dataset", root / "dataset", "-o", root / "out", "--protocol", "basicsr"]
    for method in METHODS[1:]:
        arguments += ["--restored", f"{method}={root / method}"]
    assert run(monkeypatch, *arguments) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    for key in spoilt:
        listed = key if spoil != "extra" else key.replace(key[-10:], "000099.png")
        assert listed in error, "all of them, not the first"
    assert not (root / "out").exists()


def test_what_cannot_be_scored_is_listed(root: Path) -> None:
    for i in (1, 3):
        save(root / "identity" / SEQUENCES[0] / f"00000{i}.png", np.zeros((40, 56, 3), np.uint8))
    config = EvaluateConfig(protocol=("psnr_aligned",))
    with pytest.raises(InputError) as error:
        evaluate(of_dataset(root, "identity"), config)
    assert "2 image(s) cannot be compared" in str(error.value)
    assert str(root / "identity" / SEQUENCES[0] / "000003.png") + ": the restored" in str(
        error.value
    )
    small = Sources(sharp=root / "small", blurred=root / "small")
    save(root / "small" / "a.png", picture(0, (8, 40)))
    with pytest.raises(InputError, match="40x8, smaller than the 11x11"):
        evaluate(small, FAST)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sharp", "a"], "--blurred"),
        (["--sharp", "a", "--blurred", "b"], "folder of images was expected"),
        (["--dataset", "nowhere"], "no dataset of a known layout"),
        (["--dataset", "dataset", "--restored", "sharpened"], "NAME=DIR"),
        (["--dataset", "dataset", "--restored", "blurred=identity"], "names another row"),
        (["--dataset", "dataset", "--blur-kind", "linear_crf"], "--blur-kind gamma"),
        (["--dataset", "dataset", "--split", "train"], "train"),
        (["--dataset", "dataset", "--protocol", "ssim"], "'ssim' is not a protocol"),
        (["--dataset", "dataset", "--protocol", "lpips"], "hub/checkpoints"),
        (["--dataset", "dataset", "--n-resamples", "0"], "at least 1"),
    ],
)
def test_bad_arguments(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    if "lpips" in arguments:
        lacking = [name for name in ("torch", "torchvision", "lpips") if find_spec(name) is None]
        message = ", ".join(lacking) or message
    monkeypatch.chdir(root)
    monkeypatch.setenv("TORCH_HOME", str(root / "empty"))
    assert run(monkeypatch, *arguments, "-o", "out") == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (root / "out").exists()


def test_allow_missing_uses_what_all_have_and_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "identity" / SEQUENCES[0] / "000002.png").unlink()
    (root / "sharpened" / SEQUENCES[1] / "000003.png").unlink()
    save(root / "sharpened" / "more" / "000001.png", picture(0))
    arguments = ["--dataset", root / "dataset", "-o", root / "out", "--protocol", "basicsr"]
    for method in METHODS[1:]:
        arguments += ["--restored", f"{method}={root / method}"]
    assert run(monkeypatch, *arguments) == 2
    assert run(monkeypatch, *arguments, "--allow-missing") == 0
    per_image = rows_of(root / "out" / "per_image.csv")
    left = [key for i, key in enumerate(keys()) if i not in (1, 5)]
    assert [f"{row['sequence']}/{row['name']}" for row in per_image] == left * 4
    summary = rows_of(root / "out" / "summary.csv")
    assert {(row["n_images"], row["n_missing"]) for row in summary} == {("4", "2")}
    text = (root / "out" / "summary.md").read_text(encoding="utf-8")
    assert "4 images that all methods have, 2 more were left out" in text
    assert f"identity: 1 missing ({SEQUENCES[0]}/000002.png)" in text
    _truncate(root / "oracle" / keys()[0])
    assert run(monkeypatch, *arguments, "--allow-missing") == 2, "damaged is not missing"


# --- statistics ----------------------------------------------------------------------------------


def test_interval_is_the_percentile_bootstrap_of_scipy() -> None:
    deltas = np.random.default_rng(0).normal(1.0, 0.5, size=60)
    low, high = bootstrap_interval(deltas[np.newaxis, :, np.newaxis], np.arange(60), 20_000, seed=1)
    expected = stats.bootstrap(
        (deltas,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert (low[0, 0], high[0, 0]) == pytest.approx((expected.low, expected.high), abs=5e-3)


def test_however_many_images_few_draws_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    deltas = np.random.default_rng(0).normal(size=(2, 100, 3))
    units = np.arange(100)
    whole = bootstrap_interval(deltas, units, 60, seed=1)
    monkeypatch.setattr("gopro_tools.bootstrap._CELLS_AT_ONCE", 700)
    parts = list(drawn_counts(units, 60, 1, n_at_once=500))
    assert [part.shape for part in parts] == [(7, 100)] * 8 + [(4, 100)]
    assert (np.concatenate(parts).sum(axis=1) == 100).all()
    np.testing.assert_allclose(bootstrap_interval(deltas, units, 60, seed=1), whole, rtol=1e-12)


def test_interval_over_sequences_is_wider_where_their_images_are_alike() -> None:
    rng = np.random.default_rng(3)
    units = np.repeat(np.arange(8), 50)
    deltas = (rng.normal(size=8)[units] + 0.1 * rng.normal(size=400))[np.newaxis, :, np.newaxis]
    low, high = bootstrap_interval(deltas, units, 2000, seed=0)
    low_image, high_image = bootstrap_interval(deltas, np.arange(400), 2000, seed=0)
    assert high - low > 3 * (high_image - low_image)
    # 8 equal sequences are 8 draws of their means.
    means = deltas[0, :, 0].reshape(8, 50).mean(axis=1)
    expected = stats.bootstrap((means,), np.mean, method="percentile", rng=rng).confidence_interval
    assert (low[0, 0], high[0, 0]) == pytest.approx((expected.low, expected.high), abs=0.05)


def test_sequences_are_what_is_drawn_where_asked_for(root: Path) -> None:
    config = EvaluateConfig(protocol=("psnr_y",), bootstrap_over="sequence", n_resamples=500)
    assert EvaluateConfig().bootstrap_over == "sequence"
    evaluation = evaluate(of_dataset(root, "sharpened"), config)
    row = evaluation.summary[1]
    by_sequence = (evaluation.scores[1] - evaluation.scores[0]).reshape(2, 3).mean(axis=1)
    # Of two sequences, one draw in four has the one twice and one in four the other.
    assert (row.delta_low, row.delta_high) == pytest.approx((by_sequence.min(), by_sequence.max()))
    write_evaluation(evaluation, root / "out")
    assert "bootstrap over 2 sequences" in (root / "out" / "summary.md").read_text(encoding="utf-8")


def test_intervals_are_paired_and_repeatable() -> None:
    one = np.random.default_rng(4).normal(size=(1, 30, 1))
    both = np.concatenate([one, one + 2], axis=0)
    low, high = bootstrap_interval(both, np.arange(30), 999, seed=5)
    assert low[1] - low[0] == pytest.approx(2), "the same draws for all methods"
    again = bootstrap_interval(both, np.arange(30), 999, seed=5)
    assert np.array_equal((low, high), again)


def test_no_interval_where_there_is_none() -> None:
    deltas = np.array([[[0.5, 1.0], [math.inf, 2.0]]])
    low, high = bootstrap_interval(deltas, np.arange(2), 100, seed=0)
    assert math.isnan(low[0, 0])
    assert math.isnan(high[0, 0])
    assert (low[0, 1], high[0, 1]) == (1.0, 2.0)
    low, _ = bootstrap_interval(deltas[:, :1], np.zeros(1, np.int64), 100, seed=0)
    assert np.isnan(low).all(), "one image says nothing about the spread"


def test_infinite_scores_are_counted_not_hidden(root: Path) -> None:
    """Some images equal the sharp one, and so does the blurred input of one of them."""
    for key in keys()[:2]:
        (root / "sharpened" / key).write_bytes((root / "oracle" / key).read_bytes())
    sequence, name = keys()[0].split("/")
    blurred = root / "dataset" / "test" / sequence / "blur_gamma" / name
    blurred.write_bytes((root / "oracle" / keys()[0]).read_bytes())
    evaluation = evaluate(of_dataset(root, "sharpened"), FAST)
    rows = {(row.method, row.metric): row for row in evaluation.summary}
    row = rows["sharpened", "psnr_rgb"]
    assert (row.mean, row.delta_mean, row.n_infinite) == (math.inf, math.inf, 2)
    assert math.isfinite(row.median)
    assert math.isnan(row.delta_low)
    assert rows["blurred", "psnr_rgb"].delta_mean == 0
    assert math.isfinite(rows["sharpened", "ssim_gauss"].delta_high)


# --- by what is known of each pair -----------------------------------------------------------


def write_manifest(root: Path, lengths: list[object]) -> None:
    lines = ["split,sequence,name,motion_mean_px,noise_sigma"]
    for key, length in zip(keys(), lengths, strict=True):
        sequence, name = key.split("/")
        lines.append(f"test,{sequence},{name},{length},{len(lines)}")
    (root / "dataset" / "manifest.csv").write_text("\n".join(lines) + "\n")


def test_scores_by_length_of_blur(root: Path, tmp_path: Path) -> None:
    write_manifest(root, [1, 2, 5, 6, 7, 30])
    config = EvaluateConfig(protocol=("psnr_rgb",), n_resamples=200, by="motion_px")
    evaluation = evaluate(of_dataset(root, "sharpened"), config, out=tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "strata.csv")
    shown = [(float(r["low"]), float(r["high"]), r["method"], int(r["n_images"])) for r in rows]
    assert shown == [
        (low, high, method, n)
        for low, high, n in ((0, 4, 2), (4, 8, 3), (20, math.inf, 1))
        for method in ("blurred", "sharpened")
    ]
    for row in rows:
        chosen = {0: slice(0, 2), 4: slice(2, 5), 20: slice(5, 6)}[int(float(row["low"]))]
        method = evaluation.methods.index(row["method"])
        assert float(row["mean"]) == pytest.approx(evaluation.scores[method, chosen, 0].mean())
    assert "psnr_rgb by motion_mean_px" in (tmp_path / "out" / "summary.md").read_text()
    # The next evaluation into the folder leaves no strata of this one behind.
    evaluate(of_dataset(root, "sharpened"), FAST, out=tmp_path / "out")
    assert not (tmp_path / "out" / "strata.csv").exists()


def test_scores_by_any_column_and_any_table(root: Path, tmp_path: Path) -> None:
    write_manifest(root, [1] * 6)
    for by in ("noise_sigma", f"{root / 'dataset' / 'manifest.csv'}:noise_sigma"):
        config = EvaluateConfig(protocol=("psnr_rgb",), n_resamples=200, by=by)
        evaluate(of_dataset(root), config, out=tmp_path / "out")
        counts = [int(row["n_images"]) for row in rows_of(tmp_path / "out" / "strata.csv")]
        assert sum(counts) == N_IMAGES
        assert len(counts) == 4
        assert str(root) not in (tmp_path / "out" / "run.json").read_text()


@pytest.mark.parametrize(
    ("by", "lengths", "message"),
    [
        ("motion_px", None, "cannot be read"),
        ("focus", [1] * 6, "no column focus"),
        ("motion_px", ["long"] * 6, "is not a number"),
        ("nowhere.csv:blur", [1] * 6, "cannot be read"),
    ],
)
def test_what_nothing_is_known_of_is_refused_before_scoring(
    root: Path, tmp_path: Path, by: str, lengths: list[object] | None, message: str
) -> None:
    if lengths:
        write_manifest(root, lengths)
    config = EvaluateConfig(protocol=("psnr_rgb",), n_resamples=200, by=by)
    with pytest.raises(InputError, match=message):
        evaluate(of_dataset(root), config, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- where results go, and which they are --------------------------------------------------------


def test_inputs_and_records_of_other_runs_are_not_written_over(root: Path) -> None:
    sources = of_dataset(root, "identity")
    for folder in ("dataset", "identity"):
        with pytest.raises(InputError, match="is one of the inputs; choose another folder"):
            evaluate(sources, FAST, out=root / folder)
    out = root / "restored"
    restore(root / "dataset", RestoreConfig(method="m", restorer=Identity()), out=out)
    with pytest.raises(InputError, match="holds what restore made"):
        evaluate(sources, FAST, out=out)
    assert read_record(out).suite == "restore"
    evaluate(sources, FAST, out=root / "scores")
    with pytest.raises(InputError, match="holds what evaluate made"):
        restore(
            root / "dataset", RestoreConfig(method="m", restorer=Identity()), out=root / "scores"
        )


class Identity:
    def restore(self, blurred: Rgb) -> Rgb:
        return blurred


def test_results_of_the_other_split_are_named(root: Path) -> None:
    for key in ("GOPR0009_07_00/000001.png", "GOPR0009_07_00/000002.png"):
        sequence, name = key.split("/")
        for kind in ("sharp", "blur_gamma"):
            save(root / "dataset/train" / sequence / kind / name, picture(9))
    sources = replace(of_dataset(root, "identity"), split="train")
    with pytest.raises(InputError, match="results for the split test; compare them with --split"):
        evaluate(sources, FAST)
