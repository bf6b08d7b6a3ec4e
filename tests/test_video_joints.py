"""Recordings put together, cut apart, refreshed bit by bit: exact on both sides of each seam."""

import random
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media import INTRA_REFRESH, OPEN_GOP, ffmpeg, moving, with_edits, with_tags
from test_video_reading import read, whole

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.response import Response
from gopro_tools.scenes import Encoding, write_video
from gopro_tools.video import decoding, open_source
from gopro_tools.video.libav import heard

HEVC = Encoding(codec="libx265", options={"preset": "ultrafast"})
MPEG2 = Encoding(codec="mpeg2video", crf=None, bit_rate=2_000_000, gop_size=15)
CODECS = {"h264": Encoding(gop_size=20), "hevc": HEVC, "mpeg2": MPEG2}


def recording(path: Path, encoding: Encoding, seed: int = 0, n_frames: int = 50) -> Path:
    write_video(path, moving(n_frames, seed=seed), 60 if encoding is MPEG2 else 240, encoding)
    return path


def cat(paths: list[Path], out: Path) -> Path:
    out.write_bytes(b"".join(path.read_bytes() for path in paths))
    return out


def frame_set(frames: list[Rgb]) -> set[bytes]:
    return {frame.tobytes() for frame in frames}


@pytest.mark.parametrize("suffix", [".ts", ".m2ts"])
@pytest.mark.parametrize("codec", CODECS)
def test_no_frame_is_lost_where_transport_streams_join(
    tmp_path: Path, codec: str, suffix: str
) -> None:
    """FFmpeg takes the last packets before the joint for damaged, as the counters start anew."""
    parts = [recording(tmp_path / f"{i}{suffix}", CODECS[codec], seed=i) for i in (0, 1)]
    path = cat([parts[0], parts[1], parts[0]], tmp_path / f"joined{suffix}")
    frames, problems, info = read(path)
    assert problems == []
    assert info.parts == (50, 100)
    assert len(info.gaps()) == 0
    expected = [*whole(parts[0]), *whole(parts[1]), *whole(parts[0])]
    np.testing.assert_array_equal(list(frames.values()), expected)


