"""A dataset for those without GOPRO: rendered 240 fps clips of photographs, made into pairs.

    python -m gopro_tools.rendered --scale reduced --out DATA --photographs FOLDER

Each clip shows a part of one photograph before a shaking camera, with cut-outs of others moving in
front (`gopro_tools.scenes`), at a speed of its own; `gopro_tools.synthesize` averages its frames. A
photograph is in one split only, as are photographs that look alike. The result has the layout of
GOPRO_Large and, because everything is rendered, the length of each image's blur is known::

    DATA/{train,test}/<clip>_11_00/{sharp,blur_gamma}/000001.png
    DATA/motion.csv        split, sequence, name, blur_px, background_px, fastest_px
    DATA/rendered.json     settings, photographs with hashes, each clip's scene; written last

While it is made, the videos lie in ``DATA.clips/``.
"""

from typing import TYPE_CHECKING

from gopro_tools.verbs import lazy_package

if TYPE_CHECKING:
    from gopro_tools.rendered.clips import RENDERED, RenderedConfig
    from gopro_tools.rendered.dataset import (
        MOTION_FILE,
        RENDERED_FILE,
        RENDERED_NAME,
        blur_lengths,
        is_rendered,
        render_dataset,
    )

__all__ = [
    "MOTION_FILE",
    "RENDERED",
    "RENDERED_FILE",
    "RENDERED_NAME",
    "RenderedConfig",
    "blur_lengths",
    "is_rendered",
    "main",
    "render_dataset",
]


def main() -> None:
    """The command line."""
    from gopro_tools.console import run_command
    from gopro_tools.rendered.command import command

    run_command(command)


lazy_package(
    __name__,
    MOTION_FILE="gopro_tools.rendered.dataset",
    RENDERED="gopro_tools.rendered.clips",
    RENDERED_FILE="gopro_tools.rendered.dataset",
    RENDERED_NAME="gopro_tools.rendered.dataset",
    RenderedConfig="gopro_tools.rendered.clips",
    blur_lengths="gopro_tools.rendered.dataset",
    is_rendered="gopro_tools.rendered.dataset",
    render_dataset="gopro_tools.rendered.dataset",
)
