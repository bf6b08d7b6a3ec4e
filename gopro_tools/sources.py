"""Where the images behind a folder of results lie, kept beside the results.

Records get published, so they hold no paths. A page that shows the images needs them: a command
that compares images leaves ``images.json`` in its output folder, with paths relative to it, so that
the folders can be moved together.
"""

import json
import os
from pathlib import Path
from typing import Any

from gopro_tools.dataset import BLUR_FOLDERS, SPLITS
from gopro_tools.errors import InputError
from gopro_tools.files import read_json, write_atomic
from gopro_tools.pairing import Sources, restored_folders

SOURCES_FILE = "images.json"


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
