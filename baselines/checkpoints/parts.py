"""A checkpoint in parts, for machines that take or return small files only."""

import hashlib
import json
from pathlib import Path

from gopro_tools.errors import InputError
from gopro_tools.files import write_atomic

_LIST_SUFFIX = ".parts.json"


def split(path: Path, folder: Path, part_mib: float = 15.0) -> list[Path]:
    """Cut a file into parts.

    Args:
        path: Any file.
        folder: Gets ``<name>.part01of04``, ... and, last, ``<name>.parts.json`` with their hashes.
        part_mib: Largest part in MiB.

    Returns:
        The list first, then the parts in order.

    Raises:
        InputError: There is no such file, or ``part_mib`` is not positive.
    """
    if not part_mib > 0:
        raise InputError(f"--part-mib {part_mib}: a positive number was expected.")
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    data = path.read_bytes()
    size = max(1, int(part_mib * 2**20))
    pieces = [data[start : start + size] for start in range(0, max(len(data), 1), size)]
    parts = []
    for number, piece in enumerate(pieces, start=1):
        part = folder / f"{path.name}.part{number:02d}of{len(pieces):02d}"
        write_atomic(part, piece)
        parts.append(part)
    listing = {
        "name": path.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "parts": [
            {"name": part.name, "sha256": hashlib.sha256(piece).hexdigest()}
            for part, piece in zip(parts, pieces, strict=True)
        ],
    }
    list_path = folder / f"{path.name}{_LIST_SUFFIX}"
    write_atomic(list_path, json.dumps(listing, indent=2) + "\n")
    return [list_path, *parts]


def join(list_path: Path, out: Path) -> Path:
    """Put a file together from the parts beside its list.

    Args:
        list_path: ``<name>.parts.json`` by `split`.
        out: The file, or a folder for it under its own name.

    Returns:
        The file, whose hash is the original's.

    Raises:
        InputError: The list is none, a part is missing or changed; nothing is written then.
    """
    try:
        listing = json.loads(list_path.read_text(encoding="utf-8"))
        name, whole, parts = listing["name"], listing["sha256"], listing["parts"]
        wanted = [(Path(part["name"]).name, part["sha256"]) for part in parts]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{list_path}: not a list of parts ({error}); name the file ending in {_LIST_SUFFIX} "
            "that `split` wrote."
        ) from error
    data, problems = bytearray(), []
    for part_name, sha256 in wanted:
        path = list_path.parent / part_name
        piece = path.read_bytes() if path.is_file() else None
        if piece is None:
            problems.append(f"{part_name}: missing")
        elif hashlib.sha256(piece).hexdigest() != sha256:
            problems.append(f"{part_name}: changed or cut off ({len(piece)} bytes)")
        else:
            data += piece
    if problems or hashlib.sha256(data).hexdigest() != whole:
        raise InputError(
            f"{list_path}: {'; '.join(problems) or 'the whole has another hash'}. Copy the parts "
            "again; nothing was written."
        )
    target = out / Path(name).name if out.is_dir() else out
    write_atomic(target, bytes(data))
    return target
