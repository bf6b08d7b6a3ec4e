"""Blurring the photographs, and the dataset they become."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from gopro_tools import __version__, kernels
from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, SequenceName, Split
from gopro_tools.errors import InputError
from gopro_tools.files import claimed, natural_key, sha256_of_file, write_atomic
from gopro_tools.images import (
    IMAGE_SUFFIXES,
    Rgb,
    encode_png,
    find_files,
    no_images,
    other_kinds,
    pixel_hash,
    read_rgb,
)
from gopro_tools.response import Response
from gopro_tools.scenes.photographs import Lookalikes
from gopro_tools.seal import read_seal
from gopro_tools.synthesize_stills.config import StillsConfig
from gopro_tools.text import csv_text
from gopro_tools.threads import Progress, n_cores, no_progress, prefetched
from gopro_tools.video.stills import check_still

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
    notes: tuple[str, ...] = ()
    """What a person should know about the others, and about what was left out."""
    already_complete: bool = False
    """There was nothing to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """A photograph to blur."""

    source: str
    """Its path inside the folder of photographs."""
    path: Path
    sha256: str
    split: Split
    number: int
    """From 1 in its split."""


def synthesize_stills(
    config: StillsConfig, *, on_progress: Progress = no_progress
) -> StillsSummary:
    """Make the dataset. The same call gives the same pixels, and finishes an interrupted one.

    Args:
        config: What to make of which photographs.
        on_progress: Called with the number of photographs done and in total.

    Raises:
        InputError: No photograph can be used; OUT holds another dataset or is in use.
    """
    response = Response.named(config.response)
    photographs = _photographs(config)
    hashes = {source: _hash(path) for source, path in photographs.items()}
    identity = _identity(config, response, hashes)
    with claimed(config.out):
        found = _found_identity(config.out)
        if found == identity:
            made = json.loads((config.out / _DATASET_FILE).read_text(encoding="utf-8"))
            return StillsSummary(
                n_pairs=made["n_pairs"],
                failures=tuple(made["failures"]),
                notes=tuple(made.get("notes", ())),
                already_complete=True,
            )
        if found is not None and not config.overwrite:
            raise InputError(
                f"{config.out}: holds a dataset made with other settings; name another folder or "
                "pass --overwrite."
            )
        (config.out / _DATASET_FILE).unlink(missing_ok=True)
        rows_of: list[dict[str, Any]] = []
        messages: list[str] = []
        notes = _left_out(config)
        work = partial(_blur_photograph, config, response)
        jobs = _jobs(config, photographs, hashes)
        for index, result in enumerate(prefetched(work, jobs, n_threads=n_cores()), start=1):
            if isinstance(result, str):
                messages.append(result)
            else:
                rows, note = result
                rows_of += rows
                notes += [note] if note else []
            on_progress(index, len(jobs))
        if not rows_of:
            raise InputError(f"{config.photographs}: no photograph can be used. {messages[0]}")
        rows_of.sort(key=lambda row: (row["split"], row["sequence"], row["name"]))
        _remove_others(config.out, rows_of)
        write_atomic(config.out / _MANIFEST_FILE, csv_text(_COLUMNS, rows_of))
        write_atomic(config.out / "README.md", _card(config, len(rows_of)))
        description = {
            "made_by": f"gopro_tools {__version__}",
            "identity": identity,
            "n_pairs": len(rows_of),
            "failures": messages,
            "notes": notes,
        }
        write_atomic(config.out / _DATASET_FILE, json.dumps(description, indent=1) + "\n")
    return StillsSummary(n_pairs=len(rows_of), failures=tuple(messages), notes=tuple(notes))


def _photographs(config: StillsConfig) -> dict[str, Path]:
    """Files by their path inside the folder, in natural order."""
    folder = config.photographs
    if not folder.is_dir():
        raise InputError(f"{folder}: a folder of photographs was expected.")
    out = config.out.resolve()
    if folder.resolve().is_relative_to(out):
        raise InputError(f"--out {config.out}: holds the photographs; name another folder.")
    is_dataset = lru_cache(lambda inside: read_seal(folder / inside).is_ours)
    found = {
        inside.as_posix(): path
        for inside, path in find_files(folder, IMAGE_SUFFIXES, any_name=True).items()
        # Blurred images of datasets made earlier are not photographs.
        if not path.resolve().is_relative_to(out)
        and not any(is_dataset(parent) for parent in inside.parents[:-1])
    }
    if not found:
        raise no_images(folder)
    return {source: found[source] for source in sorted(found, key=natural_key)}


