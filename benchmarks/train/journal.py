"""What a run writes for people to watch: the log, curves, a strip of images, TensorBoard."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines.pictures import sheet
from gopro_tools.errors import InputError
from gopro_tools.figures import new_figure
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png

log = logging.getLogger(__name__)

LOG_FILE = "log.jsonl"
CURVES_FILE = "curves.png"

_STRIP_MOST_ROWS = 4
_STRIP_MOST_PX = 384  # of each image, cut from its middle: more is not seen at a glance


class Journal:
    """``log.jsonl`` and, where TensorBoard is installed, its event files.

    The log holds no times: that of an interrupted and resumed run is the uninterrupted one's.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        """Open the log at a step, dropping what a run that was cut off wrote beyond it."""
        self._path = folder / LOG_FILE
        kept = [entry for entry in read_log(folder) if entry["step"] <= step]
        write_atomic(self._path, "".join(json.dumps(entry) + "\n" for entry in kept))
        self._file = self._path.open("a", encoding="utf-8")
        self._board = _tensorboard(folder, step)
        self.validated_steps = {e["step"] for e in kept if "validation_psnr_rgb_db" in e}

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a line: the number of steps done, and figures by name."""
        self._file.write(json.dumps({"step": step, **figures}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; a last line that was cut off is left out.

    Raises:
        InputError: Another line is damaged.
    """
    path = folder / LOG_FILE
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise InputError(f"{path}: line {number} is damaged ({error}).") from error
    return entries


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.debug("TensorBoard is not installed; %s has all figures.", LOG_FILE)
        return None
    # Hides what a run that was cut off wrote beyond the checkpoint.
    return SummaryWriter(folder / "tensorboard", purge_step=step + 1)


def plot_curves(folder: Path, title: str) -> bool:
    """Draw ``curves.png`` from the log: losses above, validation PSNR below.

    Returns:
        False where matplotlib is not installed; nothing is drawn then.
    """
    try:
        figure = new_figure(8, 7)
    except InputError:
        return False
    entries = read_log(folder)
    above, below = figure.subplots(2, 1, sharex=True)
    training = [entry for entry in entries if "learning_rate" in entry]
    for name in sorted({key for entry in training for key in entry} - _NOT_LOSSES):
        if name.endswith("gradient_norm"):
            continue
        points = [(entry["step"], entry[name]) for entry in training if name in entry]
        above.plot(*zip(*points, strict=True), label=name, linewidth=1)
    above.set_ylabel("loss, unweighted")
    if all(value > 0 for line in above.lines for value in line.get_ydata()):
        above.set_yscale("log")
    else:
        above.set_yscale("symlog", linthresh=0.01)
    validation = [entry for entry in entries if "validation_psnr_rgb_db" in entry]
    steps = [entry["step"] for entry in validation]
    for key, label, style in (
        ("validation_psnr_rgb_db", "restored", "o-"),
        ("validation_blurred_psnr_rgb_db", "blurred", "k--"),
    ):
        below.plot(steps, [entry[key] for entry in validation], style, label=label, markersize=3)
    if validation:  # an untrained network's few dB would hide the rest
        floor = min(entry["validation_blurred_psnr_rgb_db"] for entry in validation) - 3
        below.set_ylim(bottom=max(floor, min(line.get_ydata().min() for line in below.lines) - 0.2))
    below.set_ylabel("validation PSNR (psnr_rgb), dB")
    below.set_xlabel("steps")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.suptitle(title)
    temporary = folder / f".{CURVES_FILE}"
    figure.savefig(temporary, dpi=100, format="png")
    temporary.replace(folder / CURVES_FILE)
    return True


_NOT_LOSSES = {"step", "epoch", "learning_rate"}


def image_strip(rows: Sequence[Sequence[Rgb]]) -> bytes:
    """PNG of blurred, restored and sharp image side by side; of many rows, a few evenly spread."""
    n_rows = min(len(rows), _STRIP_MOST_ROWS)
    shown = [
        (name, middle_square(image, _STRIP_MOST_PX))
        for row in np.linspace(0, len(rows) - 1, n_rows).round().astype(int)
        for name, image in zip(("blurred", "restored", "sharp"), rows[row], strict=True)
    ]
    return encode_png(sheet(shown, n_columns=3))


def middle_square(image: Rgb, side_px: int) -> Rgb:
    """The middle of an image, ``side_px`` square, or all of it along a shorter side."""
    height, width = (min(side_px, n) for n in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
