"""Averaging the frames of one exposure in linear light, exactly.

A blurred photograph is modelled as B = g(mean of g^-1(S_i)) over the M frames S_i of one exposure,
g being the camera response (Nah et al., CVPR 2017, eq. 3). The middle frame is its sharp truth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from gopro_tools.images import Rgb
from gopro_tools.machine_code import Loop
from gopro_tools.response import Response

CODE_SHIFT = 40
"""A summand for both means holds light below this bit, the code above it."""
BIN_SHIFT = 18
"""Sums of light are looked up in bins of 2 ** this."""
VECTOR_BIN_SHIFT = 20
"""The same where 64 values are averaged at once: bins of 2 ** this,"""
DARK_BITS = 26
"""but those below 2 ** this, where codes lie close together,"""
DARK_SHIFT = 14
"""in bins of 2 ** this."""
N_DARK = 1 << (DARK_BITS - DARK_SHIFT)
"""How many of these there are, before the others."""
PAIRS_AT_ONCE = 4
"""Pairs of frames that the loops add in one pass."""

_FRAMES = ("uint8[::1]", "int64[::1]", "int64", "uint16[:,::1]", "uint8[::1]")
_OF_LIGHT = ("uint8[::1]", "uint32[::1]", "int64[::1]", "int64", "float64[::1]", "float64[::1]")
_ROWS = "uint8[:,::1]"
_LIGHT_LOOP = Loop(
    "gopro_tools.averaging_loops:average_light",
    *(*_FRAMES, "uint32[::1]", "uint32[::1]", *_OF_LIGHT, "uint32[::1]", _ROWS),
)
_BOTH_LOOP = Loop(
    "gopro_tools.averaging_loops:average_both",
    *(*_FRAMES, "uint64[::1]", "uint64[::1]", *_OF_LIGHT, "uint64[::1]", _ROWS),
    *("uint8[::1]", _ROWS),
)


@dataclass(frozen=True, slots=True)
class Exposure:
    """The two blurred images GOPRO makes of the same frames, (H, W, 3) uint8."""

    blur_gamma: Rgb
    """Averaged in linear light, then encoded: the paper's input."""
    blur: Rgb
    """Plain mean of the code values."""


class ExposureAverager:
    """Averages windows of ``n_frames`` frames, exactly.

    Each value of ``blur_gamma`` is ``rint(255 * mean((v / 255) ** 2.2) ** (1 / 2.2))`` as float64
    arithmetic gives it (for the response gamma2.2; others alike), and each value of ``blur`` is
    ``around(mean(v))``. To be fast, light is summed as 32-bit integers and compared with integer
    thresholds; where the integers' rounding could decide, which happens a few times per image, the
    sum is repeated in float64.
    """

    def __init__(self, response: Response, n_frames: int) -> None:
        if n_frames < 1:
            raise ValueError(f"an exposure needs at least one frame, found {n_frames}")
        self.response = response
        self.n_frames = n_frames
        curves = response.linear_of_code
        n_curves = 1 if (curves == curves[:, :1]).all() else 3
        self._tables = [_tables(response, channel, n_frames) for channel in range(n_curves)]

    def average(self, frames: Sequence[Rgb] | NDArray[np.uint8]) -> Exposure:
        """Average one window.

        Args:
            frames: n_frames images in time order, (H, W, 3) uint8 RGB each, wherever they lie.
                They are read in place where each is C-contiguous.

        Returns:
            Both blurred images.

        Raises:
            ValueError: The frames are of another number, shape or type.
        """
        blur_gamma, blur = self._by_curve(frames, _average_both)
        return Exposure(blur_gamma=blur_gamma, blur=blur)

    def average_light(self, frames: Sequence[Rgb] | NDArray[np.uint8]) -> Rgb:
        """``blur_gamma`` of `average` alone, in less time."""
        return self._by_curve(frames, _average_light)[0]

    def _by_curve(
        self,
        frames: Sequence[Rgb] | NDArray[np.uint8],
        average: "Callable[[_Values, _Tables], list[NDArray[np.uint8]]]",
    ) -> list[NDArray[np.uint8]]:
        """Average all values at once where they have one curve, else channel by channel."""
        images = self._checked(frames)
        if len(self._tables) == 1:
            return average(_Values.of(images), self._tables[0])
        averaged = [
            average(_Values.of(images, channel), tables)
            for channel, tables in enumerate(self._tables)
        ]
        return [np.asarray(cv2.merge(planes), np.uint8) for planes in zip(*averaged, strict=True)]

    def _checked(self, frames: Sequence[Rgb] | NDArray[np.uint8]) -> list[Rgb]:
        """The frames, each C-contiguous and of one shape: the loops check no index."""
        if len(frames) != self.n_frames:
            raise ValueError(f"{self.n_frames} frames expected, found {len(frames)}")
        for frame in frames:
            if frame.shape != (*frames[0].shape[:2], 3) or frame.dtype != np.uint8:
                raise ValueError(
                    f"(H, W, 3) uint8 expected, alike in all frames, found {frame.shape} "
                    f"{frame.dtype}"
                )
        return [np.ascontiguousarray(frame) for frame in frames]


