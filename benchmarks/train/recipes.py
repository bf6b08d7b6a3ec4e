"""What decides the outcome of a training, as data: the recipes of the papers and our smaller ones.

A recipe never says how the machine does it (threads, precision, checkpoints): `RunOptions` does.

paper2017
    Nah et al. 2017. Where the paper is silent, its Torch7 code: a tenth of the pairs sharp to
    sharp, noise, crops on multiples of 4, a sequence drawn before its image. The number of
    iterations and the fall of the learning rate are from memory of the paper, unverified.
torch7-release
    What that code does by default: 19 blocks for any K, batch 4, saturation changed in a tenth of
    the patches, losses summed over the scales, one more discriminator layer.
pytorch-release
    The author's later code: L1, no adversary, batch 16, 19 blocks for any K, vertical flips, the
    other pyramid. It computes on 0..255 and ours on 0..1, so biases learn at another pace.
paper, released
    Kupyn et al. 2018, as the paper says and as the code does; `baselines.deblurgan` tells them
    apart.
reduced
    GOPRO in miniature, for some minutes on a GPU: the papers' networks, every method and K on the
    same number of patches of 64 px from images of 320x180, a quarter of the papers' lengths.
reduced-cpu
    The same with narrow networks of a third of the depth, for hours on two CPU cores.
smoke
    Narrow, shallow networks for minutes on two CPU cores, to see that all of it learns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import tyro

from baselines.augmentation import NAH2017_AUGMENTATION, Augmentation
from baselines.data import PatchConfig
from baselines.deblurgan import PAPER, RELEASED, DeblurGanOptions
from baselines.deepdeblur import DiscriminatorLayout, PyramidKind
from gopro_tools.errors import InputError
from gopro_tools.records import Scale

Method = Literal["deepdeblur", "deblurgan"]
DeepDeblurPreset = Literal[
    "paper2017", "torch7-release", "pytorch-release", "reduced", "reduced-cpu", "smoke"
]
DeblurGanPreset = Literal["paper", "released", "reduced", "reduced-cpu", "smoke"]


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Adam, its learning rate, and for how long."""

    learning_rate: float
    """At the start."""
    n_epochs: int
    """How long."""
    steps_per_epoch: int | None = None
    """Steps of the (generator) network in an epoch; None: one patch of each training image."""
    milestones: tuple[int, ...] = ()
    """After these epochs the learning rate is multiplied by ``milestone_factor``."""
    milestone_factor: float = 0.1
    """See ``milestones``."""
    n_epochs_decay: int = 0
    """Over this many epochs at the end the learning rate falls linearly towards zero."""
    n_warm_up_steps: int = 0
    """Over this many steps at the start the rate rises linearly from nothing. A network that starts
    by giving back its input would else forget that in Adam's first steps and learn it again."""
    adam_betas: tuple[float, float] = (0.9, 0.999)
    """Adam's."""
    adam_epsilon: float = 1e-8
    """Adam's."""
    clip_gradient_norm: float | None = None
    """Largest norm of the gradient of a network; none of the published recipes clips."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        if not self.learning_rate > 0 or self.n_epochs < 1 or (self.steps_per_epoch or 1) < 1:
            raise InputError("learning_rate, n_epochs and steps_per_epoch must be positive.")
        if self.n_warm_up_steps < 0:
            raise InputError("n_warm_up_steps must not be negative.")
        if not 0 <= self.n_epochs_decay <= self.n_epochs:
            raise InputError(
                f"The learning rate cannot fall over {self.n_epochs_decay} of {self.n_epochs} "
                f"epochs: with --n-epochs {self.n_epochs} also give --n-epochs-decay, 0 to "
                f"{self.n_epochs}."
            )

    def epoch_length(self, n_pairs: int, batch: int) -> int:
        """Steps in an epoch."""
        return self.steps_per_epoch or max(1, n_pairs // batch)

    def learning_rate_at(self, step: int, epoch_length: int) -> float:
        """Learning rate in a step, counted from 0."""
        risen = min(1.0, (step + 1) / self.n_warm_up_steps) if self.n_warm_up_steps else 1.0
        return risen * self.learning_rate_in(step // epoch_length)

    def learning_rate_in(self, epoch: int) -> float:
        """Learning rate in an epoch, counted from 0, once it is warm."""
        steps_down = sum(epoch >= milestone for milestone in self.milestones)
        rate = self.learning_rate * self.milestone_factor**steps_down
        if self.n_epochs_decay:
            # The first decaying epoch still has the full rate, as in DeblurGAN's code.
            into_decay = max(0, epoch - (self.n_epochs - self.n_epochs_decay))
            rate *= 1 - into_decay / self.n_epochs_decay
        return rate


@dataclass(frozen=True, kw_only=True)
class DeepDeblurRecipe:
    """How to train DeepDeblur (methods of Nah et al. 2017)."""

    preset: str
    """What it started from."""
    scale: Scale
    """How far from the paper's own effort."""
    patches: Annotated[PatchConfig, tyro.conf.arg(name="")]
    """How batches are drawn."""
    optimisation: Annotated[Optimisation, tyro.conf.arg(name="")]
    """Adam, learning rate, length."""
    n_scales: Annotated[int, tyro.conf.arg(name="scales")] = 3
    """K, the number of scales."""
    n_resblocks: int | None = None
    """Residual blocks a scale; None is the paper's 59, 29, 19 for K = 1, 2, 3."""
    n_features: int = 64
    """Channels between the convolutions."""
    pyramid: PyramidKind = "torch7"
    """How the smaller scales are made."""
    first_weights: Literal["default", "identity"] = "default"
    """``identity`` starts by giving back the blurred image (`start_as_identity`), for trainings too
    short to learn to copy first; the paper's and the releases' start is the default."""
    content_loss: Literal["mse", "l1"] = "mse"
    """Compared at every scale."""
    loss_reduction: Literal["paper", "sum"] = "paper"
    """``paper``: 1/(2K) of the sum over scales; ``sum``: the sum, as both releases do."""
    adversarial_weight: float = 0.0
    """Of the adversarial loss on the finest scale (the paper's 1e-4); 0 trains without one."""
    adversarial_in_bits: bool = False
    """Whether the adversarial loss is divided by log 2 (Torch7 code)."""
    discriminator: DiscriminatorLayout = "paper"
    """Which layers it has."""
    discriminator_first: bool = False
    """Whether it learns before the network does in a step (PyTorch release) or after (Torch7)."""
    seed: int = 0
    """Of the initial weights, of the patches and of dropout."""

    @property
    def method(self) -> str:
        """As records name it: ``deepdeblur-k3``."""
        return f"deepdeblur-k{self.n_scales}"

    @property
    def output_rounding(self) -> Literal["nearest", "truncate"]:
        """How validation makes 8 bits of values."""
        return "nearest"


