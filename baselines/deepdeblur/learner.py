"""The losses of DeepDeblur, and one training step."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.data import Batch
from baselines.deepdeblur.method import DeepDeblurRecipe
from baselines.deepdeblur.network import DeepDeblur, Discriminator, start_as_identity
from baselines.deepdeblur.pyramid import pyramid
from baselines.learning import Figures, Learner
from baselines.machine import Setting


def multi_scale_loss(
    restored: Sequence[Tensor],
    sharp: Sequence[Tensor],
    norm: Literal["mse", "l1"],
    scale_weights: Literal["paper", "sum"],
) -> Tensor:
    """The content loss over the K images of network and pyramid, fine to coarse.

    Squared (the paper, Torch7) or absolute differences (the PyTorch release) are averaged over each
    scale; the paper divides their sum by 2 K, both releases do not.
    """
    difference = F.mse_loss if norm == "mse" else F.l1_loss
    total = torch.stack([difference(*images) for images in zip(restored, sharp, strict=True)]).sum()
    return total / (2 * len(restored)) if scale_weights == "paper" else total


def adversarial_loss(logits: Tensor, *, labelled_sharp: bool, in_bits: bool = False) -> Tensor:
    """Cross entropy between the discriminator's output and a label.

    The discriminator's loss is the sum for sharp images labelled sharp and for restored ones
    labelled not sharp; the network's, non-saturating as in both released codes, is for restored
    images labelled sharp. ``in_bits`` divides by log 2, as the Torch7 code does: an undecided
    discriminator costs 1.
    """
    logits = logits.float()
    labels = torch.full_like(logits, float(labelled_sharp))
    loss = F.binary_cross_entropy_with_logits(logits, labels)
    return loss / math.log(2) if in_bits else loss


class DeepDeblurLearner(Learner):
    """Multi-scale content loss, and the adversarial loss where the recipe has one."""

    def __init__(self, recipe: DeepDeblurRecipe, setting: Setting) -> None:
        """Make both networks."""
        self._recipe = recipe
        self._adversarial = partial(adversarial_loss, in_bits=recipe.adversarial_in_bits)
        restorer = DeepDeblur(
            recipe.n_scales, recipe.n_resblocks, recipe.n_features, recipe.pyramid
        )
        networks: dict[str, nn.Module] = {"restorer": restorer}
        if recipe.first_weights == "identity":
            start_as_identity(restorer)
        if recipe.adversarial_weight:
            networks["discriminator"] = Discriminator(
                recipe.discriminator, patch_px=recipe.patches.patch_px
            )
        super().__init__(networks, recipe.optimisation, setting)

    def step(self, batches: Sequence[Batch]) -> Figures:
        """See `Learner`."""
        (batch,) = batches
        recipe = self._recipe
        sharp = pyramid(batch.sharp, recipe.n_scales, recipe.pyramid)
        with self.precision():
            restored = self.networks["restorer"](batch.blurred)
        content = multi_scale_loss(restored, sharp, recipe.content_loss, recipe.loss_reduction)
        if not recipe.adversarial_weight:
            return self.update("restorer", content, {"content": content})
        with self.frozen("discriminator"), self.precision():
            logits = self.networks["discriminator"](restored[0])
        adversarial = self._adversarial(logits, labelled_sharp=True)
        figures = self.update(
            "restorer",
            content + recipe.adversarial_weight * adversarial,
            {"content": content, "adversarial": adversarial},
        )
        # After the network, as in the Torch7 code.
        return figures | self._judge(batch, restored[0].detach())

    def _judge(self, batch: Batch, restored: Tensor) -> Figures:
        with self.precision():
            of_sharp, of_restored = map(self.networks["discriminator"], (batch.sharp, restored))
        loss = self._adversarial(of_sharp, labelled_sharp=True)
        loss = loss + self._adversarial(of_restored, labelled_sharp=False)
        return self.update("discriminator", loss, {"discriminator": loss})
