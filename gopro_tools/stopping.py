"""Stop requests: long work finishes its current step and saves instead of being cut off."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals() -> Iterator[dict[str, int]]:
    """Notice SIGTERM and Ctrl-C without being ended by them.

    Yields:
        A dict that gets ``"signal"`` (its number) when one arrives; test it between steps. A second
        Ctrl-C ends the program as usual. In threads other than the main one, which get no signals,
        it stays empty.
    """
    found: dict[str, int] = {}
    if threading.current_thread() is not threading.main_thread():
        yield found
        return

    def note(number: int, _frame: object) -> None:
        found["signal"] = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
