"""Training: what the recipes say, that it learns, and that it resumes exactly where it stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from tiny_dataset import write_dataset
from torch import Tensor, nn

from baselines.checkpoints.restorers import load_restorer_network
from baselines.checkpoints.store import load_checkpoint
from baselines.data import FramePairs, Patches
from baselines.deblurgan.method import DEBLURGAN, DeblurGanRecipe
from baselines.deepdeblur.method import DeepDeblurRecipe, deepdeblur_recipe
from baselines.deepdeblur.network import DeepDeblur
from baselines.machine import Processes
from baselines.methods import KINDS, METHODS, open_restorer
from baselines.options import RestoreOptions, RunOptions
from baselines.recipe import Augmentation, Optimisation, PatchConfig, Recipe
from baselines.restoring import NetworkRestorer
from benchmarks.keeping import keep_run
from benchmarks.speed import restore as restore_speed
from benchmarks.speed import train as train_speed
from benchmarks.train.__main__ import main
from benchmarks.train.journal import read_log
from benchmarks.train.run import TrainResult
from benchmarks.train.run import train as run_training
from gopro_tools.errors import InputError
from gopro_tools.files import claimed, sha256_of_file
from gopro_tools.images import read_rgb
from gopro_tools.metrics import psnr_rgb
from gopro_tools.records import iterate_runs, read_record

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def train(recipe: Recipe, *arguments: object, **options: object) -> TrainResult:
    """Train a recipe by the method that it names."""
    method = next(m for m in METHODS if m.name == recipe.method)
    return run_training(method, recipe, *arguments, **options)  # type: ignore[arg-type]


TINY = DeepDeblurRecipe(
    method="deepdeblur-k2",
    preset="tiny",
    scale="smoke",
    n_scales=2,
    n_resblocks=1,
    n_features=4,
    patches=PatchConfig(
        patch_px=32,
        batch=2,
        draw="image",
        augmentation=Augmentation(hflip_p=0.5, permute_channels=True, noise_sigma_std=0.01),
    ),
    optimisation=Optimisation(learning_rate=1e-3, n_epochs=3, steps_per_epoch=4, milestones=(2,)),
)
ADVERSARIAL = replace(
    TINY, adversarial_weight=1e-2, patches=replace(TINY.patches, patch_px=64, batch=1)
)
GAN = DeblurGanRecipe(
    method="deblurgan",
    preset="tiny",
    scale="smoke",
    patches=PatchConfig(patch_px=32, batch=2, draw="image", augmentation=Augmentation(hflip_p=0.5)),
    optimisation=Optimisation(
        learning_rate=1e-4,
        n_epochs=3,
        n_epochs_decay=2,
        steps_per_epoch=4,
        adam_betas=(0.5, 0.999),
    ),
    n_critic_steps=2,
    n_features=4,
    n_blocks=1,
    content_loss="l1",
)
REUSING_GAN = replace(GAN, critic_batches="reused", gradient_norm="pixel")
OPTIONS = RunOptions(
    device="cpu", log_every=3, validate_every=5, n_validation_images=2, n_threads=1
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", size_hw=(64, 80))


def weights_of(run: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, the optimizers' included."""
    return safetensors.torch.load((run / "checkpoint.safetensors").read_bytes())


def assert_same_run(one: Path, other: Path) -> None:
    """The same log in every byte, the same weights and optimizer states in every bit."""
    assert (one / "log.jsonl").read_text() == (other / "log.jsonl").read_text()
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def stopping_at(step: int) -> tuple[dict[str, int], dict[str, object]]:
    """Arguments that make `train` stop after a step, as a signal would."""
    seen = {"step": 0}

    def watch(task: str, done: int, total: int) -> None:
        if task == "training":
            seen["step"] = done

    return seen, {"on_progress": watch, "should_stop": lambda: seen["step"] >= step - 1}


# --- recipes ---


