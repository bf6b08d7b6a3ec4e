"""What an export holds: one sample per pair, or per crop of a pair, under its name there."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gopro_tools.dataset import (
    BLUR_FOLDERS,
    SHARP_FOLDER,
    SPLITS,
    BlurKind,
    Pair,
    Split,
    iterate_pairs,
    sequences_of,
)
from gopro_tools.errors import InputError
from gopro_tools.export.config import ExportConfig, Format
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.text import size_text

# BasicSR's meta_info.txt and WebDataset end a name at its first dot.
_KEYS_END_AT_A_DOT: frozenset[Format] = frozenset({"lmdb", "webdataset"})

_LONGEST_NAME_BYTES = 200  # file systems allow 255, and formats append to it


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One pair, or one crop of it."""

    pair: Pair
    key: str
    """Its name in the export, without suffix: unique within the split."""
    corner: tuple[int, int] | None = None
    """Top and left of the crop, in pixels; None for a whole image."""

    @property
    def split(self) -> Split:
        """The split it belongs to, in the dataset and in the export."""
        return self.pair.split


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """PNG files of one sample."""

    size_hw: tuple[int, int]
    blurred: bytes
    sharp: bytes


def blur_kind_of(dataset: Path, asked: BlurKind | None) -> BlurKind:
    """The kind to export.

    Raises:
        InputError: None was asked for, and the dataset has both or neither.
    """
    folders = {
        folder.name
        for split in SPLITS
        for sequence in sequences_of(dataset, split)
        for folder in (dataset / split / sequence).iterdir()
    }
    if not folders:
        raise _no_dataset(dataset)
    kinds = [kind for kind, folder in BLUR_FOLDERS.items() if folder in folders]
    found = " and ".join(BLUR_FOLDERS[kind] for kind in kinds) or "no blurred images"
    if asked and asked not in kinds:
        raise InputError(
            f"--blur-kind {asked}: {dataset} has no {BLUR_FOLDERS[asked]}, but {found}."
        )
    if asked:
        return asked
    if len(kinds) != 1:
        raise InputError(
            f"{dataset}: found {found}; say which kind to export with --blur-kind "
            f"{' or '.join(BLUR_FOLDERS)}."
        )
    return kinds[0]


def samples_of(
    dataset: Path, config: ExportConfig, kind: BlurKind
) -> tuple[list[Sample], list[str]]:
    """Every sample of an export, in order.

    Returns:
        The samples, and for each pair left out, the reason.

    Raises:
        InputError: A split has no pair to export, or names collide or are too long.
    """
    splits = [split for split in SPLITS if sequences_of(dataset, split)]
    if not splits:
        raise _no_dataset(dataset)
    samples: list[Sample] = []
    left_out: list[str] = []
    for split in splits:
        crop_px = config.cut_px if split == "train" else 0
        for pair in iterate_pairs(dataset, split, kind):
            try:
                samples += _cut(pair, _key_of(pair, config.to), crop_px, config.crop_step_px)
            except InputError as error:
                left_out.append(str(error))
        if not any(sample.split == split for sample in samples):
            raise InputError(f"{dataset}: no pair of {split} can be exported: {left_out[-1]}")
    _check_keys(dataset, samples)
    return samples, left_out


def _no_dataset(folder: Path) -> InputError:
    return InputError(
        f"{folder}: no dataset in the GOPRO layout there; folders such as "
        f"train/GOPR0372_07_00/{SHARP_FOLDER} were expected."
    )


def _key_of(pair: Pair, to: Format) -> str:
    key = f"{pair.sequence}-{Path(pair.name).stem}"
    if to in _KEYS_END_AT_A_DOT:
        key = key.replace(".", "_")
    if to == "lmdb" and not key.isascii():
        raise InputError(
            f"{pair.path(SHARP_FOLDER)}: BasicSR reads names of ASCII letters only; rename "
            f"the sequence {pair.sequence!r}, or choose another format."
        )
    return key


