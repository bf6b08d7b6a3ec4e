"""One training step of DeepDeblur."""

from collections.abc import Sequence

from torch import Tensor, nn

from baselines.data import Batch
from baselines.deepdeblur.method import DeepDeblurRecipe
from baselines.deepdeblur.network import DeepDeblur, Discriminator, start_as_identity
from baselines.deepdeblur.pyramid import pyramid
from baselines.learning import Figures, Learner
from baselines.losses import adversarial_loss, multi_scale_loss
from baselines.machine import Setting


class DeepDeblurLearner(Learner):
    """Multi-scale content loss, and the adversarial loss where the recipe has one."""

    def __init__(self, recipe: DeepDeblurRecipe, setting: Setting) -> None:
        """Make both networks."""
        self._recipe = recipe
        restorer = DeepDeblur(
            recipe.n_scales, recipe.n_resblocks, recipe.n_features, recipe.pyramid
        )
        if recipe.first_weights == "identity":
            start_as_identity(restorer)
        networks: dict[str, nn.Module] = {"restorer": restorer}
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
        figures: Figures = {}
        if recipe.discriminator_first:
            figures |= self._judge(batch, restored[0].detach())
        with self.frozen("discriminator"), self.precision():
            logits = self.networks["discriminator"](restored[0])
        adversarial = self._adversarial(logits, labelled_sharp=True)
        figures |= self.update(
            "restorer",
            content + recipe.adversarial_weight * adversarial,
            {"content": content, "adversarial": adversarial},
        )
        if not recipe.discriminator_first:
            figures |= self._judge(batch, restored[0].detach())
        return figures

    def _judge(self, batch: Batch, restored: Tensor) -> Figures:
        losses = []
        for images, labelled_sharp in ((batch.sharp, True), (restored, False)):
            with self.precision():
                logits = self.networks["discriminator"](images)
            losses.append(self._adversarial(logits, labelled_sharp=labelled_sharp))
        loss = losses[0] + losses[1]
        return self.update("discriminator", loss, {"discriminator": loss})

    def _adversarial(self, logits: Tensor, *, labelled_sharp: bool) -> Tensor:
        in_bits = self._recipe.adversarial_in_bits
        return adversarial_loss(logits, labelled_sharp=labelled_sharp, in_bits=in_bits)
