"""Running an ONNX file of unknown origin in a process of its own.

A damaged file crashes the libraries that run it, and takes the whole program with it. Here that is
one message: the file runs in a child process with a limit on memory and on time, and batches and
results go through pipes.
"""

import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from gopro_tools.errors import InputError

OnnxLibrary: TypeAlias = Literal["onnxruntime", "opencv"]

OPEN_TIMEOUT_S = 300.0
RUN_TIMEOUT_S = 900.0
_MEMORY_SHARE = 0.75
_READY, _RESULT, _FAILED = b"o", b"r", b"e"
_MOST_BYTES = 2**33
_DTYPES: dict[int, type[np.floating[Any]]] = {2: np.float16, 4: np.float32}


class OnnxProcess:
    """An ONNX network in a process of its own.

    Args:
        path: The file.
        library: What runs it there.

    Raises:
        InputError: The library cannot open the file, crashes on it, or takes too long.
    """

    def __init__(self, path: Path, library: OnnxLibrary):
        self._path, self._library = path, library
        here = str(Path(__file__).resolve().parent.parent)
        paths = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
        self._child = subprocess.Popen(
            [sys.executable, "-m", "gopro_tools.onnx_process", str(path), library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths},
        )
        try:
            self._answer(OPEN_TIMEOUT_S)
        except BaseException:
            self.close()
            raise

    def __call__(self, batch: NDArray[np.floating[Any]]) -> list[NDArray[np.float32]]:
        """Every output for a batch: (N, 3, H, W) float32, or float16 where the network takes it.

        Raises:
            InputError: The network failed, crashed or took too long.
        """
        assert self._child.stdin is not None
        try:
            _write_arrays(self._child.stdin, [batch])
        except OSError as error:
            raise self._died() from error
        return self._answer(RUN_TIMEOUT_S)

    def close(self) -> None:
        """End the process."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __del__(self) -> None:
        if hasattr(self, "_child"):
            self.close()

    def _answer(self, timeout_s: float) -> list[NDArray[np.float32]]:
        assert self._child.stdout is not None
        until = time.monotonic() + timeout_s
        read = _reader(self._child.stdout, until)
        try:
            kind = read(1)
            if kind == _FAILED:
                reason = read(struct.unpack("<I", read(4))[0]).decode(errors="replace")
                raise InputError(f"{self._path}: {self._library} cannot run it ({reason}).")
            return [] if kind == _READY else _read_arrays(read)
        except TimeoutError as error:
            raise InputError(
                f"{self._path}: {self._library} took more than {timeout_s:.0f} s for it."
            ) from error
        except EOFError as error:
            raise self._died() from error

    def _died(self) -> InputError:
        code = self._child.wait()
        how = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        return InputError(
            f"{self._path}: {self._library} crashed on it ({how}); is the file complete, and does "
            "it fit into memory?"
        )


def _reader(pipe: IO[bytes], until: float) -> Callable[[int], bytes]:
    """Read exactly this many bytes, or raise EOFError or TimeoutError."""
    descriptor = pipe.fileno()

    def read(n_bytes: int) -> bytes:
        parts: list[bytes] = []
        while n_bytes:
            if (
                os.name == "posix"
                and not select.select(
                    [descriptor], [], [], max(0.0, min(until - time.monotonic(), 1e6))
                )[0]
            ):
                raise TimeoutError
            part = os.read(descriptor, min(n_bytes, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            n_bytes -= len(part)
        return b"".join(parts)

    return read


def _write_arrays(pipe: IO[bytes], arrays: Sequence[NDArray[np.floating[Any]]]) -> None:
    pipe.write(struct.pack("<I", len(arrays)))
    for array in arrays:
        pipe.write(struct.pack(f"<II{array.ndim}q", array.itemsize, array.ndim, *array.shape))
        pipe.write(np.ascontiguousarray(array).tobytes())
    pipe.flush()


def _read_arrays(read: Callable[[int], bytes]) -> list[NDArray[Any]]:
    arrays = []
    for _ in range(struct.unpack("<I", read(4))[0]):
        item_bytes, n_axes = struct.unpack("<II", read(8))
        shape = struct.unpack(f"<{n_axes}q", read(8 * n_axes))
        n_bytes = item_bytes * int(np.prod(shape, dtype=object))
        if n_bytes > _MOST_BYTES:
            raise EOFError
        arrays.append(np.frombuffer(read(n_bytes), _DTYPES[item_bytes]).reshape(shape))
    return arrays


def silence_onnxruntime() -> None:
    """Keep onnxruntime from storing and sending telemetry, as its official builds do by default.

    It reads this once, when it is first imported.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _opened(path: str, library: str) -> Callable[[NDArray[Any]], list[NDArray[np.float32]]]:
    if library == "opencv":
        network = cv2.dnn.readNetFromONNX(np.fromfile(path, np.uint8))
        names = network.getUnconnectedOutLayersNames()

        def run_opencv(batch: NDArray[Any]) -> list[NDArray[np.float32]]:
            network.setInput(batch.astype(np.float32))
            return [np.array(found, np.float32) for found in network.forward(names)]

        return run_opencv
    silence_onnxruntime()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # CPU only: results are the same on every machine.
    session = onnxruntime.InferenceSession(
        path, sess_options=options, providers=["CPUExecutionProvider"]
    )
    first = session.get_inputs()[0]
    dtype = np.float16 if "float16" in first.type else np.float32

    def run_onnxruntime(batch: NDArray[Any]) -> list[NDArray[np.float32]]:
        found = session.run(None, {first.name: batch.astype(dtype)})
        return [np.asarray(one, np.float32) for one in found if isinstance(one, np.ndarray)]

    return run_onnxruntime


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        least = int(psutil.virtual_memory().total * _MEMORY_SHARE)
        resource.setrlimit(resource.RLIMIT_DATA, (least, least))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve(path: str, library: str) -> None:
    """The child: open the file, then answer batches until the parent closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with results
    _limit_memory()

    def failed(error: BaseException) -> None:
        reason = " ".join(str(error).split())[:500].encode() or type(error).__name__.encode()
        answers.write(_FAILED + struct.pack("<I", len(reason)) + reason)
        answers.flush()

    try:
        run = _opened(path, library)
    except BaseException as error:  # whatever the libraries raise
        failed(error)
        return
    answers.write(_READY)
    answers.flush()
    read = _reader(sys.stdin.buffer, float("inf"))
    while True:
        try:
            (batch,) = _read_arrays(read)
        except EOFError:
            return
        try:
            results = run(batch)
        except BaseException as error:
            failed(error)
            continue
        answers.write(_RESULT)
        _write_arrays(answers, results)


if __name__ == "__main__":
    _serve(*sys.argv[1:3])
