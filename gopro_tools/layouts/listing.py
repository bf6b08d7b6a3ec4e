"""Listing the images of a recognised dataset."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, BlurKind
from gopro_tools.errors import InputError
from gopro_tools.images import find_images
from gopro_tools.layouts.kinds import blurred_folder, folders_in, sharp_folder
from gopro_tools.layouts.koehler import koehler_pairs
from gopro_tools.layouts.place import GOPRO, KOEHLER, Pairs, Place
from gopro_tools.naming import match_files


def list_pairs(place: Place, blur_kind: BlurKind | None) -> Pairs:
    """List the images of a dataset.

    Args:
        place: What `find_dataset` found.
        blur_kind: Which blurred images, where the dataset has both; ``gamma`` by default.

    Raises:
        InputError: It holds no images, or none of that kind.
    """
    if place.layout == KOEHLER:
        return koehler_pairs(place)
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


def _flat_pairs(place: Place, blur_kind: BlurKind | None) -> Pairs:
    here = folders_in(place.folder)
    sharp, blurred = sharp_folder(here), blurred_folder(here, blur_kind)
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
        here = folders_in(folder)
        sharp_in = here.get(SHARP_FOLDER) if strict else sharp_folder(here)
        blurred_in = (
            here.get(BLUR_FOLDERS[blur_kind or "gamma"])
            if strict
            else blurred_folder(here, blur_kind)
        )
        pairs = _paired(
            find_images(blurred_in) if blurred_in else {},
            find_images(sharp_in) if sharp_in else {},
        )
        if depth == 2:  # each image has a folder of its own, and its number is that folder's
            if len(pairs.blurred) > 1:
                raise InputError(
                    f"{folder}: one pair per folder was expected, as in the others, and found "
                    f"{len(pairs.blurred)} blurred images."
                )
            pairs = _renamed(pairs, f"{inside.name}.png")
            inside = inside.parent
        sharp |= {inside / key: paths for key, paths in pairs.sharp.items()}
        blurred |= {inside / key: path for key, path in pairs.blurred.items()}
    if sharp and not blurred:
        raise _no_such_kind(place.folder, blur_kind)
    pairs = Pairs(sharp=sharp, blurred=blurred)
    return _only_listed(pairs, place.listed) if place.listed else pairs


def _at_depth(folder: Path, depth: int) -> Iterator[tuple[PurePosixPath, Path]]:
    for name, path in folders_in(folder).items():
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
    """A pair named after its folder."""
    return Pairs(
        sharp={PurePosixPath(name): paths for paths in list(pairs.sharp.values())[:1]},
        blurred={PurePosixPath(name): path for path in list(pairs.blurred.values())[:1]},
    )


def _only_listed(pairs: Pairs, listed: Path) -> Pairs:
    """The pairs whose blurred image a list names; a line has the sharp, then the blurred file."""
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
    """Scene, kind and name: enough to identify an image of RealBlur or RSBlur."""
    return path.parts[-4:] if path.stem == "real_blur" else path.parts[-3:]


def _no_such_kind(folder: Path, blur_kind: BlurKind | None) -> InputError:
    asked: BlurKind = blur_kind or "gamma"
    other: BlurKind = "linear_crf" if asked == "gamma" else "gamma"
    return InputError(
        f"{folder}: no blurred images in folders named {BLUR_FOLDERS[asked]}; if they are in "
        f"{BLUR_FOLDERS[other]}, pass --blur-kind {other}."
    )
