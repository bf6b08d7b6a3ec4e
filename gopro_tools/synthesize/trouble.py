"""Telling permanent damage from passing trouble: only damage is recorded."""

import errno
from pathlib import Path

import av
import cv2

from gopro_tools.errors import PassingError
from gopro_tools.images import IMAGE_SUFFIXES

_SPARE_BYTES = 256 << 20
_BLOCK_BYTES = 4 << 20
_PERMANENT = {errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL}
"""Errors that a source which cannot be opened gives on every try; permissions can be granted."""


def raise_if_passing(error: Exception, source: Path) -> None:
    """Raise PassingError if reading failed for a reason other than the source's content.

    Args:
        error: What reading raised.
        source: A file, or a folder of frames.
    """
    if isinstance(error, PassingError):
        raise error
    if _is_out_of_memory(error):
        raise PassingError(
            f"{source}: not enough memory to read it ({error or 'no more to be had'}). Close other "
            "programs or use fewer --jobs, and run the same command again: it resumes. If this "
            "file is what needs so much, leave it out."
        ) from error
    # libav gives EIO for damaged files too: what counts is whether the bytes can be read.
    if isinstance(error, OSError) and (reason := _unreadable(source)):
        raise PassingError(
            f"{source}: cannot be read ({reason}). Fix that, or leave it out, and run the same "
            "command again: it resumes."
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, cv2.error):
        return getattr(error, "code", 0) == cv2.Error.StsNoMem and _memory_is_short()
    if isinstance(error, av.error.FFmpegError):  # a damaged header asks for any amount
        return isinstance(error, MemoryError) and _memory_is_short()
    return isinstance(error, MemoryError)


def _memory_is_short() -> bool:
    try:
        bytearray(_SPARE_BYTES)
    except MemoryError:
        return True
    return False


def _unreadable(source: Path) -> str:
    """Why the bytes of a source cannot be read; empty if they can, or never could."""
    try:
        files = [source]
        if source.is_dir():
            files = [path for path in source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
        for path in files:
            with path.open("rb") as file:
                while file.read(_BLOCK_BYTES):
                    pass
    except OSError as error:
        return "" if error.errno in _PERMANENT else error.strerror or str(error)
    return ""
