"""The pairs of a dataset as a sequence of arrays, which a torch ``DataLoader`` takes as it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

from gopro_tools.dataset import (
    BLUR_FOLDERS,
    SHARP_FOLDER,
    BlurKind,
    Pair,
    Split,
    is_of_another_split,
    iterate_pairs,
)
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.storage import local_copy
from gopro_tools.text import size_text


class Pairs(Sequence[tuple[Rgb, Rgb]]):
    """The pairs of one split of a dataset in the GOPRO_Large layout, read as they are asked for.

    ``pairs[i]`` is ``(blurred, sharp)``, two (H, W, 3) uint8 RGB arrays; ``pairs[a:b]`` are the
    `Pairs` from a to b. Order and names are those on disk, so index i is the same image every time.
    It holds no pixels and no open files: workers of a ``DataLoader`` can share it.

    Args:
        path: Folder with ``train`` and ``test``, or a URL: new objects are copied first.
        split: Which of them.
        blur_kind: Which blurred images: ``gamma`` (averaged in linear light) or ``linear_crf``.

    Raises:
        InputError: The split is missing or empty, or an image lacks its partner.
    """

    def __init__(
        self, path: Path | str, split: Split = "train", blur_kind: BlurKind = "gamma"
    ) -> None:
        self.blur_kind: BlurKind = blur_kind
        root = local_copy(path, skip=lambda name: is_of_another_split(name, split))
        self._pairs: tuple[Pair, ...] = tuple(iterate_pairs(root, split, blur_kind))

    @property
    def names(self) -> tuple[str, ...]:
        """``<sequence>/<name>`` of each pair, such as ``GOPR0384_11_00/000001.png``."""
        return tuple(f"{pair.sequence}/{pair.name}" for pair in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, index: int) -> tuple[Rgb, Rgb]: ...
    @overload
    def __getitem__(self, index: slice) -> "Pairs": ...
    def __getitem__(self, index: int | slice) -> "tuple[Rgb, Rgb] | Pairs":
        """Read a pair, or take a part of the pairs.

        Raises:
            IndexError: There is no such pair.
            InputError: An image cannot be read, or its partner has another size.
        """
        if isinstance(index, slice):
            part = Pairs.__new__(Pairs)
            part.blur_kind, part._pairs = self.blur_kind, self._pairs[index]
            return part
        pair = self._pairs[index]
        blurred, sharp = (
            read_rgb(pair.path(kind)) for kind in (BLUR_FOLDERS[self.blur_kind], SHARP_FOLDER)
        )
        if blurred.shape != sharp.shape:
            raise InputError(
                f"{pair.path(BLUR_FOLDERS[self.blur_kind])}: {size_text(blurred.shape)}, but its "
                f"sharp partner is {size_text(sharp.shape)}; partners have one size."
            )
        return blurred, sharp

    def __repr__(self) -> str:
        return f"<Pairs: {len(self)} of blur_kind {self.blur_kind}>"
