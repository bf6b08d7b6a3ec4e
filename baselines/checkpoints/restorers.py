"""Networks that restore, from our checkpoints and from official files."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from baselines.checkpoints.official import load_deblurgan, load_deepdeblur_pytorch
from baselines.checkpoints.store import (
    FORMAT,
    METHODS,
    CheckpointRecord,
    load_checkpoint,
    save_checkpoint,
)
from baselines.checkpoints.tensors import load_into, read_tensors, safetensors_header
from baselines.deblurgan import Generator
from baselines.deepdeblur import DeepDeblur
from baselines.sun2015.network import Sun2015
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file


def load_restorer_network(path: Path) -> tuple[DeepDeblur | Generator | Sun2015, CheckpointRecord]:
    """Make the network that restores from one of our checkpoints or from an official file.

    Args:
        path: Our `.safetensors`, DeepDeblur-PyTorch's `model-N.pt` (1 to 3 scales), or
            DeblurGAN's `latest_net_G.pth`.

    Returns:
        The network in evaluation mode on the CPU, float32, and what is known of it. A DeepDeblur
        gives a list whose first entry is the restored image; a Generator gives the image;
        `baselines.sun2015.restorer` restores with a Sun2015.

    Raises:
        InputError: The file is missing, damaged or of no known layout, or a tensor does not fit.
    """
    if safetensors_header(path).get("format") == FORMAT:
        checkpoint = load_checkpoint(path, with_training_state=False)
        record = checkpoint.record
        return restorer_from(record, checkpoint.networks["restorer"], path), record
    tensors = read_tensors(path)
    network: DeepDeblur | Generator
    if any(name.startswith("body_models.") for name in tensors):
        method, layout = "deepdeblur", "DeepDeblur-PyTorch"
        network = load_deepdeblur_pytorch(tensors, path)
    elif any(".conv_block." in name for name in tensors):
        method, layout = "deblurgan", "DeblurGAN"
        network = load_deblurgan(tensors, path)
    else:
        raise InputError(
            f"{path}: no known layout. Expected a checkpoint of this project, DeepDeblur-PyTorch's "
            "names (body_models.0.body.0.weight, …) or those of DeblurGAN's generator "
            "(model.1.weight, model.10.conv_block.1.weight, …); found "
            f"{', '.join(list(tensors)[:5]) or 'no tensors'}{', …' * (len(tensors) > 5)}."
        )
    record = CheckpointRecord(
        method=method,
        architecture=network.architecture,
        source=f"{layout}, {path.name}, sha256 {sha256_of_file(path)}",
    )
    return network.eval(), record


def restorer_from(
    record: CheckpointRecord, tensors: Mapping[str, Tensor], source: Path | str
) -> DeepDeblur | Generator | Sun2015:
    """Make the network a record describes and fill it.

    Args:
        record: Of a checkpoint.
        tensors: State dict of its "restorer".
        source: What to call the tensors in an error.

    Returns:
        The network in evaluation mode.

    Raises:
        InputError: The record's method is unknown, or a tensor does not fit.
    """
    if record.method not in METHODS:
        raise InputError(
            f"{source}: made for the method {record.method!r}; known are {', '.join(METHODS)}."
        )
    network = METHODS[record.method](**record.architecture)
    load_into(network, tensors, source)
    return network.eval()


def describe(path: Path) -> dict[str, Any]:
    """What `show` prints: the record and the size of a weight file that loads.

    Raises:
        InputError: It does not load; see `load_restorer_network`.
    """
    network, record = load_restorer_network(path)
    return {
        "file": str(path),
        "sha256": sha256_of_file(path),
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        **asdict(record),
    }


def convert(path: Path, out: Path) -> CheckpointRecord:
    """Write the restoring network of `path` as one of our checkpoints, without training state.

    Raises:
        InputError: `path` does not load, or `out` is the same file.
    """
    network, record = load_restorer_network(path)
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
