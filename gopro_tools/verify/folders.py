"""What shows without opening an image: names, partners, recordings, the manifest's rows."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gopro_tools.dataset import (
    BLUR_FOLDERS,
    LATENT_FOLDER,
    SHARP_FOLDER,
    SPLITS,
    SequenceName,
    Split,
)
from gopro_tools.files import natural_key
from gopro_tools.findings import Finding, Severity
from gopro_tools.images import IMAGE_SUFFIXES
from gopro_tools.text import plain_cell

KINDS = (SHARP_FOLDER, *BLUR_FOLDERS.values())
MANIFEST = "manifest.csv"

_FILE_NAME = re.compile(r"\d{6,}\.png")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSet:
    """The images of one moment: all kinds share a name."""

    root: Path
    split: str
    sequence: str
    name: str
    kinds: tuple[str, ...]
    places: Mapping[str, Path] | None = None
    """Where the image of each kind lies, in another layout than GOPRO's."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Split, sequence and file name."""
        return self.split, self.sequence, self.name

    def path(self, kind: str) -> Path:
        """Where the image of a kind lies."""
        if self.places is not None:
            return self.places[kind]
        return self.root.joinpath(self.split, self.sequence, kind, self.name)


@dataclass(slots=True)
class Listing:
    """File names in one sequence, by kind; only folders that are there."""

    names: dict[str, set[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def sets(self) -> dict[str, tuple[str, ...]]:
        """Kinds of each name, in natural order."""
        everything = sorted(set().union(*self.names.values()), key=natural_key)
        return {
            name: tuple(kind for kind in KINDS if name in self.names.get(kind, ()))
            for name in everything
        }


Key = tuple[str, str, str]
"""Split, sequence and file name."""
Manifest = Mapping[Key, Mapping[str, str]]
"""The rows of the manifest."""


def check_names(root: Path, sequences: Iterable[tuple[Split, str]]) -> Iterator[Finding]:
    """Folder names: unknown splits, sequences outside the grammar, no middle frame."""
    splits = {split for split, _ in sequences}
    for split in SPLITS:
        if split not in splits:
            yield Finding("info", "layout", f"there is no split {split}")
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and entry.name not in SPLITS and not entry.name.startswith("."):
            message = f"folder {entry.name} is neither {' nor '.join(SPLITS)}: no loader reads it"
            yield Finding("warning", "layout", message)
    for split, sequence in sequences:
        parsed = SequenceName.parse(sequence)
        if parsed is None:
            message = (
                "the folder name is not <stem>_<MM>_<ZZ> (frames averaged, number of the clip), "
                "such as GOPR0372_07_00"
            )
            yield Finding("error", "name", message, split, sequence)
        elif parsed.n_frames % 2 == 0:
            message = f"{parsed.n_frames} frames averaged have no middle one; M must be odd"
            yield Finding("warning", "name", message, split, sequence)


def check_recordings(sequences: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Recordings with clips in both splits."""
    clips: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
    for split, sequence in sequences:
        if parsed := SequenceName.parse(sequence):
            clips[parsed.recording].setdefault(split, []).append(sequence)
    for recording, by_split in clips.items():
        if len(by_split) > 1:
            where = "; ".join(f"{split}: {', '.join(names)}" for split, names in by_split.items())
            message = (
                f"recording {recording} is in both splits ({where}): scores on test may be too good"
            )
            yield Finding("warning", "recording", message)


def read_manifest(root: Path) -> tuple[Manifest | None, list[Finding]]:
    """The manifest, None if there is none or it is unreadable, and what is wrong with it."""
    path = root / MANIFEST
    if not path.is_file():
        return None, []
    problem = ""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            columns = set(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problem = str(error)
    else:
        if absent := {"split", "sequence", "name"} - columns:
            problem = f"no column {', '.join(sorted(absent))}"
        elif any(None in row or None in row.values() for row in rows):
            problem = "a row has more or fewer cells than the header"
    if problem:
        message = f"{MANIFEST} is unreadable ({problem}), so hashes were not checked"
        return None, [Finding("error", "manifest", message)]
    manifest: dict[Key, dict[str, str]] = {}
    findings: list[Finding] = []
    for row in rows:
        key = (row["split"], plain_cell(row["sequence"]), plain_cell(row["name"]))
        if key in manifest:
            findings.append(Finding("error", "manifest", f"{MANIFEST} has it more than once", *key))
        manifest[key] = row
    return manifest, findings


def list_images(root: Path, split: Split, sequence: str) -> Listing:
    """The images of one sequence, and what else lies there."""
    listing = Listing()

    def report(severity: Severity, check: str, message: str) -> None:
        listing.findings.append(Finding(severity, check, message, split, sequence))

    for entry in sorted((root / split / sequence).iterdir()):
        if entry.name.startswith(".") or (entry.name == LATENT_FOLDER and entry.is_dir()):
            continue
        if entry.name not in KINDS or not entry.is_dir():
            report("warning", "layout", f"{entry.name} is none of the folders {', '.join(KINDS)}")
            continue
        names = listing.names.setdefault(entry.name, set())
        for path in sorted(entry.iterdir()):
            if path.name.startswith("."):
                continue
            if _FILE_NAME.fullmatch(path.name) and path.is_file():
                names.add(path.name)
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                message = f"{entry.name}/{path.name}: images are named as 000001.png; it is skipped"
                report("error", "name", message)
            else:
                report("warning", "layout", f"{entry.name}/{path.name} is not an image")
    if not listing.sets:
        report("error", "missing", "the sequence has no images")
    return listing


def kinds_of_dataset(listings: Iterable[Listing], manifest: Manifest | None) -> tuple[str, ...]:
    """Sharp, and the blurred kinds that any sequence or manifest row has."""
    found = {SHARP_FOLDER}
    for listing in listings:
        found |= listing.names.keys()
    for row in (manifest or {}).values():
        found |= {kind for kind in KINDS if row.get(f"hash_{kind}")}
    return tuple(kind for kind in KINDS if kind in found)


def check_partners(
    split: Split, sequence: str, listing: Listing, kinds: Iterable[str]
) -> Iterator[Finding]:
    """Images that another kind has and this one has not."""
    for kind in kinds if listing.sets else ():
        if not listing.names.get(kind):
            message = f"{kind} has none of the {len(listing.sets)} images"
            yield Finding("error", "missing", message, split, sequence)
            continue
        for name, there in listing.sets.items():
            if kind not in there:
                message = f"{kind}/{name} is missing; {', '.join(there)} has it"
                yield Finding("error", "missing", message, split, sequence, name)


def check_manifest_rows(manifest: Manifest | None, images: Iterable[ImageSet]) -> Iterator[Finding]:
    """Rows without an image, images without a row."""
    if manifest is None:
        return
    there = {image.key for image in images}
    for key in manifest.keys() - there:
        yield Finding("error", "manifest", f"{MANIFEST} has it, but there is no image", *key)
    for key in there - manifest.keys():
        yield Finding("error", "manifest", f"the image is not in {MANIFEST}", *key)
