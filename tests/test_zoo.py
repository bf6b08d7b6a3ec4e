"""The spandrel adapter, with random weights saved under the names of the official files."""

import csv
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_dataset import smooth_image, write_dataset
from torch import nn

from baselines import zoo
from baselines.methods import method_named, open_restorer
from baselines.options import RestoreOptions
from benchmarks.restore import restore_command
from benchmarks.table1 import run as steps
from benchmarks.table1.plan import Table1Config
from benchmarks.table1.run import run_table1
from gopro_tools.console import exit_code_of
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.records import read_record

spandrel = pytest.importorskip("spandrel")
CPU = RestoreOptions(device="cpu")


def nafnet() -> nn.Module:
    from spandrel.architectures.NAFNet import NAFNet

    network = NAFNet(width=4, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])
    # Fresh weights give back the input: these scales of its blocks start at zero.
    for name, parameter in network.named_parameters():
        if name.endswith(("beta", "gamma")):
            nn.init.constant_(parameter, 0.1)
    return network


def uformer() -> nn.Module:
    from spandrel.architectures.Uformer import Uformer

    with warnings.catch_warnings(action="ignore"):  # of torch.meshgrid's future
        return Uformer(img_size=256, embed_dim=4, depths=[1] * 9, num_heads=[1] * 9)


def fftformer() -> nn.Module:
    from spandrel.architectures.FFTformer import FFTformer

    return FFTformer(dim=8, num_blocks=[1, 1, 1], num_refinement_blocks=1)


def kbnet() -> nn.Module:
    from spandrel.architectures.KBNet import KBNet_s

    return KBNet_s(width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])


@pytest.fixture
def photo() -> Rgb:
    return smooth_image(np.random.default_rng(0), (53, 70))


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def restored_by_hand(network: nn.Module, photo: Rgb, multiple: int) -> Rgb:
    """The network itself, on an image padded as its authors' code does: mirrored to a multiple."""
    height, width = photo.shape[:2]
    pad = [(0, -height % multiple), (0, -width % multiple), (0, 0)]
    padded = np.pad(photo, pad, mode="reflect")
    images = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        values = network.eval()(images)[0].clamp(0, 1).permute(1, 2, 0).numpy()
    return np.rint(values[:height, :width] * 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("make", "wrapped", "multiple"),
    [
        (nafnet, "params", 1),  # pads by itself
        (uformer, "state_dict", 128),
        (fftformer, None, 32),
        (kbnet, "params", 16),
    ],
)
def test_official_files_are_recognised_and_restore(
    tmp_path: Path, photo: Rgb, make: Any, wrapped: str | None, multiple: int
) -> None:
    torch.manual_seed(0)
    network = make()
    tensors = network.state_dict()
    if wrapped == "state_dict":  # as DataParallel saves them, beside what training kept
        content: Any = {"epoch": 3, wrapped: {f"module.{k}": v for k, v in tensors.items()}}
    else:
        content = {wrapped: tensors} if wrapped else tensors
    weights = saved(tmp_path / "weights.pth", content)
    restored = open_restorer("spandrel", weights, CPU).restore(photo)
    assert restored.shape == photo.shape
    assert not np.array_equal(restored, photo)
    expected = restored_by_hand(network, photo, multiple)
    inner = (slice(0, 40), slice(0, 56))  # ways to pad differ at the border
    difference = np.abs(restored[inner].astype(int) - expected[inner])
    assert np.mean(difference > 1) < (0.01 if multiple < 128 else 0.1)


def test_restore_takes_it_and_records_the_weights(tmp_path: Path, photo: Rgb) -> None:
    weights = saved(tmp_path / "net.pth", nafnet().state_dict())
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    out = tmp_path / "out"
    code = exit_code_of(
        lambda: restore_command(
            tmp_path / "photo.png", method="spandrel", weights=weights, out=out, options=CPU
        )
    )
    assert code == 0
    assert read_rgb(out / "photo.png").shape == photo.shape
    record = read_record(out)
    assert (record.method, record.scale) == ("spandrel", None)
    assert record.weights_sha256


def test_tiles_give_the_whole_image(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = saved(tmp_path / "net.pth", nafnet().state_dict())
    photo = smooth_image(np.random.default_rng(1), (64, 140))
    whole = open_restorer("spandrel", weights, CPU).restore(photo).astype(int)
    options = RestoreOptions(device="cpu", tile=96)
    tiled = open_restorer("spandrel", weights, options).restore(photo)
    assert np.abs(whole - tiled).mean() < 2


def test_what_cannot_be_opened_says_so_in_a_sentence(tmp_path: Path) -> None:
    from spandrel.architectures.RCAN import RCAN

    unknown = saved(tmp_path / "unknown.pth", {"layer.weight": torch.zeros(3)})
    tensors = nafnet().state_dict()
    del tensors["decoders.0.0.conv1.weight"]
    partial = saved(tmp_path / "partial.pth", tensors)
    larger = saved(tmp_path / "larger.pth", RCAN(n_resgroups=1, n_resblocks=1).state_dict())
    code = saved(tmp_path / "code.pth", nafnet())  # a whole module: reading it would run code
    for path, message in (
        (None, "needs --weights FILE"),
        (tmp_path / "absent.pth", "no weights can be read there"),
        (unknown, "no network that spandrel knows"),
        (partial, "no network that spandrel knows"),
        (larger, "at the images. own size was expected"),
        (code, "running code from it"),
    ):
        with pytest.raises(InputError, match=message) as error:
            open_restorer("spandrel", path, CPU)
        assert "\n" not in str(error.value)


def test_a_network_that_overflows_in_bf16_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = saved(tmp_path / "net.pth", nafnet().state_dict())
    model = zoo.read_network(whole)
    model.supports_bfloat16 = False
    monkeypatch.setattr(zoo, "read_network", lambda weights: model)
    with pytest.raises(InputError, match="NAFNet does not compute in bf16"):
        open_restorer("spandrel", whole, RestoreOptions(device="cpu", precision="bf16"))


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = saved(tmp_path / "net.pth", nafnet().state_dict())
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(InputError, match=r"pip install '\.\[zoo\]'"):
        open_restorer("spandrel", weights, CPU)


def test_table_1_compares_it_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    weights = saved(tmp_path / "net.pth", nafnet().state_dict())
    write_dataset(tmp_path / "data")
    config = Table1Config(
        out=tmp_path / "table1",
        data=tmp_path / "data",
        methods=(f"nafnet=spandrel:weights={weights}",),
        device="cpu",
    )
    monkeypatch.setattr(steps, "SHOWN_SIZE_HW", (48, 64))
    result = run_table1(config)
    assert result is not None
    assert not result.run.results["failures"]
    with (result.folder / "scores" / "summary.csv").open(newline="") as file:
        methods = {row["method"] for row in csv.DictReader(file)}
    assert methods == {"blurred", "nafnet"}
    record = read_record(result.folder)
    assert record.methods["nafnet"]["weights_sha256"]


def test_weights_of_a_method_of_ours_are_named_the_same_way(tmp_path: Path) -> None:
    weights = tmp_path / "net.safetensors"
    with pytest.raises(InputError, match="no such weight file"):
        method_named(f"mine=deepdeblur-k3:weights={weights}")
    weights.write_bytes(b"{")
    method = method_named(f"mine=deepdeblur-k3:weights={weights}")
    assert (method.name, method.weights, method.learner) == ("mine", weights, None)
