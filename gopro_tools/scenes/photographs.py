"""Photographs for scenes: finding them, and leaving out those without texture or seen before."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.files import natural_key
from gopro_tools.images import Rgb, find_images
from gopro_tools.scenes.textures import PHOTOGRAPHS, read_photograph

_LEAST_TEXTURE = 0.15
_TEXTURED_CODES = 4.0  # a slope of one code value per pixel; a drawing's flat areas have none
_ALIKE = 0.9
_THUMBNAIL_PX = 16


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A photograph that was not used."""

    why: str
    """The reason, with the photograph's name."""
    failed: bool = False
    """Whether it could not be read, which a user can fix; the others are merely unsuitable."""

    def __str__(self) -> str:
        """The reason."""
        return self.why


class Lookalikes:
    """Groups photographs that look alike: copies, edits, exposures and bursts of one scene."""

    def __init__(self) -> None:
        """Start without any photograph."""
        self._firsts: list[NDArray[np.float64]] = []

    def __len__(self) -> int:
        """Groups so far."""
        return len(self._firsts)

    def group_of(self, photograph: Rgb) -> int:
        """Number of the group whose first photograph this one looks like; a new one if none."""
        thumbnail = _thumbnail(photograph)
        for group, first in enumerate(self._firsts):
            if float((thumbnail * first).sum()) > _ALIKE:
                return group
        self._firsts.append(thumbnail)
        return len(self._firsts) - 1


class PhotographChooser:
    """Chooses photographs that have texture and do not look like one chosen before.

    Attributes:
        left_out: Those not chosen so far, and why.
    """

    def __init__(self) -> None:
        """Start with nothing chosen."""
        self.left_out: list[LeftOut] = []
        self._chosen = Lookalikes()

    def choose(self, sources: Iterable[str]) -> Iterator[str]:
        """Read photographs one by one, and yield the names of the usable ones.

        Args:
            sources: Names in `PHOTOGRAPHS`, files, and folders to search to any depth, the largest
                file first, so that it stands for those that look like it.
        """
        for source in _found(sources):
            try:
                photograph = read_photograph(source)
            except InputError as error:
                self.left_out.append(LeftOut(why=str(error), failed=True))
                continue
            n_chosen = len(self._chosen)
            if (share := _textured_share(photograph)) < _LEAST_TEXTURE:
                why = f"{source}: {share:.0%} of it has texture, {_LEAST_TEXTURE:.0%} are needed"
                self.left_out.append(LeftOut(why=why))
            elif self._chosen.group_of(photograph) < n_chosen:
                why = f"{source}: looks like one that was already chosen"
                self.left_out.append(LeftOut(why=why))
            else:
                yield source


def _found(sources: Iterable[str]) -> Iterator[str]:
    for source in sources:
        if source in PHOTOGRAPHS or not Path(source).is_dir():
            yield source if source in PHOTOGRAPHS else str(Path(source))
        else:
            files = find_images(Path(source)).values()
            by_size = sorted(files, key=lambda f: (-f.stat().st_size, natural_key(f.as_posix())))
            yield from (path.as_posix() for path in by_size)


def _textured_share(photograph: Rgb) -> float:
    """Share of the picture, scaled to 360 pixels in height, with a slope that blur would change."""
    scale = min(1.0, 360 / photograph.shape[0])
    small = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope = np.hypot(cv2.Sobel(gray, -1, 1, 0), cv2.Sobel(gray, -1, 0, 1)) / 8
    return float((slope > _TEXTURED_CODES).mean())


def _thumbnail(photograph: Rgb) -> NDArray[np.float64]:
    """A thumbnail of zero mean and unit length, so that dot products are correlations."""
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    gray = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-9))
