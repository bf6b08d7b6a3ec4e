"""Boxes that people drew on the sharp images: COCO JSON or YOLO text files."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np

from gopro_tools.detection.boxes import References, is_too_small
from gopro_tools.detection.coco_json import (
    as_flag,
    as_number,
    box_xywh,
    categories,
    class_of_box,
    described,
    image_ids,
    listed,
    read_coco,
)
from gopro_tools.detection.stored import SizeHw
from gopro_tools.detection.yolo_text import find_classes, label_files, read_objects
from gopro_tools.errors import InputError
from gopro_tools.naming import without_kinds

_OUTSIDE_PX = 2.0
"""Rounding may take a box this far over the edge of its image."""
_ROUNDING = 1e-6
_EXPORTED = (
    re.compile(r"[0-9a-f]{8}-(.+)"),  # Label Studio
    re.compile(r"(.+)_(?:png|jpe?g|bmp|tiff?|webp)\.rf\.\w+", re.IGNORECASE),  # Roboflow
)
"""What programs make of an image's name when they export its labels."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The boxes that people drew, and what these can judge."""

    references: Sequence[References]
    """One per image, in the order that was asked for; of the wanted classes."""
    judged: frozenset[int]
    """Class ids of the detector that the labels have: boxes of others are neither right nor wrong,
    as nobody looked for them."""
    notes: tuple[str, ...]
    """What readers should know, such as classes that only the labels or the detector has."""


def read_labels(
    path: Path,
    sizes_hw: Mapping[str, SizeHw],
    class_names: Sequence[str],
    *,
    wanted: Collection[int],
    min_area_px: float,
) -> Labels:
    """Read the boxes that people drew on the sharp images.

    Images are matched by their path without suffix and without the folders sharp, blur and
    blur_gamma; a shorter path will do where it fits only one image. Classes are matched by name,
    ignoring case.

    Args:
        path: COCO JSON file, or a folder of YOLO text files (``class x y width height`` as
            fractions of the image size, one object per line). Their classes are named by
            ``classes.txt`` or a ``data.yaml`` in or above the folder, else numbered as the
            detector's.
        sizes_hw: Size of each image by key ``<sequence>/<name>``; the order of the answer.
        class_names: Of the detector; labels name their classes the same.
        wanted: Class ids to keep.
        min_area_px: Boxes with a smaller area, in px², are marked `References.too_small`.

    Raises:
        InputError: The labels cannot be read, some images have none, a box belongs to no image or
            class, a class that is not filtered out is unknown to the detector, or none is wanted.
    """
    read = _yolo_labels if path.is_dir() else _coco_labels
    labels, own_names = read(path, sizes_hw, class_names)
    label_names = tuple(class_names) if own_names is None else own_names
    ids = _class_ids(label_names, class_names)
    used = {name for rows in labels.values() for name, _, _ in rows}
    unknown = [name for name in label_names if name not in ids]
    everything = len(wanted) == len(class_names)
    if everything and (lost := sorted(used & set(unknown))):
        raise InputError(
            f"{path}: the detector has no class {listed(map(repr, lost))}, so it can never find "
            "these. Rename the classes to the detector's, or choose some with --classes."
        )
    judged = frozenset(ids.values())
    if not judged & set(wanted):
        raise InputError(
            f"{path}: its classes ({listed(label_names) or 'none'}) are none of those the detector "
            f"finds and that were asked for ({listed(class_names[i] for i in sorted(wanted))})."
        )
    notes = []
    if own_names is None:
        notes.append("the labels name no classes: their numbers are taken as the detector's")
    n_double = sum(len(rows) - len(set(rows)) for rows in labels.values())
    if n_double:
        notes.append(f"boxes that the labels have twice, each counted as one to find: {n_double}")
    if unknown:
        notes.append(f"classes of the labels that the detector does not have: {listed(unknown)}")
    if unjudged := [class_names[i] for i in sorted(set(wanted) - judged)]:
        notes.append(
            "classes of the detector that the labels do not have, so that its boxes of these do "
            f"not count: {listed(unjudged, 5)}"
        )
    references = []
    for key in sizes_hw:
        rows = [row for row in labels[key] if ids.get(row[0]) in wanted]
        try:
            references.append(_references(rows, ids, min_area_px))
        except ValueError as error:
            raise InputError(f"{path}: the labels of {key} are not boxes: {error}.") from error
    return Labels(references=references, judged=judged, notes=tuple(notes))


_Label: TypeAlias = tuple[str, tuple[float, float, float, float], bool]  # class, xyxy px, crowd
_Read: TypeAlias = tuple[dict[str, list[_Label]], tuple[str, ...] | None]  # by key; class names


def _class_ids(names: Iterable[str], class_names: Sequence[str]) -> dict[str, int]:
    """Class id of each name that the detector has, which may differ in case and spaces."""
    exact = {name: i for i, name in enumerate(class_names)}
    alike: dict[str, list[int]] = {}
    for i, name in enumerate(class_names):
        alike.setdefault(_plain(name), []).append(i)
    found = {}
    for name in names:
        same = alike.get(_plain(name), [])
        if name in exact:
            found[name] = exact[name]
        elif len(same) == 1:
            found[name] = same[0]
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip()).casefold()


def _references(rows: list[_Label], ids: Mapping[str, int], min_area_px: float) -> References:
    box_xyxy = np.array([row[1] for row in rows], np.float32).reshape(-1, 4)
    return References(
        box_xyxy=box_xyxy,
        class_id=np.array([ids[row[0]] for row in rows], np.int64),
        is_crowd=np.array([row[2] for row in rows], bool),
        too_small=is_too_small(box_xyxy, min_area_px),
    )


