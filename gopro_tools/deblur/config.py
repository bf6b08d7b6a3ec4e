"""What a user can ask of deblurring."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gopro_tools.dataset import BlurKind, Split
from gopro_tools.errors import InputError
from gopro_tools.shape import convert_fields

Runtime = Literal["auto", "onnxruntime", "opencv"]


@dataclass(frozen=True, kw_only=True)
class DeblurConfig:
    """How to deblur."""

    weights: Path | None = None
    """ONNX file of a network that takes and gives (N, 3, H, W) RGB in [0, 1]; the one that ships
    with the package by default."""
    runtime: Runtime = "auto"
    """What runs it; auto takes onnxruntime where it is installed, else OpenCV."""
    tile: int = 512
    """Side in px of the tiles that larger images are cut into."""
    overlap: int = 64
    """What neighbouring tiles share, in px."""
    compare: bool = False
    """Write blurred beside deblurred too, as <name>_compare.jpg or .mp4."""
    lossless: bool = False
    """Write videos as FFV1 in Matroska instead of H.264."""
    hdr: bool = False
    """Convert PQ and HLG video to SDR; without this it is refused."""
    deinterlace: bool = False
    """Read interlaced video, one field of each frame; without this it is refused."""
    split: Split = "test"
    """Which part of a dataset in the GOPRO layout."""
    blur_kind: BlurKind = "gamma"
    """Which blurred images of a dataset."""

    def __post_init__(self) -> None:
        """Refuse tiles that could not be blended."""
        convert_fields(self)
        if self.tile < 64:
            raise InputError(f"--tile {self.tile}: at least 64 px expected.")
        if not 0 <= self.overlap <= self.tile // 2:
            raise InputError(f"--overlap {self.overlap}: at most half a tile expected.")