def test_presets_hold_the_published_values() -> None:
    paper = deepdeblur_recipe("paper2017")
    assert (paper.patches.patch_px, paper.patches.batch) == (256, 2)
    assert paper.n_resblocks is None  # 59, 29, 19
    assert paper.adversarial_weight == 1e-4
    assert (paper.content_loss, paper.loss_reduction) == ("mse", "paper")
    assert paper.optimisation.n_epochs * (paper.optimisation.steps_per_epoch or 0) == 900_000
    assert paper.patches.augmentation == Augmentation(
        sharp_to_sharp_p=0.1,
        hflip_p=0.5,
        rotate=True,
        permute_channels=True,
        saturation_p=1.0,
        noise_sigma_std=2 / 255,
    )
    torch7 = deepdeblur_recipe("torch7-release")
    assert (torch7.patches.batch, torch7.n_resblocks, torch7.discriminator) == (4, 19, "torch7")
    assert torch7.patches.augmentation.saturation_p == 0.1
    assert torch7.patches.crop_alignment_px == 4
    later = deepdeblur_recipe("pytorch-release")
    assert (later.content_loss, later.loss_reduction, later.adversarial_weight) == ("l1", "sum", 0)
    assert (later.patches.batch, later.patches.crop_alignment_px) == (16, 1)
    assert later.patches.augmentation.vflip_p == 0.5
    assert later.pyramid == "pytorch-release"
    for preset in ("paper", "released"):  # test_deblurgan has where the two differ
        recipe = DEBLURGAN.presets[preset]
        assert isinstance(recipe, DeblurGanRecipe)
        assert (recipe.n_features, recipe.n_blocks) == (64, 9)
        assert recipe.patches.resize_hw == (360, 640)
        assert recipe.optimisation.adam_betas == (0.5, 0.999)
        assert recipe.content_loss == "vgg"


def test_published_learning_rates() -> None:
    paper = deepdeblur_recipe("paper2017").optimisation
    assert [paper.learning_rate_at(e, 1) for e in (0, 299, 300, 899)] == pytest.approx(
        [5e-5, 5e-5, 5e-6, 5e-6]
    )
    later = deepdeblur_recipe("pytorch-release").optimisation
    assert [later.learning_rate_at(e, 1) for e in (499, 500, 750, 999)] == pytest.approx(
        [1e-4, 5e-5, 2.5e-5, 1.25e-5]
    )
    gan = DEBLURGAN.presets["paper"].optimisation
    assert [gan.learning_rate_at(e, 1) for e in (0, 150, 225, 299)] == pytest.approx(
        [1e-4, 1e-4, 0.5e-4, 1e-4 / 150]
    )


def test_the_rate_rises_while_it_warms_up() -> None:
    optimisation = Optimisation(
        learning_rate=1e-3, n_epochs=4, n_epochs_decay=4, steps_per_epoch=10, n_warm_up_steps=5
    )
    rates = [optimisation.learning_rate_at(step, 10) for step in (0, 3, 4, 9, 10, 39)]
    assert rates == pytest.approx([2e-4, 8e-4, 1e-3, 1e-3, 0.75e-3, 0.25e-3])
    with pytest.raises(InputError, match="n_warm_up_steps"):
        replace(optimisation, n_warm_up_steps=-1)


@pytest.mark.parametrize("preset", ["reduced", "reduced-cpu", "smoke"])
def test_every_k_has_the_same_depth_and_budget(preset: str) -> None:
    counts, patches = set(), set()
    for n_scales in (1, 2, 3):
        recipe = deepdeblur_recipe(preset, n_scales)
        network = DeepDeblur(n_scales, recipe.n_resblocks, recipe.n_features).scale_networks
        counts.add(sum(isinstance(module, nn.Conv2d) for module in network.modules()))
        optimisation = recipe.optimisation
        assert optimisation.steps_per_epoch is not None
        patches.add(optimisation.n_epochs * optimisation.steps_per_epoch * recipe.patches.batch)
    assert len(counts) == 1
    assert len(patches) == 1


# --- exact resumption ---


