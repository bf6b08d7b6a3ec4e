"""Plots: the one place that knows matplotlib is an extra."""

import os
import tempfile
from pathlib import Path
from typing import Any

from gopro_tools.errors import InputError, installs


def new_figure(width_in: float, height_in: float) -> Any:
    """An empty matplotlib figure that needs no screen; save it with ``savefig``.

    Raises:
        InputError: matplotlib is not installed.
    """
    _keep_caches_out_of_home()
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"matplotlib is not installed: {installs('report')}.") from error
    return Figure(figsize=(width_in, height_in), layout="constrained")


def _keep_caches_out_of_home() -> None:
    """Let matplotlib cache its font list among temporary files rather than in the user's home."""
    if "MPLCONFIGDIR" in os.environ:
        return
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir(), f"gopro_tools-matplotlib-{user}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        # Another user may have planted a folder or link of that name to make us write there.
        if folder.is_symlink() or (hasattr(os, "getuid") and folder.stat().st_uid != user):
            folder = Path(tempfile.mkdtemp(prefix="gopro_tools-matplotlib-"))
    except OSError:  # matplotlib makes a folder of its own then
        return
    os.environ["MPLCONFIGDIR"] = str(folder)
