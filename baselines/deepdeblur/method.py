"""DeepDeblur as a method: its recipes, and K = 1, 2, 3 in the tables.

paper2017
    Nah et al. 2017; where the paper is silent, its Torch7 code. The number of iterations and the
    learning-rate schedule are from memory of the paper, unverified.
torch7-release
    What that code does by default.
pytorch-release
    The author's later code, by default without an adversary. It computes on 0..255 and ours on
    0..1, so biases learn at another rate.
reduced, reduced-cpu, smoke
    For minutes on a GPU, for an hour or two on two CPU cores, and to see that all of it learns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import tyro

from baselines.method import Imported, Method, NetworkKind
from baselines.recipe import NAH2017_AUGMENTATION, Augmentation, Optimisation, PatchConfig, Recipe

PyramidKind = Literal["torch7", "pytorch-release"]
DiscriminatorLayout = Literal["paper", "torch7"]

KIND = NetworkKind(
    name="deepdeblur",
    network=Imported("baselines.deepdeblur.network:DeepDeblur"),
    published=Imported("baselines.deepdeblur.network:load_deepdeblur_pytorch"),
    published_layout="DeepDeblur-PyTorch (body_models.0.body.0.weight, …)",
)


@dataclass(frozen=True, kw_only=True)
class DeepDeblurRecipe(Recipe):
    """How to train DeepDeblur (methods of Nah et al. 2017)."""

    n_scales: tyro.conf.Fixed[int] = 3
    """K, the number of scales."""
    n_resblocks: int | None = None
    """Residual blocks per scale; None is the paper's 59, 29, 19 for K = 1, 2, 3."""
    n_features: int = 64
    """Channels between the convolutions."""
    pyramid: PyramidKind = "torch7"
    """How the smaller scales are made."""
    first_weights: Literal["default", "identity"] = "default"
    """``identity``: the untrained network returns the blurred image (`start_as_identity`), for
    trainings too short to learn to copy first; the paper and the releases start at random."""
    content_loss: Literal["mse", "l1"] = "mse"
    """Compared at every scale."""
    loss_reduction: Literal["paper", "sum"] = "paper"
    """``paper``: 1/(2K) of the sum over scales; ``sum``: the sum, as both releases do."""
    adversarial_weight: float = 0.0
    """Weight of the adversarial loss, finest scale (the paper's 1e-4); 0 trains without one."""
    adversarial_in_bits: bool = False
    """Whether the adversarial loss is divided by log 2 (Torch7 code)."""
    discriminator: DiscriminatorLayout = "paper"
    """Which layers it has."""


_PAPER2017 = DeepDeblurRecipe(
    method="deepdeblur-k3",
    preset="paper2017",
    scale="full",
    patches=PatchConfig(
        patch_px=256,
        batch=2,
        draw="sequence",
        crop_alignment_px=4,
        augmentation=NAH2017_AUGMENTATION,
    ),
    optimisation=Optimisation(
        learning_rate=5e-5, n_epochs=900, steps_per_epoch=1000, milestones=(300,)
    ),
    adversarial_weight=1e-4,
)

# Rates and the warm-up were chosen by the training loss of short runs on rendered scenes, with 16
# patches in a batch; with twice the rate or without warming up the first hundred steps unlearned
# the start. Batches of 32 keep a large GPU busier.
_REDUCED = DeepDeblurRecipe(
    method="deepdeblur-k3",
    preset="reduced",
    scale="reduced",
    patches=PatchConfig(
        patch_px=64,
        batch=32,
        draw="image",
        augmentation=Augmentation(hflip_p=0.5, rotate=True, permute_channels=True),
    ),
    optimisation=Optimisation(
        learning_rate=3e-4,
        n_epochs=50,
        steps_per_epoch=240,
        n_epochs_decay=50,
        n_warm_up_steps=500,
        clip_gradient_norm=0.5,
    ),
    first_weights="identity",
    content_loss="l1",
)

_PRESETS: Mapping[str, DeepDeblurRecipe] = {
    "paper2017": _PAPER2017,
    "torch7-release": _PAPER2017.changed(
        preset="torch7-release",
        n_resblocks=19,
        batch=4,
        saturation_p=0.1,
        n_epochs=450,
        milestones=(150,),
        loss_reduction="sum",
        adversarial_in_bits=True,
        discriminator="torch7",
    ),
    "pytorch-release": _PAPER2017.changed(
        preset="pytorch-release",
        n_resblocks=19,
        pyramid="pytorch-release",
        batch=16,
        draw="image",
        crop_alignment_px=1,
        vflip_p=0.5,
        learning_rate=1e-4,
        n_epochs=1000,
        steps_per_epoch=None,
        milestones=(500, 750, 900),
        milestone_factor=0.5,
        content_loss="l1",
        loss_reduction="sum",
        adversarial_weight=0.0,
    ),
    "reduced": _REDUCED,
    "reduced-cpu": _REDUCED.changed(
        preset="reduced-cpu",
        n_features=24,
        batch=16,
        learning_rate=5e-4,
        steps_per_epoch=200,
        clip_gradient_norm=None,
    ),
    # Without a skip from input to output the network learns to copy first, which takes a high
    # rate; what it gains over the blurred input comes as the rate falls.
    "smoke": _REDUCED.changed(
        preset="smoke",
        scale="smoke",
        n_features=16,
        batch=4,
        learning_rate=1e-3,
        n_epochs=30,
        steps_per_epoch=100,
        n_epochs_decay=30,
        n_warm_up_steps=0,
        clip_gradient_norm=None,
    ),
}

_N_CONVOLUTIONS: Mapping[str, int] = {"reduced-cpu": 36, "smoke": 24}


def deepdeblur_recipe(preset: str, n_scales: int = 3) -> DeepDeblurRecipe:
    """A preset for K scales.

    Shallow presets keep the number of convolutions the same for every K, as the paper does with its
    120: ``reduced-cpu`` has 17, 8, 5 blocks per scale for K = 1, 2, 3, ``smoke`` 11, 5, 3.
    """
    recipe = replace(_PRESETS[preset], method=f"deepdeblur-k{n_scales}", n_scales=n_scales)
    if preset not in _N_CONVOLUTIONS:
        return recipe
    return replace(recipe, n_resblocks=max(1, _N_CONVOLUTIONS[preset] // (2 * n_scales) - 1))


DEEPDEBLUR_K: tuple[Method, ...] = tuple(
    Method(
        name=f"deepdeblur-k{n_scales}",
        title=f"K={n_scales}",
        published_name=f"DeepDeblur K={n_scales}",
        kind=KIND,
        architecture={"n_scales": n_scales},
        presets={preset: deepdeblur_recipe(preset, n_scales) for preset in _PRESETS},
        learner=Imported("baselines.deepdeblur.learner:DeepDeblurLearner"),
        family="DeepDeblur",
    )
    for n_scales in (1, 2, 3)
)
"""The paper's claim is about these: more scales at equal depth and budget."""
