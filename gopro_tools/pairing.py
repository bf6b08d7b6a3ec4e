"""Which file of each method belongs to which: sharp, blurred and restored images by their names.

Every score here is a mean over images, and a mean over fewer images than the reader thinks is the
quietest way to be wrong. So a missing or extra file is an error that lists it, never a smaller
average; `Sources.allow_missing` asks for the images that all have, and what it left out is kept.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from gopro_tools.dataset import SPLITS
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key
from gopro_tools.images import Rgb, find_images, no_images, read_rgb
from gopro_tools.layouts import Pairs, find_dataset, list_pairs
from gopro_tools.naming import Match, group_of, match_files, renumbered
from gopro_tools.sources import BLURRED, SHARP, Sources, restored_folders
from gopro_tools.text import size_text

_MOST_LISTED = 20
_MOST_PADDING_PX = 64
"""More rows or columns than this are not padding to a multiple that a network needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSet:
    """One moment as every method shows it."""

    sequence: str
    """Folder of the image inside its root, with forward slashes; empty at the top."""
    name: str
    """File name, such as ``000001.png``."""
    paths: Mapping[str, Path]
    """Method to file: ``sharp`` first where there is one, then ``blurred``, then the restored ones
    as asked for."""
    more_sharp: tuple[Path, ...] = ()
    """Further sharp images, along the camera's path (Köhler): the best score of all counts."""

    @property
    def key(self) -> str:
        """The relative path that all share: ``<sequence>/<name>``."""
        return f"{self.sequence}/{self.name}" if self.sequence else self.name

    @property
    def files(self) -> list[tuple[str, Path]]:
        """All files, each with what it is and the name that all share."""
        more = ((f"{SHARP} too", path) for path in self.more_sharp)
        return [(f"{what} {self.key}", path) for what, path in (*self.paths.items(), *more)]

    def absolute(self) -> "ImageSet":
        """The same for a process with another working folder."""
        return replace(
            self,
            paths={method: path.absolute() for method, path in self.paths.items()},
            more_sharp=tuple(path.absolute() for path in self.more_sharp),
        )

    @property
    def group(self) -> str:
        """The sequence, also where it is only in the name: ``GOPR0384_11_00-000001.png``."""
        return group_of(PurePosixPath(self.key))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """The images to compare, in natural order, and what `Sources.allow_missing` left out."""

    image_sets: tuple[ImageSet, ...]
    left_out: tuple[str, ...] = ()
    """A line per method, such as ``mynet: 1 missing (a/000002.png)``; empty when all are there."""
    n_missing: int = 0
    """Number of sharp images that were left out."""
    notes: tuple[str, ...] = ()
    """How names were matched where they differ, and what was used of a dataset."""


def pair_images(sources: Sources) -> Pairing:
    """Find the files of every method and pair them by their names, see `naming.match_files`.

    Only names are looked at; `read_images` reads.

    Raises:
        InputError: A folder is missing or holds no image; or a method lacks an image of the sharp
            folder or has an extra one (all are listed) and `Sources.allow_missing` is off; or no
            image is common to all.
    """
    place = sources.place
    pairs = list_pairs(place, sources.blur_kind) if place else _pairs_of_folders(sources)
    if not pairs.sharp:
        raise InputError(
            f"{sources.dataset or sources.sharp}: no sharp images there that belong to its blurred "
            "ones; some datasets keep them in a separate archive, to be unpacked beside these."
        )
    sharp = {key: paths[0] for key, paths in pairs.sharp.items()}
    extra = pairs.blurred.keys() - sharp.keys()
    matches = {
        SHARP: Match(paths=sharp, extra=()),
        BLURRED: Match(paths=pairs.blurred, extra=tuple(extra)),
    }
    if not sources.has_sharp:
        del matches[SHARP]
    for method, folder in restored_folders(sources.restored).items():
        matches[method] = _results_of(method, folder, sharp, sources)
    left_out: list[str] = []
    keys = set(sharp)
    for method, match in matches.items():
        broken = {key for key, path in match.paths.items() if _leads_nowhere(path)}
        found = [
            _listed(sharp.keys() - match.paths.keys(), "missing"),
            _listed(broken, "missing, a broken link"),
            _listed(match.extra, "extra"),
        ]
        if any(found):
            left_out.append(f"{method}: " + ", ".join(filter(None, found)))
        keys &= match.paths.keys() - broken
    if left_out and not sources.allow_missing:
        raise InputError(
            "Not every method has the images of the sharp folder, and no others: "
            + "; ".join(left_out)
            + ". Add or remove the files, or compare what all have with --allow-missing."
        )
    if not keys:
        raise InputError("No image is common to all folders: " + "; ".join(left_out) + ".")
    notes = [place.note] if place and place.note else []
    notes += [f"{method}: {match.note}" for method, match in matches.items() if match.note]
    return Pairing(
        image_sets=tuple(
            ImageSet(
                sequence="" if key.parent == PurePosixPath() else str(key.parent),
                name=key.name,
                paths={method: match.paths[key] for method, match in matches.items()},
                more_sharp=pairs.sharp[key][1:],
            )
            for key in sorted(keys, key=lambda key: natural_key(str(key)))
        ),
        left_out=tuple(left_out),
        n_missing=len(sharp) - len(keys),
        notes=tuple(notes),
    )