@pytest.mark.parametrize(
    ("recipe", "stop"),
    [(TINY, 4), (TINY, 5), (ADVERSARIAL, 6), (GAN, 7), (REUSING_GAN, 4)],
    ids=["mid-line", "validation", "adversarial", "gan", "gan-reusing"],
)
def test_stopped_and_resumed_equals_uninterrupted(
    dataset: Path, tmp_path: Path, recipe: Recipe, stop: int
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = OPTIONS if recipe is TINY else replace(OPTIONS, n_validation_images=0)
    assert train(recipe, dataset, whole, options=options).finished
    _, arguments = stopping_at(stop)
    first = train(recipe, dataset, parts, options=options, **arguments)  # type: ignore[arg-type]
    assert (first.step, first.finished) == (stop, False)
    assert not (parts / "run.json").exists()
    second = train(recipe, dataset, parts, options=options, resume=True)
    assert (second.step, second.finished) == (12, True)
    assert load_checkpoint(whole / "checkpoint.safetensors").record.step == 12
    assert_same_run(whole, parts)


def test_what_was_logged_beyond_the_checkpoint_is_dropped(dataset: Path, tmp_path: Path) -> None:
    run, old = tmp_path / "run", tmp_path / "old.safetensors"
    _, arguments = stopping_at(5)
    train(TINY, dataset, run, options=OPTIONS, **arguments)  # type: ignore[arg-type]
    shutil.copy(run / "checkpoint.safetensors", old)
    train(TINY, dataset, run, options=OPTIONS, resume=True)
    expected, weights = (run / "log.jsonl").read_text(), weights_of(run)
    # As if power had failed after the last line and before the last checkpoint, mid-line.
    shutil.copy(old, run / "checkpoint.safetensors")
    (run / "log.jsonl").write_text(expected + '{"step": 13, "con')
    train(TINY, dataset, run, options=OPTIONS, resume=True)
    assert (run / "log.jsonl").read_text() == expected
    again = weights_of(run)
    assert [name for name in weights if not torch.equal(weights[name], again[name])] == []


def test_a_finished_run_is_left_alone(dataset: Path, tmp_path: Path) -> None:
    train(TINY, dataset, tmp_path, options=OPTIONS)
    before = {
        p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix != ".png" and p.is_file()
    }
    again = train(TINY, dataset, tmp_path, options=OPTIONS, resume=True)
    assert again.finished
    assert again.metrics
    for name in ("checkpoint.safetensors", "run.json", "log.jsonl"):
        assert (tmp_path / name).read_bytes() == before[name]


@pytest.mark.parametrize("damage", ["emptied", "cut short", "changed", "gone"])
def test_a_damaged_checkpoint_costs_no_more_than_what_came_after_the_one_before(
    dataset: Path, tmp_path: Path, damage: str
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    _, arguments = stopping_at(5)
    train(TINY, dataset, run, options=OPTIONS, **arguments)  # type: ignore[arg-type]
    _, arguments = stopping_at(9)
    train(TINY, dataset, run, options=OPTIONS, resume=True, **arguments)  # type: ignore[arg-type]
    checkpoint = run / "checkpoint.safetensors"
    data = bytearray(checkpoint.read_bytes())
    data[-100] ^= 1
    changes = {"emptied": b"", "cut short": data[: len(data) // 2], "changed": data}
    if damage == "gone":
        checkpoint.unlink()
    else:
        checkpoint.write_bytes(changes[damage])
    assert load_checkpoint(run / "checkpoint.previous.safetensors").record.step == 5
    assert train(TINY, dataset, run, options=OPTIONS, resume=True).finished
    train(TINY, dataset, whole, options=OPTIONS)
    assert weights_of(run).keys() == weights_of(whole).keys()
    for name, tensor in weights_of(whole).items():
        assert torch.equal(weights_of(run)[name], tensor)


def test_the_emptied_record_of_a_finished_run_is_written_again(
    dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(TINY, dataset, run, options=OPTIONS)
    before = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text("")
    assert train(TINY, dataset, run, options=OPTIONS, resume=True).finished
    after = json.loads((run / "run.json").read_text())
    assert after.keys() == before.keys()


def test_resuming_where_nothing_is_begins(dataset: Path, tmp_path: Path) -> None:
    assert train(TINY, dataset, tmp_path / "new", options=OPTIONS, resume=True).finished


def command(dataset: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-W", "error", "-m", "benchmarks.train",
        "deepdeblur-k1:smoke",
        "--n-features", "4", "--n-resblocks", "1", "--patch-px", "32",
        "--batch", "2", "--n-epochs", "3", "--n-epochs-decay", "0", "--device", "cpu",
        "--log-every", "1", "--n-validation-images", "1", "--validate-every", "1000",
        "--data", str(dataset), "--out", str(out), *more,
    ]  # fmt: skip


def test_sigterm_checkpoints_and_resume_is_exact(dataset: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    steps = ("--steps-per-epoch", "60")
    process = subprocess.Popen(
        command(dataset, parts, *steps), env=ONE_THREAD, cwd=tmp_path, stderr=subprocess.PIPE
    )
    while len(read_log(parts)) < 20 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate()
    assert process.returncode == 143, messages.decode()
    assert b"--resume continues" in messages
    stopped_at = load_checkpoint(parts / "checkpoint.safetensors").record.step
    assert stopped_at is not None
    assert 19 <= stopped_at < 180
    for out, more in ((parts, ("--resume",)), (whole, ())):
        arguments = command(dataset, out, *steps, *more)[5:]
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 0
    assert_same_run(whole, parts)
    losses = [entry["content"] for entry in read_log(whole) if "content" in entry]
    assert len(losses) == 180
    last = [entry for entry in read_log(whole) if "validation_psnr_rgb_db" in entry][-1]
    # It started by giving back the blurred image, and learned something better.
    assert last["validation_psnr_rgb_db"] > last["validation_blurred_psnr_rgb_db"] + 0.2


# --- several processes ---


def test_two_gloo_processes_equal_one(dataset: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    more = ("--steps-per-epoch", "4", "--batch", "4")
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    found = subprocess.run(
        torchrun + command(dataset, two, *more)[3:],
        env=ONE_THREAD, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    with pytest.raises(SystemExit):
        main(command(dataset, one, *more)[5:])
    assert read_record(two).config["n_processes"] == 2
    first, second = read_log(one), read_log(two)
    assert len(first) == len(second) == 14  # 12 steps, 2 validations
    for expected, entry in zip(first, second, strict=True):
        assert entry == pytest.approx(expected, rel=1e-4)
    weights, others = weights_of(one), weights_of(two)
    assert weights.keys() == others.keys()
    for name in (name for name in weights if name.startswith("restorer.")):
        torch.testing.assert_close(others[name], weights[name], rtol=0, atol=2e-5)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed in Linux only")
def test_no_thread_of_the_process_group_outlives_it(tmp_path: Path) -> None:
    script = tmp_path / "joined.py"
    script.write_text(
        "from pathlib import Path\n"
        "import torch\n"
        "from baselines.machine import joined_processes\n"
        "def n_threads():\n"
        "    names = [p.read_text() for p in Path('/proc/self/task').glob('*/comm')]\n"
        "    return sum('gloo' in name for name in names)\n"
        "with joined_processes(torch.device('cpu')) as processes:\n"
        "    torch.optim.Adam([torch.zeros(1)])\n"  # it imports more of torch
        "    processes.agree({}, stop=False)\n"
        "    assert n_threads() > 0\n"
        "assert n_threads() == 0\n"
    )
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        str(script),
    ]  # fmt: skip
    found = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_processes_share_a_batch_without_gap_or_overlap() -> None:
    shares = [Processes(rank=rank, n=3).share_of(6) for rank in range(3)]
    assert [index for share in shares for index in share] == list(range(6))
    with pytest.raises(InputError, match="shared evenly by 4 processes"):
        Processes(rank=0, n=4).share_of(6)


# --- what goes wrong ---


@pytest.mark.parametrize("recipe", [TINY, GAN], ids=["deepdeblur", "deblurgan"])
def test_a_loss_that_is_not_finite_stops_before_it_changes_anything(
    dataset: Path, tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = Patches.sample

    def poisoned(self: Patches, number: int, index: int) -> tuple[object, object]:
        blurred, sharp = sample(self, number, index)
        n_batches = 3 if recipe is GAN else 1
        if number == 6 * n_batches and index == 1:
            sharp = sharp.copy()
            sharp[0, 5, 7] = np.nan
        return blurred, sharp

    monkeypatch.setattr(Patches, "sample", poisoned)
    options = replace(OPTIONS, checkpoint_every_s=0)  # after every step
    with pytest.raises(InputError, match=r"step 6 gave .*nan"):
        train(recipe, dataset, tmp_path, options=options)
    checkpoint = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert checkpoint.record.step == 6
    assert all(t.isfinite().all() for t in checkpoint.networks["restorer"].values())


def test_a_run_is_not_overwritten_nor_mixed_with_another(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TINY, dataset, run, options=OPTIONS)
    with pytest.raises(InputError, match="continue it with --resume"):
        train(TINY, dataset, run, options=OPTIONS)
    with pytest.raises(InputError, match=r"another recipe \(seed 0, here 1\)"):
        train(replace(TINY, seed=1), dataset, run, options=OPTIONS, resume=True)
    with pytest.raises(InputError, match="other data"):
        train(TINY, dataset, run, options=OPTIONS, resume=True, blur_kind="linear_crf")


def test_fine_tuning_starts_from_weights_and_says_so(dataset: Path, tmp_path: Path) -> None:
    """At a rate too low to change them, the weights of the start are those of the end."""
    train(TINY, dataset, tmp_path / "first", options=OPTIONS)
    weights = tmp_path / "first" / "weights.safetensors"
    still = replace(TINY, optimisation=replace(TINY.optimisation, learning_rate=1e-12), seed=1)
    tuned = replace(OPTIONS, start_from=weights)
    train(still, dataset, tmp_path / "tuned", options=tuned)
    start, end = (
        load_checkpoint(tmp_path / run / "weights.safetensors").networks["restorer"]
        for run in ("first", "tuned")
    )
    assert [name for name in start if not torch.allclose(start[name], end[name], atol=1e-9)] == []
    record = read_record(tmp_path / "tuned")
    assert record.config["started_from_sha256"] == sha256_of_file(weights)
    with pytest.raises(InputError, match="started from other weights"):
        train(still, dataset, tmp_path / "tuned", options=OPTIONS, resume=True)
    with pytest.raises(InputError, match=r"nowhere\.pth: there is no such file"):
        train(TINY, dataset, tmp_path / "x", options=replace(tuned, start_from=Path("nowhere.pth")))
    with pytest.raises(InputError, match="does not fit"):
        train(replace(TINY, n_features=6), dataset, tmp_path / "y", options=tuned)


def test_a_second_run_on_the_same_folder_is_kept_out(dataset: Path, tmp_path: Path) -> None:
    with claimed(tmp_path), pytest.raises(InputError, match="another run is at work there"):
        train(TINY, dataset, tmp_path, options=OPTIONS)
    assert train(TINY, dataset, tmp_path, options=replace(OPTIONS, n_validation_images=0)).finished


def test_missing_parts_are_named(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sequences there"):
        train(TINY, tmp_path / "nowhere", tmp_path / "run", options=OPTIONS)
    no_test = write_dataset(tmp_path / "no-test", test=())
    with pytest.raises(InputError, match="--n-validation-images 0"):
        train(TINY, no_test, tmp_path / "run", options=OPTIONS)
    assert train(
        TINY, no_test, tmp_path / "run", options=replace(OPTIONS, n_validation_images=0)
    ).finished
    perceptual = replace(GAN, content_loss="vgg")
    with pytest.raises(InputError, match=r"none\.pth: no weights can be read"):
        train(
            perceptual, dataset, tmp_path / "gan",
            options=replace(OPTIONS, vgg_weights=tmp_path / "none.pth"),
        )  # fmt: skip
    with pytest.raises(InputError, match="batch of 2 cannot be shared"):
        Processes(rank=0, n=3).share_of(TINY.patches.batch)


def test_unknown_presets_and_devices_exit_with_2(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, message in (
        (["deblurgan:paper2017"], "Available subcommands: sun2015:paper"),
        (["deepdeblur-k3:smoke", "--device", "quantum"], "not a device"),
        (["deepdeblur-k3:smoke", "--patch-px", "0"], "at least 1"),
    ):
        arguments = [*wrong, "--data", str(dataset), "--out", str(tmp_path / "run")]
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_minutes_that_are_spent_leave_a_checkpoint_and_an_exit_code(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def exit_code(*more: str) -> int:
        arguments = [
            "deepdeblur-k3:smoke", "--data", str(dataset),
            "--out", str(tmp_path), "--n-epochs", "2", "--n-epochs-decay", "1",
            "--steps-per-epoch", "3", "--batch", "1", "--device", "cpu", *more,
        ]  # fmt: skip
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        return exit_.value.code

    assert exit_code("--minutes", "0.00001") == 3
    message = " ".join(capsys.readouterr().err.split())
    assert "Stopped; --resume continues after 1 of 6 steps" in message
    assert "Validation after step 0:" in message
    assert load_checkpoint(tmp_path / "checkpoint.safetensors").record.metrics["at_step"] == 0
    assert exit_code("--minutes", "10", "--resume") == 0
    assert "Validation after step 6:" in " ".join(capsys.readouterr().err.split())
    assert exit_code("--minutes", "0", "--resume") == 2
    assert exit_code("--n-epochs-decay", "3") == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "with --n-epochs 2 also give --n-epochs-decay, 0 to 2" in message


# --- what it leaves behind ---


def test_a_run_leaves_record_pictures_and_a_working_checkpoint(
    dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    result = train(TINY, dataset, run, options=OPTIONS)
    entries = read_log(run)
    validation = [entry for entry in entries if "validation_psnr_rgb_db" in entry]
    assert [entry["step"] for entry in validation] == [0, 5, 10, 12]
    assert [entry["step"] for entry in entries if "content" in entry] == [3, 6, 9, 12]
    assert [e["learning_rate"] for e in entries if "content" in e] == [1e-3, 1e-3, 1e-4, 1e-4]
    assert read_rgb(run / "validation.png").shape == (22 + 64, 3 * (80 + 6), 3)

    network, _ = load_restorer_network(result.checkpoint, KINDS)
    restorer = NetworkRestorer(network, RestoreOptions(device="cpu"))
    pairs = FramePairs(dataset, "test", "gamma")
    expected = []
    for index in range(2):
        blurred, sharp = pairs.frames(index)
        expected.append(psnr_rgb(sharp, restorer.restore(blurred)))
    assert result.metrics["psnr_rgb_db"] == pytest.approx(np.mean(expected), abs=1e-9)

    record = read_record(run)
    assert record.method == "deepdeblur-k2"
    assert record.results["n_patches"] == 24
    assert record.config["recipe"]["patches"]["augmentation"]["noise_sigma_std"] == 0.01
    assert record.dataset is not None
    assert record.dataset["blur_kind"] == "gamma"
    weights = run / "weights.safetensors"
    assert record.weights_sha256 == sha256_of_file(weights)
    alone = load_checkpoint(weights)
    assert (list(alone.networks), alone.training_state) == (["restorer"], None)
    kept = keep_run(run, tmp_path / "results")
    assert [folder for folder, _ in iterate_runs(tmp_path / "results", "train")] == [kept]
    assert kept.parent == tmp_path / "results" / "runs" / "train" / "deepdeblur-k2"
    assert {p.name for p in kept.iterdir()} == {"run.json", "log.jsonl", "validation.png"}
    with pytest.raises(InputError, match="recorded already"):
        keep_run(run, tmp_path / "results")


def test_weights_of_the_released_recipe_are_truncated_as_its_code_does(
    dataset: Path, tmp_path: Path
) -> None:
    results = {}
    for rounding in ("nearest", "truncate"):
        run = tmp_path / rounding
        result = train(
            replace(GAN, output_rounding=rounding, dropout=0.0), dataset, run,
            options=replace(OPTIONS, validate_every=12, n_validation_images=1),
        )  # fmt: skip
        blurred, sharp = FramePairs(dataset, "test", "gamma").frames(0)
        restorer = open_restorer("deblurgan", result.checkpoint, RestoreOptions(device="cpu"))
        results[rounding] = restorer.restore(blurred)
        assert result.metrics["psnr_rgb_db"] == psnr_rgb(sharp, results[rounding])
    difference = results["nearest"].astype(int) - results["truncate"]
    assert set(np.unique(difference)) == {0, 1}


def test_faster_options_train_alike(dataset: Path, tmp_path: Path) -> None:
    """Half precision and another memory format change roundings, not what is computed."""
    losses = {}
    blind = replace(OPTIONS, n_validation_images=0, log_every=4)
    for name, options in {
        "plain": replace(blind, channels_last=False),
        "channels_last": blind,
        "bf16": replace(blind, precision="bf16"),
    }.items():
        for recipe in (TINY, GAN):
            run = tmp_path / name / recipe.method
            train(recipe, dataset, run, options=options)
            losses[name, recipe.method] = [e["content"] for e in read_log(run) if "content" in e]
    for method in ("deepdeblur-k2", "deblurgan"):
        plain = losses["plain", method]
        assert losses["channels_last", method] == pytest.approx(plain, rel=1e-3)
        assert losses["bf16", method] == pytest.approx(plain, rel=0.05)


def test_the_speed_benchmark_times_steps_and_images(monkeypatch: pytest.MonkeyPatch) -> None:
    # A process of its own costs seconds.
    monkeypatch.setattr(train_speed, "in_own_process", lambda function: function())
    two = {name: train_speed.CONTENDERS[name] for name in (train_speed.PLAIN, "channels_last")}
    monkeypatch.setattr(train_speed, "CONTENDERS", two)
    images = {name: restore_speed.CONTENDERS[name] for name in two}
    monkeypatch.setattr(restore_speed, "CONTENDERS", images)
    monkeypatch.setattr(restore_speed, "SIZE_HW", (30, 40))
    monkeypatch.setattr(train_speed, "benchmark_recipe", lambda device: TINY)
    monkeypatch.setattr(restore_speed, "benchmark_recipe", lambda device: TINY)
    for module in (train_speed, restore_speed):
        timings = module.measure(n_rounds=3)
        assert [timing.name for timing in timings] == list(two)
        assert all(timing.seconds > 0 and timing.n_repeats == 3 for timing in timings)
        assert all(timing.peak_mib is not None and timing.peak_mib > 50 for timing in timings)
    assert "TFLOP/s" in train_speed.measure(n_rounds=1)[0].note


def test_speed_without_tf32_is_that_of_the_same_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rival that is timed without cuDNN would be slow for another reason than its name says."""
    cudnn, seen = torch.backends.cudnn, set()

    def scalars(figures: dict[str, Tensor]) -> None:
        seen.add((cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32))

    monkeypatch.setattr(cudnn, "benchmark", cudnn.benchmark)
    monkeypatch.setattr(train_speed, "scalars", scalars)
    monkeypatch.setattr(train_speed, "benchmark_recipe", lambda device: TINY)
    for name, tf32 in ((train_speed.STRICT, False), (train_speed.PLAIN, True)):
        seen.clear()
        train_speed._warmed_up(name).run()
        assert seen == {(True, True, tf32)}


def test_a_recipe_is_changed_by_the_names_of_the_command_line() -> None:
    changed = TINY.changed(batch=5, vflip_p=0.25, n_features=3, milestones=(7,))
    assert changed.patches == replace(
        TINY.patches, batch=5, augmentation=replace(TINY.patches.augmentation, vflip_p=0.25)
    )
    assert (changed.n_features, changed.optimisation.milestones) == (3, (7,))
    with pytest.raises(TypeError, match="has no n_feature"):
        TINY.changed(batch=5, n_feature=3)


def test_clipping_bounds_the_step(dataset: Path, tmp_path: Path) -> None:
    """Adam hides a gradient's length, so it shows in the second moment it keeps."""
    moments = []
    for index, clip in enumerate((None, 1e-3)):
        recipe = replace(TINY, optimisation=replace(TINY.optimisation, clip_gradient_norm=clip))
        run = tmp_path / str(index)
        _, arguments = stopping_at(1)
        train(recipe, dataset, run, options=OPTIONS, **arguments)  # type: ignore[arg-type]
        state = load_checkpoint(run / "checkpoint.safetensors").training_state
        squares = state["optimizers"]["restorer"]["state"].values()
        total = sum(float(entry["exp_avg_sq"].sum()) for entry in squares)
        moments.append((total / (1 - 0.999)) ** 0.5)  # after one step: the gradient's norm
    assert moments[0] > 1e-2
    assert moments[1] == pytest.approx(1e-3, rel=1e-3)
