"""``--minutes``: the time that a command may take."""

import math
import time
from collections.abc import Callable

from gopro_tools.errors import InputError

EXIT_UNFINISHED = 3
"""Exit code where the minutes are over: the same command continues."""


def started_clock(minutes: float | None) -> Callable[[], bool]:
    """Start a clock that says whether the minutes are over; None is no limit.

    Raises:
        InputError: Not a positive number.
    """
    if minutes is not None and not minutes > 0:
        raise InputError(f"--minutes {minutes}: a positive number was expected.")
    end = math.inf if minutes is None else time.monotonic() + 60 * minutes
    return lambda: time.monotonic() >= end
