"""Measuring a response, and describing one."""

import io
from pathlib import Path

import numpy as np

from gopro_tools.console import EXIT_FINDINGS, stderr
from gopro_tools.figures import new_figure
from gopro_tools.files import write_atomic
from gopro_tools.response.calibration import (
    USED_CODES,
    calibrate,
    deviation,
    local_exponents,
    read_bracket,
)
from gopro_tools.response.config import CalibrateConfig, ShowConfig
from gopro_tools.response.curves import Response

_LARGE_MISFIT_CODES = 3.0


def measure(config: CalibrateConfig) -> int:
    """Calibrate, write the table and the plot, and report what was found; returns the exit code."""
    bracket = read_bracket(config.bracket, config.times)
    found = calibrate(bracket, config.method)
    buffer = io.BytesIO()
    np.save(buffer, found.table)
    write_atomic(config.out, buffer.getvalue())
    plot(found.response, config.out.with_suffix(".png"))
    n_stops = np.log2(max(bracket.times_s) / min(bracket.times_s))
    stderr.print(
        f"{len(bracket.images)} images over {n_stops:.1f} stops; the images differ from the curve "
        f"by {found.misfit_codes:.1f} codes (median).",
        markup=False,
    )
    _describe(found.response)
    for note in bracket.notes:
        stderr.print(note, markup=False, style="yellow")
    stderr.print(f"Written: {config.out}; use it with --response {config.out}.", markup=False)
    if not found.misfit_codes <= _LARGE_MISFIT_CODES:
        stderr.print(
            "The images disagree: did the scene or the camera move, or another setting change?",
            style="red",
        )
        return EXIT_FINDINGS
    return 0


def show(config: ShowConfig) -> None:
    """Describe a response, and plot it if asked to."""
    response = Response.named(config.response)
    _describe(response)
    if config.plot is not None:
        plot(response, config.plot)


def _describe(response: Response) -> None:
    """Channel by channel: local exponents, and how far from gamma 2.2."""
    for name, slopes in local_exponents(response).items():
        text = ", ".join(f"{c} {slope:.2f}" for c, slope in zip("RGB", slopes, strict=True))
        stderr.print(f"exponent at codes {name}: {text}", markup=False)
    low, high = USED_CODES
    for color, apart in zip("RGB", deviation(response, Response.named("gamma2.2")), strict=True):
        stderr.print(
            f"{color} against gamma 2.2, codes {low} to {high}: {apart.mean_codes:.1f} codes on "
            f"average, at most {apart.largest_codes:.1f} (at code {apart.at_code}).",
            markup=False,
        )


def plot(response: Response, path: Path) -> None:
    """Light over code, linear and logarithmic, beside gamma 2.2.

    Raises:
        InputError: matplotlib is not installed.
    """
    figure = new_figure(9.6, 4.4)
    gamma = Response.named("gamma2.2").linear_of_code[:, 0]
    codes = np.arange(256)
    for axes, scale in zip(figure.subplots(1, 2), ("linear", "log"), strict=True):
        for channel, color in enumerate(("tab:red", "tab:green", "tab:blue")):
            axes.plot(codes, response.linear_of_code[:, channel], color=color)
        axes.plot(codes, gamma, "k--", linewidth=1, label="gamma 2.2")
        axes.set_xscale(scale)
        axes.set_yscale(scale)
        axes.set_xlabel("code")
        axes.set_ylabel("linear light, 1 at code 255")
        axes.grid(alpha=0.3)
    axes.set_xlim(4, 255)
    axes.set_ylim(1e-4, 1.1)
    figure.suptitle(f"Camera response: {response.name}")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    write_atomic(path, buffer.getvalue())
