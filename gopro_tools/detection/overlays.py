"""Pictures of the boxes of each method, side by side: matched, missed and false ones.

Each kind has its own colour, of the Okabe-Ito set, and its own line style.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from gopro_tools.detection.boxes import (
    FALSE_POSITIVE,
    Detections,
    References,
    judge,
    match,
    most_confident,
)
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png
from gopro_tools.sources import BLURRED, SHARP

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["matched", "missed", "false"]
_KINDS: tuple[Kind, ...] = ("matched", "missed", "false")

_COLOURS: dict[Kind, tuple[int, int, int]] = {
    "matched": (0, 158, 115),
    "missed": (230, 159, 0),
    "false": (204, 121, 167),
}
_DASHES_PX: dict[Kind, tuple[int, int]] = {"matched": (1, 0), "missed": (14, 8), "false": (4, 5)}
"""Length of a dash and of the gap after it; without a gap the line is solid."""

_Area: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom, px of the panel

_BLACK = (0, 0, 0)
_PANEL_WIDTH_PX = 640
_CAPTION_PX = 30
_COLUMNS = 3
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One image of an overlay, with its boxes by kind."""

    title: str
    image: Rgb
    references: References
    candidates: Detections
    """At the chosen confidence and up."""


def overlay(
    panels: Sequence[Panel],
    class_names: Sequence[str],
    *,
    iou: float,
    min_area_px: float,
) -> Rgb:
    """Draw the same image of several methods side by side, three in a row, with a legend.

    Args:
        panels: One per method; images of one size.
        class_names: Of the detector.
        iou: Minimum IoU of a match.
        min_area_px: Area in px² below which a box is ignored, and not drawn.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    drawn = [_drawn(panel, class_names, iou=iou, min_area_px=min_area_px) for panel in panels]
    n_columns = min(_COLUMNS, len(drawn))
    drawn += [np.full_like(drawn[0], 255)] * (-len(drawn) % n_columns)
    rows = [np.hstack(drawn[i : i + n_columns]) for i in range(0, len(drawn), n_columns)]
    return np.vstack([_legend(rows[0].shape[1]), *rows]).astype(np.uint8)


def most_changed(
    per_image: "pd.DataFrame", sequences_and_names: Sequence[tuple[str, str]], n_images: int
) -> list[int]:
    """Positions of the images whose number of errors (missed and false) changed most.

    The change is from the blurred image to the restored one, the largest of any method; without a
    restored one, from the sharp image to the blurred one.
    """
    import pandas as pd

    errors = (
        per_image.assign(errors=per_image["fp"] + per_image["fn"])
        .pivot_table(index=["sequence", "name"], columns="method", values="errors", sort=False)
        .reindex(pd.MultiIndex.from_tuples(sequences_and_names))
    )
    restored = errors.drop(columns=[SHARP, BLURRED])
    others = restored if len(restored.columns) else errors[[SHARP]]
    change = others.sub(errors[BLURRED], axis=0).abs().max(axis=1).to_numpy()
    order = np.argsort(-change, kind="stable")[:n_images]
    return [int(i) for i in order if change[i] > 0]


def write_overlays(folder: Path, overlays: Mapping[str, Rgb]) -> list[Path]:
    """Write the overlays, replacing those of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.png"):
        path.unlink()
    paths = []
    for name, image in overlays.items():
        paths.append(folder / f"{name}.png")
        write_atomic(paths[-1], encode_png(image))
    return paths


@dataclass(frozen=True, kw_only=True)
class KindBoxes:
    """The boxes of one image that are of one kind."""

    box_xyxy: NDArray[np.float32]
    """(N, 4) px."""
    class_id: NDArray[np.int64]
    """(N,)"""
    score: NDArray[np.float32] | None
    """(N,) confidence; None for reference boxes, which have none."""


def boxes_by_kind(
    references: References, candidates: Detections, *, iou: float, min_area_px: float
) -> dict[Kind, KindBoxes]:
    """Which reference boxes were missed, and which candidates match one or are false.

    Args:
        references: Of one image.
        candidates: At the chosen confidence and up.
        iou: Minimum IoU of a match.
        min_area_px: Area in px² below which a box is ignored, and in none of the kinds.
    """
    candidates = most_confident(candidates)
    verdict = judge(references, candidates, [iou], min_area_px=min_area_px)[0]
    taken = match(references, candidates, [iou])[0]
    counts = references.counts
    missed = np.setdiff1d(np.flatnonzero(counts), taken)
    hit = (taken >= 0) & np.append(counts, False)[taken]

    def chosen(mask: NDArray[np.bool_]) -> KindBoxes:
        found = candidates.select(mask)
        return KindBoxes(box_xyxy=found.box_xyxy, class_id=found.class_id, score=found.score)

    return {
        "missed": KindBoxes(
            box_xyxy=references.box_xyxy[missed], class_id=references.class_id[missed], score=None
        ),
        "false": chosen(verdict == FALSE_POSITIVE),
        "matched": chosen(hit),
    }


