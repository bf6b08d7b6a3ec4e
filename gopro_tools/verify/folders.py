"""What shows without opening an image: names, partners, recordings, the manifest's rows."""

import csv
import os
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
)
from gopro_tools.files import natural_key
from gopro_tools.findings import Finding, Severity
from gopro_tools.images import IMAGE_SUFFIXES
from gopro_tools.text import plain_cell

KINDS = (SHARP_FOLDER, *BLUR_FOLDERS.values())
MANIFEST = "manifest.csv"

_FILE_NAME = re.compile(r"\d{6,}\.png")
_EXPECTED = "names such as 000001.png were expected"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSet:
    """The images of one moment: all kinds share a name."""

    root: Path
    split: str
    sequence: str
    name: str
    places: Mapping[str, Path]
    """Where the image of each kind lies."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are there."""
        return tuple(self.places)

    @property
    def key(self) -> tuple[str, str, str]:
        """Split, sequence and file name."""
        return self.split, self.sequence, self.name


@dataclass(slots=True)
class Listing:
    """The images of one sequence, by kind and by name without suffix; only folders there are."""

    names: dict[str, dict[str, Path]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def sets(self) -> dict[str, dict[str, Path]]:
        """File names in natural order, each with its images by kind."""
        found: dict[str, dict[str, Path]] = {}
        for stem in sorted(set().union(*self.names.values()), key=natural_key):
            there = {
                kind: self.names[kind][stem] for kind in KINDS if stem in self.names.get(kind, ())
            }
            found[next(iter(there.values())).name] = there
        return found


Key = tuple[str, str, str]
"""Split, sequence and file name."""
Manifest = Mapping[Key, Mapping[str, str]]
"""The rows of the manifest."""


def check_names(root: Path, sequences: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Folder names: unknown splits, sequences outside the grammar, no middle frame."""
    splits = {split for split, _ in sequences}
    for absent in SPLITS:
        if absent not in splits:
            yield Finding("info", "layout", f"there is no split {absent}")
    for entry in sorted(root.iterdir()):
        is_known = entry.name in SPLITS or entry.name in splits
        if entry.is_dir() and not is_known and not entry.name.startswith("."):
            message = f"folder {entry.name} is neither {' nor '.join(SPLITS)}: it is not checked"
            yield Finding("warning", "layout", message)
    for split in splits:
        for entry in sorted((root / split).iterdir()):
            if not entry.name.startswith(".") and not entry.is_dir():
                what = _dead_link(entry) or "it is not a folder of a sequence, so it is not checked"
                severity: Severity = "error" if entry.is_symlink() else "warning"
                yield Finding(severity, "layout", f"{entry.name}: {what}", split)
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
    """Recordings with clips in several splits."""
    clips: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
    for split, sequence in sequences:
        if parsed := SequenceName.parse(sequence):
            clips[parsed.recording].setdefault(split, []).append(sequence)
    for recording, by_split in clips.items():
        if len(by_split) > 1:
            where = "; ".join(f"{split}: {', '.join(names)}" for split, names in by_split.items())
            message = (
                f"recording {recording} is in {len(by_split)} splits ({where}): scores on "
                f"{_not_trained_on(by_split)} may be too good"
            )
            yield Finding("warning", "recording", message)


def _not_trained_on(splits: Iterable[str]) -> str:
    return " and ".join(split for split in splits if split.lower() != "train")


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


def list_images(root: Path, split: str, sequence: str) -> Listing:
    """The images of one sequence, and what else lies there."""
    listing = Listing()

    def report(severity: Severity, check: str, message: str) -> None:
        listing.findings.append(Finding(severity, check, message, split, sequence))

    folder = root / split / sequence
    if folder.is_symlink() and folder.resolve() in folder.absolute().parents:
        report("error", "layout", f"a link back to {folder.readlink()}, which holds it; remove it")
        return listing

    def entries(place: Path) -> list[Path]:
        try:
            return sorted(path for path in place.iterdir() if not path.name.startswith("."))
        except OSError as error:
            what = f"{place.relative_to(folder.parent)} cannot be looked into ({error.strerror})"
            report("error", "unreadable", what)
            return []

    foreign: dict[str, Path] = {}
    for entry in entries(folder):
        if entry.name == LATENT_FOLDER and entry.is_dir():
            continue
        if entry.name not in KINDS or not entry.is_dir():
            kinds = f"it is not one of the folders {', '.join(KINDS)}"
            report("warning", "layout", f"{entry.name}: {_dead_link(entry) or kinds}")
            continue
        names = listing.names.setdefault(entry.name, {})
        named: list[Path] = []
        misnamed: list[Path] = []
        for path in entries(entry):
            if _FILE_NAME.fullmatch(path.name) and not path.is_dir():
                named.append(path)
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                misnamed.append(path)
            else:
                report("warning", "layout", f"{entry.name}/{path.name} is not an image")
        if misnamed and not named:  # other names, under which they can still be checked
            named, misnamed = misnamed, []
            foreign[entry.name] = named[0]
        misnamed += [path for path in named if names.setdefault(path.stem, path) is not path]
        for path in misnamed:
            report("error", "name", f"{entry.name}/{path.name}: {_EXPECTED}; it is skipped")
    if foreign:
        found = ", ".join(f"{kind}/{path.name}" for kind, path in foreign.items())
        message = f"{_EXPECTED}, found {found}, which are checked under these names"
        if all(path.suffix == ".png" for path in foreign.values()):
            report("warning", "name", message)
        else:
            report("error", "name", f"{message}; training and gopro_tools.Pairs read only .png")
    if not listing.sets:
        report("error", "missing", "the sequence has no images")
    return listing


def _dead_link(path: Path) -> str:
    """What is wrong with a link that leads nowhere; empty for anything else."""
    if not path.is_symlink() or os.path.exists(path):  # noqa: PTH110 - Path's own may raise on loops
        return ""
    return f"a link to {path.readlink()}, which does not exist; repair or remove it"


def kinds_of_dataset(listings: Iterable[Listing], manifest: Manifest | None) -> tuple[str, ...]:
    """Sharp, and the blurred kinds that any sequence or manifest row has."""
    found = {SHARP_FOLDER}
    for listing in listings:
        found |= listing.names.keys()
    for row in (manifest or {}).values():
        found |= {kind for kind in KINDS if row.get(f"hash_{kind}")}
    return tuple(kind for kind in KINDS if kind in found)


def check_partners(
    split: str, sequence: str, listing: Listing, kinds: Iterable[str]
) -> Iterator[Finding]:
    """Images that another kind has and this one lacks."""
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
