"""The boxes of many images in a few arrays: bytes per box instead of kilobytes per image."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from gopro_tools.detection.boxes import Detections

Item = TypeVar("Item")
Made = TypeVar("Made", covariant=True)

_NUMBERS = 5  # left, top, right, bottom, score


class PackedDetections(Sequence[Detections]):
    """Detections one after another, 24 bytes per box; each is rebuilt when it is asked for."""

    def __init__(self, found: Iterable[Detections] = ()):
        self._numbers = array("f")
        self._class_ids = array("i")
        self._ends = array("q", [0])
        for one in found:
            self.append(one)

    def append(self, found: Detections) -> None:
        """Add those of one more image."""
        rows = np.column_stack([found.box_xyxy, found.score])
        self._numbers.frombytes(rows.tobytes())
        self._class_ids.extend(found.class_id.tolist())
        self._ends.append(len(self._class_ids))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        start, stop = self._ends[index], self._ends[index + 1]
        rows = np.array(self._numbers[_NUMBERS * start : _NUMBERS * stop], np.float32)
        rows = rows.reshape(-1, _NUMBERS)
        return Detections(
            box_xyxy=rows[:, :4],
            score=rows[:, 4],
            class_id=np.array(self._class_ids[start:stop], np.int64),
        )


class Computed(Sequence[Made]):
    """``function(item)`` of each item, computed whenever it is asked for.

    Args:
        function: Gives the same result each time.
        items: Kept, not copied.
    """

    def __init__(self, function: Callable[[Item], Made], items: Sequence[Item]):
        self._function, self._items = function, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Computed(self._function, self._items[index])
        return self._function(self._items[index])
