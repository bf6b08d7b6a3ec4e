"""Steps that stay on the device: patches cut there, figures summed there, replayed as one graph."""

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.data import Batch
from baselines.device_patches import DevicePatches, Plan
from benchmarks.train.steps import Steps, not_finite
from gopro_tools.errors import InputError

_N_EAGER_STEPS = 3  # before a step is captured: libraries choose and set up their kernels


@dataclass
class DeviceSteps(Steps):
    """Takes a learner's steps without waiting for any of them, until a line of the log is due.

    On a GPU all work of a step (cutting patches, forward, backward, update) becomes one CUDA graph,
    so that the CPU only draws where patches are cut; elsewhere the same is computed step by step.
    """

    def __post_init__(self) -> None:
        """Copy the decoded pairs to the device.

        Raises:
            InputError: They do not fit.
        """
        device = self.setting.device
        try:
            self._cutter = DevicePatches(self.patches, device)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"The decoded pairs do not fit into the memory of {device}: --loop host cuts the "
                "patches on the CPU."
            ) from error
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[tuple[Tensor, Tensor]] = []
        self._totals: dict[str, Tensor] = {}
        self._n_good = torch.zeros((), dtype=torch.int64, device=device)
        self._n_taken = 0
        self._n_summed = 0  # steps whose figures were returned

    def input(self, number: int) -> Plan:
        """See `Steps`."""
        return self._cutter.plan(number, self.share, pin=self.pin)

    def take(
        self, step: int, inputs: list[Plan], learning_rate: float, *, is_logged: bool
    ) -> dict[str, float]:
        """See `Steps`; where no line is due, it returns while the device still works."""
        with self.memory_explained():
            self._start(inputs, learning_rate)
        return self.pending(step + 1) if is_logged else {}

    def pending(self, n_done: int) -> dict[str, float]:
        """See `Steps`; waits for the device.

        Raises:
            InputError: A figure was not finite; nothing was learned since.
        """
        if self._n_taken == self._n_summed:
            return {}
        self._n_summed = self._n_taken
        stacked = torch.stack([*self._totals.values(), self._n_good.double()]).tolist()
        sums = dict(zip(self._totals, stacked[:-1], strict=True))
        for total in self._totals.values():
            total.zero_()
        if (n_bad := self._n_taken - round(stacked[-1])) > 0:
            raise not_finite(n_done - n_bad, sums)
        return sums

    def _start(self, plans: list[Plan], learning_rate: float) -> None:
        device = self.setting.device
        self.learner.start(learning_rate)
        if not self._inputs:
            self._inputs = [
                (torch.empty_like(p.places, device=device),
                 torch.empty_like(p.strengths, device=device))
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
        batches = [
            Batch(number=0, blurred=blurred, sharp=sharp)
            for blurred, sharp in (self._cutter.cut(*inputs) for inputs in self._inputs)
        ]
        for name, value in self.learner.step(batches).items():
            if name not in self._totals:
                self._totals[name] = torch.zeros(
                    (), dtype=torch.float64, device=self.setting.device
                )
            self._totals[name] += value
        self._n_good += (self.learner.not_finite() == 0).long()
