"""Taking one training step."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from baselines.data import Patches
from baselines.learning import Learner, NotFiniteError
from baselines.machine import Setting, scalars
from gopro_tools.errors import InputError


@dataclasses.dataclass
class Steps:
    """How one process takes its share of each step: patches are cut on the CPU.

    Each step is waited for; `benchmarks.train.device_loop.DeviceSteps` waits less often.
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
            raise not_finite(step, error.figures) from error

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


def not_finite(step: int, figures: Mapping[str, float]) -> InputError:
    """What is said of a step whose figures are not finite."""
    return InputError(
        f"step {step} gave {dict(figures)}. The weights were not changed by it, and the last "
        "checkpoint (if any) is from before. A lower --learning-rate, --clip-gradient-norm 1 or "
        "--precision fp32 may help."
    )
