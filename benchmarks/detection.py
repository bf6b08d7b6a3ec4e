"""``python -m benchmarks.detection``: recall of a detector over the length of camera blur."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.console import run_command
from gopro_tools.errors import InputError


@dataclass(frozen=True, kw_only=True)
class BlurConfig:
    """Measure recall of a detector over the length of camera blur."""

    photographs: tyro.conf.Positional[tuple[Path, ...]]
    """Street photographs, such as the two that come with the ultralytics package."""
    detector: str
    """As in gopro_tools.detect."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the table, the plot and the record."""
    blur_px: tuple[float, ...] = (0, 2, 4, 8, 12, 16, 24, 32, 48)
    """Lengths of blur: the path that the image moves during the exposure, mean over the image."""
    shakes: int = 6
    """Shakes of the camera per photograph."""
    resamples: int = 1000
    """Bootstrap resamples of the images, for the intervals."""
    seed: int = 0
    """Seed of the shakes and the bootstrap."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if self.shakes < 1 or self.resamples < 1:
            raise InputError("shakes and resamples must be at least 1.")
        if min(self.blur_px, default=-1) < 0 or not any(self.blur_px):
            raise InputError(f"blur_px: lengths of at least 0, not 0 alone, not {self.blur_px}.")


def command(config: tyro.conf.OmitArgPrefixes[BlurConfig]) -> int:
    """Measure recall of a detector over the length of camera blur."""
    from benchmarks.studies.detection import study

    study(config)
    return 0


if __name__ == "__main__":
    run_command(command)
