"""GOPRO_Large's own recipe: rebuild its pairs from the released frames, and prove a copy.

GOPRO_Large (Nah et al., CVPR 2017) came without the program that made it. Its frames came as
GOPRO_Large_all, and the images show what was done to them: windows of M frames follow each other
without gap or overlap, ``sharp`` is the middle frame, ``blur`` the rounded mean of the code values,
``blur_gamma`` the mean taken in linear light with gamma 2.2. ``sequences.csv`` says which images
there are and where their frames lie. The first image of each later clip of a recording needs a few
frames from before the clip, which were never released: 14 of 3,214 images.
"""

from typing import Annotated

import tyro

from gopro_tools.console import EXIT_INTERRUPTED, progress_bar, run_command, stderr
from gopro_tools.findings import report_findings
from gopro_tools.gopro_large.checking import Agreement, CheckConfig, CheckResult, check
from gopro_tools.gopro_large.downloading import LICENCE, DownloadConfig, DownloadResult, download
from gopro_tools.gopro_large.regeneration import RegenerateConfig, RegenerateResult, regenerate
from gopro_tools.gopro_large.table import KINDS, Kind, LargeImage, LargeSequence, recipe

__all__ = [
    "KINDS",
    "Agreement",
    "CheckConfig",
    "CheckResult",
    "DownloadConfig",
    "DownloadResult",
    "Kind",
    "LargeImage",
    "LargeSequence",
    "RegenerateConfig",
    "RegenerateResult",
    "check",
    "command",
    "download",
    "main",
    "recipe",
    "regenerate",
]


def command(
    action: Annotated[
        Annotated[RegenerateConfig, tyro.conf.subcommand("regenerate")]
        | Annotated[CheckConfig, tyro.conf.subcommand("check")]
        | Annotated[DownloadConfig, tyro.conf.subcommand("download")],
        tyro.conf.arg(name=""),
    ],
) -> int:
    """GOPRO_Large by its own recipe; exit code 1 if something is missing or differs."""
    if isinstance(action, DownloadConfig):
        return _download(action)
    with progress_bar("images") as bar:
        verb = "Checking" if isinstance(action, CheckConfig) else "Rebuilding"
        task = bar.add_task(verb, total=None, rate="")

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        result: CheckResult | RegenerateResult
        if isinstance(action, CheckConfig):
            result = check(action, on_progress=progress)
        else:
            result = regenerate(action, on_progress=progress)
    if isinstance(action, CheckConfig) and isinstance(result, CheckResult):
        print_agreement(result, action.tolerance_levels)
        return report_findings(result.findings, str(action.dataset), action.out)
    assert isinstance(action, RegenerateConfig)
    assert isinstance(result, RegenerateResult)
    stderr.print(f"{result.n_written:,} image(s) written, {result.n_kept:,} were there already.")
    return report_findings(result.findings, str(action.out), action.findings)


def _download(config: DownloadConfig) -> int:
    try:
        with progress_bar("") as bar:
            task = bar.add_task("Connecting", total=None, rate="")

            def progress(name: str, done: int, total: int) -> None:
                speed = bar.tasks[0].speed
                rate = f"{speed / 1e6:.1f} MB/s" if speed and name.endswith(".zip") else ""
                bar.update(task, description=name, completed=done, total=total or None, rate=rate)

            result = download(config, on_progress=progress)
    except KeyboardInterrupt:
        stderr.print("Stopped. The same command resumes from here.")
        return EXIT_INTERRUPTED
    stderr.print(
        f"{result.n_unpacked:,} file(s) unpacked, {result.n_kept:,} were there already; "
        f"{result.checked}."
    )
    stderr.print(LICENCE)
    return report_findings(result.findings, str(config.out), config.findings)


def main() -> None:
    """The command line."""
    run_command(command)


def print_agreement(result: CheckResult, tolerance_levels: int) -> None:
    from rich.table import Table

    table = Table("kind", "images", "exact", f"within {tolerance_levels}", "off", "values by level")
    for kind, agreement in result.agreement.items():
        n_values = int(agreement.values_by_level.sum())
        shares = [
            f"{level}: {count / n_values:.4%}"
            for level, count in enumerate(agreement.values_by_level)
            if count
        ]
        if len(shares) > 6:
            shares = [*shares[:5], "...", shares[-1]]
        counts = (agreement.n_exact, agreement.n_within, agreement.n_off)
        table.add_row(kind, *(f"{n:,}" for n in (sum(counts), *counts)), ", ".join(shares))
    stderr.print(table, soft_wrap=False)
    stderr.print(
        f"{result.n_unreleased} image(s) cannot be rebuilt, as some of their frames were never "
        "released; of those only sharp was compared."
    )
