"""Frames between frames, which turn the ghosts in a 120 or 240 fps average into a streak.

The mean of a few frames shows fast objects as many times as there are frames. Every later recipe
therefore interpolates first (REDS: 15 frames into each gap; RSBlur: 7). The built-in interpolator
follows optical flow and needs nothing but OpenCV; any other is named as ``package.module:factory``
and only has to be an `Interpolator`.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gopro_tools.errors import InputError
from gopro_tools.flow import CELL_PX, FlowEstimator, FlowPair, cells_with_edges, grown
from gopro_tools.images import Rgb
from gopro_tools.interpolation.kernels import blend, doubled, project
from gopro_tools.plugins import FOREIGN_FAULTS, PluginKind, described, is_plugin_name, source_sha256

Frames = NDArray[np.uint8]
"""(N, H, W, 3) uint8 RGB, in time order."""


class Interpolator(Protocol):
    """Makes frames between two frames."""

    def between(self, first: Rgb, second: Rgb, n_between: int) -> Frames:
        """Frames at ``k / (n_between + 1)`` of the way, k = 1 .. n_between.

        Args:
            first: (H, W, 3) uint8 RGB.
            second: The next frame, the same shape.
            n_between: How many, at least 1.

        Returns:
            (n_between, H, W, 3) uint8 RGB; equal input gives equal output.
        """
        ...


FLOW = "flow"
"""Name of the built-in interpolator."""

_PLUGIN = PluginKind(
    what="interpolator",
    option="--interpolator",
    signature="factory() -> interpolator",
    needs=("between",),
    example="""\
import numpy as np

class CrossFade:
    def between(self, first, second, n_between):  # (H, W, 3) uint8 RGB each
        share = np.arange(1, n_between + 1).reshape(-1, 1, 1, 1) / (n_between + 1)
        return np.rint(first * (1 - share) + second * share).astype(np.uint8)

def make():
    return CrossFade()
""",
)


def load_interpolator(name: str) -> Interpolator:
    """The interpolator called ``flow``, or one of the user's own.

    Args:
        name: ``flow``, or ``package.module:factory[:option=value...]``. What the user's own returns
            is checked each time.

    Raises:
        InputError: There is none by that name, or it cannot be made.
    """
    if name == FLOW:
        return FlowInterpolator()
    if not is_plugin_name(name):
        raise InputError(f"--interpolator {name}: {FLOW} or package.module:factory was expected.")
    return _Checked(name, _PLUGIN.load(name))


def interpolator_sha256(name: str) -> str:
    """Hash of the code of the user's own interpolator, for the record; empty for ``flow``.

    Raises:
        InputError: There is none by that name.
    """
    if name == FLOW:
        return ""
    if not is_plugin_name(name):
        load_interpolator(name)
    _PLUGIN.imported(name)
    return source_sha256(name.partition(":")[0])


class _Checked:
    """An interpolator of the user's own, whose mistakes are reported instead of averaged."""

    def __init__(self, name: str, interpolator: Interpolator) -> None:
        self._name = name
        self._interpolator = interpolator

    def between(self, first: Rgb, second: Rgb, n_between: int) -> Frames:
        try:
            frames = np.asarray(self._interpolator.between(first, second, n_between))
        except FOREIGN_FAULTS as error:
            raise InputError(f"--interpolator {self._name} failed: {described(error)}.") from error
        expected = (n_between, *first.shape)
        if frames.shape != expected or frames.dtype != np.uint8:
            raise InputError(
                f"--interpolator {self._name}: uint8 frames of shape {expected} were expected, "
                f"found {frames.dtype} of {frames.shape}."
            )
        return np.ascontiguousarray(frames)


class FlowInterpolator:
    """Follows DIS flow both ways and blends; what one frame occludes comes from the other."""

    def __init__(self) -> None:
        self._estimator = FlowEstimator()

    def between(self, first: Rgb, second: Rgb, n_between: int) -> Frames:
        """See `Interpolator.between`."""
        return self.along(self._estimator.estimate(first, second), first, second, n_between)

    def along(self, flow: FlowPair, first: Rgb, second: Rgb, n_between: int) -> Frames:
        """See `Interpolator.between`; the motion is known."""
        height, width = first.shape[:2]
        frames = np.empty((n_between, height, width, 3), np.uint8)
        in_edges, to_edges = _near_edges(flow)
        one, two = doubled(first), doubled(second)
        motions = np.empty((2, height, width, 2), np.float32)
        priorities = np.empty((2, height, width), np.float32)
        for k in range(n_between):
            t = np.float32((k + 1) / (n_between + 1))
            if in_edges.any():
                project(
                    flow.forward, flow.forward_ok, flow.forward_cost, to_edges,
                    t, np.float32(1), motions[0], priorities[0],
                )  # fmt: skip
                project(
                    flow.backward, flow.backward_ok, flow.backward_cost, to_edges,
                    np.float32(1) - t, np.float32(-1), motions[1], priorities[1],
                )  # fmt: skip
            blend(
                one, two, flow.forward, in_edges, motions[0], priorities[0], motions[1],
                priorities[1], t, frames[k],
            )  # fmt: skip
        return frames


def _near_edges(flow: FlowPair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cells where motion boundaries matter at some instant, and those whose pixels may get in."""
    edges = cells_with_edges(flow.forward) | cells_with_edges(flow.backward)
    if not edges.any():
        return edges, edges
    large = np.repeat(np.repeat(edges, CELL_PX, axis=0), CELL_PX, axis=1)
    large = large[: flow.forward.shape[0], : flow.forward.shape[1]].astype(bool)
    reach_px = max(float(np.abs(field[large]).max()) for field in (flow.forward, flow.backward))
    n_cells = int(np.ceil(reach_px / CELL_PX)) + 1
    in_edges = grown(edges, n_cells)
    return in_edges, grown(in_edges, n_cells)
