"""What a user can ask of the synthesis."""

import re
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from gopro_tools.errors import InputError
from gopro_tools.response import Response

Kind = Literal["sharp", "blur_gamma", "blur"]

LOWEST_RATE_HZ = 60.0
"""Below this, neighbouring frames are too far apart for their mean to look like one exposure."""
LOW_RATE_HZ = 120.0
"""Below this, fast motion leaves ghosts (the original was filmed at 240 fps)."""


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """How blurred and sharp images are made. The defaults are the recipe of GOPRO_Large."""

    frames: str = "11"
    """Frames averaged into one blurred image, odd: a number, or a range such as 7-13 from which
    each clip draws its own."""
    stride: int | None = None
    """Frames from one exposure to the next; as many as are averaged by default, so that exposures
    touch (no dead time)."""
    response: str = "gamma2.2"
    """Camera response to undo before averaging: gamma2.2 (or another number), srgb, linear, log100,
    log316, or a .npy file with a measured 256x3 table."""
    kinds: tuple[Kind, ...] = ("sharp", "blur_gamma", "blur")
    """Which images to write: sharp (middle frame), blur_gamma (mean in linear light), blur (plain
    mean of the code values)."""
    size: str | None = None
    """Resize frames to HEIGHTxWIDTH before averaging, such as 360x640."""
    scale: float | None = None
    """Resize frames by this factor before averaging, such as 0.5."""
    max_pairs: int | None = None
    """Take at most the first so many windows of each clip."""
    test_fraction: float = 0.0
    """Share of the recordings that goes to test/; a recording is never in both splits."""
    test_recordings: tuple[str, ...] = ()
    """Recordings that go to test/, in place of a share: names (of files, without suffix), with the
    wildcards * and ?."""
    fps: float | None = None
    """Rate at which the frames were filmed, overruling what the files say."""
    allow_low_rate: bool = False
    """Accept sources below 60 frames a second."""
    stream: int | None = None
    """Number of the video stream to read, as FFmpeg counts a file's streams from 0; by default the
    one that is no still, marked as default, and largest."""
    deinterlace: bool = False
    """Read interlaced video: the first field of each frame, its lines interpolated; without this
    it is refused."""
    hdr: bool = False
    """Convert PQ and HLG video to SDR, BT.709; without this it is refused."""
    check: bool = True
    """Reject windows that cross a scene cut or hold a repeated frame."""
    seed: int = 0
    """Seed of the drawn frame counts and of the split."""

    def __post_init__(self) -> None:
        """Check what can be checked without reading a source."""
        _ = self.frame_counts
        _ = self.size_hw
        if self.stride is not None and self.stride < 1:
            raise InputError(f"--stride {self.stride}: at least 1 expected.")
        if self.max_pairs is not None and self.max_pairs < 1:
            raise InputError(f"--max-pairs {self.max_pairs}: at least 1 expected.")
        if not 0 <= self.test_fraction < 1:
            raise InputError(f"--test-fraction {self.test_fraction}: 0 <= fraction < 1 expected.")
        if self.test_recordings and self.test_fraction:
            raise InputError("--test-recordings and --test-fraction exclude each other.")
        if self.size is not None and self.scale is not None:
            raise InputError("--size and --scale exclude each other.")
        if self.scale is not None and not 0 < self.scale <= 1:
            raise InputError(f"--scale {self.scale}: 0 < scale <= 1 expected; frames only shrink.")
        if self.fps is not None and not self.fps > 0:
            raise InputError(f"--fps {self.fps}: a positive rate expected.")
        if self.stream is not None and self.stream < 0:
            raise InputError(f"--stream {self.stream}: a stream's number, from 0, expected.")
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise InputError("--kinds: one or more of sharp, blur_gamma, blur, each once.")

    @cached_property
    def frame_counts(self) -> tuple[int, ...]:
        """The frame counts a clip draws from."""
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", str(self.frames).strip())
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if low < 1 or high < low or low % 2 == 0 or high % 2 == 0:
            raise InputError(
                f"--frames {self.frames}: an odd number (11) or a range with odd ends (7-13) was "
                "expected; only an odd number of frames has a middle one."
            )
        return tuple(range(low, high + 1, 2))

    @cached_property
    def size_hw(self) -> tuple[int, int] | None:
        """The size of ``--size``, height first."""
        if self.size is None:
            return None
        match = re.fullmatch(r"(\d+)[xX](\d+)", self.size.strip())
        if match is None or int(match[1]) < 1 or int(match[2]) < 1:
            raise InputError(f"--size {self.size}: HEIGHTxWIDTH expected, such as 360x640.")
        return int(match[1]), int(match[2])

    def output_size_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Size of the images made from frames of ``size_hw``."""
        if self.size_hw is not None:
            return self.size_hw
        if self.scale is None:
            return size_hw
        return max(1, round(size_hw[0] * self.scale)), max(1, round(size_hw[1] * self.scale))

    @property
    def camera(self) -> Response:
        """The response itself.

        Raises:
            InputError: There is no such response.
        """
        return _response(self.response)

    def effective(self) -> dict[str, Any]:
        """Every setting as it took effect, for the record; equal records give equal datasets."""
        settings = asdict(self)
        settings["response"] = Path(self.response).name
        settings["response_hash"] = self.camera.fingerprint
        settings["kinds"] = sorted(self.kinds)
        settings["test_recordings"] = sorted(self.test_recordings)
        # Left at their default, settings that came later do not make another dataset.
        for name in ("stream", "deinterlace"):
            if settings[name] is None or settings[name] is False:
                del settings[name]
        return settings


@lru_cache(maxsize=8)
def _response(name: str) -> Response:
    return Response.named(name)
