"""What FFmpeg's libraries log while they read: some damage shows only in their messages."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import av
import av.logging

_lock = Lock()
_n_listening = 0
_before: tuple[int | None, bool, bool] = (None, True, True)
_logger = logging.getLogger("libav")
_logger.addHandler(logging.NullHandler())

_HARMLESS = re.compile(
    r"ignoring invalid SAR|unable to decode APP fields|unref short failure|SEI type|"
    r"co located POCs|"
    r"Packet corrupt|"  # the packet is marked
    r"VPS \d+ does not exist|at [\d.]+ seconds|hardware|hwaccel|deprecated pixel format",
    re.IGNORECASE,
)
"""Errors in name only: a camera maker's notes, references that are no longer needed."""
_DAMAGE = re.compile(
    r"EOI missing|overread|conceal|corrupt|mismatch|truncat|invalid|missing|prematurely|"
    r"incomplete|partial file|damaged|checksum|broken",
    re.IGNORECASE,
)
"""Warnings that mean that part of a picture was guessed."""


Result = TypeVar("Result")


def heard(action: Callable[[], Result], *, everywhere: bool) -> tuple[Result | None, list[str]]:
    """Result of a call into FFmpeg within `hearing`, and its complaints.

    An error counts as a complaint, with None as the result.
    """
    result, complaints = None, []
    with av.logging.Capture(local=not everywhere) as lines:
        try:
            result = action()
        except av.FFmpegError as error:
            complaints = [error.strerror or str(error)]
    if lines:
        complaints += [text.strip() for level, _, text in lines if means_damage(level, text)]
    return result, complaints


@contextmanager
def listening(*, everywhere: bool = False, chatty: bool = False) -> Iterator[list[str]]:
    """Collect FFmpeg's complaints while the block runs.

    Args:
        everywhere: Also hear the decoder's own threads, and with them whatever other Python threads
            are decoding.
        chatty: Also hear mere information; the list then holds every line.

    Yields:
        A list that is filled when the block ends, with messages that mean damage.
    """
    messages: list[str] = []
    with hearing(), av.logging.Capture(local=not everywhere) as lines:
        try:
            yield messages
        finally:
            messages += [
                text.strip() for level, _, text in lines if chatty or means_damage(level, text)
            ]


@contextmanager
def hearing() -> Iterator[None]:
    """Turn on FFmpeg's log for the block; around many `listening` blocks, this saves time."""
    _start()
    try:
        yield
    finally:
        _stop()


def means_damage(level: int, text: str) -> bool:
    """Whether a message of FFmpeg says that data is missing or was made up."""
    if text.lstrip().startswith("concealing"):
        return True  # a side note
    if level > av.logging.WARNING or _HARMLESS.search(text):
        return False
    return level <= av.logging.ERROR or bool(_DAMAGE.search(text))


def _start() -> None:
    global _n_listening, _before
    with _lock:
        if _n_listening == 0:
            _before = (
                av.logging.get_level(),
                av.logging.get_skip_repeated(),
                _logger.propagate,
            )
            # av_dump_format() logs at INFO; a repeated message counts again.
            av.logging.set_level(av.logging.INFO)
            av.logging.set_skip_repeated(False)
            # Messages outside a listening block (from the conversion to RGB, from other threads'
            # decoders) are dropped.
            _logger.propagate = False
        _n_listening += 1


def _stop() -> None:
    global _n_listening
    with _lock:
        _n_listening -= 1
        if _n_listening == 0:
            av.logging.set_level(_before[0])
            av.logging.set_skip_repeated(_before[1])
            _logger.propagate = _before[2]
