"""The command line of response curves: measure one, show one."""

from typing import Annotated

import tyro

from gopro_tools.response.config import CalibrateConfig, ShowConfig


def command(
    action: Annotated[
        Annotated[CalibrateConfig, tyro.conf.subcommand("calibrate")]
        | Annotated[ShowConfig, tyro.conf.subcommand("show")],
        tyro.conf.arg(name=""),
    ],
) -> int:
    """Camera response curves; exit code 1 if the images of a bracket disagree."""
    from gopro_tools.response.showing import measure, show

    if isinstance(action, CalibrateConfig):
        return measure(action)
    show(action)
    return 0
