"""Unforeseen exceptions, as one line for users and a log file for those who fix them."""

import errno
import os
import platform
import sys
import tempfile
import traceback
from pathlib import Path

from gopro_tools import __version__
from gopro_tools.errors import InputError

_ADVICE = {
    errno.ENOSPC: "Make room and run the same command again; what was finished is kept.",
    errno.EACCES: "Choose another place, or change its permissions.",
    errno.ENOTDIR: "A folder was expected there, and a file is in the way: choose another place.",
    errno.EISDIR: "A file was expected there, and a folder is in the way: choose another place.",
    errno.ENOENT: "Check the name and, where a link is on the way, where it leads.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "A link leads back to itself: remove it.",
    errno.EMFILE: "Use fewer --jobs, or allow more open files (ulimit -n).",
    errno.EIO: "The disk or the network failed: try again, or copy the file to another disk first.",
}
_LIKE = {
    errno.EDQUOT: errno.ENOSPC,
    errno.EFBIG: errno.ENOSPC,
    errno.EPERM: errno.EACCES,
    errno.EROFS: errno.EACCES,
    errno.EEXIST: errno.ENOTDIR,  # of a folder that is to be made
    errno.ENFILE: errno.EMFILE,
}


def system_message(error: OSError | MemoryError) -> str:
    """What the system refused, for which file, and what to do about it."""
    if isinstance(error, MemoryError):
        return (
            f"not enough memory{f' ({error})' if str(error) else ''}. What was written is kept; "
            "close other programs, or use fewer --jobs or smaller images."
        )
    names = (name for name in (error.filename, error.filename2) if isinstance(name, str | bytes))
    files = " -> ".join(map(os.fsdecode, names))
    reason = error.strerror or str(error) or type(error).__name__
    advice = _ADVICE.get(_LIKE.get(error.errno or 0, error.errno or 0), "")
    return f"{f'{files}: ' if files else ''}{reason}. {advice}".rstrip()


def reason_of(error: InputError | OSError) -> str:
    """Why one of many inputs is left out, in words for people."""
    return system_message(error) if isinstance(error, OSError) else str(error)


def fault_message(error: Exception) -> str:
    """One line on an unforeseen exception; its traceback goes to a log file."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return f"not enough memory on the device ({str(error).splitlines()[0]})."
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"unexpected {what[:300]} ({_place(error)}). This is a fault of the program; please report "
        f"it with {_log(error)}."
    )


def _place(error: Exception) -> str:
    """The innermost line of our code in the traceback."""
    here = Path(__file__).parent.parent
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if (path := Path(frame.filename)).is_relative_to(here)
        and "site-packages" not in path.relative_to(here).parts
    ]
    if not frames:
        return "outside the program"
    return f"{Path(frames[-1].filename).relative_to(here).as_posix()}, line {frames[-1].lineno}"


def _log(error: Exception) -> str:
    lines = [
        f"gopro_tools {__version__}, Python {platform.python_version()}, {platform.platform()}\n",
        f"{sys.argv!r}\n\n",
        *traceback.format_exception(error),
    ]
    text = "".join(lines)
    try:
        handle, name = tempfile.mkstemp(prefix="gopro_tools-fault-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as reason:
        return f"what it was doing (no log could be written: {reason.strerror})"
    return name
