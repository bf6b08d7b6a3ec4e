"""How well objects are found after deblurring, and ``python -m gopro_tools.detect``.

Protocol ``yolo-consistency-v1``: a detector runs on the sharp, the blurred and the restored images;
its own boxes on the sharp ones (or human labels) are what the others should find (Kupyn et al.,
CVPR 2018, §6.3, who left classes, overlap and confidence open).
"""

from typing import TYPE_CHECKING

from gopro_tools.verbs import callable_package

if TYPE_CHECKING:
    from gopro_tools.detect.config import DetectConfig
    from gopro_tools.detect.run import Detection
    from gopro_tools.detect.verb import detect

__all__ = ["DetectConfig", "Detection", "detect", "main"]


def main() -> None:
    """Run as a command."""
    from gopro_tools.console import run_command
    from gopro_tools.detect.command import command

    run_command(command)


callable_package(
    __name__,
    "gopro_tools.detect.verb:detect",
    DetectConfig="gopro_tools.detect.config",
    Detection="gopro_tools.detect.run",
    detect="gopro_tools.detect.verb",
)
