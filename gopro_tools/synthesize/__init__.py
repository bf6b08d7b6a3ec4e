"""High-frame-rate video in, blurred/sharp pairs in the GOPRO_Large layout out.

The pipeline, in the order data takes: `config` (what the user asks for) -> `plan` (sources, clips,
windows, segments) -> `segment` (decode, check, average, write: the only part that runs in worker
processes) -> `publish` (manifest, dataset card, preview). `run` drives it, remembers what is done
and resumes after an interruption.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gopro_tools.verbs import callable_package

if TYPE_CHECKING:
    from gopro_tools.synthesize.config import SynthesisConfig
    from gopro_tools.synthesize.run import Summary, synthesize

__all__ = ["Summary", "SynthesisConfig", "main", "synthesize"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Console script and ``python -m gopro_tools.synthesize``."""
    from gopro_tools.synthesize.worker import start_first
    from gopro_tools.threads import one_thread_for_blas

    given = sys.argv[1:] if arguments is None else arguments
    with one_thread_for_blas():
        start_first(given)
        from gopro_tools.console import run_command
        from gopro_tools.synthesize.command import command_with_recipe

        run_command(command_with_recipe(given), given)


# Workers import this package: nothing that only the command needs is loaded with it.
callable_package(
    __name__,
    "gopro_tools.synthesize.run:synthesize",
    Summary="gopro_tools.synthesize.run",
    SynthesisConfig="gopro_tools.synthesize.config",
    synthesize="gopro_tools.synthesize.run",
)
