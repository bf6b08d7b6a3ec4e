"""`python -m baselines.checkpoints show FILE`, `… convert FILE OUT`."""

import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from baselines.checkpoints import convert, describe
from gopro_tools.console import run_command

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Show:
    """Say what a weight file is: method, architecture, parameters, step, metrics, hash; as JSON."""

    file: tyro.conf.Positional[Path]
    """One of our checkpoints, or an official file of DeepDeblur-PyTorch or DeblurGAN."""


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Write the restoring network alone as one of our checkpoints."""

    file: tyro.conf.Positional[Path]
    """An official file, or one of our checkpoints, whose training state is then left out."""
    out: tyro.conf.Positional[Path]
    """The new checkpoint, `.safetensors`; its JSON sidecar goes beside it."""


def checkpoints(
    command: Annotated[
        Annotated[Show, tyro.conf.subcommand("show")]
        | Annotated[Convert, tyro.conf.subcommand("convert")],
        tyro.conf.arg(name=""),
    ],
) -> int:
    """Look into weight files and convert them."""
    if isinstance(command, Show):
        sys.stdout.write(json.dumps(describe(command.file), indent=2) + "\n")
    else:
        record = convert(command.file, command.out)
        log.info("%s: %s, %s", command.out, record.method, record.source)
    return 0


def main() -> None:
    """Run `python -m baselines.checkpoints`."""
    run_command(checkpoints)


if __name__ == "__main__":
    main()
