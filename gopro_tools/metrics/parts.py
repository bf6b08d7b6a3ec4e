"""Files that some metrics need and nobody here may ship: named by the user, never downloaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class MetricParts:
    """Files given for metrics; each metric says what it lacks without them."""

    lpips_weights: Path | None = None
    """torchvision's AlexNet; None looks for it in torch's cache folder."""
    dists_weights: tuple[Path, ...] = ()
    """torchvision's VGG16 and the method's own ``weights.pt``, in any order."""
    niqe_model: Path | None = None
    """Mean and covariance of natural images, as the authors of NIQE released them."""

    def absolute(self) -> "MetricParts":
        """A copy with absolute paths, for a process with another working folder."""
        return MetricParts(
            lpips_weights=self.lpips_weights and self.lpips_weights.absolute(),
            dists_weights=tuple(path.absolute() for path in self.dists_weights),
            niqe_model=self.niqe_model and self.niqe_model.absolute(),
        )


# Not a context variable: the scoring threads may start before it is set.
_given = [MetricParts()]


@contextmanager
def parts_from(parts: MetricParts) -> Iterator[None]:
    """Let metrics use these files while the block runs."""
    _given.append(parts)
    try:
        yield
    finally:
        _given.pop()


def given_parts() -> MetricParts:
    """The files that metrics may use now."""
    return _given[-1]
