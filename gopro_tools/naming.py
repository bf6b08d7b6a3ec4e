"""Which result belongs to which image, when a program named its results its own way.

Every program of this field names its results differently: ``<sequence>-<number>.png`` in one
folder, ``<name>_<network>.png``, ``<sequence>/blur_gamma/<number>.png``, another suffix. All of
these identify the image, so they pair without renaming. What does not (a number that several
sequences have, a folder of another sequence) pairs with nothing: a wrong pair would look like a bad
method.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from gopro_tools.errors import InputError
from gopro_tools.files import natural_key

SHARP_WORDS = frozenset(
    {"sharp", "gt", "target", "groundtruth", "ground_truth", "clean", "clear", "latent", "hq"}
)
"""Names of folders with sharp images, in lower case."""
BLURRED_WORDS = frozenset(
    {
        "blur", "blur_gamma", "blur_real", "blurred", "blurry", "input", "lq", "real_blur",
        "degraded", "gt_blurred", "source",
    }
)  # fmt: skip
"""Names of folders with blurred images, in lower case."""

_KIND_WORDS = SHARP_WORDS | BLURRED_WORDS | {"gamma", "real"}

_COMPANIONS = (
    "gt", "sharp", "target", "real_a", "real_b", "lq", "input", "blur", "blurred", "blurry",
    "label", "in", "source", "ground_truth", "original",
)  # fmt: skip
"""Name endings under which programs store the input or the ground truth beside a result."""

_RESULT_PREFIXES = frozenset(
    {"deblurred", "deblur", "restored", "out", "output", "result", "pred", "prediction", "fake",
     "test", "img", "image", "frame", "est"}
)  # fmt: skip
"""Words that programs put before the name of an image; others may name a sequence."""

_NUMBERED = re.compile(r"(.*?)_?(\d{1,18})")
_WORD = re.compile(r"[^\W\d_]+[-_. ]?")

_Canonical = Callable[[PurePosixPath], str]


@dataclass(frozen=True, kw_only=True)
class Match:
    """The files of one method, by the image they belong to."""

    paths: Mapping[PurePosixPath, Path]
    """By key, of those that were asked for."""
    extra: tuple[PurePosixPath, ...]
    """Files that belong to no image."""
    note: str = ""
    """How names were matched where they are not the same; empty where they are."""


@dataclass(frozen=True, kw_only=True)
class _Way:
    """A way to compare names."""

    note: str
    """What it ignores, in words."""
    of_key: _Canonical
    of_file: _Canonical
    takes_numbers: bool = False
    """Whether what follows an image's name may be a number (of the training step, say)."""
    takes_any_end: bool = False
    """Whether what follows may differ from file to file (a score, say)."""
    only_complete: bool = False
    """Whether it counts only if every key has a file and every file a key."""


def match_files(
    keys: Collection[PurePosixPath],
    files: Mapping[PurePosixPath, Path],
    *,
    suffix: str | None = None,
    may_name_kinds: bool = False,
) -> Match:
    """Find the file of each key.

    Names are compared exactly first, then with less and less of what programs change: the suffix
    of the file and the form of accents, folders named blur, sharp, input and the like, ``-``, ``_``
    and ``/`` between sequence and number, case, leading zeros, folders that all files share, words
    before and after the name. The first way that finds a file for every key is used, or else the
    one that finds most. A way counts only if it leaves no two keys and no two files alike. Files
    named as copies of the input or the ground truth, or in folders of such, are left out.

    Args:
        keys: ``<sequence>/<name>`` of each image.
        files: By path inside their folder.
        suffix: What follows the name of the image in the file's, such as ``_fake_B``; by default
            nothing, or any suffix that all names share.
        may_name_kinds: For sharp and blurred images, where ``1_gt`` and ``1_blur`` are a pair.

    Raises:
        InputError: Every image has several results, with different letters after its name.
    """
    copies: dict[PurePosixPath, str] = {}
    if suffix is None and not may_name_kinds:
        own = {_flat(key) for key in keys}
        copies = {p: end for p in files if _flat(p) not in own and (end := _companion_end(p))}
    results = {path: file for path, file in files.items() if path not in copies}
    best = _best_match(keys, results, suffix)
    if len(best.paths) < len(keys) and not may_name_kinds:
        # Folders such as input and gt beside the folder of the results.
        beside = {p: f"{kinds[0]}/" for p in results if (kinds := _kinds_of_folders(p))}
        others = {path: file for path, file in results.items() if path not in beside}
        if beside and len(others) >= len(keys):
            alone = _best_match(keys, others, suffix)
            if len(alone.paths) > len(best.paths):
                best, copies = alone, copies | beside
    if not best.paths or not copies:
        return replace(best, extra=(*best.extra, *copies))
    ends = ", ".join(sorted(set(copies.values())))
    note = f"{len(copies)} copies of input or ground truth ({ends}) passed over"
    return replace(best, note=", ".join(filter(None, [best.note, note])))


