"""Which sources are one recording, and which recordings are for testing.

What belongs together must never land in two splits: chapters of one recording (on several cards,
too), identical files, copies and takes that a system numbered, re-encoded copies of equal length.
"""

import fnmatch
import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from unicodedata import normalize

from gopro_tools.dataset import recording_of
from gopro_tools.errors import InputError

logger = logging.getLogger(__name__)

_SAME_LENGTH = 0.01
"""Two files with one name are one recording if their lengths differ by at most this share."""
_COPY = re.compile(
    r"(?P<base>.+?)(?:\s*\(\d+\)|[ _-]+copy(?:[ _-]*\(?\d+\)?)?|~\d+|(?P<numbered> \d))",
    flags=re.IGNORECASE,
)


_CHAPTER = re.compile(r"(GOPR|GP\d{2}|G[HXLS]\d{2})(\d{4})(?![0-9A-Za-z])", flags=re.IGNORECASE)
"""A GoPro's name, whatever was added to it: ``GX010123_1``, ``GH020123-trim``."""
_SAME_MOMENT = re.compile(
    r"(?:IMG_)E?(?P<photo>\d{4})|"  # an iPhone's edited copy has an E
    r"(?:VID|LRV|PRO_VID)_(?P<sphere>\d{8}_\d{6})_\d{2}_\d{3}|"  # Insta360: lenses and chapters
    r"DJI_(?P<flight>\d{14}_\d{4}|\d{4})(?:_\w)?(?:_\d{3})?",  # DJI: pieces of 4 GB
    flags=re.IGNORECASE,
)
_PART = re.compile(r"(?P<whole>.+?)[ ._-]*(?:part|pt|chapter)[ ._-]*\d+", flags=re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """What decides which recording a source belongs to."""

    name: str
    """Its real name, with folders."""
    stem: str
    """Its stem in the dataset, unique."""
    sha256: str
    n_frames: int
    duration_s: float


def recordings_of(members: Sequence[Member]) -> list[str]:
    """The name of each source's recording; equal names mean the same recording."""
    leader = list(range(len(members)))

    def find(i: int) -> int:
        while leader[i] != i:
            i = leader[i]
        return i

    def join(group: Iterable[int]) -> None:
        first, *others = group
        for other in others:
            leader[find(other)] = find(first)

    # macOS stores "é" as two characters.
    stems = [normalize("NFC", PurePosixPath(member.name).stem) for member in members]
    known = {
        (PurePosixPath(m.name).parent, s.casefold()) for m, s in zip(members, stems, strict=True)
    }
    by_key: dict[tuple[object, ...], list[int]] = defaultdict(list)
    by_base: dict[str, list[int]] = defaultdict(list)
    for i, (member, stem) in enumerate(zip(members, stems, strict=True)):
        folder = PurePosixPath(member.name).parent
        base = _without_copy_mark(stem, folder, known)
        if member.sha256:
            by_key["hash", member.sha256].append(i)
        if match := _CHAPTER.match(base):
            by_key["camera", match[2]].append(i)
        if match := _SAME_MOMENT.fullmatch(base):
            by_key["moment", str(folder), match[match.lastgroup or 0]].append(i)
        if match := _PART.fullmatch(base):
            by_key["part", str(folder), match["whole"].casefold()].append(i)
        by_key["name", str(folder), base.casefold()].append(i)
        by_base[base.casefold()].append(i)
    for group in by_key.values():
        join(group)
    for base, group in by_base.items():
        # "walk_h265" and "walk" of equal length are one recording, encoded twice.
        shorter = [base[: at.start()] for at in re.finditer(r"[ ._-]", base)]
        alike = [*group, *(i for name in shorter for i in by_base.get(name, ()))]
        for i in group:
            join([i, *(j for j in alike if j != i and _same_length(members[i], members[j]))])
    names: dict[int, str] = {}
    for i in sorted(range(len(members)), key=lambda i: (len(members[i].stem), members[i].stem)):
        names.setdefault(find(i), _group_name(members[i], stems[i]))
    return [names[find(i)] for i in range(len(members))]


def _group_name(member: Member, stem: str) -> str:
    """A GoPro recording is named by its number, any other by its shortest stem."""
    match = _CHAPTER.match(stem)
    return f"GOPR{match[2]}" if match else recording_of(member.stem)


def _without_copy_mark(
    stem: str, folder: PurePosixPath, known: set[tuple[PurePosixPath, str]]
) -> str:
    """``IMG_0005`` of ``IMG_0005 (1)``, ``IMG_0005 copy 2``, ``Copy of IMG_0005``."""
    stem = re.sub(r"^copy (?:\(\d+\) )?of ", "", stem, flags=re.IGNORECASE)
    match = _COPY.fullmatch(stem)
    if match is None:
        return stem
    base = _without_copy_mark(match["base"], folder, known)
    there = (folder, base.casefold()) in known
    # "walk (1)", "walk (2)" come from renaming many files at once: separate recordings.
    if there or (base[-1:].isdigit() and match["numbered"] is None):
        return base
    return stem


def _same_length(one: Member, other: Member) -> bool:
    longest = max(one.duration_s, other.duration_s)
    return abs(one.duration_s - other.duration_s) <= _SAME_LENGTH * longest


def choose_for_test(
    recordings: Sequence[str], *, fraction: float, patterns: Sequence[str], seed: int
) -> set[str]:
    """Recordings that go to test/.

    Raises:
        InputError: A pattern matches no recording.
    """
    distinct = sorted(set(recordings))
    if patterns:
        return _named(distinct, patterns)
    if fraction == 0 or not distinct:
        return set()
    if len(distinct) == 1:
        logger.warning("Only one recording: it all goes to train/, as splits share no recording.")
        return set()
    ranked = sorted(distinct, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    n_test = min(max(round(fraction * len(distinct)), 1), len(distinct) - 1)
    return set(ranked[:n_test])


def _named(recordings: Sequence[str], patterns: Sequence[str]) -> set[str]:
    named = {pattern: fnmatch.filter(recordings, pattern) for pattern in patterns}
    if unmatched := [pattern for pattern, found in named.items() if not found]:
        # A typo would train on what was meant for testing.
        raise InputError(
            f"--test-recordings {' '.join(unmatched)}: no usable recording of that name; there are "
            f"{', '.join(recordings)}."
        )
    return {name for found in named.values() for name in found}
