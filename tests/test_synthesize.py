import csv
import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from commands import wait_until
from media import INTRA_REFRESH, OPEN_GOP, ffmpeg

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png, pixel_hash, read_rgb
from gopro_tools.scenes import (
    H264,
    LOSSLESS,
    Encoding,
    Scene,
    SceneConfig,
    render_frames,
    write_frames,
    write_video,
)
from gopro_tools.seal import FORMAT, sealed
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.synthesize.command import command
from gopro_tools.synthesize.output import STATE_FOLDER
from gopro_tools.synthesize.plan import make_plan, probe_source
from gopro_tools.synthesize.preview import sheet_of, shown_from_disk
from gopro_tools.synthesize.sources import Source, discover
from gopro_tools.video import Problem, VideoFile

Frame = tuple[int, Rgb]

EXACT = Encoding(codec="libx264rgb", pixel_format="rgb24", crf=0, gop_size=30)


@pytest.fixture(scope="module")
def threads() -> ThreadPoolExecutor:
    """An executor that costs nothing to start: most tests need no processes."""
    return ThreadPoolExecutor(2)


def moving(n_frames: int, size_hw: tuple[int, int] = (32, 48), seed: int = 0) -> list[Rgb]:
    rng = np.random.default_rng(seed)
    texture = np.kron(rng.integers(0, 256, (40, 60, 3)), np.ones((3, 3, 1))).astype(np.uint8)
    height, width = size_hw
    return [np.roll(texture, (i, 2 * i), axis=(0, 1))[:height, :width] for i in range(n_frames)]