def _best_match(
    keys: Collection[PurePosixPath], files: Mapping[PurePosixPath, Path], suffix: str | None
) -> Match:
    best = Match(paths={}, extra=tuple(files))
    for way in _ways(keys, files):
        found = _matched(keys, files, way, suffix)
        if found is None or (way.only_complete and (len(found.paths) < len(keys) or found.extra)):
            continue
        if len(found.paths) > len(best.paths):
            best = found
        if len(best.paths) == len(keys):
            break
    return best


def group_of(key: PurePosixPath) -> str:
    """The sequence an image belongs to: its folder, or what precedes the number in its name."""
    if key.parent != PurePosixPath():
        return str(key.parent)
    numbered = re.fullmatch(r"(.+?)[-_]\d+", key.stem)
    return numbered[1] if numbered else ""


def renumbered(keys: Iterable[PurePosixPath], match: Match) -> str:
    """Say where a method's files have the numbers of a sequence's images shifted; empty if nowhere.

    Where one program counts from 0 and another from 1, most numbers occur on both sides but mean
    different images.
    """
    names: dict[str, str] = {}
    numbers: dict[str, tuple[set[int], set[int]]] = {}
    for key in keys:
        if numbered := _NUMBERED.fullmatch(_bare(key)):
            names.setdefault(numbered[1], group_of(key))
            of_keys, of_files = numbers.setdefault(numbered[1], (set(), set()))
            of_keys.add(int(numbered[2]))
            if key in match.paths:
                of_files.add(int(numbered[2]))
    for path in match.extra:
        if numbered := _NUMBERED.fullmatch(_bare(path)):
            # Without a name it can only be the one sequence there is.
            sequence = next(iter(numbers)) if len(numbers) == 1 and not numbered[1] else numbered[1]
            if sequence in numbers:
                numbers[sequence][1].add(int(numbered[2]))
    for sequence, (of_keys, of_files) in numbers.items():
        shifts = {b - a for a, b in zip(sorted(of_keys), sorted(of_files), strict=False)}
        if len(of_keys) == len(of_files) > 1 and len(shifts) == 1 and shifts != {0}:
            return (
                f"{names[sequence] or 'its files'} has {min(of_files)} to {max(of_files)} where the"
                f" images are {min(of_keys)} to {max(of_keys)}"
            )
    return ""


def plain(name: str) -> str:
    """One form for names that look alike: accents may be stored composed or decomposed."""
    return unicodedata.normalize("NFC", name)


def without_kinds(path: PurePosixPath) -> PurePosixPath:
    """Without folders that say what kind of image is in them, such as ``blur_gamma``."""
    folders = [part for part in path.parent.parts if part.lower() not in _KIND_WORDS]
    return PurePosixPath(*folders, path.name)


def _ways(keys: Collection[PurePosixPath], files: Mapping[PurePosixPath, Path]) -> Iterator[_Way]:
    """Ways to compare names, from strict to loose."""

    def alike(note: str, canonical: _Canonical) -> _Way:
        return _Way(note=note, of_key=canonical, of_file=canonical)

    yield alike("", str)
    yield alike("", _stem)
    yield alike("folders that say the kind left out", lambda path: _stem(without_kinds(path)))
    yield alike("sequence and number joined", _flat)
    yield alike("numbers compared without zeros", _bare)
    have_groups = all(group_of(key) for key in keys)
    if have_groups and (shared := _shared_folders(keys, files)):
        yield _Way(
            note=f"inside {'/'.join(shared)}/",
            of_key=_bare,
            of_file=lambda path: _bare(_without_folders(path, shared)),
        )
    if all(map(_has_own_folder, files)):
        yield _Way(
            note="each in a folder of its own name",
            of_key=_flat,
            of_file=lambda path: _flat(path.parent.parent / path.name),
            takes_numbers=True,
        )
    prefix = _shared_prefix(files)
    if prefix and (have_groups or prefix.rstrip("-_. ").lower() in _RESULT_PREFIXES):
        yield _Way(
            note=f"{prefix} before each name", of_key=_bare, only_complete=True,
            of_file=lambda path: _bare(path.with_name(path.name[len(prefix):])),
        )  # fmt: skip
    if have_groups:
        yield _Way(note="", of_key=_flat, of_file=_flat, takes_numbers=True, only_complete=True)
    # Without a folder, nothing contradicts a name that only one image has.
    if all(without_kinds(path).parent == PurePosixPath() for path in files):
        yield alike("by name alone", lambda path: plain(path.stem))
    yield _Way(
        note="what follows each name differs", of_key=_flat, of_file=_flat,
        takes_any_end=True, only_complete=True,
    )  # fmt: skip


def _stem(path: PurePosixPath) -> str:
    return plain(str(path.with_suffix("")) if path.suffix else str(path))


def _flat(path: PurePosixPath) -> str:
    return re.sub(r"[-_/. ]+", "_", _stem(without_kinds(path)))


def _has_own_folder(path: PurePosixPath) -> bool:
    """Whether a file lies in a folder named after its image, as BasicSR's validation images do."""
    folder = path.parent.name
    return bool(folder and re.match(rf"{re.escape(folder)}(?![^\W_])", path.stem))


