"""Pictures of a comparison: crops, the gain by length of blur, learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gopro_tools.figures import new_figure
from gopro_tools.images import Rgb
from gopro_tools.metrics import psnr_rgb
from gopro_tools.sources import BLURRED, SHARP

CROPS_FILE = "crops.png"
GAIN_FILE = "gain_by_blur.png"
CURVES_FILE = "curves.png"
CROP_PERCENTILES = (20, 45, 70, 90)
"""Of blur length: which test images are shown."""

_CROP_PX = 128
_CELL_IN = 1.45
_WINDOW_SHARE = 0.25


def draw_crops(shown: Sequence[tuple[Mapping[str, Rgb], float | None]], path: Path) -> None:
    """One row per image, one column per method; crops are where the sharp image has most detail.

    Args:
        shown: Images by method, ``blurred`` first and ``sharp`` last, and the known blur length.
        path: File to write.
    """
    columns = list(shown[0][0])
    figure = new_figure(_CELL_IN * len(columns), (_CELL_IN + 0.22) * len(shown))
    axes = figure.subplots(len(shown), len(columns), squeeze=False)
    for row, (images, length_px) in enumerate(shown):
        rows, cols = _busiest(images[SHARP])
        for column, name in enumerate(columns):
            axis = axes[row, column]
            axis.imshow(images[name][rows, cols], interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(name, fontsize=8)
            if name != SHARP:
                score = psnr_rgb(images[SHARP], images[name])
                axis.set_xlabel(f"{score:.2f} dB", fontsize=7, labelpad=2)
        if length_px is not None:
            axes[row, 0].set_ylabel(f"{length_px:.0f} px", fontsize=8)
    figure.savefig(path, dpi=130)


def _busiest(sharp: Rgb) -> tuple[slice, slice]:
    height, width = sharp.shape[:2]
    side = min(_CROP_PX, height, width)
    gray = sharp.mean(axis=2)
    detail = np.abs(np.gradient(gray)).sum(axis=0)
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(boxes.argmax(), boxes.shape)
    return slice(int(top), int(top) + side), slice(int(left), int(left) + side)


def plot_gain(scores: pd.DataFrame, path: Path) -> None:
    """Gain in PSNR over the blurred input against blur length: images, and a running mean.

    Args:
        scores: As `benchmarks.table1.compare.scores_of` gives them.
        path: File to write.
    """
    figure = new_figure(7.5, 4.2)
    axis = figure.subplots()
    scores = scores.sort_index(level="blur_px", sort_remaining=False, kind="stable")
    length_px = scores.index.get_level_values("blur_px").to_numpy()
    window = max(3, round(_WINDOW_SHARE * len(scores)))
    weights = np.ones(window) / window
    for index, method in enumerate(scores.columns.drop(BLURRED)):
        gain = (scores[method] - scores[BLURRED]).to_numpy()
        colour = f"C{index}"
        (dots,) = axis.plot(length_px, gain, ".", color=colour, markersize=3, alpha=0.35)
        if len(scores) >= window:
            means = [np.convolve(values, weights, "valid") for values in (length_px, gain)]
            axis.plot(*means, color=colour, label=method)
        else:
            dots.set_label(method)
    axis.axhline(0, color="k", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_xlabel("known length of blur, mean over the image (px)")
    axis.set_ylabel("PSNR over the blurred input (dB)")
    axis.set_title(f"dots: images; lines: running means of {window} images", fontsize=9)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def plot_curves(validation: Sequence[Mapping[str, str]], path: Path) -> None:
    """Validation PSNR against patches seen, of the rows of ``validation.csv``."""
    figure = new_figure(7.5, 4.2)
    axis = figure.subplots()
    for method in dict.fromkeys(row["method"] for row in validation):
        own = [row for row in validation if row["method"] == method]
        points = [(float(row["n_patches"]), float(row["psnr_rgb_db"])) for row in own]
        axis.plot(*zip(*points, strict=True), "o-", markersize=3, label=method)
    blurred_db = float(validation[-1]["blurred_psnr_rgb_db"])
    axis.axhline(blurred_db, color="k", linestyle="--", linewidth=0.8, label=BLURRED)
    axis.set_ylim(bottom=blurred_db - 4)
    axis.set_xlabel("patches seen")
    axis.set_ylabel("validation PSNR (dB)")
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
