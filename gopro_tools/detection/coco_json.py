"""The parts of COCO's JSON format that detections and labels share."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gopro_tools.errors import InputError


def read_coco(path: Path) -> dict[str, Any]:
    """Read the file; `InputError` where it is not COCO JSON."""
    try:
        document = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON, or cut off ({error}); write it again.") from error
    parts = ("images", "annotations", "categories")
    if not isinstance(document, dict) or not all(isinstance(document.get(p), list) for p in parts):
        found = (
            ", ".join(document) if isinstance(document, dict) else f"a {type(document).__name__}"
        )
        raise InputError(
            f"{path}: COCO JSON was expected, an object with the lists images, annotations and "
            f"categories; found {found or 'an empty object'}."
        )
    return document


def categories(path: Path, document: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[Any, int]]:
    """Class names by ascending category id, and the class id of each category id."""
    try:
        ordered = sorted(
            (category["id"], str(category["name"])) for category in document["categories"]
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: each category needs `id` and `name`.") from error
    return tuple(name for _, name in ordered), {ordered[i][0]: i for i in range(len(ordered))}


def read_text(path: Path) -> str:
    """Read a text file; `InputError` where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: text was expected, found other bytes.") from error


def described(error: Exception) -> str:
    """What was wrong with an entry: a missing key, or the error's own words."""
    return f"no {error}" if isinstance(error, KeyError) else str(error)
