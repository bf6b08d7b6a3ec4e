"""Writing that survives a crash, hashes of files, natural order of names."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomic(path: Path, data: bytes | str, temporary: Path | None = None) -> None:
    r"""Write a whole file or nothing: a reader, or a run that goes on, never sees half of one.

    Args:
        path: Where the file goes; its folder is made if it is missing.
        data: Bytes, or text to store as UTF-8 with ``\n`` line ends.
        temporary: Where to write first; by default a hidden name beside ``path``. It must lie
            on the same file system.

    Raises:
        OSError: No space, no permission. The temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary or path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Give a ``….partial`` folder to fill; it becomes ``folder`` when the block ends well."""
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    yield partial
    partial.rename(folder)


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
