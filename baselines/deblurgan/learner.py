"""The losses of DeblurGAN, and one training step."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.data import Batch
from baselines.deblurgan.method import DeblurGanRecipe, GradientNorm, PenaltyAlpha
from baselines.deblurgan.network import (
    Critic,
    Generator,
    from_signed,
    start_without_correction,
    to_signed,
)
from baselines.deblurgan.vgg import content_features
from baselines.devices import placed
from baselines.learning import Figures, Learner
from baselines.machine import Setting


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    sharp: Tensor,
    restored: Tensor,
    norm: GradientNorm = "image",
    alpha: PenaltyAlpha = "image",
) -> Tensor:
    """How far the critic's gradient is from norm 1 between sharp and restored images.

    mean((|gradient| - 1)^2), without its weight (10 in WGAN-GP and in DeblurGAN). The gradient is
    the one with respect to images in [-1, 1], the range in which the critic works; it would be
    twice as long in [0, 1].

    Args:
        critic: (N, 3, H, W) images in [0, 1] to scores of any shape; not compiled, as
            `torch.compile` cannot differentiate twice.
        sharp: (N, 3, H, W) in [0, 1].
        restored: The same; no gradient flows into either.
        norm: "image" takes the norm over all values of an image (Gulrajani et al. 2017, equation
            3), "pixel" over the channels of each pixel, as the released code does.
        alpha: Whether each image, or only the batch, draws its own random mixing weight.
    """
    n_draws = len(sharp) if alpha == "image" else 1
    weight = torch.rand((n_draws, 1, 1, 1), device=sharp.device, dtype=sharp.dtype)
    mixed = weight * sharp.detach() + (1 - weight) * restored.detach()
    signed = to_signed(mixed).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(from_signed(signed)).sum(), signed, create_graph=True)
    lengths: Tensor = torch.linalg.vector_norm(gradient, dim=(1, 2, 3) if norm == "image" else 1)
    return (lengths - 1).square().mean()


def perceptual_loss(features: nn.Module, restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean squared difference of features, DeblurGAN's content loss without its weight of 100.

    Images are (N, 3, H, W) in [0, 1]; no gradient flows into the sharp ones.
    """
    with torch.no_grad():
        wanted = features(sharp)
    return F.mse_loss(features(restored).float(), wanted.float())


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
            self._features = placed(features, setting.device, setting.options)
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
                parts["adversarial"] = -self.networks["critic"](restored).float().mean()
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
            sharp_score, score = (critic(seen).float().mean() for seen in (batch.sharp, restored))
        distance = score - sharp_score
        # Twice differentiated, so neither compiled nor in half precision.
        penalty = gradient_penalty(
            critic, batch.sharp, restored, recipe.gradient_norm, recipe.penalty_alpha
        )
        loss = distance + recipe.penalty_weight * penalty
        return self.update("critic", loss, {"critic": distance, "gradient_penalty": penalty})
