"""Where samples are written to and read back from: folders, databases and tar files.

Each container knows what of it is complete, so that an interrupted export resumes, and gives back
the very bytes that its readers will see, so that it can be checked.
"""

import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gopro_tools.dataset import SPLITS, Split
from gopro_tools.errors import InputError, installs
from gopro_tools.export.databases import Databases
from gopro_tools.export.parts import Container, Encoded, Files, Opened, Unit, in_chunks
from gopro_tools.export.samples import ExportConfig, Sample
from gopro_tools.files import write_atomic

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
        if self._to != "huggingface":
            return
        lines: defaultdict[Split, list[str]] = defaultdict(list)
        for sample in samples:
            blurred, sharp = (
                path.relative_to(self._out / sample.split).as_posix()
                for path in self._paths(sample)
            )
            row = {"blurred_file_name": blurred, "sharp_file_name": sharp, **_place(sample)}
            lines[sample.split].append(json.dumps(row, ensure_ascii=False) + "\n")
        for split, text in lines.items():
            write_atomic(self._out / split / "metadata.jsonl", "".join(text))
        write_atomic(self._out / "README.md", _card([*lines], len(samples)))

    def read(self, samples: Sequence[Sample]) -> Iterator[Files]:
        """See `Container`."""
        for sample in samples:
            blurred, sharp = (
                path.read_bytes() if path.is_file() else None for path in self._paths(sample)
            )
            yield sample, blurred, sharp

    def unexpected(self, samples: Sequence[Sample]) -> list[str]:
        """See `Container`."""
        expected = {path for sample in samples for path in self._paths(sample)}
        found = {
            path
            for split in SPLITS
            for folder in self._folders(split)
            for path in folder.glob("*")
            if path.is_file() and not path.name.startswith(".")
        }
        return sorted(path.relative_to(self._out).as_posix() for path in found - expected)


def _place(sample: Sample) -> dict[str, Any]:
    """Where in the dataset a sample is from."""
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
`sequence` and `name` (where each pair is from).
"""


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
        try:
            with tarfile.open(shard.path) as tar:
                names = set(tar.getnames())
        except (OSError, tarfile.TarError):
            return False
        return all(f"{sample.key}.json" in names for sample in shard.samples)

    def write(self, unit: Unit, encoded: Iterable[Encoded]) -> None:
        """See `Container`."""
        temporary = unit.path.with_name(f".{unit.path.name}.tmp")
        try:
            with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
                for sample, images in encoded:
                    facts = json.dumps({"split": sample.split, **_place(sample)}).encode()
                    for suffix, data in (
                        ("blurred.png", images.blurred),
                        ("sharp.png", images.sharp),
                        ("json", facts),
                    ):
                        member = tarfile.TarInfo(f"{sample.key}.{suffix}")
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
            files = _tar_files(shard.path) if shard.path.is_file() else {}
            for sample in shard.samples:
                yield (
                    sample,
                    files.get(f"{sample.key}.blurred.png"),
                    files.get(f"{sample.key}.sharp.png"),
                )

    def unexpected(self, samples: Sequence[Sample]) -> list[str]:
        """See `Container`."""
        extra = []
        keys = {shard.path: {s.key for s in shard.samples} for shard in self._shards(samples)}
        for path in sorted(self._out.glob("*.tar")):
            own = keys.get(path, set())
            names = _tar_files(path)
            extra += [f"{path.name}: {name}" for name in names if name.partition(".")[0] not in own]
        return extra


def _tar_files(path: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(path, "r:") as tar:  # as it was written: nothing to unpack
            return {
                member.name: file.read()
                for member in tar
                if not member.issparse() and (file := tar.extractfile(member)) is not None
            }
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(
            f"{path}: not a complete tar file ({error}); remove it and export again."
        ) from error


def container_of(out: Path, config: ExportConfig) -> Container:
    """The container of a format.

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
        return Databases(out, config)
    return Folders(out, config)
