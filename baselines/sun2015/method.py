"""Sun et al. as two methods: the paper's, and one with additions.

Both learn from the sharp images of the dataset's train split alone: patches are cut from them and
blurred by known motions (`patches`). After the last step the patch prior is fitted to them.

paper
    The paper's widths and number of patches, without batch norm.
reduced, smoke
    Narrower, with batch norm, which short trainings need: for an hour or two on two CPU cores, and
    to check that everything works.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import tyro

from baselines.method import Imported, Method, NetworkKind
from baselines.recipe import Augmentation, Optimisation, PatchConfig, Recipe
from gopro_tools.dataset import BlurKind
from gopro_tools.errors import InputError

SOURCE_PX = 80
"""Side of the sharp pieces that training patches are made of: a patch of 30, turned, with its
surroundings, and what blurs into it; a size that is fast to Fourier transform."""
PAPER_WIDTHS = (96, 256, 1024)
RESPONSES: dict[BlurKind, str] = {"gamma": "gamma2.2", "linear_crf": "linear"}
"""Camera responses, in whose linear light blur happens, by the training data's kind of blur."""

KIND = NetworkKind(
    name="sun2015",
    network=Imported("baselines.sun2015.network:Sun2015"),
    restores_alone=False,
)
KIND_PLUS = replace(KIND, name="sun2015-plus")
"""The same network, trained on other patches."""


@dataclass(frozen=True, kw_only=True)
class PatchOptions:
    """How training patches are made; the defaults are the paper's as far as it is known."""

    normalise: bool = False
    """Show pixels against the mean and contrast of their surroundings (`normalised`)."""
    between_orientations: bool = False
    """Motions lie up to 12 degrees off the six orientations, as in turned copies of an image, and
    belong in part to both neighbouring ones. A network that saw the six orientations alone mistook
    long motions between them for short ones."""
    band_gain_max: float = 1.0
    """Detail is amplified or damped by up to this factor in each of three octaves, so that the
    amount of detail does not reveal the length."""
    grain_share: float = 0.0
    """Share of the patches given a random texture, half of them directed as hair and grass are,
    which are otherwise mistaken for motion."""
    soft_share: float = 0.0
    """Share of the patches softened by a Gaussian of 0.4 to 4 px: defocus is otherwise mistaken for
    a long motion."""

    def __post_init__(self) -> None:
        shares = (self.grain_share, self.soft_share)
        if min(shares) < 0 or max(shares) > 1 or self.band_gain_max < 1:
            raise InputError("Shares lie between 0 and 1, band_gain_max is at least 1.")


_PAPER_PATCHES = PatchOptions()


@dataclass(frozen=True, kw_only=True)
class Sun2015Recipe(Recipe):
    """How to train the motion classifier and fit the patch prior."""

    synthesis: Annotated[PatchOptions, tyro.conf.arg(name="")] = _PAPER_PATCHES
    """How training patches are made."""
    widths: tuple[int, int, int] = PAPER_WIDTHS
    """Features of the two convolutions and units of the hidden layer."""
    dropout: float = 0.5
    """Share of hidden units left out while training."""
    batch_norm: bool = False
    """Batch norm inside the network, which the paper does not have: helps short trainings."""
    n_components: int = 200
    """Gaussians of the patch prior."""
    n_prior_patches: int = 400_000
    """8x8 patches the prior is fitted to."""


_PAPER_RECIPE = Sun2015Recipe(
    method="sun2015",
    preset="paper",
    scale="full",
    patches=PatchConfig(
        patch_px=SOURCE_PX,
        batch=128,
        draw="image",
        augmentation=Augmentation(hflip_p=0.5, rotate=True, permute_channels=True),
    ),
    optimisation=Optimisation(
        learning_rate=5e-4, n_epochs=40, steps_per_epoch=275, n_epochs_decay=40
    ),
)
_PRESETS = {
    "paper": _PAPER_RECIPE,
    "reduced": _PAPER_RECIPE.changed(
        preset="reduced",
        scale="reduced",
        widths=(64, 128, 512),
        dropout=0.1,
        batch_norm=True,
        learning_rate=2e-3,
        steps_per_epoch=250,
        n_prior_patches=100_000,
    ),
    "smoke": _PAPER_RECIPE.changed(
        preset="smoke",
        scale="smoke",
        batch=32,
        learning_rate=2e-3,
        n_epochs=2,
        steps_per_epoch=20,
        n_epochs_decay=2,
        widths=(8, 12, 32),
        dropout=0.0,
        n_components=4,
        n_prior_patches=2_000,
    ),
}
_PLUS_SYNTHESIS = PatchOptions(
    normalise=True,
    between_orientations=True,
    band_gain_max=3.0,
    grain_share=0.4,
    soft_share=0.3,
)

SUN2015 = Method(
    name="sun2015",
    title="Sun et al.",
    published_name="Sun 2015",
    kind=KIND,
    presets=_PRESETS,
    learner=Imported("baselines.sun2015.learner:Sun2015Learner"),
    restorer=Imported("baselines.sun2015.restorer:sun2015_restorer"),
    half_on_gpu=False,
)
"""The paper as faithfully as it is known."""

SUN2015_PLUS = replace(
    SUN2015,
    name="sun2015-plus",
    title="Sun et al. plus",
    published_name=None,
    kind=KIND_PLUS,
    presets={
        name: recipe.changed(method="sun2015-plus", synthesis=_PLUS_SYNTHESIS)
        for name, recipe in _PRESETS.items()
    },
)
"""With shrunk copies, other patches, the motion of least risk; see the table of the package."""
