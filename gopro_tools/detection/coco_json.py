"""The parts of COCO's JSON format that detections and labels share."""

import json
import math
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from gopro_tools.errors import InputError

MAX_TEXT_BYTES = 2**30
"""COCO's own largest label file is half as large."""


def read_coco(path: Path) -> dict[str, Any]:
    """Read the file; `InputError` where it is not COCO JSON."""
    text = read_text(path)
    try:
        document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_without_doubles)
    except _GivenTwiceError as error:
        raise InputError(f"{path}: {error}; which of them counts is unknown. Keep one.") from error
    except (ValueError, RecursionError, MemoryError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise InputError(f"{path}: not JSON, or cut off ({reason}); write it again.") from error
    if isinstance(document, list) and document and isinstance(document[0], dict):
        raise InputError(
            f"{path}: a list of results alone does not say which images and classes they are "
            "of. Write an object with `images` and `categories` of the labels' file, and the list "
            "as `annotations`."
        )
    parts = ("images", "annotations", "categories")
    if not isinstance(document, dict) or not all(isinstance(document.get(p), list) for p in parts):
        found = (
            listed(document, 10) if isinstance(document, dict) else f"a {type(document).__name__}"
        )
        raise InputError(
            f"{path}: COCO JSON was expected, an object with the lists images, annotations and "
            f"categories; found {found or 'an empty object'}."
        )
    return document


class _GivenTwiceError(ValueError):
    """A key that occurs twice in one object."""


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without duplicate keys, of which Python would silently keep the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        (key, count), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise _GivenTwiceError(f"one object has {key[:60]!r} {count} times")
    return found


def categories(path: Path, document: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[Any, int]]:
    """Class names by ascending category id, and the class id of each category id."""
    try:
        names = {as_id(entry["id"]): as_text(entry["name"]) for entry in document["categories"]}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: each category needs `id` and `name`; found {described(error)}."
        ) from error
    if len(names) != len(document["categories"]) or len(set(names.values())) != len(names):
        raise InputError(f"{path}: two categories share an id or a name.")
    if len({type(key) for key in names}) > 1:
        raise InputError(
            f"{path}: category ids are {ids_text(names)}: some numbers, some text. Write all as "
            "numbers."
        )
    ordered = sorted(names)
    return tuple(names[key] for key in ordered), {key: i for i, key in enumerate(ordered)}


def image_ids(path: Path, document: Mapping[str, Any]) -> dict[Any, dict[str, Any]]:
    """Images by their ids.

    Raises:
        InputError: An image lacks id or name, or two have the same; or an annotation belongs to no
            image: it would silently be lost.
    """
    images: dict[Any, dict[str, Any]] = {}
    names: set[str] = set()
    try:
        for image in document["images"]:
            name = as_text(image["file_name"])
            if as_id(image["id"]) in images or name in names:
                raise InputError(
                    f"{path}: two images have the id {image['id']!r} or name {name!r}."
                )
            images[image["id"]] = image
            names.add(name)
        for box in document["annotations"]:
            if (key := as_id(box["image_id"])) not in images:
                raise InputError(
                    f"{path}: an annotation has image_id {_id_text(key)}, but the ids of the "
                    f"images are {ids_text(images)}. Ids must be equal, numbers or text."
                )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: each image needs `id` and `file_name`, each annotation `image_id`; found "
            f"{described(error)}."
        ) from error
    return images


def box_xywh(entry: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """The ``bbox`` of an annotation; `ValueError` where it is not left, top, width and height."""
    if not isinstance(entry["bbox"], list):
        raise ValueError(f"a bbox {entry['bbox']!r:.60}")
    numbers = [as_number(value, "bbox") for value in entry["bbox"]]
    if len(numbers) != 4:
        raise ValueError(f"a bbox of {len(numbers)} numbers")
    x, y, width, height = numbers
    if width < 0 or height < 0:
        raise ValueError(f"a bbox with a negative size, {numbers}")
    return x, y, width, height


def class_of_box(path: Path, entry: Mapping[str, Any], class_of: Mapping[Any, int]) -> int:
    """Class id of an annotation; `InputError` where the file has no such category."""
    key = as_id(entry["category_id"])
    if key not in class_of:
        raise InputError(
            f"{path}: an annotation has category_id {_id_text(key)}, but the ids of the "
            f"categories are {ids_text(class_of)}. Ids must be equal, numbers or text."
        )
    return class_of[key]


def as_id(value: Any) -> int | str:
    """An id as JSON has it; `ValueError` for anything but a whole number or text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"an id {value!r:.60}; whole numbers or text were expected")
    return value


def as_text(value: Any) -> str:
    """Text that is not empty; `ValueError` for anything else."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r:.60} instead of a name")
    return value


def as_number(value: Any, what: str) -> float:
    """A finite number; `ValueError` for anything else, text with digits included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what} {value!r:.60} instead of a number")
    if (isinstance(value, int) and abs(value) > 2**53) or not math.isfinite(value):
        raise ValueError(f"{what} out of any range")
    return float(value)


def as_flag(value: Any, what: str) -> bool:
    """0, 1, true or false; `ValueError` for anything else: the text "0" would count as true."""
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{what} {value!r:.60} instead of 0 or 1")


def ids_text(ids: Collection[Any]) -> str:
    """A few ids and their type, for messages."""
    shown = ", ".join(map(_id_text, list(ids)[:3]))
    return f"{shown}{', ...' if len(ids) > 3 else ''}" if ids else "none"


def _id_text(key: int | str) -> str:
    return f"{str(key)[:30]!r} (text)" if isinstance(key, str) else f"{str(key)[:30]} (a number)"


def read_text(path: Path) -> str:
    """Read a text file; `InputError` where there is none."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise InputError(f"{path}: a text file was expected, found something else.")
        if status.st_size > MAX_TEXT_BYTES:
            raise InputError(f"{path}: {status.st_size:,} bytes are too many for a text file.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: text was expected, found other bytes.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def described(error: Exception) -> str:
    """What was wrong with an entry: a missing key, or the error's own words."""
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def listed(names: Iterable[str], most: int = 20) -> str:
    """Names for a message, the first few of them."""
    names = list(names)
    shown = (name if name.isprintable() else repr(name) for name in names[:most])
    return ", ".join(f"{name:.60}" for name in shown) + (", ..." if len(names) > most else "")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
