"""Writing that survives a crash, holding a folder for one run, hashes, natural order of names."""

import ctypes
import errno
import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from gopro_tools.errors import InputError
from gopro_tools.locks import held

LOCK_FILE = ".lock"
"""In an output folder while a run holds it."""
_PROCESS = f"{os.getpid()}{secrets.randbelow(10**6):06d}"
"""Two machines that share a folder may have processes with the same number."""
_TEMPORARY = re.compile(r"\.gopro-\d+-\d+\.tmp(\.\w+)?")


def temporary_beside(path: Path, suffix: str = "") -> Path:
    """A hidden name in the folder of ``path``, to be renamed to it once the file is complete.

    It is short, so that a name as long as the file system takes still has one; what a killed run
    leaves behind is removed by `claimed`.
    """
    name = f".gopro-{_PROCESS}-{threading.get_native_id()}.tmp{suffix}"
    return path.with_name(name)


def write_atomic(
    path: Path, data: bytes | str, temporary: Path | None = None, *, durable: bool = True
) -> None:
    r"""Write a whole file or nothing: a reader, or a run that resumes, never sees half of one.

    Nothing is written through a symbolic link: a link at ``path`` or ``temporary`` is replaced.

    Args:
        path: Where the file goes; its folder is made if it is missing.
        data: Bytes, or text to store as UTF-8 with ``\n`` line ends; what UTF-8 cannot hold (parts
            of file names that are not text) is written as ``\udcff``.
        temporary: Where to write first; by default a hidden name beside ``path``. It must lie
            on the same file system.
        durable: Whether the file must survive a power cut once this returns, which takes some
            milliseconds. Without it, the file may be found empty or cut short after a power cut:
            for bulk data that is checked when a run resumes.

    Raises:
        OSError: No space, no permission; it names a file. The temporary file is removed.
    """
    if isinstance(data, str):
        data = data.encode(errors="backslashreplace")
    with written_atomic(path, temporary, durable=durable) as file:
        file.write(data)


