"""Restoring some test images while a network is trained."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from baselines.data import FramePairs
from baselines.machine import Setting
from baselines.options import RestoreOptions
from baselines.recipe import Recipe
from baselines.restoring import NetworkRestorer
from benchmarks.pictures import sheet
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.metrics import psnr_rgb


class Validation:
    """Pairs of the test split, and how a network does on them."""

    def __init__(self, data: Path, recipe: Recipe, setting: Setting) -> None:
        """Read the pairs: ``n_validation_images``, spread evenly over the split.

        Raises:
            InputError: There is no test split, or an image cannot be read.
        """
        options = setting.options
        try:
            pairs = FramePairs(data, "test", setting.blur_kind, resize_hw=recipe.patches.resize_hw)
        except InputError as error:
            raise InputError(
                f"{error} Validation needs a test split; --n-validation-images 0 does without."
            ) from error
        n = min(options.n_validation_images, len(pairs))
        chosen = np.linspace(0, len(pairs) - 1, n).round().astype(int)
        self.pairs = [pairs.frames(int(index)) for index in chosen]
        self._options = RestoreOptions(
            device=str(setting.device),
            precision=options.precision,
            channels_last=options.channels_last,
            rounding=getattr(recipe, "output_rounding", None),
        )

    def scores(self, network: nn.Module) -> tuple[dict[str, float], Rgb]:
        """Mean PSNR of restored and of blurred images, by name with unit; and the first pair."""
        restorer = NetworkRestorer(network, self._options)
        # Whole images have sizes of their own; compiling for each would take longer than it saves.
        with torch.compiler.set_stance("force_eager"):
            restored = [restorer.restore(blurred) for blurred, _ in self.pairs]
        scored = list(zip(self.pairs, restored, strict=True))
        (blurred, sharp), first = scored[0]
        picture = sheet([("blurred", blurred), ("restored", first), ("sharp", sharp)], n_columns=3)
        return {
            "psnr_rgb_db": float(np.mean([psnr_rgb(sharp, image) for (_, sharp), image in scored])),
            "blurred_psnr_rgb_db": float(np.mean([psnr_rgb(s, b) for b, s in self.pairs])),
        }, picture
