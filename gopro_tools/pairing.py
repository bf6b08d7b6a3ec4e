"""Which file of each method belongs to which: sharp, blurred and restored images by relative path.

Every score here is a mean over images, and a mean over fewer images than the reader thinks is the
quietest way to be wrong. So a missing or extra file is an error that lists it, never a smaller
average; `Sources.allow_missing` asks for the images that all have, and what it left out is kept.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import tyro

from gopro_tools.dataset import BLUR_FOLDERS, SHARP_FOLDER, BlurKind, Split, sequences_of
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key
from gopro_tools.images import IMAGE_SUFFIXES, Rgb, read_rgb
from gopro_tools.text import size_text

SHARP = "sharp"
BLURRED = "blurred"
UNSTATED = "unstated"
"""The `blur_kind` of folders nobody named one for."""

_MOST_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The images to compare: `sharp` and `blurred` folders, or a `dataset` in GOPRO layout."""

    restored: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=DIR, once for each method. Images lie in DIR as in the sharp folder; with --dataset as
    DIR/<sequence>/<name> or DIR/<split>/<sequence>/<name>."""
    sharp: Path | None = None
    """Folder of sharp images; images of all folders pair up by their path inside it."""
    blurred: Path | None = None
    """Folder of blurred images."""
    dataset: Path | None = None
    """Dataset in the GOPRO layout, in place of --sharp and --blurred."""
    split: Split = "test"
    """Which split of the dataset."""
    blur_kind: BlurKind | None = None
    """Which blurred images: gamma (blur_gamma; taken where nothing is said) or linear_crf (blur).
    With --sharp and --blurred it only labels the rows."""
    dataset_name: str = ""
    """Name of the dataset in tables; the folder's by default. Published numbers of the dataset of
    this name count as comparable."""
    allow_missing: bool = False
    """Compare the images that every folder has, and say so in every row."""

    def __post_init__(self) -> None:
        """Refuse what is neither two folders nor one dataset, and unusable method names."""
        folders = (self.sharp, self.blurred)
        if (self.dataset is not None) == any(folders) or any(folders) != all(folders):
            raise InputError(
                "Give either --sharp DIR and --blurred DIR, or --dataset DIR (with --split and "
                "--blur-kind)."
            )
        restored_folders(self.restored)

    @property
    def labels(self) -> dict[str, str]:
        """`dataset`, `split` and `blur_kind` as result rows show them.

        Without `dataset_name`, the dataset goes by the name of its folder, or of the sharp one.
        """
        folder = self.dataset or self.sharp
        assert folder is not None
        name = self.dataset_name or folder.resolve().name
        if self.dataset is None:
            return {"dataset": name, "split": "", "blur_kind": self.blur_kind or UNSTATED}
        return {"dataset": name, "split": self.split, "blur_kind": self.blur_kind or "gamma"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSet:
    """One moment as every method shows it."""

    sequence: str
    """Folder of the image inside its root, with forward slashes; empty at the top."""
    name: str
    """File name, such as ``000001.png``."""
    paths: Mapping[str, Path]
    """Method to file: ``sharp`` first, then ``blurred``, then the restored ones as asked for."""

    @property
    def key(self) -> str:
        """The relative path that all share: ``<sequence>/<name>``."""
        return str(PurePosixPath(self.sequence) / self.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """The images to compare, in natural order, and what `Sources.allow_missing` left out."""

    image_sets: tuple[ImageSet, ...]
    left_out: tuple[str, ...] = ()
    """A line a method, such as ``mynet: 1 missing (a/000002.png)``; empty when all are there."""


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
        if not re.fullmatch(r"\w[\w .,+()-]*", name):
            raise InputError(
                f"--restored {argument}: a name has letters, digits and _ . , + ( ) -, for it "
                "names files too."
            )
        if name in (SHARP, BLURRED):
            raise InputError(
                f"--restored {argument}: {name!r} names another row; take another name."
            )
        if name in folders:
            raise InputError(f"--restored {argument}: {name!r} is given twice; names must differ.")
        folders[name] = Path(folder)
    return folders


def pair_images(sources: Sources) -> Pairing:
    """Find the files of every method and pair them by relative path.

    Only names are looked at; `read_images` reads.

    Raises:
        InputError: A folder is missing or holds no image; or a method lacks an image of the sharp
            folder or has one more (all are listed) and `Sources.allow_missing` is off; or nothing
            is common to all.
    """
    files = _files_of_dataset(sources) if sources.dataset else _files_of_folders(sources)
    left_out: list[str] = []
    keys = set(files[SHARP])
    for method, paths in files.items():
        missing, extra = files[SHARP].keys() - paths.keys(), paths.keys() - files[SHARP].keys()
        found = [_listed(missing, "missing"), _listed(extra, "extra")]
        if missing or extra:
            left_out.append(f"{method}: " + ", ".join(part for part in found if part))
        keys &= paths.keys()
    if left_out and not sources.allow_missing:
        raise InputError(
            "Not every method has the images of the sharp folder, and no others: "
            + "; ".join(left_out)
            + ". Add or remove the files, or compare what all have with --allow-missing."
        )
    if not keys:
        raise InputError("No image is common to all folders: " + "; ".join(left_out) + ".")
    return Pairing(
        image_sets=tuple(
            ImageSet(
                sequence="" if key.parent == PurePosixPath() else str(key.parent),
                name=key.name,
                paths={method: paths[key] for method, paths in files.items()},
            )
            for key in sorted(keys, key=lambda key: natural_key(str(key)))
        ),
        left_out=tuple(left_out),
    )


def read_images(images: ImageSet) -> dict[str, Rgb]:
    """Read one image of every method: (H, W, 3) uint8 RGB each, all of the sharp one's size.

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
    sharp = found.get(SHARP)
    for method, image in found.items():
        if sharp is not None and image.shape != sharp.shape:
            problems.append(
                f"{images.paths[method]}: {size_text(image.shape)} was found, but the sharp image "
                f"{images.paths[SHARP]} has {size_text(sharp.shape)}. Restore at full size; "
                "nothing here resizes."
            )
    if problems:
        raise InputError("\n".join(problems))
    return found


