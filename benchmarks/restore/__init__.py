"""Restore images with a trained network or anyone's: ``python -m benchmarks.restore``.

A restorer is anything with ``restore(blurred) -> restored`` on 8-bit RGB; `open_restorer` makes
those of this project from a weight file and others from ``package.module:factory``.
"""

from benchmarks.restore.restorers import NetworkRestorer, RestoreOptions, open_restorer
from benchmarks.restore.run import RestoreSummary, find_images, restore_all
from benchmarks.restore.tiles import (
    Restorer,
    TiledRestorer,
    receptive_radius_px,
    restore_in_tiles,
)

__all__ = [
    "NetworkRestorer",
    "RestoreOptions",
    "RestoreSummary",
    "Restorer",
    "TiledRestorer",
    "find_images",
    "open_restorer",
    "receptive_radius_px",
    "restore_all",
    "restore_in_tiles",
]
