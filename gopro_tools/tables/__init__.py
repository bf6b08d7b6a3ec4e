"""Comparison tables, and ``python -m gopro_tools.tables``.

Most tables of this field compare numbers that were computed in different ways, on different inputs:
that alone can make a difference of 0.14 in SSIM and 0.8 dB. Here a number carries everything it
depends on, and a column holds only comparable numbers.
"""

from typing import TYPE_CHECKING

from gopro_tools.verbs import lazy_package

if TYPE_CHECKING:
    from gopro_tools.tables.comparing import Comparison, compare
    from gopro_tools.tables.config import TablesConfig

__all__ = ["Comparison", "TablesConfig", "compare", "main"]


def main() -> None:
    """The command line."""
    from gopro_tools.console import run_command
    from gopro_tools.tables.command import command

    run_command(command)


lazy_package(
    __name__,
    Comparison="gopro_tools.tables.comparing",
    TablesConfig="gopro_tools.tables.config",
    compare="gopro_tools.tables.comparing",
)
