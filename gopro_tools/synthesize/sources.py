"""Which files and folders to read, what to call them, and whether they are still the same."""

import hashlib
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gopro_tools.errors import InputError, PassingError
from gopro_tools.files import natural_key, sha256_of_file
from gopro_tools.images import IMAGE_SUFFIXES
from gopro_tools.seal import read_seal
from gopro_tools.video import VIDEO_SUFFIXES, frame_files

logger = logging.getLogger(__name__)

_LONGEST_STEM_BYTES = 200
"""File systems allow 255 bytes; what is added to a stem for folders and working files needs
some."""
_PROXY_SUFFIXES = (".lrv", ".lrf")
"""Of GoPro and DJI."""
_PROXY_FOLDERS = ("proxy", "proxies", "sub")
_THUMBNAIL_FOLDERS = ("thmbnl", "icon")
"""On Sony's and Panasonic's cards: an image of each clip."""
_PASSED_OVER = IMAGE_SUFFIXES | {
    *("", ".csv", ".db", ".gpx", ".ini", ".json", ".md", ".srt", ".thm", ".txt", ".vtt", ".xml"),
    ".xmp",
}
"""Suffixes of files that are clearly not videos or frames, or that have their own message."""
_ORIGINAL_FOLDERS = ("", "..", "../clip", "../original", "../originals")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file or folder to read, and what to call it."""

    path: Path
    name: str
    """Path from the folder the user named, with forward slashes: the same on every machine, and
    printable (bytes that are not text, and control characters, are escaped)."""
    left_out: tuple[str, ...] = ()
    """Names of its low-resolution copies, which are not read."""
    url: str = ""
    """Where it lies if not in a file system of this machine; `path` is only a name then."""
    version: str = ""
    """Version of what lies there (`storage.version_of`)."""


def discover(paths: Sequence[Path], exclude: Path | None = None) -> list[Source]:
    """Video files and folders of frames among ``paths``, searched recursively, in natural order.

    Links are followed, each folder once. A camera's low-resolution copies (GoPro's LRV, Sony's S03,
    proxies) are left out where the video itself is there; named on their own, they are read.

    Args:
        paths: Video files, folders of numbered frames, or folders that hold such.
        exclude: A folder to skip: the output, where it lies inside an input. Datasets made earlier
            are skipped too.

    Raises:
        InputError: A path does not exist, or nothing usable was found.
    """
    found: dict[Path, tuple[str, Path]] = {}
    named: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; a video or a folder expected.")
        if path.is_file():
            named.add(path.resolve())
            found.setdefault(path.resolve(), (path.name, path))
            continue
        if not path.is_dir():
            raise InputError(f"{path}: neither a file nor a folder; a video or a folder expected.")
        for entry in _search(path, exclude.resolve() if exclude else None):
            name = entry.relative_to(path).as_posix()
            name = path.resolve().name if name == "." else name
            found.setdefault(_real(entry), (name, path))
    if not found:
        raise InputError(
            f"{', '.join(map(str, paths))}: neither videos ({' '.join(sorted(VIDEO_SUFFIXES))}) "
            f"nor folders of numbered frames ({' '.join(sorted(IMAGE_SUFFIXES))}) there."
        )
    proxies = {p: original for p, original in _proxies(found).items() if p not in named}
    names = _unique_names(found)
    sources = [
        Source(
            path=path,
            name=names[path],
            left_out=tuple(sorted(names[p] for p, original in proxies.items() if original == path)),
        )
        for path in found
        if path not in proxies
    ]
    if proxies:
        logger.info(
            "%d low-resolution copies are left out, as the videos themselves are there: %s",
            len(proxies),
            ", ".join(sorted(names[p] for p in proxies)),
        )
    return sorted(sources, key=lambda source: (natural_key(source.name), str(source.path)))


def _search(folder: Path, exclude: Path | None) -> Iterator[Path]:
    seen = {folder.resolve()}
    others: Counter[str] = Counter()
    for directory, subfolders, files in os.walk(folder, onerror=_closed, followlinks=True):
        here = Path(directory)
        kept = []
        for name in sorted(subfolders):
            real = _real(here / name)
            if name.startswith(".") or real == exclude or real in seen:
                continue  # a link may lead back to where it came from
            if not read_seal(here / name).is_ours:
                kept.append(name)
                seen.add(real)
        subfolders[:] = kept
        shown = [name for name in sorted(files) if not name.startswith(".")]
        videos = [name for name in shown if Path(name).suffix.lower() in VIDEO_SUFFIXES]
        images = [name for name in shown if Path(name).suffix.lower() in IMAGE_SUFFIXES]
        if images and not videos and here != folder and here.name.casefold() in _THUMBNAIL_FOLDERS:
            logger.info("%s: %d thumbnails are passed over.", here, len(images))
        elif images and not videos:
            yield here
        elif len(images) > 1:
            logger.info("%s: %d images beside videos are passed over.", here, len(images))
        thumbnails = [name for name in shown if name.lower().endswith(".thm")]
        if thumbnails:
            logger.info("%s: %d .THM thumbnails are passed over.", here, len(thumbnails))
        yield from (here / name for name in videos if _is_file(here / name))
        suffixes = (Path(name).suffix.lower() for name in shown if name not in videos)
        others.update(s for s in suffixes if s not in _PASSED_OVER)
    if others:
        found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        logger.info("%s: files of other kinds are passed over: %s.", folder, found)


def _is_file(path: Path) -> bool:
    """Whether it is a file, or a link that should be one: reading it will say what is wrong."""
    if path.is_file() or not path.exists():
        return True
    logger.warning("%s: no file; passed over.", path)  # a pipe would be waited for
    return False


def _real(path: Path) -> Path:
    """Where a path leads; plain `Path.resolve` raises if a link leads to itself."""
    return Path(os.path.realpath(path))


def _closed(error: OSError) -> None:
    logger.warning("%s: cannot be looked into (%s); passed over.", error.filename, error.strerror)


def _proxies(found: dict[Path, tuple[str, Path]]) -> dict[Path, Path]:
    """Low-resolution copies, each with the video it is a copy of."""
    originals = {
        (path.parent, path.stem.casefold()): path
        for path in found
        if path.is_file() and path.suffix.lower() not in _PROXY_SUFFIXES
    }
    result: dict[Path, Path] = {}
    for path in found:
        if not path.is_file():
            continue
        for folder, stem in _original_places(path):
            original = originals.get((folder, stem.casefold()))
            if original is not None and original != path:
                result[path] = original
                break
    return result


def _original_places(path: Path) -> Iterator[tuple[Path, str]]:
    """Where the video of which ``path`` is a low-resolution copy would lie: folder and stem."""
    stem, folder = path.stem, path.parent
    if path.suffix.lower() in _PROXY_SUFFIXES:
        yield folder, stem
        if match := re.fullmatch(r"GL(\d{6})", stem, flags=re.IGNORECASE):
            yield from ((folder, f"{camera}{match[1]}") for camera in ("GX", "GH"))
        if stem.upper().startswith("LRV_"):
            yield folder, f"VID_{stem[4:]}"
    base = re.fullmatch(r"(.+?)(?:S03|[ _.-]?proxy)", stem, flags=re.IGNORECASE)
    in_proxy_folder = folder.name.casefold() in _PROXY_FOLDERS
    for place in _ORIGINAL_FOLDERS:
        where = Path(os.path.normpath(folder / place))
        for candidate in {where, *_folders_like(where)}:
            if base is not None:
                yield candidate, base[1]
            if in_proxy_folder and place:
                yield candidate, stem


def _folders_like(folder: Path) -> list[Path]:
    """Folders beside ``folder`` with the same name except for case."""
    if not folder.parent.is_dir() or not folder.name:
        return []
    return [
        entry
        for entry in folder.parent.iterdir()
        if entry.name.casefold() == folder.name.casefold() and entry.is_dir()
    ]


def _unique_names(found: dict[Path, tuple[str, Path]]) -> dict[Path, str]:
    """A printable, unique name for each path, even where two inputs hold equal ones."""
    names = {path: printable(name) for path, (name, _) in found.items()}
    for longer in (
        {p: printable(f"{root.resolve().name}/{name}") for p, (name, root) in found.items()},
        {p: printable(p.as_posix().lstrip("/")) for p in found},
    ):
        counts = Counter(names.values())
        names = {p: longer[p] if counts[name] > 1 else name for p, name in names.items()}
    counts = Counter(names.values())
    digests = {p: hashlib.sha256(os.fsencode(p)).hexdigest()[:8] for p in found}
    return {p: name if counts[name] == 1 else f"{name} ({digests[p]})" for p, name in names.items()}


def printable(name: str) -> str:
    r"""A file's name as text for tables and terminals: anything else is escaped, as ``\x0a``."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else character
        for character in text
    )


