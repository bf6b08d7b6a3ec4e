"""Blur length, saturation and noise against rendered truth."""

import cv2
import numpy as np
import pytest

from gopro_tools.motion import MotionMeter, noise_sigma, saturated_share
from gopro_tools.scenes import Scene, SceneConfig

RATE_HZ, N_FRAMES = 240, 11


def true_way_px(scene: Scene, middle_s: float, exposure_s: float):
    """(H, W): how far the surface of each pixel of the sharp image moves, in 20 small steps."""
    ids = scene.object_mask(middle_s)
    height, width = ids.shape
    y, x = np.mgrid[:height, :width].astype(float)
    at_middle = scene.homographies(middle_s)
    instants = np.linspace(middle_s - exposure_s / 2, middle_s + exposure_s / 2, 21)
    way = np.zeros(ids.shape)
    for index, plane in enumerate(np.linalg.inv(at_middle)):
        chosen = ids == index
        points = plane @ np.stack([x[chosen], y[chosen], np.ones(np.count_nonzero(chosen))])
        seen = np.stack([scene.homographies(instant)[index] @ points for instant in instants])
        position = seen[:, :2] / seen[:, 2:]
        way[chosen] = np.linalg.norm(np.diff(position, axis=0), axis=1).sum(axis=0)
    return way


def test_length_of_blur_against_rendered_truth():
    """Median error under 15 % from 2 to 30 px; measured: 2 % of the mean, 7 % of the percentile."""
    errors_mean, errors_p95 = [], []
    meter = MotionMeter()
    for seed, photograph in enumerate(("motorcycle", "astronaut", "coffee", "cat")):
        for speed in (100, 250, 500):
            scene = Scene(
                SceneConfig(
                    seed=seed, photograph=photograph, size_hw=(240, 360), highlights=False,
                    shake_px_s=speed, object_speed_px_s=speed,
                )
            )  # fmt: skip
            middle_s = 0.3
            frames = [
                scene.frame(middle_s + (i - N_FRAMES // 2) / RATE_HZ) for i in range(N_FRAMES)
            ]
            truth = true_way_px(scene, middle_s, N_FRAMES / RATE_HZ)[10:-10, 10:-10]
            if not 2 <= truth.mean() <= 30:
                continue
            found = meter.blur_length(frames)
            errors_mean.append(found.mean_px / truth.mean() - 1)
            errors_p95.append(found.p95_px / np.percentile(truth, 95) - 1)
    assert len(errors_mean) >= 8
    assert np.median(np.abs(errors_mean)) < 0.06
    assert np.median(np.abs(errors_p95)) < 0.15


def test_large_frames_are_measured_in_their_own_pixels():
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (760, 1000, 3)).astype(np.uint8), (0, 0), 4)
    frames = [np.ascontiguousarray(wide[:, 4 * i : 4 * i + 900]) for i in range(5)]
    found = MotionMeter().blur_length(frames)
    assert found.mean_px == pytest.approx(20, rel=0.05)  # 4 px per interval, 5 intervals
    longer = MotionMeter().blur_length(frames, exposure_frames=4)
    assert longer.mean_px == pytest.approx(16, rel=0.05)


def test_still_frames_have_no_blur():
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert MotionMeter().blur_length([frame] * 3).p95_px < 0.05
    with pytest.raises(ValueError, match="two frames"):
        MotionMeter().blur_length([frame])


@pytest.mark.parametrize("photograph", ["astronaut", "coffee", "rocket"])
@pytest.mark.parametrize("sigma", [2.0, 4.0, 8.0])
def test_noise_is_estimated_within_a_fifth(photograph, sigma):
    scene = Scene(SceneConfig(seed=0, photograph=photograph, size_hw=(240, 320), highlights=False))
    frame = scene.frame(0.0)
    noisy = np.rint(frame + np.random.default_rng(1).normal(0, sigma, frame.shape))
    assert noise_sigma(np.clip(noisy, 0, 255).astype(np.uint8)) == pytest.approx(sigma, rel=0.2)
    assert noise_sigma(frame) < 1.2


def test_saturated_share():
    image = np.zeros((10, 10, 3), np.uint8)
    image[:3, :, 1] = 255
    assert saturated_share(image) == pytest.approx(0.3)
    assert noise_sigma(np.full((64, 64, 3), 255, np.uint8)) == 0
    assert noise_sigma(np.full((8, 8, 3), 9, np.uint8)) == 0
