"""What is compared: the folders and the dataset that a user names, and where they are recorded.

Records get published, so they hold no paths. A page that shows the images needs them: a command
that compares images leaves ``images.json`` in its output folder, with paths relative to it, so that
the folders can be moved together.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from gopro_tools.dataset import BLUR_FOLDERS, SPLITS, BlurKind, Split, is_of_another_split
from gopro_tools.errors import InputError
from gopro_tools.files import read_json, write_atomic
from gopro_tools.shape import convert_fields
from gopro_tools.storage import local_copy

if TYPE_CHECKING:
    from gopro_tools.layouts import Place

SOURCES_FILE = "images.json"

SHARP = "sharp"
BLURRED = "blurred"
UNSTATED = "unstated"
"""The `blur_kind` of folders for which none was named."""

_RESERVED_ON_WINDOWS = r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The images to compare: `sharp` and `blurred` folders, or a `dataset` of a known layout."""

    restored: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=DIR, once for each method. Images lie in DIR as in the sharp folder, or under the names
    that programs give them: <sequence>-<number>.png, <name>_<network>.png, another suffix."""
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
    Where there is only one kind, it labels the rows."""
    dataset_name: str = ""
    """Name of the dataset in tables; the folder's by default. Published numbers on a dataset of
    this name count as comparable."""
    suffix: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """What follows the image's name in the names of results, such as _fake_B: SUFFIX for all
    methods or NAME=SUFFIX for one. Detected where every result has the same."""
    allow_missing: bool = False
    """Compare the images that every folder has, and say so in every row."""

    def __post_init__(self) -> None:
        """Refuse what is neither two folders nor one dataset, and unusable method names."""
        convert_fields(self)
        if self.sharp and not self.blurred:
            raise InputError(
                "--blurred DIR is missing: the blurred input is always a row, as a method is "
                "judged by its gain over it."
            )
        if (self.dataset is None) == (self.blurred is None):
            raise InputError(
                "Give either --sharp DIR and --blurred DIR (--blurred alone where there are no "
                "sharp images), or --dataset DIR (with --split and --blur-kind)."
            )
        methods = restored_folders(self.restored)
        for argument in self.suffix:
            name, equals, _ = argument.partition("=")
            if equals and name not in methods:
                raise InputError(f"--suffix {argument}: {name!r} is not one of --restored.")

    def suffix_of(self, method: str) -> str | None:
        """What follows an image's name in the file names of a method; None where not given."""
        for argument in reversed(self.suffix):
            name, equals, suffix = argument.rpartition("=")
            if not equals or name == method:
                return suffix
        return None

    def copied(self) -> "Sources":
        """The same sources, with copies on this machine instead of URLs."""

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
    def folders(self) -> list[Path]:
        """All folders that are read."""
        named = (self.dataset, self.sharp, self.blurred)
        return [*filter(None, named), *restored_folders(self.restored).values()]

    @property
    def has_sharp(self) -> bool:
        """Whether there are images to compare with."""
        return self.dataset is not None or self.sharp is not None

    @property
    def labels(self) -> dict[str, str]:
        """`dataset`, `split` and `blur_kind` as result rows show them.

        Without `dataset_name`, the dataset is called after its folder, or the sharp one.
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
    def place(self) -> "Place | None":
        """The dataset; None where two folders are compared.

        One folder given twice, which holds both kinds as RealBlur's do, is a dataset too.

        Raises:
            InputError: `dataset` has no known layout.
        """
        from gopro_tools.layouts import find_dataset, open_dataset

        if self.dataset is not None:
            return open_dataset(self.dataset, self.split)
        assert self.blurred is not None
        if self.sharp is None or self.sharp.resolve() != self.blurred.resolve():
            return None
        return find_dataset(self.sharp, self.split)


def restored_folders(restored: Iterable[str]) -> dict[str, Path]:
    """Split ``NAME=DIR`` arguments.

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
                f"--restored {argument}: a name has letters, digits and _ . , + ( ) -, and does "
                "not end in a dot or space, because it names files too."
            )
        if re.fullmatch(_RESERVED_ON_WINDOWS, name, re.IGNORECASE):
            raise InputError(
                f"--restored {argument}: Windows reserves {name!r} for a device, and the name "
                "names files too; choose another name."
            )
        if name.casefold() in (SHARP, BLURRED):
            raise InputError(
                f"--restored {argument}: {name!r} names another row; choose another name."
            )
        if name.casefold() in map(str.casefold, folders):
            raise InputError(
                f"--restored {argument}: {name!r} is given twice; names must differ in more than "
                "the case of letters, because some file systems ignore case."
            )
        folders[name] = Path(folder)
    return folders


def remember_sources(out: Path, sources: Sources, labels: Path | None = None) -> None:
    """Write ``images.json`` into the output folder of a comparison.

    Args:
        out: The folder; it exists.
        sources: What was compared.
        labels: Human labels of the sharp images, where they were the references.
    """
    restored = restored_folders(sources.restored)
    stored: dict[str, Any] = {
        "dataset": sources.dataset and _relative(sources.dataset, out),
        "split": sources.split,
        "blur_kind": sources.blur_kind,
        "sharp": sources.sharp and _relative(sources.sharp, out),
        "blurred": sources.blurred and _relative(sources.blurred, out),
        "restored": {name: _relative(path, out) for name, path in restored.items()},
        "suffix": sources.suffix,
        "allow_missing": sources.allow_missing,
        "labels": labels and _relative(labels, out),
    }
    write_atomic(out / SOURCES_FILE, json.dumps(stored, indent=2) + "\n")


def recall_sources(out: Path) -> tuple[Sources, Path | None] | None:
    """What `remember_sources` wrote: the images and the labels; None where there is nothing.

    Raises:
        InputError: The file is damaged.
    """
    path = out / SOURCES_FILE
    if not path.is_file():
        return None
    stored = read_json(path)
    try:
        if stored["split"] not in SPLITS or stored["blur_kind"] not in (*BLUR_FOLDERS, None):
            raise ValueError("no such split or kind of blur")
        folders = {name: out / folder for name, folder in stored["restored"].items()}
        sources = Sources(
            dataset=_found(out, stored["dataset"]),
            split=stored["split"],
            blur_kind=stored["blur_kind"],
            sharp=_found(out, stored["sharp"]),
            blurred=_found(out, stored["blurred"]),
            restored=tuple(f"{name}={folder}" for name, folder in folders.items()),
            suffix=tuple(stored.get("suffix", ())),
            allow_missing=stored["allow_missing"],
        )
        return sources, _found(out, stored["labels"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: damaged ({error}); run the command that wrote it again, or name the images "
            "with --dataset or --sharp and --blurred."
        ) from error


def _relative(path: Path, folder: Path) -> str:
    """The path as seen from the folder; absolute where they lie on different drives."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return path.resolve().as_posix()


def _found(out: Path, stored: str | None) -> Path | None:
    return None if stored is None else Path(os.path.normpath(out / stored))
