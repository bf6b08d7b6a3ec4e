"""Recognising the layout of a dataset by the names of its folders."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, SPLITS, VALIDATION, Split
from gopro_tools.errors import InputError
from gopro_tools.images import IMAGE_SUFFIXES, find_images
from gopro_tools.layouts.kinds import (
    blurred_folder,
    folders_in,
    has_blurred,
    has_sharp,
    kind_of_folder,
    sharp_folder,
)
from gopro_tools.layouts.koehler import is_koehler_blurred
from gopro_tools.layouts.place import GOPRO, KOEHLER, Place

_DATASET_NAMES = frozenset({"gopro", "hide", "realblurj", "realblurr", "reds", "rsblur", "dvd"})
_REDS_KINDS = (
    ("sharp", ("blur", "blur_jpeg", "blur_comp")), ("sharp_bicubic", ("blur_bicubic",)),
    ("gt", ("gt_blurred",)),
)  # fmt: skip
"""Sharp kinds of REDS, each with its blurred ones, the usual first."""
_DVD_FOLDERS = ("quantitative_datasets", "DeepVideoDeblurring_Dataset")
"""Su et al.'s; their archive also holds videos without ground truth."""
_MOST_WRAPPERS = 4
_MOST_LOOKED_INTO = 50


def find_dataset(root: Path, split: str) -> Place | None:
    """Recognise the layout of a dataset; None where it is unknown.

    Looks at names alone, and only as far as needed. Outer folders that hold nothing else are
    skipped.

    Args:
        root: The dataset's folder, or the folder of one split.
        split: Which split, where the dataset has splits. ``test`` means ``val`` where there is no
            test.

    Raises:
        InputError: The folder holds several datasets, or images in LMDB files.
    """
    for _ in range(_MOST_WRAPPERS):
        if not root.is_dir():
            return None
        if place := _dataset_at(root, split):
            return place
        here = folders_in(root)
        here = {name: path for name, path in here.items() if name in _DVD_FOLDERS} or here
        if len(here) != 1 or next(iter(here)).lower() in (*SPLITS, *VALIDATION):
            return None
        if any(path.suffix.lower() in IMAGE_SUFFIXES for path in root.iterdir()):
            return None
        root = next(iter(here.values()))
    return None


def open_dataset(root: Path, split: Split) -> Place:
    """`find_dataset`, where there must be one.

    Raises:
        InputError: There is none; the message lists what can be read, or what is there instead.
    """
    place = find_dataset(root, split)
    if place is None:
        if root.is_file():
            raise InputError(f"{root}: a dataset's folder was expected, found a file; unpack it.")
        if others := [name for name in SPLITS if name != split and find_dataset(root, name)]:
            raise InputError(f"{root}: no split {split!r} there, but {others[0]!r}; see --split.")
        inside = list(folders_in(root).values())[:_MOST_LOOKED_INTO] if root.is_dir() else []
        if found := [path for path in inside if find_dataset(path, split)]:
            names = ", ".join(path.name for path in found)
            raise InputError(f"{root}: holds folders with datasets ({names}); name one of these.")
        raise InputError(
            f"{root}: no dataset of a known layout with a split {split!r} there. Known are "
            f"{split}/<sequence>/{SHARP_FOLDER}/000001.png (GOPRO), {split}/input and "
            f"{split}/target (MPRNet, NAFNet), <sequence>/input and <sequence>/GT (DVD), RealBlur, "
            "RSBlur, REDS, HIDE and Köhler. Name two folders with --sharp and --blurred otherwise."
        )
    return place


def _dataset_at(root: Path, split: str) -> Place | None:
    wanted = (split, *(VALIDATION if split == "test" else ()))
    for name in wanted:
        if place := _reds(root, name):
            return place
    here = folders_in(root)
    splits = {name.lower(): path for name, path in here.items()}
    for name in wanted:
        if name in splits and (place := _shape(splits[name], name)):
            return place
    if split in splits and not has_blurred(here) and (gt := sharp_folder(here)):
        return Place(layout="HIDE", folder=root, split=split, sharp=gt, blurred=splits[split])
    if not any(name in splits for name in (*SPLITS, *VALIDATION)):
        own = root.name.lower()
        if place := _shape(root, own if own in (*SPLITS, *VALIDATION) else ""):
            return _with_list(place, root, split)
        if any(is_koehler_blurred(path.name) for path in _shallow_files(root)):
            return Place(layout=KOEHLER, folder=root, split="")
    return None


