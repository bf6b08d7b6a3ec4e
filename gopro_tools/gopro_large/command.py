"""The command line of GOPRO_Large's recipe."""

from typing import TYPE_CHECKING, Annotated

import tyro

from gopro_tools.console import EXIT_INTERRUPTED, progress_bar, stderr
from gopro_tools.files import refuse_unwritable
from gopro_tools.findings import report_findings
from gopro_tools.gopro_large.config import CheckConfig, DownloadConfig, RegenerateConfig

if TYPE_CHECKING:
    from gopro_tools.gopro_large.checking import CheckResult


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
    from gopro_tools.gopro_large.checking import check
    from gopro_tools.gopro_large.regeneration import regenerate

    refuse_unwritable(action.out if isinstance(action, CheckConfig) else action.findings)
    verb = "Checking" if isinstance(action, CheckConfig) else "Rebuilding"
    with progress_bar("images", verb) as bar:
        if isinstance(action, CheckConfig):
            checked = check(action, on_progress=bar.show)
        else:
            result = regenerate(action, on_progress=bar.show)
    if isinstance(action, CheckConfig):
        print_agreement(checked, action.tolerance_levels)
        return report_findings(checked.findings, str(action.dataset), action.out)
    stderr.print(f"{result.n_written:,} image(s) written, {result.n_kept:,} were there already.")
    return report_findings(result.findings, str(action.out), action.findings)


def _download(config: DownloadConfig) -> int:
    from gopro_tools.gopro_large.downloading import LICENCE, download

    refuse_unwritable(config.findings)
    try:
        with progress_bar("", "Connecting") as bar:

            def progress(name: str, done: int, total: int) -> None:
                rate = f"{bar.speed / 1e6:.1f} MB/s" if name.endswith(".zip") else ""
                bar.show_task(name, done, total or None, rate=rate)

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


def print_agreement(result: "CheckResult", tolerance_levels: int) -> None:
    """Show how the images of each kind agree with the frames."""
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
        "released; only their sharp images were compared."
    )
