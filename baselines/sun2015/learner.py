"""One training step of the motion classifier, and the fit of the patch prior at the end."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from torch.nn import functional as F

from baselines.data import Batch, FramePairs
from baselines.learning import Figures, Learner
from baselines.machine import Setting
from baselines.sun2015.method import RESPONSES, SOURCE_PX, Sun2015Recipe
from baselines.sun2015.network import Sun2015
from baselines.sun2015.patches import MotionPatches
from baselines.sun2015.prior import fit_prior
from gopro_tools.errors import InputError
from gopro_tools.response import Response
from gopro_tools.threads import Progress

_MOST_PRIOR_IMAGES = 48


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
        response = Response.named(RESPONSES[setting.blur_kind])
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