@pytest.mark.parametrize("change", ["none", "headers", "a beginning in mid-group"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_part_is_read_without_decoding_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, change: str
) -> None:
    """From each frame on, what comes out is what comes out of the whole."""
    parts = [recording(tmp_path / f"{i}.ts", CODECS[codec], i, 40 + i) for i in range(4)]
    if change == "headers":
        rate = 60 if codec == "mpeg2" else 240
        write_video(parts[2], moving(42, (64, 64), seed=2), rate, CODECS[codec])
    if change == "a beginning in mid-group":
        data = parts[2].read_bytes()
        parts[2].write_bytes(data[188 * (len(data) // 188 // 4) :])
    path = cat(parts, tmp_path / "joined.ts")
    frames, _, info = read(path)
    assert len(info.parts) == 3  # though one may go on from where another one ended
    n_decoded = 0

    def counted(action: partial[Any], *, everywhere: bool) -> Any:
        nonlocal n_decoded
        n_decoded += "decode" in str(action)
        return heard(action, everywhere=everywhere)

    monkeypatch.setattr(decoding, "heard", counted)
    for start in (0, 39, 40, 41, 80, 100, info.parts[-1], info.parts[-1] + 7):
        source = open_source(path, info=info)
        n_decoded = 0
        some = dict(source.read(start, start + 8, lambda problem: None))
        assert sorted(some) == [index for index in frames if start <= index < start + 8]
        for index, frame in some.items():
            np.testing.assert_array_equal(frame, frames[index])
        if change == "none":
            assert n_decoded < 120, start


@pytest.mark.parametrize("codec", CODECS)
def test_a_recording_cut_in_a_packet_before_a_joint_gives_no_wrong_frame(
    tmp_path: Path, codec: str
) -> None:
    first, second = (
        recording(tmp_path / f"{i}.ts", CODECS[codec], seed=i, n_frames=40) for i in (0, 1)
    )
    truth = frame_set([*whole(first), *whole(second)])
    draw = random.Random(codec)
    data = first.read_bytes()
    for _ in range(8):
        cut = 188 * draw.randrange(len(data) // 376, len(data) // 188)
        path = tmp_path / "cut.ts"
        path.write_bytes(data[:cut] + second.read_bytes())
        frames, _, info = read(path)
        assert frame_set(list(frames.values())) <= truth, cut
        assert len(frames) >= 20
        assert info.n_frames >= len(frames)


@pytest.mark.parametrize("order", ["tagged first", "tagged last"])
@pytest.mark.parametrize(
    "tags",
    [
        {"video_full_range_flag": 1},
        {"matrix_coefficients": 9},
        {"transfer_characteristics": 16},
        {"sample_aspect_ratio": "4/3"},
    ],
    ids=str,
)
def test_what_one_recording_says_is_not_said_of_the_next(
    tmp_path: Path, tags: dict[str, object], order: str
) -> None:
    """FFmpeg's decoders keep tags that later headers leave out."""
    bare = recording(tmp_path / "bare.ts", Encoding(tagged=False))
    other = recording(tmp_path / "other.ts", Encoding(tagged=False), seed=1)
    tagged = with_tags(other, tmp_path / "tagged.ts", **tags)
    parts = [tagged, bare] if order == "tagged first" else [bare, tagged]
    options = {"hdr": Response.named("srgb")} if "transfer_characteristics" in tags else {}
    frames, problems, info = read(cat(parts, tmp_path / "both.ts"), **options)
    assert info.n_frames == 100
    assert [problem.frame for problem in problems] == list(range(50, 100))
    np.testing.assert_array_equal(list(frames.values()), whole(parts[0], **options))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".flv", ".nut", ".ts"])
@pytest.mark.parametrize("encoding", [INTRA_REFRESH, OPEN_GOP], ids=["refresh", "open"])
def test_what_is_cut_out_at_a_recovery_point_is_no_damage(
    tmp_path: Path, encoding: Encoding, suffix: str
) -> None:
    """Pictures fail until all of the picture was refreshed; none of them is shown."""
    original = tmp_path / "original.ts" if suffix == ".ts" else tmp_path / "original.mp4"
    write_video(original, moving(120), 240, encoding)
    path = tmp_path / f"cut{suffix}"
    ffmpeg("-ss", "0.2", "-i", original, "-c", "copy", path)
    frames = whole(path)
    assert len(frames) >= 60
    np.testing.assert_array_equal(frames, whole(original)[-len(frames) :])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_an_orientation_in_the_bitstream_stands_for_what_follows(
    tmp_path: Path, suffix: str
) -> None:
    original = recording(tmp_path / "original.mp4", Encoding(gop_size=12))
    path = with_tags(
        original, tmp_path / f"turned{suffix}", display_orientation="insert", rotate=90
    )
    upright = [np.ascontiguousarray(np.rot90(frame)) for frame in whole(original)]
    np.testing.assert_array_equal(whole(path), upright)
    frames, problems, _ = read(path, 30, 40)
    assert problems == []
    np.testing.assert_array_equal(list(frames.values()), upright[30:40])


@pytest.mark.parametrize(
    "encoding", [OPEN_GOP, INTRA_REFRESH, MPEG2], ids=["open", "refresh", "m2"]
)
def test_what_a_second_recording_lacks_is_not_taken_from_the_first(
    tmp_path: Path, encoding: Encoding
) -> None:
    """Its first pictures lean on a group that was cut off, not on the end of the first one."""
    first, second = (recording(tmp_path / f"{i}.ts", encoding, seed=i, n_frames=80) for i in (0, 1))
    trimmed = tmp_path / "trimmed.ts"
    ffmpeg("-i", second, "-c", "copy", "-bsf:v", "dump_extra", tmp_path / "headers.ts")
    ffmpeg("-ss", "0.12", "-i", tmp_path / "headers.ts", "-c", "copy", trimmed)
    expected = [*whole(first), *whole(trimmed)]
    frames, problems, _ = read(cat([first, trimmed], tmp_path / "both.ts"))
    assert problems == []
    np.testing.assert_array_equal(list(frames.values()), expected)
    assert frame_set(whole(trimmed)) <= frame_set(whole(second))


def test_a_piece_without_headers_says_how_to_cut_it(tmp_path: Path) -> None:
    """FFmpeg's own program repeats them only where decoding starts from nothing."""
    whole_file = recording(tmp_path / "whole.mp4", OPEN_GOP)
    cut = ("-ss", "0.12", "-i", whole_file, "-c", "copy")
    ffmpeg(*cut, tmp_path / "bare.ts")
    with pytest.raises(InputError, match="h264_mp4toannexb,dump_extra"):
        open_source(tmp_path / "bare.ts")
    ffmpeg(*cut, "-bsf:v", "h264_mp4toannexb,dump_extra", tmp_path / "right.ts")
    assert len(whole(tmp_path / "right.ts")) >= 20


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("clock", ["back", "on"])
def test_pictures_before_the_first_keyframe_of_a_second_recording_are_not_used(
    tmp_path: Path, codec: str, clock: str
) -> None:
    """Decoders would take the last pictures of the first one for those they lean on."""
    first, second = (
        recording(tmp_path / f"{i}.ts", CODECS[codec], seed=i, n_frames=60) for i in (0, 1)
    )
    truth = frame_set([*whole(first), *whole(second)])
    if clock == "on":
        later = tmp_path / "later.ts"
        ffmpeg("-itsoffset", 1, "-copyts", "-i", second, "-c", "copy", later)
        second = later
    data = second.read_bytes()
    for n_lost in (7, 11, 16):
        path = tmp_path / "both.ts"
        path.write_bytes(first.read_bytes() + data[: 188 * 3] + data[188 * n_lost * 3 :])
        frames, _, _ = read(path)
        assert frame_set(list(frames.values())) <= truth, n_lost
        assert len(frames) > 60


REORDERED = Encoding(options={"x264-params": "bframes=8:b-adapt=0:b-pyramid=normal:scenecut=0"})


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_reordered_pictures_after_a_joint_are_no_joints(tmp_path: Path, suffix: str) -> None:
    """After a joint of Matroska files FFmpeg gives decoding times in the order of showing."""
    parts = [recording(tmp_path / f"{i}{suffix}", REORDERED, i, 50) for i in (0, 1)]
    path = cat(parts, tmp_path / f"joined{suffix}")
    frames, problems, info = read(path)
    assert (problems, info.complaints, info.parts) == ([], (), (50,))
    np.testing.assert_array_equal(list(frames.values()), [*whole(parts[0]), *whole(parts[1])])


IN_ORDER = Encoding(gop_size=200, options={"x264-params": "bframes=0"})


def times_changed(path: Path, out: Path, expression: str) -> Path:
    ffmpeg("-i", path, "-c", "copy", "-bsf:v", f"setts=ts='{expression}'", out)
    return out


def test_one_time_that_runs_ahead_costs_no_frame_after_it(tmp_path: Path) -> None:
    original = recording(tmp_path / "original.mkv", IN_ORDER)
    path = times_changed(original, tmp_path / "slip.mkv", "if(eq(N,20),TS+4000000,TS)")
    frames, problems, info = read(path)
    assert (problems, info.complaints) == ([], ())
    np.testing.assert_array_equal(list(frames.values()), whole(original))


def test_frames_after_a_clock_that_goes_back_are_missed_where_no_keyframe_follows(
    tmp_path: Path,
) -> None:
    original = recording(tmp_path / "original.ts", INTRA_REFRESH, n_frames=30)
    keyframe = recording(tmp_path / "key.ts", Encoding(gop_size=200), 1, 40)
    data = keyframe.read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(original.read_bytes() + data[len(data) // 188 // 2 * 188 :])
    frames, _, info = read(path)
    assert any("no keyframe follows" in complaint for complaint in info.complaints)
    assert frame_set(list(frames.values())) <= frame_set(whole(original))


@pytest.mark.parametrize("suffix", [".flv", ".wmv", ".mp4"])
def test_a_second_recording_that_ffmpeg_does_not_read_is_named(tmp_path: Path, suffix: str) -> None:
    original = recording(tmp_path / "original.mp4", Encoding())
    codec = ("-c:v", "wmv2") if suffix == ".wmv" else ("-c", "copy")
    ffmpeg("-i", original, *codec, tmp_path / f"one{suffix}")
    assert open_source(tmp_path / f"one{suffix}").info.complaints == ()
    path = cat([tmp_path / f"one{suffix}"] * 2, tmp_path / f"two{suffix}")
    size = path.stat().st_size // 2
    expected = f"from byte {size} on another recording follows, which is not read"
    assert open_source(path).info.complaints == (expected,)


@pytest.mark.parametrize("n_reordered", [0, 3])
@pytest.mark.parametrize(
    "starts",
    [(0, 45), (45, 0), (20, 20), (25, 48, 5), (13, 47), (0, 31)],
    ids=["left out", "back", "twice", "three", "in mid-group", "one left out"],
)
def test_no_clip_reaches_over_the_pieces_of_an_edit_list(
    tmp_path: Path, starts: tuple[int, ...], n_reordered: int
) -> None:
    options = {"x264-params": f"bframes={n_reordered}:b-adapt=0"}
    path = recording(tmp_path / "clip.mp4", Encoding(gop_size=20, options=options), n_frames=80)
    originals = whole(path)
    with av.open(str(path)) as container:
        first = sorted(packet.pts for packet in container.demux(video=0) if packet.pts is not None)
    with_edits(path, [(125, first[0] + (first[1] - first[0]) * start) for start in starts])
    frames, _, info = read(path)
    place = {frame.tobytes(): index for index, frame in enumerate(originals)}
    assert len(place) == 80
    places = {index: place[frame.tobytes()] for index, frame in frames.items()}
    assert len(places) > 25 * len(starts)
    whole_parts = 0
    for start, stop in pairwise([0, *info.parts, info.n_frames]):
        steps = [places[i + 1] - places[i] for i in range(start, stop - 1) if i + 1 in places]
        gaps = {gap - 1 - start for gap in info.gaps().tolist()}
        assert all(step == 1 or i in gaps for i, step in enumerate(steps)), (start, stop, steps)
        whole_parts += stop - start >= 15
    assert whole_parts == len(starts)


def test_an_edit_list_of_one_piece_makes_no_parts(tmp_path: Path) -> None:
    path = recording(tmp_path / "clip.mp4", Encoding(gop_size=20), n_frames=80)
    for pieces in ([(2000, -1), (500, 0)], [(125, 0), (125, 1920)], [(300, 640)]):
        with_edits(path, pieces)
        assert open_source(path).info.parts == ()
