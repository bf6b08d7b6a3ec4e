"""What a user can ask for in pairs made from photographs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.errors import InputError


@dataclass(frozen=True, kw_only=True)
class StillsConfig:
    """How photographs are blurred."""

    photographs: tyro.conf.Positional[Path]
    """Folder of photographs (8-bit RGB), searched recursively."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("stills")
    """Folder of the dataset."""
    per_photograph: int = 1
    """Blurred images of each photograph, each with its own kernel."""
    length_px: float = 60.0
    """Length of the motion's path with all its turns; half of it or less shows as blur."""
    response: str = "gamma2.2"
    """Camera response of the photographs: gamma2.2, srgb, linear, or a measured .npy table."""
    test_fraction: float = 0.0
    """Share of the photographs that goes to test/."""
    legacy: bool = False
    """Blur as DeblurGAN's released code does (code values, kernels scaled by their largest value
    and off-centre, contrast stretched), to repeat its results. blur_gamma and blur are then
    alike."""
    seed: int = 0
    """Another seed draws other kernels, and another split."""
    overwrite: bool = False
    """Replace a dataset at OUT that was made with other settings."""

    def __post_init__(self) -> None:
        """Check what can be checked without reading a photograph."""
        if self.per_photograph < 1:
            raise InputError(f"--per-photograph {self.per_photograph}: at least 1 expected.")
        if not 0 < self.length_px <= 500:
            raise InputError(f"--length-px {self.length_px}: 0 < length <= 500 expected.")
        if not 0 <= self.test_fraction < 1:
            raise InputError(f"--test-fraction {self.test_fraction}: 0 <= fraction < 1 expected.")
