"""The command line of the export."""

from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.console import EXIT_FINDINGS, progress_bar, stderr
from gopro_tools.export.config import ExportConfig
from gopro_tools.files import refuse_unwritable
from gopro_tools.findings import report_findings


def export_command(
    dataset: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    config: Annotated[ExportConfig, tyro.conf.arg(name="")],
    jobs: int = 0,
) -> int:
    """Write a dataset in the format of other training code.

    ``python -m gopro_tools.export verify OUT DATASET`` proves the result by its pixels.

    Args:
        dataset: A dataset in the GOPRO_Large layout.
        out: Folder of the export. The same command resumes an interrupted one.
        config: Which format.
        jobs: Threads; 0 takes one per core. The result does not depend on it.
    """
    from gopro_tools.export.run import export

    with progress_bar("samples", "Exporting") as bar:
        result = export(
            dataset,
            config,
            out,
            jobs=jobs,
            on_progress=bar.show,
        )
    for reason in result.left_out:
        stderr.print(f"left out: {reason}", markup=False, style="yellow")
    stderr.print(
        f"{result.n_samples} samples in {out} ({result.n_written} written now). "
        f"`python -m gopro_tools.export verify {out} {dataset}` proves them.",
        markup=False,
    )
    return EXIT_FINDINGS if result.left_out else 0


def verify_command(
    exported: Annotated[Path, tyro.conf.Positional],
    dataset: Annotated[Path, tyro.conf.Positional],
    /,
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    jobs: int = 0,
) -> int:
    """Compare every image of an export with the dataset's; exit code 1 if any differs.

    Args:
        exported: What ``python -m gopro_tools.export`` wrote.
        dataset: The dataset it was made from.
        out: CSV file for the findings; stdout by default.
        jobs: Threads; 0 takes one per core.
    """
    from gopro_tools.export.run import verify_export

    refuse_unwritable(out)
    with progress_bar("samples", "Comparing") as bar:
        findings = verify_export(
            exported,
            dataset,
            jobs=jobs,
            on_progress=bar.show,
        )
    return report_findings(findings, str(exported), out)
