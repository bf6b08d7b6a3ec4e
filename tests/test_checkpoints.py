"""Our checkpoints come back whole, official ones come out right, wrong ones are refused."""

import json
import os
import pickle
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from skimage.transform import pyramid_gaussian

from baselines.checkpoints.__main__ import checkpoints
from baselines.checkpoints.restorers import describe, load_restorer_network
from baselines.checkpoints.store import CheckpointRecord, load_checkpoint, save_checkpoint
from baselines.checkpoints.tensors import load_into, read_tensors
from baselines.deblurgan.network import Critic, Dropout, Generator
from baselines.deepdeblur.network import DeepDeblur
from baselines.methods import KINDS, open_restorer
from baselines.options import RestoreOptions
from gopro_tools.console import run_command
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file


def random_tensors(shapes, seed=0, scale=0.1):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * scale for name, shape in shapes.items()}


# --- the official layouts, from their description ------------------------------------------------


def deepdeblur_pytorch_shapes(n_scales, n_resblocks, c):
    """MSResNet: body_models fine to coarse, the coarsest alone with 3 channels in."""
    shapes = {}

    def convolution(name, n_in, n_out):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (n_out, n_in, 5, 5), (n_out,)

    for scale in range(n_scales):
        body = f"body_models.{scale}.body"
        convolution(f"{body}.0", 3 if scale == n_scales - 1 else 6, c)
        for block in range(1, n_resblocks + 1):
            convolution(f"{body}.{block}.body.0", c, c)
            convolution(f"{body}.{block}.body.2", c, c)
        convolution(f"{body}.{n_resblocks + 1}", c, 3)
    for scale in range(1, n_scales):
        convolution(f"conv_end_models.{scale}.uppath.0", 3, 12)
    return shapes


def deepdeblur_pytorch_restored(tensors, n_scales, n_resblocks, image_255):
    """The release's forward pass on (H, W, 3) in 0..255, finest level."""

    def convolved(x, name):
        return F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=2)

    levels = [
        torch.from_numpy(level.transpose(2, 0, 1).copy()).float()[None] - 127.5
        for level in pyramid_gaussian(image_255, n_scales - 1, channel_axis=-1)
    ]
    below = None
    for scale in reversed(range(n_scales)):
        x = levels[scale]
        if below is not None:
            up = F.pixel_shuffle(convolved(below, f"conv_end_models.{scale + 1}.uppath.0"), 2)
            x = torch.cat([x, up], 1)
        body = f"body_models.{scale}.body"
        x = convolved(x, f"{body}.0")
        for block in range(1, n_resblocks + 1):
            inside = F.relu(convolved(x, f"{body}.{block}.body.0"))
            x = x + convolved(inside, f"{body}.{block}.body.2")
        below = convolved(x, f"{body}.{n_resblocks + 1}")
    return below[0] + 127.5


def deblurgan_shapes(c=64, n_blocks=9, second="6", up=3):
    """The generator; `second` is the place of a block's second convolution, None for HEAD's.

    `up` is the side of the transposed convolutions' kernels.
    """
    shapes = {}

    def convolution(name, n_in, n_out, size, transposed=False):
        shapes[f"{name}.weight"] = (
            (n_in, n_out, size, size) if transposed else (n_out, n_in, size, size)
        )
        shapes[f"{name}.bias"] = (n_out,)

    convolution("model.1", 3, c, 7)
    convolution("model.4", c, 2 * c, 3)
    convolution("model.7", 2 * c, 4 * c, 3)
    for block in range(10, 10 + n_blocks):
        for place in ("1", second) if second else ("1",):
            convolution(f"model.{block}.conv_block.{place}", 4 * c, 4 * c, 3)
    after = 10 + n_blocks
    convolution(f"model.{after}", 4 * c, 2 * c, up, transposed=True)
    convolution(f"model.{after + 3}", 2 * c, c, up, transposed=True)
    convolution(f"model.{after + 7}", c, 3, 7)
    return shapes


def stored_small(shapes):
    """Tensors of any size whose file holds one number."""
    return {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}


