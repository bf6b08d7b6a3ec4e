"""Restore images with a trained network or anyone's: ``python -m benchmarks.restore``.

A restorer is anything with ``restore(blurred) -> restored`` on 8-bit RGB; `open_restorer` makes
those of this project from a weight file and others from ``package.module:factory``.
"""

from benchmarks.restore.restorers import NetworkRestorer, RestoreOptions, open_restorer
from benchmarks.restore.tiles import TiledRestorer, receptive_radius_px, restore_in_tiles

__all__ = [
    "NetworkRestorer",
    "RestoreOptions",
    "TiledRestorer",
    "open_restorer",
    "receptive_radius_px",
    "restore_in_tiles",
]
