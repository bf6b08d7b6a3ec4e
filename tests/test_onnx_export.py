"""Checkpoints as ONNX files that other programs run."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from baselines.checkpoints.restorers import export_onnx
from baselines.checkpoints.store import save_checkpoint
from baselines.deblurgan.network import Dropout, Generator
from baselines.deepdeblur.network import DeepDeblur
from baselines.methods import KINDS
from baselines.sun2015.network import Sun2015
from gopro_tools.errors import InputError

NETWORKS = {
    "deepdeblur-k1": lambda: DeepDeblur(1, 2, 8),
    "deepdeblur-k2": lambda: DeepDeblur(2, 2, 8),
    "deepdeblur-k3": lambda: DeepDeblur(3, 2, 8),
    "deblurgan": lambda: Generator(8, 2),
    "deblurgan-direct": lambda: Generator(8, 2, learn_residual=False, up_kernel_px=4),
}
SIZES_HW = [(64, 80), (61, 87), (33, 34), (5, 7)]


def saved(path: Path, name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    if isinstance(network, Generator):
        for module in network.modules():
            if isinstance(module, Dropout):
                module.at_test = False
    method = name.partition("-")[0]
    save_checkpoint(path, {"restorer": network}, method=method, config={"a": 1}, step=7)
    return network


def codes(network: torch.nn.Module, images: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        restored = network(images)
    restored = restored[0] if isinstance(restored, list) else restored
    return np.rint(restored.clamp(0, 1).numpy() * 255)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_exported_network_restores_any_size_as_torch_does(tmp_path: Path, name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = saved(tmp_path / "network.safetensors", name)
    record = export_onnx(tmp_path / "network.safetensors", tmp_path / "network.onnx", KINDS)
    assert record.step == 7
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    opencv = cv2.dnn.readNetFromONNX(str(tmp_path / "network.onnx"))
    for size_hw in SIZES_HW:
        images = torch.rand(1, 3, *size_hw)
        expected = codes(network, images)
        (by_runtime,) = session.run(None, {"blurred": images.numpy()})
        opencv.setInput(images.numpy())
        for restored in (by_runtime, opencv.forward()):
            assert restored.shape == (1, 3, *size_hw)
            assert 0 <= restored.min() <= restored.max() <= 1
            assert np.abs(np.rint(restored * 255) - expected).max() <= 1
    assert b".py" not in (tmp_path / "network.onnx").read_bytes()  # no paths of this machine
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["method"] == name.partition("-")[0]
    assert json.loads(metadata["record"])["config"] == {"a": 1}


def test_what_cannot_be_exported_says_so(tmp_path: Path) -> None:
    weights = tmp_path / "network.safetensors"
    saved(weights, "deepdeblur-k1")
    with pytest.raises(InputError, match=r"ends in \.onnx"):
        export_onnx(weights, tmp_path / "network.pt", KINDS)
    mirrored = DeepDeblur(2, 1, 8, "pytorch-release")
    save_checkpoint(weights, {"restorer": mirrored}, method="deepdeblur", config={}, step=0)
    with pytest.raises(InputError, match="pyramid torch7"):
        export_onnx(weights, tmp_path / "network.onnx", KINDS)
    save_checkpoint(weights, {"restorer": Sun2015()}, method="sun2015", config={}, step=0)
    with pytest.raises(InputError, match="only deepdeblur and deblurgan"):
        export_onnx(weights, tmp_path / "network.onnx", KINDS)
    assert not (tmp_path / "network.onnx").exists()
