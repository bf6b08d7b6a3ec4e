"""``python -m benchmarks.train``: a preset, changed where options say so."""

import dataclasses
import functools
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.train.machine import EXIT_UNFINISHED, Budget, RunOptions
from benchmarks.train.recipes import (
    DEBLURGAN_PRESETS,
    DEEPDEBLUR_PRESETS,
    DeblurGanRecipe,
    DeepDeblurRecipe,
    Method,
    Recipe,
    deepdeblur_recipe,
)
from benchmarks.train.run import STRIP_FOLDER, Progress, TrainResult, train
from gopro_tools.console import EXIT_INTERRUPTED, progress_bar, run_command, stderr
from gopro_tools.dataset import BlurKind
from gopro_tools.errors import InputError
from gopro_tools.options import LISTS
from gopro_tools.records import read_record, recorded_run, run_folder
from gopro_tools.stopping import stop_signals

log = logging.getLogger(__name__)

EXIT_TERMINATED = 128 + signal.SIGTERM

_DEFAULT_OPTIONS = RunOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What to train on, and where everything goes."""

    data: Path
    """Dataset in the GOPRO layout: its train split is trained on, its test split validated on."""
    out: Path
    """Folder of the run."""
    blur_kind: BlurKind = "gamma"
    """Which blurred images: gamma (the paper's) or linear_crf (most later work)."""
    vgg_weights: Path | None = None
    """Weights of VGG19 for DeblurGAN's content loss; by default torchvision's download."""
    resume: bool = False
    """Go on from the checkpoint in OUT, or begin where there is none yet."""
    minutes: float | None = None
    """Stop with a checkpoint after this many minutes (exit code 3); the same command with --resume
    continues."""
    results: Path | None = None
    """Also keep the run's record under this folder, as RESULTS/runs/train/<method>/<run-id>."""


def preset_named(method: Method, preset: str, n_scales: int = 3) -> Recipe:
    """A preset of a method.

    Raises:
        InputError: The method has none of this name.
    """
    presets = DEEPDEBLUR_PRESETS if method == "deepdeblur" else DEBLURGAN_PRESETS
    if preset not in presets:
        raise InputError(f"--preset {preset}: {method} has {', '.join(presets)}.")
    if method == "deepdeblur":
        return deepdeblur_recipe(preset, n_scales)  # type: ignore[arg-type]
    return DEBLURGAN_PRESETS[preset]  # type: ignore[index]


def run_task(task: Task, recipe: Recipe, options: RunOptions) -> int:
    """Train with a progress bar, and return the exit code: 130 or 143 where a signal ended it."""
    budget = Budget(task.minutes)
    with stop_signals() as found, progress_bar("") as bar:
        bars = {"decoding": bar.add_task("Decoding pairs", total=None, rate="", visible=False)}
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
            recipe,
            task.data,
            task.out,
            blur_kind=task.blur_kind,
            options=options,
            vgg_weights=task.vgg_weights,
            resume=task.resume,
            on_progress=show,
            told_to_stop=lambda: bool(found) or budget.spent,
        )
    exit_code = 0 if result.finished else _exit_code_of(found.get("signal"))
    if not _leads():
        return exit_code
    _summarise(result)
    if not result.finished:
        return exit_code
    if task.results is not None:
        keep_record(task.out, task.results)
    return 0


def _exit_code_of(signal_number: int | None) -> int:
    """Of a training that was stopped: by a signal, or because its minutes were spent."""
    if signal_number is None:
        return EXIT_UNFINISHED
    return EXIT_INTERRUPTED if signal_number == signal.SIGINT else EXIT_TERMINATED


def keep_record(out: Path, results: Path) -> Path:
    """Copy a finished run's record, log and pictures under a results folder.

    Raises:
        InputError: The run is not finished, or it is kept there already.
    """
    record = read_record(out)
    with recorded_run(results, record) as folder:
        for name in ("log.jsonl", "curves.png"):
            if (out / name).is_file():
                shutil.copy2(out / name, folder / name)
        strips = sorted((out / STRIP_FOLDER).glob("*.png"))
        if strips:
            shutil.copy2(strips[-1], folder / "validation.png")
    return run_folder(results, record)


def _leads() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _summarise(result: TrainResult) -> None:
    state = "Finished" if result.finished else "Stopped; --resume continues"
    stderr.print(
        f"{state} after {result.step} of {result.n_steps} steps: {result.checkpoint}", markup=False
    )
    if result.metrics:
        restored, blurred = (
            result.metrics["psnr_rgb_db"],
            result.metrics["blurred_psnr_rgb_db"],
        )
        stderr.print(
            f"Validation after step {result.metrics['at_step']:.0f}: {restored:.2f} dB restored, "
            f"{blurred:.2f} dB blurred ({restored - blurred:+.2f} dB, psnr_rgb).",
            markup=False,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Choice:
    """What decides the defaults of all other options."""

    method: Method = "deepdeblur"
    preset: str | None = None
    scales: int = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: method and preset are read first, as they set the other options' defaults."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    run_command(functools.partial(_parse_and_run, arguments), [])


def _parse_and_run(arguments: Sequence[str]) -> int:
    first = [argument for argument in arguments if argument not in ("-h", "--help")]
    choice, _ = tyro.cli(_Choice, args=first, return_unknown_args=True)
    default_preset = "paper2017" if choice.method == "deepdeblur" else "paper"
    preset = preset_named(choice.method, choice.preset or default_preset, choice.scales)
    kind = DeepDeblurRecipe if isinstance(preset, DeepDeblurRecipe) else DeblurGanRecipe

    def command(
        *,
        method: Method,
        task: Annotated[Task, tyro.conf.arg(name="")],
        recipe: Annotated[kind, tyro.conf.arg(name="")] = preset,  # type: ignore[valid-type]
        options: Annotated[RunOptions, tyro.conf.arg(name="")] = _DEFAULT_OPTIONS,
    ) -> int:
        """Train a network. The defaults shown are those of --method and --preset.

        Args:
            method: deepdeblur (presets paper2017, torch7-release, pytorch-release, reduced,
                smoke) or deblurgan (paper, released, reduced, smoke).
            task: What and where.
            recipe: What decides the outcome.
            options: How the machine does it.
        """
        return run_task(task, _honest(recipe, preset), options)

    return int(tyro.cli(command, args=arguments, prog="python -m benchmarks.train", registry=LISTS))


def _honest(recipe: Recipe, preset: Recipe) -> Recipe:
    """A recipe changed from a published one is no longer at full scale."""
    if recipe.scale != "full" or dataclasses.replace(recipe, seed=preset.seed) == preset:
        return recipe
    log.info("Options differ from the preset %s: recorded as scale reduced.", recipe.preset)
    return dataclasses.replace(recipe, scale="reduced")


if __name__ == "__main__":
    main()
