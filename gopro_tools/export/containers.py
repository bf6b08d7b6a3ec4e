"""Where samples are written to and read back from: folders, databases and tar files.

Each container knows which of its parts are complete, so that an interrupted export resumes, and
returns the very bytes that its readers will see, so that it can be checked.
"""

import io
import json
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gopro_tools.dataset import SPLITS, Split
from gopro_tools.errors import InputError, installs
from gopro_tools.export.config import ExportConfig
from gopro_tools.export.databases import Databases
from gopro_tools.export.parts import (
    Container,
    Encoded,
    Files,
    Opened,
    Unit,
    in_chunks,
    other_list,
    unexpected,
)
from gopro_tools.export.samples import Sample
from gopro_tools.files import write_atomic
from gopro_tools.findings import Finding
from gopro_tools.images import IMAGE_SUFFIXES

FOLDER_NAMES = ("input", "target", "blurred", "sharp", "blur_crops", "sharp_crops")
"""Every folder of a split that an export of single files has."""


class Folders(Opened):
    """One PNG file per image: ``flat``, ``crops`` and ``huggingface``."""

    def __init__(self, out: Path, config: ExportConfig) -> None:
        super().__init__()
        self._out = out
        self._to = config.to
        self._cut = bool(config.cut_px)

    def _folders(self, split: Split) -> tuple[Path, Path]:
        names = ("input", "target")
        if self._to == "huggingface":
            names = ("blurred", "sharp")
        elif self._cut and split == "train":
            names = ("blur_crops", "sharp_crops")
        return self._out / split / names[0], self._out / split / names[1]

    def _paths(self, sample: Sample) -> tuple[Path, Path]:
        blurred, sharp = self._folders(sample.split)
        return blurred / f"{sample.key}.png", sharp / f"{sample.key}.png"

    def units(self, samples: Sequence[Sample]) -> list[Unit]:
        """See `Container`."""
        missing = [
            sample for sample in samples if not all(path.is_file() for path in self._paths(sample))
        ]
        return in_chunks(self._out, missing)

    def write(self, unit: Unit, encoded: Iterable[Encoded]) -> None:
        """See `Container`."""
        for sample, images in encoded:
            for path, data in zip(self._paths(sample), (images.blurred, images.sharp), strict=True):
                write_atomic(path, data)

    def finish(self, samples: Sequence[Sample]) -> None:
        """See `Container`."""
        for path, text in self._lists(samples).items():
            write_atomic(path, text)

    def _lists(self, samples: Sequence[Sample]) -> dict[Path, str]:
        """What readers need beside the images, for exactly these samples."""
        if self._to != "huggingface":
            return {}
        lines: defaultdict[Split, list[str]] = defaultdict(list)
        for sample in samples:
            blurred, sharp = (
                path.relative_to(self._out / sample.split).as_posix()
                for path in self._paths(sample)
            )
            row = {"blurred_file_name": blurred, "sharp_file_name": sharp, **_place(sample)}
            lines[sample.split].append(json.dumps(row, ensure_ascii=False) + "\n")
        card = {self._out / "README.md": _card([*lines], len(samples))}
        rows = {self._out / split / "metadata.jsonl": "".join(own) for split, own in lines.items()}
        return card | rows

    def read(self, samples: Sequence[Sample]) -> Iterator[Files]:
        """See `Container`."""
        for sample in samples:
            blurred, sharp = (
                path.read_bytes() if path.is_file() else None for path in self._paths(sample)
            )
            yield sample, blurred, sharp

    def faults(self, samples: Sequence[Sample]) -> list[Finding]:
        """See `Container`."""
        images = {path for sample in samples for path in self._paths(sample)}
        present = [s for s in samples if all(path.is_file() for path in self._paths(s))]
        lists = self._lists(present)
        others = sorted(path for path in self._read_files() if path not in images | lists.keys())
        faults = [unexpected(path.relative_to(self._out).as_posix()) for path in others]
        for path, text in lists.items():
            found = path.read_bytes() if path.is_file() else b""
            is_right = (
                _files_of_card(text).encode() in found
                if path.suffix == ".md"
                else (found == text.encode())
            )
            if not is_right:
                faults.append(other_list(path.relative_to(self._out).as_posix()))
        return faults

    def _read_files(self) -> Iterator[Path]:
        """Files that a reader may take: all in the folders of the splits, and images elsewhere."""
        for path in self._out.rglob("*"):
            in_split = path.relative_to(self._out).parts[0] in SPLITS
            is_read = in_split or path.suffix.lower() in IMAGE_SUFFIXES
            if is_read and path.is_file() and not path.name.startswith("."):
                yield path


def _place(sample: Sample) -> dict[str, Any]:
    """Where in the dataset a sample comes from."""
    return {"sequence": sample.pair.sequence, "name": sample.pair.name}


def _card(splits: Sequence[Split], n_pairs: int) -> str:
    files = "\n".join(f"      - split: {split}\n        path: {split}/**" for split in splits)
    return f"""---
task_categories:
  - image-to-image
tags:
  - deblurring
configs:
  - config_name: default
    drop_labels: true
    data_files:
{files}
---

# Blurred and sharp images

{n_pairs} pairs, exported by gopro_tools. Columns: `blurred`, `sharp` (images of one size),
`sequence` and `name` (where each pair comes from).
"""


