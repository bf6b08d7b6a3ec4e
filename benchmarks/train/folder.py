"""The files of a run: its checkpoint, its weights, and whether it may be continued."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baselines.checkpoints.store import load_latest, previous_of, save_checkpoint
from baselines.checkpoints.tensors import load_into
from baselines.learning import Learner, load_optimizer
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file
from gopro_tools.records import read_record

CHECKPOINT_FILE = "checkpoint.safetensors"
WEIGHTS_FILE = "weights.safetensors"
VALIDATION_FILE = "validation.png"

STARTED_FROM = "started_from_sha256"
"""In the config of a run that did not start from random weights."""


@dataclass(kw_only=True)
class RunState:
    """How far a run is, besides its networks."""

    step: int = 0
    """Steps done, over all sessions."""
    sums: dict[str, float] = field(default_factory=dict)
    """Of the figures since the last line of the log."""
    seconds: dict[str, float] = field(
        default_factory=lambda: {"training": 0.0, "of_which_waiting_for_data": 0.0}
    )
    """What took how long."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the last validation."""


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Where one run keeps its files."""

    path: Path
    kind: str
    """Of the network, for the headers of weight files."""
    config: Mapping[str, Any]
    data_hash: str

    @property
    def checkpoint(self) -> Path:
        """The network, and all that is needed to continue."""
        return self.path / CHECKPOINT_FILE

    @property
    def has_checkpoint(self) -> bool:
        """Whether a run has been begun here."""
        return self.checkpoint.is_file() or previous_of(self.checkpoint).is_file()

    @property
    def is_recorded(self) -> bool:
        """Whether the record of the finished run is there, and whole."""
        try:
            read_record(self.path)
        except InputError:
            return False
        return True

    def check(self, *, resume: bool) -> None:
        """Refuse to continue, or to overwrite, another run.

        Raises:
            InputError: A run is there and ``resume`` is false, or its recipe, data or first weights
                differ.
        """
        if not self.has_checkpoint:
            return
        if not resume:
            raise InputError(
                f"{self.path}: there is a run already; continue it with --resume, or choose "
                "another --out."
            )
        before = load_latest(self.checkpoint, with_training_state=False).record
        data = self.config["data"]
        if differing := differences(before.config.get("recipe", {}), self.config["recipe"]):
            why = f"has another recipe ({'; '.join(differing)}). Repeat its options"
        elif before.config.get(STARTED_FROM) != self.config.get(STARTED_FROM):
            why = "started from other weights; name the same with --start-from"
        elif before.data_hash != self.data_hash:
            other = f"other data than {data['name']} ({data['blur_kind']})"
            why = f"was trained on {other}; name the same"
        else:
            return
        raise InputError(f"{self.path}: the run there {why}, or choose another --out.")

    def load(self, learner: Learner) -> RunState:
        """Put the state of the newest whole checkpoint into a learner."""
        checkpoint = load_latest(self.checkpoint)
        stored = checkpoint.training_state
        for name, network in learner.networks.items():
            load_into(network, checkpoint.networks[name], str(self.checkpoint))
            # A compiled or channels_last network keeps its layout: values are copied in.
            load_optimizer(learner.optimizers[name], stored["optimizers"][name])
        return RunState(
            step=checkpoint.record.step or 0,
            sums=stored["sums"],
            seconds=stored["seconds"],
            metrics=dict(checkpoint.record.metrics),
        )

    def save(self, learner: Learner, state: RunState) -> None:
        """Write the checkpoint; the one before it is kept until the next."""
        optimizers = {name: each.state_dict() for name, each in learner.optimizers.items()}
        more = {"optimizers": optimizers, "sums": state.sums, "seconds": state.seconds}
        self._save(
            self.checkpoint, learner.networks, state, training_state=more, keep_previous=True
        )

    def save_weights(self, learner: Learner, state: RunState) -> str:
        """Write the restoring network alone, and return the hash of its file."""
        path = self.path / WEIGHTS_FILE
        self._save(path, {"restorer": learner.networks["restorer"]}, state)
        return sha256_of_file(path)

    def _save(self, path: Path, networks: Any, state: RunState, **options: Any) -> None:
        save_checkpoint(
            path,
            networks,
            method=self.kind,
            config=self.config,
            step=state.step,
            metrics=state.metrics,
            data_hash=self.data_hash,
            **options,
        )


def differences(stored: Any, wanted: Any, name: str = "") -> list[str]:
    """What recipes say differently, of all that both state; earlier versions stated less."""
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        both = [key for key in wanted if key in stored and key != "preset"]
        return [one for key in both for one in differences(stored[key], wanted[key], key)]
    return [] if stored == wanted else [f"{name} {stored}, here {wanted}"]
