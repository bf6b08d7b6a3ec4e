"""Köhler et al. 2012: each blurred image with the sharp ones along the camera's path."""

import re
from pathlib import Path, PurePosixPath

from gopro_tools.files import natural_key
from gopro_tools.images import find_images
from gopro_tools.layouts.place import Pairs, Place

_BLURRED = re.compile(r"Blurry(\d+_\d+)", re.IGNORECASE)
_SHARP = re.compile(r"GroundTruth(\d+_\d+)_\d+", re.IGNORECASE)


def is_koehler_blurred(name: str) -> bool:
    """Whether a file is named as the blurred images of the set."""
    return _BLURRED.match(name) is not None


def koehler_pairs(place: Place) -> Pairs:
    """List the pairs, see `list_pairs`."""
    sharp: dict[str, list[Path]] = {}
    blurred: dict[PurePosixPath, Path] = {}
    for path in find_images(place.folder).values():
        if match := _SHARP.match(path.name):
            sharp.setdefault(match[1], []).append(path)
        elif _BLURRED.match(path.name):
            blurred[PurePosixPath(path.name)] = path
    key_of = {match[1]: key for key in blurred if (match := _BLURRED.match(key.name))}
    return Pairs(
        sharp={
            key_of.get(number, PurePosixPath(f"Blurry{number}.png")): tuple(
                sorted(paths, key=lambda path: natural_key(path.name))
            )
            for number, paths in sharp.items()
        },
        blurred=blurred,
    )