# --- our own -------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path):
    """A DeblurGAN after a step, with everything a trainer would store."""
    torch.manual_seed(0)
    networks = {"restorer": Generator(2, 1), "critic": Critic(2)}
    optimiser = torch.optim.Adam(networks["restorer"].parameters(), lr=1e-4, betas=(0.5, 0.999))
    networks["restorer"](torch.rand(1, 3, 8, 8)).sum().backward()
    optimiser.step()
    state = {
        "optimiser": optimiser.state_dict(),
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.default_rng(3).bit_generator.state,
        "losses": [0.1, float("inf"), None, True, "text", (1, (2,))],
    }
    path = tmp_path / "runs" / "step-1.safetensors"
    record = save_checkpoint(
        path,
        networks,
        method="deblurgan",
        config={"preset": "smoke", "patch_px": 32},
        step=1,
        metrics={"psnr_db": 27.125},
        data_hash="abc",
        training_state=state,
    )
    return path, networks, optimiser, state, record


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_a_checkpoint_comes_back_equal(trained):
    path, networks, optimiser, state, record = trained
    checkpoint = load_checkpoint(path)
    assert checkpoint.record == record
    assert record == CheckpointRecord(
        method="deblurgan",
        architecture=networks["restorer"].architecture,
        config={"preset": "smoke", "patch_px": 32},
        step=1,
        metrics={"psnr_db": 27.125},
        data_hash="abc",
    )
    for name, network in networks.items():
        assert same(
            dict(sorted(network.state_dict().items())),
            dict(sorted(checkpoint.networks[name].items())),
        )
    assert same(checkpoint.training_state, state)
    optimiser.load_state_dict(checkpoint.training_state["optimiser"])
    random.setstate(checkpoint.training_state["python"])
    assert load_checkpoint(path, with_training_state=False).training_state is None


def test_a_write_that_fails_leaves_the_old_checkpoint(trained, monkeypatch):
    path, networks, *_ = trained
    before = path.read_bytes()

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, networks, method="deblurgan", config={}, step=2)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_changed_tensors_are_noticed(trained):
    path = trained[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="SHA-256 differs"):
        load_checkpoint(path)


def test_channels_last_networks_are_stored_row_by_row(tmp_path):
    network = DeepDeblur(2, 1, 4).to(memory_format=torch.channels_last)
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {"restorer": network}, method="deepdeblur", config={}, step=0)
    loaded, record = load_restorer_network(path, KINDS)
    assert record.architecture == network.architecture
    assert same(dict(loaded.state_dict()), dict(network.state_dict()))
    assert not loaded.training


def test_checkpoints_that_cannot_be_are_refused(tmp_path):
    network = DeepDeblur(1, 1, 2)
    arguments = {"method": "deepdeblur", "config": {}, "step": 0}
    path = tmp_path / "a.safetensors"
    with pytest.raises(TypeError, match="set cannot be stored"):
        save_checkpoint(path, {"restorer": network}, **arguments, training_state={"a": {1}})


def test_load_into_lists_all_that_does_not_fit_and_changes_nothing():
    network = DeepDeblur(1, 1, 2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors = {name: tensor + 1 for name, tensor in before.items()}
    del tensors["scale_networks.0.0.weight"]
    tensors["scale_networks.0.2.bias"] = torch.zeros(7)
    tensors["extra"] = torch.zeros(1)
    with pytest.raises(InputError) as caught:
        load_into(network, tensors, "weights.pt")
    message = str(caught.value)
    assert "weights.pt" in message
    assert "3 tensors differ" in message
    assert "scale_networks.0.0.weight: missing" in message
    assert "scale_networks.0.2.bias: (7,), expected (3,)" in message
    assert "extra: has no place" in message
    assert same(dict(network.state_dict()), before)


# --- official files ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_scales", [1, 2, 3])
def test_deepdeblur_pytorch_restores_as_the_release_does(tmp_path, n_scales):
    n_resblocks, c = 2, 4
    tensors = random_tensors(deepdeblur_pytorch_shapes(n_scales, n_resblocks, c))
    for name in tensors:
        if name.endswith(".bias"):
            tensors[name] *= 100  # levels of 0..255, or a wrong scale would not show
    path = tmp_path / "model-1000.pt"
    torch.save({"G": tensors, "D": {"dense.weight": torch.zeros(1)}}, path)
    network, record = load_restorer_network(path, KINDS)
    assert isinstance(network, DeepDeblur)
    assert record.method == "deepdeblur"
    assert record.step is None
    assert sha256_of_file(path) in record.source
    assert network.architecture == {
        "n_scales": n_scales,
        "n_resblocks": n_resblocks,
        "n_features": c,
        "pyramid": "pytorch-release",
    }

    image = np.random.default_rng(0).integers(0, 256, (16, 20, 3)).astype(np.float32)
    expected = deepdeblur_pytorch_restored(tensors, n_scales, n_resblocks, image)
    blurred = torch.from_numpy(image.transpose(2, 0, 1))[None] / 255
    with torch.no_grad():
        restored = network(blurred)[0][0] * 255
    assert expected.std() > 5
    torch.testing.assert_close(restored, expected, rtol=1e-4, atol=2e-3)

    # the same tensors placed by hand
    by_hand = DeepDeblur(n_scales, n_resblocks, c, pyramid="pytorch-release")
    for k in range(n_scales):
        body = f"body_models.{k}.body"
        pairs = [
            (by_hand.scale_networks[k][0], f"{body}.0"),
            (by_hand.scale_networks[k][3], f"{body}.3"),
        ]
        for block in (1, 2):
            pairs.append((by_hand.scale_networks[k][block].conv1, f"{body}.{block}.body.0"))
            pairs.append((by_hand.scale_networks[k][block].conv2, f"{body}.{block}.body.2"))
        if k:
            pairs.append((by_hand.up_convolutions[k - 1][0], f"conv_end_models.{k}.uppath.0"))
        for layer, name in pairs:
            layer.weight.data = tensors[f"{name}.weight"]
            layer.bias.data = tensors[f"{name}.bias"] / 255
    assert torch.equal(by_hand(blurred)[0], network(blurred)[0])


def test_the_published_size_of_deepdeblur_pytorch_loads(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"G": stored_small(deepdeblur_pytorch_shapes(3, 19, 64))}, path)
    assert describe(path, KINDS)["n_parameters"] == 11_721_321


