"""What a run writes for people to watch: its log, which `gopro_tools.report` draws."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic

LOG_FILE = "log.jsonl"

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
