"""Restoring networks as ONNX files, which OpenCV, onnxruntime and browsers run without PyTorch.

Graphs are written node by node, so that they hold only what a network is: convolutions and sums,
and the padding of sizes that cannot be halved. Each `NetworkKind` adds its own nodes (``export``)
to what is common here. Input ``blurred`` and output ``restored`` are (N, 3, H, W) float32 RGB in
[0, 1] of any H and W, the output clipped.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from gopro_tools.errors import InputError, installs

if TYPE_CHECKING:
    import onnx

OPSET = 17
"""What OpenCV 4.10 and onnxruntime 1.14 read, and later ones."""

BLURRED = "blurred"
"""Name of the input."""

_IR_VERSION = 8  # of the same age
_FUNCTIONS: dict[type[nn.Module], str] = {nn.ReLU: "Relu", nn.Tanh: "Tanh"}


class OnnxGraph:
    """Nodes and constants of a graph; methods that add a node return the name of its output."""

    def __init__(self) -> None:
        """Start an empty graph.

        Raises:
            InputError: The package ``onnx`` is not installed.
        """
        try:
            import onnx
        except ImportError as error:
            raise InputError(f"Exporting needs the package onnx: {installs('onnx')}.") from error
        self._onnx = onnx
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node."""
        name = f"{operator.lower()}{len(self._nodes)}"
        node = self._onnx.helper.make_node(operator, list(inputs), [name], name, **attributes)
        self._nodes.append(node)
        return name

    def constant(self, values: Any, dtype: type = np.float32) -> str:
        """Add a constant."""
        name = f"constant{len(self._constants)}"
        array: NDArray[Any] = np.asarray(values, dtype)
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def integers(self, *values: int) -> str:
        """Add a constant vector of sizes or indices."""
        return self.constant(values, np.int64)

    def model(self, restored: str) -> "onnx.ModelProto":
        """The checked model; its output is the node ``restored``, clipped to [0, 1]."""
        helper = self._onnx.helper
        limits = (self.constant(0.0), self.constant(1.0))
        self._nodes.append(helper.make_node("Clip", [restored, *limits], ["restored"], "clip"))
        images = [
            helper.make_tensor_value_info(
                name, self._onnx.TensorProto.FLOAT, ["n", 3, "height", "width"]
            )
            for name in (BLURRED, "restored")
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

    def padded(self, images: str, multiple: int, least: int = 1) -> str:
        """Repeat the last row and column, as `baselines.deepdeblur.pad_to_multiple`."""
        size = self._size_of(images)
        side = self.add("Max", size, self.integers(least)) if least > 1 else size
        # Rounded up: minus the whole part of minus side / multiple; Mod has its divisor's sign.
        short = self.add("Mod", self.add("Neg", side), self.integers(multiple))
        missing = self.add("Sub", self.add("Add", side, short), size)
        pads = self.add("Concat", self.integers(0, 0, 0, 0, 0, 0), missing, axis=0)
        return self.add("Pad", images, pads, mode="edge")

    def cropped(self, images: str) -> str:
        """Crop to the size of the input."""
        size = self._size_of(BLURRED)
        return self.add("Slice", images, self.integers(0, 0), size, self.integers(2, 3))

    def _size_of(self, images: str) -> str:
        ends = (self.integers(2), self.integers(4), self.integers(0))
        return self.add("Slice", self.add("Shape", images), *ends)

    def layers(self, module: nn.Module, x: str) -> str:
        """Add a layer, a sequence of layers, or a residual block with a ``branch``.

        Raises:
            InputError: A layer of another type.
        """
        if isinstance(module, nn.Sequential):
            for part in module:
                x = self.layers(part, x)
            return x
        if isinstance(branch := getattr(module, "branch", None), nn.Module):
            return self.add("Add", x, self.layers(branch, x))
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            tensors = [module.weight] if module.bias is None else [module.weight, module.bias]
            attributes: dict[str, Any] = {
                "kernel_shape": module.kernel_size,
                "strides": module.stride,
                "pads": [*module.padding, *module.padding],
            }
            if isinstance(module, nn.ConvTranspose2d):
                attributes["output_padding"] = module.output_padding
            weights = [self.constant(tensor.detach().numpy()) for tensor in tensors]
            return self.add(type(module).__name__.removesuffix("2d"), x, *weights, **attributes)
        if isinstance(module, nn.InstanceNorm2d):
            scale, shift = np.ones(module.num_features), np.zeros(module.num_features)
            parameters = (self.constant(scale), self.constant(shift))
            return self.add("InstanceNormalization", x, *parameters, epsilon=module.eps)
        if isinstance(module, nn.ReflectionPad2d):
            left, right, top, bottom = module.padding
            pads = self.integers(0, 0, top, left, 0, 0, bottom, right)
            return self.add("Pad", x, pads, mode="reflect")
        if isinstance(module, nn.PixelShuffle):
            return self.add("DepthToSpace", x, blocksize=module.upscale_factor, mode="CRD")
        if type(module) in _FUNCTIONS:
            return self.add(_FUNCTIONS[type(module)], x)
        if isinstance(module, nn.Dropout):
            return x  # an exported network restores the same image the same way
        raise InputError(f"{type(module).__name__}: a layer that is not exported.")
