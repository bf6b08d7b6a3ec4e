"""The command line of response curves: measure one, show one."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from gopro_tools.console import EXIT_FINDINGS, run_command, stderr
from gopro_tools.figures import new_figure
from gopro_tools.files import write_atomic
from gopro_tools.response import Response
from gopro_tools.response.calibration import (
    USED_CODES,
    Method,
    calibrate,
    deviation,
    local_exponents,
    read_bracket,
)

_LARGE_MISFIT_CODES = 3.0


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """Measure a camera's response from one still scene at several exposure times."""

    bracket: tyro.conf.Positional[Path]
    """Folder of 8-bit images: tripod, the same aperture, ISO and white balance, shutter time alone
    changed. Eight images over six stops are good."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("response.npy")
    """Table to write (256x1x3, BGR, as OpenCV and the REDS page have it), for --response; a plot of
    the same name with .png lies beside it."""
    method: Method = "robertson"
    """robertson uses all pixels; debevec a few, with a smooth curve."""
    times: tuple[str, ...] = ()
    """Exposure times, such as 1/60 1/30 1/15, in natural order of the file names; from EXIF without
    it."""


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Say what a response is like, and plot it."""

    response: tyro.conf.Positional[str]
    """A .npy table, or gamma2.2, srgb, linear."""
    plot: Path | None = None
    """Where to write a plot (.png); needs matplotlib."""


def command(
    action: Annotated[
        Annotated[CalibrateConfig, tyro.conf.subcommand("calibrate")]
        | Annotated[ShowConfig, tyro.conf.subcommand("show")],
        tyro.conf.arg(name=""),
    ],
) -> int:
    """Camera response curves; exit code 1 if the images of a bracket disagree."""
    if isinstance(action, ShowConfig):
        _describe(Response.named(action.response))
        if action.plot is not None:
            plot(Response.named(action.response), action.plot)
        return 0
    bracket = read_bracket(action.bracket, action.times)
    found = calibrate(bracket, action.method)
    buffer = io.BytesIO()
    np.save(buffer, found.table)
    write_atomic(action.out, buffer.getvalue())
    plot(found.response, action.out.with_suffix(".png"))
    n_stops = np.log2(max(bracket.times_s) / min(bracket.times_s))
    stderr.print(
        f"{len(bracket.images)} images over {n_stops:.1f} stops; the images differ from the curve "
        f"by {found.misfit_codes:.1f} codes (median).",
        markup=False,
    )
    _describe(found.response)
    stderr.print(f"Written: {action.out}; use it with --response {action.out}.", markup=False)
    if not found.misfit_codes <= _LARGE_MISFIT_CODES:
        stderr.print(
            "The images disagree: did the scene or the camera move, or another setting change?",
            style="red",
        )
        return EXIT_FINDINGS
    return 0


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


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m gopro_tools.response``."""
    run_command(command, arguments)
