"""Taking one training step, with patches cut on the CPU or on the device."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch

from baselines.data import Batch, Patches
from baselines.device_patches import DevicePatches, Plan
from baselines.devices import to_layout
from baselines.learning import NotFiniteError
from baselines.machine import Processes, RunOptions, scalars
from baselines.method import Learner
from benchmarks.train.device_loop import DeviceLoop, StepNotFiniteError
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic


class Steps(Protocol):
    """How steps are taken."""

    def input(self, number: int) -> Any:
        """What batch ``number`` is made of: made ahead, in other threads."""
        ...

    def take(
        self, step: int, inputs: list[Any], learning_rate: float, *, is_logged: bool
    ) -> dict[str, float]:
        """Take a step.

        Args:
            step: From 0.
            inputs: Of the step's batches.
            learning_rate: Of this step.
            is_logged: Whether a line of the log is due after it.

        Returns:
            Sums of figures over the steps since they were last returned; may be empty where no line
            is due.

        Raises:
            InputError: Out of memory, or a figure is not finite: its batch is stored.
        """
        ...

    def pending(self, n_done: int) -> dict[str, float]:
        """Sums of figures that were not returned yet, after ``n_done`` steps."""
        ...


def chosen_steps(
    learner: Learner,
    patches: Patches,
    device: torch.device,
    options: RunOptions,
    processes: Processes,
    out: Path,
) -> Steps:
    """Steps on the device where ``options.loop`` and the machine allow it, else on the host."""
    share = processes.share_of(patches.config.batch)
    faults = _Faults(device=device, out=out, rank=processes.rank)
    if options.defers(device, processes):
        return _DeviceSteps(learner, patches, share, device, faults)
    return _HostSteps(learner, patches, share, device, options.channels_last, faults)


class _HostSteps:
    """Patches are cut on the CPU; each step is waited for."""

    def __init__(
        self,
        learner: Learner,
        patches: Patches,
        share: range,
        device: torch.device,
        channels_last: bool,
        faults: "_Faults",
    ) -> None:
        self._learner, self._patches, self._share = learner, patches, share
        self._device, self._channels_last, self._faults = device, channels_last, faults

    def input(self, number: int) -> Batch:
        return self._patches.batch(number, self._share, pin=self._device.type == "cuda")

    def take(
        self, step: int, inputs: list[Batch], learning_rate: float, *, is_logged: bool
    ) -> dict[str, float]:
        batches = [self._placed(batch.to(self._device)) for batch in inputs]
        with self._faults.explained(step):
            self._learner.start(learning_rate)
            return scalars(self._learner.step(batches))

    def pending(self, n_done: int) -> dict[str, float]:
        return {}

    def _placed(self, batch: Batch) -> Batch:
        return dataclasses.replace(
            batch,
            blurred=to_layout(batch.blurred, channels_last=self._channels_last),
            sharp=to_layout(batch.sharp, channels_last=self._channels_last),
        )


class _DeviceSteps:
    """Patches are cut on the device, where figures stay until a line of the log is due."""

    def __init__(
        self,
        learner: Learner,
        patches: Patches,
        share: range,
        device: torch.device,
        faults: "_Faults",
    ) -> None:
        try:
            self._patches = DevicePatches(patches, device)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"The decoded pairs do not fit into the memory of {device}: --loop host cuts the "
                "patches on the CPU."
            ) from error
        self._loop = DeviceLoop(learner, self._patches, device)
        self._n_batches, self._share = learner.n_batches, share
        self._pin, self._faults = device.type == "cuda", faults

    def input(self, number: int) -> Plan:
        return self._patches.plan(number, self._share, pin=self._pin)

    def take(
        self, step: int, inputs: list[Plan], learning_rate: float, *, is_logged: bool
    ) -> dict[str, float]:
        with self._faults.explained(step):
            self._loop.step(inputs, learning_rate)
        return self.pending(step + 1) if is_logged else {}

    def pending(self, n_done: int) -> dict[str, float]:
        with self._faults.explained(n_done, self._batch_of_failure):
            return self._loop.take_figures()

    def _batch_of_failure(self, step: int) -> Batch:
        # Batches are pure functions of their number: the step's last one is made again.
        number = step * self._n_batches + self._n_batches - 1
        return self._loop.batch_of(self._patches.plan(number, self._share))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Faults:
    """What goes wrong in a step, as errors that say what to do."""

    device: torch.device
    out: Path
    rank: int

    @contextmanager
    def explained(
        self, step: int, batch_of: Callable[[int], Batch] | None = None
    ) -> Iterator[None]:
        """Turn the errors of a step into InputError; with ``batch_of``, of a step before it."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"A step does not fit into the memory of {self.device}: use a smaller --batch or "
                "--patch-px, --precision bf16, or more processes."
            ) from error
        except StepNotFiniteError as error:
            assert batch_of is not None
            step -= error.n_steps_ago
            raise self._not_finite(step, error, batch_of(step)) from error
        except NotFiniteError as error:
            raise self._not_finite(step, error, error.batch) from error

    def _not_finite(self, step: int, error: NotFiniteError, batch: Batch) -> InputError:
        name = f"not-finite-step{step:06d}-rank{self.rank}.safetensors"
        tensors = {
            "blurred": batch.blurred.cpu().contiguous(),
            "sharp": batch.sharp.cpu().contiguous(),
        }
        figures = {key: str(value) for key, value in error.figures.items()}
        write_atomic(self.out / name, safetensors.torch.save(tensors, metadata=figures))
        return InputError(
            f"{self.out}: step {step} gave {error.figures} in the {error.network}. The weights "
            f"were not changed by it; its batch is in {name}, and the last checkpoint (if any) is "
            "from before. A lower --learning-rate, --clip-gradient-norm 1 or --precision fp32 may "
            "help."
        )
