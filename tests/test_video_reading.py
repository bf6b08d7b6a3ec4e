"""What a viewer sees and what is intact: each kind of video that was once read wrongly."""

import gc
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media import (
    INTRA_REFRESH,
    OPEN_GOP,
    ffmpeg,
    joined,
    moving,
    shown_by_ffmpeg,
    with_box,
    with_matrix,
    with_tags,
    written,
)
from PIL import Image

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png
from gopro_tools.response import Response
from gopro_tools.scenes import H264, LOSSLESS, Encoding, write_video
from gopro_tools.video import FrameProblem, check_response, open_source
from gopro_tools.video.joined import second_recording_at


def read(path: Path, start: int = 0, stop: int | None = None, **options: object):
    """Frames by index, and what was complained of."""
    source = open_source(path, **options)  # type: ignore[arg-type]
    problems: list[FrameProblem] = []
    until = source.info.n_frames if stop is None else stop
    return dict(source.read(start, until, problems.append)), problems, source.info


def whole(path: Path, **options: object) -> list[Rgb]:
    """All frames of a file that is intact."""
    frames, problems, info = read(path, **options)
    assert problems == []
    assert list(frames) == list(range(info.n_frames))
    assert (info.cut_short, info.complaints) == ("", ())
    return list(frames.values())


# --- open groups and recovery points -----------------------------------------------------------

