"""tOF: motion of a restored sequence against that of the sharp one."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from gopro_tools.errors import InputError
from gopro_tools.evaluate import EvaluateConfig, Sources, evaluate
from gopro_tools.images import Rgb, encode_png
from gopro_tools.metrics import METRICS, metrics_of, score

SCENE = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(300, 400, 3)), (3, 3, 0))
"""Texture everywhere: where an image is flat, no flow finds its motion."""
TOF = ("tof_farneback",)


def moved(right_px: int, down_px: int = 0) -> Rgb:
    """A window of the scene, which moves to the right and down in it."""
    window = SCENE[70 - down_px : 230 - down_px, 100 - right_px : 300 - right_px]
    return np.clip(np.rint(128 + 500 * window), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("sharp_px", "restored_px"), [((3, 0), (3, 0)), ((3, 0), (1, 0)), ((4, 1), (1, -3))]
)
def test_tof_is_the_length_of_the_difference_of_known_motions(
    sharp_px: tuple[int, int], restored_px: tuple[int, int]
) -> None:
    before = moved(0)
    found = score(moved(*sharp_px), moved(*restored_px), TOF, before=(before, before))
    expected = np.hypot(*np.subtract(sharp_px, restored_px))
    assert found["tof_farneback"] == pytest.approx(expected, rel=0.1, abs=1e-6)


def test_tof_needs_an_image_before_of_the_same_size() -> None:
    image = moved(0)
    assert np.isnan(METRICS["tof_farneback"](image, image))
    with pytest.raises(InputError, match="the image before it in the sequence is 200x100"):
        score(image, image, TOF, before=(image[:100], image[:100]))
    with pytest.raises(InputError, match="48x48"):
        score(image[:47], image[:47], TOF)
    assert "tof_farneback" not in metrics_of(["all"])


def test_the_first_image_of_a_sequence_has_no_tof(tmp_path: Path) -> None:
    shifts = {"a": (0, 2, 4), "b": (0, 1)}
    for folder, factor in (("sharp", 1), ("blurred", 0), ("restored", 2)):
        for sequence, px in shifts.items():
            for number, shift in enumerate(px):
                path = tmp_path / folder / sequence / f"{number:06d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encode_png(moved(factor * shift)))
    sources = Sources(
        sharp=tmp_path / "sharp",
        blurred=tmp_path / "blurred",
        restored=(f"mine={tmp_path / 'restored'}",),
    )
    config = EvaluateConfig(protocol=("psnr_rgb", *TOF), n_resamples=200)
    evaluation = evaluate(sources, config, out=tmp_path / "out")
    rows = {(row.method, row.metric): row for row in evaluation.summary}
    still = rows["blurred", "tof_farneback"]
    assert still.n_images == 3
    assert rows["blurred", "psnr_rgb"].n_images == 5
    assert still.mean == pytest.approx((2 + 2 + 1) / 3, rel=0.1)
    assert rows["mine", "tof_farneback"].delta_low <= 0 <= rows["mine", "tof_farneback"].delta_high
    with (tmp_path / "out" / "per_image.csv").open(newline="") as file:
        cells = [row["tof_farneback"] for row in csv.DictReader(file) if row["method"] == "blurred"]
    assert [cell == "" for cell in cells] == [True, False, False, True, False]
    with (tmp_path / "out" / "sequences.csv").open(newline="") as file:
        means = [float(row["tof_farneback"]) for row in csv.DictReader(file)]
    assert means[0] == pytest.approx(np.mean([float(cell) for cell in cells[1:3]]))
    assert "tof_farneback px ↓" in (tmp_path / "out" / "summary.md").read_text()
