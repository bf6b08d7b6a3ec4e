"""What a user can ask for in tables."""

from dataclasses import dataclass
from typing import Literal

from gopro_tools.shape import convert_fields

Format = Literal["md", "csv", "latex"]


@dataclass(frozen=True, kw_only=True)
class TablesConfig:
    """Which numbers to show."""

    published: bool = False
    """Add the published numbers that are comparable with what was measured: on the same public
    dataset, kind of blur and protocol. Without results, show all published numbers."""
    all: bool = False
    """Add all published numbers, in separate tables."""
    metrics: tuple[str, ...] = ()
    """Only these: psnr, ssim, lpips, vmaf, dists, niqe, blur_effect, tof, precision, recall, f1,
    ap50, map50_95, time_s, or a protocol such as ssim_gauss."""
    methods: tuple[str, ...] = ()
    """Only these methods, as the table names them; case, spaces and punctuation do not count."""
    dataset: str | None = None
    """Only numbers on this dataset, by its name."""
    split: str | None = None
    """Only numbers on this split."""
    blur_kind: str | None = None
    """Only numbers on this kind of blur: gamma or linear_crf."""
    separate: bool = False
    """One table of all results, with columns of their own for those that differ in dataset, split,
    kind of blur, resolution or settings; by default that is an error."""

    def __post_init__(self) -> None:
        """Refuse wrong types."""
        convert_fields(self)
