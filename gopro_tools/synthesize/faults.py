"""Windows that are not an exposure of one scene, found by the changes between their frames."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from gopro_tools.exposure import Window
from gopro_tools.images import Rgb

Thumbnail = NDArray[np.int16]

# Changes are mean absolute differences of neighbouring frames in code values (0..255).
_CUT_CHANGE = 12.0
_CUT_RATIO = 4.0
"""A cut changes the picture at least this many times as much as the window's other steps."""
_MOVING_CHANGE = 1.0
_REPEAT_RATIO = 0.05
"""A repeated frame changes by at most this share of the fast steps in its window."""
_STEP_CHANGE = 2.0
"""A step this large, and the only one in its window, is not motion within one exposure. At a
keyframe, compression changes a static picture by up to 6."""
_THUMBNAIL_LINES = 90
_BACK_RATIO = 0.5
"""After a flash the picture returns: it differs from the one before by less than this share of what
the flash changed."""
_ALIKE = 0.8
"""Minimum correlation of two pictures that show the same things."""
_LIGHT_RATIO = 0.5
"""A change of light explains most of a change: less than this share is left once it is removed."""
_FEWEST_FRAMES = 5
_MIXED_CHANGE = 2.0
_MIXED_SHARE = 0.06
"""Medians over the windows of a clip in which something moves: 0.002 to 0.04 where a rate was
doubled or quadrupled by blending; above 0.23 in real and rendered clips, whatever compressed them.
Single windows of HEVC with B frames, which are predicted as mixes, reach 0.03."""


def thumbnail_of(frame: Rgb) -> Thumbnail:
    """Every n-th green value, not smoothed, so that small motion still shows."""
    step = max(1, min(frame.shape[:2]) // _THUMBNAIL_LINES)
    return frame[step // 2 :: step, step // 2 :: step, 1].astype(np.int16)


def fault(
    changes: NDArray[np.float64],
    window: Window,
    thumbnails: list[Thumbnail],
    keyframes: Collection[int],
    equal: NDArray[np.bool_],
) -> str:
    """Why a window is not an exposure of one scene; "" if it is.

    Args:
        changes: (n_frames - 1,) how much each frame but the first differs from the one before.
        window: Where its frames are.
        thumbnails: Of its n_frames frames.
        keyframes: Intra-coded frames of the source, if not all frames are.
        equal: (n_frames - 1,) where a separate image file has exactly the pixels of the one before:
            no camera takes such pictures of moving things.
    """
    if len(changes) < 2:
        return ""
    if equal.any() and changes.max() >= _MOVING_CHANGE:
        return f"frame {window.start + int(np.argmax(equal)) + 1} repeats the one before"
    least, largest = int(np.argmin(changes)), int(np.argmax(changes))
    others = np.delete(changes, largest)
    if changes[largest] >= max(_CUT_CHANGE, _CUT_RATIO * others.max()):
        return _sudden_change(largest, window, thumbnails)
    sudden = changes[largest] >= max(_CUT_CHANGE, _CUT_RATIO * float(np.median(others)))
    if others.max() >= _MOVING_CHANGE and changes[least] < _REPEAT_RATIO * others.max():
        # Beside the two steps of a flash, any other looks like a standstill.
        calm = np.sort(changes)[:-2]
        if not sudden or changes[least] < _REPEAT_RATIO * calm.max(initial=0):
            return f"frame {window.start + least + 1} repeats the one before"
    if sudden:
        return _sudden_change(largest, window, thumbnails)
    is_only_step = others.max() < _REPEAT_RATIO * changes[largest]
    is_coded_alone = window.start + largest + 1 in keyframes
    if changes[largest] >= _STEP_CHANGE and is_only_step and not is_coded_alone:
        return f"frame {window.start + least + 1} repeats the one before"
    return ""


def is_mixed(changes: NDArray[np.float64], thumbnails: Sequence[Thumbnail]) -> bool | None:
    """Whether some frames of a window are mixes of the two beside them, and others are not.

    This happens where frames were blended for a higher rate. A frame of smooth motion is near such
    a mix, too; but then so are its neighbours.

    Args:
        changes: As for `fault`.
        thumbnails: Of its frames.

    Returns:
        None where too little moves, or too few frames are there, to say.
    """
    if len(thumbnails) < _FEWEST_FRAMES or changes.max() < _MIXED_CHANGE:
        return None
    frames = [thumbnail.astype(np.float32) for thumbnail in thumbnails]
    shares = [_unmixed(*frames[at : at + 3]) for at in range(len(frames) - 2)]
    return min(shares) < _MIXED_SHARE * max(shares)


def _unmixed(
    before: NDArray[np.float32], frame: NDArray[np.float32], after: NDArray[np.float32]
) -> float:
    """Share of a frame's squared difference to the nearer neighbour left by their best mix."""
    way, own = (after - before).ravel(), (frame - before).ravel()
    length, on_way, squared = (float(np.vdot(*two)) for two in ((way, way), (way, own), (own, own)))
    share = min(max(on_way / max(length, 1.0), 0.0), 1.0)
    left = squared - 2 * share * on_way + share**2 * length
    nearer = min(squared, squared - 2 * on_way + length)
    return left / max(nearer, 1.0)


def _sudden_change(step: int, window: Window, thumbnails: list[Thumbnail]) -> str:
    """A flash, a change of light or a cut: what the frames around it show."""
    before, after = thumbnails[step], thumbnails[step + 1]
    limit = _BACK_RATIO * _difference(before, after)
    for later in range(step + 2, len(thumbnails)):
        if _difference(before, thumbnails[later]) <= limit:
            return _flash(window.start + step + 1, window.start + later - 1)
    for earlier in range(step - 1, -1, -1):
        if _difference(after, thumbnails[earlier]) <= limit:
            return _flash(window.start + earlier + 1, window.start + step)
    at = window.start + step + 1
    if _same_in_other_light(before, after):
        return f"sudden change of light before frame {at}"
    return f"scene cut before frame {at}"


def _flash(first: int, last: int) -> str:
    return f"flash in frame {first}" if first == last else f"flash in frames {first}-{last}"


def _difference(one: Thumbnail, other: Thumbnail) -> float:
    return float(np.abs(one - other).mean())


def _same_in_other_light(before: Thumbnail, after: Thumbnail) -> bool:
    """Whether contrast and brightness alone make most of the one picture into the other."""
    x, y = before.astype(np.float64), after.astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    slope = float((x * y).sum()) / max(float((x * x).sum()), 1.0)
    correlated = slope * float(np.sqrt((x * x).sum())) >= _ALIKE * float(np.sqrt((y * y).sum()))
    left = float(np.abs(y - slope * x).mean())
    return correlated and left <= _LIGHT_RATIO * _difference(before, after)
