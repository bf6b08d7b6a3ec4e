"""The output folder of a synthesis: whose it is, who is using it, what is already there."""

import csv
import json
import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import cv2

from gopro_tools import __version__, png_encoder
from gopro_tools.dataset import LATENT_FOLDER, MANIFEST_FILE, SPLITS
from gopro_tools.errors import InputError
from gopro_tools.files import refuse_links, sync_folder, write_atomic
from gopro_tools.locks import held, is_held
from gopro_tools.seal import DATASET_FILE, GOPRO_LARGE_FORMAT, Seal, changed_files, read_seal
from gopro_tools.synthesize.plan import Plan
from gopro_tools.synthesize.publish import PUBLISHED_FILES
from gopro_tools.synthesize.repair import Lost, lost_images
from gopro_tools.text import plain_cell

logger = logging.getLogger(__name__)

STATE_FOLDER = ".synthesis"
"""In the output while it is being made: what is done, locks, files being written."""
IDENTITY_FILE = "identity.json"
_FORMAT = "gopro_tools.synthesis.v1"
_SPARE_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class _Begun:
    """What the state folder says about the dataset that is being made."""

    identity: Mapping[str, Any]
    """What decides every pixel, with the versions of what decodes and writes."""
    images: Mapping[str, list[str]]
    """Names of the files by their folder: all that may be written there."""


def identity_of(plan: Plan) -> dict[str, Any]:
    """What decides every byte: several runs may work on equal identities."""
    versions = {
        "gopro_tools": __version__,
        "ffmpeg": av.ffmpeg_version_info,
        "libraries": {name: list(numbers) for name, numbers in av.library_versions.items()},
        "opencv": cv2.__version__,
        "png_encoder": png_encoder.NAME,
    }
    identity = {**plan.identity(), "versions": versions}
    return json.loads(json.dumps(identity, sort_keys=True))  # type: ignore[no-any-return]


def _without_versions(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in identity.items() if key != "versions"}


def fingerprint_of(plan: Plan) -> str:
    """The identity as a hash, which the record of every segment carries."""
    return sha256(json.dumps(identity_of(plan), sort_keys=True).encode()).hexdigest()


# --- whose it is -----------------------------------------------------------------------------


