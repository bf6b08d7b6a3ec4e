"""Networks that restore, from our checkpoints and from official files."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from baselines.checkpoints.store import (
    FORMAT,
    CheckpointRecord,
    NetworkKind,
    load_checkpoint,
    save_checkpoint,
)
from baselines.checkpoints.tensors import load_into, read_tensors, safetensors_header
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file


def load_restorer_network(
    path: Path, kinds: Sequence[NetworkKind]
) -> tuple[nn.Module, CheckpointRecord]:
    """Make the network that restores from one of our checkpoints or from an official file.

    Args:
        path: Our `.safetensors`, or a file whose layout one of the kinds knows.
        kinds: What is expected: `baselines.methods.KINDS` for anything of this project.

    Returns:
        The network in evaluation mode on the CPU, float32, and what is known of it.

    Raises:
        InputError: The file is missing, damaged, of another kind, or a tensor does not fit.
    """
    if safetensors_header(path).get("format") == FORMAT:
        checkpoint = load_checkpoint(path, with_training_state=False)
        record = checkpoint.record
        return restorer_from(record, checkpoint.networks["restorer"], path, kinds), record
    tensors = read_tensors(path)
    for kind in kinds:
        network = kind.published(tensors, path)
        if network is not None:
            architecture: Any = network.architecture
            record = CheckpointRecord(
                method=kind.name,
                architecture=architecture,
                source=f"{kind.published_layout}, {path.name}, sha256 {sha256_of_file(path)}",
            )
            return network.eval(), record
    known = " or ".join(kind.published_layout for kind in kinds if kind.published_layout)
    raise InputError(
        f"{path}: no known layout. Expected a checkpoint of {' or '.join(k.name for k in kinds)}"
        f"{', or the names of ' * bool(known)}{known}; found "
        f"{', '.join(list(tensors)[:5]) or 'no tensors'}{', …' * (len(tensors) > 5)}."
    )


def restorer_from(
    record: CheckpointRecord,
    tensors: Mapping[str, Tensor],
    source: Path | str,
    kinds: Sequence[NetworkKind],
) -> nn.Module:
    """Make the network a record describes and fill it.

    Args:
        record: Of a checkpoint.
        tensors: State dict of its "restorer".
        source: What to call the tensors in an error.
        kinds: What is expected.

    Returns:
        The network in evaluation mode.

    Raises:
        InputError: The record is of another kind, or a tensor does not fit.
    """
    for kind in kinds:
        if kind.name == record.method:
            network = kind.network(**record.architecture)
            load_into(network, tensors, source)
            return network.eval()
    raise InputError(
        f"{source}: these are weights of {record.method}; those of "
        f"{' or '.join(kind.name for kind in kinds)} were expected."
    )


def describe(path: Path, kinds: Sequence[NetworkKind]) -> dict[str, Any]:
    """What `show` prints: the record and the size of a weight file that loads.

    Raises:
        InputError: It does not load; see `load_restorer_network`.
    """
    network, record = load_restorer_network(path, kinds)
    return {
        "file": str(path),
        "sha256": sha256_of_file(path),
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        **asdict(record),
    }


def convert(path: Path, out: Path, kinds: Sequence[NetworkKind]) -> CheckpointRecord:
    """Write the restoring network of `path` as one of our checkpoints, without training state.

    Raises:
        InputError: `path` does not load, or `out` is the same file.
    """
    network, record = load_restorer_network(path, kinds)
    if out.exists() and out.samefile(path):
        raise InputError(f"{out}: would overwrite the file it is made of; name another.")
    return save_checkpoint(
        out,
        {"restorer": network},
        method=record.method,
        config=record.config,
        step=record.step,
        metrics=record.metrics,
        data_hash=record.data_hash,
        source=record.source or f"{path.name}, sha256 {sha256_of_file(path)}",
    )
