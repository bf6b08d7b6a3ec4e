"""A dataset for those without GOPRO: rendered 240 fps clips of photographs, made into pairs.

    python -m gopro_tools.rendered --scale reduced --out DATA --photographs FOLDER

Each clip shows a part of one photograph before a shaking camera, with cut-outs of others moving in
front (`gopro_tools.scenes`), at a speed of its own; `gopro_tools.synthesize` averages its frames. A
photograph is in one split only, and so are pictures that look alike. The result has the layout of
GOPRO_Large and, because everything is rendered, the length of each image's blur is known::

    DATA/{train,test}/<clip>_11_00/{sharp,blur_gamma}/000001.png
    DATA/motion.csv        split, sequence, name, blur_px, background_px, fastest_px
    DATA/rendered.json     settings, photographs with hashes, each clip's scene; written last

While it is made, the videos lie in ``DATA.clips/``.
"""

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
    "render_dataset",
]
