"""Device, memory layout, precision and compilation, for training and restoring."""

import os
import shutil
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from baselines.options import ComputeOptions
from gopro_tools.errors import InputError

LAYOUTS = {False: torch.preserve_format, True: torch.channels_last}
"""Of networks and images in memory, by ``ComputeOptions.channels_last``."""


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


def placed(network: nn.Module, device: torch.device, options: ComputeOptions) -> nn.Module:
    """Move a network to a device, in the memory format and compiled as options say, in place.

    Only blocks that say they are repeated (residual blocks) are compiled: they share one compiled
    form per size of features, so this takes seconds; the whole network as one graph takes minutes
    and is hardly faster. Where a stance of "force_eager" is set (`torch.compiler.set_stance`), the
    blocks run uncompiled.
    """
    network.to(device).to(memory_format=LAYOUTS[options.channels_last])
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


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` pays and can work there: a GPU, and a C compiler that it calls."""
    compilers = ("gcc", "clang", os.environ.get("CC", "gcc"))
    return device.type == "cuda" and any(map(shutil.which, compilers))
