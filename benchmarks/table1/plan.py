"""What Table 1 compares at each scale, and what to call it on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from benchmarks.rendered import RENDERED, RenderedConfig
from benchmarks.train import DEBLURGAN_PRESETS, Recipe, deepdeblur_recipe
from benchmarks.train.recipes import DeblurGanPreset, DeepDeblurPreset, DeepDeblurRecipe
from gopro_tools.dataset import BlurKind
from gopro_tools.errors import InputError
from gopro_tools.records import Scale, hash_of, jsonable

Method = Literal["sun2015", "deepdeblur-k1", "deepdeblur-k2", "deepdeblur-k3", "deblurgan"]
ALL_METHODS: tuple[Method, ...] = (
    "sun2015",
    "deepdeblur-k1",
    "deepdeblur-k2",
    "deepdeblur-k3",
    "deblurgan",
)
SCALE_SWEEP: tuple[Method, ...] = ("deepdeblur-k1", "deepdeblur-k2", "deepdeblur-k3")
"""The networks whose comparison is the paper's claim; their budgets must be equal."""

PROTOCOLS = ("psnr_rgb", "ssim_matlab_rgb3d", "ssim_gauss")
"""The first two are those of Nah et al.; the third is what most work since calls SSIM."""


@dataclass(frozen=True, kw_only=True)
class Table1Config:
    """What to train, restore and compare."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for everything that is made. The same command on it goes on where it stopped."""
    scale: Scale = "smoke"
    """smoke: minutes on a CPU. reduced: one budget for all networks, on a GPU full-size ones for
    some minutes, on a CPU narrow ones for about an hour. full: the papers' recipes."""
    data: Path | None = None
    """Dataset in the GOPRO layout. By default smoke and reduced render one of their own."""
    methods: tuple[Method, ...] = ALL_METHODS
    """What to put beside the blurred input."""
    blur_kind: BlurKind = "gamma"
    """Which blurred images: gamma, the paper's, or linear_crf."""
    photographs: tuple[str, ...] = ()
    """Files, folders or names of scikit-image's photographs, for a dataset rendered here."""
    test_photographs: tuple[str, ...] = ()
    """The same, for its test split alone."""
    detector: str | None = None
    """Weight file of a detector for the detection table; without one there is no such table."""
    real_pairs: Path | None = None
    """Folder of real pairs NAME_blurred.png, NAME_sharp.png: scored, never trained on."""
    real_blur_kind: BlurKind = "linear_crf"
    """How those were blurred."""
    device: str = "auto"
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:1``."""
    vgg_weights: Path | None = None
    """Weights of VGG19 for DeblurGAN's content loss; by default torchvision's download."""
    n_patches: int | None = None
    """Patches that each network learns from, in place of the scale's number."""
    sun2015_preset: str | None = None
    """How much Sun et al. learn, in place of the scale's: paper, reduced or smoke."""
    minutes: float | None = None
    """Stop after about this many minutes, a training with a checkpoint (exit code 3); the same
    command continues."""
    trained: tuple[Path, ...] = ()
    """Folders with finished trainings of other machines (``weights.safetensors``, ``run.json``):
    one of the same recipe is used instead of training again, whatever data it learned from."""
    seed: int = 0
    """Of weights, patches and rendered scenes."""

    def __post_init__(self) -> None:
        """Refuse what cannot be compared."""
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise InputError("--methods: one or more, each once.")
        if self.n_patches is not None and self.n_patches < 1:
            raise InputError(f"--n-patches {self.n_patches}: at least 1 was expected.")
        if self.data is None and self.scale == "full":
            raise InputError(
                "--scale full trains on GOPRO_Large: name it with --data. `python -m "
                "gopro_tools.gopro_large download -o FOLDER` gets it."
            )

    @property
    def rendered(self) -> RenderedConfig:
        """The dataset that is rendered without ``data``."""
        return replace(
            RENDERED[self.scale],
            photographs=self.photographs,
            test_photographs=self.test_photographs,
            seed=self.seed,
        )


def recipe_of(method: Method, config: Table1Config) -> Recipe:
    """How a network is trained at this scale, on this machine, within the budget."""
    gpu = config.device.startswith("cuda") or (
        config.device == "auto" and torch.cuda.is_available()
    )
    recipe: Recipe
    if method == "deblurgan":
        presets: Mapping[Scale, DeblurGanPreset] = {
            "full": "paper",
            "reduced": "reduced" if gpu else "reduced-cpu",
            "smoke": "smoke",
        }
        recipe = DEBLURGAN_PRESETS[presets[config.scale]]
    else:
        deep: Mapping[Scale, DeepDeblurPreset] = {
            "full": "paper2017",
            "reduced": "reduced" if gpu else "reduced-cpu",
            "smoke": "smoke",
        }
        recipe = deepdeblur_recipe(deep[config.scale], int(method[-1]))
    recipe = replace(recipe, seed=config.seed)
    return recipe if config.n_patches is None else _within(recipe, config.n_patches)


def _within(recipe: Recipe, n_patches: int) -> Recipe:
    """The recipe with another length; the fall of the learning rate is stretched with it."""
    n_epochs = recipe.optimisation.n_epochs
    steps = max(1, n_patches // (recipe.patches.batch * n_epochs))
    if isinstance(recipe, DeepDeblurRecipe):
        return replace(recipe, optimisation=replace(recipe.optimisation, steps_per_epoch=steps))
    return replace(recipe, steps_per_epoch=steps)


def n_patches_of(recipe: Recipe, n_pairs: int) -> int:
    """Patches a network learns from."""
    optimisation = recipe.optimisation
    steps = optimisation.n_epochs * optimisation.epoch_length(n_pairs, recipe.patches.batch)
    return steps * recipe.patches.batch


def keyed(name: str, decisive: Mapping[str, Any]) -> str:
    """A folder name for what a step makes: equal names, equal results."""
    return f"{name}-{hash_of(jsonable(decisive))[:10]}"
