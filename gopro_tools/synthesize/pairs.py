"""What is made from the frames of one exposure: the images of a pair, and facts about them.

Frames -> (interpolated frames) -> exact averages; and, where a stage of the sensor is on, light ->
sensor -> ``blur_real``. Without any stage this is `ExposureAverager` and nothing else.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from gopro_tools.averaging import ExposureAverager
from gopro_tools.exposure import Window
from gopro_tools.images import Rgb
from gopro_tools.synthesize.config import SynthesisConfig

if TYPE_CHECKING:
    from gopro_tools.flow import FlowEstimator
    from gopro_tools.interpolation import FlowInterpolator, Interpolator
    from gopro_tools.motion import MotionMeter

MOST_LOST_SHARE = 0.06
"""A window with a gap in which more pixels than this are lost (`FlowPair.lost_share`) is rejected
when frames are interpolated: the scene changed, or moves faster than flow can follow, which is
about a tenth of the width of the image per frame."""


@dataclass(kw_only=True)
class Made:
    """One pair."""

    window: Window
    """Frames that were averaged: those planned, or fewer if chosen by motion."""
    images: dict[str, Rgb] = field(default_factory=dict)
    """By kind."""
    latent: tuple[Rgb, ...] = ()
    """The frames of the window, if they are to be kept."""
    columns: dict[str, str] = field(default_factory=dict)
    """Columns of the manifest that the stages add."""
    fault: str = ""
    """Why there is no pair; then there are no images."""


class PairMaker:
    """Makes the pairs of one recipe. One instance serves one thread."""

    _flow: "tuple[FlowEstimator, FlowInterpolator] | None"
    _interpolator: "Interpolator | None"
    _meter: "MotionMeter | None"

    def __init__(self, config: SynthesisConfig) -> None:
        self._config = config
        self._flow = self._interpolator = self._meter = None
        # Modules of stages that are off are not loaded: it would take a worker half a second.
        if config.interpolate > 1:
            from gopro_tools.flow import FlowEstimator
            from gopro_tools.interpolation import FLOW, FlowInterpolator, load_interpolator

            self._flow = FlowEstimator(), FlowInterpolator()
            if config.interpolator != FLOW:
                self._interpolator = load_interpolator(config.interpolator)
        if config.measures_motion:
            from gopro_tools.motion import MotionMeter

            self._meter = MotionMeter()

    def make(
        self,
        frames: Sequence[Rgb],
        window: Window,
        *,
        key: str,
        interval_s: float,
    ) -> Made:
        """The pair of one window.

        Args:
            frames: (H, W, 3) uint8 RGB each, in time order: those of the window, with
                ``config.margin_frames(interval_s)`` more on either side.
            window: Which frames of the source they are, without that margin.
            key: Unique in the dataset: the seed of all that is drawn.
            interval_s: Time from one source frame to the next.
        """
        config = self._config
        margin = config.margin_frames(interval_s)
        made = Made(window=window)
        rng = np.random.default_rng(
            int.from_bytes(hashlib.sha256(f"{config.seed}:{key}".encode()).digest()[:16], "big")
        )
        if config.measures_motion:
            made = self._select(frames[margin : len(frames) - margin], window, rng)
            if made.fault:
                return made
            cut = made.window.start - window.start
            frames = frames[cut : cut + made.window.n_frames + 2 * margin]
        n_frames = len(frames) - 2 * margin
        sharp = frames[margin + n_frames // 2]
        if config.latent:
            made.latent = tuple(frames[margin : margin + n_frames])
        per_gap = 1
        if self._flow is not None:
            per_gap = config.interpolate
            frames, lost = self._filled(frames)
            made.columns["lost_share"] = f"{lost:.4f}"
            if lost > MOST_LOST_SHARE:
                made.fault = (
                    f"interpolation lost the motion: {100 * lost:.0f} % of the pixels have no "
                    "match in the next frame"
                )
                return made
        skip = margin * per_gap
        inner = frames[skip : len(frames) - skip]
        averager = averager_of(config, len(inner))
        if "blur" in config.kinds:
            exposure = averager.average(inner)
            made.images = {"sharp": sharp, "blur": exposure.blur, "blur_gamma": exposure.blur_gamma}
        else:
            made.images = {"sharp": sharp, "blur_gamma": averager.average_light(inner)}
        if config.makes_real:
            from gopro_tools.sensor import expose

            light = expose(
                np.stack(frames),
                config.camera,
                n_frames=len(inner),
                readout_frames=config.readout_ms / 1000 / interval_s * per_gap,
            )
            made.images["blur_real"], drawn = config.sensor.capture(light, config.camera, rng)
            made.columns |= {
                name: value if isinstance(value, str) else f"{value:.6g}"
                for name, value in drawn.items()
            }
        return made

    def _select(self, shown: Sequence[Rgb], window: Window, rng: np.random.Generator) -> Made:
        """Measure the motion of a window, choose its number of frames by it, or refuse it."""
        from gopro_tools.motion import noise_sigma, saturated_share

        assert self._meter is not None
        config = self._config
        made = Made(window=window)
        length = self._meter.blur_length(shown, exposure_frames=self._exposure_frames(len(shown)))
        wanted = config.motion_range_px
        if wanted is not None:
            per_interval_px = length.mean_px / self._exposure_frames(len(shown))
            reach = (per_interval_px * self._exposure_frames(2), length.mean_px)
            low, high = max(wanted[0], reach[0]), min(wanted[1], reach[1])
            if low > high:
                made.fault = (
                    f"a blur of {config.motion_px} px is out of reach: 2 to {len(shown)} frames "
                    f"give {reach[0]:.1f} to {reach[1]:.1f} px"
                )
                return made
            target_px = float(rng.uniform(low, high))
            # The exposure of n frames is one interval less where gaps are filled.
            extra = len(shown) - self._exposure_frames(len(shown))
            chosen = min(max(round(target_px / per_interval_px + extra), 2), len(shown))
            made.window = window.around_middle(chosen)
            cut = made.window.start - window.start
            shown = shown[cut : cut + chosen]
            length = self._meter.blur_length(shown, exposure_frames=self._exposure_frames(chosen))
            made.columns["motion_target_px"] = f"{target_px:.3f}"
        made.columns |= {
            "motion_mean_px": f"{length.mean_px:.3f}",
            "motion_p95_px": f"{length.p95_px:.3f}",
            "saturated_share": f"{saturated_share(shown[len(shown) // 2]):.5f}",
            "noise_sigma": f"{noise_sigma(shown[len(shown) // 2]):.3f}",
        }
        least, most = config.least_motion_px, config.most_motion_px
        if least is not None and length.mean_px < least:
            made.fault = f"motion of {length.mean_px:.2f} px, less than {least:g} px"
        elif most is not None and length.mean_px > most:
            made.fault = f"motion of {length.mean_px:.2f} px, more than {most:g} px"
        return made

    def _exposure_frames(self, n_frames: int) -> float:
        """How many frame intervals the mean of a window stands for."""
        per_gap = self._config.interpolate
        return float(n_frames) if per_gap == 1 else n_frames - 1 + 1 / per_gap

    def _filled(self, frames: Sequence[Rgb]) -> tuple[list[Rgb], float]:
        """The frames with those between them, and the worst gap's lost share."""
        assert self._flow is not None
        estimator, interpolator = self._flow
        n_between = self._config.interpolate - 1
        filled = [frames[0]]
        worst = 0.0
        for first, second in pairwise(frames):
            flow = estimator.estimate(first, second)
            worst = max(worst, flow.lost_share)
            if self._interpolator is None:
                between = interpolator.along(flow, first, second, n_between)
            else:
                between = self._interpolator.between(first, second, n_between)
            filled += [*between, second]
        return filled, worst


@lru_cache(maxsize=64)
def averager_of(config: SynthesisConfig, n_frames: int) -> ExposureAverager:
    """An averager; windows of a recipe differ in length where each draws its own."""
    return ExposureAverager(config.camera, n_frames)
