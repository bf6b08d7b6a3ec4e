"""`python -m baselines.checkpoints show FILE`, `… export FILE OUT.onnx`."""

import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from baselines.methods import KINDS
from gopro_tools.console import run_command

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Show:
    """Describe a weight file as JSON: method, architecture, parameters, step, metrics, hash."""

    file: tyro.conf.Positional[Path]
    """One of our checkpoints, or an official file of DeepDeblur-PyTorch or DeblurGAN."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write the restoring network as ONNX, for images of any size."""

    file: tyro.conf.Positional[Path]
    """One of our checkpoints, or an official file."""
    out: tyro.conf.Positional[Path]
    """The ONNX file: input `blurred`, output `restored`, (N, 3, H, W) float32 RGB in [0, 1]."""


def checkpoints(
    command: Annotated[
        Annotated[Show, tyro.conf.subcommand("show")]
        | Annotated[Export, tyro.conf.subcommand("export")],
        tyro.conf.arg(name=""),
    ],
) -> int:
    """Describe and export weight files."""
    from baselines.checkpoints.restorers import describe, export_onnx

    if isinstance(command, Show):
        sys.stdout.write(json.dumps(describe(command.file, KINDS), indent=2) + "\n")
    else:
        record = export_onnx(command.file, command.out, KINDS)
        log.info("%s: %s", command.out, record.method)
    return 0


def main() -> None:
    """Run `python -m baselines.checkpoints`."""
    run_command(checkpoints)


if __name__ == "__main__":
    main()
