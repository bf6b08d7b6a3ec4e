"""Pictures side by side, each below its caption."""

from collections.abc import Sequence

import cv2
import numpy as np

from gopro_tools.images import Rgb

CAPTION_PX = 22
GAP_PX = 6


def sheet(pictures: Sequence[tuple[str, Rgb]], n_columns: int) -> Rgb:
    """Captioned pictures in rows; white around those smaller than others, and after the last."""
    height, width = (max(picture.shape[axis] for _, picture in pictures) for axis in (0, 1))
    cells = []
    for caption, picture in pictures:
        cell = np.full((CAPTION_PX + height, width + GAP_PX, 3), 255, np.uint8)
        below = cell[CAPTION_PX:]
        below[: picture.shape[0], : picture.shape[1]] = picture
        place, font = (2, CAPTION_PX - 6), cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(cell, caption, place, font, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        cells.append(cell)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % n_columns)
    rows = [np.hstack(cells[i : i + n_columns]) for i in range(0, len(cells), n_columns)]
    return np.vstack(rows)
