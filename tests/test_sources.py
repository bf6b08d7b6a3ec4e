"""Folders, names, cards and copies: what is found, what it is called, and what belongs together."""

import csv
import errno
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import moving, written
from PIL import Image

from gopro_tools.errors import InputError, PassingError
from gopro_tools.images import Rgb, encode_png
from gopro_tools.scenes import (
    LOSSLESS,
    Scene,
    SceneConfig,
    render_frames,
    write_frames,
    write_video,
)
from gopro_tools.synthesize import SynthesisConfig, synthesize
from gopro_tools.synthesize.recordings import Member, recordings_of
from gopro_tools.synthesize.sources import discover, printable, unique_stems
from gopro_tools.video import FrameProblem, Problem, VideoFile, open_source


@pytest.fixture(scope="module")
def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2)


def frames_of(folder: Path) -> list[Rgb]:
    source = open_source(folder, fps=240)
    problems: list[FrameProblem] = []
    frames = [frame for _, frame in source.read(0, source.info.n_frames, problems.append)]
    assert problems == []
    return frames


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# --- folders of frames -------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_frames_of_a_camera_held_upright_are_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i, frame in enumerate(moving(3)):
        Image.fromarray(frame).save(tmp_path / f"{i:04d}.jpg", exif=exif, quality=95)
    plain = cv2.cvtColor(
        cv2.imread(str(tmp_path / "0001.jpg"), cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_COLOR),
        cv2.COLOR_BGR2RGB,
    )
    upright = {
        1: plain,
        2: plain[:, ::-1],
        3: plain[::-1, ::-1],
        4: plain[::-1],
        5: plain.swapaxes(0, 1),
        6: np.rot90(plain, -1),
        7: plain[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(plain),
    }
    np.testing.assert_array_equal(frames_of(tmp_path)[1], upright[orientation])


def test_two_sequences_in_one_folder_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("shotA_0000.png", "shotA_0001.png", "shotB_0002.png"):
        (tmp_path / name).write_bytes(encode_png(moving(1)[0]))
    with pytest.raises(InputError, match=r"2 sequences.*shotA_0000.*shotB_0002"):
        open_source(tmp_path, fps=240)
    (tmp_path / "shotB_0002.png").rename(tmp_path / "SHOTA_002.png")
    assert open_source(tmp_path, fps=240).info.n_frames == 3
    (tmp_path / "shota_2.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="the same number"):
        open_source(tmp_path, fps=240)


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["cine_-000002", "cine_-000001", "cine_000000", "cine_+000001"], [-2, -1, 0, 1]),
        (["-3", "-2", "-1"], [-3, -2, -1]),
        (["take-1-0001", "take-1-0002"], [1, 2]),
        (["f9", "f10", "f11"], [9, 10, 11]),
        (["2024-05-01 -07", "2024-05-01 -06"], [-7, -6]),
    ],
)
def test_numbers_are_signed_where_a_separator_stands_before_the_sign(
    tmp_path: Path, names: list[str], numbers: list[int]
) -> None:
    for frame, name in zip(moving(len(names)), names, strict=True):
        (tmp_path / f"{name}.png").write_bytes(encode_png(frame))
    assert open_source(tmp_path, fps=240).info.ticks.tolist() == numbers
    for frame, expected in zip(frames_of(tmp_path), moving(len(names)), strict=True):
        np.testing.assert_array_equal(frame, expected)


