"""Our own checkpoints: one safetensors file with its record in the header, and a JSON copy."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from baselines.checkpoints.tensors import safetensors_header, unwrapped
from baselines.deblurgan import Generator
from baselines.deepdeblur import DeepDeblur
from baselines.sun2015.network import Sun2015
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic

METHODS: dict[str, type[DeepDeblur] | type[Generator] | type[Sun2015]] = {
    "deepdeblur": DeepDeblur,
    "deblurgan": Generator,
    "sun2015": Sun2015,
}
"""What each method learns, made from its `architecture`; all but Sun2015 restore by themselves."""

FORMAT = "gopro_tools.checkpoint.v1"
_TRAINING = "training"


@dataclass(frozen=True, kw_only=True)
class CheckpointRecord:
    """What is known of a set of weights besides their values."""

    method: str
    """"deepdeblur", "deblurgan" or "sun2015"."""
    architecture: Mapping[str, Any]
    """Constructor arguments of the restoring network."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The effective configuration of the training run; empty for official files."""
    step: int | None = None
    """Training steps done; None for official files, which do not say."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Last validation results, by name with unit."""
    data_hash: str | None = None
    """Hash of the training data's manifest."""
    source: str | None = None
    """The file it was converted from, with its SHA-256; None if trained here."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One of our own checkpoints in memory, on the CPU."""

    record: CheckpointRecord
    networks: Mapping[str, Mapping[str, Tensor]]
    """State dict of each network, "restorer" among them."""
    training_state: Any
    """What `save_checkpoint` was given; None if nothing."""


def save_checkpoint(
    path: Path,
    networks: Mapping[str, nn.Module],
    *,
    method: str,
    config: Mapping[str, Any],
    step: int | None,
    metrics: Mapping[str, float] | None = None,
    data_hash: str | None = None,
    source: str | None = None,
    training_state: Any = None,
) -> CheckpointRecord:
    """Write a checkpoint and its JSON sidecar, each whole or not at all.

    Args:
        path: Ends in `.safetensors`; the sidecar goes to the same name with `.json`.
        networks: By name; "restorer" is the one that restores. They may be wrapped by
            `torch.compile` or DistributedDataParallel.
        method: A key of `METHODS`.
        config: The effective configuration, made of what JSON knows.
        step: Training steps done.
        metrics: Validation results.
        data_hash: Hash of the training data.
        source: Where converted weights come from.
        training_state: Whatever continues the run: state dicts of optimisers, of random
            generators and so on, nested in dicts with string or integer keys, lists and tuples
            of tensors, numbers, strings and None. It comes back equal, bit for bit.

    Raises:
        InputError: `path` has another suffix.
        TypeError: `training_state` holds something else.
        OSError: The file cannot be written; an older one in its place is unharmed.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: a checkpoint's name ends in .safetensors.")
    restorer = unwrapped(networks["restorer"])
    if not isinstance(restorer, METHODS[method]):
        raise TypeError(f"{method} restores with {METHODS[method].__name__}, not {type(restorer)}")
    record = CheckpointRecord(
        method=method,
        architecture=restorer.architecture,
        config=dict(config),
        step=step,
        metrics=dict(metrics or {}),
        data_hash=data_hash,
        source=source,
    )
    tensors = {
        f"{name}.{key}": tensor
        for name, network in networks.items()
        for key, tensor in unwrapped(network).state_dict().items()
    }
    packed = _packed(training_state, tensors)
    # Copies, row by row: safetensors takes neither shared nor channels_last storage.
    data = safetensors.torch.save(
        {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        },
        metadata={
            "format": FORMAT,
            "record": json.dumps(asdict(record)),
            "networks": json.dumps(list(networks)),
            _TRAINING: json.dumps(packed),
        },
    )
    write_atomic(path, data)
    sidecar = asdict(record) | {"weights_sha256": hashlib.sha256(data).hexdigest()}
    write_atomic(path.with_suffix(".json"), json.dumps(sidecar, indent=2) + "\n")
    return record


def load_checkpoint(path: Path, *, with_training_state: bool = True) -> Checkpoint:
    """Read one of our own checkpoints.

    Args:
        path: A `.safetensors` file by `save_checkpoint`.
        with_training_state: Whether to read what continues the run; it is most of the file.

    Raises:
        InputError: The file is missing, damaged, or not one of ours.
    """
    header = safetensors_header(path)
    if header.get("format") != FORMAT:
        raise InputError(
            f"{path}: not a checkpoint of this project (its header has no format {FORMAT}). "
            "`python -m baselines.checkpoints show` tells what a file is; `convert` makes a "
            "checkpoint of the official ones."
        )
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
    """JSON that stands for `value`; its tensors go to `tensors`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        name = f"{_TRAINING}.{len(tensors)}"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str | int):
                raise TypeError(f"training_state: {type(key).__name__} as a key of a dict")
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
