"""Which frames form one exposure: windows of a recording, numbered by GOPRO's rule."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gopro_tools.dataset import middle_frame_number


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The frames of one exposure: zero-based indices, half open."""

    blur_number: int
    """Number of the blurred image, from 1, which names its file."""
    start: int
    stop: int

    @property
    def middle(self) -> int:
        """Index of the sharp frame; the later of the two middle ones for an even number."""
        return (self.start + self.stop) // 2

    @property
    def n_frames(self) -> int:
        """How many frames there are."""
        return self.stop - self.start

    def around_middle(self, n_frames: int) -> "Window":
        """The window of ``n_frames`` frames with the same sharp one."""
        if n_frames == self.n_frames:
            return self
        start = self.middle - n_frames // 2
        return replace(self, start=start, stop=start + n_frames)

    def widened(self, n_frames: int) -> "Window":
        """The window with ``n_frames`` more frames before it and after it."""
        if n_frames == 0:
            return self
        return replace(self, start=self.start - n_frames, stop=self.stop + n_frames)

    @property
    def file_name(self) -> str:
        """Name of the pair's images."""
        return f"{self.blur_number:06d}.png"


def windows(
    start: int, stop: int, *, n_frames: int, stride: int | None = None, clip: int = 0
) -> Iterator[Window]:
    """Windows that fit into frames ``[start, stop)`` of a recording, numbered by GOPRO's rule.

    Args:
        start: First frame of the clip, zero-based.
        stop: End of the clip.
        n_frames: Frames per window (M), odd.
        stride: Frames from one window to the next; M by default: contiguous, no dead time.
        clip: Number of the clip in its recording (ZZ), which shifts the grid by that many frames.
    """
    stride = stride or n_frames
    half = n_frames // 2
    first = -(-(start + half + clip + 1 - (n_frames + 1) // 2) // stride) + 1
    number = max(first, 1)
    while True:
        middle = middle_frame_number(number, n_frames=n_frames, stride=stride, clip=clip) - 1
        if middle + half >= stop:
            return
        if middle - half >= start:
            yield Window(blur_number=number, start=middle - half, stop=middle + half + 1)
        number += 1