@dataclass(frozen=True, kw_only=True)
class DeblurGanRecipe:
    """How to train DeblurGAN (Kupyn et al. 2018)."""

    preset: str
    """What it started from."""
    scale: Scale
    """How far from the paper's own effort."""
    options: Annotated[DeblurGanOptions, tyro.conf.arg(name="")]
    """Everything that paper and code decide, optimisation and patches included."""
    n_features: int = 64
    """Channels at full size, of generator and critic."""
    n_blocks: int = 9
    """Residual blocks of the generator."""
    content_loss: Literal["vgg", "l1"] = "vgg"
    """``l1`` compares pixels: for those without weights of VGG19. It is not the paper's loss."""
    adversarial_weight: float = 1.0
    """Of the critic's judgement beside the content loss; 0 trains without a critic."""
    first_weights: Literal["default", "identity"] = "default"
    """``identity`` starts by giving back the blurred image (`start_without_correction`), for short
    trainings; the code's start, normal weights of deviation 0.02, is the default."""
    steps_per_epoch: int | None = None
    """Generator steps in an epoch; None: one patch of each training image."""
    clip_gradient_norm: float | None = None
    """Largest norm of the gradient of a network; the paper does not clip."""
    seed: int = 0
    """Of the initial weights, of the patches and of dropout."""

    @property
    def method(self) -> str:
        """As records name it."""
        return "deblurgan"

    @property
    def output_rounding(self) -> Literal["nearest", "truncate"]:
        """How validation makes 8 bits of values."""
        return self.options.output_rounding

    @property
    def patches(self) -> PatchConfig:
        """How batches are drawn."""
        return PatchConfig(
            patch_px=self.options.patch_px,
            batch=self.options.batch_size,
            draw="image",
            resize_hw=self.options.frame_size_hw,
            augmentation=Augmentation(hflip_p=0.5 if self.options.horizontal_flips else 0.0),
        )

    @property
    def optimisation(self) -> Optimisation:
        """Adam, learning rate, length."""
        return Optimisation(
            learning_rate=self.options.learning_rate,
            n_epochs=self.options.n_epochs_constant + self.options.n_epochs_decay,
            n_epochs_decay=self.options.n_epochs_decay,
            steps_per_epoch=self.steps_per_epoch,
            adam_betas=self.options.adam_betas,
            clip_gradient_norm=self.clip_gradient_norm,
        )


Recipe = DeepDeblurRecipe | DeblurGanRecipe