HEVC_OPEN = Encoding(
    codec="libx265", gop_size=20, options={"preset": "ultrafast", "x265-params": "open-gop=1"}
)
MPEG2_OPEN = Encoding(codec="mpeg2video", crf=None, bit_rate=2_000_000, gop_size=15)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".m2ts"])
@pytest.mark.parametrize("encoding", [OPEN_GOP, INTRA_REFRESH, HEVC_OPEN, MPEG2_OPEN])
def test_any_piece_of_an_open_group_equals_the_whole(
    tmp_path: Path, suffix: str, encoding: Encoding
) -> None:
    path = tmp_path / f"open{suffix}"
    write_video(path, moving(100), 240 if encoding is not MPEG2_OPEN else 60, encoding)
    frames = whole(path)
    assert len(frames) == 100
    for start, stop in ((15, 25), (39, 41), (40, 60), (77, 100)):
        for threads in (1, 3):
            piece, problems, _ = read(path, start, stop, decode_threads=threads)
            assert problems == []
            assert list(piece) == list(range(start, stop))
            np.testing.assert_array_equal(np.stack(list(piece.values())), frames[start:stop])


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv"])
def test_a_trim_without_encoding_is_no_damage(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"whole{'.ts' if suffix == '.ts' else '.mp4'}"
    write_video(path, moving(100), 240, OPEN_GOP)
    trimmed = tmp_path / f"trimmed{suffix}"
    ffmpeg("-ss", "0.12", "-i", path, "-c", "copy", trimmed)
    assert len(whole(trimmed)) >= 60


def test_a_stream_that_begins_in_the_middle_of_a_group(tmp_path: Path) -> None:
    """A recording of a broadcast, cut at any packet: what needs earlier pictures is left out."""
    path = tmp_path / "whole.ts"
    write_video(path, moving(100), 240, OPEN_GOP)
    truth = whole(path)
    data = path.read_bytes()
    n_packets = len(data) // 188
    cut = tmp_path / "cut.ts"
    cut.write_bytes(data[: 188 * 3] + data[188 * (n_packets // 3) :])
    frames, problems, info = read(cut)
    assert 40 < len(frames) <= info.n_frames < 100
    assert not [problem for problem in problems if problem.frame and problem.frame > 25]
    for frame in frames.values():
        assert any(np.array_equal(frame, true) for true in truth)


@pytest.mark.parametrize("encoding", [OPEN_GOP, INTRA_REFRESH, HEVC_OPEN])
@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_damage_in_an_open_group_is_still_found(
    tmp_path: Path, encoding: Encoding, suffix: str
) -> None:
    path = tmp_path / f"whole{suffix}"
    write_video(path, moving(100, (96, 128)), 240, encoding)
    truth = whole(path)
    draw = np.random.default_rng(0)
    n_hurt = 0
    for _ in range(12):
        data = bytearray(path.read_bytes())
        at = int(draw.integers(len(data) // 8, len(data) - len(data) // 8))
        data[at : at + 60] = draw.bytes(60)
        damaged = tmp_path / f"damaged{suffix}"
        damaged.write_bytes(data)
        try:
            frames, problems, info = read(damaged)
        except InputError:
            n_hurt += 1
            continue
        if not problems and info.n_frames == 100:
            continue
        n_hurt += 1
        if info.n_frames == 100:
            # A picture whose damaged bits still parse is a picture; after an error, none is.
            first = min(problem.frame for problem in problems if problem.frame is not None)
            wrong = [i for i, frame in frames.items() if not np.array_equal(frame, truth[i])]
            assert [i for i in wrong if i >= first] == [], problems
    # HEVC has nothing by which a decoder would notice most wrong bits.
    assert n_hurt >= (0 if encoding is HEVC_OPEN else 5)


# --- geometry ----------------------------------------------------------------------------------

TURNS = {
    "identity": (1, 0, 0, 1),
    "hflip": (-1, 0, 0, 1),
    "vflip": (1, 0, 0, -1),
    "180": (-1, 0, 0, -1),
    "90": (0, 1, -1, 0),
    "270": (0, -1, 1, 0),
    "transpose": (0, 1, 1, 0),
    "transverse": (0, -1, -1, 0),
}


@pytest.mark.parametrize("name", TURNS)
def test_every_orientation_is_as_ffmpeg_shows_it(tmp_path: Path, name: str) -> None:
    path = with_matrix(written(tmp_path / "turned.mp4", 3), TURNS[name])
    size_hw = (64, 48) if TURNS[name][0] == 0 else (48, 64)
    ours = np.stack(whole(path)).astype(int)
    assert ours.shape[1:3] == size_hw
    assert np.abs(ours - shown_by_ffmpeg(path, size_hw)).mean() < 1.5


def test_matrices_that_are_nearly_or_not_at_all_a_turn(tmp_path: Path) -> None:
    plain = np.stack(whole(written(tmp_path / "plain.mp4", 3)))
    zero = with_matrix(written(tmp_path / "zero.mp4", 3), (0, 0, 0, 0))
    np.testing.assert_array_equal(np.stack(whole(zero)), plain)
    turn = np.radians(89.99)
    near = with_matrix(
        written(tmp_path / "near.mp4", 3),
        (np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)),
    )
    np.testing.assert_array_equal(np.stack(whole(near)), np.rot90(plain, -1, axes=(1, 2)))
    for matrix in ((0.7, 0.7, -0.7, 0.7), (1, 0.5, 0, 1)):
        odd = with_matrix(written(tmp_path / "odd.mp4", 3), matrix)
        with pytest.raises(InputError, match="multiple of 90"):
            open_source(odd)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_clean_aperture_is_cropped(tmp_path: Path, suffix: str) -> None:
    plain = np.stack(whole(written(tmp_path / "plain.mp4", 3)))
    path = written(tmp_path / "clap.mp4", 3)
    with_box(path, b"avc1", b"clap", struct.pack(">8i", 40, 1, 32, 1, 4, 1, -6, 1))
    if suffix == ".mkv":  # Matroska's own crop
        ffmpeg("-i", path, "-c", "copy", tmp_path / "clap.mkv")
    frames, _, info = read(tmp_path / f"clap{suffix}")
    # The centre of 40x32 lies 4 right of and 6 above that of 64x48.
    np.testing.assert_array_equal(np.stack(list(frames.values())), plain[:, 2:34, 16:56])
    assert "cropped" in info.notes[0]


@pytest.mark.parametrize(("aspect", "size_hw"), [("4/3", (36, 64)), ("1/2", (48, 32))])
def test_pixels_become_square(tmp_path: Path, aspect: str, size_hw: tuple[int, int]) -> None:
    path = with_tags(written(tmp_path / "a.mp4", 3), tmp_path / "b.mp4", sample_aspect_ratio=aspect)
    frames = whole(path)
    assert frames[0].shape[:2] == size_hw
    assert "square" in open_source(path).info.notes[0]
    turned = with_matrix(path, TURNS["90"])
    np.testing.assert_array_equal(whole(turned)[1], np.rot90(frames[1], -1))


def test_absurd_pixels_are_refused(tmp_path: Path) -> None:
    path = with_tags(written(tmp_path / "a.mp4", 3), tmp_path / "b.mp4", sample_aspect_ratio="8/1")
    with pytest.raises(InputError, match="width : height"):
        open_source(path)


# --- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".ts"])
def test_a_still_before_the_video_is_passed_over(tmp_path: Path, suffix: str) -> None:
    video = written(tmp_path / "video.mp4")
    large = tmp_path / "still.mp4"
    write_video(large, moving(1, (128, 160)), 25, H264)
    path = tmp_path / f"both{suffix}"
    ffmpeg("-i", large, "-i", video, "-map", 0, "-map", 1, "-c", "copy", path)
    assert len(whole(path)) == 44
    info = open_source(path).info
    assert info.stream == 1
    assert "1 frame" in info.other_streams[0]
    assert any("not used" in note for note in info.notes)


def test_the_default_stream_the_largest_or_the_one_asked_for(tmp_path: Path) -> None:
    small = written(tmp_path / "small.mp4")
    large = tmp_path / "large.mp4"
    write_video(large, moving(44, (96, 128)), 240, H264)
    path = tmp_path / "both.mkv"
    both = ("-i", small, "-i", large, "-map", 0, "-map", 1, "-c", "copy")
    ffmpeg(*both, "-disposition:v:0", "0", "-disposition:v:1", "0", path)
    assert open_source(path).info.size_hw == (96, 128)
    assert open_source(path, stream=0).info.size_hw == (48, 64)
    ffmpeg(*both, "-disposition:v:0", "default", "-disposition:v:1", "0", path)
    assert open_source(path).info.size_hw == (48, 64)
    with pytest.raises(InputError, match=r"--stream 7.*stream 0: h264 64x48"):
        open_source(path, stream=7)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_cover_or_a_preview_is_no_video(tmp_path: Path, suffix: str) -> None:
    video = written(tmp_path / "video.mp4", 60)
    preview = tmp_path / "preview.mov"
    encoding = Encoding(codec="mjpeg", pixel_format="yuvj420p", crf=None, bit_rate=9_000_000)
    write_video(preview, moving(4, (96, 128)), 8, encoding)
    path = tmp_path / f"both{suffix}"
    both = ("-i", preview, "-i", video, "-map", 0, "-map", 1, "-c", "copy")
    ffmpeg(*both, "-disposition:v:0", "default", path)
    assert len(whole(path)) == 60
    (tmp_path / "cover.png").write_bytes(encode_png(moving(1, (96, 128))[0]))
    covered = ("-i", tmp_path / "cover.png", *both[2:], "-disposition:v:0", "attached_pic", path)
    ffmpeg(*covered)
    assert len(whole(path)) == 60


# --- time --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [240, 360, 480, 720, 960, 1000, 1057, 1999])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_coarse_clock_merges_no_frames_and_has_no_gaps(
    tmp_path: Path, rate_hz: int, suffix: str
) -> None:
    path = tmp_path / f"fast{suffix}"
    write_video(path, moving(150), rate_hz, Encoding(options={"preset": "veryfast", "bf": "3"}))
    assert len(whole(path)) == 150
    info = open_source(path).info
    assert len(info.gaps()) == 0
    assert info.constant_rate
    assert info.rate_hz(None) == pytest.approx(rate_hz, rel=0.004)


def test_two_gaps_under_a_coarse_clock_are_found_where_they_are(tmp_path: Path) -> None:
    times = [Fraction(i + (i > 30) + 2 * (i > 60), 720) for i in range(90)]
    write_video(tmp_path / "fast.mkv", moving(90), 720, H264, times_s=times)
    assert open_source(tmp_path / "fast.mkv").info.gaps().tolist() == [31, 61]


def test_reordered_pictures_of_an_avi_keep_their_order_and_rate(tmp_path: Path) -> None:
    for n_frames in (10, 60):
        path = tmp_path / f"{n_frames}.avi"
        video = written(tmp_path / "v.mp4", n_frames, options={"preset": "veryfast", "bf": "3"})
        ffmpeg("-i", video, "-c", "copy", path)
        np.testing.assert_array_equal(np.stack(whole(path)), np.stack(whole(video)))
        info = open_source(path).info
        assert info.parts == ()
        assert info.rate_hz(None) == pytest.approx(240, rel=0.06)


@pytest.mark.parametrize("share", [0.5, 0.92])
def test_an_avi_that_is_cut_says_so(tmp_path: Path, share: float) -> None:
    path = tmp_path / "v.avi"
    encoding = Encoding(codec="mpeg4", crf=None, bit_rate=4_000_000, options={})
    write_video(path, moving(120), 240, encoding)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "120 frames promised" in open_source(path).info.cut_short


@pytest.mark.parametrize("rate_hz", [720, 960, 1057])
@pytest.mark.parametrize("n_missing", [1, 3])
def test_frames_missing_under_a_coarse_clock_are_a_gap(
    tmp_path: Path, rate_hz: int, n_missing: int
) -> None:
    times = [Fraction(i + (n_missing if i >= 70 else 0), rate_hz) for i in range(150)]
    path = tmp_path / "fast.mkv"
    write_video(path, moving(150), rate_hz, LOSSLESS, times_s=times)
    info = open_source(path).info
    assert info.n_frames == 150
    gaps = info.gaps()
    assert len(gaps) >= 1
    assert np.abs(gaps - 70).max() <= 3, gaps
    assert info.rate_hz(None) == pytest.approx(rate_hz, rel=0.01)


def test_dropped_frames_of_an_avi_are_gaps_and_no_damage(tmp_path: Path) -> None:
    """Its muxer stores an empty chunk for each; its clock counts frames, so two ticks are a gap."""
    times = [Fraction(i + i // 9, 240) for i in range(54)]
    path = tmp_path / "dropped.avi"
    encoding = Encoding(codec="mjpeg", pixel_format="yuvj420p", crf=None, bit_rate=9_000_000)
    write_video(path, moving(54), 240, encoding, times_s=times, ticks_per_s=240)
    frames, problems, info = read(path)
    assert (len(frames), problems, info.cut_short) == (54, [], "")
    assert info.gaps().tolist() == [9, 18, 27, 36, 45]
    assert info.frame_rate_measured == pytest.approx(240)


def test_two_recordings_put_together_are_two_parts(tmp_path: Path) -> None:
    for i in (0, 1):
        write_video(tmp_path / f"{i}.ts", moving(60, seed=i), 240, H264)
    path = tmp_path / "joined.ts"
    path.write_bytes((tmp_path / "0.ts").read_bytes() + (tmp_path / "1.ts").read_bytes())
    frames, problems, info = read(path)
    assert problems == []
    assert len(info.parts) == 1
    assert (np.diff(info.ticks) > 0).all()
    part = info.parts[0]
    assert 56 <= part <= 60
    assert 116 <= info.n_frames <= 120
    first, second = whole(tmp_path / "0.ts"), whole(tmp_path / "1.ts")
    np.testing.assert_array_equal(np.stack([frames[i] for i in range(part)]), first[:part])
    np.testing.assert_array_equal(
        np.stack([frames[i] for i in range(part, info.n_frames)]), second[: info.n_frames - part]
    )


def test_recordings_put_together_whose_clock_does_not_show_it(tmp_path: Path) -> None:
    mpeg4 = Encoding(codec="mpeg4", crf=None, bit_rate=4_000_000, options={})
    for suffix, encoding in ((".avi", mpeg4), (".mp4", H264), (".mov", H264)):
        data = []
        for i in (0, 1):
            write_video(tmp_path / f"{i}{suffix}", moving(30, seed=i), 240, encoding)
            data.append((tmp_path / f"{i}{suffix}").read_bytes())
        assert second_recording_at(tmp_path / f"0{suffix}") is None
        path = tmp_path / f"joined{suffix}"
        path.write_bytes(b"".join(data))
        assert second_recording_at(path) == len(data[0])
        info = open_source(path).info
        if suffix == ".avi":
            assert (info.n_frames, info.parts) == (60, (30,))
        else:
            assert info.n_frames == 30
            assert "is not read" in info.complaints[0]


def test_sound_longer_than_the_picture_is_no_damage(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".ts", ".avi"):
        path = tmp_path / f"sound{suffix}"
        sound = ("-f", "lavfi", "-t", "0.6", "-i", "sine=r=48000")
        ffmpeg("-i", written(tmp_path / "v.mp4"), *sound, "-c:v", "copy", "-c:a", "aac", path)
        assert len(whole(path)) == 44, suffix


def test_avi_whose_first_reordered_picture_comes_late_is_no_damage(tmp_path: Path) -> None:
    """AVI has no times of showing; up to there the order of decoding is that of showing."""
    rest, later = (moving(n, (80, 112), seed=n) for n in (20, 40))
    options = {"preset": "veryfast", "x264-params": "bframes=3:scenecut=0:mbtree=0"}
    write_video(tmp_path / "v.mp4", [*rest[:1] * 20, *later], 240, Encoding(options=options))
    ffmpeg("-i", tmp_path / "v.mp4", "-c", "copy", tmp_path / "v.avi")
    shown = shown_by_ffmpeg(tmp_path / "v.mp4", (80, 112))
    np.testing.assert_array_equal(np.stack(whole(tmp_path / "v.avi")), shown)
    options |= {"x264-params": "mbtree=0"}
    ffmpeg("-i", written(tmp_path / "w.mp4", options=options), "-c", "copy", tmp_path / "w.avi")
    assert len(whole(tmp_path / "w.avi")) == 44


# --- what changes in mid-stream ----------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
@pytest.mark.parametrize("kind", ["size", "range", "matrix", "transfer", "format", "pixels"])
def test_what_changes_in_the_middle_is_named_and_left_out(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    first, second = written(tmp_path / "first.mp4", 30), tmp_path / "second.mp4"
    other = {
        "size": Encoding(),
        "range": Encoding(full_range=True),
        "matrix": Encoding(matrix="bt601"),
        "format": Encoding(pixel_format="yuv444p"),
    }.get(kind, Encoding())
    size_hw = (24, 32) if kind == "size" else (48, 64)
    write_video(second, moving(30, size_hw), 240, other)
    if kind == "transfer":
        second = with_tags(second, tmp_path / "tagged.mp4", transfer_characteristics=8)
    if kind == "pixels":
        second = with_tags(second, tmp_path / "tagged.mp4", sample_aspect_ratio="4/3")
    path = joined([first, second], tmp_path / f"joined{suffix}")
    frames, problems, info = read(path)
    assert info.n_frames == 60
    assert [problem.frame for problem in problems] == list(range(30, 60))
    assert all(problem.reason for problem in problems)
    np.testing.assert_array_equal(list(frames.values()), whole(first))
    expected = {"size": "24x32 instead of 48x64", "format": "yuv444p", "pixels": "aspect"}
    assert expected.get(kind, "colour tags") in problems[0].reason
    later, _, _ = read(path, 45, 50)
    assert later == {}


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264", "ffv1"])
def test_interlaced_video_is_refused_or_read_by_one_field(tmp_path: Path, codec: str) -> None:
    raw = tmp_path / "raw.mkv"
    still = np.kron(np.arange(12).reshape(12, 1, 1) * 20, np.ones((4, 64, 3))).astype(np.uint8)
    other = 255 - still
    woven = [np.where(np.arange(48)[:, None, None] % 2 == 0, still, other) for _ in range(12)]
    write_video(raw, woven, 60, LOSSLESS)
    path = tmp_path / "interlaced.mkv"
    pixels = ("-vf", "setfield=tff,scale=interl=1", "-pix_fmt", "yuv422p", "-flags", "+ildct+ilme")
    ffmpeg("-i", raw, *pixels, "-c:v", codec, "-field_order", "tt", "-qscale:v", "1", path)
    with pytest.raises(InputError, match="--deinterlace"):
        open_source(path)
    frames = whole(path, deinterlace=True)
    assert len(frames) == 12
    assert np.abs(frames[5][4:-4].astype(int) - still[4:-4]).mean() < 12


def test_interlaced_pictures_in_mid_stream_are_left_out(tmp_path: Path) -> None:
    parts = []
    for name, extra in (("p", ()), ("i", ("-vf", "setfield=tff", "-flags", "+ildct+ilme"))):
        parts.append(tmp_path / f"{name}.ts")
        raw = ("-i", written(tmp_path / "v.mp4", 30, 60))
        ffmpeg(*raw, *extra, "-c:v", "mpeg2video", "-q:v", 2, parts[-1])
    frames, problems, _ = read(joined(parts, tmp_path / "both.ts"))
    assert list(frames) == list(range(30))
    assert any("is interlaced" in problem.reason for problem in problems)


def test_fields_that_hevc_stores_as_pictures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fields.mp4"
    fields = ("-vf", "setfield=tff", "-x265-params", "interlace=tff:log-level=error")
    ffmpeg("-i", written(tmp_path / "v.mp4", 30, 60), *fields, "-c:v", "libx265", path)
    for deinterlace in (False, True):
        with pytest.raises(InputError, match="each field as a separate picture"):
            open_source(path, deinterlace=deinterlace)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_of_jpeg_video_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i, frame in enumerate(moving(3)):
        Image.fromarray(frame).save(tmp_path / f"{i:04d}.jpg", exif=exif, quality=95)
    path = tmp_path / "clip.avi"
    ffmpeg("-framerate", 240, "-i", tmp_path / "%04d.jpg", "-c", "copy", path)
    ours = np.stack(whole(path)).astype(int)
    assert np.abs(ours - shown_by_ffmpeg(path, ours.shape[1:3])).mean() < 1.5


# --- colour ------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize(
    ("code", "response"), [(8, "linear"), (9, "log100"), (10, "log316"), (17, "gamma2.6")]
)
def test_unusual_transfers_name_the_response_that_fits(
    tmp_path: Path, codec: str, code: int, response: str
) -> None:
    plain = written(tmp_path / "plain.mp4", 5, codec=codec, options={"preset": "ultrafast"})
    path = with_tags(plain, tmp_path / "tagged.mkv", transfer_characteristics=code)
    color = open_source(path).info.look.color
    assert color.response == response
    for usual in ("gamma2.2", "srgb"):
        with pytest.raises(InputError, match=f"--response {response}"):
            check_response(path, color, Response.named(usual))
    check_response(path, color, Response.named(response))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("transfer", ["linear", "pq", "hlg"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_transfer_that_only_the_container_names_counts(
    tmp_path: Path, codec: str, transfer: str, suffix: str
) -> None:
    tagged = tmp_path / f"tagged{suffix}"
    options = {"preset": "ultrafast"}
    written(tagged, 5, codec=codec, transfer=transfer, options=options)
    bare = tmp_path / "bare.mkv"
    name = "hevc" if codec == "libx265" else "h264"
    filters = f"{name}_metadata=transfer_characteristics=2"
    ffmpeg("-i", tagged, "-c", "copy", "-bsf:v", filters, bare)
    if transfer == "linear":
        assert open_source(bare).info.look.color.response == "linear"
        return
    with pytest.raises(InputError, match="--hdr"):
        open_source(bare)


@pytest.mark.parametrize("code", [8, 10, 11, 12, 13, 14])
def test_matrices_that_cannot_be_converted_are_named(tmp_path: Path, code: int) -> None:
    path = with_tags(written(tmp_path / "a.mp4", 3), tmp_path / "b.mp4", matrix_coefficients=code)
    with pytest.raises(InputError, match=f"code {code} of"):
        open_source(path)


def test_the_matrix_of_the_container_counts_where_the_bitstream_has_none(tmp_path: Path) -> None:
    red = [np.full((64, 64, 3), (255, 0, 0), np.uint8)] * 3
    encoding = Encoding(codec="libx265", options={"preset": "ultrafast"})
    write_video(tmp_path / "red.mkv", red, 240, encoding)
    bare = tmp_path / "bare.mkv"
    tags = "hevc_metadata=matrix_coefficients=2:colour_primaries=2:transfer_characteristics=2"
    ffmpeg("-i", tmp_path / "red.mkv", "-c", "copy", "-bsf:v", tags, bare)
    assert "as the container says" in open_source(bare).info.look.color.text
    assert np.abs(whole(bare)[1][32, 32].astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("pixel_format", ["gray", "gray10le", "gray12le"])
def test_grey_is_expanded_by_its_range(tmp_path: Path, limited: bool, pixel_format: str) -> None:
    bits = {"gray": 8, "gray10le": 10, "gray12le": 12}[pixel_format]
    black, white = (16 << (bits - 8), 235 << (bits - 8)) if limited else (0, (1 << bits) - 1)
    samples = np.full((48, 64), black, np.uint16)
    samples[:, 32:] = white
    raw = samples.astype(np.uint8).tobytes() if bits == 8 else samples.tobytes()
    (tmp_path / "raw").write_bytes(raw * 4)
    path = tmp_path / "grey.mkv"
    shape = ("-f", "rawvideo", "-pix_fmt", pixel_format, "-s", "64x48", "-r", "240")
    extent = "tv" if limited else "pc"
    # The range of the samples is stated for both ends, so that nothing converts them.
    ffmpeg(*shape, "-color_range", extent, "-i", tmp_path / "raw", "-vf",
           f"setparams=range={extent}", "-c:v", "ffv1", "-color_range", extent, path)  # fmt: skip
    frame = whole(path)[1]
    np.testing.assert_array_equal(frame[10, 10], [0, 0, 0])
    np.testing.assert_array_equal(frame[10, 50], [255, 255, 255])


@pytest.mark.parametrize(
    ("profile", "compatible", "refused"),
    [(5, 0, "Dolby Vision profile 5"), (8, 1, "--hdr"), (8, 4, "--hdr"), (8, 2, "")],
)
def test_dolby_vision(tmp_path: Path, profile: int, compatible: int, refused: str) -> None:
    path = written(tmp_path / "v.mp4", 5, codec="libx265", options={"preset": "ultrafast"})
    data = path.read_bytes()
    entry = b"hvc1" if b"hvc1" in data else b"hev1"
    # Version 1.0, profile (7 bit), level 4 (6 bit), rpu, el, bl flags, compatibility (4 bit).
    bits = profile << 9 | 4 << 3 | 0b101
    record = bytes([1, 0]) + struct.pack(">H", bits) + bytes([compatible << 4]) + bytes(19)
    with_box(path, entry, b"dvcC" if profile <= 7 else b"dvvC", record)
    if not refused:
        assert len(whole(path)) == 5
        return
    with pytest.raises(InputError, match=refused):
        open_source(path)


# --- damage that only FFmpeg's messages tell of --------------------------------------------------


def test_a_slice_with_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    ffmpeg(
        "-i",
        written(tmp_path / "v.mp4"),
        "-c:v",
        "ffv1",
        "-level",
        3,
        "-g",
        1,
        "-slicecrc",
        1,
        path,
    )
    truth = whole(path)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][20]
        place, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[place + size // 2] ^= 0x55
    path.write_bytes(data)
    frames, problems, _ = read(path)
    assert [problem.frame for problem in problems] == [20]
    assert "CRC mismatch" in str(problems[0])
    assert set(frames) == set(range(44)) - {20}
    for index, frame in frames.items():
        np.testing.assert_array_equal(frame, truth[index])


def test_a_jpeg_without_its_end_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    ffmpeg("-i", written(tmp_path / "v.mp4"), "-c:v", "mjpeg", "-q:v", 3, path)
    assert len(whole(path)) == 44
    data = bytearray(path.read_bytes())
    ends = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xd9"]
    for n, at in ((10, ends[10]), (30, ends[30])):
        data[at - 20 * (n == 30) : at + 2] = bytes(2 + 20 * (n == 30))
    path.write_bytes(data)
    frames, problems, _ = read(path)
    assert {problem.frame for problem in problems} == {10, 30}
    assert set(frames) == set(range(44)) - {10, 30}


@pytest.mark.parametrize("share", [0.92, 0.97])
@pytest.mark.parametrize("sound", [False, True])
def test_a_matroska_file_that_ends_early_says_so(tmp_path: Path, share: float, sound: bool) -> None:
    path = tmp_path / "v.mkv"
    tone = ("-f", "lavfi", "-t", "0.6", "-i", "sine=r=48000", "-c:a", "aac") if sound else ()
    ffmpeg("-i", written(tmp_path / "v.mp4", 120), *tone, "-c:v", "copy", path)
    assert open_source(path).info.cut_short == ""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    info = open_source(path).info
    assert info.cut_short or info.complaints


def test_lost_packets_of_a_transport_stream_leave_no_wrong_frame(tmp_path: Path) -> None:
    path = tmp_path / "whole.ts"
    write_video(path, moving(90, (96, 128)), 240, OPEN_GOP)
    truth = whole(path)
    data = path.read_bytes()
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    draw = np.random.default_rng(3)
    n_noticed = 0
    for _ in range(12):
        lost = set(draw.integers(5, len(packets) - 5, 2).tolist())
        hurt = tmp_path / "hurt.ts"
        hurt.write_bytes(b"".join(p for i, p in enumerate(packets) if i not in lost))
        frames, problems, info = read(hurt)
        n_noticed += bool(problems or info.n_frames < 90)
        first = open_source(path).info.ticks
        for index, frame in frames.items():
            true = truth[int(np.searchsorted(first, info.ticks[index]))]
            np.testing.assert_array_equal(frame, true)
    assert n_noticed >= 10


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_what_the_bitstream_hides_on_the_left_is_hidden(tmp_path: Path, codec: str) -> None:
    """FFmpeg's decoders only hide so much on the left as keeps rows aligned in memory."""
    write_video(tmp_path / "plain.mp4", moving(12, (80, 112)), 240, Encoding(codec=codec))
    path = with_tags(tmp_path / "plain.mp4", tmp_path / "crop.mp4", crop_left=10, crop_top=6)
    frames = np.array(whole(path))
    np.testing.assert_array_equal(frames, np.array(whole(tmp_path / "plain.mp4"))[:, 6:, 10:])


def test_a_palette_stands_until_another_one_comes(tmp_path: Path) -> None:
    write_video(tmp_path / "original.mkv", moving(60), 240, Encoding(codec="ffv1", crf=None))
    path = tmp_path / "palette.avi"
    ffmpeg("-i", tmp_path / "original.mkv", "-c:v", "rawvideo", "-pix_fmt", "pal8", path)
    truth = shown_by_ffmpeg(path, (48, 64))
    for start in (0, 20, 59):
        frames, _, _ = read(path, start)
        np.testing.assert_array_equal(list(frames.values()), truth[start:])


def test_encrypted_video_is_named(tmp_path: Path) -> None:
    write_video(tmp_path / "plain.mp4", moving(12), 240, Encoding())
    key = ("-encryption_key", "0f" * 16, "-encryption_kid", "a7" * 16)
    path = tmp_path / "locked.mp4"
    scheme = ("-encryption_scheme", "cenc-aes-ctr")
    ffmpeg("-i", tmp_path / "plain.mp4", "-c", "copy", *scheme, *key, path)
    with pytest.raises(InputError, match="encrypted"):
        open_source(path)


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat", "list.mp4"])
def test_a_list_of_other_files_is_no_video(tmp_path: Path, name: str) -> None:
    """What it shows is decided by files that nobody named, and whose hashes nobody takes."""
    write_video(tmp_path / "clip.ts", moving(12), 240, Encoding())
    text = "ffconcat version 1.0\nfile clip.ts\n"
    if name.endswith("m3u8"):
        text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.05,\nclip.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="a list of other files"):
        open_source(tmp_path / name)


def test_decoded_frames_are_let_go_at_once(tmp_path: Path) -> None:
    """Waiting for Python's search for cycles, they would take new memory for every frame."""
    write_video(tmp_path / "v.mp4", [np.full((64, 64, 3), i, np.uint8) for i in range(40)], 240)
    source = open_source(tmp_path / "v.mp4")
    gc.collect()
    gc.disable()
    try:
        for index, _ in source.read(0, 40, pytest.fail):
            if index == 39:
                # Not `isinstance`, which asks objects of other packages for their class.
                alive = sum(type(one) is av.VideoFrame for one in gc.get_objects())
    finally:
        gc.enable()
    assert alive < 10
