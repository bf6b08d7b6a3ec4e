"""Boxes that people drew on the sharp images: COCO JSON or YOLO text files."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np

from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER
from gopro_tools.detection.boxes import References, is_too_small
from gopro_tools.detection.coco_json import categories, described, read_coco, read_text
from gopro_tools.detection.stored import SizeHw
from gopro_tools.errors import InputError

_KIND_FOLDERS = {SHARP_FOLDER, *BLUR_FOLDERS.values()}
_MOST_LISTED = 20


def read_labels(
    path: Path,
    sizes_hw: Mapping[str, SizeHw],
    class_names: Sequence[str],
    *,
    wanted: Collection[int],
    min_area_px: float,
) -> list[References]:
    """Read the boxes that people drew on the sharp images.

    Images are found by their path without suffix, the folders sharp, blur and blur_gamma left out;
    a shorter path will do where it fits one image only.

    Args:
        path: COCO JSON file, or a folder of YOLO text files (``class x y width height`` in parts of
            the image, one object a line), with ``classes.txt`` where the class numbers are not
            the detector's.
        sizes_hw: Size of each image by key ``<sequence>/<name>``; the order of the answer.
        class_names: Of the detector; labels name their classes the same.
        wanted: Class ids to keep.
        min_area_px: Boxes of less area, in px², are marked `References.too_small`.

    Raises:
        InputError: The labels cannot be read, some images have none, or a class that is not
            filtered out is unknown to the detector.
    """
    if path.is_dir():
        labels = _yolo_labels(path, sizes_hw, class_names)
    else:
        labels = _coco_labels(path, sizes_hw)
    ids = {name: class_id for class_id, name in enumerate(class_names)}
    unknown = sorted({name for rows in labels.values() for name, _, _ in rows if name not in ids})
    if unknown and len(wanted) == len(class_names):
        raise InputError(
            f"{path}: the detector has no class {', '.join(map(repr, unknown))}, so it can never "
            "find these. Rename the classes to the detector's, or choose some with --classes."
        )
    references = []
    for key in sizes_hw:
        rows = [row for row in labels[key] if ids.get(row[0]) in wanted]
        try:
            references.append(_references(rows, ids, min_area_px))
        except ValueError as error:
            raise InputError(f"{path}: the labels of {key} are no boxes: {error}.") from error
    return references


_Label: TypeAlias = tuple[str, tuple[float, float, float, float], bool]  # class, xyxy px, crowd


def _references(rows: list[_Label], ids: Mapping[str, int], min_area_px: float) -> References:
    box_xyxy = np.array([row[1] for row in rows], np.float32).reshape(-1, 4)
    return References(
        box_xyxy=box_xyxy,
        class_id=np.array([ids[row[0]] for row in rows], np.int64),
        is_crowd=np.array([row[2] for row in rows], bool),
        too_small=is_too_small(box_xyxy, min_area_px),
    )


def _coco_labels(path: Path, sizes_hw: Mapping[str, SizeHw]) -> dict[str, list[_Label]]:
    document = read_coco(path)
    names, class_of = categories(path, document)
    labels: dict[str, list[_Label]] = {}
    try:
        key_of = _keys_of_labels(
            path, [image["file_name"] for image in document["images"]], sizes_hw
        )
        by_id = {}
        for image in document["images"]:
            if (key := key_of.get(image["file_name"])) is None:
                continue  # an image of another split, say
            size_hw = (image.get("height"), image.get("width"))
            if None not in size_hw and size_hw != sizes_hw[key]:
                raise InputError(
                    f"{path}: {image['file_name']} is {size_hw[1]}x{size_hw[0]} there, but the "
                    f"sharp image is {sizes_hw[key][1]}x{sizes_hw[key][0]}. Label the images "
                    "that are compared."
                )
            by_id[image["id"]] = key
            labels[key] = []
        for box in document["annotations"]:
            if (key := by_id.get(box["image_id"])) is not None:
                x, y, width, height = map(float, box["bbox"])
                edges = (x, y, x + width, y + height)
                crowd = bool(box.get("iscrowd", 0))
                labels[key].append((names[class_of[box["category_id"]]], edges, crowd))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: labels need `id` and `file_name` for each image, and `image_id`, "
            f"`category_id` and `bbox` for each annotation; found {described(error)}."
        ) from error
    _require_all(path, labels, sizes_hw, "list it under `images` where it shows no object")
    return labels


def _yolo_labels(
    folder: Path, sizes_hw: Mapping[str, SizeHw], class_names: Sequence[str]
) -> dict[str, list[_Label]]:
    names_file = folder / "classes.txt"
    names = read_class_names(names_file) if names_file.is_file() else tuple(class_names)
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*.txt"))
        if path != names_file
    }
    labels: dict[str, list[_Label]] = {}
    for file_name, key in _keys_of_labels(folder, list(files), sizes_hw).items():
        lines = read_text(files[file_name]).splitlines()
        labels[key] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                class_number, *values = line.split()
                name, edges = names[_index(class_number)], _yolo_edges(list(map(float, values)))
            except (ValueError, IndexError) as error:
                raise InputError(
                    f"{files[file_name]}, line {number}: expected `class x y width height`, a "
                    f"class from 0 to {len(names) - 1} and numbers in [0, 1]; found "
                    f"{line.strip()!r}."
                ) from error
            height, width = sizes_hw[key]
            x1, y1, x2, y2 = edges
            labels[key].append((name, (x1 * width, y1 * height, x2 * width, y2 * height), False))
    _require_all(folder, labels, sizes_hw, "add an empty text file where it shows no object")
    return labels


def _yolo_edges(values: list[float]) -> tuple[float, float, float, float]:
    """Edges in parts of the image, from a box or from the outline that segmentation labels have."""
    if not all(-1e-6 <= value <= 1 + 1e-6 for value in values):
        raise ValueError("not in parts of the image")
    if len(values) == 4:
        x, y, width, height = values
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(values) < 6 or len(values) % 2:
        raise ValueError("neither a box nor an outline")
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


def _index(text: str) -> int:
    index = int(text)
    if index < 0:
        raise IndexError(text)
    return index


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names, one a line.

    Raises:
        InputError: The file is missing, empty or not text.
    """
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not names:
        raise InputError(f"{path}: no class names there; one a line was expected.")
    return names