_PAPER2017 = DeepDeblurRecipe(
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

_SMALL_PATCHES = PatchConfig(
    patch_px=64,
    batch=4,
    draw="image",
    augmentation=Augmentation(hflip_p=0.5, rotate=True, permute_channels=True),
)

DEEPDEBLUR_PRESETS: Mapping[DeepDeblurPreset, DeepDeblurRecipe] = {
    "paper2017": _PAPER2017,
    "torch7-release": replace(
        _PAPER2017,
        preset="torch7-release",
        n_resblocks=19,
        patches=replace(
            _PAPER2017.patches,
            batch=4,
            augmentation=replace(NAH2017_AUGMENTATION, saturation_p=0.1),
        ),
        optimisation=replace(_PAPER2017.optimisation, n_epochs=450, milestones=(150,)),
        loss_reduction="sum",
        adversarial_in_bits=True,
        discriminator="torch7",
    ),
    "pytorch-release": DeepDeblurRecipe(
        preset="pytorch-release",
        scale="full",
        n_resblocks=19,
        pyramid="pytorch-release",
        patches=PatchConfig(
            patch_px=256,
            batch=16,
            draw="image",
            augmentation=replace(NAH2017_AUGMENTATION, vflip_p=0.5),
        ),
        optimisation=Optimisation(
            learning_rate=1e-4, n_epochs=1000, milestones=(500, 750, 900), milestone_factor=0.5
        ),
        content_loss="l1",
        loss_reduction="sum",
        discriminator="pytorch-release",
        discriminator_first=True,
    ),
    # Rates and the warm-up were chosen by the training loss of short runs on rendered scenes; with
    # a higher rate or without warming up the first hundred steps unlearned the start.
    "reduced": DeepDeblurRecipe(
        preset="reduced",
        scale="reduced",
        patches=replace(_SMALL_PATCHES, batch=16),
        optimisation=Optimisation(
            learning_rate=2e-4,
            n_epochs=50,
            steps_per_epoch=280,
            n_epochs_decay=50,
            n_warm_up_steps=500,
            clip_gradient_norm=0.5,
        ),
        first_weights="identity",
        content_loss="l1",
    ),
    "reduced-cpu": DeepDeblurRecipe(
        preset="reduced-cpu",
        scale="reduced",
        n_features=24,
        n_resblocks=5,
        patches=replace(_SMALL_PATCHES, batch=16),
        optimisation=Optimisation(
            learning_rate=5e-4,
            n_epochs=50,
            steps_per_epoch=200,
            n_epochs_decay=50,
            n_warm_up_steps=500,
        ),
        first_weights="identity",
        content_loss="l1",
    ),
    "smoke": DeepDeblurRecipe(
        preset="smoke",
        scale="smoke",
        n_features=16,
        n_resblocks=3,
        patches=_SMALL_PATCHES,
        # Without a skip from input to output the network learns to copy first, which takes a high
        # rate; what it gains over the blurred input comes as the rate falls.
        optimisation=Optimisation(
            learning_rate=1e-3, n_epochs=30, steps_per_epoch=100, n_epochs_decay=30
        ),
        first_weights="identity",
        content_loss="l1",
    ),
}
"""For K = 3; `deepdeblur_recipe` makes them for another K."""

_SMALL_DEBLURGAN = replace(
    PAPER,
    frame_size_hw=None,
    patch_px=64,
    batch_size=4,
    n_critic_steps=1,
    dropout=0.0,
    learning_rate=5e-4,
    n_epochs_constant=0,
    n_epochs_decay=30,
)

DEBLURGAN_PRESETS: Mapping[DeblurGanPreset, DeblurGanRecipe] = {
    "paper": DeblurGanRecipe(preset="paper", scale="full", options=PAPER),
    "released": DeblurGanRecipe(preset="released", scale="full", options=RELEASED),
    "reduced": DeblurGanRecipe(
        preset="reduced",
        scale="reduced",
        options=replace(
            PAPER,
            frame_size_hw=None,
            patch_px=64,
            batch_size=16,
            n_critic_steps=1,
            dropout=0.0,
            learning_rate=2e-4,
            n_epochs_constant=0,
            n_epochs_decay=50,
        ),
        first_weights="identity",
        steps_per_epoch=280,
    ),
    # With the paper's weight of the critic, a hundredth of the content loss's, a short training
    # sharpened what hardly moved: it lost 1.9 dB on blurs below 4 pixels.
    "reduced-cpu": DeblurGanRecipe(
        preset="reduced-cpu",
        scale="reduced",
        options=replace(_SMALL_DEBLURGAN, batch_size=16, n_epochs_decay=50),
        n_features=16,
        n_blocks=9,
        content_loss="l1",
        adversarial_weight=0.1,
        first_weights="identity",
        steps_per_epoch=200,
    ),
    "smoke": DeblurGanRecipe(
        preset="smoke",
        scale="smoke",
        options=_SMALL_DEBLURGAN,
        n_features=16,
        n_blocks=3,
        content_loss="l1",
        adversarial_weight=0.1,
        first_weights="identity",
        steps_per_epoch=100,
    ),
}


_N_CONVOLUTIONS: Mapping[str, int] = {"reduced-cpu": 36, "smoke": 24}


def deepdeblur_recipe(preset: DeepDeblurPreset, n_scales: int = 3) -> DeepDeblurRecipe:
    """A preset for K scales.

    Shallow presets keep the number of convolutions the same for every K, as the paper does with its
    120: ``reduced-cpu`` has 17, 8, 5 blocks a scale for K = 1, 2, 3, ``smoke`` 11, 5, 3.
    """
    recipe = replace(DEEPDEBLUR_PRESETS[preset], n_scales=n_scales)
    if preset not in _N_CONVOLUTIONS:
        return recipe
    return replace(recipe, n_resblocks=max(1, _N_CONVOLUTIONS[preset] // (2 * n_scales) - 1))
