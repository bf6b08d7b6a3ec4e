"""Results that were restored from one kind of blur and are scored beside the other."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from gopro_tools.dataset import BLUR_FOLDERS, BlurKind
from gopro_tools.evaluate import EvaluateConfig, evaluate
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.scenes import LOSSLESS, Scene, SceneConfig, render_frames, write_video
from gopro_tools.sources import Sources
from gopro_tools.synthesize import SynthesisConfig, synthesize


def to_8_bit(values: np.ndarray) -> Rgb:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def sharpened(blurred: Rgb, _: Rgb) -> Rgb:
    return np.asarray(
        cv2.addWeighted(blurred, 2.0, cv2.GaussianBlur(blurred, (0, 0), 2), -1.0, 0), np.uint8
    )


def half_way_and_soft(blurred: Rgb, sharp: Rgb) -> Rgb:
    return to_8_bit(0.5 * cv2.GaussianBlur(sharp, (0, 0), 1.2) + 0.5 * blurred)


def brighter(blurred: Rgb, sharp: Rgb) -> Rgb:
    return to_8_bit((0.6 * sharp + 0.4 * blurred) * 1.05 + 2)


def through_jpeg(blurred: Rgb, sharp: Rgb) -> Rgb:
    mixed = to_8_bit(0.4 * sharp + 0.6 * blurred)
    data = cv2.imencode(".jpg", mixed, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


Method = Callable[[Rgb, Rgb], Rgb]
METHODS: tuple[Method, ...] = (sharpened, half_way_and_soft, brighter, through_jpeg)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("both")
    config = SceneConfig(seed=3, size_hw=(180, 320), photograph="coffee", shake_px_s=500.0)
    write_video(folder / "clip.mp4", render_frames(Scene(config), 240, 55), 240, LOSSLESS)
    synthesize([folder / "clip.mp4"], SynthesisConfig(), out=folder / "data")
    return folder / "data"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
@pytest.mark.parametrize("made_from", ["gamma", "linear_crf"])
@pytest.mark.parametrize("scored_with", ["gamma", "linear_crf"])
def test_results_of_the_other_kind_of_blur_are_named_and_no_others(
    dataset: Path, tmp_path: Path, method: Method, made_from: BlurKind, scored_with: BlurKind
) -> None:
    for sharp in sorted(dataset.glob("train/*/sharp/*.png")):
        folder = sharp.parent.parent
        blurred = read_rgb(folder / BLUR_FOLDERS[made_from] / sharp.name)
        target = tmp_path / "restored" / folder.name / sharp.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode_png(method(blurred, read_rgb(sharp))))
    sources = Sources(
        dataset=dataset,
        split="train",
        blur_kind=scored_with,
        restored=(f"m={tmp_path / 'restored'}",),
    )
    found = evaluate(sources, EvaluateConfig(protocol=("psnr_rgb",), n_resamples=50))
    named = [text for text in found.doubts if "restored from the other kind" in text]
    assert len(named) == (made_from != scored_with)
    if named:
        assert f"is that of {BLUR_FOLDERS[made_from]}, not of" in named[0]
