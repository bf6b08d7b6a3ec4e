"""The weight file of this method: one of the project's checkpoints.

`baselines.checkpoints` knows this package's network and is imported when needed: at the top of a
module it would go in a circle.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.sun2015.network import Sun2015
from gopro_tools.errors import InputError

if TYPE_CHECKING:
    from baselines.checkpoints import Checkpoint, CheckpointRecord

METHOD = "sun2015"


def save_weights(
    path: Path,
    network: Sun2015,
    *,
    config: Mapping[str, Any],
    step: int,
    metrics: Mapping[str, float] | None = None,
    data_hash: str | None = None,
    training_state: Any = None,
) -> None:
    """Write a weight file and its JSON record; see `baselines.checkpoints.save_checkpoint`."""
    from baselines.checkpoints import save_checkpoint

    save_checkpoint(
        path,
        {"restorer": network},
        method=METHOD,
        config=config,
        step=step,
        metrics=metrics,
        data_hash=data_hash,
        training_state=training_state,
    )


def load_stored(path: Path, *, with_training_state: bool = False) -> "Checkpoint":
    """Read a weight file as it is.

    Raises:
        InputError: The file is missing, damaged, or of another method.
    """
    from baselines.checkpoints import load_checkpoint

    checkpoint = load_checkpoint(path, with_training_state=with_training_state)
    if checkpoint.record.method != METHOD:
        raise InputError(
            f"{path}: these are weights of {checkpoint.record.method}; {METHOD}'s were expected, "
            "as `python -m baselines.sun2015 train` writes them."
        )
    return checkpoint


def load_weights(path: Path) -> tuple[Sun2015, "CheckpointRecord"]:
    """The network of a weight file, in evaluation mode on the CPU, and its record.

    Raises:
        InputError: The file is missing, damaged, of another method, or does not fit.
    """
    from baselines.checkpoints import load_into

    checkpoint = load_stored(path)
    network = Sun2015(**checkpoint.record.architecture)
    load_into(network, checkpoint.networks["restorer"], path)
    return network.eval(), checkpoint.record


def n_parameters_of(path: Path) -> int:
    """Weights of the classifier in a weight file; the prior's numbers are not counted.

    Raises:
        InputError: See `load_weights`.
    """
    network, _ = load_weights(path)
    return sum(parameter.numel() for parameter in network.parameters())
