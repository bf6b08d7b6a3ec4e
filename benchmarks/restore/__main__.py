"""``python -m benchmarks.restore``: an image, a folder or a dataset in, restored images out."""

import logging
import time
from pathlib import Path
from typing import Annotated

import tyro

from baselines.methods import method_named
from baselines.restoring import RestoreOptions
from benchmarks.shipped import weights_named
from gopro_tools.console import EXIT_FINDINGS, progress_bar, run_command, stderr
from gopro_tools.dataset import BlurKind, Split
from gopro_tools.errors import InputError
from gopro_tools.files import claimed, sha256_of_path, write_atomic
from gopro_tools.records import (
    RESTORE_SUITE,
    RunRecord,
    dataset_facts,
    image_facts,
    jsonable,
    seal,
    to_json,
    unseal,
)
from gopro_tools.restorers import (
    RECORD_FILE,
    check_record,
    find_images,
    is_dataset,
    restore_images,
)

log = logging.getLogger(__name__)

_DEFAULTS = RestoreOptions()


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
        method: deepdeblur (of any K), deepdeblur-k1 to -k3, deblurgan, sun2015, sun2015-plus, or
            package.module:factory[:name=value...] for any other: factory(weights, device,
            name=value...) gives an object whose restore() takes and gives (H, W, 3) uint8 RGB.
        out: Output folder.
        weights: Weight file: ours, or an official one; `reduced` means those that come with the
            checkout, in results/weights. Other methods may take a folder.
        split: Which part of a dataset.
        blur_kind: Which blurred images of a dataset.
        resume: Keep whole results that are there; refused where method, weights, options, code or
            dataset are others.
        options: How.
    """
    images = find_images(source, split, blur_kind)
    folder = (source.parent if source.is_file() else source).resolve()
    if out.resolve() == folder or (source.is_dir() and folder in out.resolve().parents):
        raise InputError(f"--out {out}: lies in the input {source}; choose a folder outside.")
    found = method_named(method)
    weights = weights_named(found.name, weights)
    restorer = found.open(weights, options)
    facts = {
        "method": method,
        "weights_sha256": sha256_of_path(weights) if weights else None,
        "options": jsonable(options),
        "code_sha256": found.code_sha256,
        "dataset": dataset_facts(source, split, blur_kind) if is_dataset(source) else None,
    }
    with claimed(out, *{relative.parent for _, relative in images}):
        check_record(out, facts, resume=resume)
        unseal(out)
        write_atomic(out / RECORD_FILE, to_json(facts))
        if any(path.suffix.lower() in (".jpg", ".jpeg") for path, _ in images):
            log.warning("JPEG inputs give JPEG results, off by a level here and there.")
        with progress_bar("images") as bar:
            task = bar.add_task("Restoring", total=len(images), rate="")
            begin = time.perf_counter()

            def show(done: int, _total: int) -> None:
                rate = done / (time.perf_counter() - begin)
                bar.update(task, completed=done, rate=f"{rate:.2f} images/s")

            summary = restore_images(
                restorer, images, out, method=method, keep_done=resume, on_progress=show
            )
        if not summary.failures:
            record = RunRecord(
                suite=RESTORE_SUITE,
                method=method,
                scale=found.training_scale(weights),
                published_name=found.published_name or "",
                config=facts,
                results={"n_images": len(images)},
                timings_s={"restoring": round(summary.seconds, 3)},
                dataset=facts["dataset"] or image_facts([path for path, _ in images]),
                weights_sha256=facts["weights_sha256"],
                seed=options.seed,
            )
            seal(out, record, names=())
    for failure in summary.failures:
        stderr.print(f"failed: {failure}", markup=False, style="red")
    stderr.print(
        f"{summary.n_restored} restored, {summary.n_kept} kept, {len(summary.failures)} failed in "
        f"{summary.seconds:.1f} s -> {out}",
        markup=False,
    )
    if not summary.n_restored + summary.n_kept:
        raise InputError(f"{source}: none of {len(images)} image(s) could be restored.")
    return EXIT_FINDINGS if summary.failures else 0


def main() -> None:
    """Command line."""
    run_command(restore_command)


if __name__ == "__main__":
    main()
