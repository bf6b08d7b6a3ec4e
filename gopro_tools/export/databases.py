"""BasicSR's LMDB."""

import errno
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gopro_tools.dataset import SPLITS, Split
from gopro_tools.errors import InputError
from gopro_tools.export.config import ExportConfig
from gopro_tools.export.parts import (
    Encoded,
    Files,
    Opened,
    Unit,
    in_chunks,
    other_list,
    unexpected,
)
from gopro_tools.export.samples import Sample
from gopro_tools.files import sha256_of_file, write_atomic
from gopro_tools.findings import Finding

_DATA_FILE = "data.mdb"
_CHECKSUM_FILE = "data.mdb.sha256"
_LIST_FILE = "meta_info.txt"
_FILES = frozenset({_DATA_FILE, _CHECKSUM_FILE, _LIST_FILE, "lock.mdb"})
"""All that a database consists of."""


class Databases(Opened):
    """BasicSR's LMDB: a database of PNG files for each split and kind, with ``meta_info.txt``."""

    _MAP_BYTES = 2**40  # an upper limit of the address range, not of the disk

    def __init__(self, out: Path, config: ExportConfig, *, read_only: bool) -> None:
        super().__init__()
        self._out = out
        self._read_only = read_only
        self._damaged: dict[Path, str] = {}
        self._cut = bool(config.cut_px)
        self._open: dict[Path, Any] = {}

    def _names(self, split: Split) -> tuple[Path, Path]:
        cut = self._cut and split == "train"
        names = ("blur_crops.lmdb", "sharp_crops.lmdb") if cut else ("input.lmdb", "target.lmdb")
        return self._out / split / names[0], self._out / split / names[1]

    def _database(self, path: Path) -> Any:
        import lmdb

        if path not in self._open:
            if not self._read_only:
                path.mkdir(parents=True, exist_ok=True)
            _check(path)
            try:
                database = lmdb.open(
                    os.fspath(path),
                    map_size=self._MAP_BYTES,
                    metasync=False,
                    readonly=self._read_only,
                    lock=not self._read_only,
                )
            except lmdb.Error as error:
                raise _damaged(path, str(error)) from error
            # Reading a mapped database beyond the end of its file kills the process.
            size = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
            if database.info()["last_pgno"] and (path / _DATA_FILE).stat().st_size < size:
                database.close()
                raise _damaged(path, "data.mdb is cut off")
            self._open[path] = self._stack.enter_context(database)
        return self._open[path]

    def units(self, samples: Sequence[Sample]) -> list[Unit]:
        """See `Container`."""
        missing: list[Sample] = []
        for split in SPLITS:
            own = [sample for sample in samples if sample.split == split]
            if own:
                present = set.intersection(*(self._keys(path) for path in self._names(split)))
                missing += [sample for sample in own if sample.key not in present]
        return in_chunks(self._out, missing)

    @contextmanager
    def _reading(self, path: Path) -> Iterator[Any]:
        """A transaction that reads; damage to the database is an `InputError`."""
        import lmdb

        try:
            with self._database(path).begin() as transaction:
                yield transaction
        except (lmdb.Error, UnicodeDecodeError) as error:
            raise _damaged(path, str(error)) from error

    def _keys(self, path: Path) -> set[str]:
        with self._reading(path) as transaction:
            return {key.decode() for key in transaction.cursor().iternext(values=False)}

    def write(self, unit: Unit, encoded: Iterable[Encoded]) -> None:
        """See `Container`."""
        by_database: defaultdict[Path, list[tuple[bytes, bytes]]] = defaultdict(list)
        for sample, images in encoded:
            for path, data in zip(
                self._names(sample.split), (images.blurred, images.sharp), strict=True
            ):
                by_database[path].append((sample.key.encode("ascii"), data))
        for path, entries in by_database.items():
            database = self._database(path)
            (path / _CHECKSUM_FILE).unlink(missing_ok=True)
            n_bytes = sum(len(data) for _, data in entries)
            with _writing(path, n_bytes), database.begin(write=True) as transaction:
                for key, data in entries:
                    transaction.put(key, data)

    def finish(self, samples: Sequence[Sample]) -> None:
        """See `Container`."""
        for split in SPLITS:
            own = [sample for sample in samples if sample.split == split]
            for path in self._names(split) if own else ():
                with _writing(path, 0):
                    self._database(path).sync(True)
                with self._reading(path) as transaction:
                    lines = [self._meta_line(transaction, sample.key) for sample in own]
                write_atomic(path / _LIST_FILE, "".join(lines))
                checksum = sha256_of_file(path / _DATA_FILE)
                write_atomic(path / _CHECKSUM_FILE, f"{checksum}  {_DATA_FILE}\n")

    @staticmethod
    def _meta_line(transaction: Any, key: str) -> str:
        header = transaction.get(key.encode("ascii"))[:24]
        width, height = (int.from_bytes(header[at : at + 4], "big") for at in (16, 20))
        return f"{key}.png ({height},{width},3) 1\n"

    def read(self, samples: Sequence[Sample]) -> Iterator[Files]:
        """See `Container`."""
        for sample in samples:
            blurred, sharp = (self._get(path, sample.key) for path in self._names(sample.split))
            yield sample, blurred, sharp

    def _get(self, path: Path, key: str) -> bytes | None:
        if path in self._damaged or not (path / _DATA_FILE).is_file():
            return None
        try:
            with self._reading(path) as transaction:
                data: bytes | None = transaction.get(key.encode("ascii"))
                return data
        except InputError as error:
            self._damaged[path] = str(error)
            return None

    def faults(self, samples: Sequence[Sample]) -> list[Finding]:
        """See `Container`."""
        faults = [Finding("error", "unreadable", text) for text in self._damaged.values()]
        for split in SPLITS:
            own = [sample.key for sample in samples if sample.split == split]
            faults += self._foreign(split)
            for path in self._names(split):
                if path not in self._damaged and (path / _DATA_FILE).is_file():
                    faults += self._faults_of(path, own)
        return faults

    def _foreign(self, split: Split) -> Iterator[Finding]:
        """Files and folders beside and inside the databases."""
        databases = self._names(split)
        beside = (path for path in (self._out / split).glob("[!.]*") if path not in databases)
        inside = (file for path in databases for file in path.glob("[!.]*"))
        for path in sorted([*beside, *(file for file in inside if file.name not in _FILES)]):
            yield unexpected(path.relative_to(self._out).as_posix())

    def _faults_of(self, path: Path, own: Sequence[str]) -> Iterator[Finding]:
        name = path.relative_to(self._out).as_posix()
        keys = self._keys(path)
        for key in sorted(keys - set(own)):
            yield unexpected(f"{name}: {key}")
        with self._reading(path) as transaction:
            lines = [self._meta_line(transaction, key) for key in own if key in keys]
        info = path / _LIST_FILE
        if not info.is_file() or info.read_bytes() != "".join(lines).encode():
            yield other_list(f"{name}/{_LIST_FILE}")
        if not (path / _CHECKSUM_FILE).is_file():
            message = f"{name}: no {_CHECKSUM_FILE} there. Export again."
            yield Finding("error", "unfinished", message)


def _check(path: Path) -> None:
    """Raise InputError where a finished database has changed: LMDB maps the file and trusts it.

    Following a damaged page kills the process (SIGBUS or SIGSEGV), which nothing here could report.
    """
    try:
        written = (path / _CHECKSUM_FILE).read_bytes().split()
    except FileNotFoundError:
        return  # being written
    data = path / _DATA_FILE
    if not data.is_file() or written != [sha256_of_file(data).encode(), _DATA_FILE.encode()]:
        raise _damaged(path, f"{_DATA_FILE} is not what {_CHECKSUM_FILE} says")


@contextmanager
def _writing(path: Path, n_bytes: int) -> Iterator[None]:
    """Turn errors of writing into messages: LMDB calls a full disk an input/output error."""
    import lmdb

    try:
        yield
    except lmdb.Error as error:
        is_full = shutil.disk_usage(path).free <= n_bytes
        reason = os.strerror(errno.ENOSPC) if is_full else str(error)
        raise OSError(errno.ENOSPC if is_full else errno.EIO, reason, str(path)) from error


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path}: not a usable database ({what}); remove it and export again.")