def _drawn(
    panel: Panel, class_names: Sequence[str], *, iou: float, min_area_px: float
) -> NDArray[np.uint8]:
    kinds = boxes_by_kind(panel.references, panel.candidates, iou=iou, min_area_px=min_area_px)
    height, width = panel.image.shape[:2]
    scale = _PANEL_WIDTH_PX / width
    size = (_PANEL_WIDTH_PX, max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(panel.image, size, interpolation=how).astype(np.uint8)
    for kind, boxes in kinds.items():
        for box in boxes.box_xyxy * scale:
            _rectangle(picture, box, kind)
    written: list[_Area] = []
    mistakes_first: tuple[Kind, ...] = ("false", "missed", "matched")
    for kind in mistakes_first:
        boxes = kinds[kind]
        for box, label in zip(boxes.box_xyxy * scale, _labels(boxes, class_names), strict=True):
            _label(picture, label, int(box[0]), int(box[1]), kind, written)
    caption = np.full((_CAPTION_PX, _PANEL_WIDTH_PX, 3), 255, np.uint8)
    counts = ", ".join(f"{len(kinds[kind].class_id)} {kind}" for kind in _KINDS)
    cv2.putText(caption, f"{panel.title}: {counts}", (6, 21), _FONT, 0.55, _BLACK, 1, cv2.LINE_AA)
    framed = np.vstack([caption, picture])
    return np.pad(framed, ((2, 6), (4, 4), (0, 0)), constant_values=255)


def _labels(boxes: KindBoxes, class_names: Sequence[str]) -> list[str]:
    names = [class_names[c] for c in boxes.class_id]
    if boxes.score is None:
        return names
    return [f"{name} {score:.2f}" for name, score in zip(names, boxes.score, strict=True)]


def _legend(width_px: int) -> NDArray[np.uint8]:
    legend = np.full((_CAPTION_PX + 6, width_px, 3), 255, np.uint8)
    words: dict[Kind, str] = {
        "matched": "matched",
        "missed": "missed (reference box)",
        "false": "false",
    }
    x = 10
    for kind, text in words.items():
        _rectangle(legend, np.array([x, 8, x + 60, 28], np.float32), kind)
        cv2.putText(legend, text, (x + 70, 24), _FONT, 0.55, _BLACK, 1, cv2.LINE_AA)
        x += 70 + cv2.getTextSize(text, _FONT, 0.55, 1)[0][0] + 40
    return legend


def _rectangle(picture: NDArray[np.uint8], box_xyxy: NDArray[np.float32], kind: Kind) -> None:
    """A box whose line shows on any background: in colour, on a wider black one."""
    limit = np.array([picture.shape[1] - 2, picture.shape[0] - 2] * 2)
    x1, y1, x2, y2 = np.clip(np.round(box_xyxy), 1, limit).astype(int).tolist()
    edges = [((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))]
    dash, gap = _DASHES_PX[kind]
    for colour, thickness in ((_BLACK, 4), (_COLOURS[kind], 2)):
        for start, end in edges:
            length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
            step = dash + gap if gap else max(1, length)
            for at in range(0, max(1, length), step):
                stop = min(length, at + dash) if gap else length
                ends = [
                    tuple(
                        round(a + (b - a) * part / max(1, length))
                        for a, b in zip(start, end, strict=True)
                    )
                    for part in (at, stop)
                ]
                cv2.line(picture, ends[0], ends[1], colour, thickness)


def _label(
    picture: NDArray[np.uint8], text: str, x: int, y: int, kind: Kind, written: list[_Area]
) -> None:
    """Write above a box, unless that would cover what is written."""
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.4, 1)
    x = min(max(0, x), max(0, picture.shape[1] - width - 4))
    y = min(max(height + 5, y), picture.shape[0])
    area = (x, y - height - 5, x + width + 4, y)
    if any(
        a[0] < area[2] and area[0] < a[2] and a[1] < area[3] and area[1] < a[3] for a in written
    ):
        return
    written.append(area)
    cv2.rectangle(picture, area[:2], area[2:], _COLOURS[kind], cv2.FILLED)
    cv2.putText(picture, text, (x + 2, y - 3), _FONT, 0.4, _BLACK, 1, cv2.LINE_AA)