class _Tables(NamedTuple):
    """One curve as the kernel needs it."""

    in_registers: NDArray[np.uint8]
    """(2048,) What processors keep in their registers: the first bytes of all summands, then their
    second bytes, ...; then the summands themselves."""
    summands: NDArray[np.uint32]
    """(256,) Light that a code adds to a sum."""
    pair_summands: NDArray[np.uint32]
    """(65536,) What two codes add, at the first one plus 256 times the second: neighbouring frames
    are alike, so that most of what is looked up lies in the first-level cache."""
    both_summands: NDArray[np.uint64]
    """(256,) The same below bit 40, and the code itself above."""
    both_pair_summands: NDArray[np.uint64]
    """(65536,) The same of two codes."""
    code_of_bin: NDArray[np.uint8]
    """Least code that a sum of light in a bin of 2**BIN_SHIFT can have."""
    vector_bins: NDArray[np.uint32]
    """What is known of sums where many are looked up at once; see `_vector_bins`."""
    rounded_mean: NDArray[np.uint8]
    """Mean of the codes, rounded half to even, by their sum."""
    limits: NDArray[np.int64]
    """(257,) Least sum of light that gives a code."""
    margin: int
    """How far a sum and a limit together may be off by their rounding."""
    exact_light: NDArray[np.float64]
    """(256,) Light of a code."""
    exact_limits: NDArray[np.float64]
    """(257,) Least light that gives a code."""

    @property
    def of_light(
        self,
    ) -> tuple[NDArray[Any] | int, ...]:
        """How sums of light become codes, in the order of the loops' arguments."""
        return (
            *(self.code_of_bin, self.vector_bins, self.limits, self.margin),
            *(self.exact_light, self.exact_limits),
        )


def _tables(response: Response, channel: int, n_frames: int) -> _Tables:
    exact_light = np.ascontiguousarray(response.linear_of_code[:, channel])
    exact_limits = np.concatenate([[-np.inf], response.thresholds[:, channel], [np.inf]])
    scale = np.floor((2.0**32 - 1 - n_frames) / n_frames)
    margin = n_frames // 2 + 2  # up to 1/2 for each summand, up to 1 for the limit
    limits = np.concatenate(
        [[-1 << 40], np.floor(exact_limits[1:256] * (scale * n_frames)).astype(np.int64), [1 << 40]]
    )
    bins = np.arange(1 << (32 - BIN_SHIFT)) << BIN_SHIFT
    summands = np.rint(exact_light * scale).astype(np.uint32)
    of_bytes = summands.astype("<u4").view(np.uint8).reshape(256, 4)
    of_both = summands | np.arange(256, dtype=np.uint64) << np.uint64(CODE_SHIFT)
    return _Tables(
        in_registers=np.concatenate([of_bytes.T.ravel(), of_bytes.ravel()]),
        summands=summands,
        pair_summands=np.add.outer(summands, summands).ravel(),
        both_summands=of_both,
        both_pair_summands=np.add.outer(of_both, of_both).ravel(),
        code_of_bin=np.searchsorted(limits[1:256], bins - margin, side="right").astype(np.uint8),
        vector_bins=_vector_bins(limits, margin),
        rounded_mean=np.rint(np.arange(255 * n_frames + 1) / n_frames).astype(np.uint8),
        limits=limits,
        margin=margin,
        exact_light=exact_light,
        exact_limits=exact_limits,
    )