@pytest.mark.parametrize("second", ["6", "5"])
def test_deblurgan_restores_as_the_tensors_placed_by_hand(tmp_path, second):
    """Trained with dropout (second convolution at 6) or without (at 5)."""
    tensors = random_tensors(deblurgan_shapes(2, 2, second), scale=0.3)
    statistics = {
        f"model.{place}.{kind}": torch.ones(n)
        for place, n in ((2, 2), (5, 4), (8, 8), ("10.conv_block.2", 8))
        for kind in ("running_mean", "running_var")
    }
    path = tmp_path / "latest_net_G.pth"
    torch.save(tensors | statistics, path, _use_new_zipfile_serialization=False)  # as in 2017
    network, record = load_restorer_network(path, KINDS)
    assert isinstance(network, Generator)
    assert record.method == "deblurgan"
    assert network.architecture["dropout"] == (0.5 if second == "6" else 0.0)
    for module in network.modules():
        if isinstance(module, Dropout):
            module.at_test = False

    by_hand = Generator(2, 2, dropout_at_test=False).eval()
    for place in (1, 4, 7, 12, 15, 19):
        by_hand.model[place].weight.data = tensors[f"model.{place}.weight"]
        by_hand.model[place].bias.data = tensors[f"model.{place}.bias"]
    for block in (10, 11):
        for ours, theirs in ((1, "1"), (6, second)):
            layer = by_hand.model[block].conv_block[ours]
            layer.weight.data = tensors[f"model.{block}.conv_block.{theirs}.weight"]
            layer.bias.data = tensors[f"model.{block}.conv_block.{theirs}.bias"]
    blurred = torch.rand(1, 3, 16, 12)
    restored = network(blurred)
    assert torch.equal(restored, by_hand(blurred))
    assert restored.std() > 0.01


def test_the_published_size_of_deblurgan_loads(tmp_path):
    path = tmp_path / "latest_net_G.pth"
    torch.save(stored_small(deblurgan_shapes()), path)
    assert describe(path, KINDS)["n_parameters"] == 11_378_179


def test_the_generator_of_deblurgan_s_later_code_is_explained(tmp_path):
    path = tmp_path / "latest_net_G.pth"
    tensors = stored_small(deblurgan_shapes(second=None))
    assert sum(tensor.numel() for tensor in tensors.values()) == 6_067_459
    tensors["model.2.running_mean"] = torch.zeros(64)
    torch.save(tensors, path)
    with pytest.raises(InputError, match=r"March 2019.*one convolution instead of two"):
        load_restorer_network(path, KINDS)


