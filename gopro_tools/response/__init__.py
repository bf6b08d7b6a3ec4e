"""Camera response curves: from 8-bit code values to linear light and back.

A response has two halves. *Decoding* maps the 256 codes to linear light in [0, 1]. *Encoding* maps
linear light to the nearest code. Every code survives the round trip (a measured table within one
code, as its own regularisation flattens it).
"""

from typing import TYPE_CHECKING

from gopro_tools.verbs import lazy_package

if TYPE_CHECKING:
    from gopro_tools.response.curves import Response

__all__ = [
    "Response",
    "main",
]


def main() -> None:
    """Console script and ``python -m gopro_tools.response``."""
    from gopro_tools.console import run_command
    from gopro_tools.response.command import command

    run_command(command)


lazy_package(
    __name__,
    Response="gopro_tools.response.curves",
)
