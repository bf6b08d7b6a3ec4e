"""The command line of the rendered dataset."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from gopro_tools.console import EXIT_FINDINGS, progress_bar, stderr
from gopro_tools.errors import InputError
from gopro_tools.records import Scale


def command(
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    scale: Scale = "reduced",
    photographs: tuple[str, ...] = (),
    test_photographs: tuple[str, ...] = (),
    seed: int = 0,
    n_train: int | None = None,
    n_test: int | None = None,
) -> int:
    """Render a dataset in the GOPRO_Large layout whose motion is known.

    Args:
        out: Folder of the dataset.
        scale: How many pairs, how large: smoke or reduced.
        photographs: Files, folders or names of scikit-image's to render; by default those that
            come with scikit-image.
        test_photographs: The same, for the test split alone; by default a fifth of the others.
        seed: Another seed renders other clips.
        n_train: Training pairs, instead of the scale's.
        n_test: Test pairs, instead of the scale's.
    """
    from gopro_tools.rendered.clips import RENDERED
    from gopro_tools.rendered.dataset import MOTION_FILE, render_dataset

    if scale not in RENDERED:
        raise InputError(f"--scale {scale}: expected {' or '.join(RENDERED)}; full is GOPRO_Large.")
    preset = RENDERED[scale]
    config = replace(
        preset,
        photographs=photographs,
        test_photographs=test_photographs,
        seed=seed,
        n_train=preset.n_train if n_train is None else n_train,
        n_test=preset.n_test if n_test is None else n_test,
    )
    with progress_bar("parts", "rendering") as bar:
        left_out = render_dataset(config, out, on_progress=bar.show_task)
    for reason in left_out:
        stderr.print(f"left out: {reason}", style="yellow")
    n_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    stderr.print(
        f"{config.n_train} training and {config.n_test} test pairs in {out} "
        f"({n_bytes / 1e6:.0f} MB); the length of their blur is in {out / MOTION_FILE}."
    )
    return EXIT_FINDINGS if any(reason.failed for reason in left_out) else 0