def test_hidden_companions_of_frames_are_passed_over(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames", moving(5))
    for path in list((tmp_path / "frames").iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7Mac OS X")
    assert len(frames_of(tmp_path / "frames")) == 5
    assert [s.name for s in discover([tmp_path])] == ["frames"]


@pytest.mark.parametrize(
    ("kind", "note"), [("grey8", "grey"), ("grey16", "grey frames of 16 bit"), ("rgb16", "16 bit")]
)
def test_grey_and_16_bit_frames_are_converted_and_said(
    tmp_path: Path, kind: str, note: str
) -> None:
    values = np.linspace(0, 65535, 48 * 64).round().astype(np.uint16).reshape(48, 64)
    stored = {
        "grey8": (values >> 8).astype(np.uint8),
        "grey16": values,
        "rgb16": np.stack([values, values[::-1], values[:, ::-1]], axis=2),
    }[kind]
    for i in range(3):
        bgr = stored[..., ::-1] if stored.ndim == 3 else stored
        assert cv2.imwrite(str(tmp_path / f"{i:04d}.tif"), bgr)
    expected = stored if kind == "grey8" else np.rint(stored / 257)
    frame = frames_of(tmp_path)[1]
    np.testing.assert_array_equal(
        frame, expected if expected.ndim == 3 else np.stack([expected] * 3, axis=2)
    )
    assert note in open_source(tmp_path, fps=240).info.notes[0]


def test_frames_with_alpha_are_refused_with_the_command_that_converts(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((8, 8, 4), np.uint8))
    with pytest.raises(InputError, match=r"4 channel.*magick mogrify"):
        open_source(tmp_path, fps=240)


def test_a_frame_of_another_depth_is_left_out_and_grey_among_colour_is_not(tmp_path: Path) -> None:
    write_frames(tmp_path, moving(4))
    cv2.imwrite(str(tmp_path / "000002.png"), np.full((48, 64), 9, np.uint8))
    cv2.imwrite(str(tmp_path / "000003.png"), np.full((48, 64, 3), 9, np.uint16))
    problems: list[FrameProblem] = []
    found = [i for i, _ in open_source(tmp_path, fps=240).read(0, 4, problems.append)]
    assert found == [0, 1, 3]
    assert "16 bit" in problems[0].reason


@pytest.mark.parametrize(("grey", "left"), [(0, [0, 2, 3, 4]), (2, [0, 1, 4]), (4, [0, 1, 2, 3])])
def test_a_frame_that_lost_its_colours_is_left_out(
    tmp_path: Path, grey: int, left: list[int]
) -> None:
    """And the one after it: no two neighbours of which one has colours are averaged."""
    scene = Scene(SceneConfig(seed=0, size_hw=(48, 64), n_objects=1))
    write_frames(tmp_path, render_frames(scene, 240, 5))
    path = sorted(tmp_path.iterdir())[grey]
    frame = cv2.imread(str(path))
    for kind, found in ((cv2.COLOR_BGR2GRAY, left), (None, [0, 1, 2, 3, 4])):
        cv2.imwrite(str(path), frame if kind is None else cv2.cvtColor(frame, kind))
        problems: list[FrameProblem] = []
        source = open_source(tmp_path, fps=240)
        assert [index for index, _ in source.read(0, 5, problems.append)] == found
        assert all("colours" in problem.reason for problem in problems)


def test_links_are_followed_once(tmp_path: Path) -> None:
    write_frames(tmp_path / "elsewhere" / "frames", moving(3))
    written(tmp_path / "elsewhere" / "clip.mp4", 12)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    names = [source.name for source in discover([tmp_path / "in"])]
    assert names == ["gone.mp4", "link/clip.mp4", "link/frames"]


# --- names -------------------------------------------------------------------------------------

AWKWARD = {
    "long": "x" * 245,
    "long letters": "é" * 120,
    "newline": "two\nlines",
    "control": "bell\x07\x1b[31mred",
    "no text": os.fsdecode(b"caf\xe9"),
    "markup": "a [bold]clip @1,2;=3",
}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("kind", ["video", "frames"])
def test_awkward_names_make_a_dataset_all_the_same(
    tmp_path: Path, threads: ThreadPoolExecutor, name: str, kind: str
) -> None:
    folder = tmp_path / "in"
    if kind == "video":
        written(tmp_path / "clip.mp4", 24)
        folder.mkdir()
        (tmp_path / "clip.mp4").rename(folder / f"{AWKWARD[name]}.mp4")
    else:
        write_frames(folder / AWKWARD[name], moving(24))
    out = tmp_path / "out"
    summary = synthesize([folder], SynthesisConfig(fps=240), out=out, executor=threads)
    assert (summary.n_pairs, summary.failed, summary.damaged) == (2, {}, {})
    row = rows(out / "manifest.csv")[0]
    assert row["source"].isprintable()
    assert len(row["sequence"].encode()) <= 220
    json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert row["sequence"] in (out / "README.md").read_text(encoding="utf-8")


def test_a_bad_file_of_an_awkward_name_is_named_in_print(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    written(tmp_path / "good.mp4", 24)
    (tmp_path / os.fsdecode(b"caf\xe9\n.mp4")).write_bytes(b"bad")
    summary = synthesize([tmp_path], out=tmp_path / "out", executor=threads)
    assert list(summary.failed) == [r"caf\xe9\n.mp4"]
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8").replace("\\\\", "\\")
    assert r"caf\xe9\n.mp4" in card


def test_long_stems_stay_apart_and_within_the_file_system() -> None:
    names = ["é" * 150 + end + ".mp4" for end in ("a", "b")]
    stems = unique_stems(names)
    assert len(set(stems)) == 2
    assert max(len(stem.encode()) for stem in stems) <= 200
    assert unique_stems(["short.mp4"]) == ["short"]
    assert printable("plain é.mp4") == "plain é.mp4"


def test_equal_names_of_two_inputs_are_told_apart(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    for i, folder in enumerate("ab"):
        write_video(tmp_path / folder / "clip.mp4", moving(24, seed=i), 240, LOSSLESS)
    out = tmp_path / "out"
    summary = synthesize([tmp_path / "a", tmp_path / "b"], out=out, executor=threads)
    assert summary.n_pairs == 4
    assert {row["source"] for row in rows(out / "manifest.csv")} == {"a/clip.mp4", "b/clip.mp4"}
    assert len(json.loads((out / "dataset.json").read_text())["identity"]["sources"]) == 2


# --- recordings and splits -----------------------------------------------------------------------


def members(*names: str, **durations: float) -> list[Member]:
    stems = unique_stems(names)
    return [
        Member(
            name=name,
            stem=stem,
            sha256=hashlib.sha256(name.encode()).hexdigest(),
            n_frames=100,
            duration_s=durations.get(stem.replace("-", "_"), float(i + 1)),
        )
        for i, (name, stem) in enumerate(zip(names, stems, strict=True))
    ]


@pytest.mark.parametrize(
    "together",
    [
        ["GOPR0001.MP4", "GP010001.MP4"],
        ["card1/GOPR0001.MP4", "card2/GP010001.MP4", "card2/GOPR0001.MP4"],
        ["GX010007.MP4", "GX020007.MP4", "GL010007.LRV"],
        ["IMG_0005.MOV", "IMG_0005 (1).MOV", "IMG_0005 (2).MOV"],
        ["IMG_0005 (1).MOV", "IMG_0005 (2).MOV"],
        ["IMG_0005.MOV", "IMG_0005 2.MOV"],
        ["clip.mp4", "clip copy.mp4", "clip copy 2.mp4", "Copy of clip.mp4"],
        ["clip.mp4", "clip - Copy (2).mp4"],
        ["IMG_1234.MOV", "IMG_1234~2.MOV"],
        ["GOPR0009.MP4", "GP010009 (1).MP4"],
        ["clip.mp4", "clip.mov"],
        ["GX010123.MP4", "GX010123_1.MP4", "GH020123-trim.MP4", "GX010123 Kopie.MP4"],
        ["IMG_0005.MOV", "IMG_E0005.MOV"],
        ["VID_20230101_120000_00_001.insv", "VID_20230101_120000_10_002.insv"],
        ["walk.part1.mkv", "walk.part2.mkv", "walk_part3.mkv"],
        ["DJI_0003.MP4", "DJI_0003_001.MP4", "DJI_0003_002.MP4"],
        ["DJI_20240101120000_0012_D.MP4", "DJI_20240101120000_0012_D_001.MP4"],
        ["caf\u00e9.mp4", "cafe\u0301.mp4"],
    ],
)
def test_what_belongs_together_is_one_recording(together: list[str]) -> None:
    found = recordings_of(members(*together, "other_0001.mp4"))
    assert len(set(found[:-1])) == 1, found
    assert found[-1] != found[0]


@pytest.mark.parametrize(
    "apart",
    [
        ["GOPR0001.MP4", "GOPR0002.MP4", "GP010003.MP4"],
        ["walk (1).mp4", "walk (2).mp4", "walk (3).mp4"],
        ["a/video.mp4", "b/video.mp4"],
        ["clip 1.mp4", "clip 2.mp4"],
        ["IMG_0001.MOV", "IMG_00010.MOV"],
        ["GX010123.MP4", "GX0101234.MP4", "walk_1.mp4", "walk.mp4"],
        ["departures 1.mp4", "departures 2.mp4"],
        ["DJI_0003.MP4", "DJI_0004.MP4", "DJI_20240101120000_0003_D.MP4"],
    ],
)
def test_what_does_not_belong_together_is_not(apart: list[str]) -> None:
    assert len(set(recordings_of(members(*apart)))) == len(apart)


def test_equal_names_of_equal_length_and_equal_files_are_one_recording() -> None:
    same_length = members("full/video.mp4", "half/video.mp4", full_video=9.0, half_video=9.02)
    assert len(set(recordings_of(same_length))) == 1
    again = members("walk.mp4", "walk_h265.mp4", walk=9.0, walk_h265=9.02)
    assert len(set(recordings_of(again))) == 1
    first, second = members("a.mp4", "holiday.mp4")
    second = Member(
        name=second.name, stem=second.stem, sha256=first.sha256, n_frames=1, duration_s=77
    )
    assert recordings_of([first, second]) == ["a", "a"]


def test_a_cameras_thumbnails_are_no_frames(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = written(tmp_path / "CLIP" / "C0001.MP4", 8)
    (tmp_path / "THMBNL").mkdir()
    for number, frame in enumerate(moving(3)):
        Image.fromarray(frame).save(tmp_path / "THMBNL" / f"C000{number}T01.JPG")
    with caplog.at_level(logging.INFO):
        assert [source.path for source in discover([tmp_path])] == [clip]
    assert "3 thumbnails are passed over" in caplog.text
    assert discover([tmp_path / "THMBNL"])[0].path == tmp_path / "THMBNL"  # named on its own


def test_proxies_are_left_out_and_said(
    tmp_path: Path, threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    originals = ("GOPR0001.MP4", "GX010002.MP4", "CLIP/C0001.MP4", "DCIM/d.mov", "e.mp4")
    copies = (
        "GOPR0001.LRV",
        "GL010002.LRV",
        "e.LRF",
        "SUB/C0001S03.MP4",
        "DCIM/Proxy/d.mov",
        "e_proxy.mp4",
    )
    alone = ("alone.LRV", "S03.mp4", "other/Proxy/f.mp4")
    for name in (*originals, *copies, *alone, "GOPR0001.THM"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = discover([tmp_path])
    assert {source.name for source in found} == {*originals, *alone}
    assert {left for source in found for left in source.left_out} == set(copies)
    assert "6 low-resolution copies" in caplog.text
    assert "1 .THM thumbnails" in caplog.text
    named = discover([tmp_path / "GOPR0001.MP4", tmp_path / "GOPR0001.LRV"])
    assert len(named) == 2


def test_no_split_shares_a_recording_and_the_card_says_what_was_checked(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    for i in range(4):
        path = tmp_path / "in" / f"IMG_{i}.mp4"
        write_video(path, moving(12, seed=i), 240, LOSSLESS)
        path.with_name(f"IMG_{i} (1).mp4").write_bytes(path.read_bytes())
    config = SynthesisConfig(test_fraction=0.5)
    synthesize([tmp_path / "in"], config, out=tmp_path / "out", executor=threads)
    split_of: dict[str, set[str]] = {}
    for row in rows(tmp_path / "out" / "manifest.csv"):
        split_of.setdefault(row["source"][:5], set()).add(row["split"])
    assert len(split_of) == 4
    assert all(len(splits) == 1 for splits in split_of.values())
    assert {s for splits in split_of.values() for s in splits} == {"train", "test"}
    assert "Splits share no recording" in (tmp_path / "out" / "README.md").read_text()


# --- during the run ------------------------------------------------------------------------------


def test_a_source_replaced_while_it_is_read_stops_the_run(
    tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "clip.mp4", tmp_path / "other"
    write_video(path, moving(40), 240, LOSSLESS)
    write_video(tmp_path / "other.mp4", moving(40, seed=1), 240, LOSSLESS)
    (tmp_path / "other.mp4").rename(other)
    read = VideoFile.read

    def replacing(
        self: VideoFile, start: int, stop: int, on_problem: Problem
    ) -> Iterator[tuple[int, Rgb]]:
        for index, frame in read(self, start, stop, on_problem):
            if index == 20 and other.exists():
                other.replace(path)
            yield index, frame

    monkeypatch.setattr(VideoFile, "read", replacing)
    with pytest.raises(InputError, match="changed while it was read"):
        synthesize([path], out=tmp_path / "out", executor=threads)
    assert not (tmp_path / "out" / "manifest.csv").exists()
    monkeypatch.setattr(VideoFile, "read", read)
    synthesize([path], out=tmp_path / "again", executor=threads)


def test_a_flash_is_named_as_one(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    slow = np.kron(np.random.default_rng(0).integers(20, 90, (60, 80, 3)), np.ones((6, 6, 1)))
    pan = [slow[:64, i : i + 96].astype(np.uint8) for i in range(44)]
    pan[16] = np.minimum(pan[16].astype(int) * 2 + 60, 255).astype(np.uint8)
    for i in (25, 26):
        pan[i] = 255 - pan[i]
    for i in range(40, 44):
        pan[i] = (pan[i].astype(int) * 2 + 40).clip(0, 255).astype(np.uint8)
    write_video(tmp_path / "clip.mp4", pan, 240, LOSSLESS)
    synthesize([tmp_path / "clip.mp4"], out=tmp_path / "out", executor=threads)
    assert [row["reason"] for row in rows(tmp_path / "out" / "rejected.csv")] == [
        "flash in frame 16",
        "flash in frames 25-26",
        "sudden change of light before frame 40",
    ]


def test_windows_of_another_rate_are_named(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    from fractions import Fraction

    times = [Fraction(i, 240) if i < 40 else Fraction(40, 240) + (i - 40) * Fraction(1, 170)
             for i in range(120)]  # fmt: skip
    write_video(tmp_path / "clip.mp4", moving(120), 240, LOSSLESS, times_s=times)
    synthesize([tmp_path / "clip.mp4"], out=tmp_path / "out", executor=threads)
    reasons = {row["reason"] for row in rows(tmp_path / "out" / "rejected.csv")}
    kept = rows(tmp_path / "out" / "manifest.csv")
    spans = {round(float(row["time_stop_s"]) - float(row["time_start_s"]), 3) for row in kept}
    assert all("the rate is another one here" in reason for reason in reasons)
    assert reasons
    assert max(spans) - min(spans) <= 0.02


def test_a_source_that_may_not_be_read_stops_the_run_and_is_not_recorded(
    tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / "in" / name, moving(30), 240, LOSSLESS)
    path_open = Path.open

    def guarded(self: Path, *arguments: object, **options: object) -> object:
        if self.name == "b.mp4":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return path_open(self, *arguments, **options)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", guarded)
        with pytest.raises(PassingError, match=r"b\.mp4.*Permission denied.*leave it out"):
            synthesize([tmp_path / "in"], out=tmp_path / "out", executor=threads)
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert synthesize([tmp_path / "in"], out=tmp_path / "out", executor=threads).n_pairs == 4


def test_a_folder_that_may_not_be_looked_into_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_video(tmp_path / "in" / "a.mp4", moving(3), 240, LOSSLESS)
    (tmp_path / "in" / "lost+found").mkdir()
    scandir = os.scandir

    def guarded(path: str) -> object:
        if os.fspath(path).endswith("lost+found"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert [source.name for source in discover([tmp_path / "in"])] == ["a.mp4"]
    assert "lost+found: cannot be looked into (Permission denied)" in caplog.text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
def test_links_to_nowhere_and_pipes_are_named(
    tmp_path: Path, threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "in"
    write_video(folder / "a.mp4", moving(3), 240, LOSSLESS)
    (folder / "itself.mp4").symlink_to("itself.mp4")
    (folder / "round.mp4").symlink_to("about.mp4")
    (folder / "about.mp4").symlink_to("round.mp4")
    (folder / "gone.mp4").symlink_to(tmp_path / "gone.mp4")
    (folder / "round").symlink_to("round")
    (folder / "good.mp4").symlink_to("chain.mp4")
    (folder / "chain.mp4").symlink_to(tmp_path / "other.mp4")
    write_video(tmp_path / "other.mp4", moving(3, seed=1), 240, LOSSLESS)
    os.mkfifo(folder / "pipe.mp4")
    names = [source.name for source in discover([folder])]
    assert names == ["a.mp4", "about.mp4", "chain.mp4", "gone.mp4", "itself.mp4", "round.mp4"]
    assert "pipe.mp4: no file; passed over" in caplog.text
    for name in ("itself.mp4", "pipe.mp4"):
        with pytest.raises(InputError, match="expected"):
            discover([folder / name])
    (folder / "gone.mp4").unlink()
    with pytest.raises(PassingError, match=r"about\.mp4.*symbolic links.*leave it out"):
        synthesize([folder], out=tmp_path / "out", executor=threads)


def test_files_of_other_kinds_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Downloads that did not finish, raw video: without a word they would not be missed."""
    caplog.set_level("INFO")
    names = ("a.mp4", "a.srt", "b.mp4.part", "c.mp4.crdownload", "d.BRAW", "e.braw", "notes.txt")
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert [source.name for source in discover([tmp_path])] == ["a.mp4"]
    assert "passed over: 2 .braw, 1 .crdownload, 1 .part." in caplog.text
    caplog.clear()
    (tmp_path / "walk").mkdir()
    for name in ("a.mp4", "a.thm", "a.xmp"):
        (tmp_path / "walk" / name).write_bytes(b"x")
    discover([tmp_path / "walk"])
    assert "other kinds" not in caplog.text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a.webp", "12 pictures in one image file"),
        ("a.tif", "12 pictures in one image file"),
        ("one.png", "a single image"),
        ("one.jpg", "a single image"),
        ("a.png", ""),  # FFmpeg reads it as the video it is
    ],
)
def test_an_image_named_as_a_video_is_called_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, says: str
) -> None:
    pictures = [Image.fromarray(frame) for frame in moving(12)]
    more = {} if name.startswith("one") else {"save_all": True, "append_images": pictures[1:]}
    pictures[0].save(tmp_path / name, **more)
    if says:
        with pytest.raises(InputError, match=f"{name}: {says}"):
            open_source(tmp_path / name)
    else:
        assert open_source(tmp_path / name).info.n_frames == 12


@pytest.mark.parametrize(
    ("suffixes", "said"), [((".png", ".jpg"), "(12 .png and 12 .jpg)"), ((".jpg", ".JPEG"), "")]
)
def test_frames_of_several_formats_are_noted(
    tmp_path: Path, suffixes: tuple[str, str], said: str
) -> None:
    for number, frame in enumerate(moving(24)):
        Image.fromarray(frame).save(tmp_path / f"{number:04d}{suffixes[number // 12]}")
    notes = " ".join(open_source(tmp_path, fps=240).info.notes)
    assert ("several formats" in notes) == bool(said)
    assert said in notes
