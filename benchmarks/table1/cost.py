"""What the paper's own training would cost on the machine of a record."""

import torch

from baselines.cost import n_macs
from baselines.machine import Setting
from baselines.method import Method
from baselines.methods import METHODS
from baselines.recipe import Recipe
from gopro_tools.records import RunRecord

_DAY_S = 86_400.0


def macs_per_patch(method: Method, recipe: Recipe) -> int:
    """Multiplications of the restoring network for one patch, forward."""
    assert method.learner is not None
    learner = method.learner(recipe, Setting(device=torch.device("cpu")))
    side = recipe.patches.patch_px
    return n_macs(learner.networks["restorer"], (side, side))


def days_of_full(run: RunRecord) -> dict[str, float]:
    """Days that the paper's recipe would take at the speed the training of a comparison had.

    Taken to cost what the restoring network's arithmetic does, without networks that judge it.
    Of the methods that are compared within a family; those that were not trained are left out.
    """
    days: dict[str, float] = {}
    for method in METHODS:
        figures = run.methods.get(method.name)
        if figures is None or method.family is None or not figures.get("training_s"):
            continue
        paper = method.recipe("full", on_gpu=True)
        assert paper is not None
        assert method.kind is not None
        side = figures["recipe"]["patches"]["patch_px"]
        here = n_macs(method.kind.network(**figures["architecture"]), (side, side))
        macs_per_s = here * figures["n_patches"] / figures["training_s"]
        n_patches = paper.n_steps(n_pairs=0) * paper.patches.batch
        days[method.name] = macs_per_patch(method, paper) * n_patches / macs_per_s / _DAY_S
    return days
