"""What users ask of computing, training and restoring, as data: without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gopro_tools.errors import InputError

Cache = Literal["memory", "none"]


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
    """Seed of the dropout that DeblurGAN keeps at test time; set again for each image."""

    def __post_init__(self) -> None:
        if self.tile is not None:
            from gopro_tools.tiles import TILE_ALIGNMENT_PX

            if self.tile < (least := 2 * TILE_ALIGNMENT_PX):
                raise InputError(f"--tile {self.tile}: at least {least} was expected.")


@dataclass(frozen=True, kw_only=True)
class RunOptions(ComputeOptions):
    """Speed, checkpoints and display; the recipe holds what decides the outcome."""

    loop: Literal["auto", "host", "device"] = "auto"
    """``host``: threads cut patches, and each step waits for its figures. ``device``: the decoded
    pairs are kept on the device, patches are cut there, and figures are checked every ``log_every``
    steps, which is several times as fast on a GPU (a step is then one CUDA graph). ``auto``:
    ``device`` for one process on a GPU with the pairs in memory."""
    cache: Cache = "memory"
    """Keep decoded frames in memory, or decode them again for each patch (``none``)."""
    n_threads: int = 2
    """Threads that cut patches in advance; 0 cuts them between steps."""
    checkpoint_every_s: float = 600.0
    """Seconds between checkpoints. There is always one at the end, and one when stopped."""
    log_every: int = 20
    """Steps between lines of ``log.jsonl``, which hold means over these steps."""
    validate_every: int = 1000
    """Steps between validations."""
    n_validation_images: int = 8
    """Test pairs, evenly spread, to validate on; 0 for no validation."""
    vgg_weights: Path | None = None
    """Weights of VGG19 for DeblurGAN's content loss; by default torchvision's download."""
    start_from: Path | None = None
    """Weight file of the same architecture to fine-tune, of this project or an official one;
    without it, training starts from random weights. The record names its hash."""

    def __post_init__(self) -> None:
        if min(self.log_every, self.validate_every) < 1 or self.n_validation_images < 0:
            raise InputError("log_every and validate_every must be at least 1.")
        if self.n_threads < 0 or self.checkpoint_every_s < 0:
            raise InputError("n_threads and checkpoint_every_s must not be negative.")
        if self.loop == "device" and self.cache != "memory":
            raise InputError("--loop device needs the decoded pairs in memory (--cache memory).")
