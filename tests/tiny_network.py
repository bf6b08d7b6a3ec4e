"""A network small enough to know its result: each pixel minus a part of its neighbours' mean."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

AMOUNT = 0.5


def write_sharpener(path: Path, size: tuple[int | str, int | str] = ("height", "width")) -> Path:
    """An ONNX file that sharpens (N, 3, H, W) RGB in [0, 1] with one 3x3 convolution."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.full((3, 3), -AMOUNT / 9, np.float32)
    kernel[1, 1] += 1 + AMOUNT
    weight = np.zeros((3, 3, 3, 3), np.float32)
    weight[[0, 1, 2], [0, 1, 2]] = kernel
    nodes = [
        helper.make_node("Pad", ["blurred", "pads"], ["padded"], mode="edge"),
        helper.make_node("Conv", ["padded", "weight"], ["sharper"], kernel_shape=[3, 3]),
        helper.make_node("Clip", ["sharper", "zero", "one"], ["restored"]),
    ]
    images = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, *size])
        for name in ("blurred", "restored")
    ]
    constants = {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "weight": weight,
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
    }
    graph = helper.make_graph(
        nodes, "sharpener", images[:1], images[1:],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def sharpened(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network gives, computed by OpenCV: (H, W, 3) in [0, 1]."""
    mean = cv2.blur(image, (3, 3), borderType=cv2.BORDER_REPLICATE)
    return np.clip((1 + AMOUNT) * image - AMOUNT * mean, 0, 1).astype(np.float32)
