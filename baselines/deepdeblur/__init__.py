"""DeepDeblur, the multi-scale network of Nah, Kim and Lee (CVPR 2017)."""

from baselines.deepdeblur.network import (
    PAPER_N_RESBLOCKS,
    DeepDeblur,
    Discriminator,
    DiscriminatorLayout,
    start_as_identity,
)
from baselines.deepdeblur.pyramid import PyramidKind, pad_to_multiple, pyramid

__all__ = [
    "PAPER_N_RESBLOCKS",
    "DeepDeblur",
    "Discriminator",
    "DiscriminatorLayout",
    "PyramidKind",
    "pad_to_multiple",
    "pyramid",
    "start_as_identity",
]