def _files_of_card(card: str) -> str:
    """The part of a card that says which files are read; users may rewrite the rest."""
    return card[card.index("    data_files:") : card.index("\n---", 4)]


class Shards(Opened):
    """WebDataset: tar files of at most N samples, the same bytes on every run."""

    def __init__(self, out: Path, config: ExportConfig) -> None:
        super().__init__()
        self._out = out
        self._size = config.samples_per_shard

    def _shards(self, samples: Sequence[Sample]) -> Iterator[Unit]:
        for split in SPLITS:
            own = [sample for sample in samples if sample.split == split]
            for number, start in enumerate(range(0, len(own), self._size)):
                path = self._out / f"{split}-{number:06d}.tar"
                yield Unit(path, own[start : start + self._size])

    def units(self, samples: Sequence[Sample]) -> list[Unit]:
        """See `Container`."""
        return [shard for shard in self._shards(samples) if not self._is_complete(shard)]

    @staticmethod
    def _is_complete(shard: Unit) -> bool:
        with _opened(shard.path) as tar:
            return tar.names == _member_names(shard.samples)

    def write(self, unit: Unit, encoded: Iterable[Encoded]) -> None:
        """See `Container`."""
        temporary = unit.path.with_name(f".{unit.path.name}.tmp")
        try:
            with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
                for sample, images in encoded:
                    for name, data in zip(
                        _member_names([sample]),
                        (images.blurred, images.sharp, _facts(sample)),
                        strict=True,
                    ):
                        member = tarfile.TarInfo(name)
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
            temporary.replace(unit.path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def finish(self, samples: Sequence[Sample]) -> None:
        """Nothing lies beside the shards."""

    def read(self, samples: Sequence[Sample]) -> Iterator[Files]:
        """See `Container`."""
        for shard in self._shards(samples):
            with _opened(shard.path) as tar:
                for sample in shard.samples:
                    blurred, sharp, _ = _member_names([sample])
                    yield sample, tar.read(blurred), tar.read(sharp)

    def faults(self, samples: Sequence[Sample]) -> list[Finding]:
        """See `Container`."""
        shards = {shard.path: shard for shard in self._shards(samples)}
        faults = [
            unexpected(path.name)
            for path in sorted(self._out.glob("[!.]*.tar*"))
            if path not in shards
        ]
        for shard in shards.values():
            faults += _faults_of(shard) if shard.path.is_file() else ()
        return faults


def _faults_of(shard: Unit) -> Iterator[Finding]:
    expected = _member_names(shard.samples)
    with _opened(shard.path) as tar:
        if tar.damage:
            message = f"{shard.path.name}: not a complete tar file ({tar.damage}). Export again."
            yield Finding("error", "unreadable", message)
            return
        for name, count in Counter(tar.names).items():
            if name not in expected:
                yield unexpected(f"{shard.path.name}: {name}")
            elif count > 1:
                yield Finding("error", "twice", f"{shard.path.name}: {name}, {count} times")
        for sample in shard.samples:
            *images, facts = _member_names([sample])
            if any(name in tar.names for name in images) and tar.read(facts) != _facts(sample):
                yield other_list(f"{shard.path.name}: {facts}")
        if sorted(tar.names) == sorted(expected) and tar.names != expected:
            message = f"{shard.path.name}: its members are in another order. Export again."
            yield Finding("error", "order", message)


def _member_names(samples: Sequence[Sample]) -> list[str]:
    """Members of a shard, in order: readers take neighbours with one key for a sample."""
    suffixes = ("blurred.png", "sharp.png", "json")
    return [f"{sample.key}.{suffix}" for sample in samples for suffix in suffixes]


def _facts(sample: Sample) -> bytes:
    return json.dumps({"split": sample.split, **_place(sample)}).encode()


@dataclass(frozen=True)
class _Tar:
    """An open shard; empty where there is none, or it is damaged."""

    names: Sequence[str]
    """Of its members, in order."""
    read: Callable[[str], bytes | None]
    """A member's bytes, by its name."""
    damage: str = ""


@contextmanager
def _opened(path: Path) -> Iterator[_Tar]:
    with ExitStack() as stack:
        try:
            # Not compressed, as it was written.
            tar = stack.enter_context(tarfile.open(path, "r:"))
            members = {m.name: m for m in tar.getmembers() if not m.issparse()}
            names = tar.getnames()
        except (tarfile.TarError, OSError, EOFError) as error:
            damage = "" if isinstance(error, FileNotFoundError) else str(error)
            yield _Tar((), lambda name: None, damage)
            return

        def read(name: str) -> bytes | None:
            file = tar.extractfile(members[name]) if name in members else None
            return file.read() if file is not None else None

        yield _Tar(names, read)


def container_of(out: Path, config: ExportConfig, *, read_only: bool = False) -> Container:
    """The container of a format; a read-only one writes nothing, not even a lock.

    Raises:
        InputError: The package it needs is not installed.
    """
    if config.to == "webdataset":
        return Shards(out, config)
    if config.to == "lmdb":
        try:
            import lmdb  # noqa: F401
        except ImportError as error:
            raise InputError(f"--to lmdb needs the package lmdb: {installs('export')}.") from error
        return Databases(out, config, read_only=read_only)
    return Folders(out, config)
