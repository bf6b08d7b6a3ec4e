"""Folders of a dataset, and what their names say about the images in them."""

from collections.abc import Collection, Mapping
from pathlib import Path

from gopro_tools.dataset import BLUR_FOLDERS, BlurKind
from gopro_tools.errors import InputError
from gopro_tools.files import natural_key
from gopro_tools.images import NO_CONTENT
from gopro_tools.naming import BLURRED_WORDS, SHARP_WORDS

_CROPS = {"input_crops": "input", "target_crops": "target", "blur_crops": "blur",
          "sharp_crops": "sharp", "blur_300": "blur", "sharp_300": "sharp"}  # fmt: skip


def folders_in(folder: Path) -> dict[str, Path]:
    """Folders in a folder by name, hidden ones left out, in natural order."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        found = [entry for entry in entries if entry.is_dir() and entry.name not in NO_CONTENT]
    except OSError as error:
        raise InputError(f"{folder}: cannot be looked into ({error.strerror}).") from error
    return {entry.name: entry for entry in sorted(found, key=lambda e: natural_key(e.name))}


def kind_of_folder(name: str) -> str:
    """Name of a folder in lower case, crops by what they are crops of."""
    return _CROPS.get(name.lower(), name.lower())


def _of_kinds(folders: Mapping[str, Path], words: Collection[str]) -> dict[str, Path]:
    """Folders of some kinds, by kind; crops only where the images they are cut from are absent."""
    found: dict[str, Path] = {}
    for name in sorted(folders, key=lambda name: name.lower() in _CROPS):
        if (kind := kind_of_folder(name)) in words:
            found.setdefault(kind, folders[name])
    return found


def sharp_folder(folders: Mapping[str, Path]) -> Path | None:
    """The folder of sharp images; None where there is none.

    Raises:
        InputError: Several could be it.
    """
    found = list(_of_kinds(folders, SHARP_WORDS).values())
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise InputError(
            f"{found[0].parent}: {names} could both be the sharp images; name two folders with "
            "--sharp and --blurred."
        )
    return found[0] if found else None


def blurred_folder(folders: Mapping[str, Path], blur_kind: BlurKind | None) -> Path | None:
    """The folder of blurred images: of the kind where both are there, else the only one."""
    found = _of_kinds(folders, BLURRED_WORDS)
    if len(found) > 1 or (blur_kind and found.keys() & set(BLUR_FOLDERS.values())):
        return found.get(BLUR_FOLDERS[blur_kind or "gamma"])
    return next(iter(found.values()), None)


def has_sharp(folders: Mapping[str, Path]) -> bool:
    """Whether a folder of sharp images is among them."""
    return bool(_of_kinds(folders, SHARP_WORDS))


def has_blurred(folders: Mapping[str, Path]) -> bool:
    """Whether a folder of blurred images is among them."""
    return bool(_of_kinds(folders, BLURRED_WORDS))
