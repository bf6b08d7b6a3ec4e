"""Sun et al. 2015 as a whole: training, weight files, restoring, the commands."""

import dataclasses
import json
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_dataset import write_dataset

from baselines.checkpoints import describe, load_checkpoint
from baselines.sun2015.__main__ import Accuracy, Restore, Train
from baselines.sun2015.accuracy import AccuracyConfig
from baselines.sun2015.deconvolution import DeconvolutionOptions
from baselines.sun2015.kernels import CANDIDATES, TRAINED, candidate_index
from baselines.sun2015.network import MotionClassifier, Sun2015
from baselines.sun2015.patches import BlurredPatches, Blurring, cut_sources, with_noise
from baselines.sun2015.restorer import Sun2015Options, Sun2015Restorer, open_sun2015
from baselines.sun2015.training import (
    PRESETS,
    OnProgress,
    Sun2015Recipe,
    _Run,
    in_tolerance,
    train_sun2015,
)
from baselines.sun2015.weights import load_weights, n_parameters_of
from benchmarks.restore import RestoreOptions, open_restorer
from gopro_tools.console import EXIT_INTERRUPTED
from gopro_tools.errors import InputError
from gopro_tools.images import encode_png, read_rgb
from gopro_tools.metrics import psnr_rgb
from gopro_tools.response import Response
from gopro_tools.scenes.textures import read_photograph

