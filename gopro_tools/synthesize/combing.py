"""Combed frames: two moments woven into one, line by line, in video that says it is progressive.

Taking the upper lines of each frame together with the lower lines of the next, and the other way
round, gives two pictures. Of progressive video both are woven from moments one frame apart, so
that both are combed alike, whatever is in the picture, noise and stripes included. Of combed
frames one is woven from moments half a frame apart, like the frames themselves, and the other
from moments one and a half apart.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gopro_tools.images import Rgb

Columns = NDArray[np.int16]
FieldOrder = Literal["tff", "bff", ""]
"""The upper or the lower lines show the earlier moment, as FFmpeg calls it; "": all show one."""

_N_COLUMNS = 32
_MOVING_CODES = 8
"""What changes by less from frame to frame is counted as at rest."""
_FEWEST_MOVING = 200
_CLEAR_RISE = 0.1
"""The more combed picture is so by at least this share, or nothing can be said: in pure noise,
and behind fine stripes, all are combed alike."""
_HALF_A_FRAME = 0.7
"""Combing that the less combed picture adds to the frames' own, as a share of what the other adds.
Medians over clips: 0.94 to 1.00 in real progressive video, with any noise and compression, 0.79 in
rendered text that creeps by a quarter of a line; 0.05 to 0.64 where combing shows, 0.66 and more
where compression has smoothed it away."""
_DOUBLED_RATIO = 0.3


def columns_of(frame: Rgb) -> Columns:
    """Some columns of green values, with an even number of lines."""
    step = max(1, frame.shape[1] // _N_COLUMNS)
    return frame[: frame.shape[0] // 2 * 2, step // 2 :: step, 1].astype(np.int16)


def field_order(columns: Sequence[Columns]) -> FieldOrder | None:
    """Which lines of the frames of a window show an earlier moment than the others.

    Args:
        columns: Of its frames, as they were before any resizing.

    Returns:
        None where too little moves to say, or where each line stands there twice: such lines,
        moving up or down, look like combed ones.
    """
    own, upper_next, lower_next, n_moving = 0.0, 0, 0, 0
    for before, after in zip(columns[::2], columns[1::2], strict=False):
        moves = np.abs(after - before)[1:-1] >= _MOVING_CODES
        woven = before.copy()
        woven[::2] = after[::2]
        n_moving += int(np.count_nonzero(moves))
        own += (_combing(before, moves) + _combing(after, moves)) / 2
        upper_next += _combing(woven, moves)
        woven[::2], woven[1::2] = before[::2], after[1::2]
        lower_next += _combing(woven, moves)
    less, more = sorted((upper_next, lower_next))
    if n_moving < _FEWEST_MOVING or more < (1 + _CLEAR_RISE) * own:
        return None
    if abs(less - own) >= _HALF_A_FRAME * (more - own):
        return ""
    if _is_doubled(columns[0]):
        return None
    return "tff" if upper_next < lower_next else "bff"


def _combing(columns: Columns, moves: NDArray[np.bool_]) -> int:
    """How much the lines differ from the mean of the lines above and below, where it moves."""
    curve = 2 * columns[1:-1] - columns[:-2] - columns[2:]
    return int((np.abs(curve) * moves).sum(dtype=np.int64))


def _is_doubled(columns: Columns) -> bool:
    """Whether lines come in pairs of equal ones, as where a low picture was stretched."""
    steps = np.abs(np.diff(columns, axis=0))
    less, more = sorted((int(steps[::2].sum()), int(steps[1::2].sum())))
    return less < _DOUBLED_RATIO * more
