"""Tensors from files, and into networks: all of them fit, or none is loaded."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from gopro_tools.errors import InputError

STATE_DICTS = ("G", "netG", "generator", "params_ema", "params", "state_dict", "model")
"""Names under which trainers store the state dict of the network that restores."""

_DEEPEST = 3
_WRAPPERS = ("module.", "_orig_mod.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a flat dict of named tensors from a safetensors file or one by `torch.save`.

    A state dict inside is taken, up to three levels down and under one of `STATE_DICTS`; a
    "module." or "_orig_mod." before all names (DataParallel, `torch.compile`) is dropped.

    Raises:
        InputError: The file is missing or damaged, holds something else, or could only be read by
            running code from it.
    """
    if is_safetensors(path):
        try:
            content: Any = safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError) as error:
            raise InputError(f"{path}: a damaged safetensors file ({error}).") from error
    else:
        content = _read_torch_file(path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: named tensors were expected, found {type(content).__name__}.")
    for _ in range(_DEEPEST):
        inside = (content[name] for name in STATE_DICTS if isinstance(content.get(name), Mapping))
        content = next(inside, content)
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise InputError(
            f"{path}: named tensors were expected; these are something else: {', '.join(others)}."
        )
    names = list(map(str, content))
    for wrapper in _WRAPPERS * 2:
        if all(name.startswith(wrapper) for name in names):
            names = [name.removeprefix(wrapper) for name in names]
    return dict(zip(names, content.values(), strict=True))


def load_into(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    source: Path | str,
    name_in_file: Callable[[str], str] = str,
) -> None:
    """Fill a network, all of it or none of it.

    Args:
        network: Its dtype and device stay as they are.
        tensors: By their names in the file.
        source: Name of their source in errors.
        name_in_file: Maps a name of the network's state dict to the name in the file.

    Raises:
        InputError: Tensors are missing, left over or of another shape; all of them are listed.
    """
    wanted = {name_in_file(name): (name, like) for name, like in network.state_dict().items()}
    problems = [f"{name}: missing" for name in wanted if name not in tensors]
    problems += [f"{name}: has no place" for name in tensors if name not in wanted]
    for name, (_, like) in wanted.items():
        if name in tensors and tensors[name].shape != like.shape:
            problems.append(f"{name}: {tuple(tensors[name].shape)}, expected {tuple(like.shape)}")
    if problems:
        raise InputError(
            f"{source}: does not fit {type(network).__name__}"
            f"({', '.join(f'{k}={v}' for k, v in getattr(network, 'architecture', {}).items())}); "
            f"{len(problems)} tensors differ, nothing was loaded:\n  " + "\n  ".join(problems)
        )
    network.load_state_dict({ours: tensors[name] for name, (ours, _) in wanted.items()})


def is_safetensors(path: Path) -> bool:
    """Whether a file is one by its name, or by its first bytes: the header's length, then JSON."""
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would wait for ever
        raise InputError(f"{path}: a file of weights was expected, found something else.")
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise InputError(
            f"{path}: no weights can be read there ({error.strerror}). A .safetensors, .pt or .pth "
            "file was expected: a checkpoint of benchmarks.train or an official one. Check the "
            "path, or train one."
        ) from error
    if not start:
        raise InputError(f"{path}: the file is empty; weights were expected.")
    return path.suffix == ".safetensors" or start[8:] == b"{"


def safetensors_header(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file; none for another file.

    Raises:
        InputError: The file is missing, empty or damaged.
    """
    if not is_safetensors(path):
        return {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{path}: a damaged safetensors file ({error}).") from error


def _read_torch_file(path: Path) -> Any:
    if path.suffix == ".t7":
        raise InputError(
            f"{path}: a Torch7 file, which PyTorch cannot read. Convert it with Torch7 itself, or "
            "use the weights of the author's PyTorch release."
        )
    try:
        return torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except Exception as error:  # the unpickler may raise anything on other files
        raise InputError(
            f"{path}: not a complete file of tensors by torch.save, or it holds objects that could "
            "only be read by running code from it. Get the file again, or a copy that holds only "
            "a state dict."
        ) from error
