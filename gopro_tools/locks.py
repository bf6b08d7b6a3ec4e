"""One process at a time: a file is held, on this machine or on others that share its file system.

The OS releases the lock when a process is killed. The file is removed when its holder ends, and so
a process may open one that is gone by the time it has locked it, while a third makes and locks the
next: `held` therefore takes a lock only if the file it locked still has that name, and removes no
    file but its own.
"""

import errno
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gopro_tools.errors import InputError

logger = logging.getLogger(__name__)

_POLL_S = 0.05
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK})


@contextmanager
def held(lock_file: Path, in_use: str, *, timeout_s: float = 0) -> Iterator[None]:
    """Hold a lock file, which is removed afterwards; the system frees that of a killed process.

    Args:
        lock_file: Its folder is made if it is missing.
        in_use: Start of the error message where another process holds it.
        timeout_s: How long to wait for it.

    Raises:
        InputError: Another process holds it, or its folder cannot be made or written to.
    """
    is_new = not lock_file.parent.exists()
    try:
        descriptor = _taken(lock_file, timeout_s)
    except OSError as error:
        raise InputError(
            f"{lock_file.parent}: cannot be used as an output folder ({error.strerror}). Fix that "
            "or name another folder."
        ) from error
    if descriptor is None:
        raise InputError(f"{in_use} Wait for it to end, or name another folder.")
    try:
        yield
    finally:
        _let_go(lock_file, descriptor)
        if is_new:
            with suppress(OSError):  # where the run has left results
                lock_file.parent.rmdir()


def is_held(lock_file: Path) -> bool:
    """Whether a process holds a lock file; the file of a killed one is removed."""
    try:
        descriptor = _opened(lock_file, create=False)
    except FileNotFoundError:
        return False
    if descriptor is None:
        return True
    _let_go(lock_file, descriptor)
    return False


def _taken(lock_file: Path, timeout_s: float) -> int | None:
    """Descriptor of the locked file; None where another process holds it all the time."""
    deadline = time.monotonic() + timeout_s
    while True:
        _make(lock_file.parent)
        try:
            descriptor = _opened(lock_file)
        except FileNotFoundError:  # the run before removed it, or its folder, just now
            continue
        if descriptor is not None or time.monotonic() >= deadline:
            return descriptor
        time.sleep(_POLL_S)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        # Raised, too, where the run before removes the folder while `mkdir` looks at it.
        if folder.is_symlink() or folder.is_file():
            raise


def _opened(lock_file: Path, *, create: bool = True) -> int | None:
    """Descriptor of the locked file; None where another process holds it.

    Raises:
        FileNotFoundError: It is not there, or was removed before it was locked.
    """
    flags = os.O_RDWR | (os.O_CREAT if create else 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(lock_file, flags, 0o666)
    try:
        if not _locks(descriptor, lock_file):
            os.close(descriptor)
            return None
        if not _is_at(lock_file, descriptor):
            raise FileNotFoundError(errno.ENOENT, "removed while it was locked", str(lock_file))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _let_go(lock_file: Path, descriptor: int) -> None:
    with suppress(OSError):  # Windows removes no open file: there it stays
        if _is_at(lock_file, descriptor):
            lock_file.unlink()
    os.close(descriptor)


def _is_at(lock_file: Path, descriptor: int) -> bool:
    return os.path.samestat(os.fstat(descriptor), lock_file.lstat())


def _locks(descriptor: int, lock_file: Path) -> bool:
    """Lock an open file for this process until it is closed; False where another has it locked."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            logger.warning(
                "%s: its file system has no locks (%s), so nothing keeps a second run out; do not "
                "start one.",
                lock_file.parent,
                error.strerror,
            )
            return True
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise
    return True
