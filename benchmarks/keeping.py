"""Records of runs that are worth keeping, below ``results/runs``."""

from pathlib import Path
from typing import TYPE_CHECKING

from gopro_tools.files import write_atomic
from gopro_tools.records import RUN_FILE, RunRecord, read_record, recorded_run, run_folder

if TYPE_CHECKING:
    import pandas as pd


def keep_run(run: Path, results: Path) -> Path:
    """Keep all files of a finished run but its weights, and return the folder.

    Raises:
        InputError: The run is not finished, or it is kept there already.
    """
    record = read_record(run)
    with recorded_run(results, record) as folder:
        for path in run.rglob("*"):
            if path.is_file() and path != run / RUN_FILE and path.suffix != ".safetensors":
                write_atomic(folder / path.relative_to(run), path.read_bytes())
    return run_folder(results, record)


def keep_rows(rows: "pd.DataFrame", results: Path, record: RunRecord) -> None:
    """Keep what a run measured as ``rows.csv`` beside its record.

    Raises:
        InputError: The run is kept there already.
    """
    with recorded_run(results, record) as folder:
        write_atomic(folder / "rows.csv", rows.to_csv(index=False, lineterminator="\n"))
