"""What learners share: networks on a device and one guarded update; and the simplest learner."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.data import Batch, FramePairs
from baselines.devices import autocast, placed
from baselines.machine import Setting, scalars
from baselines.recipe import Optimisation, Recipe
from gopro_tools.threads import Progress

Figures = dict[str, Tensor]
"""Tensors of one element by name."""


class NotFiniteError(ArithmeticError):
    """A loss or a gradient is NaN or infinite; the weights are still those of the step before."""

    def __init__(self, figures: dict[str, float]) -> None:
        super().__init__(str(figures))
        self.figures = figures


class Learner(ABC):
    """What the training loop needs of a method: networks with optimizers, and how a step is taken.

    Subclasses say how in `step`; `PlainLearner` is the simplest.
    """

    networks: dict[str, nn.Module]
    """``restorer``, and the network that judges it where there is one."""
    optimizers: dict[str, torch.optim.Optimizer]
    """By the same names."""
    n_batches: int = 1
    """Batches per step."""
    not_finite: Tensor
    """0 or 1, on the device: whether a figure of any step so far was not finite, for learners that
    keep figures there; weights have not changed since."""

    def __init__(
        self, networks: dict[str, nn.Module], optimisation: Optimisation, setting: Setting
    ) -> None:
        """Move the networks to the device and make their optimizers."""
        device = setting.device
        self.networks = networks
        self._setting = setting
        self._clip = optimisation.clip_gradient_norm or math.inf
        self._deferred = setting.defers
        self.not_finite = torch.zeros((), device=device)
        self.optimizers = {}
        for name, network in networks.items():
            placed(network.train(), device, setting.options)
            rate = optimisation.learning_rate
            self.optimizers[name] = torch.optim.Adam(
                network.parameters(),
                # A captured step reads its rate from the device.
                lr=torch.tensor(rate, device=device) if self._deferred else rate,
                betas=optimisation.adam_betas,
                fused=self._deferred or device.type == "cuda",
                capturable=self._deferred and device.type == "cuda",
            )

    @abstractmethod
    def step(self, batches: Sequence[Batch]) -> Figures:
        """Learn from ``n_batches`` batches on the device.

        Returns:
            Losses (unweighted, as they were before the step) and gradient norms by name.

        Raises:
            NotFiniteError: One of them is not finite, and figures are checked in each step.
        """

    def start(self, learning_rate: float) -> None:
        """Set the learning rate of the next step."""
        for name, optimizer in self.optimizers.items():
            self.networks[name].train()
            for group in optimizer.param_groups:
                if self._deferred:
                    group["lr"].fill_(learning_rate)
                else:
                    group["lr"] = learning_rate

    def precision(self) -> AbstractContextManager[Any]:
        """The autocast context of a forward pass."""
        return autocast(self._setting.device, self._setting.options)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Let a gradient through a network that does not learn from it."""
        self.networks[name].requires_grad_(requires_grad=False)
        yield
        self.networks[name].requires_grad_(requires_grad=True)

    def update(self, name: str, loss: Tensor, parts: Figures) -> Figures:
        """Take one step of a network against the gradient of ``loss``, if all is finite.

        Where figures stay on the device the check does too: after the first figure that is not
        finite, the optimizers (PyTorch's fused Adam supports this) leave all weights as they are.
        """
        network, optimizer = self.networks[name], self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._setting.processes.average_gradients(network)
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
            raise NotFiniteError(scalars(figures))
        optimizer.step()
        return figures

    def finish(self, pairs: FramePairs, on_progress: Progress) -> None:  # noqa: B027
        """Fit what is not learned by gradient descent; called once, after the last step."""


class PlainLearner(Learner):
    """A network that is compared with the sharp patch pixel by pixel: no critic, one scale."""

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        setting: Setting,
        loss: Literal["l1", "mse"] = "l1",
    ) -> None:
        """Train a network: (N, 3, H, W) in [0, 1] to the same, with an ``architecture``."""
        super().__init__({"restorer": network}, recipe.optimisation, setting)
        self._loss = F.l1_loss if loss == "l1" else F.mse_loss

    def step(self, batches: Sequence[Batch]) -> Figures:
        """See `Learner`."""
        (batch,) = batches
        with self.precision():
            restored = self.networks["restorer"](batch.blurred)
        content = self._loss(restored.float(), batch.sharp)
        return self.update("restorer", content, {"content": content})


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Fill an optimizer from a checkpoint, which may come from another machine.

    It keeps its own implementation (fused, captured or neither). Moments take the memory layout of
    their weights: a fused update walks over the memory of both, and moments stored row by row would
    silently be applied to other weights than their own where those are in channels_last.
    """
    own = [
        {key: group[key] for key in ("lr", "fused", "capturable", "foreach")}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, own, strict=True):
        group.update(kept)
        for weights in group["params"]:
            entries = optimizer.state[weights]
            for key, value in entries.items():
                if key == "step":
                    entries[key] = value.to(weights.device if group["fused"] else "cpu")
                else:
                    entries[key] = torch.empty_like(weights).copy_(value)
