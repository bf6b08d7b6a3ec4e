"""Tasks for workers elsewhere, in a module that takes no time to import there."""

import os
import signal
import time
from pathlib import Path
from typing import Any

Task = tuple[int, str, Path]
"""Number, what happens, and a folder for notes that outlive the process."""


class Negative:
    """A restorer: 255 minus the image."""

    def __init__(self, weights: Path | None, device: str) -> None: ...

    def restore(self, blurred: Any) -> Any:
        return 255 - blurred


def work(task: Task) -> int:
    number, what, folder = task
    if what == "exits":
        os._exit(1)
    if what == "is killed once":
        marker = folder / f"killed-{number}"
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if what == "raises":
        raise ValueError("a fault in the work")
    time.sleep(0.01)
    return number
