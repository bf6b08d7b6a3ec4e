"""What a user can ask for in scenes and clips."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from gopro_tools.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """What a scene shows and how it moves.

    Equal configs render equal pixels, with equal versions of the libraries.
    """

    seed: int = 0
    """Determines everything that is drawn: paths, objects, lights, and the photograph if not
    given."""
    size_hw: tuple[int, int] = (720, 1280)
    """Height and width of the frames."""
    photograph: str | Path | None = None
    """The background: a name of `PHOTOGRAPHS` or an image file; None draws a name."""
    object_photographs: tuple[str | Path, ...] = ()
    """What objects are cut from; empty takes the photographs of `PHOTOGRAPHS` not yet in use."""
    n_objects: int = 3
    """Objects that move on their own in front."""
    shake_px_s: float = 200.0
    """RMS speed of the background in the image."""
    object_speed_px_s: float = 250.0
    """RMS speed of each object relative to the background."""
    highlights: bool = True
    """Adds small lights, 4 to 25 times as bright as white, where the photograph has glints."""
    response: str = "gamma2.2"
    """Camera response, as `Response.named` knows it; decodes photographs and encodes frames."""

    def __post_init__(self) -> None:
        height, width = self.size_hw
        if height < 16 or width < 16:
            raise InputError(f"size {height}x{width}: scenes are at least 16x16 pixels.")
        if not 0 <= self.n_objects < 256:
            raise InputError(f"{self.n_objects} objects: 0 to 255 were expected.")
        for speed in (self.shake_px_s, self.object_speed_px_s):
            if not 0 <= speed < math.inf:
                raise InputError(f"speed {speed:g}: pixels per second, at least 0, were expected.")
        if self.seed < 0:
            raise InputError(f"seed {self.seed}: at least 0 was expected.")


def _size_from_text(values: list[str]) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", values[0])
    if match is None:
        raise ValueError(f"height x width, such as 540x960, was expected, found {values[0]}")
    return int(match[1]), int(match[2])


_SIZE = PrimitiveConstructorSpec(
    nargs=1,
    metavar="HxW",
    instance_from_str=_size_from_text,
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda size: ["x".join(map(str, size))],
)


@dataclass(frozen=True, kw_only=True)
class ClipsConfig:
    """Which clips to render."""

    out: Path
    """Folder the clips go to; a clip of the same name is replaced."""
    clips: int = 2
    """How many clips, each of a different photograph while they last."""
    seconds: float = 0.5
    """Length of a clip."""
    rate_hz: Annotated[float, tyro.conf.arg(aliases=["--rate"])] = 240.0
    """Frames per second."""
    size_hw: Annotated[tuple[int, int], _SIZE, tyro.conf.arg(aliases=["--size"])] = (540, 960)
    """Height and width, even."""
    seed: int = 0
    """Another seed gives other clips of the same photographs."""
    photographs: Path | None = None
    """Folder of photographs to render, searched to any depth, the largest files first; flat ones
    and look-alikes are left out. By default those that come with scikit-image. Keep photographs for
    training and for testing in separate folders."""
    n_objects: int = SceneConfig.n_objects
    """Objects that move on their own in front."""
    shake_px_s: float = SceneConfig.shake_px_s
    """RMS speed of the background in the image."""
    object_speed_px_s: float = SceneConfig.object_speed_px_s
    """RMS speed of each object relative to the background."""
    lossless: bool = False
    """H.264 in 8-bit RGB that decodes to the rendered values, instead of what cameras write."""
    motion_truth: bool = False
    """Also write NAME.motion.npz: ``homographies`` (frames, 1 + objects, 3, 3), from the plane of
    the background and of each object to the image, and ``object_ids_000000`` etc., (H, W), which of
    them each pixel of a frame shows."""

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise InputError(f"{self.clips} clips: at least one was expected.")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: at least 0 was expected.")
        is_finite = math.isfinite(self.rate_hz) and math.isfinite(self.seconds)
        if not (is_finite and self.rate_hz > 0 and self.n_frames >= 1):
            raise InputError(
                f"{self.seconds:g} s at {self.rate_hz:g} Hz: at least one frame was expected."
            )
        if any(side % 2 for side in self.size_hw) and not self.lossless:
            height, width = self.size_hw
            raise InputError(
                f"size {height}x{width}: video with 4:2:0 chroma needs even sides; choose even "
                "ones, or --lossless."
            )

    @property
    def n_frames(self) -> int:
        """Frames of each clip."""
        return round(self.seconds * self.rate_hz)
