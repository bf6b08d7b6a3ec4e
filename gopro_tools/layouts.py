"""Where sharp and blurred images lie in a dataset: one reader for the layouts of this field.

===========  =====================================================================================
GOPRO        ``<split>/<sequence>/{sharp,blur,blur_gamma}/<name>`` (Nah et al. 2017; ours)
flat         ``[<split>/]{input,target}/<name>``: MPRNet, NAFNet, Restormer, Uformer, MIMO-UNet
DVD          ``[<split>/]<sequence>/{input,GT}/<name>`` (Su et al. 2017)
RealBlur     ``<scene>/{blur/blur_1,gt/gt_1}.png``, splits in ``RealBlur_J_test_list.txt``
RSBlur       ``<scene>/<number>/{real_blur/real_blur,gt/gt_sharp}.png``, ``RSBlur_real_test.txt``
REDS         ``<split>_{sharp,blur}/<sequence>/<name>`` (Nah et al. 2019)
HIDE         ``<split>/**/<name>`` blurred, ``GT/<name>`` sharp (Shen et al. 2019)
Köhler       ``BlurryA_B.png``, and ``GroundTruthA_B_C.png`` along the camera's path
===========  =====================================================================================

Folders go by any of the names in `naming.SHARP_WORDS` and `naming.BLURRED_WORDS`, in any case.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, SPLITS, BlurKind, Split
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key
from gopro_tools.images import find_images
from gopro_tools.naming import BLURRED_WORDS, SHARP_WORDS, match_files

GOPRO = "GOPRO"

_OTHER_SPLITS = ("val", "valid", "validation")
_DATASET_NAMES = frozenset({"gopro", "hide", "realblurj", "realblurr", "reds", "rsblur", "dvd"})
_CROPS = {"input_crops": "input", "target_crops": "target", "blur_crops": "blur",
          "sharp_crops": "sharp"}  # fmt: skip
_KOEHLER_BLURRED = re.compile(r"Blurry(\d+_\d+)", re.IGNORECASE)
_KOEHLER_SHARP = re.compile(r"GroundTruth(\d+_\d+)_\d+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A dataset that was recognised, before its images are listed."""

    layout: str
    """GOPRO, flat, sequences (DVD, RealBlur), frames (RSBlur), REDS, HIDE or Köhler."""
    folder: Path
    """Where its images start."""
    split: str
    """The split as the dataset calls it; empty where it has none."""
    sharp: Path | None = None
    """Folder of sharp images, of layouts that have one."""
    blurred: Path | None = None
    """Folder of blurred images, of layouts that have one."""
    listed: Path | None = None
    """File that lists the pairs of the split."""
    has_both_kinds: bool = False
    """Whether it has blurred images of both kinds, by GOPRO's names."""
    note: str = ""
    """What a reader must know of the choice; empty where it is plain."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The images of a dataset by key ``<sequence>/<name>``, named as the blurred ones are."""

    sharp: Mapping[PurePosixPath, tuple[Path, ...]]
    """One sharp image; several of the camera's path in Köhler's set."""
    blurred: Mapping[PurePosixPath, Path]


def find_dataset(root: Path, split: Split) -> Place | None:
    """Recognise the layout of a dataset; None where there is none that is known.

    Looks at names alone, and only as far as needed.

    Args:
        root: The dataset's folder, or the folder of one split.
        split: Wanted where the dataset has splits. ``test`` takes ``val`` where there is no test.

    Raises:
        InputError: The folder holds several datasets, or images in LMDB files.
    """
    if not root.is_dir():
        return None
    for name in ("quantitative_datasets", "DeepVideoDeblurring_Dataset"):
        if (root / name).is_dir():
            return find_dataset(root / name, split)
    wanted = (split, *(_OTHER_SPLITS if split == "test" else ()))
    for name in wanted:
        if place := _reds(root, name):
            return place
    here = _folders(root)
    for name in wanted:
        if name in here and (place := _shape(here[name], name)):
            return place
    if (gt := _one_of(here, SHARP_WORDS)) and split in here and not _one_of(here, BLURRED_WORDS):
        return Place(layout="HIDE", folder=root, split=split, sharp=gt, blurred=here[split])
    if not any(name in here for name in (*SPLITS, *_OTHER_SPLITS)):
        if place := _shape(root, root.name if root.name in (*SPLITS, *_OTHER_SPLITS) else ""):
            return _with_list(place, root, split)
        if any(_KOEHLER_BLURRED.match(path.name) for path in _shallow_files(root)):
            return Place(layout="Köhler", folder=root, split="")
    return None


