"""The files of ../shared/cases/video, each of one kind that was once read wrongly."""

import csv
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from media import shown_by_ffmpeg

from gopro_tools.errors import InputError
from gopro_tools.images import read_rgb
from gopro_tools.synthesize import Summary, SynthesisConfig, synthesize
from gopro_tools.video import FrameProblem, open_source

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def cases() -> Path:
    folder = ROOT.parent / "shared" / "cases" / "video"
    if not folder.is_dir():
        pytest.skip("no cases at ../shared/cases/video")
    return folder


def made(source: Path, out: Path, **options: Any) -> tuple[Summary, Mapping[str, Any]]:
    """Summary of a synthesis, and what dataset.json says of its first source."""
    with ThreadPoolExecutor(2) as threads:
        summary = synthesize([source], SynthesisConfig(**options), out=out, executor=threads)
    described = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    return summary, described["sources"][0]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "n_pairs", "options", "expected"),
    [
        ("base.mp4", 4, {}, {"notes": []}),
        ("matrix_all_zero.mp4", 4, {}, {"height": 80, "width": 112}),
        ("matrix_89_99_degrees.mp4", 4, {}, {"height": 112, "width": 80}),
        ("streams_thumbnail_first.mov", 4, {}, {"stream": 1}),
        ("open_gop.mp4", 54, {}, {}),
        ("open_gop_trimmed.mp4", 32, {}, {}),
        ("ms_clock_1057fps.mkv", 12, {}, {"n_frames": 132, "rate_hz": 1057.0, "n_gaps": 0}),
        ("joined_same_clock.ts", 21, {}, {"n_parts": 2}),
        ("interlaced_60i.ts", 6, {"deinterlace": True}, {"interlaced": True}),
        ("pixels_4_3.mp4", 4, {}, {"height": 60, "width": 112}),
        ("clean_aperture.mp4", 4, {}, {"height": 80, "width": 80}),
        ("transfer_linear.mp4", 4, {"response": "linear"}, {"transfer": "linear light"}),
        ("transfer_log100.mp4", 4, {"response": "log100"}, {}),
        ("sound_longer.mp4", 4, {}, {"problems": []}),
        ("folders/exif_orientation_6", 1, {"fps": 240.0}, {"height": 112, "width": 80}),
        ("folders/negative_numbers", 3, {"fps": 240.0}, {}),
        ("folders/mac_exfat", 2, {"fps": 240.0}, {"n_frames": 22}),
        ("folders/grey_16_bit", 1, {"fps": 240.0}, {}),
    ],
)
def test_read_as_it_should_be(
    cases: Path,
    tmp_path: Path,
    name: str,
    n_pairs: int,
    options: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    summary, source = made(cases / name, tmp_path / "out", **options)
    assert (summary.n_pairs, summary.n_rejected) == (n_pairs, 0)
    assert (summary.failed, summary.damaged) == ({}, {})
    assert {key: source[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("interlaced_60i.ts", "--deinterlace"),
        ("transfer_linear.mp4", "--response linear"),
        ("transfer_log100.mp4", "--response log100"),
        ("phantom_mono_linear.cine", "--response linear"),
        ("dolby_vision_5.mp4", "Dolby Vision profile 5"),
        ("matrix_ictcp.mp4", "ICtCp"),
        ("folders/two_shots", "2 sequences"),
    ],
)
def test_refused_by_name(cases: Path, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(cases / name, tmp_path / "out", fps=240.0)


@pytest.mark.parametrize("name", ["open_gop.mp4", "open_gop_trimmed.mp4", "joined_same_clock.ts"])
def test_frames_do_not_depend_on_where_reading_starts(cases: Path, name: str) -> None:
    """Past some keyframes of open groups, pictures let go of others from before the keyframe."""
    source = open_source(cases / name)
    whole = dict(source.read(0, source.info.n_frames, print))
    starts = {int(key) + after for key in source.info.keyframes[:, 0] for after in (0, 1, 7)}
    for start in sorted(starts & whole.keys()):
        problems: list[FrameProblem] = []
        part = dict(source.read(start, start + 12, problems.append))
        assert problems == []
        assert part.keys() == {index for index in whole if start <= index < start + 12}
        assert all((part[index] == whole[index]).all() for index in part)


@pytest.mark.parametrize("name", ["mirror_hflip.mp4", "mirror_vflip.mp4"])
def test_mirrors_are_as_ffmpeg_shows_them(cases: Path, name: str) -> None:
    source = open_source(cases / name)
    ours = np.stack([frame for _, frame in source.read(0, 5, print)]).astype(int)
    assert np.abs(ours - shown_by_ffmpeg(cases / name, (80, 112))[:5]).mean() < 1.5


def test_another_size_in_mid_stream_is_left_out_and_named(cases: Path, tmp_path: Path) -> None:
    summary, source = made(cases / "size_change.mkv", tmp_path / "out")
    assert summary.n_pairs == 3
    assert "frame 33 is 40x56 instead of 80x112" in source["problems"][0]
    reasons = [row["reason"] for row in rows(tmp_path / "out" / "rejected.csv")]
    assert len(reasons) == 3
    assert all("40x56 instead of 80x112" in reason for reason in reasons)


def test_a_damaged_slice_is_named_and_its_window_rejected(cases: Path, tmp_path: Path) -> None:
    summary, source = made(cases / "ffv1_bad_checksum.mkv", tmp_path / "out", allow_low_rate=True)
    assert (summary.n_pairs, summary.n_rejected) == (5, 1)
    assert "frame 35 (slice CRC mismatch" in source["problems"][0]
    assert rows(tmp_path / "out" / "rejected.csv")[0]["reason"].startswith("frame 35 ")


def test_limited_grey_is_expanded(cases: Path) -> None:
    source = open_source(cases / "grey_limited_hevc.mp4")
    frames = [frame for _, frame in source.read(0, source.info.n_frames, print)]
    assert min(int(frame.min()) for frame in frames) <= 16
    assert source.info.look.color.text == "grey, limited range"


def test_light_of_a_high_speed_camera_is_averaged_as_light(cases: Path, tmp_path: Path) -> None:
    made(cases / "phantom_mono_linear.cine", tmp_path / "out", response="linear")
    folder = tmp_path / "out" / "train" / "phantom_mono_linear_11_00"
    source = open_source(cases / "phantom_mono_linear.cine")
    light = np.stack([frame for _, frame in source.read(0, 11, print)]).mean(axis=0)
    blurred = read_rgb(folder / "blur_gamma" / "000001.png")
    assert np.abs(blurred - light).max() <= 0.5


def test_a_link_to_a_folder_of_frames_is_followed(cases: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(cases / "folders" / "mac_exfat")
    assert made(tmp_path / "in", tmp_path / "out", fps=240.0)[0].n_pairs == 2


@pytest.mark.parametrize("card", ["hero4", "copies"])
def test_no_recording_of_a_card_is_in_both_splits(cases: Path, tmp_path: Path, card: str) -> None:
    summary, _ = made(cases / "cards" / card, tmp_path / "out", test_fraction=0.3)
    assert summary.failed == {}
    manifest = rows(tmp_path / "out" / "manifest.csv")
    assert not any(row["source"].endswith(".LRV") for row in manifest)
    splits: dict[str, set[str]] = {}
    for row in manifest:
        splits.setdefault(Path(row["source"]).name[:8], set()).add(row["split"])
    assert len(splits) == 5
    assert all(len(of_recording) == 1 for of_recording in splits.values())
