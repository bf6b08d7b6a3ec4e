"""Combed frames in video that says it is progressive: named, and nothing else is."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from media import ffmpeg

from gopro_tools.images import Rgb
from gopro_tools.scenes import Encoding, Scene, SceneConfig, render_frames, write_video
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.synthesize.combing import columns_of, field_order

PROGRESSIVE = "setfield=prog,format=yuv420p"
WOVEN = {
    "tff": "tinterlace=mode=interleave_top",
    "bff": "tinterlace=mode=interleave_bottom",
    "smoothed": "interlace=scan=bff:lowpass=complex",
}


@pytest.fixture(scope="module")
def threads() -> ThreadPoolExecutor:
    """An executor that costs nothing to start."""
    return ThreadPoolExecutor(2)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 240 fps, in which the camera and objects move a few pixels a frame."""
    path = tmp_path_factory.mktemp("combing") / "recorded.mp4"
    config = SceneConfig(
        seed=2, size_hw=(180, 320), photograph="coffee", shake_px_s=600.0, object_speed_px_s=600.0
    )
    write_video(path, render_frames(Scene(config), 240, 84), 240, Encoding(crf=12))
    return path


def encoded(source: Path, path: Path, filters: str, crf: int = 23) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ffmpeg("-i", source, "-vf", f"{filters},{PROGRESSIVE}", "-c:v", "libx264", "-crf", crf, path)
    return path


def noted(videos: Path, out: Path, threads: ThreadPoolExecutor, **asked: object) -> dict[str, str]:
    """The notes on combing, by source."""
    config = SynthesisConfig(frames="5", **asked)  # type: ignore[arg-type]
    synthesize([videos], config, out=out, executor=threads)
    sources = json.loads((out / "dataset.json").read_text())["sources"]
    notes = {source["name"]: " ".join(source["notes"]) for source in sources}
    return {name: text for name, text in notes.items() if "combed" in text}


def test_combed_video_is_named_with_the_order_of_its_fields(
    recorded: Path, tmp_path: Path, threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    for name, filters in WOVEN.items():
        for crf in (18, 28):
            encoded(recorded, tmp_path / "videos" / f"{name}_{crf}.mp4", filters, crf)
    # What is looked at are frames as they were, not as they are stored.
    found = noted(tmp_path / "videos", tmp_path / "out", threads, size="90x160")
    orders = {name: text.partition("parity=")[2][:3] for name, text in found.items()}
    assert orders == {
        f"{name}_{crf}.mp4": "tff" if name == "tff" else "bff" for name in WOVEN for crf in (18, 28)
    }
    assert "tff_18.mp4: in" in caplog.text
    assert "- tff_18.mp4: in" in (tmp_path / "out" / "README.md").read_text()


def test_combed_image_files_are_named(
    recorded: Path, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    (tmp_path / "frames").mkdir()
    ffmpeg("-i", recorded, "-vf", WOVEN["tff"], tmp_path / "frames" / "%04d.png")
    assert set(noted(tmp_path / "frames", tmp_path / "out", threads, fps=120)) == {"frames"}


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_the_command_of_the_note_mends_it(
    order: str, recorded: Path, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    woven = encoded(recorded, tmp_path / "woven.mp4", WOVEN[order])
    (tmp_path / "videos").mkdir()
    ffmpeg("-i", woven, "-vf", f"bwdif=parity={order}", tmp_path / "videos" / "mended.mp4")
    assert noted(tmp_path / "videos", tmp_path / "out", threads) == {}


def test_progressive_video_is_not_taken_for_combed(
    recorded: Path, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    changes = {
        "plain": "null",
        "noise": "noise=alls=30:allf=t",
        "strong_noise": "noise=alls=90:allf=t",
        "sharpened": "unsharp=5:5:3",
        "blinds": "drawgrid=h=3:w=0:t=1:color=black@0.7",
        "scanlines": "drawgrid=h=2:w=0:t=1:color=black@0.7",
        "doubled": "scale=iw*2:ih*2:flags=neighbor",
        "stretched": "scale=iw:ih*2:flags=bilinear",
        "fade": "fade=in:0:80",
    }
    for name, filters in changes.items():
        for crf in (18, 32):
            encoded(recorded, tmp_path / "videos" / f"{name}_{crf}.mp4", filters, crf)
    assert noted(tmp_path / "videos", tmp_path / "out", threads) == {}


def panned(picture: Rgb, speed_yx: tuple[int, int], n_frames: int = 12) -> list[Rgb]:
    """Frames of a camera that turns evenly over a picture, which repeats without end."""
    return [
        np.roll(picture, (step * speed_yx[0], step * speed_yx[1]), axis=(0, 1))
        for step in range(n_frames)
    ]


@pytest.mark.parametrize("speed_yx", [(0, 2), (1, 0), (2, 0), (-3, 1), (4, 0)])
@pytest.mark.parametrize("kind", ["smooth", "stripes", "doubled"])
def test_no_motion_makes_progressive_frames_look_combed(
    kind: str, speed_yx: tuple[int, int]
) -> None:
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 256, (120, 160)).astype(np.float64)
    if kind == "stripes":
        picture = np.repeat(np.tile([30.0, 30.0, 200.0, 200.0, 200.0, 30.0], 20)[:, None], 160, 1)
    for _ in range(2 if kind == "smooth" else 0):
        picture = sum(np.roll(picture, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9
    if kind == "doubled":
        picture = np.repeat(picture[::2], 2, axis=0)
    image = np.repeat(picture.astype(np.uint8)[..., None], 3, axis=2)
    assert field_order([columns_of(frame) for frame in panned(image, speed_yx)]) in ("", None)


def test_nothing_is_said_where_nothing_moves() -> None:
    rng = np.random.default_rng(6)
    columns = columns_of(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    assert field_order([columns] * 7) is None
    assert field_order([columns]) is None
