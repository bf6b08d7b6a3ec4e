"""What works on this machine, what is missing, and how to get it: ``python -m gopro_tools.doctor``.

Parts are tried rather than looked up: packages are imported, a video is encoded. A part that is
installed and does not work is reported as broken, which no list of packages would show. So each is
loaded where it is tried.
"""

import importlib
import importlib.metadata
import importlib.util
import io
import json
import platform
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gopro_tools import __version__
from gopro_tools.console import EXIT_FINDINGS, run_command
from gopro_tools.errors import InputError, installs
from gopro_tools.threads import n_cores

Status = Literal["works", "missing", "broken"]

_EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("torch", "torchvision", "safetensors", "lpips", "scikit-learn"),
    "detect": ("onnxruntime", "ultralytics", "ai-edge-litert"),
    "report": ("matplotlib",),
    "export": ("lmdb",),
    "download": ("huggingface-hub",),
    "distributed": ("distributed",),
    "storage": ("fsspec",),
    "s3": ("s3fs",),
    "gs": ("gcsfs",),
    "onnx": ("onnx", "onnxscript"),
    "zoo": ("spandrel",),
}
_IMPORT_NAMES = {
    "scikit-learn": "sklearn",
    "ai-edge-litert": "ai_edge_litert",
    "huggingface-hub": "huggingface_hub",
}
_NOT_IMPORTED = ("ultralytics",)
_RELU_NETWORK = bytes.fromhex(
    "08083a4b0a0c0a0178120179220452656c751201675a1b0a017812160a14080112100a0208010a0208010a0208020a"
    "020802621b0a017912160a14080112100a0208010a0208010a0208020a0208024202100d"
)
"""An ONNX file: y = Relu(x) of shape (1, 1, 2, 2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One thing that the tools can use, and whether it works here."""

    group: str
    """python, packages, video, networks, devices, metrics, files."""
    name: str
    """Such as ``H.264 encoder``."""
    status: Status
    """``missing``: not installed. ``broken``: installed, and it failed when it was tried."""
    detail: str = ""
    """Version, path, or what went wrong."""
    hint: str = ""
    """What to do to get it; empty where it works."""
    required: bool = False
    """Whether the base install cannot do without it."""


def examine() -> list[Part]:
    """Try every part.

    Returns:
        Parts by group, required ones first. Takes seconds where torch is installed, as importing it
        is how devices are found.
    """
    from gopro_tools.onnx_process import silence_onnxruntime

    silence_onnxruntime()
    return [
        *_python_parts(),
        *_package_parts(),
        *_video_parts(),
        *_detector_parts(),
        *_device_parts(),
        *_metric_parts(),
        *_file_parts(),
    ]


def _tried(
    group: str, name: str, attempt: Callable[[], str], hint: str, *, required: bool = False
) -> Part:
    """The part as `attempt` finds it, which returns details or raises."""
    status: Status
    try:
        status, detail, hint = "works", attempt(), ""
    except ImportError as error:
        status, detail = "missing", str(error)
    except Exception as error:  # whatever a broken library raises is the finding
        status, detail = "broken", f"{type(error).__name__}: {error}".splitlines()[0]
    return Part(group=group, name=name, status=status, detail=detail, hint=hint, required=required)


def _python_parts() -> list[Part]:
    return [
        Part(
            group="python",
            name="Python",
            status="works",
            detail=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
            required=True,
        ),
        Part(group="python", name="gopro_tools", status="works", detail=__version__, required=True),
    ]


def _package_parts() -> list[Part]:
    def found(package: str) -> str:
        name = _IMPORT_NAMES.get(package, package)
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError("not installed")
        if package in _NOT_IMPORTED:
            return f"{importlib.metadata.version(package)} (not tried: importing it writes files)"
        try:
            importlib.import_module(name)
        except ImportError as error:  # it is there, so something it needs is not
            raise RuntimeError(str(error)) from error
        return importlib.metadata.version(package)

    return [
        _tried("packages", package, partial(found, package), installs(extra))
        for extra, packages in _EXTRAS.items()
        for package in packages
    ]


def _video_parts() -> list[Part]:
    def decoding() -> str:
        import av

        return f"FFmpeg {av.ffmpeg_version_info}"

    reinstall = "pip install --force-reinstall av"
    return [
        _tried("video", "decoding (PyAV)", decoding, reinstall, required=True),
        _tried("video", "H.264 encoder", lambda: _encodes("libx264", "yuv420p"), reinstall),
        _tried("video", "FFV1 encoder (lossless)", lambda: _encodes("ffv1", "bgr0"), reinstall),
        _tried("video", "AAC encoder", lambda: _has_codec("aac"), reinstall),
        _tried(
            "video",
            "FFmpeg program",
            _ffmpeg_program,
            "pip install imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE",
        ),
    ]


