"""``python -m baselines.sun2015 train | restore | accuracy``."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from baselines.sun2015.accuracy import (
    STAGES,
    AccuracyConfig,
    draw_confusion,
    endpoint_errors_px,
    measure_accuracy,
    two_motions,
)
from baselines.sun2015.deconvolution import DeconvolutionOptions
from baselines.sun2015.field import estimate_field
from baselines.sun2015.patches import find_photographs
from baselines.sun2015.pictures import field_colours, motion_colours, side_by_side
from baselines.sun2015.restorer import (
    ESTIMATED_NOISE_SIGMA,
    Sun2015Options,
    Undo,
    open_sun2015,
)
from baselines.sun2015.training import PRESETS, train_sun2015
from baselines.sun2015.weights import load_weights
from gopro_tools.console import (
    EXIT_FINDINGS,
    EXIT_INTERRUPTED,
    progress_bar,
    run_command,
    stderr,
)
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.stopping import stop_signals

_DECONVOLUTION = DeconvolutionOptions(noise_sigma=ESTIMATED_NOISE_SIGMA)
_ACCURACY = AccuracyConfig()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """Train the motion classifier and fit the patch prior on sharp photographs."""

    photographs: tyro.conf.Positional[tuple[Path, ...]]
    """Images, folders of them, or datasets in the GOPRO layout (sharp training images)."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The weight file, NAME.safetensors; what lies there is gone on with."""
    preset: Literal["paper", "reduced", "smoke"] = "paper"
    """How much is learned: hours, half an hour, seconds on a CPU."""
    response: str | None = None
    """In whose light blur happens: gamma2.2, srgb, linear (on code values) or a .npy table."""
    n_patches: int | None = None
    """Training patches, in place of the preset's number."""
    seed: int = 0
    """Of all that is drawn."""
    resume: bool = True
    """Go on with what lies at OUT; --no-resume begins anew."""
    device: str = "cpu"
    """Where the classifier is trained: cpu or cuda."""

    def run(self) -> int:
        """Train with a progress bar."""
        given = {"response": self.response, "n_patches": self.n_patches}
        changes = {key: value for key, value in given.items() if value is not None}
        recipe = dataclasses.replace(PRESETS[self.preset], seed=self.seed, **changes)  # type: ignore[arg-type]
        images = find_photographs(self.photographs)
        with stop_signals() as found, progress_bar("") as bar:
            task = bar.add_task("", total=None, rate="")

            def show(name: str, done: int, total: int) -> None:
                bar.update(task, description=name.capitalize(), completed=done, total=total)

            result = train_sun2015(
                images,
                self.out,
                recipe,
                resume=self.resume,
                device=self.device,
                on_progress=show,
                told_to_stop=lambda: bool(found),
            )
        if result is None:
            stderr.print("Stopped; the same command goes on from here.", markup=False)
            return EXIT_INTERRUPTED
        for message in result.skipped:
            stderr.print(f"left out: {message}", markup=False, style="yellow")
        figures = ", ".join(f"{name} {value:.3f}" for name, value in result.metrics.items())
        stderr.print(
            f"{result.weights}: {result.n_patches:,} patches in {result.training_s / 60:.1f} min; "
            f"on pieces kept out: {figures}",
            markup=False,
        )
        return EXIT_FINDINGS if any("cannot" in message for message in result.skipped) else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restore:
    """Restore images; beside each goes a picture of its motion field."""

    images: tyro.conf.Positional[tuple[Path, ...]]
    """Blurred images, or folders of them."""
    weights: Path
    """As `train` writes them."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder: NAME.png, NAME_motion.png (colours: motion; the wheel says which)."""
    crop: tuple[int, int, int, int] | None = None
    """LEFT TOP WIDTH HEIGHT in pixels: this part alone, for a quick look."""
    response: str | None = None
    """In whose light the images were blurred; by default that of the training."""
    undo: Undo = "safest"
    """The motion of least expected error, or the likeliest one, as in the paper."""
    deconvolution: Annotated[DeconvolutionOptions, tyro.conf.arg(name="")] = _DECONVOLUTION
    """How."""

    def run(self) -> int:
        """Restore what can be restored, and name the rest."""
        restorer = open_sun2015(
            self.weights,
            Sun2015Options(
                undo=self.undo, deconvolution=self.deconvolution, response=self.response
            ),
        )
        images = find_photographs(self.images)
        names = [path.stem for path in images]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(
                f"{', '.join(twice[:5])}: several images of one name would overwrite each other; "
                "restore them one folder at a time."
            )
        n_failed = 0
        with progress_bar("steps") as bar:
            task = bar.add_task("Restoring", total=None, rate="")
            for number, path in enumerate(images, start=1):

                def show(done: int, total: int, number: int = number) -> None:
                    bar.update(
                        task,
                        description=f"Restoring image {number} of {len(images)}",
                        completed=done,
                        total=total,
                    )

                try:
                    blurred = _cropped(read_rgb(path), self.crop, path)
                    restored = restorer.restore_with_motion(blurred, on_progress=show)
                except InputError as error:
                    n_failed += 1
                    message = str(error) if str(path) in str(error) else f"{path}: {error}"
                    stderr.print(f"failed: {message}", markup=False, style="red")
                    continue
                sheet = side_by_side(
                    [
                        ("blurred", blurred),
                        ("restored", restored.image),
                        ("likeliest motion", restored.motion_picture),
                        ("motion undone", field_colours(restored.undone)),
                    ]
                )
                write_atomic(self.out / f"{path.stem}.png", encode_png(restored.image))
                write_atomic(self.out / f"{path.stem}_motion.png", encode_png(sheet))
        stderr.print(f"{len(images) - n_failed} restored, {n_failed} failed -> {self.out}")
        return EXIT_FINDINGS if n_failed else 0