TINY = dataclasses.replace(
    PRESETS["smoke"],
    n_sources=60,
    n_patches=8 * 73,
    batch=73,
    n_components=3,
    n_prior_patches=600,
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("cat", "motorcycle", "astronaut"):
        image = read_photograph(name)[100:300, 150:450]
        (folder / f"{name}.png").write_bytes(encode_png(np.ascontiguousarray(image)))
    return sorted(folder.glob("*.png"))


@pytest.fixture(scope="module")
def weights(photographs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    run = train_sun2015(photographs, out, TINY)
    assert run is not None
    assert run.n_patches == TINY.n_patches
    return out


# --- the network ---


def test_the_paper_s_network_has_its_layers() -> None:
    network = MotionClassifier()
    counts = [parameter.numel() for parameter in network.parameters()]
    convolutions = [7 * 7 * 3 * 96, 96, 5 * 5 * 96 * 256, 256]
    units = [4 * 4 * 256 * 1024, 1024, 1024 * 73, 73]
    assert counts == convolutions + units
    assert network(torch.zeros(2, 3, 30, 30)).shape == (2, 73, 1, 1)


def test_one_pass_equals_patch_by_patch() -> None:
    torch.manual_seed(0)
    network = MotionClassifier((6, 8, 16)).eval()
    image = torch.rand(1, 3, 46, 54)
    for stride in (4, 8):
        whole = network(image, stride)
        assert whole.shape[2:] == ((46 - 30) // stride + 1, (54 - 30) // stride + 1)
        for row in range(whole.shape[2]):
            for column in range(whole.shape[3]):
                y, x = row * stride, column * stride
                alone = network(image[:, :, y : y + 30, x : x + 30])
                torch.testing.assert_close(
                    whole[:, :, row, column], alone[..., 0, 0], atol=1e-5, rtol=1e-4
                )
    with pytest.raises(ValueError, match="multiple of 4"):
        network(image, 6)


@pytest.mark.parametrize(
    "sizes", [{"widths": (8, 8)}, {"widths": (8, 0, 8)}, {"n_components": -1}, {"dropout": 1.0}]
)
def test_impossible_sizes_are_refused(sizes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="widths"):
        Sun2015(**sizes)  # type: ignore[arg-type]


# --- training ---


def test_steps_descend(photographs: list[Path]) -> None:
    """A batch seen again and again is known by heart: gradients reach every layer."""
    recipe = dataclasses.replace(
        TINY, widths=(12, 16, 48), n_patches=60 * 73, n_components=0, learning_rate=4e-3
    )
    run = _Run(recipe, torch.device("cpu"), bf16=False)
    sources = cut_sources(photographs, 60, seed=0)
    patches = BlurredPatches(sources, Response.named("gamma2.2"), 0.0, seed=0)
    blurred, shares = (torch.from_numpy(part) for part in patches.batch(0, 24))
    before = [parameter.detach().clone() for parameter in run.network.classifier.parameters()]
    for _ in range(recipe.n_steps):
        run.learn(blurred, shares)
    after = list(run.network.classifier.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    found = run.network.classifier.eval()(blurred)[..., 0, 0].argmax(1)
    assert (found == shares.argmax(1)).float().mean() > 0.9
    with pytest.raises(InputError, match="lower learning rate"):
        run.learn(blurred * np.nan, shares)


def test_tolerances_of_classes() -> None:
    """2 px and 15 degrees: of the trained orientations only the same one, and lengths beside."""
    motions = [CANDIDATES[index] for index in TRAINED]
    nine_px_at_30 = next(
        i for i, m in enumerate(motions) if (m.length_px, m.angle_degrees) == (9, 30)
    )
    right = [motions[i] for i, good in enumerate(in_tolerance(nine_px_at_30)) if good]
    assert [(m.length_px, m.angle_degrees) for m in right] == [(7, 30), (9, 30), (11, 30)]
    assert sum(in_tolerance(0)) == 1 + 6


def test_a_stopped_training_goes_on_bit_for_bit(
    photographs: list[Path], weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again.safetensors"
    for _ in range(3):
        polls = iter([False, False, *[True] * 8])
        run = train_sun2015(photographs, out, TINY, told_to_stop=partial(next, polls))
        if run is not None:
            break
        assert not out.exists()
        assert (tmp_path / "again.training.safetensors").is_file()
    assert run is not None
    assert not (tmp_path / "again.training.safetensors").exists()
    whole, parts = (load_checkpoint(path).networks["restorer"] for path in (weights, out))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_finished_training_is_kept(
    photographs: list[Path], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights.read_bytes()
    kept = train_sun2015(photographs, weights, TINY)
    assert kept is not None
    assert kept.n_patches == TINY.n_patches
    assert set(kept.metrics) == {"class_accuracy", "tolerant_accuracy"}
    assert weights.read_bytes() == before
    with pytest.raises(InputError, match="other seed lies there"):
        train_sun2015(photographs, weights, dataclasses.replace(TINY, seed=1))
    with pytest.raises(InputError, match="other images lies there"):
        train_sun2015(photographs[:2], weights, TINY)


def test_what_cannot_be_trained_on(photographs: list[Path], tmp_path: Path) -> None:
    flat = tmp_path / "flat.png"
    flat.write_bytes(encode_png(np.full((90, 90, 3), 120, np.uint8)))
    torn = tmp_path / "torn.png"
    torn.write_bytes(photographs[0].read_bytes()[:1000])
    out = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="sharp photographs were expected"):
        train_sun2015([flat, torn], out, TINY)
    run = train_sun2015([flat, torn, photographs[0]], out, TINY)
    assert run is not None
    assert [path.name for path in (flat, torn) if any(path.name in m for m in run.skipped)] == [
        "flat.png",
        "torn.png",
    ]
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        train_sun2015(photographs, tmp_path / "w.pth", TINY)
    with pytest.raises(InputError, match="cannot be read"):
        train_sun2015([tmp_path / "nothing.png"], out, TINY)
    with pytest.raises(InputError, match="learning_rate"):
        Sun2015Recipe(learning_rate=0)
    for wrong in ({"soft_share": 1.5}, {"grain_share": -0.1}, {"band_gain_max": 0.5}):
        with pytest.raises(InputError, match="between 0 and 1, band_gain_max"):
            Sun2015Recipe(**wrong)


def test_a_missing_scikit_learn_is_named_before_hours_are_spent(
    photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"scikit-learn.*\[train\]"):
        train_sun2015(photographs, tmp_path / "w.safetensors", TINY)
    without = dataclasses.replace(TINY, n_components=0, n_patches=73)
    assert train_sun2015(photographs, tmp_path / "w.safetensors", without) is not None


# --- weight files ---


def test_weight_files_say_what_they_are(weights: Path) -> None:
    facts = describe(weights)
    assert facts["method"] == "sun2015"
    assert facts["n_parameters"] == n_parameters_of(weights)
    assert facts["config"]["recipe"]["response"] == "gamma2.2"
    network, record = load_weights(weights)
    assert network.prior.weights.sum() == pytest.approx(1)
    assert record.architecture["n_components"] == TINY.n_components
    assert not network.training


def test_other_files_are_refused(weights: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(weights.read_bytes()[:5000])
    for path in (torn, tmp_path / "none.safetensors"):
        with pytest.raises(InputError, match=path.name):
            load_weights(path)
    with pytest.raises(InputError, match="weights of sun2015, but --method deepdeblur"):
        open_restorer("deepdeblur", weights)


# --- restoring ---


def blurred_photograph(candidate: int) -> tuple[np.ndarray, np.ndarray]:
    sharp = np.ascontiguousarray(read_photograph("coffee")[120:248, 200:360])
    blurred = Blurring(Response.named("gamma2.2")).blurred(sharp, candidate)
    return sharp, with_noise(blurred, 0.005, np.random.default_rng(0))


@pytest.mark.parametrize("prior", ["epll", "hyper-laplacian"])
def test_known_motion_is_undone(weights: Path, prior: str) -> None:
    candidate = candidate_index(4, 5)  # 9 px at 30 degrees
    sharp, blurred = blurred_photograph(candidate)
    options = Sun2015Options(deconvolution=DeconvolutionOptions(prior=prior))  # type: ignore[arg-type]
    restorer = open_sun2015(weights, options)
    motion = np.full(sharp.shape[:2], candidate, np.int64)
    steps: list[tuple[int, int]] = []
    found = restorer.restore_with_motion(blurred, motion, lambda *step: steps.append(step))
    assert steps[-1][0] == steps[-1][1] > 0
    assert psnr_rgb(sharp, found.image) > psnr_rgb(sharp, blurred) + 2
    assert found.motion_picture.shape == sharp.shape


def test_the_restorer_is_one_like_the_others(weights: Path) -> None:
    _, blurred = blurred_photograph(candidate_index(3, 0))
    restorer = open_restorer("sun2015", weights, RestoreOptions(prior="hyper-laplacian"))
    restored = restorer.restore(blurred)
    assert restored.shape == blurred.shape
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, restorer.restore(blurred))
    tiled = open_restorer("sun2015", weights, RestoreOptions(prior="hyper-laplacian", tile=96))
    assert tiled.restore(blurred).shape == blurred.shape
    # Of this network, hardly trained, nothing is certain enough to be undone.
    np.testing.assert_array_equal(restored, blurred)
    undone = [
        open_sun2015(
            weights,
            Sun2015Options(undo="likeliest", deconvolution=DeconvolutionOptions(prior=prior)),
        ).restore(blurred)
        for prior in ("epll", "hyper-laplacian")
    ]
    assert (undone[0] != undone[1]).mean() > 0.05
    assert (undone[0] != blurred).mean() > 0.05
    with pytest.raises(InputError, match="single precision"):
        open_restorer("sun2015", weights, RestoreOptions(half="bf16"))
    with pytest.raises(InputError, match="at least 30x30"):
        restorer.restore(blurred[:29])
    with pytest.raises(InputError, match="--prior is for sun2015"):
        open_restorer("deepdeblur", weights, RestoreOptions(prior="epll"))


def test_without_a_prior_epll_says_what_to_do() -> None:
    network = Sun2015((4, 4, 4), n_components=0)
    with pytest.raises(InputError, match="--prior hyper-laplacian"):
        Sun2015Restorer(network, "gamma2.2")
    for device, complaint in (("abacus", "not a device"), ("cuda:77", "can be used here")):
        options = DeconvolutionOptions(prior="hyper-laplacian", device=device)
        with pytest.raises(InputError, match=complaint):
            Sun2015Restorer(network, "gamma2.2", Sun2015Options(deconvolution=options))


# --- the commands ---


def test_train_trains_on_a_dataset_s_sharp_training_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", size_hw=(96, 120), train=(2,), test=(1,))
    monkeypatch.setattr("baselines.sun2015.__main__.PRESETS", {"smoke": TINY})
    out = tmp_path / "w.safetensors"
    assert Train(photographs=(data,), out=out, preset="smoke", seed=3).run() == 0
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["config"]["n_images"] == 2
    assert record["config"]["recipe"]["seed"] == 3
    assert "584 patches" in capsys.readouterr().err


def test_restore_names_what_fails_and_goes_on(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, blurred = blurred_photograph(candidate_index(3, 0))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.png").write_bytes(encode_png(blurred))
    (tmp_path / "in" / "a.png").write_bytes(encode_png(blurred)[:500])
    (tmp_path / "in" / "c.png").write_bytes(encode_png(blurred[:20]))
    fast = DeconvolutionOptions(prior="hyper-laplacian")
    command = Restore(
        images=(tmp_path / "in",), weights=weights, out=tmp_path / "out", deconvolution=fast
    )
    assert command.run() == 1
    said = capsys.readouterr().err
    assert "a.png" in said
    assert "at least 30x30" in said
    assert "1 restored, 2 failed" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"b.png", "b_motion.png"}
    assert read_rgb(tmp_path / "out" / "b.png").shape == blurred.shape
    one = dataclasses.replace(command, images=(tmp_path / "in" / "b.png",), crop=(8, 16, 64, 48))
    assert one.run() == 0
    assert read_rgb(tmp_path / "out" / "b.png").shape == (48, 64, 3)
    beyond = dataclasses.replace(one, crop=(100, 0, 64, 48))
    assert beyond.run() == 1
    assert "reaches beyond its 160x128" in capsys.readouterr().err
    (tmp_path / "in" / "deep").mkdir()
    (tmp_path / "in" / "deep" / "b.png").write_bytes(encode_png(blurred))
    with pytest.raises(InputError, match="overwrite each other"):
        command.run()


def test_accuracy_draws_and_counts(
    weights: Path, photographs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = AccuracyConfig(n_orientations=1, crop_px=128)
    command = Accuracy(
        photographs=(photographs[0],), weights=weights, out=tmp_path / "out", config=config
    )
    assert command.run() == 0
    said = capsys.readouterr().out
    shares = [float(line.rpartition(" ")[2]) for line in said.splitlines() if "tolerance" in line]
    assert len(shares) == 3
    assert all(0 <= share <= 1 for share in shares)
    assert "endpoint error, objects" in said
    assert len((tmp_path / "out" / "accuracy.csv").read_text().splitlines()) == 1 + 1 + 12
    for name in ("confusion.png", "two_motions.png"):
        assert (tmp_path / "out" / name).stat().st_size > 5_000


def test_ctrl_c_while_training_keeps_what_was_learned(
    photographs: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def pressing_ctrl_c(*arguments: Any, on_progress: OnProgress, **options: Any) -> Any:
        def pressed(task: str, done: int, total: int) -> None:
            on_progress(task, done, total)
            if task == "training" and done == 3:
                signal.raise_signal(signal.SIGINT)

        return train_sun2015(*arguments, on_progress=pressed, **options)

    monkeypatch.setattr("baselines.sun2015.__main__.PRESETS", {"smoke": TINY})
    monkeypatch.setattr("baselines.sun2015.__main__.train_sun2015", pressing_ctrl_c)
    out = tmp_path / "w.safetensors"
    command = Train(photographs=tuple(photographs), out=out, preset="smoke")
    handler = signal.getsignal(signal.SIGINT)
    assert command.run() == EXIT_INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is handler
    assert "goes on from here" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "w.training.safetensors").record.step == 3
    assert not out.exists()
    monkeypatch.undo()
    assert train_sun2015(photographs, out, TINY) is not None
