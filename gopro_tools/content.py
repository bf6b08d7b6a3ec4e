"""What images a run used: their identity by their pixels, whatever files are called."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from gopro_tools.dataset import (
    BLUR_FOLDERS,
    SHARP_FOLDER,
    BlurKind,
    Split,
    family_of,
    iterate_pairs,
)
from gopro_tools.errors import InputError
from gopro_tools.records import hash_of
from gopro_tools.text import size_text
from gopro_tools.threads import thread_pool


def dataset_facts(root: Path, split: Split, blur_kind: BlurKind) -> dict[str, Any]:
    """Which images a run used: every image of the split is read and hashed.

    Returns:
        ``name`` (the folder's), ``split, blur_kind``, and what `content_facts` gives.

    Raises:
        InputError: The split is missing, empty or unpaired, or images cannot be read.
    """
    pairs = list(iterate_pairs(root, split, blur_kind))
    kinds = (SHARP_FOLDER, BLUR_FOLDERS[blur_kind])
    paths = [pair.path(kind) for kind in kinds for pair in pairs]
    with thread_pool() as pool:
        hashed = list(pool.map(_hashed_file, paths))
    n = len(pairs)
    return {
        "name": root.resolve().name,
        "split": split,
        "blur_kind": blur_kind,
        **content_facts(
            [digest for digest, _ in hashed[:n]],
            [digest for digest, _ in hashed[n:]],
            {size for _, size in hashed},
            [(pair.sequence, pair.name) for pair in pairs],
        ),
    }


def image_facts(paths: Sequence[Path]) -> dict[str, Any]:
    """Which blurred images a run used that are not of a dataset: every one is read and hashed.

    Returns:
        ``n_pairs`` (their number), ``resolution`` and ``blurred_sha256``, as `content_facts`.

    Raises:
        InputError: One cannot be read.
    """
    with thread_pool() as pool:
        hashed = list(pool.map(_hashed_file, paths))
    digests = [digest for digest, _ in hashed]
    names = [(path.parent.name, path.name) for path in paths]
    facts = content_facts(digests, digests, {size for _, size in hashed}, names)
    return {name: facts[name] for name in ("n_pairs", "resolution", "blurred_sha256")}


def pixel_hashes(images: Iterable[tuple[Path, Path]]) -> dict[str, str]:
    """Pixel hash of each image, by the path of its result; those that cannot be read are left out.

    Args:
        images: Paths of images, each with the path of its result.
    """

    def hashed(path: Path) -> str | None:
        try:
            return _hashed_file(path)[0]
        except (InputError, OSError):
            return None

    paths = dict(images)
    with thread_pool() as pool:
        found = zip(paths.values(), pool.map(hashed, paths), strict=True)
        return {result.as_posix(): digest for result, digest in found if digest is not None}


def content_facts(
    sharp: Sequence[str],
    blurred: Sequence[str],
    sizes_hw: Iterable[tuple[int, int]],
    names: Iterable[tuple[str, str]],
) -> dict[str, Any]:
    """Identity of a set of pairs: by their pixels, whatever files and folders are called.

    Args:
        sharp: `gopro_tools.images.pixel_hash` of each sharp image.
        blurred: Of each blurred image, in the same order.
        sizes_hw: Height and width of the images.
        names: Sequence and file name of each image.

    Returns:
        ``n_pairs``; ``resolution``: ``1280x720`` or ``mixed``; ``content_sha256``, equal for two
        sets of pairs if all their pixels are; ``blurred_sha256``, that of the blurred images alone;
        ``family``: the public dataset the images are from, or an empty string.
    """
    sizes = {size_text(size) for size in sizes_hw}
    return {
        "n_pairs": len(sharp),
        "resolution": sizes.pop() if len(sizes) == 1 else "mixed",
        "content_sha256": hash_of(sorted(zip(sharp, blurred, strict=True))),
        "blurred_sha256": images_hash(blurred),
        "family": family_of(names),
    }


def images_hash(pixel_hashes: Iterable[str]) -> str:
    """Identity of a set of images by their pixels; their order and names do not count."""
    return hash_of(sorted(pixel_hashes))


def _hashed_file(path: Path) -> tuple[str, tuple[int, int]]:
    facts = path.stat()
    return _hashed(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _hashed(path: Path, _size: int, _modified_ns: int) -> tuple[str, tuple[int, int]]:
    """Pixel hash and size of an image; a process that asks again does not read it again."""
    from gopro_tools.images import pixel_hash, read_rgb

    image = read_rgb(path)
    return pixel_hash(image), (image.shape[0], image.shape[1])
