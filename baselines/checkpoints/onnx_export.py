"""Restoring networks as ONNX files, which OpenCV, onnxruntime and browsers run without PyTorch.

The graph is written node by node, so that it holds only what the network is: convolutions and sums,
and the padding of sizes that do not halve. Input ``blurred`` and output ``restored`` are
(N, 3, H, W) float32 RGB in [0, 1] of any H and W, the output clipped.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from baselines.checkpoints.restorers import load_restorer_network
from baselines.checkpoints.store import CheckpointRecord, NetworkKind
from baselines.deblurgan.network import Dropout, Generator
from baselines.deblurgan.network import ResBlock as DeblurGanBlock
from baselines.deepdeblur.network import TORCH7_TAPS, DeepDeblur
from baselines.deepdeblur.network import ResBlock as DeepDeblurBlock
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file, write_atomic

if TYPE_CHECKING:
    import onnx

OPSET = 17
"""What OpenCV 4.10 and onnxruntime 1.14 read, and later ones."""

_IR_VERSION = 8  # of the same age


def export_onnx(path: Path, out: Path, kinds: Sequence[NetworkKind]) -> CheckpointRecord:
    """Write the restoring network of a weight file as ONNX.

    Args:
        path: One of our checkpoints, or an official file; see `load_restorer_network`.
        out: Ends in ``.onnx``.
        kinds: What is expected.

    Returns:
        What is known of the weights; the file's metadata hold it too.

    Raises:
        InputError: The weights cannot be loaded or exported, ``out`` has another suffix, or the
            package ``onnx`` is not installed.
    """
    if out.suffix != ".onnx":
        raise InputError(f"{out}: the name of an ONNX file ends in .onnx.")
    network, record = load_restorer_network(path, kinds)
    if isinstance(network, DeepDeblur):
        model = _deepdeblur_model(network)
    elif isinstance(network, Generator):
        model = _generator_model(network)
    else:
        raise InputError(
            f"{path}: {record.method} is a motion classifier, to which deconvolution belongs; only "
            "deepdeblur and deblurgan are exported."
        )
    known = {"weights_sha256": sha256_of_file(path), "record": json.dumps(asdict(record))}
    for key, value in {"method": record.method, **known}.items():
        model.metadata_props.add(key=key, value=value)
    write_atomic(out, model.SerializeToString())
    return record


class _Graph:
    """Nodes and constants as they are added."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as error:
            raise InputError(
                "Exporting needs the package onnx: pip install 'gopro-tools[onnx]'."
            ) from error
        self._onnx = onnx
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, and name its output."""
        name = f"{operator.lower()}{len(self._nodes)}"
        node = self._onnx.helper.make_node(operator, list(inputs), [name], name, **attributes)
        self._nodes.append(node)
        return name

    def constant(self, values: Any, dtype: type = np.float32) -> str:
        """Add a constant, and name it."""
        name = f"constant{len(self._constants)}"
        array: NDArray[Any] = np.asarray(values, dtype)
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def integers(self, *values: int) -> str:
        """A constant vector of sizes or places."""
        return self.constant(values, np.int64)

    def model(self, restored: str) -> "onnx.ModelProto":
        """The whole, checked; its output is the node ``restored``, clipped."""
        helper = self._onnx.helper
        limits = (self.constant(0.0), self.constant(1.0))
        self._nodes.append(helper.make_node("Clip", [restored, *limits], ["restored"], "clip"))
        images = [
            helper.make_tensor_value_info(
                name, self._onnx.TensorProto.FLOAT, ["n", 3, "height", "width"]
            )
            for name in ("blurred", "restored")
        ]
        graph = helper.make_graph(self._nodes, "restorer", images[:1], images[1:], self._constants)
        model: onnx.ModelProto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="gopro_tools",
        )
        self._onnx.checker.check_model(model, full_check=True)
        return model

    # --- sizes ---

    def padded(self, images: str, multiple: int, least: int = 1) -> str:
        """Repeat the last row and column, as `baselines.deepdeblur.pad_to_multiple`."""
        size = self.size_of(images)
        side = self.add("Max", size, self.integers(least)) if least > 1 else size
        # Rounded up: minus the whole part of minus side / multiple; Mod has its divisor's sign.
        short = self.add("Mod", self.add("Neg", side), self.integers(multiple))
        missing = self.add("Sub", self.add("Add", side, short), size)
        pads = self.add("Concat", self.integers(0, 0, 0, 0, 0, 0), missing, axis=0)
        return self.add("Pad", images, pads, mode="edge")

    def size_of(self, images: str) -> str:
        """Height and width."""
        ends = (self.integers(2), self.integers(4), self.integers(0))
        return self.add("Slice", self.add("Shape", images), *ends)

    def cropped(self, images: str, size: str) -> str:
        """The first rows and columns."""
        return self.add("Slice", images, self.integers(0, 0), size, self.integers(2, 3))

    # --- layers ---

    def layers(self, module: nn.Module, x: str) -> str:
        """Whatever the networks of this project are made of."""
        if isinstance(module, nn.Sequential):
            for part in module:
                x = self.layers(part, x)
            return x
        if isinstance(module, nn.Conv2d):
            return self.add(
                "Conv", x, *self._weights(module),
                kernel_shape=module.kernel_size, strides=module.stride,
                pads=[*module.padding, *module.padding],
            )  # fmt: skip
        if isinstance(module, nn.ConvTranspose2d):
            return self.add(
                "ConvTranspose", x, *self._weights(module),
                kernel_shape=module.kernel_size, strides=module.stride,
                pads=[*module.padding, *module.padding], output_padding=module.output_padding,
            )  # fmt: skip
        if isinstance(module, DeepDeblurBlock):
            inside = self.add("Relu", self.layers(module.conv1, x))
            return self.add("Add", x, self.layers(module.conv2, inside))
        if isinstance(module, DeblurGanBlock):
            return self.add("Add", x, self.layers(module.conv_block, x))
        if isinstance(module, nn.InstanceNorm2d):
            scale, shift = np.ones(module.num_features), np.zeros(module.num_features)
            return self.add(
                "InstanceNormalization", x, self.constant(scale), self.constant(shift),
                epsilon=module.eps,
            )  # fmt: skip
        if isinstance(module, nn.ReflectionPad2d):
            left, right, top, bottom = module.padding
            pads = self.integers(0, 0, top, left, 0, 0, bottom, right)
            return self.add("Pad", x, pads, mode="reflect")
        if isinstance(module, nn.PixelShuffle):
            return self.add("DepthToSpace", x, blocksize=module.upscale_factor, mode="CRD")
        if isinstance(module, nn.ReLU | nn.Tanh):
            return self.add({nn.ReLU: "Relu", nn.Tanh: "Tanh"}[type(module)], x)
        if isinstance(module, Dropout):
            return x  # an exported network restores the same image the same way
        raise InputError(f"{type(module).__name__}: a layer that is not exported.")

    def _weights(self, module: nn.Conv2d | nn.ConvTranspose2d) -> list[str]:
        tensors = [module.weight] if module.bias is None else [module.weight, module.bias]
        return [self.constant(tensor.detach().numpy()) for tensor in tensors]


def _deepdeblur_model(network: DeepDeblur) -> "onnx.ModelProto":
    if network.n_scales > 1 and network.pyramid_kind != "torch7":
        raise InputError(
            f"The pyramid {network.pyramid_kind} mirrors its borders in a way that ONNX has no "
            "operator for; weights trained with the pyramid torch7, or one scale, are exported."
        )
    graph = _Graph()
    x, half = "blurred", graph.constant(0.5)
    if network.n_scales > 1:
        x = graph.padded(x, 2 ** (network.n_scales - 1))
    levels = [graph.add("Sub", x, half)]
    if network.n_scales > 1:
        # The pyramid of what differs from the mean: then zeros surround it, as in Torch7.
        mean = graph.add("ReduceMean", x, axes=[2, 3])
        level, shift = graph.add("Sub", x, mean), graph.add("Sub", half, mean)
        kernel = graph.constant(np.tile(np.outer(TORCH7_TAPS, TORCH7_TAPS), (3, 1, 1, 1)))
        for _ in range(1, network.n_scales):
            level = graph.add(
                "Conv", level, kernel,
                kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], group=3,
            )  # fmt: skip
            # Not a sum: OpenCV would take that for a residual of the convolution's own size.
            levels.append(graph.add("Sub", level, shift))
    restored = ""
    for k in reversed(range(network.n_scales)):
        seen = levels[k]
        if restored:
            seen = graph.add(
                "Concat", seen, graph.layers(network.up_convolutions[k], restored), axis=1
            )
        restored = graph.layers(network.scale_networks[k], seen)
    restored = graph.add("Add", restored, half)
    if network.n_scales > 1:
        restored = graph.cropped(restored, graph.size_of("blurred"))
    return graph.model(restored)


def _generator_model(network: Generator) -> "onnx.ModelProto":
    graph = _Graph()
    one, two = graph.constant(1.0), graph.constant(2.0)
    signed = graph.add("Sub", graph.add("Mul", graph.padded("blurred", 4, least=8), two), one)
    restored = graph.add("Add", signed, graph.layers(network.model, signed))
    codes = graph.add("Div", graph.add("Add", restored, one), two)
    return graph.model(graph.cropped(codes, graph.size_of("blurred")))
