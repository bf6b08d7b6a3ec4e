"""Pictures of a comparison: crops, the gain by length of blur, learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks.pictures import sheet
from gopro_tools.dataset import SHARP_FOLDER, Pair
from gopro_tools.figures import new_figure
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.metrics import psnr_rgb
from gopro_tools.sources import BLURRED, SHARP

CROPS_FILE = "crops.png"
GAIN_FILE = "gain_by_blur.png"
CURVES_FILE = "curves.png"
CROP_PERCENTILES = (20, 45, 70, 90)
"""Of blur length: which test images are shown."""

_CROP_PX = 128
_ZOOM = 2
_WINDOW_SHARE = 0.25


def crops(
    pairs: Sequence[Pair],
    blur_folder: str,
    lengths_px: Mapping[tuple[str, str], float],
    restored: Mapping[str, Path],
) -> Rgb:
    """Four test images, from little to much blur, cut out where the sharp one has most detail.

    One row per image, one column per method between ``blurred`` and ``sharp``.
    """
    by_blur = sorted(pairs, key=lambda pair: lengths_px.get((pair.sequence, pair.name), 0.0))
    panels = []
    for share in CROP_PERCENTILES:
        pair = by_blur[round(share / 100 * (len(pairs) - 1))]
        paths = {method: folder / pair.sequence / pair.name for method, folder in restored.items()}
        paths = {BLURRED: pair.path(blur_folder), **paths, SHARP: pair.path(SHARP_FOLDER)}
        sharp = read_rgb(paths[SHARP])
        top, left = _busiest(sharp)
        for name, path in paths.items():
            image = read_rgb(path)
            caption = name if name == SHARP else f"{name} {psnr_rgb(sharp, image):.2f} dB"
            if name == BLURRED and (pair.sequence, pair.name) in lengths_px:
                caption += f", {lengths_px[pair.sequence, pair.name]:.0f} px"
            crop = image[top : top + _CROP_PX, left : left + _CROP_PX]
            panels.append((caption, crop.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)))
    return sheet(panels, n_columns=len(restored) + 2)


def _busiest(sharp: Rgb) -> tuple[int, int]:
    """Top and left of the crop with most detail."""
    height, width = (max(1, size - _CROP_PX + 1) for size in sharp.shape[:2])
    detail = np.abs(np.gradient(sharp.mean(axis=2))).sum(axis=0)
    size = (_CROP_PX, _CROP_PX)
    sums = cv2.boxFilter(detail, -1, size, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    top, left = np.unravel_index(sums[:height, :width].argmax(), (height, width))
    return int(top), int(left)


def plot_gain(scores: pd.DataFrame, path: Path) -> None:
    """Gain in PSNR over the blurred input against blur length: images, and a running mean."""
    figure = new_figure(7.5, 4.2)
    axis = figure.subplots()
    scores = scores.sort_index(level="blur_px", sort_remaining=False, kind="stable")
    length_px = scores.index.get_level_values("blur_px").to_numpy()
    window = min(len(scores), max(3, round(_WINDOW_SHARE * len(scores))))
    weights = np.ones(window) / window
    for index, method in enumerate(scores.columns.drop(BLURRED)):
        gain = (scores[method] - scores[BLURRED]).to_numpy()
        colour = f"C{index}"
        axis.plot(length_px, gain, ".", color=colour, markersize=3, alpha=0.35)
        means = [np.convolve(values, weights, "valid") for values in (length_px, gain)]
        axis.plot(*means, color=colour, label=method)
    axis.axhline(0, color="k", linewidth=0.8)
    axis.set(xscale="log", xlabel="known length of blur, mean over the image (px)")
    axis.set_ylabel("PSNR over the blurred input (dB)")
    axis.set_title(f"dots: images; lines: running means of {window} images", fontsize=9)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def plot_curves(validation: pd.DataFrame, path: Path) -> None:
    """Validation PSNR against patches seen, of ``validation.csv``."""
    figure = new_figure(7.5, 4.2)
    axis = figure.subplots()
    for method, own in validation.groupby("method", sort=False):
        axis.plot(own["n_patches"], own["psnr_rgb_db"], "o-", markersize=3, label=method)
    blurred_db = validation["blurred_psnr_rgb_db"].iloc[-1]
    axis.axhline(blurred_db, color="k", linestyle="--", linewidth=0.8, label=BLURRED)
    axis.set_ylim(bottom=max(blurred_db - 4, axis.get_ylim()[0]))
    axis.set(xlabel="patches seen", ylabel="validation PSNR (dB)")
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
