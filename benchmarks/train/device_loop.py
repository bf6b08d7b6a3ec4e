"""Steps that stay on the device: patches cut there, figures summed there, replayed as one graph."""

from collections.abc import Sequence

import torch
from torch import Tensor

from baselines.data import Batch
from baselines.device_patches import DevicePatches, Plan
from baselines.learning import NotFiniteError
from baselines.method import Figures, Learner

_N_EAGER_STEPS = 3  # before a step is captured: libraries choose and set up their kernels


class DeviceLoop:
    """Takes a learner's steps without waiting for any of them.

    On a GPU all work of a step (cutting patches, forward, backward, update) becomes one CUDA graph,
    so that the CPU only draws where patches are cut; elsewhere the same is computed step by step.
    """

    def __init__(self, learner: Learner, patches: DevicePatches, device: torch.device) -> None:
        """Nothing is computed yet."""
        self._learner = learner
        self._patches = patches
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[tuple[Tensor, Tensor]] = []
        self._totals: dict[str, Tensor] = {}
        self._n_good = torch.zeros((), dtype=torch.int64, device=device)
        self._n_steps = 0  # since the figures were last taken
        self._n_taken = 0  # in all

    def step(self, plans: Sequence[Plan], learning_rate: float) -> None:
        """Learn from the batches of some plans; returns while the device still works."""
        self._learner.start(learning_rate)
        if not self._inputs:
            self._inputs = [
                (torch.empty_like(p.places, device=self._device),
                 torch.empty_like(p.strengths, device=self._device))
                for p in plans
            ]  # fmt: skip
        for plan, (places, strengths) in zip(plans, self._inputs, strict=True):
            places.copy_(plan.places, non_blocking=True)
            strengths.copy_(plan.strengths, non_blocking=True)
        if self._stream is None:
            self._compute()
        elif self._graph is not None:
            self._graph.replay()
        else:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self._compute()
            torch.cuda.current_stream().wait_stream(self._stream)
        self._n_steps += 1
        self._n_taken += 1
        if self._stream is not None and self._n_taken == _N_EAGER_STEPS:
            torch.cuda.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            # Records, computes nothing. Other threads pin memory for plans meanwhile: let them.
            with torch.cuda.graph(
                self._graph, stream=self._stream, capture_error_mode="thread_local"
            ):
                self._compute()

    def _compute(self) -> None:
        figures: Figures = self._learner.step([self._batch(*inputs) for inputs in self._inputs])
        for name, value in figures.items():
            if name not in self._totals:
                self._totals[name] = torch.zeros((), dtype=torch.float64, device=self._device)
            self._totals[name] += value
        self._n_good += (self._learner.not_finite() == 0).long()

    def _batch(self, places: Tensor, strengths: Tensor) -> Batch:
        blurred, sharp = self._patches.cut(places, strengths)
        return Batch(number=0, blurred=blurred, sharp=sharp)

    def take_figures(self) -> dict[str, float]:
        """Sum of each figure over the steps since this was last called; waits for the device.

        Raises:
            StepNotFiniteError: A figure was not finite.
        """
        if not self._n_steps:
            return {}
        n_steps, self._n_steps = self._n_steps, 0
        names = list(self._totals)
        stacked = torch.stack([*self._totals.values(), self._n_good.double()]).tolist()
        sums = dict(zip(names, stacked[:-1], strict=True))
        for total in self._totals.values():
            total.zero_()
        if (n_good := round(stacked[-1])) < self._n_taken:
            raise StepNotFiniteError(self._n_taken - n_good, n_steps, sums)
        return sums

    def batch_of(self, plan: Plan) -> Batch:
        """The patches of a plan, to look at."""
        blurred, sharp = self._patches.cut(
            plan.places.to(self._device), plan.strengths.to(self._device)
        )
        return Batch(number=plan.number, blurred=blurred, sharp=sharp)


class StepNotFiniteError(NotFiniteError):
    """A figure of an earlier step was not finite; nothing was learned since."""

    def __init__(self, n_steps_ago: int, n_steps: int, sums: dict[str, float]) -> None:
        empty = torch.empty(0)
        super().__init__("networks", sums, Batch(number=-1, blurred=empty, sharp=empty))
        self.n_steps_ago = n_steps_ago
        """1: the step taken last."""
        self.n_steps = n_steps
        """Steps that ``figures`` sums."""
