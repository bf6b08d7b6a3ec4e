"""``python -m benchmarks.restore``: an image, a folder or a dataset in, restored images out."""

import json
import logging
import time
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.restore.restorers import RestoreOptions, open_restorer
from benchmarks.restore.run import find_images, restore_all
from gopro_tools.console import EXIT_FINDINGS, progress_bar, run_command, stderr
from gopro_tools.dataset import BlurKind, Split, sequences_of
from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file, write_atomic
from gopro_tools.records import jsonable, to_json

log = logging.getLogger(__name__)

_DEFAULTS = RestoreOptions()

RECORD_FILE = "restored.json"
"""Beside the results: what made them."""


def restore_command(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES_OR_DATASET")],
    *,
    method: str,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    weights: Path | None = None,
    split: Split = "test",
    blur_kind: BlurKind = "gamma",
    resume: bool = False,
    options: Annotated[RestoreOptions, tyro.conf.arg(name="")] = _DEFAULTS,
) -> int:
    """Restore an image, a folder of images or a dataset; results keep the names of the inputs.

    Args:
        source: An image, a folder (results keep their path inside it), or a dataset in the GOPRO
            layout (results are OUT/<sequence>/<name>, as gopro_tools.evaluate expects).
        method: deepdeblur, deblurgan, sun2015, or package.module:factory for any other.
        out: Output folder.
        weights: Weight file: ours, or an official one.
        split: Which part of a dataset.
        blur_kind: Which blurred images of a dataset.
        resume: Keep the results that are there; they must come from the same weights and options.
        options: How.
    """
    images = find_images(source, split, blur_kind)
    folder = (source.parent if source.is_file() else source).resolve()
    if out.resolve() == folder or (source.is_dir() and folder in out.resolve().parents):
        raise InputError(f"--out {out}: lies in the input {source}; choose a folder outside.")
    restorer = open_restorer(method, weights, options)
    facts = {
        "method": method,
        "weights_sha256": sha256_of_file(weights) if weights and weights.is_file() else None,
        "options": jsonable(options),
        "split": split if sequences_of(source, split) else None,
        "blur_kind": blur_kind if sequences_of(source, split) else None,
    }
    _check_record(out, facts, resume=resume)
    write_atomic(out / RECORD_FILE, to_json(facts))
    if any(path.suffix.lower() in (".jpg", ".jpeg") for path, _ in images):
        log.warning("JPEG inputs give JPEG results (quality 100), off by a level here and there.")
    with progress_bar("images") as bar:
        task = bar.add_task("Restoring", total=len(images), rate="")
        begin = time.perf_counter()

        def show(done: int, _total: int) -> None:
            rate = done / (time.perf_counter() - begin)
            bar.update(task, completed=done, rate=f"{rate:.2f} images/s")

        summary = restore_all(restorer, images, out, keep_done=resume, on_progress=show)
    for failure in summary.failures:
        stderr.print(f"failed: {failure}", markup=False, style="red")
    stderr.print(
        f"{summary.n_restored} restored, {summary.n_kept} kept, {len(summary.failures)} failed in "
        f"{summary.seconds:.1f} s -> {out}",
        markup=False,
    )
    return EXIT_FINDINGS if summary.failures else 0


def _check_record(out: Path, facts: dict[str, Any], *, resume: bool) -> None:
    path = out / RECORD_FILE
    if not resume or not path.is_file():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged; restore without --resume.") from error
    differing = [name for name in facts if before.get(name) != facts[name]]
    if differing:
        raise InputError(
            f"{out}: its results come from another {', '.join(differing)}; restore without "
            "--resume, or into another folder."
        )


def main() -> None:
    """Command line."""
    run_command(restore_command)


if __name__ == "__main__":
    main()
