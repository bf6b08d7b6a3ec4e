"""Training that stays on the device: the patches of the CPU, the steps of the CPU, on a GPU too."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_train import GAN, TINY, assert_same_run, stopping_at, train, weights_of
from tiny_dataset import write_dataset

from baselines.checkpoints.store import load_checkpoint
from baselines.data import FramePairs, Patches
from baselines.deepdeblur.method import deepdeblur_recipe
from baselines.device_patches import DevicePatches
from baselines.machine import Processes, Setting
from baselines.methods import open_restorer
from baselines.options import RestoreOptions, RunOptions
from baselines.recipe import NAH2017_AUGMENTATION, Augmentation, PatchConfig
from benchmarks.train.journal import read_log
from gopro_tools.errors import InputError
from gopro_tools.images import read_rgb

CPU = RunOptions(device="cpu", log_every=3, validate_every=6, n_validation_images=2, n_threads=1)
ON_DEVICE = replace(CPU, loop="device")
QUIET = replace(TINY, patches=replace(TINY.patches, augmentation=Augmentation(hflip_p=0.5)))

GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    ],
)
needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def on_gpu(test):
    for mark in needs_gpu:
        test = mark(test)
    return test


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "dataset"
    write_dataset(root, size_hw=(64, 80))
    write_dataset(root, size_hw=(70, 66), train=(2,), test=(1,), seed=1)  # images of two sizes
    return root


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("draw", ["image", "sequence"])
def test_device_patches_are_those_of_the_cpu(dataset: Path, draw: str, device: str) -> None:
    quiet = replace(NAH2017_AUGMENTATION, noise_sigma_std=0.0, vflip_p=0.5, saturation_p=0.5)
    config = PatchConfig(patch_px=24, batch=5, draw=draw, crop_alignment_px=2, augmentation=quiet)
    patches = Patches(FramePairs(dataset, "train", "gamma", cache="memory"), config, seed=3)
    on_device = DevicePatches(patches, torch.device(device))
    n_copies = 0
    for number in range(12):
        plan = on_device.plan(number, range(5))
        blurred, sharp = on_device.cut(plan.places.to(device), plan.strengths.to(device))
        expected = patches.batch(number, range(5))
        # Saturation is float arithmetic, which devices round each in their way; the rest is equal.
        saturated = plan.strengths[:, 0] > 0
        for got, wanted in ((blurred.cpu(), expected.blurred), (sharp.cpu(), expected.sharp)):
            torch.testing.assert_close(got, wanted, rtol=0, atol=2e-7)
            assert torch.equal(got[~saturated], wanted[~saturated])
        n_copies += int((blurred == sharp).flatten(1).all(dim=1).sum())
        half = on_device.plan(number, range(2, 5))
        assert torch.equal(half.places, plan.places[2:])
    assert 0 < n_copies < 30


def test_noise_of_the_device_has_the_spread_that_was_drawn(dataset: Path) -> None:
    augmentation = Augmentation(noise_sigma_std=0.02)
    config = PatchConfig(patch_px=48, batch=40, draw="image", augmentation=augmentation)
    patches = Patches(FramePairs(dataset, "train", "gamma", cache="memory"), config, seed=0)
    clean = Patches(patches.frames, replace(config, augmentation=Augmentation()), seed=0)
    on_device = DevicePatches(patches, torch.device("cpu"))
    plan = on_device.plan(0, range(40))
    blurred, sharp = on_device.cut(plan.places, plan.strengths)
    without = clean.batch(0, range(40))
    assert torch.equal(sharp, without.sharp)
    noise = (blurred - without.blurred).flatten(1)
    inside = ((without.blurred > 0.1) & (without.blurred < 0.9)).flatten(1)
    spread = torch.stack([n[i].std() for n, i in zip(noise, inside, strict=True)])
    torch.testing.assert_close(spread, plan.strengths[:, 2].abs(), rtol=0.1, atol=1e-4)


@pytest.mark.parametrize("recipe", [QUIET, GAN], ids=["deepdeblur", "deblurgan"])
def test_the_device_loop_learns_what_the_host_loop_does(
    dataset: Path, tmp_path: Path, recipe
) -> None:
    options = replace(CPU, n_validation_images=0)
    train(recipe, dataset, tmp_path / "host", options=options)
    train(recipe, dataset, tmp_path / "device", options=replace(options, loop="device"))
    host, device = (read_log(tmp_path / name) for name in ("host", "device"))
    assert [entry["step"] for entry in host] == [entry["step"] for entry in device]
    for one, other in zip(host, device, strict=True):
        assert one == pytest.approx(other, rel=2e-3)
    first, second = (weights_of(tmp_path / name) for name in ("host", "device"))
    for name, tensor in first.items():
        # A bias before an instance norm has no gradient but rounding, which Adam makes a step of.
        if name.startswith("restorer.") and tensor.ndim == 4:
            torch.testing.assert_close(second[name], tensor, rtol=1e-2, atol=2e-4)


@pytest.mark.parametrize("stop", [4, 6])
def test_stopped_and_resumed_on_the_device_equals_uninterrupted(
    dataset: Path, tmp_path: Path, stop: int
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(TINY, dataset, whole, options=ON_DEVICE)
    _, arguments = stopping_at(stop)
    first = train(TINY, dataset, parts, options=ON_DEVICE, **arguments)
    assert (first.step, first.finished) == (stop, False)
    train(TINY, dataset, parts, options=ON_DEVICE, resume=True)
    assert_same_run(whole, parts)


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_a_figure_that_is_not_finite_is_found_later_and_changes_nothing(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    options = replace(ON_DEVICE, device=device, n_validation_images=0, log_every=6)
    _, arguments = stopping_at(7)
    train(QUIET, dataset, tmp_path / "good", options=options, **arguments)
    plan = DevicePatches.plan
    cut = DevicePatches.cut

    def marked(self, number, indices, *, pin=False):
        made = plan(self, number, indices, pin=pin)
        if number == 7:
            made.strengths[1, 2] = torch.nan  # the noise, which this recipe does not use
        return made

    def poisoned(self, places, strengths):
        blurred, sharp = cut(self, places, strengths)
        return blurred, sharp + 0 * strengths[:, 2, None, None, None]

    monkeypatch.setattr(DevicePatches, "plan", marked)
    monkeypatch.setattr(DevicePatches, "cut", poisoned)
    with pytest.raises(InputError, match=r"step 7 gave .*nan"):
        train(QUIET, dataset, tmp_path / "bad", options=options)
    assert not (tmp_path / "bad" / "checkpoint.safetensors").exists()
    # The last checkpoint from before is kept, and a later one never holds what is not finite.
    monkeypatch.undo()
    _, arguments = stopping_at(7)
    train(QUIET, dataset, tmp_path / "bad", options=options, resume=True, **arguments)
    if device == "cpu":
        assert_same_run(tmp_path / "good", tmp_path / "bad")
    checkpoint = load_checkpoint(tmp_path / "bad" / "checkpoint.safetensors")
    assert checkpoint.record.step == 7
    assert all(tensor.isfinite().all() for tensor in checkpoint.networks["restorer"].values())


def test_where_the_device_loop_cannot_be_it_says_so(dataset: Path) -> None:
    def defers(device: str, n: int, options: RunOptions = CPU) -> bool:
        processes = Processes(n=n)
        return Setting(device=torch.device(device), options=options, processes=processes).defers

    with pytest.raises(InputError, match="--cache memory"):
        RunOptions(loop="device", cache="none")
    with pytest.raises(InputError, match="one process"):
        defers("cpu", 2, ON_DEVICE)
    assert not defers("cpu", 1)
    assert defers("cuda", 1)
    assert not defers("cuda", 2)


# --- on a GPU ---


@on_gpu
@pytest.mark.parametrize("recipe", [TINY, GAN], ids=["deepdeblur", "deblurgan"])
@pytest.mark.parametrize("compiled", [False, True])
def test_captured_steps_learn_as_eager_ones(
    dataset: Path, tmp_path: Path, recipe, compiled: bool
) -> None:
    recipe = replace(recipe, first_weights="identity")
    options = replace(CPU, device="cuda", n_validation_images=0, compile=compiled)
    train(recipe, dataset, tmp_path / "host", options=replace(options, loop="host", compile=False))
    train(recipe, dataset, tmp_path / "graph", options=options)
    host, graph = (read_log(tmp_path / name)[-1] for name in ("host", "graph"))
    assert graph["content"] == pytest.approx(host["content"], rel=0.1)
    weights = weights_of(tmp_path / "graph")
    assert all(tensor.isfinite().all() for tensor in weights.values() if tensor.is_floating_point())


@on_gpu
def test_captured_steps_equal_the_device_loop_on_the_cpu(dataset: Path, tmp_path: Path) -> None:
    """In float32 without TF32, so that only the order of sums differs."""
    options = replace(ON_DEVICE, n_validation_images=0)
    train(QUIET, dataset, tmp_path / "cpu", options=options)
    with torch.backends.cudnn.flags(allow_tf32=False):
        train(QUIET, dataset, tmp_path / "gpu", options=replace(options, device="cuda"))
    for one, other in zip(read_log(tmp_path / "cpu"), read_log(tmp_path / "gpu"), strict=True):
        assert one == pytest.approx(other, rel=2e-2)


@on_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_on_the_gpu_resumes_close_to_the_uninterrupted(
    dataset: Path, tmp_path: Path, precision: str
) -> None:
    options = replace(CPU, device="cuda", precision=precision)
    train(QUIET, dataset, tmp_path / "whole", options=options)
    _, arguments = stopping_at(7)
    train(QUIET, dataset, tmp_path / "parts", options=options, **arguments)
    result = train(QUIET, dataset, tmp_path / "parts", options=options, resume=True)
    assert result.finished
    whole, parts = (read_log(tmp_path / name) for name in ("whole", "parts"))
    assert [entry["step"] for entry in whole] == [entry["step"] for entry in parts]
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, rel=5e-2)


@on_gpu
def test_a_checkpoint_of_the_gpu_resumes_on_the_cpu_and_back(dataset: Path, tmp_path: Path) -> None:
    options = replace(CPU, device="cuda", n_validation_images=0)
    _, arguments = stopping_at(5)
    train(QUIET, dataset, tmp_path, options=options, **arguments)
    _, arguments = stopping_at(9)
    on_cpu = replace(options, device="cpu")
    train(QUIET, dataset, tmp_path, options=on_cpu, resume=True, **arguments)
    assert train(QUIET, dataset, tmp_path, options=options, resume=True).finished
    assert load_checkpoint(tmp_path / "checkpoint.safetensors").record.step == 12


@on_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_gpu_restores_as_the_cpu_does(dataset: Path, tmp_path: Path, precision) -> None:
    train(QUIET, dataset, tmp_path, options=replace(CPU, n_validation_images=0))
    weights = tmp_path / "checkpoint.safetensors"
    blurred = read_rgb(next((dataset / "test").rglob("blur_gamma/*.png")))
    on_cpu = open_restorer("deepdeblur", weights, RestoreOptions(device="cpu")).restore(blurred)
    options = RestoreOptions(device="cuda", precision=precision)
    on_gpu_too = open_restorer("deepdeblur", weights, options).restore(blurred)
    difference = np.abs(on_cpu.astype(int) - on_gpu_too.astype(int))
    assert difference.max() <= (1 if precision == "fp32" else 6)
    assert difference.mean() < 1


@on_gpu
def test_the_full_size_network_trains_on_the_gpu(dataset: Path, tmp_path: Path) -> None:
    recipe = deepdeblur_recipe("reduced", 3)
    recipe = replace(
        recipe,
        optimisation=replace(recipe.optimisation, n_epochs=2, n_epochs_decay=2, steps_per_epoch=10),
    )
    options = RunOptions(device="cuda", precision="bf16", log_every=10, n_validation_images=0)
    train(recipe, dataset, tmp_path, options=options)
    first, last = read_log(tmp_path)
    assert last["content"] < first["content"]
