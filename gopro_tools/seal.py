"""``dataset.json``, the seal of a finished dataset: whose it is, and whether anything was changed.

It is written last, when all else is safely on disk, and holds hashes of the tables and of itself.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gopro_tools.files import sha256_of_file

DATASET_FILE = "dataset.json"
"""The record of a finished dataset."""
FORMAT = "gopro_tools.dataset.v1"
GOPRO_LARGE_FORMAT = "gopro_tools.gopro_large.v1"
"""Format of the original dataset, rebuilt by its own recipe."""
STATE_FOLDERS = (".synthesis", ".unfinished")
"""One of them lies in a dataset while it is being made, and after an interruption."""

_SEAL = "seal_sha256"
_MADE_BY = "gopro_tools "


@dataclass(frozen=True, kw_only=True, slots=True)
class Seal:
    """What `DATASET_FILE` in a folder says."""

    state: Literal["none", "foreign", "damaged", "changed", "whole"]
    """``foreign``: another program's. ``damaged``: cut short or emptied; its origin is unknown.
    ``changed``: ours, but edited since it was written."""
    record: Mapping[str, Any]
    """Its content; empty unless ``changed`` or ``whole``."""

    @property
    def is_ours(self) -> bool:
        """Whether this program made the dataset, by either command."""
        return self.state in ("changed", "whole")

    @property
    def identity(self) -> Any:
        """What the dataset was made from and how; None where another command made it."""
        return self.record.get("identity")


def sealed(record: Mapping[str, Any], root: Path, tables: Iterable[str] = ()) -> str:
    """The text of a seal.

    Args:
        record: What it says, including its ``format``.
        root: The dataset.
        tables: Names of the files in it whose changes the seal must reveal.
    """
    hashes = {name: sha256_of_file(root / name) for name in tables}
    content = {**record, "files_sha256": hashes}
    return json.dumps({**content, _SEAL: _digest(content)}, indent=1, sort_keys=True) + "\n"


def read_seal(root: Path) -> Seal:
    """Read and check the seal of a dataset. Datasets of earlier versions have no hashes."""
    path = root / DATASET_FILE
    if not path.is_file():
        return Seal(state="none", record={})
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return Seal(state="damaged", record={})
    if not isinstance(record, dict) or not _is_ours(record):
        return Seal(state="foreign", record={})
    content = {key: value for key, value in record.items() if key != _SEAL}
    is_whole = _SEAL not in record or record[_SEAL] == _digest(content)
    return Seal(state="whole" if is_whole else "changed", record=record)


def changed_files(root: Path, seal: Seal) -> dict[str, str]:
    """Files that are not those the seal was written for: name -> ``missing`` or ``changed``."""
    hashes = seal.record.get("files_sha256")
    changes = {}
    for name, expected in hashes.items() if isinstance(hashes, dict) else ():
        path = root / Path(str(name)).name
        if not path.is_file():
            changes[path.name] = "missing"
        elif sha256_of_file(path) != expected:
            changes[path.name] = "changed"
    return changes


def _is_ours(record: Mapping[str, Any]) -> bool:
    if record.get("format") in (FORMAT, GOPRO_LARGE_FORMAT):
        return True
    earlier = str(record.get("made_by", "")).startswith(_MADE_BY) and "identity" in record
    return earlier or {"recipe", "response", "version"} == record.keys()


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
