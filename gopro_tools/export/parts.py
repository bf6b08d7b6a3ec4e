"""What every kind of export offers, and the units it is written in."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from gopro_tools.export.samples import Images, Sample
from gopro_tools.findings import Finding

Encoded = tuple[Sample, Images]
Files = tuple[Sample, bytes | None, bytes | None]
"""PNG files of the blurred and the sharp image of a sample; None for one that is absent."""

_CHUNK = 32  # samples between two commits of a database, or two reports of progress


@dataclass(frozen=True, slots=True)
class Unit:
    """Samples that are written in one go."""

    path: Path
    """What they are written to or into."""
    samples: Sequence[Sample]


class Container(Protocol):
    """One export on disk."""

    def units(self, samples: Sequence[Sample]) -> list[Unit]:
        """What is left to write."""
        ...

    def write(self, unit: Unit, encoded: Iterable[Encoded]) -> None:
        """Write a unit. Samples that cannot be read are absent in ``encoded``."""
        ...

    def finish(self, samples: Sequence[Sample]) -> None:
        """Write what readers need beside the images, for exactly these samples."""
        ...

    def read(self, samples: Sequence[Sample]) -> Iterator[Files]:
        """The files as a reader of the format gets them."""
        ...

    def faults(self, samples: Sequence[Sample]) -> list[Finding]:
        """What a reader would get wrong besides pixels: more than these samples, other lists."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Opened:
    """A container that closes what it has opened."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()


def in_chunks(path: Path, samples: Sequence[Sample]) -> list[Unit]:
    """Samples in units of a few, all written to ``path``."""
    return [Unit(path, samples[at : at + _CHUNK]) for at in range(0, len(samples), _CHUNK)]


def unexpected(name: str) -> Finding:
    """Something that a reader takes for a sample."""
    return Finding("error", "unexpected", f"{name}: no sample of the dataset")


def other_list(name: str) -> Finding:
    """A list that does not match the samples."""
    message = f"{name}: not what these samples are; readers would take others. Export again."
    return Finding("error", "list", message)