def _cut(pair: Pair, key: str, crop_px: int, step_px: int) -> Iterator[Sample]:
    if not crop_px:
        yield Sample(pair=pair, key=key)
        return
    height, width = _size_hw(pair)
    if min(height, width) < crop_px:
        raise InputError(
            f"{pair.path(SHARP_FOLDER)}: {size_text((height, width))} is smaller than a crop of "
            f"{crop_px}x{crop_px}; choose a smaller --crop-px, or 0 for whole images."
        )
    corners = [
        (top, left)
        for top in _positions(height, crop_px, step_px)
        for left in _positions(width, crop_px, step_px)
    ]
    for number, corner in enumerate(corners, start=1):
        yield Sample(pair=pair, key=f"{key}_s{number:03d}", corner=corner)


def _positions(length: int, crop_px: int, step_px: int) -> list[int]:
    """Where crops begin along one side: every step, and one more that ends at the border."""
    positions = list(range(0, length - crop_px + 1, step_px))
    if positions[-1] + crop_px < length:
        positions.append(length - crop_px)
    return positions


def _size_hw(pair: Pair) -> tuple[int, int]:
    """From the PNG header: thousands of images need not be decoded to plan their crops."""
    path = pair.path(SHARP_FOLDER)
    try:
        with path.open("rb") as file:
            header = file.read(24)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    if len(header) < 24 or header[:8] != b"\x89PNG\r\n\x1a\n":
        raise InputError(
            f"{path}: not a PNG file. Repair or remove the pair; `python -m gopro_tools.verify "
            f"{pair.root}` lists all such images."
        )
    return int.from_bytes(header[20:24], "big"), int.from_bytes(header[16:20], "big")


def _check_keys(dataset: Path, samples: Sequence[Sample]) -> None:
    counts = Counter((sample.split, sample.key) for sample in samples)
    if twice := [key for (_, key), count in counts.items() if count > 1]:
        raise InputError(
            f"{dataset}: {len(twice)} pair(s) would share a name in the export, {twice[0]} the "
            "first; rename a sequence."
        )
    for sample in samples:
        if len(os.fsencode(sample.key)) > _LONGEST_NAME_BYTES:
            raise InputError(
                f"{sample.pair.path(SHARP_FOLDER)}: {sample.key!r} would be its name in the "
                f"export, longer than {_LONGEST_NAME_BYTES} bytes; shorten the sequence's name."
            )


def pixels_of(sample: Sample, folder: str, crop_px: int) -> Rgb:
    """What the dataset holds for a sample: (H, W, 3) uint8 from the named kind's folder.

    Raises:
        InputError: The image cannot be read, or is smaller than its partner's header says.
    """
    path = sample.pair.path(folder)
    image = read_rgb(path)
    if sample.corner is None:
        return image
    top, left = sample.corner
    crop = image[top : top + crop_px, left : left + crop_px]
    if crop.shape[:2] != (crop_px, crop_px):
        raise InputError(
            f"{path}: {size_text(image.shape)}, which is smaller than its partner; partners have "
            "one size."
        )
    return crop


def images_of(sample: Sample, kind: BlurKind, crop_px: int) -> Images:
    """The PNG files of a sample: the dataset's own bytes, or crops encoded anew.

    Raises:
        InputError: An image cannot be read, or partners differ in size.
    """
    blurred, sharp = (
        pixels_of(sample, folder, crop_px) for folder in (BLUR_FOLDERS[kind], SHARP_FOLDER)
    )
    if blurred.shape != sharp.shape:
        raise InputError(
            f"{sample.pair.path(BLUR_FOLDERS[kind])}: {size_text(blurred.shape)}, but its sharp "
            f"partner is {size_text(sharp.shape)}; partners have one size."
        )
    size_hw = (sharp.shape[0], sharp.shape[1])
    if sample.corner is not None:
        return Images(size_hw=size_hw, blurred=encode_png(blurred), sharp=encode_png(sharp))
    blurred_bytes, sharp_bytes = (
        sample.pair.path(folder).read_bytes() for folder in (BLUR_FOLDERS[kind], SHARP_FOLDER)
    )
    return Images(size_hw=size_hw, blurred=blurred_bytes, sharp=sharp_bytes)