def open_dataset(root: Path, split: Split) -> Place:
    """`find_dataset`, where there has to be one.

    Raises:
        InputError: There is none; the message lists what is read.
    """
    place = find_dataset(root, split)
    if place is None:
        raise InputError(
            f"{root}: no dataset of a known layout with a split {split!r} there. Read are "
            f"{split}/<sequence>/{SHARP_FOLDER}/000001.png (GOPRO), {split}/input and "
            f"{split}/target (MPRNet, NAFNet), <sequence>/input and <sequence>/GT (DVD), RealBlur, "
            "RSBlur, REDS, HIDE and Köhler. Name two folders with --sharp and --blurred otherwise."
        )
    return place


def list_pairs(place: Place, blur_kind: BlurKind | None) -> Pairs:
    """List the images of a dataset.

    Args:
        place: What `find_dataset` found.
        blur_kind: Which blurred images, where the dataset has both; ``gamma`` by default.

    Raises:
        InputError: It holds no images, or those of the kind are not there.
    """
    if place.layout == "Köhler":
        return _koehler(place)
    if place.sharp and place.blurred:
        pairs = _paired(find_images(place.blurred), find_images(place.sharp))
        if place.layout != "HIDE":
            return pairs
        # GT holds the sharp images of all splits.
        sharp = {key: paths for key, paths in pairs.sharp.items() if key in pairs.blurred}
        return Pairs(sharp=sharp, blurred=pairs.blurred)
    if place.layout == "flat":
        return _flat_pairs(place, blur_kind)
    return _sequence_pairs(place, blur_kind)