def _cropped(image: Rgb, crop: tuple[int, int, int, int] | None, path: Path) -> Rgb:
    if crop is None:
        return image
    left, top, width, height = crop
    inside = image[max(top, 0) : top + height, max(left, 0) : left + width]
    if min(crop[:2]) < 0 or inside.shape[:2] != (height, width):
        raise InputError(
            f"{path}: --crop {left} {top} {width} {height} reaches beyond its "
            f"{image.shape[1]}x{image.shape[0]} pixels."
        )
    return inside


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Measure how well motion is told, on photographs blurred by known motions."""

    photographs: tyro.conf.Positional[tuple[Path, ...]]
    """Sharp images that were not trained on, or folders of them."""
    weights: Path
    """As `train` writes them."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder: accuracy.csv, confusion.png, and two_motions.png, a rendered scene with a shaking
    background and objects that move on their own, its known and its estimated field."""
    config: Annotated[AccuracyConfig, tyro.conf.arg(name="")] = _ACCURACY
    """How."""

    def run(self) -> int:
        """Measure, draw and print."""
        network, _ = load_weights(self.weights)
        images = find_photographs(self.photographs)
        with progress_bar("motions") as bar:
            task = bar.add_task("Blurring and looking", total=None, rate="")
            found = measure_accuracy(
                network.classifier,
                images,
                self.config,
                on_progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        self.out.mkdir(parents=True, exist_ok=True)
        columns = list(found.rows[0])
        lines = [",".join(columns)]
        lines += [",".join(str(row[column]) for column in columns) for row in found.rows]
        write_atomic(self.out / "accuracy.csv", "\n".join(lines) + "\n")
        draw_confusion(found).savefig(self.out / "confusion.png", dpi=100)
        scene = two_motions()
        estimated = estimate_field(network.classifier, scene.blurred, self.config.options)
        errors = endpoint_errors_px(estimated, scene.motion)
        sheet = side_by_side(
            [
                ("blurred", scene.blurred),
                ("known motion", motion_colours(scene.motion)),
                ("estimated motion", field_colours(estimated)),
            ]
        )
        write_atomic(self.out / "two_motions.png", encode_png(sheet))
        for message in found.skipped:
            stderr.print(f"left out: {message}", markup=False, style="yellow")
        for stage in STAGES:
            sys.stdout.write(f"right within tolerance, {stage}: {found.share(stage):.3f}\n")
        inside = scene.object_mask
        for name, mask in (("background", ~inside), ("objects", inside)):
            sys.stdout.write(
                f"endpoint error, {name}: {errors[mask].mean():.2f} px of "
                f"{_mean_length(scene.motion[mask]):.2f} px\n"
            )
        return EXIT_FINDINGS if found.skipped else 0


def _mean_length(motion: NDArray[np.float32]) -> float:
    return float(np.hypot(motion[..., 0], motion[..., 1]).mean())


def sun2015(
    command: Annotated[
        Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Restore, tyro.conf.subcommand("restore")]
        | Annotated[Accuracy, tyro.conf.subcommand("accuracy")],
        tyro.conf.arg(name=""),
    ],
) -> int:
    """Sun et al. 2015: learn to tell motion, estimate motion fields, undo them."""
    return command.run()


def main() -> None:
    """Run `python -m baselines.sun2015`."""
    run_command(sun2015)


if __name__ == "__main__":
    main()
