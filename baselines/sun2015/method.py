"""Sun et al. as two methods: the paper's, and one with additions.

Both learn from the sharp images of the dataset's train split alone: patches are cut from them and
blurred by known motions (`patches`). After the last step the patch prior is fitted to them.

paper
    The paper's widths and number of patches, without batch norm.
reduced, reduced-cpu, smoke
    Narrower, with batch norm, which short trainings need: for minutes on a GPU, for half an hour
    on two CPU cores, and to check that everything works.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Annotated

import numpy as np
import tyro
from torch import nn
from torch.nn import functional as F

from baselines.augmentation import Augmentation
from baselines.checkpoints.store import CheckpointRecord, NetworkKind
from baselines.data import Batch, FramePairs, PatchConfig
from baselines.devices import chosen_device
from baselines.learning import Learner
from baselines.method import Figures, Method, Optimisation, Recipe, Setting
from baselines.options import RestoreOptions
from baselines.sun2015.confidences import PAPER, PLUS, Sun2015Options
from baselines.sun2015.network import PAPER_WIDTHS, Sun2015
from baselines.sun2015.patches import SOURCE_PX, MotionPatches, PatchOptions
from baselines.sun2015.prior import fit_prior
from baselines.sun2015.restorer import Sun2015Restorer
from gopro_tools.dataset import BlurKind
from gopro_tools.errors import InputError
from gopro_tools.response import Response
from gopro_tools.threads import Progress

KIND = NetworkKind(name="sun2015", network=Sun2015, restores_alone=False)
KIND_PLUS = replace(KIND, name="sun2015-plus")
"""The same network, trained on other patches."""

_RESPONSES: dict[BlurKind, str] = {"gamma": "gamma2.2", "linear_crf": "linear"}
_MOST_PRIOR_IMAGES = 48
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


class Sun2015Learner(Learner):
    """Cross-entropy of the motion classes of patches that are blurred on the fly."""

    def __init__(self, recipe: Sun2015Recipe, setting: Setting) -> None:
        """Make the network.

        Raises:
            InputError: Patches have another size than motions need, or scikit-learn is missing.
        """
        if recipe.patches.patch_px != SOURCE_PX:
            raise InputError(f"--patch-px {recipe.patches.patch_px}: {SOURCE_PX} is needed.")
        if find_spec("sklearn") is None:  # before the classifier is trained, not after
            raise InputError(
                "The patch prior is fitted with scikit-learn, which is not installed: "
                "`pip install '.[train]'`."
            )
        self._recipe = recipe
        response = Response.named(_RESPONSES[setting.blur_kind])
        self._patches = MotionPatches(response, recipe.synthesis, setting.device)
        self._network = Sun2015(
            recipe.widths, recipe.dropout, recipe.n_components, recipe.batch_norm
        )
        super().__init__({"restorer": self._network}, recipe.optimisation, setting)

    def step(self, batches: Sequence[Batch]) -> Figures:
        """See `Learner`."""
        (batch,) = batches
        seen, shares = self._patches.make(batch.sharp)
        with self.precision():
            logits = self.networks["restorer"](seen)
        loss = F.cross_entropy(logits.float()[..., 0, 0], shares)
        return self.update("restorer", loss, {"cross_entropy": loss})

    def finish(self, pairs: FramePairs, on_progress: Progress) -> None:
        """Fit the patch prior to some of the sharp images."""
        n_images = min(len(pairs), _MOST_PRIOR_IMAGES)
        chosen = np.linspace(0, len(pairs) - 1, n_images).round().astype(int)
        fitted = fit_prior(
            [pairs.frames(int(index))[1] for index in chosen],
            n_components=self._recipe.n_components,
            n_patches=self._recipe.n_prior_patches,
            seed=self._recipe.seed,
            on_progress=on_progress,
        )
        self._network.prior.load_state_dict(fitted.state_dict())


def sun2015_restorer(
    network: nn.Module, record: CheckpointRecord, options: RestoreOptions, how: Sun2015Options
) -> Sun2015Restorer:
    """The restorer of a trained network.

    Args:
        network: A `Sun2015`.
        record: Of its weight file; the training data's kind of blur decides the camera response.
        options: The device.
        how: `confidences.PAPER` or `confidences.PLUS`.

    Raises:
        InputError: Options for other methods, no such device, or a damaged prior in the weights.
    """
    if options.precision != "fp32" or options.compile:
        raise InputError(
            "--precision and --compile are for networks; sun2015 computes in single precision, "
            "uncompiled."
        )
    assert isinstance(network, Sun2015)
    data = record.config.get("data") or {}
    response = _RESPONSES[data.get("blur_kind", "gamma")]
    return Sun2015Restorer(network, response, chosen_device(options.device), how)


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
_REDUCED_RECIPE = _PAPER_RECIPE.changed(
    preset="reduced",
    scale="reduced",
    widths=(64, 128, 512),
    dropout=0.1,
    batch_norm=True,
    learning_rate=2e-3,
    steps_per_epoch=500,
    n_prior_patches=100_000,
)
_PRESETS = {
    "paper": _PAPER_RECIPE,
    "reduced": _REDUCED_RECIPE,
    "reduced-cpu": _REDUCED_RECIPE.changed(preset="reduced-cpu", steps_per_epoch=250),
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
    learner=Sun2015Learner,
    restorer=partial(sun2015_restorer, how=PAPER),
    half_on_gpu=False,
)
"""The paper as faithfully as it is known."""

SUN2015_PLUS = Method(
    name="sun2015-plus",
    title="Sun et al. plus",
    kind=KIND_PLUS,
    presets={
        name: recipe.changed(method="sun2015-plus", synthesis=_PLUS_SYNTHESIS)
        for name, recipe in _PRESETS.items()
    },
    learner=Sun2015Learner,
    restorer=partial(sun2015_restorer, how=PLUS),
    half_on_gpu=False,
)
"""With shrunk copies, other patches, the motion of least risk; see the table of the package."""