def _folders(folder: Path) -> dict[str, Path]:
    """Folders in a folder by name, hidden ones left out, in natural order."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        found = [entry for entry in entries if entry.is_dir()]
    except OSError as error:
        raise InputError(f"{folder}: cannot be looked into ({error.strerror}).") from error
    return {entry.name: entry for entry in sorted(found, key=lambda e: natural_key(e.name))}


def _kind(name: str) -> str:
    return _CROPS.get(name.lower(), name.lower())


def _one_of(folders: Mapping[str, Path], words: Iterable[str]) -> Path | None:
    found = [path for name, path in folders.items() if _kind(name) in words]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise InputError(
            f"{found[0].parent}: {names} could both be the sharp images; name two folders with "
            "--sharp and --blurred."
        )
    return found[0] if found else None


def _blurred_of(folders: Mapping[str, Path], blur_kind: BlurKind | None) -> Path | None:
    """The folder of blurred images: of the kind where both are there, else the only one."""
    found = {_kind(name): path for name, path in folders.items() if _kind(name) in BLURRED_WORDS}
    if len(found) > 1 or (blur_kind and found.keys() & set(BLUR_FOLDERS.values())):
        return found.get(BLUR_FOLDERS[blur_kind or "gamma"])
    return next(iter(found.values()), None)


def _has_pair(folders: Mapping[str, Path]) -> bool:
    kinds = {_kind(name) for name in folders}
    return bool(kinds & SHARP_WORDS) and bool(kinds & BLURRED_WORDS)


def _shape(folder: Path, split: str) -> Place | None:
    """How sharp and blurred images lie in the folder of a split."""
    here = _folders(folder)
    packed = [name for name in here if name.lower().endswith(".lmdb")]
    if packed:
        raise InputError(
            f"{folder / packed[0]}: images in an LMDB file are not read; unpack them to files."
        )
    if _has_pair(here):
        gopros = {BLUR_FOLDERS["gamma"], BLUR_FOLDERS["linear_crf"]}
        both = gopros <= {_kind(name) for name in here}
        return Place(layout="flat", folder=folder, split=split, has_both_kinds=both)
    several = [name for name in here if re.sub(r"[-_ ]", "", name).lower() in _DATASET_NAMES]
    inside = {name: _folders(path) for name, path in here.items()}
    if len(several) > 1 and all(_has_pair(inside[name]) for name in several):
        raise InputError(f"{folder}: holds {', '.join(several)}; name one of these folders.")
    if any(SHARP_FOLDER in names for names in inside.values()):
        return Place(layout=GOPRO, folder=folder, split=split, has_both_kinds=True)
    if any(map(_has_pair, inside.values())):
        return Place(layout="sequences", folder=folder, split=split)
    for frames in inside.values():
        first = next(iter(frames.values()), None)
        if first is not None and _has_pair(_folders(first)):
            return Place(layout="frames", folder=folder, split=split)
    return None


def _reds(root: Path, split: str) -> Place | None:
    """``<split>_sharp`` and ``<split>_blur``, at the top or in a folder of the split."""
    for folder in (root, root / split):
        for kind in ("", "_bicubic"):
            sharp = folder / f"{split}_sharp{kind}"
            blurred = folder / f"{split}_blur{kind}"
            if sharp.is_dir() and blurred.is_dir():
                note = "" if split != "val" else "REDS keeps its test images back: val is taken"
                return Place(
                    layout="REDS", folder=folder, split=split, note=note,
                    sharp=_unwrapped(sharp, split), blurred=_unwrapped(blurred, split),
                )  # fmt: skip
    return None


def _unwrapped(folder: Path, split: str) -> Path:
    """Go into ``train/train_sharp`` as long as that is all a folder holds, as its archives do."""
    for _ in range(3):
        inside = _folders(folder)
        name = next(iter(inside), "")
        if len(inside) != 1 or not (name == split or name.startswith(f"{split}_")):
            break
        folder = inside[name]
    return folder


def _with_list(place: Place, root: Path, split: Split) -> Place:
    """Take the pairs of a split from the list that RealBlur and RSBlur come with."""
    if place.layout not in ("sequences", "frames") or place.split:
        return place
    for folder in (root, root.parent):
        for listed in sorted(folder.glob(f"R*Blur*_{split}*.txt")):
            # RealBlur_J_test_list.txt and RealBlur_R_test_list.txt lie side by side.
            letter = re.search(r"[-_]([JR])(?![a-z])", root.name)
            if letter and f"_{letter[1]}_" not in listed.name:
                continue
            return Place(layout=place.layout, folder=place.folder, split=split, listed=listed)
    return Place(
        layout=place.layout,
        folder=place.folder,
        split="",
        note="no split folders and no list of a split there: all of its images are taken",
    )


def _shallow_files(root: Path) -> Iterator[Path]:
    for folder in (root, *_folders(root).values()):
        yield from (path for path in folder.iterdir() if path.suffix)


def _flat_pairs(place: Place, blur_kind: BlurKind | None) -> Pairs:
    here = _folders(place.folder)
    sharp, blurred = _one_of(here, SHARP_WORDS), _blurred_of(here, blur_kind)
    if blurred is None:
        raise _no_such_kind(place.folder, blur_kind)
    assert sharp is not None
    return _paired(find_images(blurred), find_images(sharp))


def _sequence_pairs(place: Place, blur_kind: BlurKind | None) -> Pairs:
    depth = 2 if place.layout == "frames" else 1
    strict = place.layout == GOPRO
    sharp: dict[PurePosixPath, tuple[Path, ...]] = {}
    blurred: dict[PurePosixPath, Path] = {}
    for inside, folder in _at_depth(place.folder, depth):
        here = _folders(folder)
        sharp_folder = here.get(SHARP_FOLDER) if strict else _one_of(here, SHARP_WORDS)
        blurred_folder = (
            here.get(BLUR_FOLDERS[blur_kind or "gamma"]) if strict else _blurred_of(here, blur_kind)
        )
        pairs = _paired(
            find_images(blurred_folder) if blurred_folder else {},
            find_images(sharp_folder) if sharp_folder else {},
        )
        if depth == 2:  # each image has a folder of its own, and its number is that folder's
            pairs = _renamed(pairs, f"{inside.name}.png")
            inside = inside.parent
        sharp |= {inside / key: paths for key, paths in pairs.sharp.items()}
        blurred |= {inside / key: path for key, path in pairs.blurred.items()}
    if sharp and not blurred:
        raise _no_such_kind(place.folder, blur_kind)
    pairs = Pairs(sharp=sharp, blurred=blurred)
    return _only_listed(pairs, place.listed) if place.listed else pairs


def _at_depth(folder: Path, depth: int) -> Iterator[tuple[PurePosixPath, Path]]:
    for name, path in _folders(folder).items():
        if depth == 1:
            yield PurePosixPath(name), path
        else:
            yield from ((name / inside, below) for inside, below in _at_depth(path, depth - 1))


def _paired(blurred: Mapping[PurePosixPath, Path], sharp: Mapping[PurePosixPath, Path]) -> Pairs:
    """Pair by name; where the names say the kind (``blur_1``, ``gt_1``), by the rest of them."""
    match = match_files(tuple(blurred), sharp, may_name_kinds=True)
    if not match.paths and len(blurred) == len(sharp) == 1:  # real_blur.png and gt_sharp.png
        (key,), (path,) = blurred, sharp.values()
        return Pairs(sharp={key: (path,)}, blurred=blurred)
    found = {key: (path,) for key, path in match.paths.items()}
    found |= {path: (sharp[path],) for path in match.extra}
    return Pairs(sharp=found, blurred=blurred)


def _renamed(pairs: Pairs, name: str) -> Pairs:
    """A pair of which the folder is the name."""
    return Pairs(
        sharp={PurePosixPath(name): paths for paths in list(pairs.sharp.values())[:1]},
        blurred={PurePosixPath(name): path for path in list(pairs.blurred.values())[:1]},
    )


def _only_listed(pairs: Pairs, listed: Path) -> Pairs:
    """The pairs whose blurred image a list names, a line each: sharp, then blurred."""
    try:
        lines = [line.split() for line in listed.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{listed}: cannot be read as a list of pairs ({error}).") from error
    wanted = {_tail(PurePosixPath(line[-1])) for line in lines if line}
    blurred = {key: p for key, p in pairs.blurred.items() if _tail(PurePosixPath(p)) in wanted}
    missing = len(wanted) - len(blurred)
    if missing:
        raise InputError(f"{listed}: {missing} of its {len(wanted)} pairs are not in the dataset.")
    return Pairs(
        sharp={key: paths for key, paths in pairs.sharp.items() if key in blurred},
        blurred=blurred,
    )


def _tail(path: PurePosixPath) -> tuple[str, ...]:
    """Scene, kind and name: enough to know an image of RealBlur or RSBlur by."""
    return path.parts[-4:] if path.stem == "real_blur" else path.parts[-3:]


def _koehler(place: Place) -> Pairs:
    sharp: dict[str, list[Path]] = {}
    blurred: dict[PurePosixPath, Path] = {}
    for path in find_images(place.folder).values():
        if match := _KOEHLER_SHARP.match(path.name):
            sharp.setdefault(match[1], []).append(path)
        elif _KOEHLER_BLURRED.match(path.name):
            blurred[PurePosixPath(path.name)] = path
    key_of = {match[1]: key for key in blurred if (match := _KOEHLER_BLURRED.match(key.name))}
    return Pairs(
        sharp={
            key_of.get(number, PurePosixPath(f"Blurry{number}.png")): tuple(
                sorted(paths, key=lambda path: natural_key(path.name))
            )
            for number, paths in sharp.items()
        },
        blurred=blurred,
    )


def _no_such_kind(folder: Path, blur_kind: BlurKind | None) -> InputError:
    asked: BlurKind = blur_kind or "gamma"
    other: BlurKind = "linear_crf" if asked == "gamma" else "gamma"
    return InputError(
        f"{folder}: no blurred images in folders named {BLUR_FOLDERS[asked]}; if they are in "
        f"{BLUR_FOLDERS[other]}, say --blur-kind {other}."
    )
