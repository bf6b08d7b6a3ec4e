"""Shares of one run, for job arrays: each stores its part, and the last one joins them all.

A part says what it was made of. Parts are joined only if every share of one division is there, made
with the same options, by the same code, of the same files: together they equal an undivided run.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from gopro_tools.errors import InputError, OtherShardsLeftError
from gopro_tools.files import claimed, write_atomic
from gopro_tools.locks import held, is_held
from gopro_tools.machine import versions
from gopro_tools.plugins import source_sha256

Item = TypeVar("Item")

PARTS_FOLDER = ".parts"
"""In an output folder while shares of it are made."""
_FORMAT = "gopro_tools.part.v1"
_JOIN_S = 3600.0
_MOST_SHARDS = 100_000
"""Each time one ends, it looks for all of them."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One share of several."""

    index: int = 1
    """From 1."""
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``I/N``.

        Raises:
            InputError: It is no share of a division.
        """
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal()):
            raise InputError(f"--shard {text}: I/N expected, such as 1/8.")
        if not 1 <= int(index) <= int(count) <= _MOST_SHARDS:
            raise InputError(
                f"--shard {text}: I/N expected, I from 1 to N and N at most {_MOST_SHARDS:,}."
            )
        return cls(int(index), int(count))

    @property
    def is_all(self) -> bool:
        """Whether it is the whole run."""
        return self.count == 1

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every ``count``-th item."""
        return items[self.index - 1 :: self.count]

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"


def shard_from(given: Any) -> Shard:
    """A share that was passed as one, as ``I/N`` or as (I, N).

    Raises:
        InputError: It is no share of a division.
    """
    if isinstance(given, Shard):
        given = (given.index, given.count)
    return Shard.parse("/".join(map(str, given)) if isinstance(given, tuple) else str(given))


WHOLE = Shard()
"""The share that is everything."""


class Parts:
    """The parts of a divided run below its output folder; see `divided`."""

    def __init__(self, out: Path, shard: Shard, options: Mapping[str, Any], stack: ExitStack):
        self.shard = shard
        self.are_joined = False
        self._out, self._folder, self._stack = out, out / PARTS_FOLDER, stack
        self._made_of = {
            "options": _digest(options),
            "code or versions": _digest([source_sha256("gopro_tools"), versions()]),
        }

    def exchanged(
        self, results: Sequence[Any], files: Iterable[Iterable[tuple[str, Path]]]
    ) -> list[Any]:
        """Store the results of this share, and give those of all shares.

        Args:
            results: One per item of this share, in order, as JSON can hold it.
            files: Names and input files of every item of the run, whether in this share or not. The
                names and the sizes of the files must be those of the other shares, not their
                folders.

        Returns:
            One result per item of the run, in order. The output folder is held from here on.

        Raises:
            OtherShardsLeftError: Shares are missing, or another process has joined them just now.
            InputError: A part was made from something else, or is damaged.
        """
        listed = [[(name, path.stat().st_size) for name, path in item] for item in files]
        made_of = {**self._made_of, "input files": _digest(listed)}
        path = self._path(self.shard.index)
        content = {"format": _FORMAT, "made_of": made_of, "results": results}
        write_atomic(path, json.dumps(content))
        joins = f"{self._out}: another shard joins the parts."
        self._stack.enter_context(held(self._folder / "join.lock", joins, timeout_s=_JOIN_S))
        if not path.exists():
            raise OtherShardsLeftError("Another shard has made the result.")
        everyone = range(1, self.shard.count + 1)
        left = [f"{i}/{self.shard.count}" for i in everyone if not self._path(i).exists()]
        if left:
            raise OtherShardsLeftError(
                f"Shard {self.shard.index}/{self.shard.count} is done; left: {', '.join(left)}. "
                "The last one makes the result."
            )
        joined: list[Any] = [None] * len(listed)
        for index in everyone:
            share = Shard(index, self.shard.count)
            joined[index - 1 :: share.count] = self._read(share, made_of, len(share.of(listed)))
        self._stack.enter_context(claimed(self._out))
        self.are_joined = True
        return joined

    @property
    def scratch(self) -> Path:
        """A folder for this share's own files until the result is there."""
        return self._path(self.shard.index).with_suffix("")

    def remove(self) -> None:
        """Remove all parts: the result is there."""
        for index in range(1, self.shard.count + 1):
            _remove_part(self._path(index))
        _remove_abandoned(self._folder)

    def _path(self, index: int) -> Path:
        return self._folder / f"{Shard(index, self.shard.count)}.json"

    def _read(self, share: Shard, made_of: Mapping[str, str], n_expected: int) -> list[Any]:
        path = self._path(share.index)
        again = f"Run shard {share.index}/{share.count} again, as the others were run."
        try:
            content = json.loads(path.read_bytes())
            there, results = dict(content["made_of"]), list(content["results"])
            if content["format"] != _FORMAT:
                raise ValueError(f"of the format {content['format']}")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path}: damaged ({error}). {again}") from error
        differing = [what for what, digest in made_of.items() if there.get(what) != digest]
        if differing:
            raise InputError(f"{path}: made with other {', '.join(differing)}. {again}")
        if len(results) != n_expected:
            raise InputError(f"{path}: {len(results)} results, {n_expected} expected. {again}")
        return results


@contextmanager
def divided(
    out: Path, shard: Shard, options: Mapping[str, Any], *inside: Path | str
) -> Iterator[Parts | None]:
    """Hold an output folder for a run, or for one share of it.

    Args:
        out: The output folder.
        shard: Which share; the whole run where it is all.
        options: Every option that decides the results.
        inside: As for `gopro_tools.files.claimed`.

    Yields:
        None for the whole run. Else the parts: after `Parts.exchanged`, the block makes the result,
        and the parts are removed when it ends.

    Raises:
        InputError: Another process holds the folder, or makes this share.
    """
    if shard.is_all:
        with claimed(out, *inside):
            yield None
            _remove_abandoned(out / PARTS_FOLDER)
        return
    lock = out / PARTS_FOLDER / f"{shard}.lock"
    with held(lock, f"{out}: another run makes shard {shard}."), ExitStack() as stack:
        parts = Parts(out, shard, options, stack)
        yield parts
        if parts.are_joined:
            parts.remove()
    _remove_if_empty(lock.parent)


def _remove_abandoned(folder: Path) -> None:
    """Remove the parts of other divisions that no process is working on."""
    for path in folder.glob("*-of-*.json"):
        if not is_held(path.with_suffix(".lock")):
            _remove_part(path)
    _remove_if_empty(folder)


def _remove_part(path: Path) -> None:
    path.unlink(missing_ok=True)
    shutil.rmtree(path.with_suffix(""), ignore_errors=True)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # others are at work, or have left something
        folder.rmdir()


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
