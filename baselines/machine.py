"""How the machine trains; the outcome depends on it only by rounding."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.distributed as dist

# Its functions keep the process group at the time of this import as a default argument. Imported
# later, as optimisers do, they would keep ours, and its threads would outlive Python: some runs
# were aborted after they had ended well.
import torch.distributed.nn
from torch import Tensor, nn

from baselines.options import RunOptions
from gopro_tools.dataset import BlurKind
from gopro_tools.errors import InputError


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


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and how a learner trains, besides its recipe."""

    device: torch.device
    """Of networks and batches."""
    options: RunOptions = field(default_factory=RunOptions)
    """How the machine trains."""
    processes: Processes = field(default_factory=Processes)
    """The processes that train together."""
    blur_kind: BlurKind = "gamma"
    """Of the training pairs."""

    @property
    def defers(self) -> bool:
        """Whether the figures of a step stay on the device; see `RunOptions.loop`.

        Raises:
            InputError: Several processes were to do so.
        """
        loop, alone = self.options.loop, self.processes.n == 1
        if loop == "device" and not alone:
            raise InputError("--loop device trains in one process; under torchrun choose host.")
        can = self.device.type == "cuda" and alone and self.options.cache == "memory"
        return loop == "device" or (loop == "auto" and can)


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


def scalars(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Numbers of one-element tensors, fetched from the device at once."""
    stacked = torch.stack([value.detach().float().reshape(()) for value in values.values()])
    return dict(zip(values, stacked.tolist(), strict=True))
