"""A dataset in the formats that other training code reads.

    python -m gopro_tools.export DATASET --to lmdb -o OUT
    python -m gopro_tools.export verify OUT DATASET

===========  =====================================================================================
flat         ``{train,test}/{input,target}/<sequence>-<name>.png``: MPRNet, Restormer, NAFNet
crops        ``train/{blur_crops,sharp_crops}/<sequence>-<name>_s001.png``, cut as NAFNet, MPRNet
             and Restormer cut them; the test split stays whole, as in ``flat``
lmdb         BasicSR's databases of those crops: ``train/{blur_crops,sharp_crops}.lmdb`` and
             ``test/{input,target}.lmdb``, each with its ``meta_info.txt``
webdataset   ``train-000000.tar``, ...: ``<sequence>-<name>.{blurred.png,sharp.png,json}``
huggingface  a folder that ``datasets.load_dataset`` reads: ``{train,test}/metadata.jsonl`` with one
             line per pair, and a card
===========  =====================================================================================

A wrong database is expensive: it trains without an error and costs decibels. So an export can be
checked: ``verify`` decodes every image of it and compares its pixels with the dataset's.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gopro_tools.verbs import lazy_package

if TYPE_CHECKING:
    from gopro_tools.export.config import ExportConfig, Format
    from gopro_tools.export.run import ExportResult, export, verify_export
    from gopro_tools.export.samples import Sample

__all__ = [
    "ExportConfig",
    "ExportResult",
    "Format",
    "Sample",
    "export",
    "main",
    "verify_export",
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Console script and ``python -m gopro_tools.export``."""
    from gopro_tools.console import run_command
    from gopro_tools.export.command import export_command, verify_command

    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["verify"]:
        run_command(verify_command, arguments[1:])
    run_command(export_command, arguments)


lazy_package(
    __name__,
    ExportConfig="gopro_tools.export.config",
    ExportResult="gopro_tools.export.run",
    Format="gopro_tools.export.config",
    Sample="gopro_tools.export.samples",
    export="gopro_tools.export.run",
    verify_export="gopro_tools.export.run",
)
