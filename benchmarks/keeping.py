"""Records of runs that are worth keeping, below ``results/runs``."""

from collections.abc import Mapping
from pathlib import Path

from gopro_tools.files import write_atomic
from gopro_tools.records import read_record, recorded_run, run_folder


def keep_run(run: Path, results: Path, files: Mapping[str, Path]) -> Path:
    """Keep a finished run's record and some of its files, and return their folder.

    Args:
        run: Its folder.
        results: The folder above ``runs``.
        files: By the names they get beside the record.

    Raises:
        InputError: The run is not finished, or it is kept there already.
    """
    record = read_record(run)
    with recorded_run(results, record) as folder:
        for name, path in files.items():
            write_atomic(folder / name, path.read_bytes())
    return run_folder(results, record)