def _left_out(config: StillsConfig) -> list[str]:
    """A sentence on files that cannot be used as photographs, such as HEIC and raw files."""
    others = other_kinds(config.photographs, IMAGE_SUFFIXES)
    text = f"{config.photographs}: files of other kinds were left out ({', '.join(others)})"
    return [text] if others else []


def _identity(
    config: StillsConfig, response: Response, hashes: Mapping[str, str]
) -> dict[str, Any]:
    settings = asdict(config)
    for name in ("photographs", "out", "overwrite"):
        del settings[name]
    settings |= {"response": response.name, "response_hash": response.fingerprint}
    return {"config": settings, "sources": hashes}


def _hash(path: Path) -> str:
    try:
        return sha256_of_file(path) if path.is_file() else ""  # reading a pipe would wait for ever
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


def _jobs(
    config: StillsConfig, photographs: Mapping[str, Path], hashes: Mapping[str, str]
) -> list[_Job]:
    """Every photograph with its split; those that look alike share theirs."""
    groups = _groups(photographs) if config.test_fraction else {}
    counts: dict[Split, int] = {"train": 0, "test": 0}
    jobs: list[_Job] = []
    for source, path in photographs.items():
        drawn = f"{config.seed}:split:{hashes[groups.get(source, source)]}".encode()
        share = int(hashlib.sha256(drawn).hexdigest()[:13], 16) / 16.0**13
        split: Split = "test" if share < config.test_fraction else "train"
        counts[split] += 1
        jobs.append(
            _Job(source=source, path=path, sha256=hashes[source], split=split, number=counts[split])
        )
    return jobs


def _groups(photographs: Mapping[str, Path]) -> dict[str, str]:
    """The first photograph that each looks like; look-alikes must not end up in two splits."""

    def read(path: Path) -> Rgb | None:
        try:
            return read_rgb(path)
        except InputError:
            return None  # it is named when its turn comes

    known = Lookalikes()
    firsts: list[str] = []
    groups: dict[str, str] = {}
    images = prefetched(read, photographs.values(), n_threads=n_cores())
    for source, image in zip(photographs, images, strict=True):
        if image is None:
            continue
        group = known.group_of(image)
        firsts += [source] if group == len(firsts) else []
        groups[source] = firsts[group]
    return groups


def _blur_photograph(
    config: StillsConfig, response: Response, job: _Job
) -> tuple[list[dict[str, Any]], str] | str:
    """Write the pairs of one photograph; their rows and a note, or why it cannot be used."""
    path, split, number, source = job.path, job.split, job.number, job.source
    try:
        sharp = read_rgb(path)
        color = check_still(path, response)
    except InputError as error:
        return str(error)
    rows = []
    sequence = _sequence(config.legacy)
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
                "source_sha256": job.sha256,
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
    wide = f"{source}: its colours are those of {color.primaries}, and stay as they are"
    return rows, wide if color.primaries else ""


def _remove_others(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Remove images and kernels of an earlier or interrupted run that this one did not make."""
    kept = {(row["split"], row["sequence"], Path(row["name"]).stem) for row in rows}
    for sequence in map(_sequence, (False, True)):
        images = [(path, path.parents[2]) for path in out.glob(f"*/{sequence}/*/*.png")]
        others = [(p, p.parents[1]) for p in out.glob(f"{KERNEL_FOLDER}/*/{sequence}/*.npy")]
        for path, split in (*images, *others):
            if path.stem.isdigit() and (split.name, sequence, path.stem) not in kept:
                path.unlink()


def _sequence(legacy: bool) -> str:
    return str(SequenceName(stem="stills-legacy" if legacy else "stills", n_frames=1, clip=0))


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
