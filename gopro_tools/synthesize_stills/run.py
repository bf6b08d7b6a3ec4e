"""Blurring the photographs, and the dataset they become."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gopro_tools import __version__, kernels
from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, SequenceName, Split
from gopro_tools.errors import InputError
from gopro_tools.files import claimed, natural_key, sha256_of_file, write_atomic
from gopro_tools.images import IMAGE_SUFFIXES, Rgb, encode_png, no_images, pixel_hash, read_rgb
from gopro_tools.response import Response
from gopro_tools.synthesize_stills.config import StillsConfig
from gopro_tools.text import csv_text
from gopro_tools.threads import Progress, n_cores, no_progress, prefetched

KERNEL_FOLDER = "kernels"
"""``kernels/<split>/<sequence>/000001.npy``: what blurred ``<split>/<sequence>/*/000001.png``."""
_COLUMNS = (
    "split", "sequence", "name", "source", "source_sha256", "n_frames", "response", "height",
    "width", "path_px", "extent_px", "kernel_side", "hash_sharp", "hash_blur", "hash_blur_gamma",
)  # fmt: skip
_DATASET_FILE, _MANIFEST_FILE = "dataset.json", "manifest.csv"


@dataclass(frozen=True, kw_only=True)
class StillsSummary:
    """What a run made."""

    n_pairs: int
    failures: tuple[str, ...]
    """A message per photograph that could not be used."""
    already_complete: bool = False
    """There was nothing to do."""


def synthesize_stills(
    config: StillsConfig, *, on_progress: Progress = no_progress
) -> StillsSummary:
    """Make the dataset. The same call gives the same pixels, and finishes an interrupted one.

    Args:
        config: What to make of which photographs.
        on_progress: Called with photographs done and in all.

    Raises:
        InputError: No photograph can be used; OUT holds another dataset or is in use.
    """
    response = Response.named(config.response)
    paths = _photographs(config)
    identity = _identity(config, response, paths)
    splits = _splits(config, paths)
    with claimed(config.out):
        found = _found_identity(config.out)
        if found == identity:
            rows, failures = json.loads((config.out / _DATASET_FILE).read_text())["n_pairs"], ()
            return StillsSummary(n_pairs=rows, failures=failures, already_complete=True)
        if found is not None and not config.overwrite:
            raise InputError(
                f"{config.out}: holds a dataset made otherwise; name another folder or --overwrite."
            )
        (config.out / _DATASET_FILE).unlink(missing_ok=True)
        rows_of: list[dict[str, Any]] = []
        messages: list[str] = []
        work = partial(_blur_photograph, config, response)
        jobs = [(path, split, number) for path, (split, number) in zip(paths, splits, strict=True)]
        for index, result in enumerate(prefetched(work, jobs, n_threads=n_cores()), start=1):
            if isinstance(result, str):
                messages.append(result)
            else:
                rows_of += result
            on_progress(index, len(jobs))
        if not rows_of:
            raise InputError(f"{config.photographs}: no photograph can be used. {messages[0]}")
        rows_of.sort(key=lambda row: (row["split"], row["sequence"], row["name"]))
        write_atomic(config.out / _MANIFEST_FILE, csv_text(_COLUMNS, rows_of))
        write_atomic(config.out / "README.md", _card(config, len(rows_of)))
        description = {
            "made_by": f"gopro_tools {__version__}",
            "identity": identity,
            "n_pairs": len(rows_of),
            "failures": messages,
        }
        write_atomic(config.out / _DATASET_FILE, json.dumps(description, indent=1) + "\n")
    return StillsSummary(n_pairs=len(rows_of), failures=tuple(messages))


def _photographs(config: StillsConfig) -> list[Path]:
    if not config.photographs.is_dir():
        raise InputError(f"{config.photographs}: a folder of photographs was expected.")
    out = config.out.resolve()
    if config.photographs.resolve().is_relative_to(out):
        raise InputError(f"--out {config.out}: holds the photographs; name another folder.")
    paths = sorted(
        (
            path
            for path in config.photographs.rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.resolve().is_relative_to(out)
        ),
        key=lambda path: natural_key(path.relative_to(config.photographs).as_posix()),
    )
    if not paths:
        raise no_images(config.photographs)
    return paths


def _identity(config: StillsConfig, response: Response, paths: Sequence[Path]) -> dict[str, Any]:
    settings = asdict(config)
    for name in ("photographs", "out", "overwrite"):
        del settings[name]
    settings |= {"response": response.name, "response_hash": response.fingerprint}
    sources = {path.relative_to(config.photographs).as_posix(): _hash(path) for path in paths}
    return {"config": settings, "sources": sources}


def _hash(path: Path) -> str:
    try:
        return sha256_of_file(path)
    except OSError:
        return ""


def _found_identity(out: Path) -> Any:
    """Identity of the dataset there; None for an empty or unfinished folder."""
    try:
        return json.loads((out / _DATASET_FILE).read_text(encoding="utf-8")).get("identity", {})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _splits(config: StillsConfig, paths: Sequence[Path]) -> list[tuple[Split, int]]:
    """Split and number, from 1 in its split, of each photograph; equal files share their split."""
    drawn = [
        int(hashlib.sha256(f"{config.seed}:split:{_hash(path)}".encode()).hexdigest()[:13], 16)
        / 16.0**13
        for path in paths
    ]
    counts: dict[Split, int] = {"train": 0, "test": 0}
    splits: list[tuple[Split, int]] = []
    for share in drawn:
        split: Split = "test" if share < config.test_fraction else "train"
        counts[split] += 1
        splits.append((split, counts[split]))
    return splits


def _blur_photograph(
    config: StillsConfig, response: Response, job: tuple[Path, Split, int]
) -> list[dict[str, Any]] | str:
    """Write the pairs of one photograph and give their rows, or say why it cannot be used."""
    path, split, number = job
    source = path.relative_to(config.photographs).as_posix()
    try:
        sharp = read_rgb(path)
    except InputError as error:
        return str(error)
    rows = []
    sequence = str(
        SequenceName(stem="stills-legacy" if config.legacy else "stills", n_frames=1, clip=0)
    )
    for version in range(config.per_photograph):
        name = f"{(number - 1) * config.per_photograph + version + 1:06d}"
        seed = hashlib.sha256(f"{config.seed}:{source}:{version}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(seed[:16], "big"))
        walk = kernels.trajectory(rng, kernels.TrajectoryConfig(length_px=config.length_px))
        try:
            kernel, images = _blurred(sharp, walk, response, legacy=config.legacy, rng=rng)
        except ValueError as error:
            return f"{path}: {error}; use larger photographs or a smaller --length-px."
        for folder, image in images.items():
            target = config.out / split / sequence / folder / f"{name}.png"
            write_atomic(target, encode_png(image), durable=False)
        buffer = io.BytesIO()
        np.save(buffer, kernel)
        target = config.out / KERNEL_FOLDER / split / sequence / f"{name}.npy"
        write_atomic(target, buffer.getvalue(), durable=False)
        rows.append(
            {
                "split": split,
                "sequence": sequence,
                "name": f"{name}.png",
                "source": source,
                "source_sha256": _hash(path),
                "n_frames": 1,
                "response": response.name,
                "height": sharp.shape[0],
                "width": sharp.shape[1],
                "path_px": f"{kernels.length_px(walk):.3f}",
                "extent_px": f"{kernels.extent_px(walk):.3f}",
                "kernel_side": kernel.shape[0],
            }
            | {f"hash_{folder}": pixel_hash(image) for folder, image in images.items()}
        )
    return rows


def _blurred(
    sharp: Rgb,
    walk: kernels.Path2d,
    response: Response,
    *,
    legacy: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray[Any, Any], Mapping[str, Rgb]]:
    """The kernel, and the images by folder."""
    gamma, codes = BLUR_FOLDERS["gamma"], BLUR_FOLDERS["linear_crf"]
    if legacy:
        fraction = float(rng.choice(kernels.LEGACY_FRACTIONS))
        released = kernels.legacy_kernel(walk, fraction=fraction)
        blurred = kernels.legacy_blur(sharp, released)
        return released, {SHARP_FOLDER: sharp, gamma: blurred, codes: blurred}
    kernel = kernels.kernel_of(walk)
    return kernel, {
        SHARP_FOLDER: sharp,
        gamma: kernels.blur(sharp, kernel, response),
        codes: kernels.blur_codes(sharp, kernel),
    }


def _card(config: StillsConfig, n_pairs: int) -> str:
    how = (
        "The flaws of DeblurGAN's released code are kept (--legacy): code values, kernels scaled "
        "by their largest value and off-centre, contrast stretched."
        if config.legacy
        else "Kernels sum to 1 and have their centroid in their middle. `blur_gamma` was blurred "
        "in linear light, `blur` in code values."
    )
    return f"""# Photographs blurred by random motion, in the GOPRO_Large layout

{n_pairs} pairs. Each photograph was blurred with a kernel of random hand-held motion (Kupyn et al.,
"DeblurGAN", CVPR 2018: their Synth), {config.length_px:g} px of path. {how}

`{KERNEL_FOLDER}/` holds the kernel of each pair, `{_MANIFEST_FILE}` a row per pair: its photograph,
the length of the path (`path_px`) and how long the blur looks (`extent_px`: the largest distance
between two of its points). The whole image moves alike. DeblurGAN's Comb mixes such pairs with
pairs from video, two to one: copy the folders of `train/` beside those of a video dataset.
"""
