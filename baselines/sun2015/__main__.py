"""``python -m baselines.sun2015``: restored images with pictures of the motion behind them.

`benchmarks.train` trains; `benchmarks.restore` restores without pictures.
"""

from pathlib import Path
from typing import Annotated

import tyro

from baselines.checkpoints import load_restorer_network
from baselines.pictures import sheet
from baselines.restoring import RestoreOptions
from baselines.sun2015.method import KIND, KIND_PLUS, sun2015_restorer
from baselines.sun2015.pictures import field_colours, legend
from baselines.sun2015.restorer import PAPER, PLUS, Sun2015Restorer
from gopro_tools.console import EXIT_FINDINGS, progress_bar, run_command, stderr
from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic
from gopro_tools.images import encode_png, read_rgb
from gopro_tools.restorers import find_images


def restorer_of(weights: Path, options: RestoreOptions) -> Sun2015Restorer:
    """The restorer of a weight file of ``sun2015`` or ``sun2015-plus``.

    Raises:
        InputError: The file is missing, damaged or of another method.
    """
    network, record = load_restorer_network(weights, [KIND, KIND_PLUS])
    how = PLUS if record.method == KIND_PLUS.name else PAPER
    return sun2015_restorer(network, record, options, how)


def restore(
    images: tyro.conf.Positional[Path],
    *,
    weights: Path,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    device: str = "auto",
) -> int:
    """Restore images with Sun et al. 2015; beside each goes a picture of its motion field.

    Args:
        images: A blurred image, or a folder of them.
        weights: Of sun2015 or sun2015-plus, as benchmarks.train writes them.
        out: Folder: NAME.png, NAME_motion.png (colours: motion; the wheel says which).
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:1``.
    """
    restorer = restorer_of(weights, RestoreOptions(device=device))
    found = find_images(images)
    n_failed = 0
    with progress_bar("images") as bar:
        task = bar.add_task("Restoring", total=len(found), rate="")
        for path, relative in found:
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
            pictures = [
                ("blurred", blurred),
                ("restored", restored.image),
                ("colours of motions", legend()),
                ("estimated motion", field_colours(restored.motion)),
                ("motion undone", field_colours(restored.undone)),
            ]
            target = (out / relative).with_suffix(".png")
            write_atomic(target, encode_png(restored.image))
            write_atomic(
                target.with_name(f"{target.stem}_motion.png"),
                encode_png(sheet(pictures, n_columns=3)),
            )
    stderr.print(f"{len(found) - n_failed} restored, {n_failed} failed -> {out}")
    return EXIT_FINDINGS if n_failed else 0


def main() -> None:
    """Run `python -m baselines.sun2015`."""
    run_command(restore)


if __name__ == "__main__":
    main()
