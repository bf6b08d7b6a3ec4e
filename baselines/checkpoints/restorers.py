"""Restoring networks of our checkpoints and of official files: loaded, described, exported."""

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from baselines.checkpoints.store import FORMAT, CheckpointRecord, load_checkpoint
from baselines.checkpoints.tensors import load_into, read_tensors, safetensors_header
from baselines.method import NetworkKind
from gopro_tools.errors import InputError, installs
from gopro_tools.files import sha256_of_file, write_atomic

_OPSET, _IR_VERSION = 18, 8  # what OpenCV 4.10 and onnxruntime 1.14 read, and later ones


def load_restorer_network(
    path: Path, kinds: Sequence[NetworkKind]
) -> tuple[nn.Module, CheckpointRecord]:
    """Make the network that restores from one of our checkpoints or from an official file.

    Args:
        path: Our `.safetensors`, or a file whose layout one of the kinds knows.
        kinds: What is expected: `baselines.methods.KINDS` for anything of this project.

    Returns:
        The network in evaluation mode, on the CPU in float32, and its record.

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
        published = kind.published and kind.published(tensors, path)
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
    """Write the restoring network of a weight file as ONNX, for OpenCV, onnxruntime and browsers.

    Input ``blurred`` and output ``restored`` are (N, 3, H, W) float32 RGB in [0, 1] of any N, H and
    W, the output clipped. The file's metadata hold the record of the weights, which is returned.

    Raises:
        InputError: The weights cannot be loaded or exported, ``out`` has another suffix, or the
            package ``onnxscript`` is not installed.
    """
    if out.suffix != ".onnx":
        raise InputError(f"{out}: the name of an ONNX file ends in .onnx.")
    try:
        from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    except ImportError as error:
        raise InputError(f"Exporting needs the package onnxscript: {installs('onnx')}.") from error
    network, record = load_restorer_network(path, kinds)
    exported = [kind.name for kind in kinds if kind.restores_alone]
    if record.method not in exported:
        raise InputError(
            f"{path}: {record.method} restores by more than a network, so it cannot be exported; "
            f"only {' and '.join(exported)} can."
        )
    for chatty in ("onnxscript", "onnx_ir"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    any_size = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    try:
        with warnings.catch_warnings(action="ignore"):  # of torch about its own parts
            program = torch.onnx.export(
                _Exported(network).eval(),
                (torch.rand(2, 3, 61, 87),),  # a size that has to be padded, or padding is left out
                input_names=["blurred"],
                output_names=["restored"],
                opset_version=_OPSET,
                dynamo=True,
                dynamic_shapes=(any_size,),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise InputError(
            f"{path}: ONNX has no operators for a part of this network. Of DeepDeblur, weights "
            "with one scale or trained with the pyramid torch7 are exported."
        ) from error
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # where in which file each node was written
    model = program.model_proto
    model.ir_version = _IR_VERSION
    known = {
        "method": record.method,
        "weights_sha256": sha256_of_file(path),
        "record": json.dumps(asdict(record)),
    }
    for key, value in known.items():
        model.metadata_props.add(key=key, value=value)
    write_atomic(out, model.SerializeToString())
    return record


class _Exported(nn.Module):
    """What an ONNX file holds: the finest scale, clipped, deterministic."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.network = network

    def forward(self, blurred: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to the same."""
        restored = self.network(blurred)
        finest: Tensor = restored if isinstance(restored, Tensor) else restored[0]
        return finest.clamp(0, 1)
