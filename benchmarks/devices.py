"""Where and how tensors lie, for training and restoring alike."""

import os
from typing import Any

import torch

from gopro_tools.errors import InputError


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
