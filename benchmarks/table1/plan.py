"""What Table 1 compares at each scale, and what to call it on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import tyro

from baselines.method import Method
from baselines.methods import METHODS, method_named
from baselines.recipe import Recipe
from gopro_tools.dataset import BlurKind
from gopro_tools.errors import InputError
from gopro_tools.records import RUN_FILE, Scale, hash_of, jsonable

PROTOCOLS = ("psnr_rgb", "ssim_matlab_rgb3d", "ssim_gauss")
"""The first two are those of Nah et al.; the third is what most work since calls SSIM."""


@dataclass(frozen=True, kw_only=True)
class Table1Config:
    """What to train, restore and compare."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for everything that is made. The same command on it resumes where it stopped."""
    scale: Scale = "smoke"
    """smoke: minutes on a CPU. reduced: one budget for every K of DeepDeblur, on a GPU
    full-size networks for some minutes, on a CPU narrow ones for some hours. full: the papers'
    recipes."""
    data: Path | None = None
    """Dataset in the GOPRO layout. By default smoke and reduced render one of their own; of
    photographs of yours, gopro_tools.rendered makes one."""
    methods: tuple[str, ...] = tuple(method.name for method in METHODS)
    """What to compare with the blurred input; package.module:factory for one of your own, which is
    trained too if it names a Method. NAME=package.module:factory names it in the tables, and
    NAME=spandrel:weights=FILE takes someone else's trained network."""
    blur_kind: BlurKind = "gamma"
    """Which blurred images: gamma, the paper's, or linear_crf."""
    detector: str | None = None
    """Weight file of a detector for the detection table; without one there is no such table."""
    real_pairs: Path | None = None
    """Folder of real pairs NAME_blurred.png, NAME_sharp.png: scored, never trained on."""
    real_blur_kind: BlurKind = "linear_crf"
    """How those were blurred."""
    device: str = "auto"
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:1``. On a CPU all cores
    compute; beside other work, set the environment variable OMP_NUM_THREADS to 1: threads that
    wait for a busy core were measured to make training 4 to 20 times slower."""
    vgg_weights: Path | None = None
    """Weights of VGG19 for DeblurGAN's content loss; by default torchvision's download."""
    n_patches: int | None = None
    """Patches that each method learns from, instead of the scale's number."""
    minutes: float | None = None
    """Stop after about this many minutes, a training with a checkpoint (exit code 3); the same
    command continues."""
    trained: tuple[Path, ...] = ()
    """Folders with finished trainings of other machines (``weights.safetensors``, ``run.json``):
    one of the same recipe is used instead of training again, whatever data it learned from; others
    of the methods compared are named with what differs."""
    seed: int = 0
    """Seed of weights, patches and rendered scenes."""

    def __post_init__(self) -> None:
        """Refuse what cannot be compared."""
        names = [method.name for method in self.compared]
        if not names or len(set(names)) < len(names):
            raise InputError("--methods: one or more, each once.")
        if self.n_patches is not None and self.n_patches < 1:
            raise InputError(f"--n-patches {self.n_patches}: at least 1 was expected.")
        for folder in self.trained:
            if not any(folder.rglob(RUN_FILE)):
                raise InputError(f"--trained {folder}: no finished training there ({RUN_FILE}).")
        if self.data is None and self.scale == "full":
            raise InputError(
                "--scale full trains on GOPRO_Large: name it with --data. `python -m "
                "gopro_tools.gopro_large download -o FOLDER` gets it."
            )

    @cached_property
    def compared(self) -> tuple[Method, ...]:
        """The methods, in the order given."""
        names = [name for text in self.methods for name in text.split(",") if name]
        return tuple(method_named(name) for name in names)


def recipe_of(method: Method, config: Table1Config) -> Recipe | None:
    """How a method is trained at this scale, on this machine, within the budget.

    Returns:
        None for a method without training.

    Raises:
        InputError: It has no recipe for the scale.
    """
    if method.learner is None:
        return None
    from baselines.devices import chosen_device

    on_gpu = chosen_device(config.device).type == "cuda"
    recipe = method.recipe(config.scale, on_gpu=on_gpu)
    if recipe is None:
        raise InputError(f"{method.name}: none of its presets is for --scale {config.scale}.")
    recipe = replace(recipe, seed=config.seed)
    return recipe if config.n_patches is None else recipe.lasting(config.n_patches)


def keyed(name: str, decisive: Mapping[str, Any]) -> str:
    """A folder name for what a step makes: equal names, equal results."""
    return f"{name}-{hash_of(jsonable(decisive))[:10]}"
