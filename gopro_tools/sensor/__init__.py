"""From the light of an exposure to the image a camera would store of it.

Averaging frames gives a blurred image that no camera took: highlights that saturated the frames do
not streak, there is no noise, no colour filter array, no demosaicing, and all rows are exposed at
once. Networks trained on it do worse on photographs (Rim et al., "Realistic Blur Synthesis for
Learning Image Deblurring", ECCV 2022: RSBlur). Each effect here is a separate stage, in that
paper's order::

    light of the frames (rolling shutter) -> saturation -> colours of the camera -> Bayer mosaic
    -> inverse white balance -> shot and read noise -> white balance -> demosaicing -> sRGB -> codes

What a stage draws at random (strength of the lights, gains, phase of the mosaic, noise) comes from
a generator that the caller seeds, and is returned.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gopro_tools.images import Rgb
from gopro_tools.response import Response
from gopro_tools.sensor.encoding import encode
from gopro_tools.sensor.isp import CAMERAS, Isp
from gopro_tools.sensor.light import Light, expose
from gopro_tools.sensor.noise import NOISE_LEVELS, Noise
from gopro_tools.sensor.saturation import Saturation

__all__ = [
    "CAMERAS",
    "NOISE_LEVELS",
    "Drawn",
    "Isp",
    "Light",
    "Noise",
    "Saturation",
    "Sensor",
    "expose",
]

Drawn = Mapping[str, float | str]
"""What was drawn for one image, by column name."""


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """The stages that are switched on; without any, light is only encoded."""

    saturation: Saturation | None = None
    """Lights brighter than the frames could record."""
    noise: Noise | None = None
    """Shot and read noise: on the mosaic with `isp`, else on each channel of linear sRGB."""
    isp: Isp | None = None
    """Colours of a camera, Bayer mosaic, white balance, demosaicing, and back."""

    def __bool__(self) -> bool:
        """Whether any stage is on."""
        return any((self.saturation, self.noise, self.isp))

    def capture(
        self, light: Light, response: Response, rng: np.random.Generator
    ) -> tuple[Rgb, Drawn]:
        """The image a camera stores of an exposure.

        Args:
            light: What `expose` gathered.
            response: Encodes it.
            rng: Source of all that is drawn.

        Returns:
            (H, W, 3) uint8, and what was drawn.
        """
        drawn: dict[str, float | str] = {}
        linear = light.mean
        if self.saturation is not None:
            alpha = self.saturation.draw(rng)
            drawn["saturation"] = alpha
            linear = self.saturation.brighten(light, alpha)
        linear = np.minimum(linear, np.float32(1))
        levels = None
        if self.noise is not None:
            levels = self.noise.draw(rng)
            drawn |= {"noise_shot": levels.shot, "noise_read": levels.read}
        if self.isp is not None:
            balance = self.isp.draw(rng)
            drawn |= {
                "bayer": balance.pattern,
                "red_gain": balance.red_gain,
                "blue_gain": balance.blue_gain,
            }
            linear = self.isp.develop(linear, balance, levels, rng)
        elif levels is not None:
            # No noise where the sensor is full, as in RSBlur.
            noisy = levels.added_to(linear, rng)
            linear = np.where(linear >= 1, linear, noisy)
        return encode(linear, response), drawn