def unique_stems(names: Sequence[str]) -> list[str]:
    """File name without folder and suffix; as much of the path as tells equal ones apart."""
    stems = [_safe(Path(name).stem) for name in names]
    paths = [_safe(str(Path(name).with_suffix(""))) for name in names]
    full = [_safe(name) for name in names]
    for longer in (paths, full, [f"{name}-{i}" for i, name in enumerate(full)]):
        # Names are compared as a file system that ignores case would.
        folded = [unicodedata.normalize("NFC", stem).casefold() for stem in stems]
        counts = Counter(folded)
        stems = [
            long if counts[fold] > 1 else stem
            for stem, fold, long in zip(stems, folded, longer, strict=True)
        ]
    return stems


def _safe(name: str) -> str:
    stem = re.sub(r"[^\w.-]+", "-", name.replace("/", "-")).strip("-.") or "video"
    data = stem.encode()
    if len(data) <= _LONGEST_STEM_BYTES:
        return stem
    digest = hashlib.sha256(data).hexdigest()[:8]
    return data[: _LONGEST_STEM_BYTES - 9].decode(errors="ignore") + "-" + digest


def hash_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, of its images' names and hashes."""
    if path.is_file():
        return sha256_of_file(path)
    listing = "".join(
        f"{sha256_of_file(file)}  {printable(file.name)}\n" for file in frame_files(path)
    )
    return hashlib.sha256(listing.encode()).hexdigest()


def stamp_of(path: Path) -> str:
    """Sizes and modification times: while they stay, the source is taken to be the same.

    Raises:
        OSError: It is no longer there.
    """
    files = frame_files(path) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        line = f"{printable(file.name)} {status.st_size} {status.st_mtime_ns} {status.st_ino}\n"
        digest.update(line.encode())
    return digest.hexdigest()


def check_unchanged(source: Source, sha256: str, stamp: str) -> None:
    """Stop if a source is no longer what it was when first examined.

    Raises:
        PassingError: It changed or disappeared while the run read it.
    """
    try:
        if stamp_of(source.path) == stamp or hash_of(source.path) == sha256:
            return
        what = "it changed while it was read"
    except OSError as error:
        what = f"it disappeared while it was read ({error.strerror})"
    raise PassingError(
        f"{source.path}: {what}. Nothing of this part was kept; leave the source as it is, and run "
        "the same command again."
    )
