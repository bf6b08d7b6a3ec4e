"""Short looping pictures: blurred and sharp of a few pairs in turn, or a piece of a video."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from gopro_tools.images import Rgb, read_rgb

ANIMATION_FILE = "preview.webp"
"""What the loop of a dataset is called beside its folders."""
BLINK_WIDTH_PX = 480
"""Width of the pictures of `blink`."""
_MS_PER_PICTURE = 700
_MOST_PAIRS = 4
_LOOP_WIDTH_PX = 960
LOOP_FRAMES = 24
"""Frames of a video that are shown as a loop."""
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
    return blinking([blink_pictures(*map(read_rgb, pairs[place])) for place in places])


def blink_pictures(blurred: Rgb, sharp: Rgb) -> tuple[Rgb, Rgb]:
    """A pair as `blink` shows it: small, with labels."""
    return _labelled(blurred, "blurred"), _labelled(sharp, "sharp")


def blinking(pairs: Sequence[tuple[Rgb, Rgb]]) -> bytes:
    """`blink` of what `blink_pictures` gives, at least one pair."""
    frames = [picture for pair in pairs for picture in pair]
    # Blurred and sharp differ everywhere: looking for what stays from one to the next takes as long
    # again as encoding them, and makes the file 1 % smaller.
    return _webp(frames, _MS_PER_PICTURE, whole=True)


def looped(pictures: Sequence[Rgb], *, ms_per_picture: int) -> bytes:
    """An animated WebP of pictures of one size, at least one, small enough for a page."""
    height, width = pictures[0].shape[:2]
    size = (min(width, _LOOP_WIDTH_PX), round(height * min(1, _LOOP_WIDTH_PX / width)))
    small = [
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        for picture in pictures
    ]
    return _webp(small, ms_per_picture)


def _webp(pictures: Sequence[Rgb], ms_per_picture: int, *, whole: bool = False) -> bytes:
    """An animated WebP, whose pictures are stored ``whole`` or as changes of the one before."""
    from PIL import Image  # the workers of a synthesis make pictures, too, and no loops

    frames = [Image.fromarray(picture) for picture in pictures]
    size = frames[0].size
    frames = [frame if frame.size == size else frame.resize(size) for frame in frames]
    file = io.BytesIO()
    options = {"kmax": 0} if whole else {}
    frames[0].save(
        file, "WEBP", save_all=True, append_images=frames[1:], duration=ms_per_picture, loop=0,
        quality=80, **options,
    )  # fmt: skip
    return file.getvalue()


def _labelled(image: Rgb, label: str) -> Rgb:
    height = max(1, round(BLINK_WIDTH_PX * image.shape[0] / image.shape[1]))
    how = cv2.INTER_AREA if image.shape[1] > BLINK_WIDTH_PX else cv2.INTER_CUBIC
    small = cv2.resize(image, (BLINK_WIDTH_PX, height), interpolation=how)
    head = np.full((_LABEL_PX, BLINK_WIDTH_PX, 3), 32, np.uint8)
    cv2.putText(head, label, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235,) * 3, 1, cv2.LINE_AA)
    return np.vstack([head, small]).astype(np.uint8)
