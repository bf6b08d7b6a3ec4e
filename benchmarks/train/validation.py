"""Restoring some test images while a network is trained."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from baselines.data import FramePairs
from baselines.machine import RunOptions
from baselines.method import Recipe
from baselines.restoring import NetworkRestorer, RestoreOptions
from benchmarks.train.journal import middle_square
from gopro_tools.dataset import BlurKind
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.metrics import psnr_rgb


class Validation:
    """Pairs of the test split, and how a network does on them."""

    def __init__(
        self,
        data: Path,
        blur_kind: BlurKind,
        recipe: Recipe,
        options: RunOptions,
        device: torch.device,
    ) -> None:
        """Read the pairs: ``options.n_validation_images``, spread evenly over the split.

        Raises:
            InputError: There is no test split, or an image cannot be read.
        """
        try:
            pairs = FramePairs(data, "test", blur_kind, resize_hw=recipe.patches.resize_hw)
        except InputError as error:
            raise InputError(
                f"{error} Validation needs a test split; --n-validation-images 0 does without."
            ) from error
        n = min(options.n_validation_images, len(pairs))
        chosen = np.linspace(0, len(pairs) - 1, n).round().astype(int)
        images = [pairs.frames(int(index)) for index in chosen]
        crop_px = options.validation_crop_px
        if crop_px is not None:
            images = [(middle_square(b, crop_px), middle_square(s, crop_px)) for b, s in images]
        self.pairs = images
        self._options = RestoreOptions(
            device=str(device),
            half="bf16" if options.precision == "bf16" else None,
            channels_last=options.channels_last,
            rounding=recipe.output_rounding,
        )

    def restored(self, network: nn.Module) -> list[tuple[Rgb, Rgb, Rgb]]:
        """Blurred, restored and sharp image of each pair."""
        restorer = NetworkRestorer(network, self._options)
        # Whole images have sizes of their own; compiling for each would take longer than it saves.
        with torch.compiler.set_stance("force_eager"):
            return [(blurred, restorer.restore(blurred), sharp) for blurred, sharp in self.pairs]


def scores_of(rows: list[tuple[Rgb, Rgb, Rgb]]) -> dict[str, float]:
    """Mean PSNR of restored and of blurred images, by name with unit."""
    return {
        "psnr_rgb_db": float(np.mean([psnr_rgb(sharp, restored) for _, restored, sharp in rows])),
        "blurred_psnr_rgb_db": float(
            np.mean([psnr_rgb(sharp, blurred) for blurred, _, sharp in rows])
        ),
    }
