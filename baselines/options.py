"""What users can ask of computing and restoring, without torch: command lines are built from it."""

from dataclasses import dataclass
from typing import Literal

from gopro_tools.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """How networks are computed, in training and in restoring."""

    device: str = "auto"
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:1``."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """``bf16`` computes the networks in mixed precision, several times as fast on GPUs and on CPUs
    with instructions for it; weights stay in fp32."""
    channels_last: bool = True
    """Keep the channels of a pixel together in memory, which convolutions are faster with."""
    compile: bool = False
    """Compile the networks' residual blocks with `torch.compile`: faster for many patches or images
    of one size, after half a minute."""


@dataclass(frozen=True, kw_only=True)
class RestoreOptions(ComputeOptions):
    """How images are restored."""

    tile: int | None = None
    """Side of square tiles in pixels, for images that do not fit into memory whole. Neighbours
    share what the receptive field needs, but at most a quarter of a tile."""
    rounding: Literal["nearest", "truncate"] | None = None
    """How values become 8 bits. By default as in the recipe of the weights (DeblurGAN's code
    truncates), or else to the nearest."""
    seed: int = 0
    """Of the dropout that DeblurGAN keeps at test time; set again for each image."""

    def __post_init__(self) -> None:
        if self.tile is not None:
            from gopro_tools.tiles import TILE_ALIGNMENT_PX

            if self.tile < 2 * TILE_ALIGNMENT_PX:
                least = 2 * TILE_ALIGNMENT_PX
                raise InputError(f"--tile {self.tile}: at least {least} was expected.")
