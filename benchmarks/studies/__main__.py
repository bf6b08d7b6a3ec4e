"""``python -m benchmarks.studies STUDY``: measured here and now, and recorded."""

from importlib import import_module
from pathlib import Path
from typing import Literal

import tyro

from benchmarks.keeping import keep_rows
from gopro_tools.console import run_command, stderr

Study = Literal["exposure_convergence", "interpolation"]


def command(study: tyro.conf.Positional[Study], results: Path = Path("results")) -> int:
    """Compare blur with a real exposure; `benchmarks.table1.publish` shows the record.

    Args:
        study: What is compared: means of frames, or of frames and those interpolated between them.
        results: The folder above ``runs``.
    """
    module = import_module(f"benchmarks.studies.{study}")
    keep_rows(module.measure(), results, module.record())
    stderr.print(f"Recorded in {results}; `python -m benchmarks.table1.publish` shows it.")
    return 0


if __name__ == "__main__":
    run_command(command)
