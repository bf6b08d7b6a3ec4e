"""Taking training steps: one after the other, or without waiting for the device."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from baselines.data import Batch, Patches
from baselines.device_patches import DevicePatches, Plan
from baselines.learning import Learner, NotFiniteError
from baselines.machine import Setting, scalars
from gopro_tools.errors import InputError

_N_EAGER_STEPS = 3  # before a step is captured: libraries choose and set up their kernels


@dataclasses.dataclass
class Steps:
    """How one process takes its share of each step: patches are cut on the CPU.

    Each step is waited for; `DeviceSteps` wait less often.
    """

    learner: Learner
    patches: Patches
    setting: Setting

    @property
    def share(self) -> range:
        """Places of this process in each batch."""
        return self.setting.processes.share_of(self.patches.config.batch)

    @property
    def pin(self) -> bool:
        """Whether batches are made in memory that a GPU copies from in the background."""
        return self.setting.device.type == "cuda"

    def input(self, number: int) -> Any:
        """What batch ``number`` is made of: made ahead, in other threads."""
        return self.patches.batch(number, self.share, pin=self.pin)

    def take(
        self, step: int, inputs: list[Any], learning_rate: float, *, is_logged: bool
    ) -> dict[str, float]:
        """Take step ``step`` from 0; ``is_logged``: a line of the log is due after it.

        Returns:
            Sums of figures over the steps since they were last returned; may be empty where no line
            is due.

        Raises:
            InputError: Out of memory, or a figure is not finite.
        """
        channels_last = self.setting.options.channels_last
        batches = [
            batch.placed(self.setting.device, channels_last=channels_last) for batch in inputs
        ]
        self.learner.start(learning_rate)
        try:
            with self.memory_explained():
                return scalars(self.learner.step(batches))
        except NotFiniteError as error:
            raise _not_finite(step, error.figures) from error

    def pending(self, n_done: int) -> dict[str, float]:
        """Sums of figures that were not returned yet, after ``n_done`` steps."""
        return {}

    @contextmanager
    def memory_explained(self) -> Iterator[None]:
        """Say what to do where a step does not fit into memory."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"A step does not fit into the memory of {self.setting.device}: use a smaller "
                "--batch or --patch-px, --precision bf16, or more processes."
            ) from error


@dataclasses.dataclass
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
            raise _not_finite(n_done - n_bad, sums)
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
            Batch(blurred=blurred, sharp=sharp)
            for blurred, sharp in (self._cutter.cut(*inputs) for inputs in self._inputs)
        ]
        for name, value in self.learner.step(batches).items():
            if name not in self._totals:
                self._totals[name] = torch.zeros(
                    (), dtype=torch.float64, device=self.setting.device
                )
            self._totals[name] += value
        self._n_good += (self.learner.not_finite == 0).long()


def _not_finite(step: int, figures: Mapping[str, float]) -> InputError:
    """What is said of a step whose figures are not finite."""
    return InputError(
        f"step {step} gave {dict(figures)}. The weights were not changed by it, and the last "
        "checkpoint (if any) is from before. A lower --learning-rate, --clip-gradient-norm 1 or "
        "--precision fp32 may help."
    )
