"""Photographs in, blurred/sharp pairs in the GOPRO_Large layout out: blur by random kernels.

What DeblurGAN calls Synth: each photograph is blurred, as light, with a kernel of random hand-held
motion (`gopro_tools.kernels`), which is kept beside the pair. The whole image moves alike, so this
is no substitute for pairs from video; combined with them, it is DeblurGAN's Comb.
"""

from typing import TYPE_CHECKING

from gopro_tools.verbs import lazy_package

if TYPE_CHECKING:
    from gopro_tools.synthesize_stills.config import StillsConfig
    from gopro_tools.synthesize_stills.run import StillsSummary, synthesize_stills

__all__ = [
    "StillsConfig",
    "StillsSummary",
    "main",
    "synthesize_stills",
]


def main() -> None:
    """Console script and ``python -m gopro_tools.synthesize_stills``."""
    from gopro_tools.console import run_command
    from gopro_tools.synthesize_stills.command import command

    run_command(command)


lazy_package(
    __name__,
    StillsConfig="gopro_tools.synthesize_stills.config",
    StillsSummary="gopro_tools.synthesize_stills.run",
    synthesize_stills="gopro_tools.synthesize_stills.run",
)
