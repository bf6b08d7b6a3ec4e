"""Unpack a dataset's ZIP: only what belongs there, each file whole, nothing outside, bounded."""

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from gopro_tools.dataset import SPLITS
from gopro_tools.errors import InputError
from gopro_tools.files import refuse_links, temporary_beside

_BLOCK_BYTES = 1 << 20
_LONGEST_PART_BYTES = 255
"""What file systems allow as the name of a file or folder."""
_LARGEST_RATIO = 100
_SMALL_BYTES = 1 << 20
"""Images hardly shrink in a ZIP: no image above this size grows more than the ratio."""
_MARGIN = 1.05
"""Of the space needed: file systems round up."""
_OF_READING = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
    ValueError, OSError,
)  # fmt: skip


@dataclass(slots=True)
class Unpacked:
    """Result of `unpack`."""

    n_written: int = 0
    n_kept: int = 0
    """Files that were there already, with the archive's checksum."""


def unpack(packed: Path, folder: Path, progress: Callable[[int, int], None]) -> Unpacked:
    """Write what is missing or differs below ``folder``, with the checksum of the archive.

    Args:
        packed: A ZIP with ``train`` and ``test`` somewhere in it.
        folder: Where those go.
        progress: Called with the number of members done and in total.

    Raises:
        InputError: It is not a ZIP, it is damaged, or it holds what no dataset does: encrypted,
            repeated or symbolic members, names that lead out or are too long, a bomb. Or the disk
            is full. What was unpacked before stays.
    """
    result = Unpacked()
    try:
        with zipfile.ZipFile(packed) as archive:
            members = list(_members(archive, packed))
            refuse_links(folder, *{Path(path.parent) for _, path in members})
            missing = []
            for info, path in members:
                if _is_there(folder / path, info):
                    result.n_kept += 1
                else:
                    missing.append((info, folder / path))
            need_space(packed.parent, sum(i.file_size for i, _ in missing), f"{folder.name}/")
            for done, (info, target) in enumerate(missing, start=1):
                with archive.open(info) as member:
                    _write(member, target, packed)
                result.n_written += 1
                progress(done, len(missing))
    except InputError:
        raise
    except _OF_READING as error:
        raise _damaged(packed, error) from error
    return result


def need_space(folder: Path, n_bytes: float, what: str) -> None:
    """Raise InputError if the file system has less room than that, and a little more."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes * _MARGIN:
        raise InputError(
            f"{folder}: {what} need {n_bytes * _MARGIN / 1e9:.1f} GB, {free / 1e9:.1f} GB are "
            "free. Make room or name another folder."
        )


def _damaged(packed: Path, error: Exception) -> InputError:
    return InputError(
        f"{packed}: damaged or not a ZIP ({error}). Get it again (move this one away first) and "
        "start the same command; what was unpacked stays."
    )


def _write(member: IO[bytes], path: Path, packed: Path) -> None:
    """Stream a member to a file: one of 4 GiB takes no more memory than a small one."""
    temporary = temporary_beside(path)
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            file = temporary.open("xb")
        except OSError as error:
            raise _not_writable(path, error) from error
        with file:
            while block := _read(member, packed):
                try:
                    file.write(block)
                except OSError as error:
                    raise _not_writable(path, error) from error
        try:
            temporary.replace(path)
        except OSError as error:
            raise _not_writable(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read(member: IO[bytes], packed: Path) -> bytes:
    try:
        return member.read(_BLOCK_BYTES)
    except _OF_READING as error:
        raise _damaged(packed, error) from error


def _not_writable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({error.strerror}). Make room or fix that, and run the same "
        "command again; what was unpacked stays."
    )


def _is_there(path: Path, info: zipfile.ZipInfo) -> bool:
    """Whether the member lies there with its size and checksum."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != info.file_size:
        return False
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum == info.CRC


def _members(
    archive: zipfile.ZipFile, packed: Path
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Files of the dataset with their path from ``train`` or ``test`` on, wherever those lie."""
    seen: dict[str, str] = {}
    n_packed_bytes = 0
    for info in archive.infolist():
        parts = PurePosixPath(info.filename.replace("\\", "/")).parts
        split = next((index for index, part in enumerate(parts) if part in SPLITS), None)
        if info.is_dir() or split is None or _is_of_a_mac(parts):
            continue
        if problem := _problem(info, parts):
            raise InputError(f"{packed}: holds {info.filename!r}, which {problem}.")
        path = PurePosixPath(*parts[split:])
        # Names are compared as a file system that ignores case would.
        folded = str(path).casefold()
        if folded in seen:
            raise InputError(
                f"{packed}: holds {info.filename!r} and {seen[folded]!r}, which are one file; "
                "which one is right is unknown."
            )
        seen[folded] = info.filename
        n_packed_bytes += info.compress_size
        yield info, path
    if not seen:
        raise InputError(f"{packed}: no train/ or test/ in it; this is not the dataset.")
    if n_packed_bytes > os.path.getsize(packed):  # noqa: PTH202
        raise InputError(
            f"{packed}: its members take more than the file has, so that they overlap; "
            "this is not the dataset."
        )


def _problem(info: zipfile.ZipInfo, parts: tuple[str, ...]) -> str:
    """Why a member cannot be unpacked; empty if it can."""
    if ".." in parts or parts[0] == "/" or parts[0].endswith(":"):
        return "leads out of its folder"
    if any(len(os.fsencode(part)) > _LONGEST_PART_BYTES for part in parts):
        return f"has a name longer than the {_LONGEST_PART_BYTES} bytes that file systems take"
    if info.flag_bits & 0x1:
        return "is encrypted; the dataset is not, and no password is asked for"
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "is a link or a device, not a file"
    if info.file_size > _SMALL_BYTES and info.file_size > _LARGEST_RATIO * info.compress_size:
        return f"grows from {info.compress_size:,} to {info.file_size:,} bytes; no image does that"
    return ""


def _is_of_a_mac(parts: tuple[str, ...]) -> bool:
    """Notes that macOS puts into ZIP files, beside the files themselves."""
    return "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._")
