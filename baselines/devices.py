"""Device, memory layout, compilation and threads, for training and restoring."""

import functools
import logging
import os
import time
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from baselines.options import ComputeOptions
from gopro_tools.errors import InputError

log = logging.getLogger(__name__)

_TRIAL_S = 0.5
_MORE_THREADS_GAIN = 1.1


def chosen_device(name: str) -> torch.device:
    """The device of this process; torchrun's processes take one GPU each.

    Raises:
        InputError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device {name}: not a device torch knows.") from error
    if device.type == "cuda":
        index = device.index if device.index is not None else int(os.environ.get("LOCAL_RANK", "0"))
        if index >= torch.cuda.device_count():
            raise InputError(
                f"--device {name}: GPU {index} was asked for, {torch.cuda.device_count()} can be "
                "used here; choose --device cpu or fewer processes."
            )
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    return device


def to_layout(value: Any, *, channels_last: bool) -> Any:
    """A network or an image batch in the memory format asked for."""
    return value.to(memory_format=torch.channels_last) if channels_last else value


def placed(network: nn.Module, device: torch.device, options: ComputeOptions) -> nn.Module:
    """Move a network to a device, in the memory format and compiled as options say, in place.

    Only blocks that say they are repeated (residual blocks) are compiled: they share one compiled
    form per size of features, so this takes seconds; the whole network as one graph takes minutes
    and is hardly faster. Where a stance of "force_eager" is set (`torch.compiler.set_stance`), the
    blocks run uncompiled.
    """
    to_layout(network.to(device), channels_last=options.channels_last)
    if options.compile:
        for module in network.modules():
            if getattr(module, "is_repeated_block", False):
                module.compile(dynamic=False)
    return network


def autocast(device: torch.device, options: ComputeOptions) -> AbstractContextManager[Any]:
    """The context of a forward pass in the precision that options ask for."""
    return torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16")


def computes_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is faster there than float32: a GPU, or a CPU with instructions for it."""
    if device.type != "cpu":
        return True
    has_avx512 = "AVX512" in torch.backends.cpu.get_cpu_capability()
    return has_avx512 and torch.cpu._is_avx512_bf16_supported()


@functools.lru_cache(maxsize=1)
def use_quickest_threads() -> int:
    """Let torch compute with one thread of the CPU or with all, whichever is faster here.

    On some virtual machines waking a second thread takes longer than its work: training with two
    was measured to be fifteen times slower than with one, on others 1.6 times faster. Where
    ``OMP_NUM_THREADS`` is set, it decides instead of the trial.

    Returns:
        The number of threads.
    """
    n_all = torch.get_num_threads()
    if n_all == 1 or "OMP_NUM_THREADS" in os.environ:
        return n_all
    rates = {n: _steps_per_second(n) for n in (1, n_all)}
    chosen = n_all if rates[n_all] > _MORE_THREADS_GAIN * rates[1] else 1
    torch.set_num_threads(chosen)
    measured = ", ".join(f"{rate:.0f} steps/s on {n}" for n, rate in rates.items())
    log.info("Computing with %d of %d threads (%s).", chosen, n_all, measured)
    return chosen


def _steps_per_second(n_threads: int) -> float:
    """Training steps of a small network, which suffer most from waking threads."""
    torch.set_num_threads(n_threads)
    layers = [nn.Conv2d(16, 16, 5, padding=2) for _ in range(6)]
    network = to_layout(nn.Sequential(*layers), channels_last=True)
    images = to_layout(torch.ones(4, 16, 64, 64), channels_last=True)
    begin, n_steps = time.perf_counter(), -1
    # The first step sets up what the others use, and is not counted.
    while n_steps < 1 or time.perf_counter() - begin < _TRIAL_S:
        network(images).sum().backward()
        n_steps += 1
        if n_steps == 0:
            begin = time.perf_counter()
    return n_steps / (time.perf_counter() - begin)