def raise_all(problems: Sequence[str]) -> None:
    """Raise one `InputError` that lists what went wrong with the images of a run, if anything."""
    if problems:
        more = len(problems) - _MOST_LISTED
        listed = "\n".join(problems[:_MOST_LISTED]) + (f"\nand {more} more." if more > 0 else "")
        raise InputError(
            f"{len(problems)} image(s) cannot be compared, so nothing is averaged:\n{listed}"
        )


def _files_of_folders(sources: Sources) -> dict[str, dict[PurePosixPath, Path]]:
    assert sources.sharp is not None
    assert sources.blurred is not None
    folders = {SHARP: sources.sharp, BLURRED: sources.blurred}
    return {
        method: _image_files(folder)
        for method, folder in (folders | restored_folders(sources.restored)).items()
    }


def _files_of_dataset(sources: Sources) -> dict[str, dict[PurePosixPath, Path]]:
    assert sources.dataset is not None
    sequences = sequences_of(sources.dataset, sources.split)
    if not sequences:
        raise InputError(
            f"{sources.dataset / sources.split}: no sequences there; a dataset in the GOPRO layout "
            f"was expected ({sources.split}/<sequence>/{SHARP_FOLDER}/000001.png)."
        )
    kinds = {SHARP: SHARP_FOLDER, BLURRED: BLUR_FOLDERS[sources.blur_kind or "gamma"]}
    files: dict[str, dict[PurePosixPath, Path]] = {SHARP: {}, BLURRED: {}}
    for sequence in sequences:
        for method, kind in kinds.items():
            folder = sources.dataset / sources.split / sequence / kind
            if folder.is_dir():
                names = _image_files(folder, may_be_empty=True)
                files[method] |= {sequence / name: path for name, path in names.items()}
    for method, folder in restored_folders(sources.restored).items():
        inside = folder / sources.split
        files[method] = _image_files(inside if inside.is_dir() else folder)
    return files


def _image_files(folder: Path, *, may_be_empty: bool = False) -> dict[PurePosixPath, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: a folder of images was expected, and there is none.")
    files: dict[PurePosixPath, Path] = {}
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file():
            files[PurePosixPath(inside.as_posix())] = path
    if not files and not may_be_empty:
        raise InputError(f"{folder}: no images there ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return files


def _listed(keys: Iterable[PurePosixPath], what: str) -> str:
    names = sorted(map(str, keys), key=natural_key)
    if not names:
        return ""
    more = ", ..." if len(names) > _MOST_LISTED else ""
    return f"{len(names)} {what} ({', '.join(names[:_MOST_LISTED])}{more})"
