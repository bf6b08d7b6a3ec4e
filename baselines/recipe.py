"""What decides the outcome of a training, as data: patches, optimisation, recipe; without torch."""

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Annotated, Any, Literal, Self

import tyro

from gopro_tools.errors import InputError
from gopro_tools.records import Scale


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of a pair of patches, drawn independently."""

    sharp_to_sharp_p: float = 0.0
    """Probability that the input is the sharp patch itself."""
    hflip_p: float = 0.0
    """Probability of a left-right flip."""
    vflip_p: float = 0.0
    """Probability of an upside-down flip."""
    rotate: bool = False
    """Whether to turn by 0, 90, 180 or 270 degrees, all equally likely."""
    permute_channels: bool = False
    """Whether to shuffle red, green and blue, all six orders equally likely."""
    saturation_p: float = 0.0
    """Probability that the HSV saturation of both patches is multiplied by 0.5 to 1.5."""
    noise_sigma_std: float = 0.0
    """The input gets noise N(0, sigma^2) with sigma drawn per patch from N(0, this^2)."""

    def __post_init__(self) -> None:
        for name in ("sharp_to_sharp_p", "hflip_p", "vflip_p", "saturation_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"{name} = {getattr(self, name)}: a probability in [0, 1] was expected."
                )
        if self.noise_sigma_std < 0:
            raise InputError(f"noise_sigma_std = {self.noise_sigma_std}: 0 or more was expected.")


NAH2017_AUGMENTATION = Augmentation(
    sharp_to_sharp_p=0.1,
    hflip_p=0.5,
    rotate=True,
    permute_channels=True,
    saturation_p=1.0,
    noise_sigma_std=2 / 255,
)
"""Nah et al. 2017. The Torch7 code multiplies the saturation of one patch in ten only."""


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """How batches are drawn."""

    patch_px: int = 256
    """Side of the square patches."""
    batch: int = 16
    """Patches in the global batch, over all processes."""
    draw: Literal["sequence", "image"] = "sequence"
    """``sequence``: a sequence first, all equally likely, then one of its images (Torch7 code).
    ``image``: each image once an epoch in random order (PyTorch release, DeblurGAN)."""
    crop_alignment_px: int = 1
    """Crops start at multiples of this (4 in the Torch7 code)."""
    resize_hw: tuple[int, int] | None = None
    """Images are resized to this first, bicubic with antialiasing (DeblurGAN: 360x640)."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """What happens to each patch."""

    def __post_init__(self) -> None:
        if min(self.patch_px - 1, self.batch, self.crop_alignment_px) < 1:
            raise InputError("batch and crop_alignment_px must be at least 1, patch_px at least 2.")


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Adam with an epsilon of 1e-8, its learning-rate schedule, and the length of training."""

    learning_rate: float
    """At the start, after the warm-up."""
    n_epochs: int
    """Length of the training."""
    steps_per_epoch: int | None = None
    """Steps of the (generator) network per epoch; None: one patch of each training image."""
    milestones: tuple[int, ...] = ()
    """After these epochs the learning rate is multiplied by ``milestone_factor``."""
    milestone_factor: float = 0.1
    """See ``milestones``."""
    n_epochs_decay: int = 0
    """Over this many epochs at the end the learning rate falls linearly towards zero."""
    n_warm_up_steps: int = 0
    """Over this many steps at the start the rate rises linearly from zero. A network that starts as
    the identity would otherwise unlearn that in Adam's first steps."""
    adam_betas: tuple[float, float] = (0.9, 0.999)
    """Adam's."""
    clip_gradient_norm: float | None = None
    """Largest norm of the gradient of a network; none of the published recipes clips."""

    def __post_init__(self) -> None:
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
        epoch = step // epoch_length
        steps_down = sum(epoch >= milestone for milestone in self.milestones)
        rate = self.learning_rate * self.milestone_factor**steps_down
        if self.n_epochs_decay:
            # The first decaying epoch still has the full rate, as in DeblurGAN's code.
            into_decay = max(0, epoch - (self.n_epochs - self.n_epochs_decay))
            rate *= 1 - into_decay / self.n_epochs_decay
        risen = min(1.0, (step + 1) / self.n_warm_up_steps) if self.n_warm_up_steps else 1.0
        return risen * rate


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides the outcome of a training; methods add fields of their own.

    Threads, precision, checkpoints and the like are in `RunOptions`.
    """

    method: tyro.conf.Fixed[str]
    """Name of the method."""
    preset: tyro.conf.Fixed[str]
    """The preset that it is, or was changed from."""
    scale: tyro.conf.Fixed[Scale]
    """Size of the training compared with the paper's."""
    patches: Annotated[PatchConfig, tyro.conf.arg(name="")]
    """How batches are drawn."""
    optimisation: Annotated[Optimisation, tyro.conf.arg(name="")]
    """Adam, learning rate, length."""
    seed: int = 0
    """Seed of the initial weights, the patches and dropout."""

    def n_steps(self, n_pairs: int) -> int:
        """Training steps on a dataset of ``n_pairs`` pairs."""
        length = self.optimisation.epoch_length(n_pairs, self.patches.batch)
        return self.optimisation.n_epochs * length

    def lasting(self, n_patches: int) -> Self:
        """The recipe with another number of patches, and its learning-rate schedule stretched."""
        steps = max(1, n_patches // (self.patches.batch * self.optimisation.n_epochs))
        return self.changed(steps_per_epoch=steps)

    def changed(self, **values: Any) -> Self:
        """The recipe with other values, of its parts too, by the names of the command line.

        Raises:
            TypeError: There is no value of such a name.
        """
        result: Self = _changed(self, values)
        if values:
            raise TypeError(f"a recipe of {self.method} has no {', '.join(values)}")
        return result


def _changed(part: Any, values: dict[str, Any]) -> Any:
    """A dataclass with other values, in those that it holds too; what is used is taken away."""
    own = {}
    for field_ in fields(part):
        if field_.name in values:
            own[field_.name] = values.pop(field_.name)
        elif is_dataclass(value := getattr(part, field_.name)):
            own[field_.name] = _changed(value, values)
    return replace(part, **own)