def test_transposed_convolutions_of_4x4_double_the_size_exactly(tmp_path):
    tensors = random_tensors(deblurgan_shapes(2, 2, up=4), scale=0.3)
    path = tmp_path / "latest_net_G.pth"
    torch.save(tensors, path)
    network, record = load_restorer_network(path, KINDS)
    assert record.architecture["up_kernel_px"] == 4
    features = torch.rand(1, 8, 5, 7)
    expected = F.conv_transpose2d(
        features, tensors["model.12.weight"], tensors["model.12.bias"], stride=2, padding=1
    )
    assert expected.shape == (1, 4, 10, 14)
    assert torch.equal(network.model[12](features), expected)
    assert network(torch.rand(1, 3, 13, 10)).shape == (1, 3, 13, 10)
    ours = tmp_path / "ours.safetensors"
    save_checkpoint(ours, {"restorer": network}, method="deblurgan", config={}, step=0)
    again = load_restorer_network(ours, KINDS)[0]
    assert again.architecture == network.architecture
    assert same(dict(again.state_dict()), dict(network.state_dict()))


@pytest.fixture(scope="module")
def generators():
    """Official tensors of short trainings with and without the skip, and what they restore."""
    found = {}
    for learn_residual in (True, False):
        torch.manual_seed(0)
        network = Generator(8, 1, dropout=0.0, learn_residual=learn_residual)
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(60):
            sharp = F.interpolate(torch.rand(4, 3, 8, 8), (32, 32), mode="bicubic").clamp(0, 1)
            blurred = F.avg_pool2d(F.pad(sharp, (1, 1, 1, 1), mode="replicate"), 3, 1)
            optimiser.zero_grad()
            F.l1_loss(network(blurred), sharp).backward()
            optimiser.step()
        tensors = {
            name.replace("conv_block.6.", "conv_block.5."): tensor
            for name, tensor in network.state_dict().items()
        }
        found[learn_residual] = tensors, network.eval()
    return found


@pytest.mark.parametrize("learn_residual", [True, False])
def test_weights_trained_without_the_skip_are_recognised_and_reported(
    tmp_path, generators, learn_residual, caplog
):
    tensors, network = generators[learn_residual]
    path = tmp_path / "latest_net_G.pth"
    torch.save(tensors, path)
    blurred = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    images = torch.from_numpy(blurred).permute(2, 0, 1)[None] / 255

    restored = open_restorer("deblurgan", path, RestoreOptions(device="cpu")).restore(blurred)
    with torch.no_grad():
        expected = (network(images)[0].permute(1, 2, 0) * 255).round().numpy()
    np.testing.assert_array_equal(restored, expected)
    assert ("without --learn_residual" in caplog.text) is not learn_residual
    assert describe(path, KINDS)["architecture"]["learn_residual"] is learn_residual
    # What is made of the weights keeps what was found out.
    ours = tmp_path / "ours.safetensors"
    found, _ = load_restorer_network(path, KINDS)
    save_checkpoint(ours, {"restorer": found}, method="deblurgan", config={}, step=0)
    assert load_restorer_network(ours, KINDS)[0].architecture["learn_residual"] is learn_residual


def spoiled(shapes, remove, reshape, **more):
    tensors = random_tensors(shapes)
    del tensors[remove]
    tensors[reshape] = torch.zeros(1, 2)
    return tensors | more


@pytest.mark.parametrize(
    ("shapes", "remove", "reshape"),
    [
        (
            deepdeblur_pytorch_shapes(2, 1, 4),
            "conv_end_models.1.uppath.0.bias",
            "body_models.0.body.1.body.2.weight",
        ),
        (deblurgan_shapes(2, 1), "model.10.conv_block.6.bias", "model.14.weight"),
    ],
)
def test_official_files_that_do_not_fit_are_refused_with_the_list(
    tmp_path, shapes, remove, reshape
):
    path = tmp_path / "weights.pth"
    torch.save(spoiled(shapes, remove, reshape, **{"model.99.weight": torch.zeros(1)}), path)
    with pytest.raises(InputError) as caught:
        load_restorer_network(path, KINDS)
    message = str(caught.value)
    assert f"{remove}: missing" in message
    assert f"{reshape}: (1, 2), expected" in message
    assert "model.99.weight: has no place" in message


# --- files that are something else ---------------------------------------------------------------


class Trap:
    def __reduce__(self):
        return (print, ("run from a file",))


def test_no_code_from_a_file_is_run(tmp_path, capsys):
    path = tmp_path / "trap.pth"
    path.write_bytes(pickle.dumps({"a": Trap()}))
    torch.save({"a": Trap()}, tmp_path / "trap2.pth")
    for trap in (path, tmp_path / "trap2.pth"):
        with pytest.raises(InputError, match="running code"):
            load_restorer_network(trap, KINDS)
    assert "run from a file" not in capsys.readouterr().out


