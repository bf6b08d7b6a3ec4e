"""What the paper's own training would cost on the machine of a record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.table1.plan import SCALE_SWEEP
from benchmarks.train import deepdeblur_recipe
from gopro_tools.records import jsonable, read_record

_KERNEL_AREA = 25
_N_COLOURS = 3
_FULL_DEPTH = {1: 59, 2: 29, 3: 19}
_DAY_S = 86_400.0


def flop_a_patch(recipe: Mapping[str, Any]) -> float:
    """Floating-point operations of DeepDeblur's convolutions for one patch, forward and backward.

    Args:
        recipe: A recipe of `benchmarks.train` as records hold it.
    """
    n_scales, width = recipe["n_scales"], recipe["n_features"]
    n_blocks = recipe["n_resblocks"] or _FULL_DEPTH[n_scales]
    side = recipe["patches"]["patch_px"]
    products = 0.0
    for k in range(n_scales):
        n_in = _N_COLOURS if k == n_scales - 1 else 2 * _N_COLOURS
        weights = _KERNEL_AREA * (n_in * width + 2 * n_blocks * width**2 + width * _N_COLOURS)
        if k < n_scales - 1:  # the convolution before the pixel shuffle, at the coarser size
            weights += _KERNEL_AREA * _N_COLOURS * 4 * _N_COLOURS / 4
        products += weights * side**2 / 4**k
    # A multiplication and an addition each; backward computes twice what forward does.
    return 2 * 3 * products


def days_of_full(record: Path) -> dict[str, float]:
    """Days that the paper's recipe would take at the speed a record's training had.

    Taken to cost what its convolutions' arithmetic does, without the discriminator. Methods that
    the record does not hold are left out.
    """
    run = read_record(record)
    days: dict[str, float] = {}
    for method in SCALE_SWEEP:
        figures = run.results["methods"].get(method)
        if figures is None or not figures["training_s"]:
            continue
        here = run.config["recipes"][method]
        flop_per_s = flop_a_patch(here) * figures["n_patches"] / figures["training_s"]
        paper = deepdeblur_recipe("paper2017", here["n_scales"])
        n_steps = paper.optimisation.n_epochs * (paper.optimisation.steps_per_epoch or 0)
        flop = flop_a_patch(jsonable(paper)) * n_steps * paper.patches.batch
        days[method] = flop / flop_per_s / _DAY_S
    return days


def cost_of_full(record: Path) -> str:
    """That cost in a sentence."""
    run = read_record(record)
    days = days_of_full(record)
    if not days:
        return "Its cost is not known: no network of this record was trained."
    patches = sum(run.results["methods"][m]["n_patches"] for m in days)
    seconds = sum(run.results["methods"][m]["training_s"] for m in days)
    each = ", ".join(f"{method} {value:,.0f}" for method, value in days.items())
    return (
        "It needs GOPRO_Large and, for each K, 1.8 million patches of 256x256 through the full "
        "network (iterations from memory of the paper, unverified). At the "
        f"{patches / seconds:.1f} patches/s measured here with the networks of this run, scaled by "
        f"the arithmetic of their convolutions, that would take, in days on this machine: {each}."
    )