def tree(folder: Path) -> dict[str, str]:
    """Every file of a folder, hidden ones too, by the hash of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run_cli(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gopro_tools.synthesize", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def test_pairs_are_what_the_definition_says(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    frames = moving(80)
    write_video(tmp_path / "clip.mp4", frames, 240, EXACT)
    out = tmp_path / "out"
    summary = synthesize([tmp_path / "clip.mp4"], out=out, executor=threads)
    assert (summary.n_pairs, summary.n_rejected, summary.failed) == (7, 0, {})
    folder = out / "train" / "clip_11_00"
    for number in range(1, 8):
        window = np.stack(frames[11 * (number - 1) : 11 * number])
        name = f"{number:06d}.png"
        np.testing.assert_array_equal(read_rgb(folder / "sharp" / name), window[5])
        np.testing.assert_array_equal(
            read_rgb(folder / "blur" / name), np.around(window.mean(axis=0))
        )
        expected = np.rint(255 * np.mean((window / 255) ** 2.2, axis=0) ** (1 / 2.2))
        np.testing.assert_array_equal(read_rgb(folder / "blur_gamma" / name), expected)
    assert not (out / STATE_FOLDER).exists()


def test_the_manifest_describes_every_pair(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    write_video(tmp_path / "videos" / "clip.mp4", moving(40), 240, EXACT)
    out = tmp_path / "out"
    synthesize([tmp_path / "videos"], out=out, executor=threads)
    manifest = rows(out / "manifest.csv")
    assert [row["name"] for row in manifest] == ["000001.png", "000002.png", "000003.png"]
    second = manifest[1]
    assert (second["frame_start"], second["frame_stop"], second["middle_frame"]) == (
        "11",
        "22",
        "16",
    )
    assert float(second["time_start_s"]) == pytest.approx(11 / 240, abs=1e-6)
    assert float(second["time_stop_s"]) == pytest.approx(22 / 240, abs=1e-6)
    assert (second["source"], second["response"], second["n_frames"]) == (
        "clip.mp4",
        "gamma2.2",
        "11",
    )
    for row in manifest:
        folder = out / row["split"] / row["sequence"]
        for kind in ("sharp", "blur", "blur_gamma"):
            assert pixel_hash(read_rgb(folder / kind / row["name"])) == row[f"hash_{kind}"]
    described = json.loads((out / "dataset.json").read_text())
    assert described["n_pairs"] == {"train": 3}
    assert described["sources"][0]["rate_hz"] == 240
    assert described["identity"]["sources"] == {
        "clip.mp4": hashlib.sha256((tmp_path / "videos" / "clip.mp4").read_bytes()).hexdigest()
    }
    sheet = read_rgb(out / "preview.png")
    assert sheet.shape[1] == 3 * 480
    # What the workers made while they had the images is what a later run makes of the files.
    kinds = ("sharp", "blur_gamma", "blur")
    assert (sheet_of([*shown_from_disk(out, manifest, kinds).values()]) == sheet).all()


@pytest.mark.parametrize("response", ["gamma2.2", "srgb", "linear"])
def test_a_constant_clip_gives_the_constant(
    tmp_path: Path, threads: ThreadPoolExecutor, response: str
) -> None:
    constant = np.full((32, 48, 3), (13, 120, 240), np.uint8)
    write_video(tmp_path / "constant.mp4", [constant] * 22, 240, EXACT)
    out = tmp_path / "out"
    config = SynthesisConfig(response=response)
    assert synthesize([tmp_path], config, out=out, executor=threads).n_pairs == 2
    for path in (out / "train").rglob("*.png"):
        np.testing.assert_array_equal(read_rgb(path), constant)


def test_a_flicker_gives_the_analytic_mean(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    levels = [200 if i % 2 == 0 else 20 for i in range(11)]
    write_video(
        tmp_path / "flicker.mp4",
        [np.full((32, 48, 3), level, np.uint8) for level in levels],
        240,
        EXACT,
    )
    synthesize([tmp_path / "flicker.mp4"], out=tmp_path / "out", executor=threads)
    folder = tmp_path / "out" / "train" / "flicker_11_00"
    light = (6 * (200 / 255) ** 2.2 + 5 * (20 / 255) ** 2.2) / 11
    assert (read_rgb(folder / "blur_gamma" / "000001.png") == round(255 * light ** (1 / 2.2))).all()
    assert (read_rgb(folder / "blur" / "000001.png") == round((6 * 200 + 5 * 20) / 11)).all()


def test_the_result_does_not_depend_on_who_makes_it(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """Processes or threads, one worker or three, whole or in shards: the same bytes."""
    for seed, name in enumerate(("a.mp4", "b.mp4")):
        write_video(tmp_path / "in" / name, moving(200, seed=seed), 240, H264)
    config = SynthesisConfig(frames="7-13", test_fraction=0.5)
    results = []
    for name, options in (
        ("threads", {"executor": threads}),
        ("one", {"jobs": 1}),
        ("three", {"jobs": 3}),
    ):
        synthesize([tmp_path / "in"], config, out=tmp_path / name, **options)  # type: ignore[arg-type]
        results.append(tree(tmp_path / name))
    for shard in (2, 1, 3):
        summary = synthesize(
            [tmp_path / "in"], config, out=tmp_path / "shards", shard=(shard, 3), executor=threads
        )
        assert (summary.segments_left == 0) == (shard == 3)
    results.append(tree(tmp_path / "shards"))
    assert len(results[0]) > 50
    assert all(result == results[0] for result in results)


def test_a_second_run_does_nothing(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    write_video(tmp_path / "clip.mp4", moving(40), 240, EXACT)
    out = tmp_path / "out"
    synthesize([tmp_path / "clip.mp4"], out=out, executor=threads)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    summary = synthesize([tmp_path / "clip.mp4"], out=out, executor=threads)
    assert summary.already_complete
    assert summary.n_pairs == 3
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == {
        path: stamp for path, stamp in before.items() if path.is_file()
    }


def test_another_recipe_is_refused_unless_overwriting(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    write_video(tmp_path / "clip.mp4", moving(40), 240, EXACT)
    out = tmp_path / "out"
    source = [tmp_path / "clip.mp4"]
    synthesize(source, out=out, executor=threads)
    other = SynthesisConfig(frames="7")
    with pytest.raises(InputError, match=r"frames: 11 there, 7 asked for.*--overwrite"):
        synthesize(source, other, out=out, executor=threads)
    assert synthesize(source, other, out=out, executor=threads, overwrite=True).n_pairs == 5
    synthesize(source, other, out=tmp_path / "fresh", executor=threads)
    assert tree(out) == tree(tmp_path / "fresh")


def test_files_of_others_are_never_touched(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    write_video(tmp_path / "clip.mp4", moving(40), 240, EXACT)
    out = tmp_path / "photos"
    out.mkdir()
    (out / "holiday.jpg").write_bytes(b"precious")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="did not make"):
            synthesize([tmp_path / "clip.mp4"], out=out, executor=threads, overwrite=overwrite)
    assert tree(out) == {"holiday.jpg": hashlib.sha256(b"precious").hexdigest()}


def cut_scene(n_before: int, n_after: int) -> list[Rgb]:
    return moving(n_before, seed=1) + [255 - frame for frame in moving(n_after, seed=2)]


def test_windows_with_cuts_repeats_and_gaps_are_rejected(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    # A slow pan, so that the cut stands out; 33 frames, cut before frame 16.
    slow = np.kron(np.random.default_rng(0).integers(60, 120, (60, 80, 3)), np.ones((6, 6, 1)))
    other = np.kron(np.random.default_rng(1).integers(150, 250, (60, 80, 3)), np.ones((6, 6, 1)))
    pan = [slow[:64, i : i + 96].astype(np.uint8) for i in range(33)]
    cut = pan[:16] + [other[:64, i : i + 96].astype(np.uint8) for i in range(17)]
    repeat = [*pan[:25], pan[24], *pan[26:]]
    times = [Fraction(i + (1 if i >= 5 else 0), 240) for i in range(33)]
    write_video(tmp_path / "cut.mp4", cut, 240, EXACT)
    write_video(tmp_path / "repeat.mp4", repeat, 240, EXACT)
    write_video(tmp_path / "gap.mp4", pan, 240, EXACT, times_s=times)
    out = tmp_path / "out"
    summary = synthesize([tmp_path], out=out, executor=threads)
    assert (summary.n_pairs, summary.n_rejected) == (6, 3)
    reasons = {row["source"]: row["reason"] for row in rows(out / "rejected.csv")}
    assert reasons == {
        "cut.mp4": "scene cut before frame 16",
        "repeat.mp4": "frame 25 repeats the one before",
        "gap.mp4": "gap in time before frame 5",
    }
    kept = {(row["source"], row["name"]) for row in rows(out / "manifest.csv")}
    assert ("cut.mp4", "000002.png") not in kept
    assert ("cut.mp4", "000003.png") in kept
    unchecked = SynthesisConfig(check=False)
    assert synthesize([tmp_path], unchecked, out=tmp_path / "all", executor=threads).n_pairs == 8


def scene_at(
    rate_hz: float, path: Path, encoding: Encoding = EXACT, *, shake_px_s: float = 600.0
) -> Path:
    config = SceneConfig(
        seed=2, size_hw=(180, 320), photograph="coffee", shake_px_s=shake_px_s,
        object_speed_px_s=shake_px_s,
    )  # fmt: skip
    scene = Scene(config)
    write_video(path, render_frames(scene, rate_hz, 60), rate_hz, encoding)
    return path


def test_frames_that_a_converter_blended_are_noted(
    tmp_path: Path, threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    videos = tmp_path / "videos"
    # HEVC predicts most of its frames as mixes.
    hevc = Encoding(codec="libx265", crf=30, options={})
    scene_at(240, videos / "recorded.mp4", hevc)
    slow = scene_at(120, tmp_path / "slow.mp4")
    blended = ("-vf", "minterpolate=fps=240:mi_mode=blend", "-c:v", "libx264", "-crf", 20)
    ffmpeg("-i", slow, *blended, videos / "raised.mp4")
    synthesize([videos], SynthesisConfig(frames="7"), out=tmp_path / "out", executor=threads)
    described = json.loads((tmp_path / "out" / "dataset.json").read_text())
    noted = {s["name"] for s in described["sources"] if "mixes" in " ".join(s["notes"])}
    assert noted == {"raised.mp4"}
    assert "raised.mp4: in" in caplog.text
    assert "- raised.mp4: in" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(("rate_hz", "suffix"), [(240, "png"), (60, "png"), (240, "jpg")])
def test_no_pair_averages_image_files_that_a_converter_repeated(
    tmp_path: Path, threads: ThreadPoolExecutor, rate_hz: int, suffix: str
) -> None:
    slow = scene_at(30, tmp_path / "slow.mp4", shake_px_s=60.0)
    frames = tmp_path / "frames"
    frames.mkdir()
    ffmpeg("-i", slow, "-r", rate_hz, "-q:v", 2, frames / f"%06d.{suffix}")
    config = SynthesisConfig(frames="9", fps=240)
    summary = synthesize([frames], config, out=tmp_path / "out", executor=threads)
    assert summary.n_pairs == 0
    reasons = [row["reason"] for row in rows(tmp_path / "out" / "rejected.csv")]
    assert all("repeats the one before" in reason for reason in reasons)
    assert len(reasons) == len(list(frames.iterdir())) // 9


def test_image_files_of_what_stands_still_at_first_or_throughout_are_pairs(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    frames = moving(9)
    write_frames(tmp_path / "still", frames[:1] * 18)
    write_frames(tmp_path / "begins", [*frames[:1] * 9, *frames])
    config = SynthesisConfig(frames="9", fps=240)
    out = tmp_path / "out"
    synthesize([tmp_path / "still", tmp_path / "begins"], config, out=out, executor=threads)
    assert not rows(out / "rejected.csv")


def test_no_pair_averages_frames_that_a_converter_repeated(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """Of eight equal frames and the next, a window has one step: two moments, and no motion."""
    slow = scene_at(30, tmp_path / "slow.mp4", shake_px_s=60.0)
    ffmpeg("-i", slow, "-vf", "fps=240", "-c:v", "libx264", "-crf", 20, tmp_path / "raised.mp4")
    out = tmp_path / "out"
    config = SynthesisConfig(frames="7")
    summary = synthesize([tmp_path / "raised.mp4"], config, out=out, executor=threads)
    reasons = [row["reason"] for row in rows(out / "rejected.csv")]
    assert sum("repeats the one before" in reason for reason in reasons) > summary.n_pairs
    for row in rows(out / "manifest.csv"):
        folder = out / row["split"] / row["sequence"]
        sharp, blurred = (read_rgb(folder / kind / row["name"]) for kind in ("sharp", "blur"))
        assert np.abs(np.subtract(sharp, blurred, dtype=np.float32)).mean() < 1


def test_a_picture_at_rest_is_no_repeated_frame(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """At each keyframe, compression alone changes it, and between them nothing does."""
    (still,) = render_frames(Scene(SceneConfig(size_hw=(180, 320), photograph="coffee")), 240, 1)
    coarse = Encoding(crf=40, gop_size=15, options={"preset": "veryfast"})
    write_video(tmp_path / "still.mp4", [still] * 60, 240, coarse)
    config = SynthesisConfig(frames="7")
    summary = synthesize([tmp_path / "still.mp4"], config, out=tmp_path / "out", executor=threads)
    assert (summary.n_pairs, summary.n_rejected) == (8, 0)


def test_another_rate_than_the_file_says_is_noted(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    write_video(tmp_path / "exported.mp4", moving(22), Fraction(30000, 1001), EXACT)
    write_frames(tmp_path / "frames", moving(22))
    notes = {}
    for fps in (240, 30):
        config = SynthesisConfig(fps=fps, allow_low_rate=True)
        out = tmp_path / f"at_{fps}"
        sources = [tmp_path / "exported.mp4", tmp_path / "frames"]
        synthesize(sources, config, out=out, executor=threads)
        described = json.loads((out / "dataset.json").read_text())
        notes[fps] = [note for source in described["sources"] for note in source["notes"]]
    said = "taken as 240 frames a second, as --fps says; the file says 29.97"
    assert notes == {240: [said], 30: []}


def test_a_rate_that_changes_all_the_time_is_named(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    times = [Fraction(80 * n + n * n, 240 * 80) for n in range(60)]
    write_video(tmp_path / "ramp.mp4", moving(60), 240, EXACT, times_s=times)
    expected = r"All 2 windows are left out, the first one for: .* the rate is another one here"
    with pytest.raises(InputError, match=expected):
        synthesize([tmp_path], SynthesisConfig(frames="29"), out=tmp_path / "out", executor=threads)


def test_a_long_gap_starts_a_new_clip_numbered_by_gopros_rule(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    times = [Fraction(i + (480 if i >= 30 else 0), 240) for i in range(60)]
    write_video(tmp_path / "clip.mp4", moving(60), 240, EXACT, times_s=times)
    out = tmp_path / "out"
    synthesize([tmp_path / "clip.mp4"], out=out, executor=threads)
    manifest = rows(out / "manifest.csv")
    first = [row for row in manifest if row["sequence"] == "clip_11_00"]
    second = [row for row in manifest if row["sequence"] == "clip_11_01"]
    assert (len(first), len(second)) == (2, 2)
    for row in second:
        # Counted from 1, the middle frame is (b - 1) * 11 + 6 - 1.
        assert int(row["middle_frame"]) + 1 == (int(row["name"][:6]) - 1) * 11 + 6 - 1
        assert int(row["frame_start"]) >= 30


def test_splits_share_no_recording(tmp_path: Path) -> None:
    names = [f"GH0{chapter}{number:04d}.mp4" for number in range(6) for chapter in (1, 2)]
    config = SynthesisConfig(test_fraction=0.34)
    write_video(tmp_path / "clip.mp4", moving(12), 240, EXACT)
    probe = probe_source(Source(path=tmp_path / "clip.mp4", name="clip.mp4"), config)
    probes = [
        type(probe)(
            source=Source(path=probe.source.path, name=name),
            sha256=hashlib.sha256(name.encode()).hexdigest(),
            info=probe.info,
            png_bytes=1,
        )
        for name in names
    ]
    plan = make_plan(probes, config)
    split_of = {sequence.name[4:8]: sequence.split for sequence in plan.sequences}
    assert all(split_of[s.name[4:8]] == s.split for s in plan.sequences)
    assert sum(split == "test" for split in split_of.values()) == 2
    again = make_plan(probes, SynthesisConfig(test_fraction=0.34, seed=1))
    assert [s.split for s in again.sequences] != [s.split for s in plan.sequences]
    named = make_plan(probes, SynthesisConfig(test_recordings=("GOPR000[13]", "*0005")))
    in_test = {s.name[4:8] for s in named.sequences if s.split == "test"}
    assert in_test == {"0001", "0003", "0005"}
    with pytest.raises(InputError, match=r"nothing\*.*GOPR0001"):
        make_plan(probes, SynthesisConfig(test_recordings=("GOPR0001", "nothing*")))


def test_sources_are_found_named_and_told_apart(tmp_path: Path) -> None:
    for name in ("x/clip.mp4", "y/clip.mp4", "y/clip.mov", "other.MKV", "notes.txt", ".hidden.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    write_frames(tmp_path / "frames", moving(1))
    for made in ("out", "earlier", "strange"):
        (tmp_path / made).mkdir()
        (tmp_path / made / "made.mp4").write_bytes(b"")
    (tmp_path / "earlier" / "dataset.json").write_text(sealed({"format": FORMAT}, tmp_path))
    (tmp_path / "strange" / "dataset.json").write_text("{}")  # another program's
    found = discover([tmp_path], exclude=tmp_path / "out")
    assert [source.name for source in found] == [
        "frames",
        "other.MKV",
        "strange/made.mp4",
        "x/clip.mp4",
        "y/clip.mov",
        "y/clip.mp4",
    ]
    with pytest.raises(InputError, match="no such file"):
        discover([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither videos"):
        discover([tmp_path / "empty"])


def test_equal_file_names_get_sequences_of_their_own(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    write_video(tmp_path / "in" / "a" / "clip.mp4", moving(12), 240, EXACT)
    write_video(tmp_path / "in" / "b" / "clip.mp4", moving(12), 240, EXACT)
    write_video(tmp_path / "in" / "b" / "clip.mkv", moving(12), 240, EXACT)
    synthesize([tmp_path / "in"], out=tmp_path / "out", executor=threads)
    assert {path.name for path in (tmp_path / "out" / "train").iterdir()} == {
        "a-clip_11_00",
        "b-clip.mkv_11_00",
        "b-clip.mp4_11_00",
    }


def test_size_stride_kinds_and_max_pairs(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    frames = moving(60)
    write_video(tmp_path / "clip.mp4", frames, 240, EXACT)
    config = SynthesisConfig(
        frames="5", stride=3, kinds=("sharp", "blur"), size="16x24", max_pairs=4
    )
    out = tmp_path / "out"
    assert synthesize([tmp_path / "clip.mp4"], config, out=out, executor=threads).n_pairs == 4
    folder = out / "train" / "clip_05_00"
    assert {path.name for path in folder.iterdir()} == {"sharp", "blur"}
    manifest = rows(out / "manifest.csv")
    assert [int(row["frame_start"]) for row in manifest] == [0, 3, 6, 9]
    assert manifest[0]["hash_blur_gamma"] == ""
    assert read_rgb(folder / "sharp" / "000001.png").shape == (16, 24, 3)


def test_a_folder_of_frames_is_a_source(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    frames = moving(25)
    write_frames(tmp_path / "walk", frames)
    write_video(tmp_path / "walk.mp4", frames, 240, EXACT)
    config = SynthesisConfig(fps=240)
    synthesize([tmp_path / "walk"], config, out=tmp_path / "a", executor=threads)
    synthesize([tmp_path / "walk.mp4"], config, out=tmp_path / "b", executor=threads)
    images = tree(tmp_path / "a" / "train")
    assert images == tree(tmp_path / "b" / "train")
    assert len(images) == 6


def test_low_rates_are_refused_or_warned_about(
    tmp_path: Path, threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    write_video(tmp_path / "in" / "slow.mp4", moving(30), 30, EXACT)
    write_video(tmp_path / "in" / "middling.mp4", moving(30), 100, EXACT)
    source = [tmp_path / "in"]
    summary = synthesize(source, out=tmp_path / "out", executor=threads)
    assert "--allow-low-rate" in summary.failed["slow.mp4"]
    assert "middling.mp4: 100 frames a second" in caplog.text
    allowed = SynthesisConfig(allow_low_rate=True)
    assert not synthesize(source, allowed, out=tmp_path / "all", executor=threads).failed
    told = SynthesisConfig(fps=240)
    assert not synthesize(source, told, out=tmp_path / "told", executor=threads).failed


def test_a_size_of_another_shape_is_said(
    tmp_path: Path, threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "wide.mp4"
    write_video(source, moving(12, (48, 64)), 240, EXACT)
    for size, stretches in {"24x32": False, "36x48": False, "47x63": False, "32x24": True}.items():
        caplog.clear()
        synthesize(source, SynthesisConfig(size=size), out=tmp_path / size, executor=threads)
        assert ("wide.mp4: its frames are 48x64 (HxW)" in caplog.text) is stretches


def test_a_readout_longer_than_the_clip_is_named(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    source = tmp_path / "short.mp4"
    write_video(source, moving(24), 240, EXACT)
    chosen = SynthesisConfig(readout_ms=900)
    with pytest.raises(InputError, match="216 beside it that --readout-ms needs"):
        synthesize(source, chosen, out=tmp_path / "out", executor=threads)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"frames": "10"}, "odd"),
        ({"frames": "7-12"}, "odd"),
        ({"frames": "many"}, "odd"),
        ({"stride": 0}, "--stride"),
        ({"size": "16"}, "HEIGHTxWIDTH"),
        ({"size": "16x16", "scale": 0.5}, "exclude"),
        ({"scale": 2.0}, "only shrink"),
        ({"test_fraction": 1.0}, "fraction"),
        ({"test_fraction": 0.5, "test_recordings": ("a",)}, "exclude"),
        ({"fps": -1.0}, "--fps"),
        ({"fps": math.inf}, "--fps"),
        ({"fps": math.nan}, "--fps"),
        ({"fps": 1e-9}, "--fps"),
        ({"least_motion_px": 5.0, "most_motion_px": 2.0}, "overlap"),
        ({"motion_px": "4-16", "least_motion_px": 20.0}, "overlap"),
        ({"motion_px": "4-16", "most_motion_px": 0.0}, "overlap"),
        ({"max_pairs": 0}, "--max-pairs"),
        ({"kinds": ()}, "--kinds"),
    ],
)
def test_unusable_settings(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        SynthesisConfig(**options)  # type: ignore[arg-type]


def test_nothing_to_make_says_why(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    write_video(tmp_path / "short.mp4", moving(5), 240, EXACT)
    (tmp_path / "bad.mp4").write_bytes(b"bad")
    with pytest.raises(InputError, match=r"(?s)No pair.*bad\.mp4.*short\.mp4: 5 frames"):
        synthesize([tmp_path], out=tmp_path / "out", executor=threads)
    assert not (tmp_path / "out").exists()


# --- the command, as a person meets it ---------------------------------------------------------


def test_the_command_makes_a_dataset_and_names_bad_files(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "good.mp4", moving(40), 240, EXACT)
    (tmp_path / "in" / "bad.mp4").write_bytes(b"not a video")
    result = run_cli(tmp_path / "in", "-o", tmp_path / "out")
    assert result.returncode == 1
    assert "3 pairs" in result.stderr
    assert "bad.mp4" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert "bad.mp4" in (tmp_path / "out" / "README.md").read_text()
    assert len(rows(tmp_path / "out" / "manifest.csv")) == 3


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", moving(40), 240, EXACT)
    result = run_cli(tmp_path / "clip.mp4", "-o", tmp_path / "out", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "3 pairs" in result.stderr
    assert "clip_11_00" in result.stderr
    assert not (tmp_path / "out").exists()


def test_wrong_usage_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_cli("/nowhere/at/all.mp4")
    assert result.returncode == 2
    assert "/nowhere/at/all.mp4: no such file" in result.stderr
    with pytest.raises(InputError, match="I/N"):
        command(Path("clip.mp4"), shard="3")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough to be interrupted, and cut into several segments."""
    path = tmp_path_factory.mktemp("long") / "clip.mp4"
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 256, (60, 90, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    frames = (np.roll(texture, (i, 2 * i), axis=(0, 1))[:400, :600] for i in range(900))
    write_video(path, frames, 240, Encoding(crf=25, gop_size=30))
    return path


def start_cli(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gopro_tools.synthesize", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path, long_clip: Path) -> None:
    out = tmp_path / "out"
    process = start_cli(long_clip, "-o", out, "--jobs", 1)
    wait_until(lambda: list(out.glob(f"{STATE_FOLDER}/train-*.json")), process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to every process
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert "resumes from here" in text
    assert "Traceback" not in text
    assert not (out / "dataset.json").exists()
    synthesize([long_clip], out=out, jobs=1)
    synthesize([long_clip], out=tmp_path / "whole", jobs=1)
    assert tree(out) == tree(tmp_path / "whole")


def test_killed_at_any_moment_and_resumed_the_tree_is_the_same(
    tmp_path: Path, long_clip: Path
) -> None:
    synthesize([long_clip], out=tmp_path / "whole", jobs=2)
    truth = tree(tmp_path / "whole")
    draw = random.Random(0)
    n_kills = int(os.environ.get("GOPRO_TOOLS_KILLS", "4"))
    n_images = sum(name.endswith(".png") for name in truth)
    out = tmp_path / "out"
    for _ in range(n_kills):
        shutil.rmtree(out, ignore_errors=True)
        process = start_cli(long_clip, "-o", out, "--jobs", 2)
        n_before = draw.randrange(n_images - 10)
        wait_until(lambda n=n_before: len(list(out.glob("*/*/*/*.png"))) >= n, process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert run_cli(long_clip, "-o", out, "--jobs", 2).returncode == 0
        assert tree(out) == truth


def test_two_runs_on_one_folder_at_once(tmp_path: Path, long_clip: Path) -> None:
    out = tmp_path / "out"
    process = start_cli(long_clip, "-o", out, "--jobs", 1)
    wait_until(lambda: list(out.glob(f"{STATE_FOLDER}/identity.json")), process)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        second = run_cli(long_clip, "-o", out, "--jobs", 1)
        other_division = run_cli(long_clip, "-o", out, "--jobs", 1, "--shard", "1/2")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    _, text = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert (second.returncode, other_division.returncode) == (2, 2)
    assert "another run is at work" in second.stderr


def test_damaged_videos_are_named_and_good_ones_beside_them_done(tmp_path: Path) -> None:
    """Truncated, emptied and mutated files, as many as GOPRO_TOOLS_MUTANTS says."""
    n_mutants = int(os.environ.get("GOPRO_TOOLS_MUTANTS", "24"))
    folder = tmp_path / "in"
    for name, encoding in (
        ("good.mp4", H264),
        ("good_too.mkv", H264),
        ("hevc.mp4", Encoding(codec="libx265", options={"preset": "ultrafast"})),
        ("open_gop.mp4", OPEN_GOP),
        ("refresh.ts", INTRA_REFRESH),
    ):
        write_video(folder / name, moving(45, (64, 96)), 240, encoding)
    originals = sorted(folder.iterdir())
    draw = random.Random(1)
    for number in range(n_mutants):
        original = originals[number % len(originals)]
        data = bytearray(original.read_bytes())
        if number % 4 == 0:
            data = data[: draw.randrange(len(data))]
        else:
            for _ in range(draw.choice((1, 10, 200))):
                data[draw.randrange(len(data))] = draw.randrange(256)
        (folder / f"mutant{number:03d}{original.suffix}").write_bytes(data)
    out = tmp_path / "out"
    summary = synthesize([folder], out=out, jobs=2)
    manifest = rows(out / "manifest.csv")
    for good in (path.name for path in originals):
        assert sum(row["source"] == good for row in manifest) == 4
    described = {s["name"]: s for s in json.loads((out / "dataset.json").read_text())["sources"]}
    assert len(described) == n_mutants + len(originals)
    hurt = set(summary.failed) | set(summary.damaged)
    assert len(hurt) > n_mutants // 3
    assert all(name.startswith("mutant") for name in hurt)
    for name, source in described.items():
        if name in summary.failed:
            assert name in source["error"]
        else:
            assert source["n_pairs"] + source["n_rejected"] >= 1, name


def test_a_source_that_vanishes_costs_only_its_own_pairs(
    tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a reader raises half way, the other sources are done and the loss is named."""
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / "in" / name, moving(40), 240, EXACT)
    read = VideoFile.read

    def failing(self: VideoFile, start: int, stop: int, on_problem: Problem) -> Iterator[Frame]:
        for index, frame in read(self, start, stop, on_problem):
            if self.info.path.name == "a.mp4" and start == 0 and stop > 30 and index == 15:
                raise OSError(5, "Input/output error")
            yield index, frame

    monkeypatch.setattr(VideoFile, "read", failing)
    summary = synthesize([tmp_path / "in"], out=tmp_path / "out", executor=threads)
    assert (summary.n_pairs, summary.n_rejected) == (4, 2)
    assert "Input/output error" in summary.damaged["a.mp4"][0]


@pytest.mark.skipif(
    not Path("/proc/mounts").exists() or os.geteuid() != 0, reason="needs root to mount a tmpfs"
)
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, long_clip: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(small)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        ballast = small / "ballast"
        ballast.write_bytes(bytes(100 << 20))
        out = small / "out"
        process = start_cli(long_clip, "-o", out, "--jobs", 1)
        # It has looked at the room there is.
        wait_until(lambda: list(out.glob("*/*/*/*.png")), process)
        with suppress(OSError), (small / "more").open("wb", buffering=0) as more:
            while True:  # another program fills the disk
                more.write(bytes(1 << 20))
        _, text = process.communicate(timeout=120)
        assert process.returncode == 2, text
        assert "No space left" in text
        assert "resumes from here" in text
        (small / "more").unlink()
        synthesize([long_clip], out=out, jobs=1)
        synthesize([long_clip], out=tmp_path / "whole", jobs=1)
        assert tree(out) == tree(tmp_path / "whole")
        ballast.write_bytes(bytes(shutil.disk_usage(small).free + (95 << 20)))
        with pytest.raises(InputError, match=r"GB needed.*GB free"):
            synthesize([long_clip], out=small / "second", jobs=1)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


def test_importing_the_command_needs_no_torch() -> None:
    code = "import sys, gopro_tools.synthesize; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.shared
def test_real_clips(shared_data: Path, tmp_path: Path) -> None:
    config = SynthesisConfig(allow_low_rate=True, hdr=True, frames="7", max_pairs=6)
    summary = synthesize([shared_data / "videos"], config, out=tmp_path / "out", jobs=2)
    assert summary.failed == {}
    made = {row["source"] for row in rows(tmp_path / "out" / "manifest.csv")}
    assert made == {
        "gopro_max_walk.mp4",
        "iphone_hevc10_edit_list.mp4",
        "samsung_sef_240capture.mp4",
        "street_60fps.mp4",
    }
    reasons = {row["source"]: row["reason"] for row in rows(tmp_path / "out" / "rejected.csv")}
    assert "gap in time" in reasons["android_240capture.mp4"]


@pytest.mark.shared
def test_repeated_frames_of_a_real_clip_are_found(
    shared_data: Path, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """A third of this clip's frames repeat the one before, from about half of it on."""
    clip = shared_data / "videos" / "street_60fps.mp4"
    summary = synthesize([clip], out=tmp_path / "out", executor=threads)
    assert summary.n_pairs + summary.n_rejected == 932 // 11
    reasons = [row["reason"] for row in rows(tmp_path / "out" / "rejected.csv")]
    assert 40 < sum("repeats the one before" in reason for reason in reasons) < 70
    # The clip jumps once, with a change six times that of the frames before.
    assert [reason for reason in reasons if "cut" in reason] == ["scene cut before frame 283"]


def test_lossless_encoding_is_what_the_tests_stand_on(tmp_path: Path) -> None:
    """`EXACT` must decode to the very values, or the tests above would test the codec."""
    frames = moving(12)
    write_video(tmp_path / "clip.mp4", frames, 240, LOSSLESS)
    from gopro_tools.video import open_source

    decoded = [frame for _, frame in open_source(tmp_path / "clip.mp4").read(0, 12, print)]
    np.testing.assert_array_equal(np.stack(decoded), np.stack(frames))
    assert len(encode_png(frames[0])) > 100
