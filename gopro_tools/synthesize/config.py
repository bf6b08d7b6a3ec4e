"""What a user can ask of the synthesis."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from gopro_tools.errors import InputError
from gopro_tools.synthesize.recipes import recipe_named

if TYPE_CHECKING:
    from gopro_tools.response import Response
    from gopro_tools.sensor import Sensor

Kind = Literal["sharp", "blur_gamma", "blur", "blur_real"]

LOWEST_RATE_HZ = 60.0
"""Below this, neighbouring frames are too far apart for their mean to look like one exposure."""
LOW_RATE_HZ = 120.0
"""Below this, fast motion leaves ghosts (the original was filmed at 240 fps)."""
_RATES_HZ = (1e-3, 1e7)
"""From time lapses to the fastest cameras; others are typos."""

_GIVEN = "_given"


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """How blurred and sharp images are made. The defaults are the recipe of GOPRO_Large.

    A recipe changes the defaults: options given beside it win, even with the value that would be
    the default without the recipe.
    """

    recipe: str | None = None
    """Defaults by name: gopro_large, gopro_7, reds, reds_deblur, deblurgan_wild, rsblur, duty:11/16
    (11 of every 16 frames), random:1-15 (frames drawn per image). Other options win over it."""
    frames: str = "11"
    """Frames averaged into one blurred image, odd: a number, or a range such as 7-13 from which
    each clip draws its own."""
    draw_per: Literal["clip", "image"] = "clip"
    """With image, each image draws its number of frames from the range of --frames, even ones too;
    for an even number, the later of the two middle frames is the sharp one."""
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
    """At most this many windows per clip, from its start."""
    test_fraction: float = 0.0
    """Share of the recordings that goes to test/; a recording is never in both splits."""
    test_recordings: tuple[str, ...] = ()
    """Recordings that go to test/, instead of a share: names (of files, without suffix), with the
    wildcards * and ?."""
    fps: float | None = None
    """Rate at which the frames were filmed, overruling what the files say."""
    allow_low_rate: bool = False
    """Accept sources below 60 frames a second."""
    stream: int | None = None
    """Number of the video stream to read, as FFmpeg counts a file's streams from 0; by default the
    one that is not a still, is marked as default, and is largest."""
    deinterlace: bool = False
    """Read interlaced video: the upper field of each frame, its lines interpolated; without this
    it is refused."""
    hdr: bool = False
    """Convert PQ and HLG video to SDR, BT.709; without this it is refused."""
    check: bool = True
    """Reject windows that cross a scene cut or hold a repeated frame."""
    interpolate: int = 1
    """Make gaps between frames this many times as fine before averaging: 8 puts 7 frames into each
    gap. The exposure lasts from the first frame to the last."""
    interpolator: str = "flow"
    """What makes the frames between: flow (optical flow in both directions, occlusions handled), or
    your own, package.module:factory."""
    saturation: bool = False
    """Also write blur_real, with lights brighter than the frames could record (RSBlur)."""
    noise: str | None = None
    """Also write blur_real, with shot and read noise: rsblur, realblur, or SHOT,READ."""
    isp: str | None = None
    """Also write blur_real, through a camera's colours, Bayer mosaic, white balance and
    demosaicing: sony_a7r3, or srgb to leave colours as they are."""
    readout_ms: float = 0.0
    """Also write blur_real, with a rolling shutter that takes this long from the first row to the
    last; the sharp image is the middle frame of the middle row."""
    latent: bool = False
    """Keep all frames of each exposure, in the folder latent of its sequence."""
    measure_motion: bool = False
    """Add to the manifest how long the blur is (px), how much is saturated, and how noisy it is."""
    least_motion_px: float | None = None
    """Reject windows whose blur is shorter than this, mean over the image."""
    most_motion_px: float | None = None
    """Reject windows whose blur is longer than this."""
    motion_px: str | None = None
    """Choose each image's number of frames, up to --frames, so that its blur is as long as drawn
    from this range, such as 4-16."""
    seed: int = 0
    """Seed of the drawn frame counts and of the split."""

    def __new__(cls, **given: Any) -> Self:
        """Note which settings are given: `__init__` cannot tell them from defaults."""
        config = super().__new__(cls)
        if given:  # not where a pickle is loaded, whose settings are resolved already
            vars(config)[_GIVEN] = frozenset(given)
        return config

    def __post_init__(self) -> None:
        """Apply the recipe, and check what can be checked without reading a source."""
        given: frozenset[str] = vars(self).pop(_GIVEN, frozenset())
        if self.scale is not None:
            given |= {"size"}  # the other way to say it
        for name, value in self.recipe_settings.items():
            if name not in given:
                object.__setattr__(self, name, value)
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
        if self.fps is not None and not _RATES_HZ[0] <= self.fps <= _RATES_HZ[1]:
            raise InputError(
                f"--fps {self.fps:g}: frames per second, {_RATES_HZ[0]:g} to {_RATES_HZ[1]:g}, "
                "expected."
            )
        if self.stream is not None and self.stream < 0:
            raise InputError(f"--stream {self.stream}: a stream's number, from 0, expected.")
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise InputError("--kinds: one or more of sharp, blur_gamma, blur, each once.")
        self._check_stages()

    def _check_stages(self) -> None:
        if not 1 <= self.interpolate <= 64:
            raise InputError(f"--interpolate {self.interpolate}: 1 (off) to 64 expected.")
        if self.interpolate > 1 and self.frame_counts[0] < 2:
            raise InputError(
                f"--interpolate {self.interpolate} --frames {self.frames}: between frames of one "
                "exposure there must be a gap; at least 2 frames expected."
            )
        if not 0 <= self.readout_ms <= 1000:
            raise InputError(f"--readout-ms {self.readout_ms:g}: 0 to 1000 expected.")
        for name in ("least_motion_px", "most_motion_px"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                option = name.replace("_", "-")
                raise InputError(f"--{option} {value:g}: pixels, at least 0, expected.")
        least = self.least_motion_px or 0.0
        most = math.inf if self.most_motion_px is None else self.most_motion_px
        low, high = self.motion_range_px or (least, most)
        if max(least, low) > min(most, high):
            raise InputError(
                "--least-motion-px, --most-motion-px, --motion-px: no length of blur satisfies "
                "all; overlapping ranges expected."
            )
        if self.measures_motion and self.frame_counts[0] < 2:
            raise InputError(
                f"--frames {self.frames}: motion is measured between frames; at least 2 expected."
            )
        if self.noise or self.isp:
            _ = self.sensor
        _ = self.interpolator_sha256
        # A separate kind, beside the others: a stage that was asked for should be visible.
        if self.makes_real and "blur_real" not in self.kinds:
            object.__setattr__(self, "kinds", (*self.kinds, "blur_real"))
        if "blur_real" in self.kinds and not self.makes_real:
            raise InputError(
                "--kinds blur_real: a stage that makes it was expected: one or more of "
                "--saturation, --noise, --isp, --readout-ms, or --recipe rsblur."
            )

    @property
    def recipe_settings(self) -> Mapping[str, Any]:
        """What the recipe sets, whether or not it took effect; empty without a recipe.

        Raises:
            InputError: There is no such recipe.
        """
        return recipe_named(self.recipe).settings if self.recipe is not None else {}

    @cached_property
    def frame_counts(self) -> tuple[int, ...]:
        """The frame counts a clip draws from."""
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", str(self.frames).strip())
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if self.draw_per == "image" and 1 <= low <= high:
            return tuple(range(low, high + 1))
        if low < 1 or high < low or low % 2 == 0 or high % 2 == 0:
            raise InputError(
                f"--frames {self.frames}: an odd number (11) or a range with odd ends (7-13) was "
                "expected; only an odd number of frames has a middle one (--draw-per image takes "
                "even ones too)."
            )
        return tuple(range(low, high + 1, 2))

    @cached_property
    def motion_range_px(self) -> tuple[float, float] | None:
        """The range of ``--motion-px``."""
        if self.motion_px is None:
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", self.motion_px.strip())
        low, high = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
        if not 0 < low <= high:
            raise InputError(f"--motion-px {self.motion_px}: a range such as 4-16 was expected.")
        return low, high

    @property
    def measures_motion(self) -> bool:
        """Whether the motion of each window is measured."""
        asked = (self.least_motion_px, self.most_motion_px, self.motion_px)
        return self.measure_motion or any(each is not None for each in asked)

    @property
    def has_stages(self) -> bool:
        """Whether anything beyond averaging frames and writing images is asked for."""
        return self.interpolate > 1 or self.makes_real or self.measures_motion or self.latent

    @property
    def makes_real(self) -> bool:
        """Whether any stage makes ``blur_real``."""
        return self.saturation or bool(self.noise) or bool(self.isp) or self.readout_ms > 0

    @cached_property
    def sensor(self) -> "Sensor":
        """The stages of the sensor that are on.

        Raises:
            InputError: There is no such noise or camera.
        """
        # Imported where it is needed: numba takes a second to load.
        from gopro_tools.sensor import Isp, Noise, Saturation, Sensor

        return Sensor(
            saturation=Saturation() if self.saturation else None,
            noise=Noise.named(self.noise) if self.noise else None,
            isp=Isp(camera=self.isp) if self.isp else None,
        )

    @cached_property
    def interpolator_sha256(self) -> str:
        """Hash of the code of the user's own interpolator; empty for the built-in one.

        Raises:
            InputError: There is no such interpolator.
        """
        if self.interpolator == "flow":
            return ""
        from gopro_tools.interpolation import interpolator_sha256

        return interpolator_sha256(self.interpolator)

    def margin_frames(self, interval_s: float) -> int:
        """Source frames that a rolling shutter needs before and after a window."""
        return math.ceil(self.readout_ms / 1000 / 2 / interval_s)

    @property
    def stage_columns(self) -> tuple[str, ...]:
        """Columns of the manifest that the stages add, in order."""
        columns: list[str] = []
        if self.measures_motion:
            columns += ["motion_mean_px", "motion_p95_px", "saturated_share", "noise_sigma"]
        if self.motion_px is not None:
            columns.append("motion_target_px")
        if self.interpolate > 1:
            columns.append("lost_share")
        if self.saturation:
            columns.append("saturation")
        if self.noise:
            columns += ["noise_shot", "noise_read"]
        if self.isp:
            columns += ["bayer", "red_gain", "blue_gain"]
        if self.makes_real:
            columns.append("hash_blur_real")
        return tuple(columns)

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
    def camera(self) -> "Response":
        """The response itself.

        Raises:
            InputError: There is no such response.
        """
        return _response(self.response)

    def absolute(self) -> "SynthesisConfig":
        """A copy for a process with another working folder: files by their absolute path."""
        if not self.response.endswith(".npy"):
            return self
        return replace(self, response=str(Path(self.response).absolute()))

    def effective(self) -> dict[str, Any]:
        """Every setting as it took effect, for the record; equal records give equal datasets."""
        settings = asdict(self)
        settings["response"] = Path(self.response).name
        settings["response_hash"] = self.camera.fingerprint
        settings["kinds"] = sorted(self.kinds)
        settings["test_recordings"] = sorted(self.test_recordings)
        if self.interpolator_sha256:
            settings["interpolator_sha256"] = self.interpolator_sha256
        # Settings added later do not change the identity while left at their default.
        for field in fields(self):
            if field.name in _LATER_SETTINGS and settings[field.name] == field.default:
                del settings[field.name]
        return settings


_LATER_SETTINGS = frozenset(
    {
        "stream", "deinterlace", "recipe", "draw_per", "interpolate", "interpolator",
        "saturation", "noise", "isp", "readout_ms", "latent", "measure_motion",
        "least_motion_px", "most_motion_px", "motion_px",
    }
)  # fmt: skip


@lru_cache(maxsize=8)
def _response(name: str) -> "Response":
    from gopro_tools.response import Response

    return Response.named(name)
