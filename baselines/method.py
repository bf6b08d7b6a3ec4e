"""A deblurring method: everything that training, restoring and the tables need to know of it.

Each method's own file makes its `Method`; `baselines.methods` lists them, and nothing else names
one. Descriptions are data: what needs torch is `Imported` when it is called, so that command lines
can list methods and presets at once.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from baselines.options import RestoreOptions
from baselines.recipe import Recipe
from gopro_tools.errors import InputError
from gopro_tools.plugins import imports_sha256, source_sha256
from gopro_tools.records import Scale, hash_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from baselines.checkpoints.store import CheckpointRecord
    from baselines.learning import Learner
    from baselines.machine import Setting
    from gopro_tools.restorers import Restorer


class Imported:
    """What ``package.module:NAME`` is, imported when it is called."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.__module__ = name.partition(":")[0]

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Import it, and call it."""
        return resolve_name(self._name)(*arguments, **options)


_RESTORER = Imported("baselines.restoring:network_restorer")


@dataclass(frozen=True, kw_only=True)
class NetworkKind:
    """One kind of network that weight files hold."""

    name: str
    """Name in checkpoints: ``deepdeblur``."""
    network: "Callable[..., nn.Module]"
    """Makes one from its ``architecture``, a property that holds the arguments."""
    published: "Callable[[Mapping[str, Tensor], Path], nn.Module | None] | None" = None
    """Makes one from the tensors of the authors' weight files; None for another layout."""
    published_layout: str = ""
    """Name of the authors' layout, with tensors that it is recognised by."""
    restores_alone: bool = True
    """Whether the network restores by itself: then its training is validated on the way, and it can
    be exported as ONNX."""


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
    architecture: Mapping[str, Any] = field(default_factory=dict)
    """What networks of the kind must have to be this method's."""
    presets: Mapping[str, Recipe] = field(default_factory=dict)
    """Recipes by name; of one scale's, one ending in ``-cpu`` is for machines without a GPU."""
    learner: "Callable[[Any, Setting], Learner] | None" = None
    """Makes the networks of a recipe with fresh weights, and what trains them."""
    restorer: "Callable[[nn.Module, CheckpointRecord, RestoreOptions], Restorer]" = _RESTORER
    """Makes a restorer of a trained network."""
    family: str | None = None
    """Methods of one family are compared with each other, at equal budget."""
    half_on_gpu: bool = True
    """Whether tables restore with bf16 on a GPU."""
    modules: tuple[str, ...] = ()
    """Packages whose code decides the restored images; those that its parts are in by default."""
    open_untrained: "Callable[[Path | None, RestoreOptions], Restorer] | None" = None
    """Makes the restorer of a method without training."""
    weights: Path | None = None
    """Weight file of such a method where the command line names none."""

    def open(self, weights: Path | None, options: RestoreOptions) -> "Restorer":
        """The restorer of a weight file, in tiles where options say so.

        Raises:
            InputError: The file is missing, does not fit or is another method's, or an option is
                for other methods.
        """
        from baselines.checkpoints.restorers import load_restorer_network
        from baselines.restoring import in_tiles

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
        if not self.architecture.items() <= record.architecture.items():
            described = ", ".join(f"{k}={v}" for k, v in record.architecture.items())
            raise InputError(f"{weights}: no weights of {self.name}; its network has {described}.")
        radius_px = getattr(network, "receptive_radius_px", None)
        return in_tiles(self.restorer(network, record, options), options, radius_px)

    def training_scale(self, weights: Path | None) -> Scale | None:
        """Scale of the training that weights come from, by their header; None if untrained."""
        from baselines.checkpoints.tensors import safetensors_header

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
        """Hash of the code that restores, with all that it imports: the key of cached results."""
        if self.modules:
            return hash_of([source_sha256(module) for module in self.modules])
        networks = (self.kind.network, self.kind.published) if self.kind else ()
        parts = [part for part in (self.restorer, self.open_untrained, *networks) if part]
        return imports_sha256([__name__, *(part.__module__ for part in parts)])

    def recipe(self, scale: Scale, *, on_gpu: bool) -> Recipe | None:
        """The preset for a scale on this kind of machine; None where the method has none."""
        fitting = [recipe for recipe in self.presets.values() if recipe.scale == scale]
        on_cpu = [recipe for recipe in fitting if recipe.preset.endswith("-cpu")]
        if not on_gpu and on_cpu:
            return on_cpu[0]
        return next((recipe for recipe in fitting if recipe not in on_cpu), None)
