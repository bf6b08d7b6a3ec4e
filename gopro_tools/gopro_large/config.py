"""What a user can ask for: to rebuild GOPRO_Large, check it, or download it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gopro_tools.errors import InputError

Kind = Literal["sharp", "blur", "blur_gamma"]
KINDS: tuple[Kind, ...] = ("sharp", "blur", "blur_gamma")
Archive = Literal["GOPRO_Large", "GOPRO_Large_all"]


@dataclass(frozen=True, kw_only=True)
class RegenerateConfig:
    """Rebuild GOPRO_Large from its released frames."""

    frames: tyro.conf.Positional[Path]
    """GOPRO_Large_all: train and test with <sequence>/<frame>.png."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where GOPRO_Large goes. The same command resumes where it was interrupted."""
    kinds: tuple[Kind, ...] = KINDS
    """Which images to write."""
    sequences: tuple[str, ...] = ()
    """Only these, such as GOPR0384_11_00, if only some frames are there; all 33 by default."""
    jobs: int = 0
    """Images made at once; 0 uses all cores."""
    findings: Path | None = None
    """CSV file for the findings; stdout by default."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        _check_kinds_and_jobs(self.kinds, self.jobs)
        if self.out.resolve() == self.frames.resolve():
            raise InputError(f"{self.out}: the images cannot go where the frames are.")


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Verify a copy of GOPRO_Large against the released frames."""

    dataset: tyro.conf.Positional[Path]
    """The copy of GOPRO_Large."""
    frames: tyro.conf.Positional[Path]
    """GOPRO_Large_all."""
    tolerance_levels: int = 2
    """How far a value of blur_gamma may be from ours, of 255 levels. sharp and blur have to be
    equal; blur_gamma was made from the videos, and is not known to be reproducible exactly."""
    kinds: tuple[Kind, ...] = KINDS
    """Which images to check."""
    sequences: tuple[str, ...] = ()
    """Only these, if only part of the dataset is there; all 33 by default."""
    jobs: int = 0
    """Images checked at once; 0 uses all cores."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """CSV file for the findings; stdout by default."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        _check_kinds_and_jobs(self.kinds, self.jobs)
        if not 0 <= self.tolerance_levels <= 255:
            raise InputError(f"tolerance_levels must be 0 to 255, found {self.tolerance_levels}.")


@dataclass(frozen=True, kw_only=True)
class DownloadConfig:
    """Download the original dataset, and check it."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder that GOPRO_Large goes into. A ZIP that lies there already is unpacked, and kept."""
    what: tuple[Archive, ...] = ("GOPRO_Large",)
    """GOPRO_Large (the pairs) and GOPRO_Large_all (the 240 fps frames they were made from)."""
    endpoint: str | None = None
    """A mirror of the Hugging Face Hub; by default the one in HF_ENDPOINT, or the Hub itself."""
    keep_zip: bool = False
    """Keep the ZIP that was downloaded after it is unpacked."""
    findings: Path | None = None
    """CSV file for what the check finds; stdout by default."""

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if not self.what or len(set(self.what)) < len(self.what):
            raise InputError("--what: GOPRO_Large, GOPRO_Large_all or both, each once.")


def _check_kinds_and_jobs(kinds: Sequence[Kind], jobs: int) -> None:
    """Raise InputError for kinds that do not exist, or none, or a negative number of jobs."""
    if not kinds or set(kinds) - set(KINDS):
        raise InputError(f"kinds must be some of {', '.join(KINDS)}; found {', '.join(kinds)}.")
    if jobs < 0:
        raise InputError(f"jobs must be 0 (all cores) or more, found {jobs}.")
