"""Restoring networks of our checkpoints and of official files: loaded, described, exported."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from baselines.checkpoints.onnx_graph import OnnxGraph
from baselines.checkpoints.store import (
    FORMAT,
    CheckpointRecord,
    NetworkKind,
    load_checkpoint,
)
from baselines.checkpoints.tensors import load_into, read_tensors, safetensors_header
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file, write_atomic


def load_restorer_network(
    path: Path, kinds: Sequence[NetworkKind]
) -> tuple[nn.Module, CheckpointRecord]:
    """Make the network that restores from one of our checkpoints or from an official file.

    Args:
        path: Our `.safetensors`, or a file whose layout one of the kinds knows.
        kinds: What is expected: `baselines.methods.KINDS` for anything of this project.

    Returns:
        The network in evaluation mode on the CPU, float32, and its record.

    Raises:
        InputError: The file is missing, damaged, of another kind, or a tensor does not fit.
    """
    names = " or ".join(kind.name for kind in kinds)
    if safetensors_header(path).get("format") == FORMAT:
        checkpoint = load_checkpoint(path, with_training_state=False)
        record = checkpoint.record
        for kind in kinds:
            if kind.name == record.method:
                network = kind.network(**record.architecture)
                load_into(network, checkpoint.networks["restorer"], path)
                return network.eval(), record
        raise InputError(
            f"{path}: these are weights of {record.method}; those of {names} were expected."
        )
    tensors = read_tensors(path)
    for kind in kinds:
        published = kind.published(tensors, path)
        if published is not None:
            architecture: Any = published.architecture
            record = CheckpointRecord(
                method=kind.name,
                architecture=architecture,
                source=f"{kind.published_layout}, {path.name}, sha256 {sha256_of_file(path)}",
            )
            return published.eval(), record
    known = " or ".join(kind.published_layout for kind in kinds if kind.published_layout)
    raise InputError(
        f"{path}: no known layout. Expected a checkpoint of {names}"
        f"{', or the names of ' * bool(known)}{known}; found "
        f"{', '.join(list(tensors)[:5]) or 'no tensors'}{', …' * (len(tensors) > 5)}."
    )


def describe(path: Path, kinds: Sequence[NetworkKind]) -> dict[str, Any]:
    """What `show` prints: hash, number of parameters and record of a weight file.

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


def export_onnx(path: Path, out: Path, kinds: Sequence[NetworkKind]) -> CheckpointRecord:
    """Write the restoring network of a weight file as ONNX; see `OnnxGraph`.

    Args:
        path: One of our checkpoints, or an official file; see `load_restorer_network`.
        out: Ends in ``.onnx``.
        kinds: What is expected.

    Returns:
        The record of the weights, which the file's metadata hold too.

    Raises:
        InputError: The weights cannot be loaded or exported, ``out`` has another suffix, or the
            package ``onnx`` is not installed.
    """
    if out.suffix != ".onnx":
        raise InputError(f"{out}: the name of an ONNX file ends in .onnx.")
    network, record = load_restorer_network(path, kinds)
    export = next(kind.export for kind in kinds if kind.name == record.method)
    if export is None:
        exported = " and ".join(kind.name for kind in kinds if kind.export)
        raise InputError(
            f"{path}: {record.method} restores by more than a network, so it cannot be exported; "
            f"only {exported} can."
        )
    graph = OnnxGraph()
    model = graph.model(export(network, graph))
    known = {
        "method": record.method,
        "weights_sha256": sha256_of_file(path),
        "record": json.dumps(asdict(record)),
    }
    for key, value in known.items():
        model.metadata_props.add(key=key, value=value)
    write_atomic(out, model.SerializeToString())
    return record
