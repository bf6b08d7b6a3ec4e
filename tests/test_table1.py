"""Table 1's runner: every step, what is repeated, and what is said of the numbers."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_dataset import write_dataset

from baselines.checkpoints.store import load_checkpoint
from baselines.method import Method
from baselines.methods import method_named
from benchmarks.keeping import keep_run
from benchmarks.table1 import run as steps
from benchmarks.table1 import training
from benchmarks.table1.compare import compare_methods
from benchmarks.table1.plan import Table1Config, recipe_of
from benchmarks.table1.publish import differing, publish
from benchmarks.table1.report import Report
from benchmarks.table1.run import run_table1
from benchmarks.table1.training import OutOfTimeError
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.pairing import pair_images
from gopro_tools.records import iterate_runs, read_record

NETWORKS = ("deepdeblur-k1", "deepdeblur-k2", "deepdeblur-k3", "deblurgan")


def without_timings(record: Path) -> dict[str, str]:
    """The report's texts without the seconds that no two runs share."""
    shutil.copytree(record, record.parent / "untimed", dirs_exist_ok=True)
    untimed = record.parent / "untimed"
    run = json.loads((untimed / "run.json").read_text())
    for figures in run["methods"].values():
        figures.update(seconds_per_image=1.0, training_s=1.0)
    (untimed / "run.json").write_text(json.dumps(run))
    return Report(untimed).texts()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_dataset(
        tmp_path_factory.mktemp("data") / "pairs", size_hw=(64, 80), train=(3, 3), test=(2, 2, 2)
    )
    rows = ["split,sequence,name,blur_px,background_px,fastest_px"]
    for number, length in ((3, 2.0), (4, 6.0), (5, 15.0)):
        rows += [
            f"test,GOPR{number:04d}_11_00,{index:06d}.png,{length + index},0,0" for index in (1, 2)
        ]
    write_atomic(root / "motion.csv", "\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def config(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Table1Config:
    return Table1Config(
        out=tmp_path_factory.mktemp("table1"),
        data=data,
        methods=NETWORKS,
        n_patches=240,
        device="cpu",
    )


@pytest.fixture(scope="module")
def made(config: Table1Config) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "SHOWN_SIZE_HW", (72, 128))
        result = run_table1(config)
    assert result is not None
    assert result.run.results["failures"] == {}
    assert set(result.run.results["absent"]) == {"detection", "real pairs"}
    return result.folder


def test_every_table_is_there_and_says_what_it_is_of(made: Path) -> None:
    texts = Report(made).texts()
    page = texts["README.md"]
    for phrase in ("smoke scale", "one seed (0)", "240 patches", "no detector was named"):
        assert phrase in page
    with (made / "scores" / "per_image.csv").open(newline="") as file:
        methods = [row["method"] for row in csv.DictReader(file)]
    assert {method: methods.count(method) for method in methods} == dict.fromkeys(
        ("blurred", *NETWORKS), 6
    )
    rows = list(csv.DictReader(texts["table1.csv"].splitlines()))
    measured = {row["method"] for row in rows if row["source"] == "measured"}
    published = {row["method"]: row["value"] for row in rows if row["protocol"] == "psnr_rgb"
                 and row["source"] == "published" and row["blur_kind"] == "gamma"}  # fmt: skip
    assert "DeepDeblur K=3 (smoke)" in measured
    assert {row["scale"] for row in rows if row["method"].endswith("(smoke)")} == {"smoke"}
    assert published["Sun 2015"] == "24.64"
    assert published["DeepDeblur K=2"] == "29.23"
    assert all(row["dataset"] != "GOPRO_Large" for row in rows if row["source"] == "measured")
    assert (made.parent / "report" / "crops.png").stat().st_size > 10_000
    assert (made.parent / "report" / "gain_by_blur.png").is_file()
    assert "\\begin{tabular}" in texts["table1.tex"]


