"""``python -m benchmarks.restore``: images and videos restored by any method."""

from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from baselines.options import RestoreOptions
from gopro_tools.console import EXIT_FINDINGS, progress_bar, run_command, stderr
from gopro_tools.dataset import BlurKind, Split
from gopro_tools.errors import InputError
from gopro_tools.movie_config import MovieConfig

_DEFAULTS = RestoreOptions()
_MOVIES = MovieConfig()


def restore_command(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES_OR_VIDEOS")],
    *,
    method: str,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    weights: Path | None = None,
    split: Split = "test",
    blur_kind: BlurKind = "gamma",
    resume: bool = False,
    executor: str = "",
    shard: str = "1/1",
    options: Annotated[RestoreOptions, tyro.conf.arg(name="")] = _DEFAULTS,
    movies: Annotated[MovieConfig, tyro.conf.arg(name="")] = _MOVIES,
) -> int:
    """Restore images, videos or a dataset; results keep the names of the inputs.

    Args:
        source: An image, a video, a folder of such (results keep their path inside it), or a
            dataset in the GOPRO layout (results are OUT/<sequence>/<name>, as gopro_tools.evaluate
            expects).
        method: deepdeblur (of any K), deepdeblur-k1 to -k3, deblurgan, sun2015, sun2015-plus;
            spandrel for NAFNet, Uformer, FFTformer, KBNet and others by their weight files; or
            package.module:factory[:name=value...] for any other: factory(weights, device,
            name=value...) gives an object whose restore() takes and gives (H, W, 3) uint8 RGB.
        out: Output folder.
        weights: Weight file: ours, or an official one; `reduced` means those that come with the
            checkout, in results/weights. Other methods may take a folder.
        split: Which part of a dataset.
        blur_kind: Which blurred images of a dataset.
        resume: Keep complete results that are there; refused if method, weights, options, code or
            images differ.
        executor: package.module:factory[:name=value...] of a concurrent.futures.Executor that
            restores the images in place of this process, such as gopro_tools.distributed:dask.
        shard: I/N: restore only the I-th of N shares, for job arrays. The one that ends last writes
            the record.
        options: How images are restored.
        movies: How videos are read and written.
    """
    # Here, as torch takes seconds to load, which --help need not wait for.
    from baselines.cost import cost_of
    from baselines.methods import method_named, open_restorer
    from benchmarks.shipped import weights_named
    from gopro_tools.executors import named_executor
    from gopro_tools.records import jsonable
    from gopro_tools.restoring import RestoreConfig, restore
    from gopro_tools.shards import Shard

    part = Shard.parse(shard)
    found = method_named(method)
    weights = weights_named(found.name, weights)
    config = RestoreConfig(
        method=method,
        open_restorer=partial(open_restorer, method, weights and weights.absolute(), options),
        cost=cost_of,
        weights=weights,
        options=jsonable(options),
        code_sha256=found.code_sha256,
        scale=found.training_scale(weights),
        published_name=found.published_name or "",
        split=split,
        blur_kind=blur_kind,
        resume=resume,
        seed=options.seed,
        movies=movies,
    )
    with named_executor(executor) as given, progress_bar("images or frames", "Restoring") as bar:
        summary = restore(
            source, config, out=out, on_progress=bar.show, executor=given, shard=part
        ).summary
    for failure in summary.failures:
        stderr.print(f"failed: {failure}", style="red")
    stderr.print(
        f"{summary.n_restored} restored, {summary.n_kept} kept, {len(summary.failures)} failed in "
        f"{summary.seconds:.1f} s -> {out}"
    )
    if not summary.n_restored + summary.n_kept:
        raise InputError(f"{source}: none of its images could be restored.")
    return EXIT_FINDINGS if summary.failures else 0


if __name__ == "__main__":
    run_command(restore_command)
