"""What FFmpeg's libraries say while they read: some damage is only in their messages."""

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
"""Errors by name only: notes of a camera's maker, references that nobody needs any more."""
_DAMAGE = re.compile(
    r"EOI missing|overread|conceal|corrupt|mismatch|truncat|invalid|missing|prematurely|"
    r"incomplete|partial file|damaged|checksum|broken",
    re.IGNORECASE,
)
"""Warnings that mean that some of a picture was guessed."""


Result = TypeVar("Result")


def heard(action: Callable[[], Result], *, everywhere: bool) -> tuple[Result | None, list[str]]:
    """Result of a call into FFmpeg within `hearing`, and what it complained of.

    An error is a complaint, too; the result is None then.
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
    """Collect what FFmpeg complains of while the block runs.

    Args:
        everywhere: Hear the decoder's own threads too, and with them whatever other Python
            threads decode at the moment.
        chatty: Hear what is information only, as well; the list then holds every line.

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
    """Have FFmpeg speak while the block runs: around many `listening` blocks, it saves time."""
    _start()
    try:
        yield
    finally:
        _stop()


def means_damage(level: int, text: str) -> bool:
    """Whether a message of FFmpeg says that data is missing or was made up."""
    if text.lstrip().startswith("concealing"):
        return True  # said in passing
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
            # INFO is what av_dump_format() writes at; a message that comes again counts again.
            av.logging.set_level(av.logging.INFO)
            av.logging.set_skip_repeated(False)
            # What is said outside a block that listens (by the conversion to RGB, by other
            # threads' decoders) is for nobody.
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