def _encodes(codec: str, pixel_format: str) -> str:
    """Encode and decode a few frames in memory."""
    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for level in (0, 128, 255):
            image = np.full((48, 64, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as encoded:
        n_frames = len(list(encoded.decode(video=0)))
    if n_frames != 3:
        raise RuntimeError(f"3 frames went in, {n_frames} came out")
    return codec


def _has_codec(name: str) -> str:
    import av

    av.Codec(name, "w")
    return name


def _ffmpeg_program() -> str:
    imageio_ffmpeg = importlib.import_module("imageio_ffmpeg")
    return f"{imageio_ffmpeg.get_ffmpeg_version()} (VMAF {_vmaf()})"


def _vmaf() -> str:
    from gopro_tools.metrics import METRICS

    return "works" if METRICS["vmaf"].absent() is None else "is not built in"


def _detector_parts() -> list[Part]:
    def opencv() -> str:
        import cv2
        import numpy as np

        network = cv2.dnn.readNetFromONNX(np.frombuffer(_RELU_NETWORK, np.uint8))
        network.setInput(np.full((1, 1, 2, 2), -1, np.float32))
        if not np.array_equal(network.forward(), np.zeros((1, 1, 2, 2))):
            raise RuntimeError("a network gives a wrong result")
        return f"OpenCV {cv2.__version__}"

    def onnxruntime() -> str:
        if importlib.util.find_spec("onnxruntime") is None:
            raise ModuleNotFoundError("not installed")
        runtime = importlib.import_module("onnxruntime")
        return f"{runtime.__version__}: {', '.join(runtime.get_available_providers())}"

    def deblurring() -> str:
        import numpy as np

        from gopro_tools.deblur.network import OnnxRestorer, read_card, shipped_network

        try:
            path = shipped_network()
        except InputError as error:
            raise ModuleNotFoundError("none ships with this version") from error
        restored = OnnxRestorer(path, runtime="opencv").restore(np.full((64, 64, 3), 90, np.uint8))
        if abs(float(restored.mean()) - 90) > 5:
            raise RuntimeError("a grey image does not stay grey")
        return read_card(path).name

    return [
        _tried("networks", "ONNX with OpenCV", opencv, "", required=True),
        _tried("networks", "ONNX with onnxruntime", onnxruntime, installs("detect")),
        _tried(
            "networks", "deblurring network", deblurring, "gopro_tools.deblur --weights FILE.onnx"
        ),
    ]


def _device_parts() -> list[Part]:
    def devices() -> str:
        if importlib.util.find_spec("torch") is None:
            raise ModuleNotFoundError("torch is not installed")
        torch = importlib.import_module("torch")
        if not torch.cuda.is_available():
            raise ImportError("torch finds none")
        count = torch.cuda.device_count()
        return ", ".join(torch.cuda.get_device_name(index) for index in range(count))

    return [
        Part(
            group="devices",
            name="processor",
            status="works",
            detail=f"{n_cores()} core(s) for this process",
            required=True,
        ),
        _tried(
            "devices",
            "CUDA GPU",
            devices,
            "training and restoring use the processor; a GPU needs a CUDA build of torch",
        ),
    ]


def _metric_parts() -> list[Part]:
    from gopro_tools.metrics import METRICS

    parts = []
    for name, metric in METRICS.items():
        if not metric.may_be_absent:
            continue
        why = metric.absent()
        parts.append(
            Part(
                group="metrics",
                name=name.upper(),
                status="missing" if why else "works",
                detail="" if why else "all its parts are here",
                hint=why or "",
            )
        )
    return parts


def _file_parts() -> list[Part]:
    def isal() -> str:
        from isal import isal_zlib

        text = b"gopro" * 9
        if isal_zlib.decompress(zlib.compress(text)) != text:
            raise RuntimeError("it does not give back what was compressed")
        return f"ISA-L (isal {importlib.metadata.version('isal')})"

    def temporary() -> str:
        with tempfile.TemporaryDirectory() as folder:
            case = "insensitive" if _ignores_case(Path(folder)) else "sensitive"
            longest = _longest_path(Path(folder))
        return f"{tempfile.gettempdir()}: names are case-{case}, paths of {longest} characters work"

    return [
        _tried("files", "fast PNG decoder", isal, "pip install isal (without it, twice the time)"),
        _tried("files", "temporary folder", temporary, "set TMPDIR to a writable folder"),
    ]


def _ignores_case(folder: Path) -> bool:
    (folder / "case").touch()
    return (folder / "CASE").exists()


def _longest_path(folder: Path) -> int:
    """Length in characters of the longest path tried that can be written; Windows stops at 259."""
    longest = 0
    for length in (200, 300, 1000):
        deep = folder
        while len(str(deep)) + 60 < length:
            deep /= "d" * 50
        try:
            deep.mkdir(parents=True, exist_ok=True)
            (deep / ("f" * (length - len(str(deep)) - 1))).touch()
        except OSError:
            break
        longest = length
    return longest


def as_text(parts: Sequence[Part]) -> str:
    """The report for people: one line per part, and one per hint, below the parts it is for."""
    width = max(len(part.name) for part in parts)
    lines: list[str] = []
    group = ""
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        if part.group != group:
            group = part.group
            lines += ["", group]
        mark = "[ok]" if part.status == "works" else f"[{part.status}]"
        lines.append(f"  {mark:<9} {part.name:<{width}}  {part.detail}".rstrip())
        said_below = after is not None and (after.group, after.hint) == (part.group, part.hint)
        if part.hint and not said_below:
            lines.append(f"{'':<{14 + width}}-> {part.hint}")
    return "\n".join(lines[1:]) + "\n"


def command(*, as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> int:
    """Report what is installed and works here, with a hint for each part that is missing.

    Exit code 1 where a part is broken, or a required one is missing.

    Args:
        as_json: Write JSON instead of text.
    """
    parts = examine()
    document = json.dumps([asdict(part) for part in parts], indent=2) + "\n"
    sys.stdout.write(document if as_json else as_text(parts))
    bad = any(part.status == "broken" or (part.required and part.hint) for part in parts)
    return EXIT_FINDINGS if bad else 0


def main() -> None:
    """Console script and ``python -m gopro_tools.doctor``."""
    run_command(command)


if __name__ == "__main__":
    main()
