"""``python -m benchmarks.train METHOD:PRESET``: a preset, changed where options say so."""

import dataclasses
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from baselines.machine import EXIT_UNFINISHED, Budget, RunOptions
from baselines.method import Method, Recipe
from baselines.methods import METHODS
from benchmarks.keeping import keep_run
from benchmarks.train.folder import STRIP_FOLDER
from benchmarks.train.journal import CURVES_FILE, LOG_FILE
from benchmarks.train.run import Progress, TrainResult, train
from gopro_tools.console import EXIT_INTERRUPTED, progress_bar, run_command, stderr
from gopro_tools.dataset import BlurKind
from gopro_tools.stopping import stop_signals

log = logging.getLogger(__name__)

EXIT_TERMINATED = 128 + signal.SIGTERM

_DEFAULT_OPTIONS = RunOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What to train on, and where everything goes."""

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


def run_task(task: Task, method: Method, recipe: Recipe, options: RunOptions) -> int:
    """Train with a progress bar, and return the exit code: 130 or 143 where a signal ended it."""
    budget = Budget(task.minutes)
    with stop_signals() as found, progress_bar("") as bar:
        shown = {"decoding": "Decoding pairs", "fitting": "Fitting the rest"}
        bars = {
            name: bar.add_task(text, total=None, rate="", visible=False)
            for name, text in shown.items()
        }
        bars["training"] = bar.add_task(f"Training {recipe.method}, steps", total=None, rate="")

        def show(progress: Progress) -> None:
            rate = progress.figures.get("patches_per_s")
            bar.update(
                bars[progress.task],
                completed=progress.done,
                total=progress.total,
                visible=True,
                rate="" if rate is None else f"{rate:.1f} patches/s",
            )

        result = train(
            method,
            recipe,
            task.data,
            task.out,
            blur_kind=task.blur_kind,
            options=options,
            resume=task.resume,
            on_progress=show,
            should_stop=lambda: bool(found) or budget.spent,
        )
    exit_code = 0 if result.finished else _exit_code_of(found.get("signal"))
    if os.environ.get("RANK", "0") != "0":
        return exit_code
    _summarise(result)
    if result.finished and task.results is not None:
        keep_record(task.out, task.results)
    return exit_code


def _exit_code_of(signal_number: int | None) -> int:
    """Of a training that was stopped: by a signal, or because its minutes were spent."""
    if signal_number is None:
        return EXIT_UNFINISHED
    return EXIT_INTERRUPTED if signal_number == signal.SIGINT else EXIT_TERMINATED


def keep_record(out: Path, results: Path) -> Path:
    """Keep a finished run's record, log and pictures under a results folder, and return where.

    Raises:
        InputError: The run is not finished, or it is kept there already.
    """
    files = {name: out / name for name in (LOG_FILE, CURVES_FILE) if (out / name).is_file()}
    if strips := sorted((out / STRIP_FOLDER).glob("*.png")):
        files["validation.png"] = strips[-1]
    return keep_run(out, results, files)


def _summarise(result: TrainResult) -> None:
    state = "Finished" if result.finished else "Stopped; --resume continues"
    stderr.print(f"{state} after {result.step} of {result.n_steps} steps: {result.checkpoint}")
    if found := result.metrics:
        restored, blurred = found["psnr_rgb_db"], found["blurred_psnr_rgb_db"]
        stderr.print(
            f"Validation after step {found['at_step']:.0f}: {restored:.2f} dB restored, "
            f"{blurred:.2f} dB blurred ({restored - blurred:+.2f} dB, psnr_rgb).",
        )


def presets_of(methods: Sequence[Method]) -> Mapping[str, Recipe]:
    """Every recipe there is, by METHOD:PRESET."""
    return {
        f"{method.name}:{name}": recipe
        for method in methods
        for name, recipe in method.presets.items()
    }


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Command:
    """One subcommand: a preset and where it is trained."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    """What decides the outcome."""
    task: Annotated[Task, tyro.conf.arg(name="")]
    """What on, and where to."""
    options: Annotated[RunOptions, tyro.conf.arg(name="")] = _DEFAULT_OPTIONS
    """How the machine does it."""


def command_of(methods: Sequence[Method]) -> Any:
    """The command: one subcommand per preset, whose options start from the preset's values."""
    presets = presets_of(methods)
    asked = Task(data=tyro.MISSING, out=tyro.MISSING)
    choices: Any = tyro.extras.subcommand_type_from_defaults(
        {
            name: _command_class(recipe)(recipe=recipe, task=asked)
            for name, recipe in presets.items()
        },
        {name: _described(recipe) for name, recipe in presets.items()},
        prefix_names=False,
    )

    def command(choice: tyro.conf.SuppressFixed[Annotated[choices, tyro.conf.arg(name="")]]) -> int:
        """Train a method: METHOD:PRESET, and options that differ from the preset.

        Args:
            choice: Method and preset.
        """
        recipe = choice.recipe
        method = next(method for method in methods if method.name == recipe.method)
        preset = method.presets[recipe.preset]
        changed = downgraded_if_modified(recipe, preset)
        return run_task(choice.task, method, changed, choice.options)

    return command


def _command_class(recipe: Recipe) -> Any:
    """`_Command` whose recipe has the options of this kind of recipe."""
    kind: Any = type(recipe)
    return dataclasses.make_dataclass(
        f"Train{kind.__name__}",
        [("recipe", Annotated[kind, tyro.conf.arg(name="")])],
        bases=(_Command,),
        frozen=True,
        kw_only=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    run_command(command_of(METHODS), arguments)


if __name__ == "__main__":
    main()
