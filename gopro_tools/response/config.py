"""What a user can ask of response curves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Method = Literal["robertson", "debevec"]


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """Measure a camera's response from one still scene at several exposure times."""

    bracket: tyro.conf.Positional[Path]
    """Folder of 8-bit images: on a tripod, with the same aperture, ISO and white balance; only the
    shutter time changes. Eight images over six stops are good."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("response.npy")
    """Table to write (256x1x3, BGR, as OpenCV and the REDS page have it), for --response; a plot of
    the same name with .png is written beside it."""
    method: Method = "robertson"
    """robertson uses all pixels; debevec a few, with a smooth curve."""
    times: tuple[str, ...] = ()
    """Exposure times, such as 1/60 1/30 1/15, in natural order of the file names; taken from EXIF
    by default."""


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Describe a response, and plot it."""

    response: tyro.conf.Positional[str]
    """A .npy table, or gamma2.2, srgb, linear."""
    plot: Path | None = None
    """Where to write a plot (.png); needs matplotlib."""
