"""The dataset doctor: what is wrong with a dataset in the GOPRO_Large layout.

Errors are what makes training or scores wrong: missing partners, unreadable images, values other
than the manifest promises, a dataset that was never finished. Warnings are what a person should
look at.
"""

from typing import TYPE_CHECKING

from gopro_tools.verbs import callable_package

if TYPE_CHECKING:
    from gopro_tools.verify.config import VerifyConfig
    from gopro_tools.verify.pixels import Shift, measure_shift
    from gopro_tools.verify.run import Verification, verify

__all__ = ["Shift", "Verification", "VerifyConfig", "main", "measure_shift", "verify"]


def main() -> None:
    """The command line."""
    from gopro_tools.console import run_command
    from gopro_tools.verify.command import command

    run_command(command)


callable_package(
    __name__,
    "gopro_tools.verify.run:verify",
    Shift="gopro_tools.verify.pixels",
    Verification="gopro_tools.verify.run",
    VerifyConfig="gopro_tools.verify.config",
    measure_shift="gopro_tools.verify.pixels",
    verify="gopro_tools.verify.run",
)
