"""The GOPRO_Large layout on disk: names, numbering, splits and pairs.

``ROOT/{train,test}/<stem>_<MM>_<ZZ>/{sharp,blur,blur_gamma}/NNNNNN.png``, one six-digit name for
all three kinds (Nah et al., CVPR 2017). ``MM`` frames make one exposure; ``ZZ`` counts the clips of
a recording.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from gopro_tools.errors import InputError
from gopro_tools.files import natural_key

Split = Literal["train", "test"]
BlurKind = Literal["gamma", "linear_crf", "real"]

GOPRO_LARGE = "GOPRO_Large"
"""The dataset of Nah et al. by the name it has in tables."""
SPLITS: tuple[Split, ...] = ("train", "test")
VALIDATION = ("val", "valid", "validation")
"""Names of the split that other datasets choose among trained networks on."""
MANIFEST_FILE = "manifest.csv"
"""In a dataset: one row per pair."""
SHARP_FOLDER = "sharp"
BLUR_FOLDERS: Mapping[BlurKind, str] = MappingProxyType(
    {"gamma": "blur_gamma", "linear_crf": "blur", "real": "blur_real"}
)
"""``gamma``: averaged in linear light, the paper's input. ``linear_crf``: the plain mean of code
values, which the folder name hides; most work since 2018 uses it. Their PSNR differ by 0.6-0.8 dB,
so no table mixes them. ``real``: with a sensor's saturation, noise, processing or rolling shutter;
``dataset.json`` says which."""

LATENT_FOLDER = "latent"
"""``<sequence>/latent/000001/000.png`` ...: the frames that were averaged, in time order, where a
dataset keeps them."""


def is_of_another_split(name: str, split: Split) -> bool:
    """Whether a path below a dataset, with forward slashes, lies in a split that is not wanted."""
    folder, slash, _ = name.partition("/")
    return bool(slash) and folder in SPLITS and folder != split


def is_image_of_another_split(name: str, split: Split) -> bool:
    """The same where the path may be below a folder of another kind, which has no splits."""
    kinds = {SHARP_FOLDER, *BLUR_FOLDERS.values()}
    return is_of_another_split(name, split) and not kinds.isdisjoint(name.split("/")[:-1])


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceName:
    """A folder name ``<stem>_<MM>_<ZZ>`` taken apart."""

    stem: str
    n_frames: int
    """Frames averaged into one blurred image (MM)."""
    clip: int
    """Which clip of the recording (ZZ)."""

    def __str__(self) -> str:
        """The folder name, at least two digits a number."""
        return f"{self.stem}_{self.n_frames:02d}_{self.clip:02d}"

    @classmethod
    def parse(cls, name: str) -> "SequenceName | None":
        """Take a folder name apart; None where it does not follow the grammar."""
        match = re.fullmatch(r"(.+)_(\d{2,})_(\d{2,})", name)
        if match is None:
            return None
        return cls(stem=match[1], n_frames=int(match[2]), clip=int(match[3]))

    @property
    def recording(self) -> str:
        """The recording the clip was cut from; no recording may be in both splits."""
        return recording_of(self.stem)


def recording_of(stem: str) -> str:
    """Name of the recording that a video file is a part of.

    GoPro cameras cut a long recording into chapter files whose last four digits agree:
    ``GOPR0123, GP010123, GP020123`` and ``GH010123, GH020123, GX...``. They are one recording.
    """
    chapter = re.fullmatch(r"(?:GOPR|GP\d{2}|G[HXLS]\d{2})(\d{4})", stem, flags=re.IGNORECASE)
    return f"GOPR{chapter[1]}" if chapter else stem


def middle_frame_number(blur_number: int, *, n_frames: int, stride: int, clip: int) -> int:
    """GOPRO's rule: which source frame (from 1) is the sharp one of a blurred image.

    ``(b - 1) * M + (M + 1) / 2 - ZZ``, which holds for all 3,214 images of GOPRO_Large but those of
    GOPR0378_13_00. ``stride`` takes the place of the first M where windows do not touch.
    """
    return (blur_number - 1) * stride + (n_frames + 1) // 2 - clip


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One sharp image and its blurred partner."""

    root: Path
    split: Split
    sequence: str
    name: str
    """File name without folder, such as ``000001.png``."""

    def path(self, folder: str) -> Path:
        """Where the image of a kind lies: ``folder`` is sharp, blur or blur_gamma."""
        return self.root.joinpath(self.split, self.sequence, folder, self.name)