def test_nothing_finished_is_repeated(
    made: Path, config: Table1Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("repeated")

    for name in ("restore", "evaluate"):
        monkeypatch.setattr(steps, name, never)
    monkeypatch.setattr(training, "train", never)
    monkeypatch.setattr(training.Ready, "open", never)
    before = Report(made).texts()
    result = run_table1(config)
    assert result.texts() == before


def test_a_stopped_run_goes_on_to_the_same_tables(
    made: Path, config: Table1Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SHOWN_SIZE_HW", (72, 128))
    stopped = replace(config, out=tmp_path, methods=("deepdeblur-k2", "deepdeblur-k3"))

    def interrupting(step: str, after: int) -> Callable[[str, int, int], None]:
        def on_progress(task: str, done: int, total: int) -> None:
            if task.startswith(step) and done == after:
                raise KeyboardInterrupt

        return on_progress

    for step, after in (("training deepdeblur-k3", 20), ("restoring test with deepdeblur-k3", 3)):
        with pytest.raises(KeyboardInterrupt):
            run_table1(stopped, on_progress=interrupting(step, after))
    again = run_table1(stopped)
    whole = run_table1(replace(config, methods=stopped.methods))
    assert without_timings(again.folder) == without_timings(whole.folder)
    run_table1(config)  # as the other tests expect it


def test_minutes_that_are_spent_stop_it_with_a_checkpoint(
    config: Table1Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sliced = replace(config, out=tmp_path, methods=("deepdeblur-k3",), minutes=1e-9)
    with pytest.raises(OutOfTimeError):
        run_table1(sliced)
    assert not (tmp_path / "train").exists()
    seen = {"steps": 0}

    def watch(task: str, done: int, total: int) -> None:
        if task == "training deepdeblur-k3":
            seen["steps"] = done

    monkeypatch.setattr(steps, "started_clock", lambda minutes: lambda: seen["steps"] >= 5)
    with pytest.raises(OutOfTimeError, match="deepdeblur-k3"):
        run_table1(replace(sliced, minutes=8.0), on_progress=watch)
    checkpoint = next((tmp_path / "train").glob("*/checkpoint.safetensors"))
    assert load_checkpoint(checkpoint).record.step == 6


def test_a_training_of_another_machine_is_taken_over(
    made: Path, config: Table1Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise InputError("trained again")

    monkeypatch.setattr(training, "train", never)
    monkeypatch.setattr(steps, "SHOWN_SIZE_HW", (72, 128))
    taken = replace(
        config, out=tmp_path, methods=("deepdeblur-k3",), trained=(config.out / "train",)
    )
    other_data = write_dataset(tmp_path / "other", size_hw=(64, 80), train=(2,), test=(2,), seed=9)
    result = run_table1(replace(taken, data=other_data))
    assert result is not None
    assert result.run.results["failures"] == {}
    weights = next((config.out / "train").glob("deepdeblur-k3-*/weights.safetensors"))
    tuned = tmp_path / "tuned"
    shutil.copytree(weights.parent, tuned)
    record = json.loads((tuned / "run.json").read_text())
    record["config"]["started_from_sha256"] = "0" * 64
    (tuned / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="trained again"):
        run_table1(replace(taken, out=tmp_path / "third", trained=(tuned,)))
    copy = tmp_path / "copy"
    shutil.copytree(weights.parent, copy)
    (copy / "weights.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match="copy the training's folder again"):
        run_table1(replace(taken, out=tmp_path / "second", trained=(copy,)))


def test_trainings_by_another_recipe_are_named_with_what_differs(
    made: Path, config: Table1Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = config.out / "train"
    (k3,) = folder.glob("deepdeblur-k3-*")
    other = replace(
        config, out=tmp_path, methods=("deepdeblur-k3",), trained=(folder,), n_patches=480, seed=1
    )

    def stop(task: str, done: int, total: int) -> None:
        if task == "training deepdeblur-k3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_table1(other, on_progress=stop)
    messages = [record.getMessage() for record in caplog.records if "recipe" in record.msg]
    assert messages == [
        f"{k3}: trained by another recipe (preset smoke: steps_per_epoch 2, here 4; seed 0, here "
        "1); deepdeblur-k3 is trained here."
    ]
    with pytest.raises(InputError, match="no finished training there"):
        replace(other, trained=(tmp_path / "mistyped",))


def test_a_method_that_fails_is_named_and_the_others_go_on(
    made: Path, config: Table1Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = steps.made_ready

    def broken(work: training.Work, method: Method) -> training.Ready:
        if method.name == "deblurgan":
            raise InputError("deblurgan.pth: no such weights.")
        return real(work, method)

    monkeypatch.setattr(steps, "made_ready", broken)
    result = run_table1(config)
    assert result.run.results["failures"] == {"deblurgan": "deblurgan.pth: no such weights."}
    page = result.texts()["README.md"]
    assert "- deblurgan: deblurgan.pth: no such weights." in page
    monkeypatch.undo()
    run_table1(config)


def test_real_pairs_are_scored_in_a_table_of_their_own(
    made: Path, config: Table1Config, data: Path, tmp_path: Path
) -> None:
    pair = data / "test" / "GOPR0003_11_00"
    shutil.copyfile(pair / "blur" / "000001.png", tmp_path / "Street_blurred.png")
    shutil.copyfile(pair / "sharp" / "000001.png", tmp_path / "Street_sharp.png")
    result = run_table1(replace(config, real_pairs=tmp_path))
    texts = result.texts()
    rows = list(csv.DictReader(texts["real_pairs.csv"].splitlines()))
    assert {row["blur_kind"] for row in rows} == {"linear_crf"}
    assert {row["n_images"] for row in rows} == {"1"}
    with pytest.raises(InputError, match="NAME_blurred"):
        run_table1(replace(config, real_pairs=data))
    run_table1(config)


def test_real_pairs_of_another_kind_of_blur_are_others(data: Path, tmp_path: Path) -> None:
    pair = data / "test" / "GOPR0003_11_00"
    shutil.copyfile(pair / "blur" / "000001.png", tmp_path / "Street_blurred.png")
    shutil.copyfile(pair / "sharp" / "000001.png", tmp_path / "Street_sharp.png")
    for kind in ("gamma", "linear_crf"):
        config = Table1Config(
            out=tmp_path / "out", data=data, real_pairs=tmp_path, real_blur_kind=kind
        )
        work = training.Work(config, data, lambda *_: None, lambda: False)
        sources = steps._real_pairs(work)
        assert sources is not None
        assert list(pair_images(sources).image_sets[0].paths) == ["sharp", "blurred"]


def test_unequal_budgets_are_refused(config: Table1Config, monkeypatch: pytest.MonkeyPatch) -> None:
    real = training.recipe_of

    def unequal(method: Method, asked: Table1Config) -> object:
        recipe = real(method, asked)
        return recipe.lasting(240 * len(method.name)) if method.name == "deepdeblur-k2" else recipe

    monkeypatch.setattr(training, "recipe_of", unequal)
    with pytest.raises(InputError, match="unequal numbers of patches"):
        run_table1(config)


def test_processes_of_torchrun_share_the_training(data: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    arguments = ["-m", "benchmarks.table1", "-o", str(tmp_path / "out"), "--device", "cpu"]
    arguments += ["--methods", "deepdeblur-k3", "--n-patches", "120"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*torchrun, "--nproc-per-node", "2", *arguments, *more],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    found = run()
    assert found.returncode != 0
    assert "Under torchrun the data must be there" in found.stderr
    found = run("--data", str(data))
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("table1.csv") == 1
    (folder,) = (tmp_path / "out" / "train").glob("deepdeblur-k3-*")
    assert read_record(folder).config["n_processes"] == 2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"scale": "full"}, "gopro_large download"),
        ({"methods": ()}, "one or more"),
        ({"n_patches": 0}, "at least 1"),
    ],
)
def test_unusable_settings(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Table1Config(out=Path("out"), **options)  # type: ignore[arg-type]


def test_scales_choose_recipes() -> None:
    config = Table1Config(out=Path("out"), data=Path("data"), device="cpu")
    presets = {
        scale: {
            recipe.preset
            for name in NETWORKS
            if (recipe := recipe_of(method_named(name), replace(config, scale=scale)))
        }
        for scale in ("smoke", "reduced", "full")
    }
    assert presets == {
        "smoke": {"smoke"},
        "reduced": {"reduced-cpu"},
        "full": {"paper2017", "paper"},
    }


# --- results in the repository ---


def test_published_results_are_checked_against_their_record(made: Path, tmp_path: Path) -> None:
    results, readme = tmp_path / "results", tmp_path / "README.md"
    begin, end = "<!-- begin: sql\nFROM headline('smoke')\n-->", "<!-- end -->"
    readme.write_text(f"# Title\n\n{begin}\nold\n{end}\n\nMore.\n")
    keep_run(made, results)
    index = results / "README.md"
    index.write_text(
        f"# Results\n\n<!-- begin: sql\nSELECT scale FROM records('table1')\n-->\n{end}\n"
    )
    assert len(list(iterate_runs(results, "table1"))) == 1
    with pytest.raises(InputError, match=r"README\.md: .*comparisons\.csv"):
        differing(results, readme)
    publish(results, readme)
    assert differing(results, readme) == []
    text = readme.read_text()
    assert text.startswith("# Title\n\n")
    assert text.endswith(f"{end}\n\nMore.\n")
    report = Report(made)
    for row in report.texts()["comparisons.csv"].splitlines():
        if row.startswith("psnr_rgb,deepdeblur-k3,blurred,0.0,inf"):
            assert f"| {float(row.split(',')[7]):+.2f} [" in text
    assert "| smoke |" in index.read_text()
    table = results / "table1" / "smoke" / "table1.md"
    table.write_text(table.read_text().replace("2", "3", 1))
    assert differing(results, readme) == [table]
    readme.write_text(text.replace("deepdeblur-k1", "ours", 1))
    assert differing(results, readme) == [table, readme]
    with pytest.raises(InputError, match="recorded already"):
        keep_run(made, results)
    with pytest.raises(InputError, match="no record"):
        differing(tmp_path / "nothing", readme)


def test_strangers_methods_stand_beside_ours(
    made: Path, config: Table1Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without training, as a factory; one that is trained, as a Method: no file of ours."""
    (tmp_path / "strange_methods.py").write_text(STRANGER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(steps, "SHOWN_SIZE_HW", (72, 128))
    methods = ("deepdeblur-k3", "sharper=strange_methods:make:amount=0.2", "strange_methods:TOY")
    result = run_table1(replace(config, methods=methods))
    assert result is not None
    assert result.run.results["failures"] == {}
    run = json.loads((result.folder / "run.json").read_text())
    assert list(run["methods"]) == ["deepdeblur-k3", "sharper", "toy"]
    assert run["methods"]["toy"]["n_parameters"] == 3 * 3 * 9 + 3
    assert run["methods"]["toy"]["n_macs"] == 3 * 3 * 9 * 1280 * 720
    assert run["methods"]["sharper"].get("n_parameters") is None
    table = result.texts()["table1.csv"]
    rows = {row["method"]: row for row in csv.DictReader(table.splitlines())}
    assert {"sharper", "toy (smoke)", "DeepDeblur K=3 (smoke)"} <= set(rows)
    (tmp_path / "strange_methods.py").write_text(STRANGER + "# restores in another way now\n")
    folders = set((config.out / "restored" / "test").iterdir())
    run_table1(replace(config, methods=methods))
    added = {path.name for path in set((config.out / "restored" / "test").iterdir()) - folders}
    assert sorted(name.rpartition("-")[0] for name in added) == ["sharper", "toy"]
    with pytest.raises(InputError, match="strange_methods has no nothing"):
        replace(config, methods=("strange_methods:nothing",))
    run_table1(config)


STRANGER = """
from torch import nn
import numpy as np
from baselines.learning import PlainLearner
from baselines.method import Method, NetworkKind
from baselines.recipe import Augmentation, Optimisation, PatchConfig, Recipe

class Sharper:
    def __init__(self, amount): self.amount = amount
    def restore(self, blurred):
        mean = blurred.mean(axis=(0, 1), keepdims=True)
        return np.clip(blurred + self.amount * (blurred - mean), 0, 255).astype(np.uint8)

def make(weights, device, amount):
    return Sharper(amount)

class Toy(nn.Module):
    architecture = {}
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
    def forward(self, images):
        return images + self.convolution(images)

RECIPE = Recipe(
    method="toy", preset="smoke", scale="smoke",
    patches=PatchConfig(patch_px=32, batch=4, draw="image", augmentation=Augmentation()),
    optimisation=Optimisation(learning_rate=1e-4, n_epochs=2, steps_per_epoch=5),
)
TOY = Method(
    name="toy", title="Toy", kind=NetworkKind(name="toy", network=Toy),
    presets={"smoke": RECIPE}, learner=lambda recipe, setting: PlainLearner(Toy(), recipe, setting),
)
"""


# --- comparing ---


def scores_of(gains: np.ndarray, blur_px: np.ndarray, n_clips: int) -> pd.DataFrame:
    """A blurred input of 25 dB, and one method that gains so much on each image."""
    n = len(gains)
    clips = [f"clip{index * n_clips // n}" for index in range(n)]
    names = [f"{index:06d}.png" for index in range(n)]
    index = pd.MultiIndex.from_arrays(
        [clips, names, blur_px], names=["sequence", "name", "blur_px"]
    )
    return pd.DataFrame({"blurred": 25.0, "deepdeblur-k1": 25.0 + gains}, index=index)


def test_differences_are_paired_and_binned_by_blur() -> None:
    blur_px = np.repeat([2.0, 6.0, 30.0], 8)
    gains = np.repeat([-0.5, 0.0, 1.0], 8) + np.tile([-0.01, 0.01], 12)
    scores = scores_of(gains, blur_px, 12)
    found = compare_methods(scores, [("deepdeblur-k1", "blurred")], n_resamples=500)
    bins = list(zip(found["blur_px_from"], found["blur_px_to"], strict=True))
    assert bins == [(0, np.inf), (0, 4), (4, 8), (20, np.inf)]
    assert found["n_images"].tolist() == [24, 8, 8, 8]
    assert found["n_clips"].tolist() == [12, 4, 4, 4]
    assert found["difference"].tolist() == pytest.approx([1 / 6, -0.5, 0.0, 1.0])
    assert (found["low"] > 0).tolist() == [False, False, False, True]
    assert (found["high"] < 0).tolist() == [False, True, False, False]


def test_the_interval_draws_whole_clips() -> None:
    """Ten images of a clip that are all alike are one observation, not ten."""
    gains = np.repeat([1.0, -0.6, 0.8, -0.2], 10)
    few, many = (
        compare_methods(
            scores_of(gains, np.full(40, 5.0), n_clips), [("deepdeblur-k1", "blurred")]
        ).iloc[0]
        for n_clips in (4, 40)
    )
    assert few["difference"] == many["difference"]
    assert few["low"] < 0 < many["low"]


def test_too_few_clips_have_no_interval() -> None:
    found = compare_methods(
        scores_of(np.ones(4), np.full(4, np.nan), 2), [("deepdeblur-k1", "blurred")]
    )
    assert len(found) == 1  # nothing is known of the blur
    assert found[["low", "high"]].isna().all(axis=None)
