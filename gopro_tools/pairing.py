"""Which file of each method belongs to which: sharp, blurred and restored images by their names.

Every score here is a mean over images, and a mean over fewer images than the reader thinks is the
quietest way to be wrong. So a missing or extra file is an error that lists it, never a smaller
average; `Sources.allow_missing` asks for the images that all have, and what it left out is kept.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated

import tyro

from gopro_tools.dataset import BlurKind, Split, is_of_another_split
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key
from gopro_tools.images import Rgb, find_images, no_images, read_rgb
from gopro_tools.layouts import Pairs, Place, find_dataset, list_pairs, open_dataset
from gopro_tools.naming import Match, group_of, match_files, renumbered
from gopro_tools.storage import local_copy
from gopro_tools.text import size_text

SHARP = "sharp"
BLURRED = "blurred"
UNSTATED = "unstated"
"""The `blur_kind` of folders nobody named one for."""

_RESERVED_ON_WINDOWS = r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?"
_MOST_LISTED = 20
_MOST_PADDING_PX = 64
"""More rows or columns than that are no padding to a multiple of what networks halve by."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The images to compare: `sharp` and `blurred` folders, or a `dataset` of a known layout."""

    restored: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=DIR, once for each method. Images lie in DIR as in the sharp folder, or under the names
    that a program gave them: <sequence>-<number>.png, <name>_<network>.png, another suffix."""
    sharp: Path | None = None
    """Folder of sharp images; images of all folders pair up by their names inside it. Without one,
    metrics that need no reference remain."""
    blurred: Path | None = None
    """Folder of blurred images."""
    dataset: Path | None = None
    """Dataset, instead of --sharp and --blurred: GOPRO, MPRNet's input/target, DVD, RealBlur,
    RSBlur, REDS, HIDE or Köhler."""
    split: Split = "test"
    """Which split of the dataset."""
    blur_kind: BlurKind | None = None
    """Which blurred images: gamma (blur_gamma; the default) or linear_crf (blur).
    Where there is one kind only, it labels the rows."""
    dataset_name: str = ""
    """Name of the dataset in tables; the folder's by default. Published numbers of the dataset of
    this name count as comparable."""
    suffix: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """What follows the image's name in the names of results, such as _fake_B: SUFFIX for all
    methods or NAME=SUFFIX for one. Found out where every result has the same."""
    allow_missing: bool = False
    """Compare the images that every folder has, and say so in every row."""

    def __post_init__(self) -> None:
        """Refuse what is neither two folders nor one dataset, and unusable method names."""
        if self.sharp and not self.blurred:
            raise InputError(
                "--blurred DIR is missing: the blurred input is always a row, for what a method "
                "is worth is its difference to it."
            )
        if (self.dataset is None) == (self.blurred is None):
            raise InputError(
                "Give either --sharp DIR and --blurred DIR (--blurred alone where nobody has sharp "
                "images), or --dataset DIR (with --split and --blur-kind)."
            )
        methods = restored_folders(self.restored)
        for argument in self.suffix:
            name, equals, _ = argument.partition("=")
            if equals and name not in methods:
                raise InputError(f"--suffix {argument}: {name!r} is none of --restored.")

    def suffix_of(self, method: str) -> str | None:
        """What follows an image's name in the file names of a method; None where nobody said."""
        for argument in reversed(self.suffix):
            name, equals, suffix = argument.rpartition("=")
            if not equals or name == method:
                return suffix
        return None

    def copied(self) -> "Sources":
        """The same, with copies on this machine instead of URLs."""

        def here(folder: Path | str) -> Path:
            return local_copy(folder, skip=lambda name: is_of_another_split(name, self.split))

        folders = restored_folders(self.restored)
        return replace(
            self,
            sharp=self.sharp and here(self.sharp),
            blurred=self.blurred and here(self.blurred),
            dataset=self.dataset and here(self.dataset),
            restored=tuple(f"{name}={here(folder)}" for name, folder in folders.items()),
        )

    @property
    def has_sharp(self) -> bool:
        """Whether there are images to compare with."""
        return self.dataset is not None or self.sharp is not None

    @property
    def labels(self) -> dict[str, str]:
        """`dataset`, `split` and `blur_kind` as result rows show them.

        Without `dataset_name`, the dataset goes by the name of its folder, or of the sharp one.
        """
        folder = self.dataset or self.sharp or self.blurred
        assert folder is not None
        name = self.dataset_name or folder.resolve().name
        place = self.place
        if place is None:
            return {"dataset": name, "split": "", "blur_kind": self.blur_kind or UNSTATED}
        stated = self.blur_kind or ("gamma" if place.has_both_kinds else UNSTATED)
        return {"dataset": name, "split": place.split, "blur_kind": stated}

    @property
    def place(self) -> Place | None:
        """The dataset; None where two folders are compared.

        One folder given twice, which holds both kinds as RealBlur's do, is a dataset too.

        Raises:
            InputError: `dataset` is of no known layout.
        """
        if self.dataset is not None:
            return open_dataset(self.dataset, self.split)
        assert self.blurred is not None
        if self.sharp is None or self.sharp.resolve() != self.blurred.resolve():
            return None
        return find_dataset(self.sharp, self.split)


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
    """A line a method, such as ``mynet: 1 missing (a/000002.png)``; empty when all are there."""
    n_missing: int = 0
    """Sharp images that were left out."""
    notes: tuple[str, ...] = ()
    """How names were matched where they differ, and what was taken of a dataset."""


