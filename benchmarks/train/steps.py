"""Taking one training step, with patches cut on the CPU or on the device."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


@dataclasses.dataclass
class Steps(ABC):
    """How one process takes its share of each step."""

    learner: Learner
    patches: Patches
    device: torch.device
    options: RunOptions
    processes: Processes
    out: Path  # for the batches of steps that fail

    @property
    def share(self) -> range:
        """Places of this process in each batch."""
        return self.processes.share_of(self.patches.config.batch)

    @property
    def pin(self) -> bool:
        """Whether batches are made in memory that a GPU copies from in the background."""
        return self.device.type == "cuda"

    @abstractmethod
    def input(self, number: int) -> Any:
        """What batch ``number`` is made of: made ahead, in other threads."""

    @abstractmethod
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

    def pending(self, n_done: int) -> dict[str, float]:
        """Sums of figures that were not returned yet, after ``n_done`` steps."""
        return {}

    @contextmanager
    def _explained(
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
        name = f"not-finite-step{step:06d}-rank{self.processes.rank}.safetensors"
        images = {"blurred": batch.blurred, "sharp": batch.sharp}
        tensors = {key: image.cpu().contiguous() for key, image in images.items()}
        figures = {key: str(value) for key, value in error.figures.items()}
        write_atomic(self.out / name, safetensors.torch.save(tensors, metadata=figures))
        return InputError(
            f"{self.out}: step {step} gave {error.figures} in the {error.network}. The weights "
            f"were not changed by it; its batch is in {name}, and the last checkpoint (if any) is "
            "from before. A lower --learning-rate, --clip-gradient-norm 1 or --precision fp32 may "
            "help."
        )


@dataclasses.dataclass
class HostSteps(Steps):
    """Patches are cut on the CPU; each step is waited for."""

    def input(self, number: int) -> Batch:
        """See `Steps`."""
        return self.patches.batch(number, self.share, pin=self.pin)

    def take(
        self, step: int, inputs: list[Batch], learning_rate: float, *, is_logged: bool
    ) -> dict[str, float]:
        """See `Steps`."""
        batches = [self._placed(batch.to(self.device)) for batch in inputs]
        with self._explained(step):
            self.learner.start(learning_rate)
            return scalars(self.learner.step(batches))

    def _placed(self, batch: Batch) -> Batch:
        channels_last = self.options.channels_last
        return dataclasses.replace(
            batch,
            blurred=to_layout(batch.blurred, channels_last=channels_last),
            sharp=to_layout(batch.sharp, channels_last=channels_last),
        )


@dataclasses.dataclass
class DeviceSteps(Steps):
    """Patches are cut on the device, where figures stay until a line of the log is due."""

    def __post_init__(self) -> None:
        """Copy the decoded pairs to the device.

        Raises:
            InputError: They do not fit.
        """
        try:
            self.on_device = DevicePatches(self.patches, self.device)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"The decoded pairs do not fit into the memory of {self.device}: --loop host cuts "
                "the patches on the CPU."
            ) from error
        self.loop = DeviceLoop(self.learner, self.on_device, self.device)

    def input(self, number: int) -> Plan:
        """See `Steps`."""
        return self.on_device.plan(number, self.share, pin=self.pin)

    def take(
        self, step: int, inputs: list[Plan], learning_rate: float, *, is_logged: bool
    ) -> dict[str, float]:
        """See `Steps`."""
        with self._explained(step):
            self.loop.step(inputs, learning_rate)
        return self.pending(step + 1) if is_logged else {}

    def pending(self, n_done: int) -> dict[str, float]:
        """See `Steps`."""
        with self._explained(n_done, self._batch_of_failure):
            return self.loop.take_figures()

    def _batch_of_failure(self, step: int) -> Batch:
        # Batches are pure functions of their number: the step's last one is made again.
        number = (step + 1) * self.learner.n_batches - 1
        return self.loop.batch_of(self.on_device.plan(number, self.share))