def _coco_labels(path: Path, sizes_hw: Mapping[str, SizeHw], _class_names: Sequence[str]) -> _Read:
    document = read_coco(path)
    names, class_of = categories(path, document)
    images = image_ids(path, document)
    file_names = [image["file_name"] for image in images.values()]
    key_of = _keys_of_labels(path, file_names, sizes_hw)
    # An image without a key may be of another split.
    by_id = {i: key_of[im["file_name"]] for i, im in images.items() if im["file_name"] in key_of}
    labels: dict[str, list[_Label]] = {key: [] for key in by_id.values()}
    n_outside = n_boxes = n_tiny = 0
    try:
        for number, key in by_id.items():
            _check_size(path, images[number], sizes_hw[key])
        for box in document["annotations"]:
            class_name = names[class_of_box(path, box, class_of)]
            x, y, width, height = box_xywh(box)
            crowd = as_flag(box.get("iscrowd", 0), "iscrowd")
            if (key := by_id.get(box["image_id"], "")) == "":
                continue
            labels[key].append((class_name, (x, y, x + width, y + height), crowd))
            over = max(x + width - sizes_hw[key][1], y + height - sizes_hw[key][0])
            n_boxes, n_outside = n_boxes + 1, n_outside + (over > _OUTSIDE_PX)
            n_tiny += max(x + width, y + height) <= 1 + _ROUNDING
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: labels need `id` and `file_name` for each image, and `image_id`, "
            f"`category_id` and `bbox` for each annotation; found {described(error)}."
        ) from error
    if n_outside > n_boxes / 2:
        raise InputError(
            f"{path}: {n_outside} of {n_boxes} boxes reach beyond their images; a bbox is left, "
            "top, width and height in px, not right and bottom."
        )
    if n_boxes and n_tiny == n_boxes:
        raise InputError(
            f"{path}: every box lies within one pixel; a bbox is in px, not relative to the image."
        )
    _require_all(
        path, labels, sizes_hw, file_names, "list it under `images` where it shows no object"
    )
    return labels, names


def _check_size(path: Path, image: Mapping[str, Any], size_hw: SizeHw) -> None:
    stated = (image.get("height"), image.get("width"))
    if None in stated:
        return
    height, width = (as_number(value, "an image's height or width") for value in stated)
    if (height, width) != size_hw:
        raise InputError(
            f"{path}: {image['file_name']} is {width:g}x{height:g} there, but the sharp image is "
            f"{size_hw[1]}x{size_hw[0]}. Label the images that are compared."
        )


def _yolo_labels(folder: Path, sizes_hw: Mapping[str, SizeHw], class_names: Sequence[str]) -> _Read:
    classes = find_classes(folder)
    names = classes.names or tuple(class_names)
    files = label_files(folder)
    if not files:
        others = Counter(path.suffix for path in folder.iterdir() if path.is_file())
        raise InputError(
            f"{folder}: text files with YOLO labels were expected, found "
            f"{', '.join(f'{count} {suffix}' for suffix, count in others.items()) or 'none'}. "
            "COCO JSON is one file: name it instead of its folder."
        )
    key_of = _keys_of_labels(folder, list(files), sizes_hw)
    objects = read_objects([files[name] for name in key_of], len(names), classes.keypoint_shape)
    labels: dict[str, list[_Label]] = {}
    for file_name, key in key_of.items():
        height, width = sizes_hw[key]
        labels[key] = [
            (
                names[one.class_number],
                (
                    one.edges[0] * width,
                    one.edges[1] * height,
                    one.edges[2] * width,
                    one.edges[3] * height,
                ),
                False,
            )
            for one in objects[files[file_name]]
        ]
    _require_all(
        folder, labels, sizes_hw, list(files), "add an empty text file where it shows no object"
    )
    return labels, classes.names


def _keys_of_labels(path: Path, file_names: Sequence[str], keys: Collection[str]) -> dict[str, str]:
    """Label file name -> image key; names that fit no image are left out."""
    found = _matched_keys(path, {name: _parts(name) for name in file_names}, keys)
    return found or _matched_keys(path, {name: _parts_exported(name) for name in file_names}, keys)


def _matched_keys(
    path: Path, parts_of: Mapping[str, tuple[str, ...]], keys: Collection[str]
) -> dict[str, str]:
    by_stem: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for key in keys:
        by_stem.setdefault(PurePosixPath(key).stem, []).append((_parts(key), key))
    result: dict[str, str] = {}
    owner: dict[str, str] = {}
    for file_name, parts in parts_of.items():
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
    folders = (part for part in without_kinds(path).parent.parts if part != "/")
    return (*folders, path.stem)


def _parts_exported(name: str) -> tuple[str, ...]:
    """`_parts` without what programs add to the name as they export labels."""
    *folders, stem = _parts(name)
    for pattern in _EXPORTED:
        if added := pattern.fullmatch(stem):
            return (added[1],)
    return (*folders, stem)


def _require_all(
    path: Path,
    labels: Mapping[str, Any],
    keys: Collection[str],
    file_names: Sequence[str],
    remedy: str,
) -> None:
    missing = [key for key in keys if key not in labels]
    if len(missing) == len(keys) and file_names:
        raise InputError(
            f"{path}: its labels belong to none of the images: they are named "
            f"{listed(file_names, 3)}, and the images {listed(keys, 3)}."
        )
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of {len(keys)} images have no labels: {listed(missing)}. "
            f"Label every image; {remedy}."
        )