@contextmanager
def written_atomic(
    path: Path, temporary: Path | None = None, *, durable: bool = True
) -> Iterator[BinaryIO]:
    """Give a file to write, which is put in place when the block ends well; see `write_atomic`."""
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = temporary or temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = temporary.open("xb")
        except FileExistsError:  # of a killed run, or a planted link
            temporary.unlink()
            file = temporary.open("xb")
        with file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            elif hasattr(os, "posix_fadvise"):
                # This makes Linux start writing to disk without waiting for it, so that syncing
                # everything at the end is quick. What is not on disk yet stays cached.
                with suppress(OSError):
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None  # the name that people know
        raise


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: It cannot be read, or is cut off, damaged or not JSON; the message says which.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise InputError(
            f"{path}: damaged (nested too deeply for a file of this program)."
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise InputError(f"{path}: damaged, or cut off ({error}).") from error


def _fail(error: OSError) -> None:
    raise error


def user_cache() -> Path:
    """Where this user's programs keep what they can make again.

    Raises:
        RuntimeError: The user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gopro_tools"


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder survive a power cut, where the system offers it."""
    with suppress(OSError):  # Windows opens no folders; some network file systems sync none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_file_system(folder: Path) -> None:
    """Wait until all that was written to the file system of a folder is on disk."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if ctypes.CDLL(None).syncfs(descriptor) == 0:
                return
        finally:
            os.close(descriptor)
    except (OSError, AttributeError, TypeError):  # not on every system
        pass
    if hasattr(os, "sync"):
        os.sync()


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Give an empty ``….partial`` folder to fill; it becomes ``folder`` when the block ends well.

    What an interrupted run left in the partial folder is removed first.

    Raises:
        OSError: Something lies at ``folder`` already.
    """
    partial = folder.with_name(folder.name + ".partial")
    if partial.is_dir() and not partial.is_symlink():
        shutil.rmtree(partial)
    else:
        partial.unlink(missing_ok=True)
    partial.mkdir(parents=True)
    yield partial
    partial.rename(folder)
    sync_folder(folder.parent)


@contextmanager
def claimed(folder: Path, *inside: Path | str) -> Iterator[None]:
    """Hold an output folder for one run, and remove what a killed one left half written.

    Args:
        folder: The output folder; made if it is missing. It may be a link itself.
        inside: Folders below it (relative paths) that the run writes to as well.

    Raises:
        InputError: It is not a folder, cannot be made, another run holds it, or a folder below it
            is a link, so that results would land elsewhere.
    """
    refuse_url(folder)
    with held(folder / LOCK_FILE, f"{folder}: another run is at work there."):
        refuse_links(folder, *inside)
        sweep_temporaries(folder, *inside)
        yield


def named_below(
    folder: Path, *names: str, on_error: Callable[[OSError], None] = _fail
) -> Iterator[Path]:
    """Files of some names (``*.csv``) in a folder and below it, through no links to folders.

    `Path.rglob` leaves out folders that it may not look into, without a word: here ``on_error``
    gets the error, and raises it by default.
    """
    if folder.is_file():
        return
    for place, _, files in os.walk(folder, onerror=on_error):
        yield from (
            Path(place, file) for file in files if any(fnmatchcase(file, name) for name in names)
        )


def refuse_url(folder: Path) -> None:
    """Raise InputError where an output is a URL, before it is taken for a folder ``s3:``."""
    if re.match(r"[a-z][a-z0-9+.-]+:/", folder.as_posix()) and not Path(folder.parts[0]).exists():
        raise InputError(
            f"{folder}: this command writes only to folders on this machine; synthesize takes URLs."
        )


def refuse_unwritable(place: Path | None, *, is_folder: bool = False) -> None:
    """Raise where a file or folder cannot be made, before the work whose result it is to hold.

    Raises:
        OSError: A file lies where a folder is needed or the reverse, or nothing may be written.
    """
    if place is None:
        return
    if place.is_dir() and not is_folder:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
    folder = place if is_folder else place.parent
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def refuse_links(folder: Path, *inside: Path | str) -> None:
    """Raise InputError where a folder on the way from ``folder`` to ``inside`` is a link."""
    ways = {way for path in inside for way in (Path(path), *Path(path).parents)}
    for path in sorted(folder / way for way in ways - {Path()}):
        if path.is_symlink():
            raise InputError(
                f"{path}: a link (to {path.readlink()}); results are written only to {folder} "
                "itself. Remove the link, or name another output folder."
            )


def refuse_inside(out: Path, *inputs: Path) -> None:
    """Refuse an output folder inside an input, where the next run would read it as input.

    Raises:
        InputError: ``out`` is one of the input folders or lies in one.
    """
    for folder in inputs:
        if out.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"--out {out}: lies in the input {folder}; choose a folder outside.")


def sweep_temporaries(folder: Path, *inside: Path | str) -> None:
    """Remove the temporary files of killed runs in these very folders, not in those below."""
    for place in {folder, *(folder / path for path in inside)}:
        if place.is_dir():
            for path in place.iterdir():
                if _TEMPORARY.fullmatch(path.name):
                    path.unlink(missing_ok=True)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal, as the program ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_path(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes of all files in a folder."""
    if path.is_file():
        return sha256_of_file(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\t{sha256_of_file(file)}\n".encode())
    return digest.hexdigest()


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key under which ``frame2`` comes before ``frame10``."""
    return tuple(
        (0, int(part)) if part.isdecimal() else (1, part)
        for part in re.split(r"(\d+)", name)
        if part
    )


class FreeNames:
    """Names for results that never collide, even on file systems that ignore case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(
        self, *choices: Path, files: Callable[[Path], Iterable[Path]] = lambda path: [path]
    ) -> Path:
        """The first of ``choices`` that is free, or else the first one with ``_2``, ``_3``, ...

        Args:
            choices: Names, best first.
            files: All files that a result with that name is written to; they must be free as well.
        """
        first = choices[0]
        numbered = (first.with_name(f"{first.stem}_{n}{first.suffix}") for n in itertools.count(2))
        for path in itertools.chain(choices, numbered):
            names = {str(file).casefold() for file in files(path)}
            if self._taken.isdisjoint(names):
                break
        self._taken |= names
        return path
