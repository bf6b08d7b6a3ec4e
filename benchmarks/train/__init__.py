"""Train DeepDeblur and DeblurGAN: ``python -m benchmarks.train``, alone or under torchrun.

`recipes` says what decides the outcome, `machine` how the machine does it, `learners` what one
step is, `run` is the loop, `journal` what is written for people to watch.
"""

from benchmarks.train.machine import RunOptions
from benchmarks.train.recipes import (
    DEBLURGAN_PRESETS,
    DEEPDEBLUR_PRESETS,
    DeblurGanRecipe,
    DeepDeblurRecipe,
    Recipe,
    deepdeblur_recipe,
)
from benchmarks.train.run import Progress, TrainResult, train

__all__ = [
    "DEBLURGAN_PRESETS",
    "DEEPDEBLUR_PRESETS",
    "DeblurGanRecipe",
    "DeepDeblurRecipe",
    "Progress",
    "Recipe",
    "RunOptions",
    "TrainResult",
    "deepdeblur_recipe",
    "train",
]
