"""One training step of each method: what the papers' sections on training say."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.data import Batch
from baselines.deblurgan import Critic, Generator, start_without_correction
from baselines.deepdeblur import DeepDeblur, Discriminator, pyramid, start_as_identity
from baselines.losses import (
    adversarial_loss,
    content_features,
    critic_loss,
    generator_loss,
    gradient_penalty,
    multi_scale_loss,
    perceptual_loss,
)
from benchmarks.devices import compile_blocks, to_layout
from benchmarks.train.machine import Processes, RunOptions, scalars, seed_torch
from benchmarks.train.recipes import DeblurGanRecipe, DeepDeblurRecipe, Optimisation, Recipe

Figures = dict[str, Tensor]
"""Tensors of one element by name."""


class NotFiniteError(ArithmeticError):
    """A loss or a gradient is NaN or infinite; the weights are still those of the step before."""

    def __init__(self, network: str, figures: dict[str, float], batch: Batch) -> None:
        super().__init__(f"{network}: {figures}")
        self.network = network
        self.figures = figures
        self.batch = batch


class Learner(Protocol):
    """What the loop needs of a method."""

    networks: dict[str, nn.Module]
    """``restorer``, and the network that judges it where there is one."""
    optimizers: dict[str, torch.optim.Optimizer]
    """By the same names."""
    n_batches: int
    """Batches a step takes."""

    def start(self, learning_rate: float) -> None:
        """Set the learning rate of the next step."""
        ...

    def step(self, batches: Sequence[Batch]) -> Figures:
        """Learn from ``n_batches`` batches on the device.

        Returns:
            Losses (unweighted, as they were before the step) and gradient norms by name.

        Raises:
            NotFiniteError: One of them is not finite, and figures are looked at in each step.
        """
        ...

    def not_finite(self) -> Tensor:
        """Whether a figure of any step so far was not finite: since then nothing has changed.

        One element on the device, 0 or 1; for learners that leave figures on the device.
        """
        ...


def make_learner(
    recipe: Recipe,
    options: RunOptions,
    device: torch.device,
    processes: Processes,
    vgg_weights: Path | None = None,
) -> Learner:
    """The networks of a recipe with fresh weights, which its seed decides, and their optimizers."""
    seed_torch(recipe.seed)
    if isinstance(recipe, DeepDeblurRecipe):
        return DeepDeblurLearner(recipe, options, device, processes)
    return DeblurGanLearner(recipe, options, device, processes, vgg_weights)


class DeepDeblurLearner:
    """Multi-scale content loss, and the adversarial loss where the recipe has one."""

    n_batches = 1

    def __init__(
        self,
        recipe: DeepDeblurRecipe,
        options: RunOptions,
        device: torch.device,
        processes: Processes,
    ) -> None:
        """Make both networks."""
        self._recipe = recipe
        restorer = DeepDeblur(
            recipe.n_scales, recipe.n_resblocks, recipe.n_features, recipe.pyramid
        )
        if recipe.first_weights == "identity":
            start_as_identity(restorer)
        self.networks: dict[str, nn.Module] = {"restorer": restorer}
        if recipe.adversarial_weight:
            self.networks["discriminator"] = Discriminator(
                recipe.discriminator, patch_px=recipe.patches.patch_px
            )
        self._engine = _Engine(self.networks, recipe.optimisation, options, device, processes)
        self.optimizers = self._engine.optimizers

    def start(self, learning_rate: float) -> None:
        """See `Learner`."""
        self._engine.start(learning_rate)

    def not_finite(self) -> Tensor:
        """See `Learner`."""
        return self._engine.not_finite

    def step(self, batches: Sequence[Batch]) -> Figures:
        """See `Learner`."""
        (batch,) = batches
        recipe, engine = self._recipe, self._engine
        sharp = pyramid(batch.sharp, recipe.n_scales, recipe.pyramid)
        with engine.precision():
            restored = engine.run["restorer"](batch.blurred)
        content = multi_scale_loss(restored, sharp, recipe.content_loss, recipe.loss_reduction)
        if not recipe.adversarial_weight:
            return engine.update("restorer", content, {"content": content}, batch)
        figures: Figures = {}
        if recipe.discriminator_first:
            figures |= self._judge(batch, restored[0].detach())
        with engine.frozen("discriminator"), engine.precision():
            logits = engine.run["discriminator"](restored[0])
        adversarial = adversarial_loss(
            logits, labelled_sharp=True, in_bits=recipe.adversarial_in_bits
        )
        figures |= engine.update(
            "restorer",
            content + recipe.adversarial_weight * adversarial,
            {"content": content, "adversarial": adversarial},
            batch,
        )
        if not recipe.discriminator_first:
            figures |= self._judge(batch, restored[0].detach())
        return figures

    def _judge(self, batch: Batch, restored: Tensor) -> Figures:
        with self._engine.precision():
            logits = [self._engine.run["discriminator"](x) for x in (batch.sharp, restored)]
        loss = sum(
            (
                adversarial_loss(x, labelled_sharp=label, in_bits=self._recipe.adversarial_in_bits)
                for x, label in zip(logits, (True, False), strict=True)
            ),
            start=torch.zeros((), device=restored.device),
        )
        return self._engine.update("discriminator", loss, {"discriminator": loss}, batch)


class DeblurGanLearner:
    """WGAN-GP with several critic steps for one of the generator, plus the content loss."""

    def __init__(
        self,
        recipe: DeblurGanRecipe,
        options: RunOptions,
        device: torch.device,
        processes: Processes,
        vgg_weights: Path | None,
    ) -> None:
        """Make both networks, and read VGG19 where the content loss needs it."""
        self._recipe = recipe
        how = recipe.options
        generator = Generator(recipe.n_features, recipe.n_blocks, how.dropout, how.dropout_at_test)
        if recipe.first_weights == "identity":
            start_without_correction(generator)
        self.networks: dict[str, nn.Module] = {"restorer": generator}
        self._critic_batches = how.n_critic_steps if how.critic_batches == "fresh" else 0
        self.n_batches = self._critic_batches + 1
        if recipe.adversarial_weight:
            self.networks["critic"] = Critic(recipe.n_features)
        else:
            self._critic_batches, self.n_batches = 0, 1
        self._features = None
        if recipe.content_loss == "vgg":
            features = content_features(vgg_weights, how.vgg_layer, how.vgg_input).to(device)
            self._features = to_layout(features, channels_last=options.channels_last)
        self._engine = _Engine(self.networks, recipe.optimisation, options, device, processes)
        self.optimizers = self._engine.optimizers

    def start(self, learning_rate: float) -> None:
        """See `Learner`."""
        self._engine.start(learning_rate)

    def not_finite(self) -> Tensor:
        """See `Learner`."""
        return self._engine.not_finite

    def step(self, batches: Sequence[Batch]) -> Figures:
        """See `Learner`."""
        recipe, engine = self._recipe, self._engine
        *critic_batches, batch = batches
        figures: Figures = {}
        for own in critic_batches:
            with torch.no_grad(), engine.precision():
                seen = engine.run["restorer"](own.blurred)
            figures |= self._judge(own, seen)
        with engine.precision():
            restored = engine.run["restorer"](batch.blurred)
        if recipe.adversarial_weight and not critic_batches:
            for _ in range(recipe.options.n_critic_steps):
                figures |= self._judge(batch, restored.detach())
        parts = {"content": self._content_loss(restored, batch.sharp)}
        loss = recipe.options.content_weight * parts["content"]
        if recipe.adversarial_weight:
            with engine.frozen("critic"), engine.precision():
                parts["adversarial"] = generator_loss(engine.run["critic"](restored))
            loss = loss + recipe.adversarial_weight * parts["adversarial"]
        return figures | engine.update("restorer", loss, parts, batch)

    def _content_loss(self, restored: Tensor, sharp: Tensor) -> Tensor:
        if self._features is None:
            return F.l1_loss(restored.float(), sharp)
        with self._engine.precision():
            return perceptual_loss(self._features, restored, sharp)

    def _judge(self, batch: Batch, restored: Tensor) -> Figures:
        how, critic = self._recipe.options, self._engine.run["critic"]
        with self._engine.precision():
            distance = critic_loss(critic(batch.sharp), critic(restored))
        # Twice differentiated, so neither compiled nor in half precision.
        penalty = gradient_penalty(
            self.networks["critic"], batch.sharp, restored, how.gradient_norm, how.penalty_alpha
        )
        loss = distance + how.penalty_weight * penalty
        return self._engine.update(
            "critic", loss, {"critic": distance, "gradient_penalty": penalty}, batch
        )


class _Engine:
    """What all learners share: networks in place, precision, and one guarded update."""

    def __init__(
        self,
        networks: dict[str, nn.Module],
        optimisation: Optimisation,
        options: RunOptions,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self._networks = networks
        self._device = device
        self._processes = processes
        self._bf16 = options.precision == "bf16"
        self._clip = optimisation.clip_gradient_norm or math.inf
        self._deferred = options.defers(device, processes)
        self.not_finite = torch.zeros((), device=device)
        self.run: dict[str, Any] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        for name, network in networks.items():
            to_layout(network.to(device).train(), channels_last=options.channels_last)
            if options.compile:
                compile_blocks(network)
            self.run[name] = network
            rate = optimisation.learning_rate
            self.optimizers[name] = torch.optim.Adam(
                network.parameters(),
                # A captured step reads its rate from the device.
                lr=torch.tensor(rate, device=device) if self._deferred else rate,
                betas=optimisation.adam_betas,
                eps=optimisation.adam_epsilon,
                fused=self._deferred or device.type == "cuda",
                capturable=self._deferred and device.type == "cuda",
            )

    def start(self, learning_rate: float) -> None:
        """Set the learning rate of the step."""
        for name, optimizer in self.optimizers.items():
            self._networks[name].train()
            for group in optimizer.param_groups:
                if self._deferred:
                    group["lr"].fill_(learning_rate)
                else:
                    group["lr"] = learning_rate

    def precision(self) -> AbstractContextManager[Any]:
        """What a forward pass runs under."""
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16)

    def frozen(self, name: str) -> AbstractContextManager[Any]:
        """Let a gradient through a network that does not learn from it."""
        return _Frozen(self._networks[name])

    def update(self, name: str, loss: Tensor, parts: Figures, batch: Batch) -> Figures:
        """Take one step of a network against the gradient of ``loss``, if all is finite.

        Where figures stay on the device so does the check: after the first figure that is not
        finite, the optimizers (PyTorch's fused Adam knows how) leave all weights as they are.
        """
        network, optimizer = self._networks[name], self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._processes.average_gradients(network)
        norm = nn.utils.clip_grad_norm_(network.parameters(), self._clip)
        figures = {
            key: value.detach().float().reshape(())
            for key, value in (parts | {f"{name}_gradient_norm": norm}).items()
        }
        values = torch.stack(list(figures.values()))
        if self._deferred:
            bad = 1 - values.isfinite().all().float()
            self.not_finite.copy_(torch.maximum(self.not_finite, bad))
            optimizer.found_inf = self.not_finite  # type: ignore[attr-defined]
        elif not bool(values.isfinite().all()):
            raise NotFiniteError(name, scalars(figures), batch)
        optimizer.step()
        return figures


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Fill an optimizer from a checkpoint, which may come from another machine.

    It goes on in its own way (fused, captured or neither). Moments take their weights' memory
    layout, for a fused update walks over the memory of both side by side: moments stored row by row
    beside weights in channels_last would be another channel's, without a word.
    """
    own = [
        {key: group[key] for key in ("lr", "fused", "capturable", "foreach")}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, own, strict=True):
        group.update(kept)
    for group in optimizer.param_groups:
        for weights in group["params"]:
            entries = optimizer.state[weights]
            for key, value in entries.items():
                if key == "step":
                    entries[key] = value.to(weights.device if group["fused"] else "cpu")
                else:
                    entries[key] = torch.empty_like(weights).copy_(value)


class _Frozen:
    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def __enter__(self) -> None:
        self._network.requires_grad_(requires_grad=False)

    def __exit__(self, *_: object) -> None:
        self._network.requires_grad_(requires_grad=True)
