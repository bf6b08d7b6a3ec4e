"""DeblurGAN as a method: recipes, one training step, weight files.

paper, released
    Kupyn et al. 2018, as the paper says and as the code does; `network` lists the differences.
reduced, reduced-cpu, smoke
    For minutes on a GPU, for an hour or two on two CPU cores, and to see that all of it learns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.augmentation import Augmentation
from baselines.checkpoints import CheckpointRecord, NetworkKind
from baselines.data import Batch, PatchConfig
from baselines.deblurgan.network import (
    PAPER,
    RELEASED,
    Critic,
    DeblurGanOptions,
    Generator,
    start_without_correction,
)
from baselines.deblurgan.vgg import content_features
from baselines.deblurgan.weights import LAYOUT, export_deblurgan, load_deblurgan
from baselines.devices import to_layout
from baselines.learning import LearnerBase
from baselines.losses import (
    critic_loss,
    generator_loss,
    gradient_penalty,
    perceptual_loss,
)
from baselines.method import Figures, Method, Optimisation, Recipe, Setting, network_restorer
from baselines.restoring import RestoreOptions
from gopro_tools.restorers import Restorer

KIND = NetworkKind(
    name="deblurgan",
    network=Generator,
    published=load_deblurgan,
    published_layout=LAYOUT,
    export=export_deblurgan,
)


@dataclass(frozen=True, kw_only=True)
class DeblurGanRecipe(Recipe):
    """How to train DeblurGAN (Kupyn et al. 2018)."""

    options: Annotated[DeblurGanOptions, tyro.conf.arg(name="")]
    """Where paper and released code differ."""
    n_features: int = 64
    """Channels at full size, of generator and critic."""
    n_blocks: int = 9
    """Residual blocks of the generator."""
    content_loss: Literal["vgg", "l1"] = "vgg"
    """``l1`` compares pixels and needs no weights of VGG19. It is not the paper's loss."""
    adversarial_weight: float = 1.0
    """Weight of the critic's loss; 0 trains without a critic."""
    first_weights: Literal["default", "identity"] = "default"
    """``identity``: the untrained network returns the blurred image (`start_without_correction`),
    for short trainings; the code starts with normal weights of deviation 0.02."""

    @property
    def output_rounding(self) -> Literal["nearest", "truncate"]:
        """See `Recipe`."""
        return self.options.output_rounding


class DeblurGanLearner(LearnerBase):
    """WGAN-GP with several critic steps per generator step, plus the content loss."""

    def __init__(self, recipe: DeblurGanRecipe, setting: Setting) -> None:
        """Make both networks, and read VGG19 where the content loss needs it."""
        self._recipe = recipe
        how = recipe.options
        generator = Generator(recipe.n_features, recipe.n_blocks, how.dropout, how.dropout_at_test)
        if recipe.first_weights == "identity":
            start_without_correction(generator)
        networks: dict[str, nn.Module] = {"restorer": generator}
        self.n_batches = 1
        if recipe.adversarial_weight:
            networks["critic"] = Critic(recipe.n_features)
            self.n_batches += how.n_critic_steps if how.critic_batches == "fresh" else 0
        self._features = None
        if recipe.content_loss == "vgg":
            weights = setting.options.vgg_weights
            features = content_features(weights, how.vgg_layer, how.vgg_input)
            self._features = to_layout(
                features.to(setting.device), channels_last=setting.options.channels_last
            )
        super().__init__(networks, recipe.optimisation, setting)

    def step(self, batches: Sequence[Batch]) -> Figures:
        """See `Learner`."""
        recipe = self._recipe
        *critic_batches, batch = batches
        figures: Figures = {}
        for own in critic_batches:
            with torch.no_grad(), self.precision():
                seen = self.networks["restorer"](own.blurred)
            figures |= self._judge(own, seen)
        with self.precision():
            restored = self.networks["restorer"](batch.blurred)
        if recipe.adversarial_weight and not critic_batches:
            for _ in range(recipe.options.n_critic_steps):
                figures |= self._judge(batch, restored.detach())
        parts = {"content": self._content_loss(restored, batch.sharp)}
        loss = recipe.options.content_weight * parts["content"]
        if recipe.adversarial_weight:
            with self.frozen("critic"), self.precision():
                parts["adversarial"] = generator_loss(self.networks["critic"](restored))
            loss = loss + recipe.adversarial_weight * parts["adversarial"]
        return figures | self.update("restorer", loss, parts, batch)

    def _content_loss(self, restored: Tensor, sharp: Tensor) -> Tensor:
        if self._features is None:
            return F.l1_loss(restored.float(), sharp)
        with self.precision():
            return perceptual_loss(self._features, restored, sharp)

    def _judge(self, batch: Batch, restored: Tensor) -> Figures:
        how, critic = self._recipe.options, self.networks["critic"]
        with self.precision():
            distance = critic_loss(critic(batch.sharp), critic(restored))
        # Twice differentiated, so neither compiled nor in half precision.
        penalty = gradient_penalty(
            self.networks["critic"], batch.sharp, restored, how.gradient_norm, how.penalty_alpha
        )
        loss = distance + how.penalty_weight * penalty
        return self.update("critic", loss, {"critic": distance, "gradient_penalty": penalty}, batch)


def _restorer(network: nn.Module, record: CheckpointRecord, options: RestoreOptions) -> Restorer:
    assert isinstance(network, Generator)
    if options.learn_residual is not None:
        network.learn_residual = options.learn_residual == "yes"
    return network_restorer(network, record, replace(options, learn_residual=None))


_PAPER = DeblurGanRecipe(
    method="deblurgan",
    preset="paper",
    scale="full",
    patches=PatchConfig(
        patch_px=256,
        batch=1,
        draw="image",
        resize_hw=(360, 640),
        augmentation=Augmentation(hflip_p=0.5),
    ),
    optimisation=Optimisation(
        learning_rate=1e-4, n_epochs=300, n_epochs_decay=150, adam_betas=(0.5, 0.999)
    ),
    options=PAPER,
)

# With the paper's weight of the critic, a hundredth of the content loss's, a short training
# sharpened what hardly moved: it lost 1.9 dB on blurs below 4 pixels.
_SMOKE = _PAPER.changed(
    preset="smoke",
    scale="smoke",
    patch_px=64,
    batch=4,
    resize_hw=None,
    learning_rate=5e-4,
    n_epochs=30,
    n_epochs_decay=30,
    steps_per_epoch=100,
    n_critic_steps=1,
    dropout=0.0,
    n_features=16,
    n_blocks=3,
    content_loss="l1",
    adversarial_weight=0.1,
    first_weights="identity",
)

DEBLURGAN = Method(
    name="deblurgan",
    title="DeblurGAN",
    published_name="DeblurGAN",
    kind=KIND,
    presets={
        "paper": _PAPER,
        "released": _PAPER.changed(preset="released", options=RELEASED),
        "reduced": _SMOKE.changed(
            preset="reduced",
            scale="reduced",
            n_features=64,
            n_blocks=9,
            batch=16,
            learning_rate=2e-4,
            n_epochs=50,
            n_epochs_decay=50,
            steps_per_epoch=280,
            content_loss="vgg",
            adversarial_weight=1.0,
        ),
        "reduced-cpu": _SMOKE.changed(
            preset="reduced-cpu",
            scale="reduced",
            n_blocks=9,
            batch=16,
            n_epochs=50,
            n_epochs_decay=50,
            steps_per_epoch=200,
        ),
        "smoke": _SMOKE,
    },
    learner=DeblurGanLearner,
    restorer=_restorer,
)
