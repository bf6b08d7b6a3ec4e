"""A deblurring network in an ONNX file, with the card that says what it was trained on."""

from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gopro_tools.deblur.config import Runtime
from gopro_tools.detection.onnx_header import read_onnx_header
from gopro_tools.errors import InputError
from gopro_tools.files import read_json
from gopro_tools.images import Rgb
from gopro_tools.onnx_process import OnnxProcess
from gopro_tools.onnx_runtime import Run, with_onnxruntime, with_opencv
from gopro_tools.shape import misfits
from gopro_tools.threads import Progress, no_progress
from gopro_tools.tiles import in_tiles

_PROBE_PX = 32


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of a network's training."""

    name: str
    trained_on: str = ""
    """The data, for people; empty where nothing is known."""
    image_size: str = ""
    """Size of the images it was trained for, such as ``320x180``."""
    blur_px: tuple[float, float] | None = None
    """Shortest and longest blur in its training, px."""
    scores: str = ""
    """What it was measured to gain, and on what."""
    licence: str = ""

    @property
    def advice(self) -> str:
        """One or two sentences: where the network helps, and where it cannot."""
        if self.blur_px is None:
            return (
                f"{self.name}: no card beside the file says what blur it was trained on, so look "
                "at the result before using it."
            )
        least, most = self.blur_px
        return (
            f"{self.name} was trained on {self.trained_on} ({self.image_size}, blur of {least:g} "
            f"to {most:g} px). Longer blur stays: shrink such a photo first, or use a network "
            "trained on it (--weights)."
        )


def shipped_network() -> Path:
    """The network in this package.

    Raises:
        InputError: None ships with this version.
    """
    folder = Path(str(files("gopro_tools.weights")))
    found = sorted(folder.glob("*.onnx"))
    if not found:
        raise InputError(
            "No network ships with this version; name one with --weights FILE.onnx "
            "(python -m baselines.checkpoints export WEIGHTS FILE.onnx writes one)."
        )
    return found[0]


def read_card(path: Path) -> Card:
    """The card beside an ONNX file; one that knows only the name where there is none.

    Raises:
        InputError: The card is damaged.
    """
    card = path.with_suffix(".json")
    if not card.is_file():
        return Card(name=path.name)
    stored = read_json(card)
    try:
        if stored.get("blur_px") is not None:
            least, most = map(float, stored["blur_px"])
            stored["blur_px"] = (least, most)
        found = Card(**stored)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{card}: not a readable card ({str(error)[:200]}); mend or remove it."
        ) from error
    if wrong := misfits(found):
        raise InputError(f"{card}: {', '.join(wrong)} should be text; mend or remove it.")
    return found


class OnnxRestorer:
    """A network in an ONNX file as a `gopro_tools.restorers.Restorer`.

    Args:
        path: Takes and gives (N, 3, H, W) float32 RGB in [0, 1] of any H and W.
        runtime: ``auto`` takes onnxruntime where it is installed, else OpenCV.
        tile_px: Side of the tiles that larger images are cut into.
        overlap_px: What neighbouring tiles share.

    Raises:
        InputError: The file is missing, damaged, of another kind or of fixed size, or no runtime
            can run it.
    """

    def __init__(
        self, path: Path, *, runtime: Runtime = "auto", tile_px: int = 512, overlap_px: int = 64
    ) -> None:
        if not path.is_file():
            raise InputError(f"{path}: no such file; an ONNX network was expected.")
        if runtime == "auto":
            runtime = "onnxruntime" if find_spec("onnxruntime") else "opencv"
        self.runtime = runtime
        self._tile_px, self._overlap_px = tile_px, overlap_px
        self._run = _opened(path, runtime)

    def restore(self, blurred: Rgb) -> Rgb:
        """Restore (H, W, 3) uint8 RGB to the same."""
        restored = self.restore_light(blurred.astype(np.float32) / np.float32(255))
        return np.rint(restored * 255).astype(np.uint8)

    def restore_light(
        self, blurred: NDArray[np.float32], on_progress: Progress = no_progress
    ) -> NDArray[np.float32]:
        """Restore (H, W, 3) float32 RGB in [0, 1] to the same, whatever its depth was.

        Args:
            blurred: The image.
            on_progress: Called with tiles done, and all.

        Raises:
            InputError: The network gave values that are no numbers.
        """
        restored = in_tiles(
            partial(_on_one, self._run),
            blurred,
            tile_px=self._tile_px,
            overlap_px=self._overlap_px,
            on_progress=on_progress,
        )
        if not np.isfinite(restored).all():
            raise InputError("the network gave values that are not numbers; use other weights.")
        return np.clip(restored, 0, 1).astype(np.float32, copy=False)


def _on_one(run: Run, image: NDArray[np.float32]) -> NDArray[np.float32]:
    result = run(np.ascontiguousarray(image.transpose(2, 0, 1)[np.newaxis]))
    return np.asarray(result[0].transpose(1, 2, 0), np.float32)


def _own(path: Path, runtime: Runtime) -> Run:
    return (with_onnxruntime if runtime == "onnxruntime" else with_opencv)(path)


def _foreign(path: Path, runtime: Runtime) -> Run:
    """A file of unknown origin, in a process of its own: a damaged one crashes its library."""
    process = OnnxProcess(path, "onnxruntime" if runtime == "onnxruntime" else "opencv")
    return lambda batch: process(batch)[0]


def _is_ours(path: Path) -> bool:
    return Path(__file__).resolve().parent.parent in path.resolve().parents


def _opened(path: Path, runtime: Runtime) -> Run:
    shape = read_onnx_header(path).input_shape
    if len(shape) != 4 or shape[1] not in (3, None):
        raise InputError(f"{path}: an RGB input (N, 3, H, W) was expected, found {shape}.")
    if shape[2] is not None or shape[3] is not None:
        raise InputError(
            f"{path}: its input is fixed at {shape[3]}x{shape[2]} px; export it with open height "
            "and width."
        )
    probe = np.zeros((1, 3, _PROBE_PX, _PROBE_PX), np.float32)
    try:
        run = _own(path, runtime) if _is_ours(path) else _foreign(path, runtime)
        result = run(probe)
    except InputError:
        raise
    except Exception as error:  # onnxruntime's and OpenCV's own classes
        raise InputError(f"{path}: {runtime} cannot run it ({error}).") from error
    if result.shape != probe.shape:
        raise InputError(
            f"{path}: a result of the input's shape {probe.shape} was expected, found "
            f"{result.shape}; is it a deblurring network?"
        )
    return run
