"""What a dataset is found to be, and its images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

GOPRO = "GOPRO"
KOEHLER = "Köhler"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A dataset that was recognised, before its images are listed."""

    layout: str
    """GOPRO, flat, sequences (DVD, RealBlur), frames (RSBlur), REDS, HIDE or Köhler."""
    folder: Path
    """Where its images start."""
    split: str
    """The split as the dataset calls it; empty where it has none."""
    sharp: Path | None = None
    """Folder of sharp images, in layouts that have one."""
    blurred: Path | None = None
    """Folder of blurred images, in layouts that have one."""
    listed: Path | None = None
    """File that lists the pairs of the split."""
    has_both_kinds: bool = False
    """Whether it has blurred images of both kinds, by GOPRO's names."""
    note: str = ""
    """What a reader must know about the choice; empty where it is obvious."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The images of a dataset by key ``<sequence>/<name>``, named as the blurred ones are."""

    sharp: Mapping[PurePosixPath, tuple[Path, ...]]
    """One sharp image; in Köhler's set several, along the camera's path."""
    blurred: Mapping[PurePosixPath, Path]
