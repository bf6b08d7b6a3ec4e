"""The rendered dataset: what is known of its motion, its splits, and how it resumes."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from commands import assert_ended, start_command_line, wait_until

from gopro_tools.dataset import iterate_pairs
from gopro_tools.errors import InputError
from gopro_tools.images import read_rgb
from gopro_tools.metrics import psnr_rgb
from gopro_tools.rendered import RenderedConfig, blur_lengths, dataset, render_dataset
from gopro_tools.rendered.clips import photographs_of
from gopro_tools.scenes import Scene, SceneConfig

TINY = RenderedConfig(
    n_train=5,
    n_test=2,
    pairs_per_clip=3,
    size_hw=(64, 96),
    photographs=("coffee", "rocket"),
    test_photographs=("astronaut",),
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered") / "data"
    render_dataset(TINY, out, jobs=1)
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".png", ".csv")
    }


def test_as_many_pairs_as_asked_for_whose_blur_is_known(tiny: Path) -> None:
    pairs = [
        *iterate_pairs(tiny, "train", "gamma"),
        *iterate_pairs(tiny, "test", "gamma"),
    ]
    assert [pair.split for pair in pairs].count("train") == 5
    assert [pair.split for pair in pairs].count("test") == 2
    lengths = blur_lengths(tiny)
    assert lengths is not None
    assert set(lengths) == {(pair.sequence, pair.name) for pair in pairs}
    assert read_rgb(pairs[0].path("sharp")).shape == (64, 96, 3)
    # Longer blur, less like the sharp image.
    scores = [psnr_rgb(read_rgb(p.path("sharp")), read_rgb(p.path("blur_gamma"))) for p in pairs]
    ways = [lengths[pair.sequence, pair.name] for pair in pairs]
    assert np.corrcoef(np.log(ways), scores)[0, 1] < -0.5


def test_a_photograph_is_in_one_split_only(tiny: Path) -> None:
    record = json.loads((tiny / "rendered.json").read_text())
    for clip in record["clips"]:
        allowed = {"astronaut"} if clip["split"] == "test" else {"coffee", "rocket"}
        scene = clip["scene"]
        assert {scene["photograph"], *scene["object_photographs"]} <= allowed
    with (tiny / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert row["sequence"].startswith(row["split"])


def test_it_is_made_again_equal_also_after_an_interruption(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(task: str, done: int, total: int) -> None:
        if task == "rendering" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_dataset(TINY, tmp_path / "data", jobs=1, on_progress=interrupt)
    assert not (tmp_path / "data" / "rendered.json").exists()
    render_dataset(TINY, tmp_path / "data", jobs=2)
    assert files(tmp_path / "data") == files(tiny)
    assert not (tmp_path / "data.clips").exists()
    # Complete: nothing is rendered again.
    monkeypatch.setattr(dataset, "_render", None)
    assert render_dataset(TINY, tmp_path / "data") == []
    with pytest.raises(InputError, match="seed 0 there, 1 now"):
        render_dataset(replace(TINY, seed=1), tmp_path / "data")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(InputError, match="something else"):
        render_dataset(TINY, tmp_path / "mine")


def test_workers_end_when_the_command_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    # More than any machine renders meanwhile.
    arguments = ("-o", out, "--scale", "smoke", "--n-train", 6000)
    process = start_command_line("gopro_tools.rendered", *arguments)
    rendering = tmp_path / "out.clips"
    wait_until(lambda: list(rendering.glob("train_*")), process)  # others may still import
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.kill()
    process.communicate(timeout=30)  # it waits for those that hold its output, too
    assert_ended(workers, 10)


def test_the_blur_map_is_the_way_of_each_surface() -> None:
    """A camera that only shifts moves the whole plane by the same way."""
    scene = Scene(SceneConfig(seed=3, size_hw=(64, 96), n_objects=2, shake_px_s=200))
    scene.camera.amplitude[[0, 1, 2, 3, 5]] = 0
    blur_px, background = scene.blur_map(0.1, 11 / 240)
    far, near = (scene.homographies(t)[0] for t in (0.1 + 5.5 / 240, 0.1 - 5.5 / 240))
    middle = scene.homographies(0.1)[0]
    way = sum(abs(h[1, 2] - middle[1, 2]) for h in (far, near))
    assert 0 < background.mean() < 1
    np.testing.assert_allclose(blur_px[background], way, rtol=1e-4)
    assert not np.allclose(blur_px[~background], way, rtol=0.1)


def test_flat_alike_and_broken_photographs_are_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8), (600, 400))
    cv2.imwrite(str(tmp_path / "scene.png"), scene)
    cv2.imwrite(str(tmp_path / "smaller.png"), cv2.resize(scene, (300, 200)))
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((200, 300, 3), 90, np.uint8))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    config = replace(TINY, photographs=(str(tmp_path),))
    photographs, left_out = photographs_of(config)
    assert [Path(p.source).name for p in photographs] == ["astronaut", "scene.png"]
    assert [p.split for p in photographs] == ["test", "train"]
    text = "\n".join(map(str, left_out))
    assert "smaller.png: looks like" in text
    assert "flat.png: 0% of it" in text
    assert "broken.png" in text
    with pytest.raises(InputError, match=r"train split.*astronaut: looks like"):
        photographs_of(replace(TINY, photographs=("astronaut",)))


def test_without_test_photographs_a_fifth_is_kept_for_testing() -> None:
    photographs, _ = photographs_of(RenderedConfig(n_train=1, n_test=1))
    assert [p.split for p in photographs].count("test") == 1
    assert len(photographs) >= 4


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"n_train": 0}, "at least 1"),
        ({"size_hw": (63, 96)}, "even"),
        ({"speed_px_s": (9, 3)}, "slow"),
        ({"speed_px_s": (9, float("inf"))}, "slow"),
        ({"seed": -1}, "seed"),
    ],
)
def test_unusable_settings(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        replace(TINY, **options)  # type: ignore[arg-type]