def sequences_of(root: Path, split: str) -> list[str]:
    """Names of the sequence folders of a split, in natural order; empty where there is no split.

    Raises:
        InputError: The split cannot be looked into.
    """
    names = (entry.name for entry in _entries(root / split) if entry.is_dir())
    return sorted(names, key=natural_key)


def iterate_pairs(root: Path, split: Split, blur_kind: BlurKind) -> Iterator[Pair]:
    """Pairs of one split in order.

    Raises:
        InputError: The split is missing or empty, or images lack their partner (all are listed).
    """
    if blur_kind not in BLUR_FOLDERS:
        raise InputError(f"blur_kind {blur_kind!r}: expected one of {', '.join(BLUR_FOLDERS)}.")
    sequences = sequences_of(root, split)
    if not sequences:
        raise InputError(
            f"{root / split}: no sequences there; a dataset in the GOPRO layout was expected "
            f"({split}/<sequence>/sharp/000001.png)."
        )
    unpaired: list[str] = []
    pairs: list[Pair] = []
    for sequence in sequences:
        folder = root / split / sequence
        sharp, blurred = (
            _png_names(folder / kind) for kind in (SHARP_FOLDER, BLUR_FOLDERS[blur_kind])
        )
        unpaired += [f"{split}/{sequence}/{name}" for name in sorted(sharp ^ blurred)]
        pairs += [
            Pair(root=root, split=split, sequence=sequence, name=name)
            for name in sorted(sharp & blurred, key=natural_key)
        ]
    if unpaired:
        listed = ", ".join(unpaired[:20]) + (", ..." if len(unpaired) > 20 else "")
        raise InputError(
            f"{root}: {len(unpaired)} image(s) are in only one of {SHARP_FOLDER} and "
            f"{BLUR_FOLDERS[blur_kind]}: {listed}. `python -m gopro_tools.verify {root}` says more."
        )
    if not pairs:
        raise InputError(
            f"{root / split}: no PNG images in the folders {SHARP_FOLDER} and "
            f"{BLUR_FOLDERS[blur_kind]} of its sequences."
        )
    yield from pairs


def family_of(images: Iterable[tuple[str, str]]) -> str:
    """The public dataset that images are from, by their names; an empty string for any other.

    Args:
        images: Sequence and file name of each; all have to be images of that dataset.
    """
    ours = set(images)
    return GOPRO_LARGE if ours and ours <= _gopro_large_images() else ""


@lru_cache(maxsize=1)
def _gopro_large_images() -> frozenset[tuple[str, str]]:
    return frozenset(
        (row["sequence"], f"{number:06d}.png")
        for row in gopro_large_rows()
        for number in range(int(row["first_image"]), int(row["last_image"]) + 1)
    )


def gopro_large_rows() -> list[dict[str, str]]:
    """The 33 sequences of GOPRO_Large, as ``gopro_large/sequences.csv`` lists them."""
    path = Path(__file__).with_name("gopro_large") / "sequences.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _png_names(folder: Path) -> set[str]:
    return {path.name for path in _entries(folder) if path.suffix == ".png"}


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, but for what is hidden, as the ``._`` files of a Mac are."""
    try:
        found = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{folder}: cannot be looked into ({error.strerror}).") from error
    return [entry for entry in found if not entry.name.startswith(".")]