def _keys_of_labels(path: Path, file_names: Iterable[str], keys: Collection[str]) -> dict[str, str]:
    """Label file name -> image key; names that fit no image are left out."""
    by_stem: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for key in keys:
        by_stem.setdefault(PurePosixPath(key).stem, []).append((_parts(key), key))
    result: dict[str, str] = {}
    owner: dict[str, str] = {}
    for file_name in file_names:
        parts = _parts(file_name)
        fitting = [
            key
            for image, key in by_stem.get(parts[-1], [])
            if image[-len(parts) :] == parts or parts[-len(image) :] == image
        ]
        if len(fitting) > 1:
            raise InputError(
                f"{path}: {file_name} fits {len(fitting)} images ({', '.join(fitting[:3])}, ...); "
                "name it with its folder, as <sequence>/<name>."
            )
        if fitting:
            key = fitting[0]
            if key in owner:
                raise InputError(f"{path}: {owner[key]} and {file_name} both label {key}.")
            result[file_name] = key
            owner[key] = file_name
    return result


def _parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name.replace("\\", "/"))
    folders = (part for part in path.parent.parts if part not in _KIND_FOLDERS and part != "/")
    return (*folders, path.stem)


def _require_all(path: Path, labels: Mapping[str, Any], keys: Collection[str], remedy: str) -> None:
    missing = [key for key in keys if key not in labels]
    if missing:
        more = ", ..." if len(missing) > _MOST_LISTED else ""
        raise InputError(
            f"{path}: {len(missing)} of {len(keys)} images have no labels: "
            f"{', '.join(missing[:_MOST_LISTED])}{more}. Label every image; {remedy}."
        )
