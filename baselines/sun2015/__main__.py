"""``python -m baselines.sun2015 restore | accuracy``: the motion behind a restored image.

Training is `benchmarks.train`'s, restoring without pictures of motion `benchmarks.restore`'s.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from baselines.checkpoints import load_restorer_network
from baselines.restoring import RestoreOptions
from baselines.sun2015.accuracy import (
    STAGES,
    draw_confusion,
    endpoint_errors_px,
    measure_accuracy,
    two_motions,
)
from baselines.sun2015.method import KIND, KIND_PLUS, sun2015_restorer
from baselines.sun2015.pictures import field_colours, motion_colours, side_by_side
from baselines.sun2015.restorer import PAPER, PLUS, Sun2015Restorer
from gopro_tools.console import EXIT_FINDINGS, progress_bar, run_command, stderr
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.images import encode_png, read_rgb
from gopro_tools.restorers import find_images
from gopro_tools.text import csv_text

_DEFAULTS = RestoreOptions()


def restorer_of(weights: Path, options: RestoreOptions) -> Sun2015Restorer:
    """The restorer of a weight file of ``sun2015`` or ``sun2015-plus``.

    Raises:
        InputError: The file is missing, damaged or of another method.
    """
    network, record = load_restorer_network(weights, [KIND, KIND_PLUS])
    how = PLUS if record.method == KIND_PLUS.name else PAPER
    return sun2015_restorer(network, record, options, how)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restore:
    """Restore images; beside each goes a picture of its motion field."""

    images: tyro.conf.Positional[Path]
    """A blurred image, or a folder of them."""
    weights: Path
    """Of sun2015 or sun2015-plus, as benchmarks.train writes them."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder: NAME.png, NAME_motion.png (colours: motion; the wheel says which)."""
    options: Annotated[RestoreOptions, tyro.conf.arg(name="")] = _DEFAULTS
    """How."""

    def run(self) -> int:
        """Restore what can be restored, and name the rest."""
        restorer = restorer_of(self.weights, self.options)
        images = find_images(self.images)
        n_failed = 0
        with progress_bar("images") as bar:
            task = bar.add_task("Restoring", total=len(images), rate="")
            for path, relative in images:
                try:
                    blurred = read_rgb(path)
                    restored = restorer.restore_with_motion(blurred)
                except InputError as error:
                    n_failed += 1
                    message = str(error) if str(path) in str(error) else f"{path}: {error}"
                    stderr.print(f"failed: {message}", markup=False, style="red")
                    continue
                finally:
                    bar.advance(task)
                sheet = side_by_side(
                    [
                        ("blurred", blurred),
                        ("restored", restored.image),
                        ("likeliest motion", restored.motion_picture),
                        ("motion undone", field_colours(restored.undone)),
                    ]
                )
                target = (self.out / relative).with_suffix(".png")
                write_atomic(target, encode_png(restored.image))
                write_atomic(target.with_name(f"{target.stem}_motion.png"), encode_png(sheet))
        stderr.print(f"{len(images) - n_failed} restored, {n_failed} failed -> {self.out}")
        return EXIT_FINDINGS if n_failed else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Measure motion-estimation accuracy on photographs blurred by known motions."""

    photographs: tyro.conf.Positional[Path]
    """A sharp image that was not trained on, or a folder of them."""
    weights: Path
    """Of sun2015 or sun2015-plus."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder: accuracy.csv, confusion.png, and two_motions.png, a rendered scene with a shaking
    background and objects that move on their own, its known and its estimated field."""
    n_orientations: int = 6
    """Orientations of each length and image, drawn from all 30."""
    crop_px: int = 256
    """Side of the square cut from the middle of each photograph."""

    def run(self) -> int:
        """Measure, draw and print."""
        restorer = restorer_of(self.weights, RestoreOptions(prior="hyper-laplacian"))
        images = [path for path, _ in find_images(self.photographs)]
        with progress_bar("motions") as bar:
            task = bar.add_task("Blurring and estimating", total=None, rate="")
            found = measure_accuracy(
                restorer.classifier,
                images,
                restorer.options.motion,
                n_orientations=self.n_orientations,
                crop_px=self.crop_px,
                on_progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        self.out.mkdir(parents=True, exist_ok=True)
        write_atomic(self.out / "accuracy.csv", csv_text(list(found.rows[0]), found.rows))
        draw_confusion(found).savefig(self.out / "confusion.png", dpi=100)
        scene = two_motions()
        estimated = restorer.motion_field(scene.blurred)
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
        errors = endpoint_errors_px(estimated, scene.motion)
        lengths = np.hypot(scene.motion[..., 0], scene.motion[..., 1])
        for name, mask in (("background", ~scene.object_mask), ("objects", scene.object_mask)):
            sys.stdout.write(
                f"endpoint error, {name}: {errors[mask].mean():.2f} px of "
                f"{lengths[mask].mean():.2f} px\n"
            )
        return EXIT_FINDINGS if found.skipped else 0


def sun2015(
    command: Annotated[
        Annotated[Restore, tyro.conf.subcommand("restore")]
        | Annotated[Accuracy, tyro.conf.subcommand("accuracy")],
        tyro.conf.arg(name=""),
    ],
) -> int:
    """Sun et al. 2015: show motion fields, and measure their accuracy."""
    return command.run()


def main() -> None:
    """Run `python -m baselines.sun2015`."""
    run_command(sun2015)


if __name__ == "__main__":
    main()
