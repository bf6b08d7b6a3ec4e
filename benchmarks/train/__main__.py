"""``python -m benchmarks.train METHOD:PRESET``: a preset, changed where options say so."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from baselines.method import Method
from baselines.methods import METHODS
from baselines.options import RunOptions
from baselines.recipe import Recipe
from benchmarks.keeping import keep_run
from benchmarks.minutes import EXIT_UNFINISHED, started_clock
from gopro_tools.console import progress_bar, run_command, stderr
from gopro_tools.dataset import BlurKind
from gopro_tools.stopping import stop_signals

if TYPE_CHECKING:
    from benchmarks.train.run import TrainResult

log = logging.getLogger(__name__)

_DEFAULT_OPTIONS = RunOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One subcommand: a preset, and where it is trained."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    """What decides the outcome."""
    data: Path
    """Dataset in the GOPRO layout: its train split is trained on, its test split validated on."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the run."""
    blur_kind: BlurKind = "gamma"
    """Which blurred images: gamma (the paper's) or linear_crf (most later work)."""
    resume: bool = False
    """Resume from the checkpoint in OUT, or begin where there is none yet."""
    minutes: float | None = None
    """Stop with a checkpoint after this many minutes (exit code 3); the same command with --resume
    continues."""
    results: Path | None = None
    """Also keep the run's record under this folder, as RESULTS/runs/train/<method>/<run-id>."""
    options: Annotated[RunOptions, tyro.conf.arg(name="")] = _DEFAULT_OPTIONS
    """How the machine does it."""


def run_task(task: Task, method: Method) -> int:
    """Train with a progress bar, and return the exit code: 128 + n where signal n ended it."""
    recipe = task.recipe
    from benchmarks.train.run import train

    time_is_over = started_clock(task.minutes)
    with stop_signals() as found, progress_bar("") as bar:

        def show(name: str, done: int, total: int) -> None:
            rate = None
            if name == "training":
                rate = f"{bar.speed * recipe.patches.batch:.1f} patches/s"
            bar.show_task(f"{recipe.method}: {name}", done, total, rate=rate)

        result = train(
            method,
            recipe,
            task.data,
            task.out,
            blur_kind=task.blur_kind,
            options=task.options,
            resume=task.resume,
            on_progress=show,
            should_stop=lambda: bool(found) or time_is_over(),
        )
    if os.environ.get("RANK", "0") == "0":
        _summarise(result)
        if result.finished and task.results is not None:
            keep_run(task.out, task.results)
    if result.finished:
        return 0
    return 128 + found["signal"] if found else EXIT_UNFINISHED


def _summarise(result: "TrainResult") -> None:
    state = "Finished" if result.finished else "Stopped; --resume continues"
    stderr.print(f"{state} after {result.step} of {result.n_steps} steps: {result.checkpoint}")
    if found := result.metrics:
        restored, blurred = found["psnr_rgb_db"], found["blurred_psnr_rgb_db"]
        stderr.print(
            f"Validation after step {found['at_step']:.0f}: {restored:.2f} dB restored, "
            f"{blurred:.2f} dB blurred ({restored - blurred:+.2f} dB, psnr_rgb).",
        )


def downgraded_if_modified(recipe: Recipe, preset: Recipe) -> Recipe:
    """A recipe changed from a published one is no longer at full scale."""
    if recipe.scale != "full" or dataclasses.replace(recipe, seed=preset.seed) == preset:
        return recipe
    log.info("Options differ from the preset %s: recorded as scale reduced.", recipe.preset)
    return dataclasses.replace(recipe, scale="reduced")


def _described(recipe: Recipe) -> str:
    patches, optimisation = recipe.patches, recipe.optimisation
    length = f"{optimisation.n_epochs} epochs"
    if optimisation.steps_per_epoch:
        length += f" of {optimisation.steps_per_epoch} steps"
    return f"scale {recipe.scale}: {length}, {patches.batch} patches of {patches.patch_px} px each"


def command_of(methods: Sequence[Method]) -> Any:
    """The command: one subcommand per METHOD:PRESET, whose options start from its values."""
    presets = {
        f"{method.name}:{name}": (method, recipe)
        for method in methods
        for name, recipe in method.presets.items()
    }
    choices: Any = tyro.extras.subcommand_type_from_defaults(
        {
            name: Task(recipe=recipe, data=tyro.MISSING, out=tyro.MISSING)
            for name, (_, recipe) in presets.items()
        },
        {name: _described(recipe) for name, (_, recipe) in presets.items()},
        prefix_names=False,
    )

    def command(choice: tyro.conf.SuppressFixed[Annotated[choices, tyro.conf.arg(name="")]]) -> int:
        """Train a method: METHOD:PRESET, and options that differ from the preset.

        Args:
            choice: Method and preset.
        """
        method, preset = presets[f"{choice.recipe.method}:{choice.recipe.preset}"]
        recipe = downgraded_if_modified(choice.recipe, preset)
        return run_task(dataclasses.replace(choice, recipe=recipe), method)

    return command


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    run_command(command_of(METHODS), arguments)


if __name__ == "__main__":
    main()
