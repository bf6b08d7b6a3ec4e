"""How the machine trains; the outcome depends on it only by rounding."""

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist

# Its functions keep the process group at the time of this import as a default argument. Imported
# later, as optimisers do, they would keep ours, and its threads would outlive Python: some runs
# were aborted after they had ended well.
import torch.distributed.nn
from torch import Tensor, nn

from baselines.data import Cache
from baselines.options import ComputeOptions
from gopro_tools.errors import InputError

EXIT_UNFINISHED = 3
"""Exit code where ``--minutes`` ran out: the same command continues."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(ComputeOptions):
    """Speed, checkpoints and display; the recipe holds what decides the outcome."""

    loop: Literal["auto", "host", "device"] = "auto"
    """``host``: threads cut patches, and each step waits for its figures. ``device``: the decoded
    pairs are kept on the device, patches are cut there, and figures are checked every ``log_every``
    steps, which is several times as fast on a GPU (a step is then one CUDA graph). ``auto``:
    ``device`` for one process on a GPU with the pairs in memory."""
    cache: Cache = "memory"
    """Keep decoded frames in memory, or decode them again for each patch (``none``)."""
    n_threads: int = 2
    """Threads that cut patches in advance; 0 cuts them between steps."""
    checkpoint_every_s: float = 600.0
    """Seconds between checkpoints. There is always one at the end, and one when stopped."""
    log_every: int = 20
    """Steps between lines of ``log.jsonl``, which hold means over these steps."""
    validate_every: int = 1000
    """Steps between validations."""
    n_validation_images: int = 8
    """Test pairs, evenly spread, to validate on; 0 for no validation."""
    vgg_weights: Path | None = None
    """Weights of VGG19 for DeblurGAN's content loss; by default torchvision's download."""
    start_from: Path | None = None
    """Weight file of the same architecture to fine-tune, of this project or an official one;
    without it, training starts from random weights. The record names its hash."""

    def __post_init__(self) -> None:
        if min(self.log_every, self.validate_every) < 1 or self.n_validation_images < 0:
            raise InputError("log_every and validate_every must be at least 1.")
        if self.n_threads < 0 or self.checkpoint_every_s < 0:
            raise InputError("n_threads and checkpoint_every_s must not be negative.")
        if self.loop == "device" and self.cache != "memory":
            raise InputError("--loop device needs the decoded pairs in memory (--cache memory).")

    def defers(self, device: torch.device, processes: "Processes") -> bool:
        """Whether the figures of a step stay on the device; see ``loop``.

        Raises:
            InputError: Several processes were to do so.
        """
        if self.loop == "device" and processes.n > 1:
            raise InputError("--loop device trains in one process; under torchrun choose host.")
        can = device.type == "cuda" and processes.n == 1 and self.cache == "memory"
        return self.loop == "device" or (self.loop == "auto" and can)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes that train together; one unless torchrun started more.

    Gradients are averaged here after the backward pass, not by `DistributedDataParallel`, which
    does not support the gradient penalty: it differentiates twice, and its passes share one
    backward. The transfer (48 MB for 12 M weights) takes little time compared with a step.
    """

    rank: int = 0
    n: int = 1

    def share_of(self, batch: int) -> range:
        """This process's places in the global batch.

        Raises:
            InputError: The batch cannot be shared out evenly.
        """
        if batch % self.n:
            raise InputError(
                f"A batch of {batch} cannot be shared evenly by {self.n} processes; choose "
                "--batch (DeblurGAN: --batch-size) as a multiple."
            )
        size = batch // self.n
        return range(self.rank * size, (self.rank + 1) * size)

    def average_gradients(self, network: nn.Module) -> None:
        """Give all processes the mean of their gradients."""
        if self.n == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.n
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def agree(self, figures: Mapping[str, float], *, stop: bool) -> tuple[dict[str, float], bool]:
        """Mean of each figure over the processes, and whether any of them is to stop."""
        if self.n == 1:
            return dict(figures), stop
        vector = torch.tensor([float(stop), *figures.values()], dtype=torch.float64)
        dist.all_reduce(vector)
        any_stop, *sums = vector.tolist()
        return {k: s / self.n for k, s in zip(figures, sums, strict=True)}, any_stop > 0


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun started (by its environment variables), if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    # Tensors on the CPU (figures, the wish to stop) travel by gloo whatever the device.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(rank=dist.get_rank(), n=dist.get_world_size())
    finally:
        dist.destroy_process_group()


def seed_torch(*key: int) -> None:
    """Seed torch's random numbers (dropout, penalty weights) by integers.

    Called before every step with (seed, step, rank), so that a resumed run needs no stored state.
    """
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(state) >> 1)


class Budget:
    """The time that a command may take."""

    def __init__(self, minutes: float | None) -> None:
        """Start the clock; None is no limit.

        Raises:
            InputError: Not a positive number.
        """
        if minutes is not None and not minutes > 0:
            raise InputError(f"--minutes {minutes}: a positive number was expected.")
        self.minutes = minutes
        self._end = math.inf if minutes is None else time.monotonic() + 60 * minutes

    @property
    def spent(self) -> bool:
        """Whether the time has run out."""
        return time.monotonic() >= self._end


def scalars(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Numbers of one-element tensors, fetched from the device at once."""
    stacked = torch.stack([value.detach().float().reshape(()) for value in values.values()])
    return dict(zip(values, stacked.tolist(), strict=True))