def test_damaged_and_foreign_files_are_refused(tmp_path, trained):
    whole = trained[0]
    torch.save(random_tensors(deblurgan_shapes(2, 1)), tmp_path / "whole.pth")
    files = {
        "empty.pth": b"",
        "text.pth": b"not weights at all\n" * 20,
        "page.safetensors": b"<html>sign in</html>",
        "cut.safetensors": whole.read_bytes()[:-100],
        "cut_header.safetensors": whole.read_bytes()[:50],
        "cut.pth": (tmp_path / "whole.pth").read_bytes()[:-200],
        "model.t7": b"\x04\x00\x00\x00\x01\x00\x00\x00",
    }
    for name, data in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(InputError, match=name):
            load_restorer_network(path, KINDS)
    for path in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(InputError, match="no weights can be read"):
            load_restorer_network(path, KINDS)
        with pytest.raises(InputError, match="no weights can be read"):
            load_checkpoint(path)


def test_unknown_layouts_are_refused_with_what_was_found(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"encoder.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"no known layout.*found encoder\.weight"):
        load_restorer_network(path, KINDS)
    with pytest.raises(InputError, match="not a checkpoint of this project"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"netG": state, "netD": {"model.0.weight": torch.ones(2)}, "step": 7},
        lambda state: {"params": state, "params_ema": state},
        lambda state: {"state_dict": {"netG": {f"_orig_mod.{k}": v for k, v in state.items()}}},
        lambda state: {f"module._orig_mod.{k}": v for k, v in state.items()},
    ],
)
def test_generators_load_from_whatever_trainers_wrap_them_in(tmp_path, wrapped):
    state = random_tensors(deblurgan_shapes(2, 1))
    path = tmp_path / "a.pth"
    torch.save(wrapped(state), path)
    network, _ = load_restorer_network(path, KINDS)
    assert same(dict(network.state_dict()), {name: state[name] for name in network.state_dict()})


def test_what_holds_no_state_dict_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    inside_itself = {}
    inside_itself["state_dict"] = inside_itself
    torch.save(inside_itself, path)
    with pytest.raises(InputError, match="something else: state_dict"):
        read_tensors(path)
    torch.save({"a": torch.ones(2), "epoch": 3}, path)
    with pytest.raises(InputError, match="something else: epoch"):
        read_tensors(path)
    torch.save([torch.ones(2)], path)
    with pytest.raises(InputError, match="found list"):
        read_tensors(path)


# --- the command ---------------------------------------------------------------------------------


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        run_command(checkpoints, [str(argument) for argument in arguments])
    return stopped.value.code


def test_show_describes_official_files_and_ours(tmp_path, trained, capsys):
    official = tmp_path / "model-1.pt"
    torch.save({"G": random_tensors(deepdeblur_pytorch_shapes(2, 1, 4))}, official)
    assert run("show", official) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["method"] == "deepdeblur"
    assert shown["architecture"]["pyramid"] == "pytorch-release"
    assert shown["sha256"] == sha256_of_file(official)
    assert sha256_of_file(official) in shown["source"]
    assert run("show", trained[0]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["method"], shown["step"], shown["source"]) == ("deblurgan", 1, None)


def test_the_command_fails_on_a_bad_file(tmp_path, capsys):
    path = tmp_path / "bad.pth"
    path.write_bytes(b"bad")
    assert run("show", path) == 2
    assert run("export", path, tmp_path / "out.onnx") == 2
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "out.onnx").exists()


def test_a_pipe_is_no_file_of_weights(tmp_path):
    """Opening one waits until somebody writes to it."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe: a file of weights was expected"):
        describe(tmp_path / "pipe", KINDS)


@pytest.mark.parametrize(
    ("field", "content"),
    [
        *(("record", text) for text in ("{}", "[1]", "null", "not JSON", '{"aNaNitecture": 1}')),
        *((field, text) for field in ("networks", "training") for text in ("not JSON", "[" * 9999)),
    ],
)
def test_a_checkpoint_whose_header_was_edited_is_refused(tmp_path, field, content):
    path = tmp_path / "c.safetensors"
    network = DeepDeblur(n_scales=1, n_resblocks=1, n_features=2)
    save_checkpoint(path, {"restorer": network}, method="deepdeblur", config={}, step=1)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert field in header
    header.pop("tensors_sha256", None)
    save_file(load_file(path), path, {**header, field: content})
    with pytest.raises(
        InputError, match=r"c\.safetensors: the header of the checkpoint is damaged"
    ):
        load_checkpoint(path)
