"""What a user can ask of the export."""

from dataclasses import dataclass
from typing import Literal, get_args

from gopro_tools.dataset import BlurKind
from gopro_tools.errors import InputError
from gopro_tools.shape import convert_fields

Format = Literal["flat", "crops", "lmdb", "webdataset", "huggingface"]
FORMATS: tuple[Format, ...] = get_args(Format)
_CROPPED: frozenset[Format] = frozenset({"crops", "lmdb"})


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Which format, and how it is cut."""

    to: Format
    """flat, crops, lmdb, webdataset or huggingface."""
    blur_kind: BlurKind | None = None
    """Which blurred images; may be left out where the dataset has one kind only."""
    crop_px: int = 512
    """Side of the crops of ``crops`` and ``lmdb``; 0 leaves the training images whole."""
    crop_step_px: int = 256
    """Distance from crop to crop. The last one in a row or column ends at the border."""
    samples_per_shard: int = 256
    """Pairs in one tar file of ``webdataset``."""

    def __post_init__(self) -> None:
        """Refuse what cannot be cut."""
        convert_fields(self)
        if self.to not in FORMATS:
            raise InputError(f"--to {self.to}: expected one of {', '.join(FORMATS)}.")
        if self.crop_px < 0 or self.crop_step_px < 1 or self.samples_per_shard < 1:
            raise InputError(
                "--crop-px must be at least 0, --crop-step-px and --samples-per-shard at least 1."
            )

    @property
    def cut_px(self) -> int:
        """Side of the crops this format cuts from training images; 0 where it cuts none."""
        return self.crop_px if self.to in _CROPPED else 0
