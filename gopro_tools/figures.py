"""Plots: the one place that knows matplotlib is an extra."""

from typing import Any

from gopro_tools.errors import InputError


def new_figure(width_in: float, height_in: float) -> Any:
    """An empty matplotlib figure that needs no screen; save it with ``savefig``.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "matplotlib is not installed: pip install 'gopro-tools[report]'."
        ) from error
    return Figure(figsize=(width_in, height_in), layout="constrained")
