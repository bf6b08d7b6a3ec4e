"""Videos through restore: times, sound, comparison, names, failures and resuming."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from media import ffmpeg
from test_deblur import audio_packets, times_ms, write_clip

from benchmarks.restore import restore_command
from gopro_tools.console import exit_code_of
from gopro_tools.deblur import DeblurConfig
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.movie_config import MovieConfig
from gopro_tools.movies import find_videos
from gopro_tools.records import read_record
from gopro_tools.restoring import Restoration, RestoreConfig, restore
from gopro_tools.video import open_source


class Inverting:
    """Restores nothing, visibly."""

    def __init__(self) -> None:
        self.n_frames = 0

    def restore(self, blurred: Rgb) -> Rgb:
        self.n_frames += 1
        return 255 - blurred


def make(weights: Path | None, device: str) -> Inverting:
    return Inverting()


def test_a_video_keeps_its_times_and_its_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = [0, 33, 67, 200, 233]
    write_clip(tmp_path / "in.mp4", ticks)
    out = tmp_path / "out"
    code = exit_code_of(
        lambda: restore_command(
            tmp_path / "in.mp4",
            method="test_movies:make",
            out=out,
            movies=MovieConfig(lossless=True, compare=True),
        )
    )
    assert code == 0
    result = out / "in.mkv"
    assert times_ms(result) == ticks
    assert audio_packets(result) == audio_packets(tmp_path / "in.mp4")
    before = [frame for _, frame in open_source(tmp_path / "in.mp4").read(0, 5, pytest.fail)]
    after = [frame for _, frame in open_source(result).read(0, 5, pytest.fail)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(255 - old, new)
    height, width = before[0].shape[:2]
    assert open_source(out / "in_compare.mkv").info.size_hw == (28 + height, 2 * width)
    record = read_record(out)
    assert record.results == {"n_images": 0, "n_videos": 1}
    assert record.config["movies"]["lossless"] is True


def test_a_folder_holds_images_and_videos_of_one_name(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    (clips / "day").mkdir(parents=True)
    write_clip(clips / "day" / "a.mp4", [0, 40])
    write_clip(clips / "day" / "a.mkv", [0, 40])
    (clips / "a.png").write_bytes(encode_png(np.full((48, 64, 3), 9, np.uint8)))
    steps: list[tuple[int, int]] = []
    result = restore(
        clips,
        RestoreConfig(method="inverting", restorer=Inverting(), code_sha256="1"),
        out=tmp_path / "out",
        on_progress=lambda *step: steps.append(step),
    )
    assert result.summary.n_restored == 3
    files = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")
    }
    assert {"a.png", "day/a.mp4", "day/a.mp4.mp4"} <= files
    assert (read_rgb(tmp_path / "out" / "a.png") == 246).all()
    assert steps == [(1, 1), (1, 2), (2, 2), (1, 2), (2, 2)]
    assert find_videos(tmp_path / "nothing", MovieConfig()) == []


def test_a_damaged_video_is_named_and_resuming_keeps_the_others(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    write_clip(clips / "good.mp4", [0, 40, 80])
    (clips / "broken.mp4").write_bytes((clips / "good.mp4").read_bytes()[:200])

    def run() -> tuple[Restoration, Inverting]:
        restorer = Inverting()
        config = RestoreConfig(method="inverting", restorer=restorer, code_sha256="1", resume=True)
        return restore(clips, config, out=tmp_path / "out"), restorer

    first, restorer = run()
    assert first.summary.n_restored == 1
    assert "broken.mp4" in first.summary.failures[0]
    assert restorer.n_frames == 3
    assert first.record is None
    assert not (tmp_path / "out" / "run.json").exists()
    write_clip(clips / "broken.mp4", [0, 40])
    # It was another file before, so nothing made from it may be kept.
    stored = json.loads((tmp_path / "out" / "restored.json").read_text())["images"]
    assert set(stored) == {"broken.mp4", "good.mp4"}
    (clips / "broken.mp4").rename(clips / "new.mp4")
    second, restorer = run()
    assert (second.summary.n_restored, second.summary.n_kept) == (1, 1)
    assert restorer.n_frames == 2
    assert second.record is not None


@pytest.mark.parametrize(
    ("option", "shown_as"),
    [
        ("deinterlace", ("-vf", "setfield=tff", "-flags", "+ildct+ilme", "-field_order", "tt")),
        ("hdr", ("-bsf:v", "h264_metadata=transfer_characteristics=18")),
    ],
)
def test_the_option_that_a_refused_video_needs_is_named_and_taken(
    tmp_path: Path, option: str, shown_as: tuple[str, ...]
) -> None:
    write_clip(tmp_path / "plain.mp4", [0, 33, 67])
    source = tmp_path / "in.mkv"
    ffmpeg("-i", tmp_path / "plain.mp4", "-an", "-c:v", "libx264", *shown_as, source)
    restorer, out = Inverting(), tmp_path / "out"
    config = RestoreConfig(method="mine", restorer=restorer)
    (failure,) = restore(source, config, out=tmp_path / "refused").summary.failures
    assert set(re.findall(r"--(\w+)", failure)) == {option}
    for settings in (MovieConfig, DeblurConfig):
        assert option in {field.name for field in dataclasses.fields(settings)}

    asked = dataclasses.replace(config, resume=True, movies=MovieConfig(**{option: True}))
    assert restore(source, asked, out=out).summary.failures == []
    assert restorer.n_frames == 3
    assert restore(source, asked, out=out).summary.n_kept == 1
    assert restorer.n_frames == 3
