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


class Steps(ABC):
    """How one process takes its share of each step."""

    def __init__(
        self,
        learner: Learner,
        patches: Patches,
        device: torch.device,
        options: RunOptions,
        processes: Processes,
        out: Path,
    ) -> None:
        """Keep what steps need; ``out`` is for the batches of steps that fail."""
        self._learner, self._patches = learner, patches
        self._device, self._options = device, options
        self._share = processes.share_of(patches.config.batch)
        self._pin = device.type == "cuda"
        self._out, self._rank = out, processes.rank

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
                f"A step does not fit into the memory of {self._device}: use a smaller --batch or "
                "--patch-px, --precision bf16, or more processes."
            ) from error
        except StepNotFiniteError as error:
            assert batch_of is not None
            step -= error.n_steps_ago
            raise self._not_finite(step, error, batch_of(step)) from error
        except NotFiniteError as error:
            raise self._not_finite(step, error, error.batch) from error

    def _not_finite(self, step: int, error: NotFiniteError, batch: Batch) -> InputError:
        name = f"not-finite-step{step:06d}-rank{self._rank}.safetensors"
        images = {"blurred": batch.blurred, "sharp": batch.sharp}
        tensors = {key: image.cpu().contiguous() for key, image in images.items()}
        figures = {key: str(value) for key, value in error.figures.items()}
        write_atomic(self._out / name, safetensors.torch.save(tensors, metadata=figures))
        return InputError(
            f"{self._out}: step {step} gave {error.figures} in the {error.network}. The weights "
            f"were not changed by it; its batch is in {name}, and the last checkpoint (if any) is "
            "from before. A lower --learning-rate, --clip-gradient-norm 1 or --precision fp32 may "
            "help."
        )


class HostSteps(Steps):
    """Patches are cut on the CPU; each step is waited for."""

    def input(self, number: int) -> Batch:
        """See `Steps`."""
        return self._patches.batch(number, self._share, pin=self._pin)

    def take(
        self, step: int, inputs: list[Batch], learning_rate: float, *, is_logged: bool
    ) -> dict[str, float]:
        """See `Steps`."""
        batches = [self._placed(batch.to(self._device)) for batch in inputs]
        with self._explained(step):
            self._learner.start(learning_rate)
            return scalars(self._learner.step(batches))

    def _placed(self, batch: Batch) -> Batch:
        channels_last = self._options.channels_last
        return dataclasses.replace(
            batch,
            blurred=to_layout(batch.blurred, channels_last=channels_last),
            sharp=to_layout(batch.sharp, channels_last=channels_last),
        )


class DeviceSteps(Steps):
    """Patches are cut on the device, where figures stay until a line of the log is due."""

    def __init__(
        self,
        learner: Learner,
        patches: Patches,
        device: torch.device,
        options: RunOptions,
        processes: Processes,
        out: Path,
    ) -> None:
        """See `Steps`.

        Raises:
            InputError: The decoded pairs do not fit on the device.
        """
        super().__init__(learner, patches, device, options, processes, out)
        try:
            self._on_device = DevicePatches(patches, device)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"The decoded pairs do not fit into the memory of {device}: --loop host cuts the "
                "patches on the CPU."
            ) from error
        self._loop = DeviceLoop(learner, self._on_device, device)

    def input(self, number: int) -> Plan:
        """See `Steps`."""
        return self._on_device.plan(number, self._share, pin=self._pin)

    def take(
        self, step: int, inputs: list[Plan], learning_rate: float, *, is_logged: bool
    ) -> dict[str, float]:
        """See `Steps`."""
        with self._explained(step):
            self._loop.step(inputs, learning_rate)
        return self.pending(step + 1) if is_logged else {}

    def pending(self, n_done: int) -> dict[str, float]:
        """See `Steps`."""
        with self._explained(n_done, self._batch_of_failure):
            return self._loop.take_figures()

    def _batch_of_failure(self, step: int) -> Batch:
        # Batches are pure functions of their number: the step's last one is made again.
        number = (step + 1) * self._learner.n_batches - 1
        return self._loop.batch_of(self._on_device.plan(number, self._share))
