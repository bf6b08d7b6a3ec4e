"""A few pairs of a dataset to look at: a contact sheet, and a short loop of blurred and sharp."""

from collections.abc import Collection, Mapping, Sequence
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


class Shown(NamedTuple):
    """Thumbnails of a pair."""

    row: Rgb
    """Row of the contact sheet: sharp, blurred and their difference."""
    blink: tuple[Rgb, Rgb] | None
    """For the loop: blurred, sharp; None without both."""


def places_shown(n_pairs: int) -> list[int]:
    """Which pairs of a dataset previews show: a few, evenly spread."""
    n_shown = min(PREVIEW_ROWS, n_pairs)
    return [int(place) for place in np.linspace(0, n_pairs - 1, n_shown).round()]


def name_of(row: _Row) -> str:
    """What a pair is called in its dataset."""
    return f"{row['split']}/{row['sequence']}/{row['name']}"


def shown(row: _Row, images: Mapping[str, Rgb]) -> Shown:
    """A pair as previews show it.

    Args:
        row: Of the manifest.
        images: By kind, at least those that are shown.
    """
    kinds = _kinds_shown(images)
    pictures = [images[kind] for kind in kinds]
    titles = list(kinds)
    if len(pictures) == 2:
        pictures.append(cv2.convertScaleAbs(cv2.absdiff(*pictures), alpha=_GAIN).astype("u1"))
        titles.append(f"difference x{_GAIN}")
    cells = [_shrunk(picture) for picture in pictures]
    blink = None
    if len(kinds) == 2 and kinds[0] == SHARP_FOLDER:
        # Those already shrunk are used as they are.
        sharp, blurred = (cells if pictures[0].shape[1] > BLINK_WIDTH_PX else pictures)[:2]
        blink = blink_pictures(blurred, sharp)
    return Shown(_sheet_row(row, titles, cells), blink)


def shown_from_disk(root: Path, rows: Sequence[_Row], kinds: Sequence[str]) -> dict[str, Shown]:
    """Pairs of a dataset as previews show them, by name.

    Args:
        root: The dataset.
        rows: Of its manifest: which pairs.
        kinds: Which images there are.
    """

    def read(row: _Row) -> tuple[str, Shown]:
        folder = root / row["split"] / row["sequence"]
        images = {kind: read_rgb(folder / kind / row["name"]) for kind in _kinds_shown(kinds)}
        return name_of(row), shown(row, images)

    with thread_pool() as pool:
        return dict(pool.map(read, rows))


def images_shown(rows: Sequence[_Row], kinds: Sequence[str]) -> list[str]:
    """Paths of the images that `shown_from_disk` reads, below the dataset."""
    return [
        f"{row['split']}/{row['sequence']}/{kind}/{row['name']}"
        for row in rows
        for kind in _kinds_shown(kinds)
    ]


def sheet_of(pairs: Sequence[Shown]) -> Rgb:
    """(H, W, 3) contact sheet of at least one pair."""
    return np.concatenate([pair.row for pair in pairs])


def loop_of(pairs: Sequence[Shown]) -> bytes | None:
    """An animated WebP, blurred and sharp in turn; None without both."""
    blinks = [pair.blink for pair in pairs if pair.blink is not None]
    return blinking(blinks) if blinks else None


def _kinds_shown(kinds: Collection[str]) -> list[str]:
    """The two kinds that previews show, sharp first."""
    return [kind for kind in ("sharp", "blur_real", "blur_gamma", "blur") if kind in kinds][:2]


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
