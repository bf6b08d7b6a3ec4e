"""Recipes by name: settings of published datasets, and what each name stands for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gopro_tools.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings that a name stands for."""

    settings: Mapping[str, Any]
    """Defaults of `SynthesisConfig` that it changes."""
    stands_for: str
    """Whose recipe it is, with its source."""


_NAH = "Nah et al., CVPR 2017"
_REDS: Mapping[str, Any] = MappingProxyType({"frames": "5", "stride": 5, "interpolate": 16})
_REDS_EXPOSURE = (
    "120 fps, 15 frames into each gap, 65 averaged, one image per 5 source frames (24 fps, duty "
    "cycle 0.8). Name its interpolator and its measured response with --interpolator and "
    "--response."
)
RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "gopro_large": Recipe(
            settings={"frames": "11"},
            stands_for=f"GOPRO_Large ({_NAH}): 11 frames of 240 fps, no dead time; all its test "
            "images and all but three training sequences.",
        ),
        "gopro_7": Recipe(
            settings={"frames": "7"},
            stands_for=f"GOPRO_Large's GOPR0372 sequences ({_NAH}): 7 frames of 240 fps.",
        ),
        "reds": Recipe(
            settings=_REDS,
            stands_for="The exposure of REDS (Nah et al., NTIRE 2019; SeungjunNah/"
            f"DeepDeblur_release, issue 49): {_REDS_EXPOSURE}",
        ),
        "reds_deblur": Recipe(
            settings={**_REDS, "kinds": ("sharp", "blur_gamma"), "size": "720x1280"},
            stands_for="The pairs of REDS for deblurring, its folders train_blur and train_sharp "
            "(NTIRE 2019 Challenge on Video Deblurring, track 1; NTIRE 2020): images of 1280x720, "
            f"blurred in linear light alone. {_REDS_EXPOSURE} The track blur_comp has the same "
            "images compressed as MPEG video, which is not done here.",
        ),
        "deblurgan_wild": Recipe(
            settings={"frames": "5-25", "draw_per": "image"},
            stands_for="DeblurGAN (Kupyn et al., CVPR 2018, section 6.3): 5 to 25 frames of 240 "
            "fps, drawn per image, gamma 2.2.",
        ),
        "rsblur": Recipe(
            settings={
                "response": "srgb",
                "frames": "9",
                "interpolate": 8,
                "saturation": True,
                "noise": "rsblur",
                "isp": "sony_a7r3",
            },
            stands_for="RSBlur (Rim et al., ECCV 2022): 9 frames interpolated to 65, sRGB curve, "
            "saturation, raw noise and camera processing. Its response of a Sony A7R3 is not "
            "applied; name its interpolator (ABME) with --interpolator.",
        ),
    }
)


def recipe_named(name: str) -> Recipe:
    """A recipe of `RECIPES`, ``duty:A/B`` or ``random:A-B``.

    Args:
        name: ``duty:11/16`` averages 11 of every 16 frames: the shutter is open for 11/16 of the
            time. ``random:1-15`` draws each image's number of frames (STGTN).

    Raises:
        InputError: It is none of these.
    """
    if name in RECIPES:
        return RECIPES[name]
    if match := re.fullmatch(r"duty:(\d+)/(\d+)", name):
        n_open, n_period = int(match[1]), int(match[2])
        if 1 <= n_open <= n_period:
            per: dict[str, Any] = {} if n_open % 2 else {"draw_per": "image"}
            return Recipe(
                settings={"frames": str(n_open), "stride": n_period, **per},
                stands_for=f"{n_open} of every {n_period} frames averaged: the duty cycle.",
            )
    if match := re.fullmatch(r"random:(\d+)-(\d+)", name):
        low, high = int(match[1]), int(match[2])
        if 1 <= low <= high:
            return Recipe(
                settings={"frames": f"{low}-{high}", "draw_per": "image"},
                stands_for=f"{low} to {high} frames, drawn per image, as in STGTN.",
            )
    raise InputError(
        f"--recipe {name}: one of {', '.join(RECIPES)}, duty:A/B (A of every B frames) or "
        "random:A-B (frames drawn per image) was expected."
    )