def restored_folders(restored: Iterable[str]) -> dict[str, Path]:
    """Take ``NAME=DIR`` arguments apart.

    Raises:
        InputError: No ``=``, an empty or repeated name, or the name of a row that is always there.
    """
    folders: dict[str, Path] = {}
    for argument in restored:
        name, equals, folder = argument.partition("=")
        if not (equals and name.strip() and folder):
            raise InputError(f"--restored {argument}: expected NAME=DIR, such as mynet=out/mynet.")
        if not re.fullmatch(r"\w([\w .,+()-]*[\w,+()-])?", name):
            raise InputError(
                f"--restored {argument}: a name has letters, digits and _ . , + ( ) -, and ends in "
                "no point or space, because it names files too."
            )
        if re.fullmatch(_RESERVED_ON_WINDOWS, name, re.IGNORECASE):
            raise InputError(
                f"--restored {argument}: Windows keeps {name!r} for a device, and the name names "
                "files too; choose another name."
            )
        if name.casefold() in (SHARP, BLURRED):
            raise InputError(
                f"--restored {argument}: {name!r} names another row; choose another name."
            )
        if name.casefold() in map(str.casefold, folders):
            raise InputError(
                f"--restored {argument}: {name!r} is given twice; names must differ in more than "
                "the case of letters, because some file systems do not tell cases apart."
            )
        folders[name] = Path(folder)
    return folders


def pair_images(sources: Sources) -> Pairing:
    """Find the files of every method and pair them by their names, see `naming.match_files`.

    Only names are looked at; `read_images` reads.

    Raises:
        InputError: A folder is missing or holds no image; or a method lacks an image of the sharp
            folder or has one more (all are listed) and `Sources.allow_missing` is off; or nothing
            is common to all.
    """
    place = sources.place
    pairs = list_pairs(place, sources.blur_kind) if place else _pairs_of_folders(sources)
    if not pairs.sharp:
        raise InputError(
            f"{sources.dataset or sources.sharp}: no sharp images there that belong to its blurred "
            "ones; some datasets have them in an archive of their own, to be unpacked beside."
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
            _listed(broken, "missing, a link leads nowhere"),
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
            names every one of them, not the first.
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
            "on: cut that off"
        )
    return (
        "A few rows or columns are other, as where images are cut to a multiple: pad them before "
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
            f"{folder}: numbered otherwise than the sharp images: {shift}. Equal numbers would "
            "compare different images; rename the files."
        )
    if not match.paths and (fitting := _folders_that_fit(keys, files)):
        raise InputError(
            f"{folder}: results lie in {', '.join(fitting)} there; name one of these folders, as "
            f"--restored {method}={folder / fitting[0]}."
        )
    return match


def _folders_that_fit(
    keys: Collection[PurePosixPath], files: Mapping[PurePosixPath, Path]
) -> list[str]:
    """Folders among a method's files that have a result of every image on their own."""
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
