"""Sun et al. 2015 as a whole: training in the loop of all, weight files, restoring, commands."""

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from motions import candidate_index
from tiny_dataset import write_dataset

from baselines.checkpoints.restorers import describe, load_restorer_network
from baselines.checkpoints.store import load_checkpoint
from baselines.data import Batch
from baselines.machine import Setting
from baselines.method import Method
from baselines.methods import KINDS, method_named, open_restorer
from baselines.options import RestoreOptions, RunOptions
from baselines.sun2015.confidences import PAPER, PLUS, Confidences, Sun2015Options
from baselines.sun2015.kernels import kernels
from baselines.sun2015.method import SOURCE_PX, SUN2015, SUN2015_PLUS, Sun2015Recipe
from baselines.sun2015.network import MotionClassifier, Sun2015
from baselines.sun2015.restorer import Sun2015Restorer
from benchmarks.train.run import train
from gopro_tools.errors import InputError
from gopro_tools.metrics import psnr_rgb
from gopro_tools.response import Response
from gopro_tools.scenes.textures import read_photograph

ON_CPU = RestoreOptions(device="cpu")


def tiny(method: Method, **changes: object) -> Sun2015Recipe:
    recipe = method.presets["smoke"]
    assert isinstance(recipe, Sun2015Recipe)
    optimisation = replace(recipe.optimisation, n_epochs=2, steps_per_epoch=4)
    small = replace(
        recipe, optimisation=optimisation, n_components=3, n_prior_patches=600,
        patches=replace(recipe.patches, batch=16),
    )  # fmt: skip
    return replace(small, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "pairs"
    return write_dataset(root, size_hw=(96, 120), train=(2, 2), test=(1,))


@pytest.fixture(scope="module")
def weights(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights")
    assert train(SUN2015, tiny(SUN2015), data, out, options=options()).finished
    return out / "weights.safetensors"


@pytest.fixture(scope="module")
def plus_weights(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plus")
    assert train(SUN2015_PLUS, tiny(SUN2015_PLUS), data, out, options=options()).finished
    return out / "weights.safetensors"


def options() -> RunOptions:
    return RunOptions(device="cpu", n_threads=1, log_every=2)


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


@pytest.mark.parametrize(
    "sizes", [{"widths": (8, 8)}, {"widths": (8, 0, 8)}, {"n_components": -1}, {"dropout": 1.0}]
)
def test_impossible_sizes_are_refused(sizes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="widths"):
        Sun2015(**sizes)  # type: ignore[arg-type]


# --- training ---


@pytest.mark.parametrize("method", [SUN2015, SUN2015_PLUS], ids=lambda method: method.name)
def test_steps_descend(method: Method) -> None:
    """What a few pieces look like under each motion is learned: gradients reach every layer."""
    recipe = tiny(method, widths=(12, 16, 48), n_components=1, batch_norm=True)
    assert method.learner is not None
    torch.manual_seed(0)
    learner = method.learner(recipe, Setting(device=torch.device("cpu"), options=options()))
    photograph = read_photograph("cat")[100 : 100 + SOURCE_PX, 150 : 150 + SOURCE_PX]
    piece = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None].float() / 255
    batch = Batch(blurred=piece.expand(64, -1, -1, -1), sharp=piece.expand(64, -1, -1, -1))
    classifier = learner.networks["restorer"].classifier
    before = [parameter.detach().clone() for parameter in classifier.parameters()]
    losses = []
    for _ in range(60):
        learner.start(4e-3)
        losses.append(float(learner.step([batch])["cross_entropy"]))
    after = list(classifier.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5


def test_stopped_and_resumed_equals_uninterrupted(
    data: Path, weights: Path, tmp_path: Path
) -> None:
    polls = iter([False, False, True])
    first = train(
        SUN2015, tiny(SUN2015), data, tmp_path, options=options(),
        should_stop=lambda: next(polls, True),
    )  # fmt: skip
    assert not first.finished
    assert not (tmp_path / "weights.safetensors").exists()
    assert train(SUN2015, tiny(SUN2015), data, tmp_path, options=options(), resume=True).finished
    whole, parts = (
        load_checkpoint(path).networks["restorer"]
        for path in (weights, tmp_path / "weights.safetensors")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert parts["prior.weights"].sum() == pytest.approx(1)


def test_what_cannot_be_trained(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(SUN2015)
    wrong = replace(recipe, patches=replace(recipe.patches, patch_px=64))
    with pytest.raises(InputError, match=f"{SOURCE_PX} is needed"):
        train(SUN2015, wrong, data, tmp_path / "a", options=options())
    small = write_dataset(tmp_path / "small", size_hw=(64, 80))
    with pytest.raises(InputError, match="smaller than a patch of 80x80"):
        train(SUN2015, recipe, small, tmp_path / "b", options=options())
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"scikit-learn.*\[train\]"):
        train(SUN2015, recipe, data, tmp_path / "c", options=options())


# --- weight files ---


def test_weight_files_say_what_they_are(weights: Path, plus_weights: Path) -> None:
    facts = describe(weights, KINDS)
    assert facts["method"] == "sun2015"
    assert facts["config"]["recipe"]["synthesis"]["normalise"] is False
    assert describe(plus_weights, KINDS)["method"] == "sun2015-plus"
    network, record = load_restorer_network(weights, KINDS)
    assert isinstance(network, Sun2015)
    assert network.prior.weights.sum() == pytest.approx(1)
    assert record.architecture["n_components"] == 3
    assert not network.training
    assert method_named("sun2015").training_scale(weights) == "smoke"


def test_other_files_are_refused(weights: Path, plus_weights: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(weights.read_bytes()[:5000])
    for path in (torn, tmp_path / "none.safetensors"):
        with pytest.raises(InputError, match=path.name):
            open_restorer("sun2015", path, ON_CPU)
    with pytest.raises(InputError, match="weights of sun2015; those of deepdeblur were expected"):
        open_restorer("deepdeblur", weights)
    with pytest.raises(InputError, match="weights of sun2015-plus; those of sun2015 were expected"):
        open_restorer("sun2015", plus_weights, ON_CPU)


# --- restoring ---


def blurred_photograph(candidate: int) -> tuple[np.ndarray, np.ndarray]:
    response = Response.named("gamma2.2")
    sharp = np.ascontiguousarray(read_photograph("coffee")[120:248, 200:360])
    light = cv2.filter2D(response.decode(sharp), -1, kernels()[candidate].astype(np.float64))
    noise = np.random.default_rng(0).normal(0, 0.005 * 255, sharp.shape)
    noisy = response.encode(np.clip(light, 0, 1)) + noise
    return sharp, np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("how", [PAPER, PLUS], ids=["paper", "plus"])
def test_a_motion_that_is_found_is_undone(
    weights: Path, how: Sun2015Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = candidate_index(4, 5)  # 9 px at 30 degrees
    sharp, blurred = blurred_photograph(candidate)

    def certain(classifier: object, image: np.ndarray, options: Sun2015Options) -> Confidences:
        values = np.full((361, 13, 17), 1e-3, np.float32)
        values[candidate] = 1
        return Confidences(values / values.sum(0), np.ones((13, 17), np.float32), 8, (128, 160))

    monkeypatch.setattr("baselines.sun2015.restorer.dense_confidences", certain)
    network, _ = load_restorer_network(weights, KINDS)
    assert isinstance(network, Sun2015)
    restorer = Sun2015Restorer(network, "gamma2.2", torch.device("cpu"), how)
    undone = restorer.motion_to_undo(blurred)
    assert (undone > 0).all()
    assert (undone == candidate).all() or how is PLUS
    assert psnr_rgb(sharp, restorer.restore(blurred)) > psnr_rgb(sharp, blurred) + 1.5


def test_both_restore_like_the_others(weights: Path, plus_weights: Path) -> None:
    _, blurred = blurred_photograph(candidate_index(3, 0))
    for name, file in (("sun2015", weights), ("sun2015-plus", plus_weights)):
        restorer = open_restorer(name, file, ON_CPU)
        restored = restorer.restore(blurred)
        assert restored.shape == blurred.shape
        assert restored.dtype == np.uint8
        np.testing.assert_array_equal(restored, restorer.restore(blurred))
        tiled = open_restorer(name, file, replace(ON_CPU, tile=96))
        assert tiled.restore(blurred).shape == blurred.shape
        with pytest.raises(InputError, match="at least 30x30"):
            restorer.restore(blurred[:29])
    # A network that hardly learned is never sure enough for the motion of least risk to be undone.
    np.testing.assert_array_equal(restored, blurred)
    with pytest.raises(InputError, match="single precision"):
        open_restorer("sun2015", weights, RestoreOptions(precision="bf16"))


def test_what_cannot_restore_says_why(weights: Path) -> None:
    network = Sun2015((4, 4, 4), n_components=2)
    with pytest.raises(InputError, match="prior of these weights was not fitted"):
        Sun2015Restorer(network, "gamma2.2", torch.device("cpu"))
    for device, complaint in (("abacus", "not a device"), ("cuda:77", "can be used here")):
        with pytest.raises(InputError, match=complaint):
            open_restorer("sun2015", weights, RestoreOptions(device=device))
