"""YOLO text files: a folder of ``class x y width height`` lines, as fractions of the image size."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from gopro_tools.detection.coco_json import described, read_text
from gopro_tools.errors import InputError
from gopro_tools.images import find_files

_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
_YAML_SUFFIXES = (".yaml", ".yml")
_MAX_YAML = 1_000_000
_MAX_DEPTH = 50
_NESTED = re.compile(r"(?:[-?]\s+){50,}")
_N_FOLDERS_UP = 2
_TOLERANCE = 1e-6
_TIGHT = 0.02
"""How far, as a fraction of the image size, a box may be from what it is drawn around."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class YoloClasses:
    """What the files beside the labels say about them."""

    names: tuple[str, ...] | None
    """None where nothing names the classes."""
    source: Path | None = None
    """The file that does."""
    keypoint_shape: tuple[int, int] | None = None
    """For pose labels: the number of key points, and of values per point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class YoloObject:
    """One line: an object."""

    class_number: int
    edges: Box
    """Left, top, right, bottom as fractions of the image size."""


def find_classes(folder: Path) -> YoloClasses:
    """Find the names of the classes: in the folder, in its ``labels``, or up to two folders up.

    Read are ``classes.txt``, ``obj.names``, ``_darknet.labels`` and any YAML file with ``names``,
    such as ``data.yaml``. The nearest folder that has one counts.

    Raises:
        InputError: Files in one folder disagree, or one is damaged.
    """
    resolved = folder.resolve()
    places = [folder, *(path for path in (folder / "labels",) if path.is_dir())]
    places += list(resolved.parents)[:_N_FOLDERS_UP]
    for place in places:
        found = list(_classes_in(place))
        if not found:
            continue
        for other in found[1:]:
            if other.names != found[0].names:
                raise InputError(
                    f"{other.source} and {found[0].source} name other classes; keep the one that "
                    "the labels were made with."
                )
        shapes = [one for one in found if one.keypoint_shape]
        return (shapes or found)[0]
    return YoloClasses(names=None)


def _classes_in(folder: Path) -> Iterator[YoloClasses]:
    try:
        entries = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:  # a parent folder that may not be read
        return
    for path in entries:
        if path.name in _LISTS:
            yield YoloClasses(names=read_class_names(path), source=path)
        elif path.suffix.lower() in _YAML_SUFFIXES and (found := _read_yaml(path)):
            yield found


class _TextLoader(yaml.BaseLoader):
    """Scalars as text, and no duplicate keys, of which the last would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if repeated := [key for key, count in keys.items() if count > 1]:
            raise yaml.YAMLError(f"{', '.join(repeated)} occurs twice")
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> YoloClasses | None:
    """Names and key points of a dataset's YAML file; None where it names no classes."""
    text = read_text(path)
    if "names" not in text:
        return None
    depths = accumulate((c in "[{") - (c in "]}") for c in text)
    if len(text) > _MAX_YAML or max(depths, default=0) > _MAX_DEPTH or _NESTED.search(text):
        # The parser's time grows with the square of the depth.
        raise InputError(f"{path}: not YAML of a dataset: far too large or too deeply nested.")
    try:
        # All scalars as text: a class called `no` is not a Boolean.
        document = yaml.load(text, Loader=_TextLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        deep = isinstance(error, RecursionError)
        reason = "too deeply nested" if deep else " ".join(str(error).split())
        raise InputError(f"{path}: not YAML, or cut off ({reason}).") from error
    if not isinstance(document, dict) or "names" not in document:
        return None
    given = document["names"]
    try:
        if isinstance(given, dict):
            by_number = {_index(number): name for number, name in given.items()}
            given = [by_number[i] for i in range(len(by_number))]
        if not isinstance(given, list) or not all(isinstance(n, str) and n for n in given):
            raise ValueError(f"{given!r:.80}")
        shape = document.get("kpt_shape")
        points = (int(shape[0]), int(shape[1])) if isinstance(shape, list) else None
        n_classes = int(document.get("nc", len(given)))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"{path}: `names` is a list of class names, or of numbers from 0 with names; found "
            f"{described(error)}."
        ) from error
    if n_classes != len(given) or len(set(given)) != len(given):
        raise InputError(f"{path}: `nc` is {n_classes}, but `names` has {len(set(given))} names.")
    return YoloClasses(names=tuple(given), source=path, keypoint_shape=points)


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names, one per line.

    Raises:
        InputError: The file is missing, empty or not text, has an empty line between names or a
            name twice.
    """
    names = tuple(line.strip() for line in read_text(path).rstrip().splitlines())
    if not any(names):
        raise InputError(f"{path}: no class names there; one per line was expected.")
    if "" in names:
        raise InputError(
            f"{path}, line {names.index('') + 1}: an empty line between names; whether it counts "
            "as a class is not known. Remove it, or name the class."
        )
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(f"{path}: names {', '.join(repeated)} twice.")
    return names


def label_files(folder: Path) -> dict[str, Path]:
    """Text files with labels by their path inside the folder; lists of classes left out."""
    found = find_files(folder, frozenset({".txt"}))
    return {str(inside): path for inside, path in found.items() if inside.name not in _LISTS}


def read_objects(
    files: Sequence[Path], n_classes: int, keypoint_shape: tuple[int, int] | None
) -> dict[Path, list[YoloObject]]:
    """Read the objects of all files; all are looked at to tell outlines from key points.

    A line has a box, a box and its key points, or the outline of segmentation labels.

    Raises:
        InputError: A line is none of these (it is named), or the lines could be either outlines or
            key points.
    """
    lines = {
        path: [
            (number, line.split())
            for number, line in enumerate(read_text(path).splitlines(), start=1)
            if line.strip()
        ]
        for path in files
    }
    have_points = _have_points([w for rows in lines.values() for _, w in rows], keypoint_shape)
    if have_points is None:
        raise InputError(
            f"{files[0].parent}: every line has equally many numbers, and the first four could "
            "be a box around the rest: key points or outlines? Set kpt_shape in data.yaml, or "
            "leave the box alone on each line."
        )
    objects: dict[Path, list[YoloObject]] = {}
    for path, rows in lines.items():
        objects[path] = []
        for number, words in rows:
            try:
                class_number = _index(words[0])
                if class_number >= n_classes:
                    raise ValueError("no such class")
                edges = _edges(list(map(float, words[1:])), have_points)
            except ValueError as error:
                hint = " A sixth number: labels have no confidence." if len(words) == 6 else ""
                if words[0] == str(n_classes):
                    hint = " Classes count from 0."
                raise InputError(
                    f"{path}, line {number}: expected `class x y width height`, a class from 0 to "
                    f"{n_classes - 1} and numbers in [0, 1]; found {' '.join(words)[:80]!r}.{hint}"
                ) from error
            objects[path].append(YoloObject(class_number=class_number, edges=edges))
    return objects


def _have_points(rows: Sequence[Sequence[str]], shape: tuple[int, int] | None) -> bool | None:
    """Whether lines longer than a box have key points; None where outlines are equally likely."""
    if shape is not None:
        return True
    longer = []
    for words in rows:
        try:
            numbers = list(map(float, words[1:]))
        except ValueError:
            continue  # named when it is read
        if len(numbers) > 5:
            longer.append(numbers)
    if not longer or len({len(numbers) for numbers in longer}) > 1:
        return False
    first_fits = [_box_holds_rest(numbers) for numbers in longer]
    if len(longer[0]) % 2:  # x, y and visibility: an outline has an even number
        return True
    return None if all(first_fits) else False


def _box_holds_rest(numbers: Sequence[float]) -> bool:
    """Whether the first four numbers are a box in the image that holds the points after them."""
    x1, y1, x2, y2 = _corners(numbers)
    xs, ys = [x for x in numbers[4::2] if x], [y for y in numbers[5::2] if y]
    inside = all(x1 - _TIGHT <= x <= x2 + _TIGHT for x in xs)
    inside = inside and all(y1 - _TIGHT <= y <= y2 + _TIGHT for y in ys)
    return inside and min(x1, y1) >= -_TIGHT and max(x2, y2) <= 1 + _TIGHT


def _box_is_of_rest(numbers: Sequence[float]) -> bool:
    """Whether the first four numbers are the very box around the points after them."""
    if len(numbers) < 8 or len(numbers) % 2:
        return False
    xs, ys = numbers[4::2], numbers[5::2]
    around = (min(xs), min(ys), max(xs), max(ys))
    return all(abs(a - b) <= _TIGHT for a, b in zip(_corners(numbers), around, strict=True))


def _corners(numbers: Sequence[float]) -> Box:
    x, y, width, height = numbers[:4]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _edges(numbers: Sequence[float], have_points: bool) -> Box:
    """Edges as fractions of the image size, from a box, a box with more, or an outline."""
    as_box = len(numbers) == 4 or (len(numbers) > 5 and (have_points or _box_is_of_rest(numbers)))
    shown = numbers[:4] if as_box else numbers
    if not all(-_TOLERANCE <= number <= 1 + _TOLERANCE for number in shown):
        raise ValueError("not fractions of the image size")
    if as_box:
        return _corners(numbers)
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError("neither a box nor an outline")
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def _index(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError(f"{text[:40]!r} is not a class number")
    return int(text)
