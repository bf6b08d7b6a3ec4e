"""A short looping picture of a dataset: blurred and sharp of a few pairs in turn."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from gopro_tools.images import Rgb, read_rgb

_WIDTH_PX = 480
_MS_PER_PICTURE = 700
_MOST_PAIRS = 4
_LABEL_PX = 22


def blink(pairs: Sequence[tuple[Path, Path]]) -> bytes:
    """An animated WebP that shows blurred, sharp, blurred, sharp, ... for ever.

    Args:
        pairs: Files of blurred and sharp images, at least one; a few of them, evenly spread, are
            shown.

    Raises:
        InputError: One of these cannot be read.
    """
    places = np.linspace(0, len(pairs) - 1, min(_MOST_PAIRS, len(pairs))).round().astype(int)
    frames = [
        Image.fromarray(_labelled(read_rgb(path), label))
        for place in places
        for path, label in zip(pairs[place], ("blurred", "sharp"), strict=True)
    ]
    size = frames[0].size
    frames = [frame if frame.size == size else frame.resize(size) for frame in frames]
    file = io.BytesIO()
    frames[0].save(
        file, "WEBP", save_all=True, append_images=frames[1:], duration=_MS_PER_PICTURE, loop=0,
        quality=80,
    )  # fmt: skip
    return file.getvalue()


def _labelled(image: Rgb, label: str) -> Rgb:
    height = max(1, round(_WIDTH_PX * image.shape[0] / image.shape[1]))
    how = cv2.INTER_AREA if image.shape[1] > _WIDTH_PX else cv2.INTER_CUBIC
    small = cv2.resize(image, (_WIDTH_PX, height), interpolation=how)
    head = np.full((_LABEL_PX, _WIDTH_PX, 3), 32, np.uint8)
    cv2.putText(head, label, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235,) * 3, 1, cv2.LINE_AA)
    return np.vstack([head, small]).astype(np.uint8)
