"""Restoring 1280x720 images: our options against the plain eager form in float32, in one run.

From 8-bit RGB in the computer's memory to 8-bit RGB there, with DeepDeblur, K = 3: the paper's
network on a GPU; on a CPU, where an image takes minutes, the smoke preset's. The contenders take
turns, so that a busy machine slows all alike; the figure is the median image.
"""

from collections.abc import Mapping

import numpy as np
import torch

from baselines.deepdeblur.network import DeepDeblur
from baselines.devices import chosen_device
from baselines.options import RestoreOptions
from baselines.restoring import NetworkRestorer, in_tiles
from benchmarks.speed.timing import Contender, Timing
from benchmarks.speed.train import benchmark_recipe, raced
from gopro_tools.images import Rgb

PLAIN = "plain: eager, float32"
SIZE_HW = (720, 1280)

CONTENDERS: Mapping[str, RestoreOptions] = {
    PLAIN: RestoreOptions(channels_last=False),
    "channels_last": RestoreOptions(),
    "bf16": RestoreOptions(precision="bf16", channels_last=False),
    "bf16, channels_last": RestoreOptions(precision="bf16"),
    "bf16, channels_last, compiled": RestoreOptions(precision="bf16", compile=True),
    "bf16, channels_last, tiles of 512": RestoreOptions(precision="bf16", tile=512),
}


def measure(n_rounds: int = 5) -> list[Timing]:
    """Time one image of every contender that runs here."""
    return raced(CONTENDERS, _warmed_up, n_rounds, "megapixels")


def _warmed_up(name: str) -> Contender:
    options = CONTENDERS[name]
    device = chosen_device(options.device)
    recipe = benchmark_recipe(device)
    torch.manual_seed(0)
    network = DeepDeblur(recipe.n_scales, recipe.n_resblocks, recipe.n_features, recipe.pyramid)
    restorer = in_tiles(NetworkRestorer(network, options), options, network.receptive_radius_px)
    image: Rgb = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3)).astype(np.uint8)
    restorer.restore(image)
    note = f"{recipe.n_features} features, {device.type}" if name == PLAIN else ""
    return Contender(name, SIZE_HW[0] * SIZE_HW[1] / 1e6, lambda: restorer.restore(image), note)
