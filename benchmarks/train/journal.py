"""What a run writes for people to watch: the log, and curves drawn from it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gopro_tools.errors import InputError
from gopro_tools.figures import new_figure
from gopro_tools.files import write_atomic

LOG_FILE = "log.jsonl"
CURVES_FILE = "curves.png"

VALIDATION_DB, BLURRED_DB = "validation_psnr_rgb_db", "validation_blurred_psnr_rgb_db"
"""Names in the log of the mean PSNR of restored and of blurred validation images."""


class Journal:
    """``log.jsonl``.

    The log holds no times: that of an interrupted and resumed run is the uninterrupted one's.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        """Open the log at a step, dropping what a run that was cut off wrote beyond it."""
        self._path = folder / LOG_FILE
        kept = [entry for entry in read_log(folder) if entry["step"] <= step]
        write_atomic(self._path, "".join(json.dumps(entry) + "\n" for entry in kept))
        self.validated_steps = {entry["step"] for entry in kept if VALIDATION_DB in entry}

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a line: the number of steps done, and figures by name."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")


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


def plot_curves(folder: Path, title: str) -> None:
    """Draw ``curves.png`` from the log: losses above, validation PSNR below.

    Raises:
        InputError: matplotlib is not installed.
    """
    figure = new_figure(8, 7)
    above, below = figure.subplots(2, 1, sharex=True)
    log = pd.DataFrame(read_log(folder)).groupby("step").first()
    losses = log.drop(columns=["epoch", "learning_rate"], errors="ignore").filter(
        regex="^(?!validation_)(?!.*gradient_norm$)"
    )
    for name in losses:
        above.plot(losses[name].dropna(), label=name, linewidth=1)
    if (losses.min() > 0).all():
        above.set_yscale("log")
    else:
        above.set_yscale("symlog", linthresh=0.01)
    above.set_ylabel("loss, unweighted")
    for name, label, style in ((VALIDATION_DB, "restored", "o-"), (BLURRED_DB, "blurred", "k--")):
        below.plot(log[name].dropna(), style, label=label, markersize=3)
    # An untrained network's few dB would hide the rest.
    lowest_db, blurred_db = log[VALIDATION_DB].min(), log[BLURRED_DB].min()
    below.set_ylim(bottom=max(min(lowest_db, blurred_db) - 0.2, blurred_db - 3))
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
