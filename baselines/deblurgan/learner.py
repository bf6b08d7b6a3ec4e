"""One training step of DeblurGAN."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.data import Batch
from baselines.deblurgan.method import DeblurGanRecipe
from baselines.deblurgan.network import Critic, Generator, start_without_correction
from baselines.deblurgan.vgg import content_features
from baselines.devices import to_layout
from baselines.learning import Figures, Learner
from baselines.losses import critic_loss, generator_loss, gradient_penalty, perceptual_loss
from baselines.machine import Setting


class DeblurGanLearner(Learner):
    """WGAN-GP with several critic steps per generator step, plus the content loss."""

    def __init__(self, recipe: DeblurGanRecipe, setting: Setting) -> None:
        """Make both networks, and read VGG19 where the content loss needs it."""
        self._recipe = recipe
        generator = Generator(
            recipe.n_features, recipe.n_blocks, recipe.dropout, recipe.dropout_at_test
        )
        if recipe.first_weights == "identity":
            start_without_correction(generator)
        networks: dict[str, nn.Module] = {"restorer": generator}
        self.n_batches = 1
        if recipe.adversarial_weight:
            networks["critic"] = Critic(recipe.n_features)
            self.n_batches += recipe.n_critic_steps if recipe.critic_batches == "fresh" else 0
        self._features = None
        if recipe.content_loss == "vgg":
            weights = setting.options.vgg_weights
            features = content_features(weights, recipe.vgg_layer, recipe.vgg_input)
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
            for _ in range(recipe.n_critic_steps):
                figures |= self._judge(batch, restored.detach())
        parts = {"content": self._content_loss(restored, batch.sharp)}
        loss = recipe.content_weight * parts["content"]
        if recipe.adversarial_weight:
            with self.frozen("critic"), self.precision():
                parts["adversarial"] = generator_loss(self.networks["critic"](restored))
            loss = loss + recipe.adversarial_weight * parts["adversarial"]
        return figures | self.update("restorer", loss, parts)

    def _content_loss(self, restored: Tensor, sharp: Tensor) -> Tensor:
        if self._features is None:
            return F.l1_loss(restored.float(), sharp)
        with self.precision():
            return perceptual_loss(self._features, restored, sharp)

    def _judge(self, batch: Batch, restored: Tensor) -> Figures:
        recipe, critic = self._recipe, self.networks["critic"]
        with self.precision():
            distance = critic_loss(critic(batch.sharp), critic(restored))
        # Twice differentiated, so neither compiled nor in half precision.
        penalty = gradient_penalty(
            critic, batch.sharp, restored, recipe.gradient_norm, recipe.penalty_alpha
        )
        loss = distance + recipe.penalty_weight * penalty
        return self.update("critic", loss, {"critic": distance, "gradient_penalty": penalty})
