"""A deblurring method: everything that training, restoring and the tables need to know of it.

Each method's own file makes its `Method`; `baselines.methods` lists them, and nothing else names
one. A method of your own is named ``package.module:NAME`` on the command line.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
import tyro
from torch import Tensor, nn

from baselines.checkpoints.restorers import load_restorer_network
from baselines.checkpoints.store import CheckpointRecord, NetworkKind
from baselines.checkpoints.tensors import safetensors_header
from baselines.data import PatchConfig
from baselines.machine import Processes, RunOptions
from baselines.options import RestoreOptions
from baselines.restoring import NetworkRestorer, in_tiles
from gopro_tools.dataset import BlurKind
from gopro_tools.errors import InputError
from gopro_tools.plugins import source_sha256
from gopro_tools.records import Scale, hash_of
from gopro_tools.restorers import Restorer

if TYPE_CHECKING:
    from baselines.learning import Learner

Figures = dict[str, Tensor]
"""Tensors of one element by name."""


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Adam, its learning-rate schedule, and the length of training."""

    learning_rate: float
    """At the start, after the warm-up."""
    n_epochs: int
    """Length of the training."""
    steps_per_epoch: int | None = None
    """Steps of the (generator) network per epoch; None: one patch of each training image."""
    milestones: tuple[int, ...] = ()
    """After these epochs the learning rate is multiplied by ``milestone_factor``."""
    milestone_factor: float = 0.1
    """See ``milestones``."""
    n_epochs_decay: int = 0
    """Over this many epochs at the end the learning rate falls linearly towards zero."""
    n_warm_up_steps: int = 0
    """Over this many steps at the start the rate rises linearly from zero. A network that starts as
    the identity would otherwise unlearn that in Adam's first steps."""
    adam_betas: tuple[float, float] = (0.9, 0.999)
    """Adam's."""
    adam_epsilon: float = 1e-8
    """Adam's."""
    clip_gradient_norm: float | None = None
    """Largest norm of the gradient of a network; none of the published recipes clips."""

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or self.n_epochs < 1 or (self.steps_per_epoch or 1) < 1:
            raise InputError("learning_rate, n_epochs and steps_per_epoch must be positive.")
        if self.n_warm_up_steps < 0:
            raise InputError("n_warm_up_steps must not be negative.")
        if not 0 <= self.n_epochs_decay <= self.n_epochs:
            raise InputError(
                f"The learning rate cannot fall over {self.n_epochs_decay} of {self.n_epochs} "
                f"epochs: with --n-epochs {self.n_epochs} also give --n-epochs-decay, 0 to "
                f"{self.n_epochs}."
            )

    def epoch_length(self, n_pairs: int, batch: int) -> int:
        """Steps in an epoch."""
        return self.steps_per_epoch or max(1, n_pairs // batch)

    def learning_rate_at(self, step: int, epoch_length: int) -> float:
        """Learning rate in a step, counted from 0."""
        risen = min(1.0, (step + 1) / self.n_warm_up_steps) if self.n_warm_up_steps else 1.0
        return risen * self.learning_rate_in(step // epoch_length)

    def learning_rate_in(self, epoch: int) -> float:
        """Learning rate in an epoch, counted from 0, after the warm-up."""
        steps_down = sum(epoch >= milestone for milestone in self.milestones)
        rate = self.learning_rate * self.milestone_factor**steps_down
        if self.n_epochs_decay:
            # The first decaying epoch still has the full rate, as in DeblurGAN's code.
            into_decay = max(0, epoch - (self.n_epochs - self.n_epochs_decay))
            rate *= 1 - into_decay / self.n_epochs_decay
        return rate


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides the outcome of a training; methods add fields of their own.

    Threads, precision, checkpoints and the like are in `RunOptions`.
    """

    method: tyro.conf.Fixed[str]
    """Name of the method."""
    preset: tyro.conf.Fixed[str]
    """The preset that it is, or was changed from."""
    scale: tyro.conf.Fixed[Scale]
    """Size of the training compared with the paper's."""
    patches: Annotated[PatchConfig, tyro.conf.arg(name="")]
    """How batches are drawn."""
    optimisation: Annotated[Optimisation, tyro.conf.arg(name="")]
    """Adam, learning rate, length."""
    seed: int = 0
    """Of the initial weights, of the patches and of dropout."""

    @property
    def output_rounding(self) -> Literal["nearest", "truncate"] | None:
        """How the method's code makes 8 bits of values; None rounds to the nearest."""
        return None

    def n_steps(self, n_pairs: int) -> int:
        """Training steps on a dataset of ``n_pairs`` pairs."""
        length = self.optimisation.epoch_length(n_pairs, self.patches.batch)
        return self.optimisation.n_epochs * length

    def lasting(self, n_patches: int) -> Self:
        """The recipe with another number of patches, and its learning-rate schedule stretched."""
        steps = max(1, n_patches // (self.patches.batch * self.optimisation.n_epochs))
        return self.changed(steps_per_epoch=steps)

    def changed(self, **values: Any) -> Self:
        """The recipe with other values, of its parts too, by the names of the command line.

        Raises:
            TypeError: There is no value of such a name.
        """
        result: Self = _changed(self, values)
        if values:
            raise TypeError(f"a recipe of {self.method} has no {', '.join(values)}")
        return result


def _changed(part: Any, values: dict[str, Any]) -> Any:
    """A dataclass with other values, in those that it holds too; what is used is taken away."""
    own = {}
    for field_ in fields(part):
        if field_.name in values:
            own[field_.name] = values.pop(field_.name)
        elif is_dataclass(value := getattr(part, field_.name)):
            own[field_.name] = _changed(value, values)
    return replace(part, **own)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and how a learner trains, besides its recipe."""

    device: torch.device
    """Of networks and batches."""
    options: RunOptions = field(default_factory=RunOptions)
    """How the machine trains."""
    processes: Processes = field(default_factory=Processes)
    """The processes that train together."""
    blur_kind: BlurKind = "gamma"
    """Of the training pairs."""


def network_restorer(
    network: nn.Module, record: CheckpointRecord, options: RestoreOptions
) -> Restorer:
    """A restorer that runs the network on the whole image."""
    rounding = options.rounding or record.output_rounding
    return NetworkRestorer(network, replace(options, rounding=rounding))


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row of the tables."""

    name: str
    """In tables, records, folders and on the command line: ``deepdeblur-k3``."""
    title: str
    """For headings: ``DeepDeblur K=3``."""
    published_name: str | None = None
    """Its name in published tables (`published.toml`)."""
    kind: NetworkKind | None = None
    """What its weight files hold; None for methods without training."""
    presets: Mapping[str, Recipe] = field(default_factory=dict)
    """Recipes by name; of one scale's, one ending in ``-cpu`` is for machines without a GPU."""
    learner: "Callable[[Any, Setting], Learner] | None" = None
    """Makes the networks of a recipe with fresh weights, and what trains them."""
    restorer: Callable[[nn.Module, CheckpointRecord, RestoreOptions], Restorer] = network_restorer
    """Makes a restorer of a trained network."""
    accepts: Callable[[nn.Module], bool] = lambda network: True
    """Whether a network of the kind is one of this method's."""
    family: str | None = None
    """Methods of one family are compared with each other, at equal budget."""
    half_on_gpu: bool = True
    """Whether tables restore with bf16 on a GPU."""
    modules: tuple[str, ...] = ("baselines",)
    """Modules or packages whose code decides the restored images."""
    open_untrained: Callable[[Path | None, RestoreOptions], Restorer] | None = None
    """Makes the restorer of a method without training."""
    weights: Path | None = None
    """Weight file of such a method where the command line names none."""

    def open(self, weights: Path | None, options: RestoreOptions) -> Restorer:
        """The restorer of a weight file, in tiles where options say so.

        Raises:
            InputError: The file is missing, does not fit or is another method's, or an option is
                for other methods.
        """
        weights = weights or self.weights
        if self.kind is None:
            assert self.open_untrained is not None
            return in_tiles(self.open_untrained(weights, options), options)
        if weights is None:
            raise InputError(
                f"--method {self.name} needs --weights FILE: a checkpoint of benchmarks.train or "
                "an official weight file. There is no result without trained weights."
            )
        network, record = load_restorer_network(weights, [self.kind])
        if not self.accepts(network):
            described = ", ".join(f"{k}={v}" for k, v in record.architecture.items())
            raise InputError(f"{weights}: no weights of {self.name}; its network has {described}.")
        radius_px = getattr(network, "receptive_radius_px", None)
        return in_tiles(self.restorer(network, record, options), options, radius_px)

    def training_scale(self, weights: Path | None) -> Scale | None:
        """Scale of the training that weights come from, by their header; None if untrained."""
        if self.kind is None or weights is None:
            return None
        stored = safetensors_header(weights).get("record")
        if stored is None:
            return "full"  # the authors' own
        scale: Scale | None = json.loads(stored)["config"].get("recipe", {}).get("scale", "full")
        return scale

    @property
    def validates(self) -> bool:
        """Whether training can be validated on the way."""
        return self.kind is not None and self.kind.restores_alone

    @property
    def code_sha256(self) -> str:
        """Hash of the code that trains and restores: the key of cached results."""
        return hash_of([source_sha256(module) for module in self.modules])

    def recipe(self, scale: Scale, *, on_gpu: bool) -> Recipe | None:
        """The preset for a scale on this kind of machine; None where the method has none."""
        fitting = [recipe for recipe in self.presets.values() if recipe.scale == scale]
        on_cpu = [recipe for recipe in fitting if recipe.preset.endswith("-cpu")]
        if not on_gpu and on_cpu:
            return on_cpu[0]
        return next((recipe for recipe in fitting if recipe not in on_cpu), None)
