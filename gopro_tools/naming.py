"""Which result belongs to which image, when a program named its results its own way.

Every program of this field stores results under other names: ``<sequence>-<number>.png`` in one
folder, ``<name>_<network>.png``, ``<sequence>/blur_gamma/<number>.png``, another suffix. All of
these say which image they are of, so they pair without renaming. What does not say it (a number
that several sequences have, a folder of another sequence) pairs with nothing: a wrong pair would
look like a bad method.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
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
    "gt", "sharp", "target", "real_a", "real_b", "lq", "input", "blur", "blurred", "label",
)  # fmt: skip
"""Ends of names under which programs store the input or the truth beside a result."""

_Canonical = Callable[[PurePosixPath], str]


@dataclass(frozen=True, kw_only=True)
class Match:
    """The files of one method, by the image they are of."""

    paths: Mapping[PurePosixPath, Path]
    """By key, of those that were asked for."""
    extra: tuple[PurePosixPath, ...]
    """Files that belong to no image."""
    note: str = ""
    """How names were matched where they are not the same; empty where they are."""


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
    and ``/`` between sequence and number, leading zeros. The first way that finds a file for every
    key is taken, or else the one that finds most. A way counts only where it leaves no two keys,
    and no two files, alike. Files named as copies of the input or the truth are left out.

    Args:
        keys: ``<sequence>/<name>`` of each image.
        files: By path inside their folder.
        suffix: What follows the name of the image in the file's, such as ``_fake_B``; by default
            nothing, or whatever the same letters are after every name.
        may_name_kinds: For sharp and blurred images, where ``1_gt`` and ``1_blur`` are a pair.

    Raises:
        InputError: Every image has several results, with different letters after its name.
    """
    best: Match | None = None
    copies: dict[PurePosixPath, str] = {}
    if suffix is None and not may_name_kinds:
        own = {_flat(key) for key in keys}
        copies = {p: end for p in files if _flat(p) not in own and (end := _companion_end(p))}
    results = {path: file for path, file in files.items() if path not in copies}
    for note, canonical in _ways(keys, results):
        found = _matched(keys, results, canonical, note, suffix)
        if found is None:
            continue
        if best is None or len(found.paths) > len(best.paths):
            best = found
        if len(best.paths) == len(keys):
            break
    best = best or Match(paths={}, extra=tuple(results))
    if not best.paths or not copies:
        return replace(best, extra=(*best.extra, *copies))
    ends = ", ".join(sorted(set(copies.values())))
    note = f"{len(copies)} copies of input or truth ({ends}) passed over"
    return replace(best, note=", ".join(filter(None, [best.note, note])))


def group_of(key: PurePosixPath) -> str:
    """The sequence that an image is of: its folder, or what precedes the number in its name."""
    if key.parent != PurePosixPath():
        return str(key.parent)
    numbered = re.fullmatch(r"(.+?)[-_]\d+", key.stem)
    return numbered[1] if numbered else ""


def plain(name: str) -> str:
    """One form for names that look alike: accents may be stored composed or decomposed."""
    return unicodedata.normalize("NFC", name)


def without_kinds(path: PurePosixPath) -> PurePosixPath:
    """Without folders that say what kind of image is in them, such as ``blur_gamma``."""
    folders = [part for part in path.parent.parts if part.lower() not in _KIND_WORDS]
    return PurePosixPath(*folders, path.name)


def _ways(
    keys: Collection[PurePosixPath], files: Mapping[PurePosixPath, Path]
) -> Iterable[tuple[str, _Canonical]]:
    """Ways to compare names, from strict to loose, each with the words that say so."""
    yield "", str
    yield "", _stem
    yield "folders that say the kind left out", lambda path: _stem(without_kinds(path))
    yield "sequence and number joined", _flat
    yield "numbers compared without zeros", _bare
    if (shared := _shared_folder(files)) and all(group_of(key) for key in keys):
        inside = {key for key in keys if key.parts[0] == shared}
        if not inside:
            yield (
                f"inside {shared}/",
                lambda path: _flat(path.relative_to(shared) if path.parts[0] == shared else path),
            )
    yield "each in a folder of its own name", lambda path: _flat(_without_own_folder(path))
    # Without a folder nothing contradicts: it is the image of that name, where only one has it.
    if all(without_kinds(path).parent == PurePosixPath() for path in files):
        yield "by name alone", lambda path: plain(path.stem)


def _stem(path: PurePosixPath) -> str:
    return plain(str(path.with_suffix("")) if path.suffix else str(path))


def _flat(path: PurePosixPath) -> str:
    return re.sub(r"[-_/. ]+", "_", _stem(without_kinds(path)))


def _without_own_folder(path: PurePosixPath) -> PurePosixPath:
    """Without a folder that has the image's name, as BasicSR makes for its validation images."""
    folder = path.parent.name
    own = folder and path.stem.startswith(folder) and len(path.parts) > 1
    return path.parent.parent / path.name if own else path


def _bare(path: PurePosixPath) -> str:
    words = [word for word in _flat(path).split("_") if word.lower() not in _KIND_WORDS]
    return "_".join(str(int(word)) if _is_short_number(word) else word for word in words)


def _is_short_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 20


def _shared_folder(files: Mapping[PurePosixPath, Path]) -> str | None:
    """The one folder that all files lie in."""
    first = {path.parts[0] if len(path.parts) > 1 else None for path in files}
    return next(iter(first)) if len(first) == 1 else None


def _matched(
    keys: Collection[PurePosixPath],
    files: Mapping[PurePosixPath, Path],
    canonical: _Canonical,
    note: str,
    suffix: str | None,
) -> Match | None:
    key_of = _unique(keys, canonical)
    if key_of is None:
        return None
    by_suffix: dict[str, dict[PurePosixPath, list[PurePosixPath]]] = {}
    for path in files:
        whole = canonical(path)
        for end in _ends(whole, suffix) if canonical is not str else ("",):
            if key := key_of.get(whole[: len(whole) - len(end)]):
                by_suffix.setdefault(end, {}).setdefault(key, []).append(path)
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
    notes = [note] if note else []
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


def _ends(whole: str, asked: str | None) -> Iterable[str]:
    """What could follow the name of an image: nothing, or from a separator on, shortest first."""
    if asked:
        yield from (end for end in _spellings(asked) if whole.endswith(end))
        return
    yield ""
    for match in reversed(list(re.finditer(r"[-_.]", whole))):
        end = whole[match.start() :]
        if re.search(r"[^\W\d_]", end):  # numbers alone are part of a name
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
            return None  # each is of other images: these are names, not suffixes
        ends = ", ".join(sorted(fullest))
        raise InputError(
            f"each image has several results, with {ends} after its name; choose with --suffix."
        )
    return fullest[0]


def _spellings(suffix: str) -> set[str]:
    """A suffix as it is, and as `_flat` writes it."""
    return {suffix, re.sub(r"[-_/. ]+", "_", suffix)}


def _companion_end(path: PurePosixPath) -> str:
    """The end of a name that says it is a copy of the input or the truth; empty for others."""
    whole = _flat(path)
    ends = (f"_{name}" for name in _COMPANIONS)
    return next((whole[-len(end) :] for end in ends if whole.lower().endswith(end)), "")
