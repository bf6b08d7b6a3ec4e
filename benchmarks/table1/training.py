"""Methods ready to restore: trained here, trained elsewhere, or without training."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from baselines.checkpoints.restorers import load_restorer_network
from baselines.cost import SHOWN_SIZE_HW, n_macs
from baselines.devices import can_compile, chosen_device, computes_bf16
from baselines.method import Method
from baselines.options import RestoreOptions, RunOptions
from baselines.recipe import Recipe
from benchmarks.table1.plan import Table1Config, keyed, recipe_of
from benchmarks.train.folder import STARTED_FROM, WEIGHTS_FILE, differences
from benchmarks.train.run import OnProgress, train
from gopro_tools.content import dataset_facts
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file
from gopro_tools.records import RUN_FILE, jsonable, read_record
from gopro_tools.restorers import Restorer
from gopro_tools.stopping import stop_signals

log = logging.getLogger(__name__)

_N_VALIDATION_IMAGES = 30


class OutOfTimeError(Exception):
    """The minutes are over; what is done is stored, and the same command resumes."""


@dataclass
class Work:
    """What the steps share."""

    config: Table1Config
    data: Path
    on_progress: OnProgress
    time_is_over: Callable[[], bool]
    failures: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @cached_property
    def train_facts(self) -> dict[str, Any]:
        """Which pairs are trained on."""
        return dataset_facts(self.data, "train", self.config.blur_kind)

    def check_budget(self, doing: str) -> None:
        """Stop before a part for which no time is left."""
        if self.time_is_over():
            raise OutOfTimeError(doing)

    def note_failure(self, part: str, error: InputError) -> None:
        """Continue without a method, or another part of the tables."""
        log.error("%s: %s", part, error)
        self.failures[part] = str(error)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A method with its weights, and what they cost."""

    method: Method
    options: RestoreOptions
    weights: Path | None = None
    weights_sha256: str | None = None
    facts: Mapping[str, Any]
    """What tables say about it: ``title, family, published_name, scale`` and, of a trained one,
    ``n_parameters, n_macs, n_patches, training_s, recipe``."""

    @property
    def name(self) -> str:
        """Of the method."""
        return self.method.name

    @property
    def decisive(self) -> dict[str, Any]:
        """All that decides what it restores."""
        return {
            "method": self.name,
            "weights": self.weights_sha256,
            "options": self.options,
            "code": self.method.code_sha256,
        }

    def open(self) -> Restorer:
        """The restorer."""
        return self.method.open(self.weights, self.options)


def check_budgets(work: Work) -> None:
    """Refuse to compare methods of one family that learn from unequal numbers of patches."""
    n_pairs = work.train_facts["n_pairs"]
    budgets: dict[str, dict[str, int]] = {}
    for method in work.config.compared:
        recipe = recipe_of(method, work.config)
        if method.family is not None and recipe is not None:
            n_patches = recipe.n_steps(n_pairs) * recipe.patches.batch
            budgets.setdefault(method.family, {})[method.name] = n_patches
    for family, by_name in budgets.items():
        if len(set(by_name.values())) > 1:
            raise InputError(
                f"Methods of {family} would learn from unequal numbers of patches ({by_name}); "
                "that is no comparison. Choose --n-patches that all their batches divide."
            )


def made_ready(work: Work, method: Method) -> Ready:
    """Train a method where that is not done yet."""
    gpu = chosen_device(work.config.device).type == "cuda"
    weights, facts = method.weights, {"scale": method.training_scale(method.weights)}
    if (training := training_of(work, method)) is not None:
        recipe, folder = training
        if not (folder / RUN_FILE).is_file():
            train_method(work, method, recipe, folder)
        weights, facts = folder / WEIGHTS_FILE, _facts_of_training(method, recipe, folder)
    return Ready(
        method=method,
        options=RestoreOptions(
            device=work.config.device,
            precision="bf16" if gpu and method.half_on_gpu else "fp32",
            seed=work.config.seed,
        ),
        weights=weights,
        weights_sha256=sha256_of_file(weights) if weights else None,
        facts={
            "title": method.title,
            "family": method.family,
            "published_name": method.published_name,
            **facts,
        },
    )


def training_of(work: Work, method: Method) -> tuple[Recipe, Path] | None:
    """How a method is trained, and the folder where it is or will be; None without training."""
    recipe = recipe_of(method, work.config)
    if recipe is None:
        return None
    decisive = {"recipe": jsonable(recipe), "data": {**work.train_facts, "name": None}}
    there = _trained_elsewhere(work.config.trained, method, recipe)
    return recipe, there or work.config.out / "train" / keyed(method.name, decisive)


def _facts_of_training(method: Method, recipe: Recipe, folder: Path) -> dict[str, Any]:
    run = read_record(folder)
    assert method.kind is not None
    network, _ = load_restorer_network(folder / WEIGHTS_FILE, [method.kind])
    return {
        "scale": run.scale,
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "n_macs": n_macs(network, SHOWN_SIZE_HW) if method.validates else None,
        "n_patches": run.results["n_patches"],
        "training_s": run.timings_s["training"],
        "recipe": jsonable(recipe),
    }


def train_method(work: Work, method: Method, recipe: Recipe, folder: Path) -> None:
    """Train a method, or this process's part of it, to the end.

    Raises:
        KeyboardInterrupt: A signal came.
        OutOfTimeError: The minutes are over.
    """
    config = work.config
    n_steps = recipe.n_steps(work.train_facts["n_pairs"])
    device = chosen_device(config.device)
    with stop_signals() as found:
        result = train(
            method,
            recipe,
            work.data,
            folder,
            blur_kind=config.blur_kind,
            options=RunOptions(
                device=config.device,
                precision="bf16" if computes_bf16(device) else "fp32",
                compile=can_compile(device),
                validate_every=max(1, n_steps // 10),
                n_validation_images=_N_VALIDATION_IMAGES,
                vgg_weights=config.vgg_weights,
            ),
            resume=True,
            on_progress=lambda task, *count: work.on_progress(f"{task} {method.name}", *count),
            should_stop=lambda: bool(found) or work.time_is_over(),
        )
    if not result.finished:
        raise KeyboardInterrupt if found else OutOfTimeError(f"training {method.name}")


def _trained_elsewhere(folders: Sequence[Path], method: Method, recipe: Recipe) -> Path | None:
    """A finished training of this recipe in one of the folders; others of the method are named.

    Raises:
        InputError: Its weights are not those of its record.
    """
    others = []
    for path in sorted(path for folder in folders for path in folder.rglob(RUN_FILE)):
        record, folder = read_record(path.parent), path.parent
        if (record.suite, record.method) != ("train", method.name):
            continue
        stored = record.config["recipe"]
        differing = differences(stored, jsonable(recipe))
        if STARTED_FROM in record.config:
            differing.append("fine-tuned, which no recipe describes")
        if differing:
            others.append((folder, f"preset {stored['preset']}: {'; '.join(differing)}"))
            continue
        weights = folder / WEIGHTS_FILE
        if not weights.is_file() or sha256_of_file(weights) != record.weights_sha256:
            raise InputError(
                f"{weights}: missing, or not the weights that {path} was written for; copy the "
                "training's folder again."
            )
        return folder
    for folder, how in others:
        log.warning("%s: trained by another recipe (%s); %s is trained here.",
                    folder, how, method.name)  # fmt: skip
    return None