def read_images(images: ImageSet) -> dict[str, Rgb]:
    """Read one image of every method: (H, W, 3) uint8 RGB each, all of one size.

    Raises:
        InputError: Images that cannot be read, are not 8-bit RGB or have another size; the message
            names every one of them, not just the first.
    """
    found: dict[str, Rgb] = {}
    problems: list[str] = []
    for method, path in images.paths.items():
        try:
            found[method] = read_rgb(path)
        except InputError as error:
            problems.append(str(error))
    reference = SHARP if SHARP in images.paths else BLURRED
    expected = found.get(reference)
    for method, image in found.items():
        if expected is not None and image.shape != expected.shape:
            problems.append(
                f"{images.paths[method]}: {size_text(image.shape)} was found, but the {reference} "
                f"image {images.paths[reference]} has {size_text(expected.shape)}. "
                f"{_remedy_for_size(image.shape, expected.shape)}; nothing here resizes."
            )
    if problems:
        raise InputError("\n".join(problems))
    return found


def _remedy_for_size(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What to do about an image of (H, W, 3) where another size was expected."""
    if found[:2] == expected[1::-1]:
        return "It lies on its side: turn it"
    rows, columns = found[0] - expected[0], found[1] - expected[1]
    sides = ((rows, expected[0]), (columns, expected[1]))
    if any(abs(by) > min(_MOST_PADDING_PX, side / 2 - 1) for by, side in sides):
        return "Restore at full size"
    if rows >= 0 and columns >= 0:
        return (
            f"It has {columns} columns and {rows} rows more, as where a network's padding is left "
            "on: crop it"
        )
    return (
        "A few rows or columns differ, as where images are cropped to a multiple: pad them before "
        "they are restored, and cut the padding off afterwards"
    )


def raise_all(problems: Sequence[str]) -> None:
    """Raise one `InputError` that lists what went wrong with the images of a run, if anything."""
    if problems:
        more = len(problems) - _MOST_LISTED
        listed = "\n".join(problems[:_MOST_LISTED]) + (f"\nand {more} more." if more > 0 else "")
        raise InputError(
            f"{len(problems)} image(s) cannot be compared, so nothing is averaged:\n{listed}"
        )


def _pairs_of_folders(sources: Sources) -> Pairs:
    assert sources.blurred is not None
    if sources.sharp is None:  # the blurred images say which there are
        blurred = _images_in(sources.blurred)
        return Pairs(sharp={key: (path,) for key, path in blurred.items()}, blurred=blurred)
    sharp = _images_in(sources.sharp)
    match = match_files(tuple(sharp), _images_in(sources.blurred), may_name_kinds=True)
    extra = {path: sources.blurred / path for path in match.extra}
    return Pairs(
        sharp={key: (path,) for key, path in sharp.items()}, blurred={**match.paths, **extra}
    )


def _images_in(folder: Path) -> dict[PurePosixPath, Path]:
    files = find_images(folder)
    if not files:
        raise no_images(folder)
    return files


def _results_of(
    method: str, folder: Path, keys: Collection[PurePosixPath], sources: Sources
) -> Match:
    """The results of a method; `InputError` where its names would pair different images."""
    inside = folder / sources.split
    files = _images_in(inside if sources.place and inside.is_dir() else folder)
    try:
        match = match_files(keys, files, suffix=sources.suffix_of(method))
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    if shift := renumbered(keys, match):
        raise InputError(
            f"{folder}: not numbered like the sharp images: {shift}. Equal numbers would "
            "compare different images; rename the files."
        )
    if not match.paths and (other := _split_of(files, sources)):
        raise InputError(
            f"{folder}: these are results for the split {other}; compare them with --split {other}."
        )
    if not match.paths and (fitting := _folders_that_fit(keys, files)):
        raise InputError(
            f"{folder}: results lie in {', '.join(fitting)} there; name one of these folders, as "
            f"--restored {method}={folder / fitting[0]}."
        )
    return match


def _split_of(files: Mapping[PurePosixPath, Path], sources: Sources) -> str:
    """The other split of the dataset, if the files are results for all its images."""
    if sources.dataset is None:
        return ""
    for split in SPLITS:
        try:
            place = find_dataset(sources.dataset, split) if split != sources.split else None
            keys = list_pairs(place, None).sharp.keys() if place else ()
        except InputError:
            continue
        if keys and len(match_files(keys, files).paths) == len(keys):
            return split
    return ""


def _folders_that_fit(
    keys: Collection[PurePosixPath], files: Mapping[PurePosixPath, Path]
) -> list[str]:
    """Folders among a method's files that each hold a result for every image."""
    by_folder: dict[str, dict[PurePosixPath, Path]] = {}
    for path, file in files.items():
        if len(path.parts) > 1:
            inside = PurePosixPath(*path.parts[1:])
            by_folder.setdefault(path.parts[0], {})[inside] = file
    return [
        name for name, own in by_folder.items() if len(match_files(keys, own).paths) == len(keys)
    ]


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _listed(keys: Iterable[PurePosixPath], what: str) -> str:
    names = sorted(map(str, keys), key=natural_key)
    if not names:
        return ""
    more = ", ..." if len(names) > _MOST_LISTED else ""
    return f"{len(names)} {what} ({', '.join(names[:_MOST_LISTED])}{more})"
