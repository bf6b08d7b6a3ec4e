"""The command line of the check."""

from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.console import progress_bar
from gopro_tools.executors import named_executor
from gopro_tools.files import refuse_unwritable
from gopro_tools.findings import report_findings
from gopro_tools.verify.config import VerifyConfig


def command(
    dataset: Annotated[Path, tyro.conf.Positional],
    config: Annotated[VerifyConfig, tyro.conf.arg(name="")],
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    executor: str = "",
) -> int:
    """Check a dataset in the GOPRO layout; exit code 1 if anything is wrong with it.

    Args:
        dataset: The folder with train and test.
        config: Limits.
        out: CSV file for the findings; stdout by default.
        executor: package.module:factory[:name=value...] of a concurrent.futures.Executor that reads
            the images in place of threads here, such as gopro_tools.distributed:dask.
    """
    from gopro_tools.verify.run import verify

    refuse_unwritable(out)
    with named_executor(executor) as given, progress_bar("images", "Checking") as bar:
        findings = verify(
            dataset,
            config,
            on_progress=bar.show,
            executor=given,
        )
    return report_findings(findings, str(dataset), out)
