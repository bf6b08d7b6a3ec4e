"""A few pairs of a dataset to look at: a contact sheet, and a short loop of blurred and sharp."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

from gopro_tools.animation import blink
from gopro_tools.dataset import SHARP_FOLDER
from gopro_tools.images import Rgb, read_rgb

PREVIEW_ROWS = 4
"""Pairs that previews show."""

_Row: TypeAlias = Mapping[str, Any]
_WIDTH_PX = 480
_GAIN = 4


def preview(root: Path, pairs: Sequence[_Row], kinds: Sequence[str]) -> Rgb:
    """Contact sheet: pairs, sharp beside blurred beside their difference.

    Args:
        root: The dataset.
        pairs: Rows of its manifest, at least one: those to show.
        kinds: Which images there are.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    return np.concatenate([_preview_row(root, row, _shown(kinds)) for row in pairs])


def animation(root: Path, pairs: Sequence[_Row], kinds: Sequence[str]) -> bytes | None:
    """The same pairs as an animated WebP, blurred and sharp in turn; None without both."""
    shown = _shown(kinds)
    if len(shown) < 2 or shown[0] != SHARP_FOLDER:
        return None
    folders = [(root / row["split"] / row["sequence"], row["name"]) for row in pairs]
    return blink([(f / shown[1] / name, f / SHARP_FOLDER / name) for f, name in folders])


def preview_images(pairs: Sequence[_Row], kinds: Sequence[str]) -> list[str]:
    """Paths of the images that both read, below the dataset."""
    return [
        f"{row['split']}/{row['sequence']}/{kind}/{row['name']}"
        for row in pairs
        for kind in _shown(kinds)
    ]


def _shown(kinds: Sequence[str]) -> list[str]:
    """The two kinds that previews show, sharp first."""
    return [kind for kind in ("sharp", "blur_real", "blur_gamma", "blur") if kind in kinds][:2]


def _preview_row(root: Path, row: _Row, kinds: Sequence[str]) -> Rgb:
    folder = root / row["split"] / row["sequence"]
    images = [read_rgb(folder / kind / row["name"]) for kind in kinds]
    titles = list(kinds)
    if len(images) == 2:
        images.append(cv2.convertScaleAbs(cv2.absdiff(*images), alpha=_GAIN).astype("u1"))
        titles.append(f"difference x{_GAIN}")
    height = round(_WIDTH_PX * images[0].shape[0] / images[0].shape[1])
    cells = [
        cv2.resize(image, (_WIDTH_PX, height), interpolation=cv2.INTER_AREA) for image in images
    ]
    exposure_ms = 1000 * (float(row["time_stop_s"]) - float(row["time_start_s"]))
    caption = (
        f"{row['split']}/{row['sequence']}/{row['name']}   {row['n_frames']} frames, "
        f"{exposure_ms:.1f} ms   {'  |  '.join(titles)}"
    )
    header = np.full((24, _WIDTH_PX * len(cells), 3), 32, np.uint8)
    cv2.putText(
        header, caption, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235,) * 3, 1, cv2.LINE_AA
    )
    return np.concatenate([header, np.concatenate(cells, axis=1)]).astype(np.uint8)
