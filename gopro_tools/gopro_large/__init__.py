"""GOPRO_Large's own recipe: rebuild its pairs from the released frames, and verify a copy.

GOPRO_Large (Nah et al., CVPR 2017) came without the program that made it. Its frames came as
GOPRO_Large_all, and the images show what was done to them: windows of M frames follow each other
without gap or overlap, ``sharp`` is the middle frame, ``blur`` the rounded mean of the code values,
``blur_gamma`` the mean taken in linear light with gamma 2.2. ``sequences.csv`` says which images
there are and where their frames lie. The first image of each later clip of a recording needs a few
frames from before the clip, which were never released: 14 of 3,214 images.
"""

from typing import TYPE_CHECKING

from gopro_tools.verbs import lazy_package

if TYPE_CHECKING:
    from gopro_tools.gopro_large.checking import Agreement, CheckResult, check
    from gopro_tools.gopro_large.config import (
        KINDS,
        CheckConfig,
        DownloadConfig,
        Kind,
        RegenerateConfig,
    )
    from gopro_tools.gopro_large.downloading import DownloadResult, download
    from gopro_tools.gopro_large.regeneration import RegenerateResult, regenerate
    from gopro_tools.gopro_large.table import LargeImage, LargeSequence, recipe

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
    "download",
    "main",
    "recipe",
    "regenerate",
]


def main() -> None:
    """The command line."""
    from gopro_tools.console import run_command
    from gopro_tools.gopro_large.command import command

    run_command(command)


lazy_package(
    __name__,
    KINDS="gopro_tools.gopro_large.config",
    Agreement="gopro_tools.gopro_large.checking",
    CheckConfig="gopro_tools.gopro_large.config",
    CheckResult="gopro_tools.gopro_large.checking",
    DownloadConfig="gopro_tools.gopro_large.config",
    DownloadResult="gopro_tools.gopro_large.downloading",
    Kind="gopro_tools.gopro_large.config",
    LargeImage="gopro_tools.gopro_large.table",
    LargeSequence="gopro_tools.gopro_large.table",
    RegenerateConfig="gopro_tools.gopro_large.config",
    RegenerateResult="gopro_tools.gopro_large.regeneration",
    check="gopro_tools.gopro_large.checking",
    download="gopro_tools.gopro_large.downloading",
    recipe="gopro_tools.gopro_large.table",
    regenerate="gopro_tools.gopro_large.regeneration",
)