def refuse_foreign(out: Path) -> None:
    """Raise InputError if ``out`` certainly cannot take a dataset of this command.

    Where only the plan can tell, `prepare` decides.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: a folder was expected; name another one with --out.")
    refuse_links(out, STATE_FOLDER, *SPLITS)
    seal = read_seal(out)
    if seal.record.get("format") == GOPRO_LARGE_FORMAT or "recipe" in seal.record:
        raise InputError(
            f"{out}: holds GOPRO_Large as `gopro_large regenerate` rebuilds it; name another "
            "folder."
        )
    others = {entry.name for entry in out.iterdir()} - {STATE_FOLDER}
    if not others or seal.is_ours or _begun(out) is not None:
        return
    if seal.state != "damaged" and not (out / STATE_FOLDER).is_dir():
        raise _not_ours(out)


def _not_ours(out: Path) -> InputError:
    return InputError(
        f"{out}: holds files that this program did not make; name an empty or new folder."
    )


def prepare(out: Path, plan: Plan, *, overwrite: bool) -> Lost | None:
    """Make ``out`` ready for ``plan``. Call it while no other run can start.

    Returns:
        None if the dataset is to be made; else it is already there, except for these images.

    Raises:
        InputError: Something else lies there, or a dataset made with other settings and
            ``overwrite`` is off.
    """
    sequences = {f"{s.split}/{s.name}" for s in plan.sequences}
    refuse_links(out, *(f"{name}/{kind}" for name in sequences for kind in plan.config.kinds))
    wanted = identity_of(plan)
    seal, begun = read_seal(out), _begun(out)
    if seal.is_ours:
        # Versions do not matter for a finished dataset: nothing is added to it.
        there, asked = seal.identity, _without_versions(wanted)
        if there == asked:
            problem = _changes_of(out, seal)
            if not problem:
                return lost_images(out, latent=plan.config.latent)
            logger.warning("%s: %s; it is made again.", out, problem)
            _break_seal(out, seal)
    elif begun is not None:
        # One that was once finished has no segments of any version in the state folder.
        has_versions = "versions" in begun.identity
        there, asked = begun.identity, wanted if has_versions else _without_versions(wanted)
    else:
        _refuse_strangers(out, plan)
        if seal.state == "damaged":
            logger.warning("%s: damaged; the dataset is made again.", out / DATASET_FILE)
            (out / DATASET_FILE).unlink()
        there = asked = wanted
    if there != asked:
        if not overwrite:
            raise InputError(
                f"{out}: holds a dataset made with other settings ({difference(there, asked)}). "
                "Name another folder with --out, or replace it with --overwrite."
            )
        _clear(out, seal)
    _write_begun(out, _Begun(identity=wanted, images=_images_of(plan)))
    return None


def begin_again(out: Path, plan: Plan) -> None:
    """Remove the seal of a finished dataset of ``plan``, which is then made again as a whole."""
    seal = read_seal(out)
    if seal.is_ours:
        _break_seal(out, seal)
    _write_begun(out, _Begun(identity=identity_of(plan), images=_images_of(plan)))


def difference(there: object, asked: Mapping[str, Any]) -> str:
    """How two identities differ, in words."""
    changes: list[str] = []
    for part in ("config", "sources", "versions"):
        old, new = there.get(part) if isinstance(there, dict) else None, asked.get(part)
        if old is None and new is None:
            continue
        if not isinstance(old, dict) or not isinstance(new, dict):
            return "by another version of this program"
        changes += [
            f"source {key} differs"
            if part == "sources"
            else f"{key}: {old.get(key)} there, {new.get(key)} asked for"
            if part == "config"
            else f"begun with {key} {old.get(key)}, this is {new.get(key)}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
    return "; ".join(changes[:5])


def _changes_of(out: Path, seal: Seal) -> str:
    """What was changed in the tables of a finished dataset, or in its record."""
    if seal.state == "changed":
        return f"{DATASET_FILE} was changed"
    changes = changed_files(out, seal)
    if not (out / MANIFEST_FILE).is_file():
        changes[MANIFEST_FILE] = "missing"  # datasets of earlier versions have no hashes
    return ", ".join(f"{name} is {what}" for name, what in changes.items())


def _refuse_strangers(out: Path, plan: Plan) -> None:
    """Refuse a folder of unknown origin, unless everything in it has the plan's names."""
    planned = {f"{folder}/{name}" for folder, names in _images_of(plan).items() for name in names}
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or name in planned or name in PUBLISHED_FILES:
            continue
        if not name.startswith(f"{STATE_FOLDER}/"):
            raise _not_ours(out)


def _images_of(plan: Plan) -> dict[str, list[str]]:
    return {
        f"{sequence.split}/{sequence.name}/{kind}": [w.file_name for w in sequence.windows]
        for sequence in plan.sequences
        for kind in plan.config.kinds
    }


