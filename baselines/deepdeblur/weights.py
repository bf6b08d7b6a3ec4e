"""Weights of DeepDeblur in other forms: the author's PyTorch files in, ONNX out."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from baselines.checkpoints.onnx_graph import BLURRED, OnnxGraph
from baselines.checkpoints.tensors import load_into
from baselines.deepdeblur.network import DeepDeblur
from baselines.deepdeblur.pyramid import TORCH7_TAPS
from gopro_tools.errors import InputError

LAYOUT = "DeepDeblur-PyTorch (body_models.0.body.0.weight, …)"


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


def export_deepdeblur(network: DeepDeblur, graph: OnnxGraph) -> str:
    """Add the network to a graph, and name the restored image.

    Raises:
        InputError: Its pyramid has no operator in ONNX.
    """
    n_scales = network.n_scales
    if n_scales > 1 and network.pyramid_kind != "torch7":
        raise InputError(
            f"The pyramid {network.pyramid_kind} mirrors its borders in a way that ONNX has no "
            "operator for; weights trained with the pyramid torch7, or one scale, are exported."
        )
    half = graph.constant(0.5)
    finest = graph.padded(BLURRED, 2 ** (n_scales - 1)) if n_scales > 1 else BLURRED
    levels = [graph.add("Sub", finest, half)]
    if n_scales > 1:
        # The pyramid of what differs from the mean: then zeros surround it, as in Torch7.
        mean = graph.add("ReduceMean", finest, axes=[2, 3])
        level, shift = graph.add("Sub", finest, mean), graph.add("Sub", half, mean)
        kernel = graph.constant(np.tile(np.outer(TORCH7_TAPS, TORCH7_TAPS), (3, 1, 1, 1)))
        halving = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "group": 3}
        for _ in range(1, n_scales):
            level = graph.add("Conv", level, kernel, **halving)
            # Not a sum: OpenCV would take that for a residual of the convolution's own size.
            levels.append(graph.add("Sub", level, shift))
    restored = ""
    for k in reversed(range(n_scales)):
        seen = levels[k]
        if restored:
            enlarged = graph.layers(network.up_convolutions[k], restored)
            seen = graph.add("Concat", seen, enlarged, axis=1)
        restored = graph.layers(network.scale_networks[k], seen)
    restored = graph.add("Add", restored, half)
    return graph.cropped(restored) if n_scales > 1 else restored