def _shape(folder: Path, split: str) -> Place | None:
    """How sharp and blurred images lie in the folder of a split."""
    here = folders_in(folder)
    packed = [name for name in here if name.lower().endswith(".lmdb")]
    if packed and not _has_pair(here):
        raise InputError(
            f"{folder / packed[0]}: images in an LMDB file are not read; unpack them to files."
        )
    if _has_pair(here):
        gopros = {BLUR_FOLDERS["gamma"], BLUR_FOLDERS["linear_crf"]}
        both = gopros <= {kind_of_folder(name) for name in here}
        return Place(layout="flat", folder=folder, split=split, has_both_kinds=both)
    several = [name for name in here if re.sub(r"[-_ ]", "", name).lower() in _DATASET_NAMES]
    inside = {name: folders_in(path) for name, path in here.items()}
    if len(several) > 1 and all(_has_pair(inside[name]) for name in several):
        raise InputError(f"{folder}: holds {', '.join(several)}; name one of these folders.")
    if any(_is_gopros(names) for names in inside.values()):
        return Place(layout=GOPRO, folder=folder, split=split, has_both_kinds=True)
    if any(map(_has_pair, inside.values())):
        return Place(layout="sequences", folder=folder, split=split)
    if any(frames and all(map(_holds_one_pair, frames.values())) for frames in inside.values()):
        return Place(layout="frames", folder=folder, split=split)
    return None


def _has_pair(folders: Mapping[str, Path]) -> bool:
    return has_sharp(folders) and has_blurred(folders)


def _is_gopros(folders: Mapping[str, Path]) -> bool:
    """Whether folders have GOPRO's names; other names for blurred images are another layout's."""
    if SHARP_FOLDER not in folders:
        return False
    own = set(BLUR_FOLDERS.values())
    return bool(own & folders.keys()) or not has_blurred(folders)


def _holds_one_pair(folder: Path) -> bool:
    """Whether a folder is a single moment, as RSBlur's are, and not a sequence one level down."""
    here = folders_in(folder)
    if not _has_pair(here):
        return False
    blurred = blurred_folder(here, None)
    return blurred is not None and len(find_images(blurred)) == 1


def _reds(root: Path, split: str) -> Place | None:
    """``<split>_sharp`` and ``<split>_blur``, at the top or in a folder of the split."""
    for folder in (root, root / split):
        here = (
            {n.lower(): path for n, path in folders_in(folder).items()} if folder.is_dir() else {}
        )
        for sharp_kind, blurred_kinds in _REDS_KINDS:
            sharp = here.get(f"{split}_{sharp_kind}")
            found = [kind for kind in blurred_kinds if f"{split}_{kind}" in here]
            if sharp is None or not found:
                continue
            notes = ["REDS has no public test images: val is taken"] if split == "val" else []
            if len(found) > 1:
                notes.append(f"{split}_{found[0]} is taken, not {', '.join(found[1:])}")
            blurred = here[f"{split}_{found[0]}"]
            return Place(
                layout="REDS", folder=folder, split=split, note="; ".join(notes),
                sharp=_unwrapped(sharp, split), blurred=_unwrapped(blurred, split),
            )  # fmt: skip
    return None


def _unwrapped(folder: Path, split: str) -> Path:
    """Go into ``train/train_sharp`` as long as that is all a folder holds, as its archives do."""
    for _ in range(3):
        inside = folders_in(folder)
        name = next(iter(inside), "")
        if len(inside) != 1 or not (name == split or name.startswith(f"{split}_")):
            break
        folder = inside[name]
    return folder


def _with_list(place: Place, root: Path, split: str) -> Place:
    """Take the pairs of a split from the list that RealBlur and RSBlur come with."""
    if place.layout not in ("sequences", "frames") or place.split:
        return place
    for folder in (root, root.parent):
        lists = sorted(folder.glob("R*Blur*_*.txt"))
        # RealBlur_J_test_list.txt and RealBlur_R_test_list.txt lie side by side.
        if letter := re.search(r"[-_]([JR])(?![a-z])", root.name):
            lists = [path for path in lists if f"_{letter[1]}_" in path.name]
        for listed in lists:
            if f"_{split}" in listed.name:
                return Place(layout=place.layout, folder=place.folder, split=split, listed=listed)
        if lists:
            raise InputError(
                f"{root}: {lists[0].name} lists another split, and nothing lists {split!r}; "
                "without a list its images cannot be told apart from those of the other split."
            )
    return Place(
        layout=place.layout,
        folder=place.folder,
        split="",
        note="no split folders and no list of a split there: all of its images are taken",
    )


def _shallow_files(root: Path) -> Iterator[Path]:
    for folder in (root, *folders_in(root).values()):
        yield from (path for path in folder.iterdir() if path.suffix)