def _vector_bins(limits: NDArray[np.int64], margin: int) -> NDArray[np.uint32]:
    """What is known of sums by the bin that they lie in.

    Returns:
        For each bin: bits 0-7, the code of what lies before the first limit in it; bit 8, whether
        there are more limits; the rest, where the first one lies: its distance from the beginning
        of the bin plus ``margin``, so that limits just outside, which could matter, have one too.
    """
    parts = []
    for n_bins, shift in ((N_DARK, DARK_SHIFT), (1 << (32 - VECTOR_BIN_SHIFT), VECTOR_BIN_SHIFT)):
        starts = np.arange(n_bins) << shift
        size = (1 << shift) + margin
        code = np.searchsorted(limits[1:256], starts - margin, side="right")
        first = np.minimum(limits[code + 1] - starts, size)
        has_more = limits[np.minimum(code + 2, 256)] - starts < size
        parts.append(code | has_more.astype(np.int64) << 8 | first + margin << 9)
    return np.concatenate(parts).astype(np.uint32)


class _Values(NamedTuple):
    """Values of images that lie anywhere, as the loops read them: as parts of one array."""

    memory: NDArray[np.uint8]
    """All there is from the first image to the last; what lies between them is never touched."""
    starts: NDArray[np.int64]
    """Where in it the values of each image begin."""
    step: int
    """From one value to the next: 1, or 3 for a channel."""
    shape: tuple[int, ...]
    """Of one image."""

    @classmethod
    def of(cls, images: Sequence[Rgb], channel: int | None = None) -> "_Values":
        addresses = np.array([image.ctypes.data for image in images], np.int64)
        lowest = images[int(addresses.argmin())]
        starts = addresses - addresses.min()
        size = int(starts.max()) + lowest.size
        memory = as_strided(lowest.reshape(-1), (size,), (1,), writeable=False)
        if channel is None:
            return cls(memory, starts, 1, lowest.shape)
        return cls(memory, starts + channel, 3, lowest.shape[:2])


def _average_light(values: _Values, tables: _Tables) -> list[NDArray[np.uint8]]:
    blur_gamma = np.empty(values.shape, np.uint8)
    rows = blur_gamma.reshape(len(blur_gamma), -1)
    _LIGHT_LOOP(
        *(values.memory, values.starts, values.step),
        np.empty((PAIRS_AT_ONCE, rows.shape[1]), np.uint16),
        tables.in_registers,
        tables.summands,
        tables.pair_summands,
        *tables.of_light,
        np.empty(rows.shape[1], np.uint32),
        rows,
    )
    return [blur_gamma]


def _average_both(values: _Values, tables: _Tables) -> list[NDArray[np.uint8]]:
    blur_gamma, blur = np.empty(values.shape, np.uint8), np.empty(values.shape, np.uint8)
    rows = blur_gamma.reshape(len(blur_gamma), -1)
    _BOTH_LOOP(
        *(values.memory, values.starts, values.step),
        np.empty((PAIRS_AT_ONCE, rows.shape[1]), np.uint16),
        tables.in_registers,
        tables.both_summands,
        tables.both_pair_summands,
        *tables.of_light,
        np.empty(rows.shape[1], np.uint64),
        rows,
        tables.rounded_mean,
        blur.reshape(rows.shape),
    )
    return [blur_gamma, blur]


def load_loops() -> None:
    """Load what averaging needs, ahead of its first use."""
    _LIGHT_LOOP.load()
    _BOTH_LOOP.load()


@lru_cache(maxsize=16)
def _averager(response: Response, n_frames: int) -> ExposureAverager:
    return ExposureAverager(response, n_frames)


def average_exposure(frames: Sequence[Rgb] | NDArray[np.uint8], response: Response) -> Exposure:
    """Both blurred images of one exposure; see `ExposureAverager` for what exactly.

    Args:
        frames: M images in time order, (H, W, 3) uint8 RGB each.
        response: The camera response that encoded them.
    """
    return _averager(response, len(frames)).average(frames)
