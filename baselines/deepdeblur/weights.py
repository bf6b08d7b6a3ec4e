"""Weights of DeepDeblur in the author's PyTorch files."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from baselines.checkpoints.tensors import load_into
from baselines.deepdeblur.network import DeepDeblur


def load_deepdeblur_pytorch(tensors: Mapping[str, Tensor], path: Path) -> DeepDeblur | None:
    """DeepDeblur-PyTorch's MSResNet: depth and width are read off its names and shapes."""
    if not any(name.startswith("body_models.") for name in tensors):
        return None
    places = [re.match(r"body_models\.(\d+)\.body\.(\d+)\.", name) for name in tensors]
    scales = {int(place[1]) for place in places if place}
    n_convolved = max((int(place[2]) for place in places if place), default=0)
    first = tensors.get("body_models.0.body.0.weight")
    network = DeepDeblur(
        n_scales=len(scales),
        n_resblocks=max(n_convolved - 1, 1),
        n_features=64 if first is None else len(first),
        pyramid="pytorch-release",
    )
    scaled = {
        name: tensor.float() / 255 if name.endswith(".bias") else tensor
        for name, tensor in tensors.items()
    }
    load_into(network, scaled, f"{path} (DeepDeblur-PyTorch)", _deepdeblur_pytorch_name)
    return network


def _deepdeblur_pytorch_name(ours: str) -> str:
    """`scale_networks.0.4.conv2.bias` -> `body_models.0.body.4.body.2.bias`, and so on."""
    owner, index, *rest = ours.split(".")
    if owner == "up_convolutions":  # the release counts them by the scale they come from
        return ".".join(["conv_end_models", str(int(index) + 1), "uppath", *rest])
    inside = {"conv1": "body.0", "conv2": "body.2"}
    return ".".join(["body_models", index, "body", *(inside.get(part, part) for part in rest)])
