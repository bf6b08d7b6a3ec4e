"""Deblur your own photos and videos: ``python -m gopro_tools.deblur PHOTO -o OUT``.

Needs the base install alone: a small network that ships with the package (or ``--weights
FILE.onnx``) runs with OpenCV, or with onnxruntime where it is installed. Images of any size are
restored in overlapping tiles; depth, alpha, greyscale, orientation and metadata are kept, and the
command says what a format cannot hold. Videos keep their times and their sound.
"""

from typing import TYPE_CHECKING

from gopro_tools.verbs import callable_package

if TYPE_CHECKING:
    from gopro_tools.deblur.config import DeblurConfig
    from gopro_tools.deblur.network import Card, OnnxRestorer, read_card, shipped_network
    from gopro_tools.deblur.run import DeblurSummary, deblur

__all__ = [
    "Card",
    "DeblurConfig",
    "DeblurSummary",
    "OnnxRestorer",
    "deblur",
    "main",
    "read_card",
    "shipped_network",
]


def main() -> None:
    """Console script and ``python -m gopro_tools.deblur``."""
    from gopro_tools.console import run_command
    from gopro_tools.deblur.command import command

    run_command(command)


callable_package(
    __name__,
    "gopro_tools.deblur.run:deblur",
    Card="gopro_tools.deblur.network",
    DeblurConfig="gopro_tools.deblur.config",
    DeblurSummary="gopro_tools.deblur.run",
    OnnxRestorer="gopro_tools.deblur.network",
    deblur="gopro_tools.deblur.run",
    read_card="gopro_tools.deblur.network",
    shipped_network="gopro_tools.deblur.network",
)
