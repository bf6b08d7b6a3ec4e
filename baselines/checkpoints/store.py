"""Our own checkpoints: one safetensors file with its record in the header."""

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from baselines.checkpoints.tensors import safetensors_header
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic

log = logging.getLogger(__name__)

FORMAT = "gopro_tools.checkpoint.v1"
_TRAINING = "training"
_DIGEST = "tensors_sha256"


@dataclass(frozen=True, kw_only=True)
class CheckpointRecord:
    """What is known of a set of weights besides their values."""

    method: str
    """The name of its `NetworkKind`."""
    architecture: Mapping[str, Any]
    """Constructor arguments of the restoring network."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Effective configuration of the training run; empty for official files."""
    step: int | None = None
    """Training steps done; None for official files, where it is unknown."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Last validation results, by name with unit."""
    data_hash: str | None = None
    """Hash of the training data's manifest."""
    source: str | None = None
    """Layout, name and SHA-256 of an official file; None if trained here."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One of our own checkpoints in memory, on the CPU."""

    record: CheckpointRecord
    networks: Mapping[str, Mapping[str, Tensor]]
    """State dict of each network, "restorer" among them."""
    training_state: Any
    """As given to `save_checkpoint`."""


def save_checkpoint(
    path: Path,
    networks: Mapping[str, nn.Module],
    *,
    training_state: Any = None,
    keep_previous: bool = False,
    **known: Any,
) -> CheckpointRecord:
    """Write a checkpoint, whole or not at all.

    Args:
        path: Ends in `.safetensors`.
        networks: By name; "restorer" is the one that restores.
        training_state: State dicts of optimisers and so on: dicts with string or integer keys,
            lists and tuples of tensors, numbers, strings and None, nested. It comes back equal, bit
            for bit.
        keep_previous: Keep an existing checkpoint as `previous_of(path)`.
        known: Fields of its `CheckpointRecord`, as JSON can hold them.

    Raises:
        TypeError: `training_state` holds anything else.
        OSError: The file cannot be written; an older one in its place is unharmed.
    """
    architecture: Any = networks["restorer"].architecture
    record = CheckpointRecord(architecture=architecture, **known)
    tensors = {
        f"{name}.{key}": tensor
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
    packed = _packed(training_state, tensors)
    # Copies, row by row: safetensors takes neither shared nor channels_last storage.
    copies = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    data = safetensors.torch.save(copies)
    header = {
        "format": FORMAT,
        "record": json.dumps(asdict(record)),
        "networks": json.dumps(list(networks)),
        _TRAINING: json.dumps(packed),
        _DIGEST: hashlib.sha256(memoryview(data)[_start_of_tensors(data) :]).hexdigest(),
    }
    if keep_previous:
        _keep_previous(path)
    write_atomic(path, safetensors.torch.save(copies, metadata=header))
    return record


def _start_of_tensors(data: bytes) -> int:
    """Where in a safetensors file its header ends; its first 8 bytes are enough."""
    return 8 + int.from_bytes(data[:8], "little")


def previous_of(path: Path) -> Path:
    """Path of the checkpoint that preceded the one at ``path``."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _keep_previous(path: Path) -> None:
    """Copy the checkpoint that is about to be replaced: a power cut may empty the new one."""
    with suppress(InputError):  # there is none, or a damaged one: keep the one before it
        if safetensors_header(path).get("format") == FORMAT:
            write_atomic(previous_of(path), path.read_bytes())


def load_latest(path: Path, *, with_training_state: bool = True) -> Checkpoint:
    """Read the checkpoint at ``path`` or, where a power cut damaged it, the one before.

    Raises:
        InputError: Neither can be read.
    """
    try:
        return load_checkpoint(path, with_training_state=with_training_state)
    except InputError as error:
        previous = previous_of(path)
        if not previous.is_file():
            raise
        log.warning("%s Using the checkpoint before it.", error)
        return load_checkpoint(previous, with_training_state=with_training_state)


def _check_tensors(path: Path, digest_saved: str) -> None:
    """Raise InputError if the tensors of a checkpoint are not those that were saved."""
    with path.open("rb") as file:
        file.seek(_start_of_tensors(file.read(8)))
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != digest_saved:
        raise InputError(
            f"{path}: its tensors are not those that were saved (their SHA-256 differs); the file "
            "is damaged or was changed. Take another copy, or train anew."
        )


def load_checkpoint(path: Path, *, with_training_state: bool = True) -> Checkpoint:
    """Read one of our own checkpoints.

    Args:
        path: A `.safetensors` file by `save_checkpoint`.
        with_training_state: Whether to read the training state, which is most of the file.

    Raises:
        InputError: The file is missing, damaged, or not one of ours.
    """
    header = safetensors_header(path)
    if header.get("format") != FORMAT:
        raise InputError(
            f"{path}: not a checkpoint of this project (its header has no format {FORMAT}). "
            "`python -m baselines.checkpoints show` describes weight files."
        )
    try:
        if _DIGEST in header:  # earlier versions wrote none
            _check_tensors(path, header[_DIGEST])
        return _checkpoint(path, header, with_training_state=with_training_state)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise InputError(
            f"{path}: the header of the checkpoint is damaged ({str(error)[:200]}). Take another "
            "copy, or train anew."
        ) from error


def _checkpoint(path: Path, header: Mapping[str, str], *, with_training_state: bool) -> Checkpoint:
    names: list[str] = json.loads(header["networks"])
    networks: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    training: dict[str, Tensor] = {}
    with safetensors.safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - not a dict
            owner, _, rest = key.partition(".")
            if owner in networks:
                networks[owner][rest] = file.get_tensor(key)
            elif with_training_state:
                training[key] = file.get_tensor(key)
    state = _unpacked(json.loads(header[_TRAINING]), training) if with_training_state else None
    record = CheckpointRecord(**json.loads(header["record"]))
    return Checkpoint(record=record, networks=networks, training_state=state)


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for `value`; its tensors are added to `tensors`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        name = f"{_TRAINING}.{len(tensors)}"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[key, _packed(entry, tensors)] for key, entry in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(entry, tensors) for entry in value]}
    raise TypeError(f"training_state: {type(value).__name__} cannot be stored")


def _unpacked(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpacked(entry, tensors) for key, entry in content}
    entries = [_unpacked(entry, tensors) for entry in content]
    return tuple(entries) if kind == "tuple" else entries