def _listed(out: Path) -> dict[str, list[str]]:
    """Images that the manifest of a dataset lists, by folder; none where it is damaged."""
    listed: dict[str, list[str]] = {}
    try:
        with (out / MANIFEST_FILE).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for column, value in row.items():
                    if value and column.startswith("hash_"):
                        kind = column.removeprefix("hash_")
                        folder = f"{row['split']}/{plain_cell(row['sequence'])}/{kind}"
                        listed.setdefault(folder, []).append(row["name"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError, csv.Error):
        return {}
    return listed


# --- replacing -------------------------------------------------------------------------------


def _break_seal(out: Path, seal: Seal) -> None:
    """Remove the seal, after noting whose images lie here."""
    _write_begun(out, _Begun(identity=seal.identity or {}, images=_listed(out)))
    (out / DATASET_FILE).unlink()
    sync_folder(out)


def _clear(out: Path, seal: Seal) -> None:
    """Remove what the manifest and the state folder list; the seal goes first, the identity last.

    Killed at any moment in between, the folder is an unfinished dataset made with other settings.
    """
    if seal.is_ours:
        _break_seal(out, seal)
    begun = _begun(out)
    for images in (_listed(out), begun.images if begun else {}):
        for folder, names in images.items():
            _remove_images(out, folder, names)
    for name in reversed(PUBLISHED_FILES):
        (out / name).unlink(missing_ok=True)
    clean_state(out, keep_identity=True)
    kept = [path for split in SPLITS for path in (out / split).rglob("*") if not path.is_dir()]
    if kept:
        logger.warning(
            "%s: %d file(s) that no manifest lists are left alone, first %s.",
            out,
            len(kept),
            kept[0],
        )


def _remove_images(out: Path, folder: str, names: Iterable[str]) -> None:
    parts = Path(folder).parts
    # Anybody may have written this list: it must not name anything outside.
    if len(parts) != 3 or parts[0] not in SPLITS or ".." in parts:
        return
    refuse_links(out, folder)
    for name in names:
        if name == Path(name).name:
            (out / folder / name).unlink(missing_ok=True)
            _remove_latent(out / parts[0] / parts[1] / LATENT_FOLDER / Path(name).stem)
    for n_parts in (3, 2, 1):
        with suppress(OSError):  # others' files are in it
            out.joinpath(*parts[:n_parts]).rmdir()


def _remove_latent(folder: Path) -> None:
    """Remove the frames kept of one exposure, and the folders left empty."""
    if folder.is_symlink() or folder.parent.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if re.fullmatch(r"\d{3,}\.png", path.name):
            path.unlink()
    for each in (folder, folder.parent):
        with suppress(OSError):  # others' files are in it
            each.rmdir()


def clean_state(out: Path, *, keep_identity: bool = False) -> None:
    """Remove the state of a dataset being made; locks are left to their holders."""
    state = out / STATE_FOLDER
    for path in sorted(state.glob("*")):
        is_ours = path.suffix in (".json", ".tmp", ".pickle")
        if is_ours and not (keep_identity and path.name == IDENTITY_FILE):
            path.unlink(missing_ok=True)


def _write_begun(out: Path, begun: _Begun) -> None:
    state = out / STATE_FOLDER
    content = {"format": _FORMAT, "identity": begun.identity, "images": begun.images}
    text = json.dumps(content, indent=1, sort_keys=True)
    path = state / IDENTITY_FILE
    if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != text:
        write_atomic(path, text, state / f"{IDENTITY_FILE}.tmp")


def _begun(out: Path) -> _Begun | None:
    """What the state folder says; None where that is missing or incomplete."""
    try:
        content = json.loads((out / STATE_FOLDER / IDENTITY_FILE).read_bytes())
        if content["format"] != _FORMAT:
            return None
        images = {str(k): [str(name) for name in v] for k, v in content["images"].items()}
        return _Begun(identity=dict(content["identity"]), images=images)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


# --- who works there -------------------------------------------------------------------------


@contextmanager
def only_run(
    out: Path, plan: Plan, shard: tuple[int, int], *, overwrite: bool
) -> Iterator[Lost | None]:
    """Hold the folder for one run, prepared; shards of one division may work side by side.

    Yields:
        See `prepare`.
    """
    index, n_shards = shard
    state = out / STATE_FOLDER
    in_use = f"{out}: another run is at work there."
    with held(state / f"shard-{index}-of-{n_shards}.lock", in_use):
        with held(state / "start.lock", in_use, timeout_s=60):
            others = _held_locks(state, mine=index, n_shards=n_shards)
            if any(not name.endswith(f"-of-{n_shards}.lock") for name in others):
                raise InputError(f"{in_use} Wait for it to end, or name another folder.")
            if others and _begun(out) is not None and _begun_otherwise(out, plan):
                raise InputError(f"{in_use} It makes another dataset; name another folder.")
            lost = prepare(out, plan, overwrite=overwrite)
        yield lost
    with suppress(OSError):  # where something is left, or another shard at work
        state.rmdir()


def _begun_otherwise(out: Path, plan: Plan) -> bool:
    begun = _begun(out)
    return begun is not None and begun.identity != identity_of(plan)


def _held_locks(state: Path, *, mine: int, n_shards: int) -> list[str]:
    own = f"shard-{mine}-of-{n_shards}.lock"
    return [p.name for p in state.glob("shard-*.lock") if p.name != own and is_held(p)]


def check_space(out: Path, bytes_needed: int) -> None:
    """Raise InputError if the file system has less free space."""
    free = shutil.disk_usage(out).free
    if bytes_needed + _SPARE_BYTES > free:
        raise InputError(
            f"{out}: about {bytes_needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free. "
            "Make room, or take less: --max-pairs, --scale, fewer --kinds."
        )