def _bare(path: PurePosixPath) -> str:
    words = [word for word in _flat(path).casefold().split("_") if word not in _KIND_WORDS]
    return "_".join(str(int(word)) if _is_short_number(word) else word for word in words)


def _is_short_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 20


def _shared_folders(
    keys: Collection[PurePosixPath], files: Mapping[PurePosixPath, Path]
) -> list[str]:
    """Names of folders that every file lies in and no key has, outermost first."""
    if not files:
        return []
    shared = set.intersection(*(set(path.parent.parts) for path in files))
    shared -= {part for key in keys for part in key.parts}
    return [part for part in next(iter(files)).parent.parts if part in shared]


def _without_folders(path: PurePosixPath, names: Collection[str]) -> PurePosixPath:
    return PurePosixPath(*(part for part in path.parent.parts if part not in names), path.name)


def _shared_prefix(files: Mapping[PurePosixPath, Path]) -> str:
    """The word that every file's name starts with, including the separator after it."""
    words = {match[0] if match else "" for match in map(_WORD.match, (p.stem for p in files))}
    return next(iter(words)) if len(words) == 1 else ""


def _kinds_of_folders(path: PurePosixPath) -> list[str]:
    """Folders of a path that say that sharp or blurred images are in them."""
    kinds = SHARP_WORDS | BLURRED_WORDS
    return [part for part in path.parent.parts if part.lower() in kinds]


def _matched(
    keys: Collection[PurePosixPath],
    files: Mapping[PurePosixPath, Path],
    way: _Way,
    suffix: str | None,
) -> Match | None:
    key_of = _unique(keys, way.of_key)
    if key_of is None:
        return None
    by_suffix: dict[str, dict[PurePosixPath, list[PurePosixPath]]] = {}
    for path in files:
        whole = way.of_file(path)
        for end in _ends(whole, suffix, way.takes_numbers) if way.of_file is not str else ("",):
            if key := key_of.get(whole[: len(whole) - len(end)]):
                found_end = "" if way.takes_any_end else end
                by_suffix.setdefault(found_end, {}).setdefault(key, []).append(path)
                break
    chosen = _chosen_suffix(by_suffix, suffix)
    if chosen is None:
        return None
    found = by_suffix[chosen]
    doubled = {key: paths for key, paths in found.items() if len(paths) > 1}
    if doubled:
        return None
    paths = {key: files[candidates[0]] for key, candidates in found.items()}
    taken = {candidates[0] for candidates in found.values()}
    extra = sorted(files.keys() - taken, key=lambda path: natural_key(str(path)))
    notes = [way.note] if way.note else []
    if chosen:
        notes.append(f"{chosen} after each name")
    return Match(paths=paths, extra=tuple(extra), note=", ".join(notes))


def _unique(
    keys: Iterable[PurePosixPath], canonical: _Canonical
) -> dict[str, PurePosixPath] | None:
    """Keys by their canonical form; None where two have the same."""
    result: dict[str, PurePosixPath] = {}
    for key in keys:
        if result.setdefault(canonical(key), key) != key:
            return None
    return result


def _ends(whole: str, asked: str | None, takes_numbers: bool) -> Iterable[str]:
    """What could follow the name of an image: nothing, or from a separator on, shortest first."""
    if asked:
        yield from (end for end in _spellings(asked) if whole.endswith(end))
        return
    yield ""
    for match in reversed(list(re.finditer(r"[-_.]", whole))):
        end = whole[match.start() :]
        # Numbers alone are part of a name.
        if takes_numbers or re.search(r"[^\W\d_]", end):
            yield end


def _chosen_suffix(
    by_suffix: Mapping[str, Mapping[PurePosixPath, list[PurePosixPath]]],
    asked: str | None,
) -> str | None:
    if asked is not None:
        return next((end for end in by_suffix if end in _spellings(asked)), None)
    if not by_suffix:
        return None
    most = max(len(found) for found in by_suffix.values())
    fullest = [end for end, found in by_suffix.items() if len(found) == most]
    if "" in fullest:
        return ""
    if len(fullest) > 1:
        if len(set().union(*(by_suffix[end] for end in fullest))) == most * len(fullest):
            return None  # each belongs to other images: these are names, not suffixes
        ends = ", ".join(sorted(fullest))
        raise InputError(
            f"each image has several results, with {ends} after its name; choose with --suffix."
        )
    return fullest[0]


def _spellings(suffix: str) -> set[str]:
    """A suffix as it is, and as `_flat` writes it."""
    return {suffix, re.sub(r"[-_/. ]+", "_", suffix)}


def _companion_end(path: PurePosixPath) -> str:
    """The end of a name that marks a copy of the input or the ground truth; empty for others."""
    whole = _flat(path)
    ends = (f"_{name}" for name in _COMPANIONS)
    return next((whole[-len(end) :] for end in ends if whole.lower().endswith(end)), "")
