"""A few pairs of a dataset to look at: a contact sheet, and a short loop of blurred and sharp."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np

from gopro_tools.animation import BLINK_WIDTH_PX, blink_pictures, blinking
from gopro_tools.dataset import SHARP_FOLDER
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.threads import thread_pool

PREVIEW_ROWS = 4
"""Pairs that previews show."""

_Row: TypeAlias = Mapping[str, Any]
_GAIN = 4


class Previews(NamedTuple):
    """What there is to look at."""

    sheet: Rgb
    """(H, W, 3) contact sheet: pairs, sharp beside blurred beside their difference."""
    loop: bytes | None
    """The same pairs as an animated WebP, blurred and sharp in turn; None without both."""


def previews(root: Path, pairs: Sequence[_Row], kinds: Sequence[str]) -> Previews:
    """Show a few pairs of a dataset.

    Args:
        root: The dataset.
        pairs: Rows of its manifest, at least one: those to show.
        kinds: Which images there are.
    """
    with thread_pool() as pool:
        shown = list(pool.map(partial(_shown, root, kinds=_shown_kinds(kinds)), pairs))
    blinks = [one.blink for one in shown if one.blink is not None]
    return Previews(
        sheet=np.concatenate([one.row for one in shown]),
        loop=blinking(blinks) if blinks else None,
    )


def preview_images(pairs: Sequence[_Row], kinds: Sequence[str]) -> list[str]:
    """Paths of the images that `previews` reads, below the dataset."""
    return [
        f"{row['split']}/{row['sequence']}/{kind}/{row['name']}"
        for row in pairs
        for kind in _shown_kinds(kinds)
    ]


def _shown_kinds(kinds: Sequence[str]) -> list[str]:
    """The two kinds that previews show, sharp first."""
    return [kind for kind in ("sharp", "blur_real", "blur_gamma", "blur") if kind in kinds][:2]


class _Shown(NamedTuple):
    """A pair, small."""

    row: Rgb
    """Of the contact sheet."""
    blink: tuple[Rgb, Rgb] | None
    """For the loop: blurred, sharp."""


def _shown(root: Path, row: _Row, kinds: Sequence[str]) -> _Shown:
    folder = root / row["split"] / row["sequence"]
    images = [read_rgb(folder / kind / row["name"]) for kind in kinds]
    titles = list(kinds)
    if len(images) == 2:
        images.append(cv2.convertScaleAbs(cv2.absdiff(*images), alpha=_GAIN).astype("u1"))
        titles.append(f"difference x{_GAIN}")
    cells = [_shrunk(image) for image in images]
    blink = None
    if len(kinds) == 2 and kinds[0] == SHARP_FOLDER:
        # Those that were shrunk already are taken as they are.
        sharp, blurred = (cells if images[0].shape[1] > BLINK_WIDTH_PX else images)[:2]
        blink = blink_pictures(blurred, sharp)
    return _Shown(_sheet_row(row, titles, cells), blink)


def _shrunk(image: Rgb) -> Rgb:
    height = round(BLINK_WIDTH_PX * image.shape[0] / image.shape[1])
    small = cv2.resize(image, (BLINK_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False)


def _sheet_row(row: _Row, titles: Sequence[str], cells: Sequence[Rgb]) -> Rgb:
    """Pictures side by side under a caption."""
    exposure_ms = 1000 * (float(row["time_stop_s"]) - float(row["time_start_s"]))
    caption = (
        f"{row['split']}/{row['sequence']}/{row['name']}   {row['n_frames']} frames, "
        f"{exposure_ms:.1f} ms   {'  |  '.join(titles)}"
    )
    header = np.full((24, BLINK_WIDTH_PX * len(cells), 3), 32, np.uint8)
    cv2.putText(
        header, caption, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235,) * 3, 1, cv2.LINE_AA
    )
    return np.concatenate([header, np.concatenate(cells, axis=1)]).astype(np.uint8)
