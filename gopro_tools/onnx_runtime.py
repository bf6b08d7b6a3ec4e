"""Running ONNX files: with onnxruntime where it is installed, with OpenCV everywhere.

OpenCV is part of the base install, so that networks run without torch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.onnx_process import silence_onnxruntime

Run: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A network with one input and one output of interest: a batch in, its result out."""


def with_onnxruntime(path: Path) -> Run:
    """Open a file with onnxruntime, on the CPU: results are the same on every machine.

    Raises:
        InputError: onnxruntime is not installed.
        Exception: onnxruntime's own, where it cannot read the file.
    """
    silence_onnxruntime()
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "onnxruntime is not installed: pip install onnxruntime, or --runtime opencv."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {name: batch})[0], np.float32)


def with_opencv(path: Path) -> Run:
    """Open a file with OpenCV.

    Raises:
        cv2.error: OpenCV cannot read the file.
    """
    # From memory: OpenCV's own file access fails on names outside the code page of Windows.
    network = cv2.dnn.readNetFromONNX(np.frombuffer(path.read_bytes(), np.uint8))

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        network.setInput(batch)
        # OpenCV reuses the output's memory on the next run.
        return np.array(network.forward(), np.float32)

    return run
