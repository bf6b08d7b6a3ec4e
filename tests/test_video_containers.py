"""What containers say beside the pictures: promises, streams, interlacing, and what they do not."""

import struct
from pathlib import Path

import numpy as np
import pytest
from media import ffmpeg, icc_profile, moving, with_tags, written
from PIL import Image, PngImagePlugin
from test_video_reading import read, whole

from gopro_tools.errors import InputError
from gopro_tools.response import Response
from gopro_tools.scenes import H264, Encoding, write_video
from gopro_tools.video import check_response, open_source


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", ("-ss", "0.2")),  # an edit list hides whole groups, which the index still counts
        (".mov", ("-ss", "0.2")),
        (".flv", ()),  # its length counts from zero, its first frame is later
        (".mkv", ("-itsoffset", "400", "-copyts")),
        (".nut", ("-itsoffset", "400", "-copyts")),
    ],
)
def test_a_length_that_counts_more_than_the_frames_is_no_promise(
    tmp_path: Path, suffix: str, options: tuple[str, ...]
) -> None:
    original = tmp_path / "original.mp4"
    write_video(original, moving(90), 60, Encoding(gop_size=10))
    path = tmp_path / f"told{suffix}"
    ffmpeg(*options, "-i", original, "-c", "copy", "-avoid_negative_ts", "disabled", path)
    frames = whole(path)
    np.testing.assert_array_equal(frames, whole(original)[-len(frames) :])
    assert len(frames) >= 75


def test_the_length_of_the_file_it_was_made_from_is_no_promise(tmp_path: Path) -> None:
    write_video(tmp_path / "original.mkv", moving(90), 60, Encoding(gop_size=10))
    path = tmp_path / "part.nut"  # keeps the tags of Matroska, DURATION among them
    ffmpeg("-i", tmp_path / "original.mkv", "-t", "0.5", "-c", "copy", path)
    assert len(whole(path)) >= 20


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".flv"])
def test_a_file_that_is_cut_short_is_still_named(tmp_path: Path, suffix: str) -> None:
    fast = ("-movflags", "+faststart") if suffix == ".mp4" else ()
    path = tmp_path / f"cut{suffix}"
    ffmpeg("-i", written(tmp_path / "v.mp4", 120), "-c", "copy", *fast, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    _, problems, info = read(path)
    assert info.cut_short or info.complaints or problems


def test_files_without_moving_pictures_are_named(tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-t", "0.3", "-i", "sine=r=48000")
    ffmpeg(*sound, tmp_path / "sound.m4a")
    with pytest.raises(InputError, match="no video stream"):
        open_source(tmp_path / "sound.m4a")
    Image.fromarray(moving(1)[0]).save(tmp_path / "cover.png")
    cover = ("-i", tmp_path / "cover.png", "-map", "0", "-map", "1", "-c:v", "copy")
    ffmpeg(*sound, *cover, "-disposition:v", "attached_pic", tmp_path / "song.m4a")
    with pytest.raises(InputError, match="only a cover picture"):
        open_source(tmp_path / "song.m4a")


@pytest.mark.parametrize("n_first", [1, 2, 9])
def test_a_preview_before_a_short_video_is_passed_over(tmp_path: Path, n_first: int) -> None:
    """Larger, marked as default, and with less than a quarter of the frames."""
    first, video = tmp_path / "preview.mp4", written(tmp_path / "video.mp4", 40)
    write_video(first, moving(n_first, (96, 128)), 2, H264)
    path = tmp_path / "both.mov"
    ffmpeg("-i", first, "-i", video, "-map", "0", "-map", "1", "-c", "copy", path)
    np.testing.assert_array_equal(whole(path), whole(video))


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("libvpx-vp9", ".mkv"), ("qtrle", ".mov"), ("cfhd", ".mov"), ("magicyuv", ".mkv")],
)
def test_the_container_is_believed_of_codecs_that_know_no_fields(
    tmp_path: Path, codec: str, suffix: str
) -> None:
    path = tmp_path / f"fields{suffix}"
    fields = ("-vf", "tinterlace=mode=interleave_top,setfield=tff", "-field_order", "tt")
    ffmpeg("-i", written(tmp_path / "v.mp4", 44, 60), *fields, "-c:v", codec, path)
    with pytest.raises(InputError, match="--deinterlace"):
        open_source(path)
    assert len(whole(path, deinterlace=True)) == 22


def test_what_ffmpeg_says_beside_the_work_reaches_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It calls full range of MJPEG and of many cameras deprecated, once for each worker."""
    path = tmp_path / "full.mkv"
    ffmpeg("-i", written(tmp_path / "v.mp4", 20), "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", path)
    capfd.readouterr()
    assert len(whole(path)) == 20
    assert capfd.readouterr() == ("", "")


def test_doubled_frames_do_not_change_the_rate(tmp_path: Path) -> None:
    path = tmp_path / "doubled.mp4"
    times = "settb=1/24000,setpts=(N-gte(N\\,20))/240/TB"
    passing = ("-fps_mode", "passthrough", "-enc_time_base", "1/24000")
    ffmpeg("-i", written(tmp_path / "v.mp4", 44), "-vf", times, *passing, path)
    info = open_source(path).info
    assert info.n_frames == 44
    assert info.frame_rate_measured == pytest.approx(240, abs=0.01)
    assert info.gaps().tolist() == [20]


def test_wide_primaries_are_said(tmp_path: Path) -> None:
    plain = written(tmp_path / "plain.mp4", 12)
    wide = with_tags(plain, tmp_path / "wide.mp4", colour_primaries=9)
    assert open_source(plain).info.notes == ()
    assert "BT.2020" in open_source(wide).info.notes[0]
    np.testing.assert_array_equal(whole(wide), whole(plain))


# --- what PNG files say of their values --------------------------------------------------------


def tagged_folder(folder: Path, **chunks: bytes) -> Path:
    folder.mkdir()
    for i, frame in enumerate(moving(6)):
        info = PngImagePlugin.PngInfo()
        for name, content in chunks.items():
            info.add(name.encode(), content)
        Image.fromarray(frame).save(folder / f"{i:03d}.png", pnginfo=info)
    return folder


def gamma(value: float) -> bytes:
    return struct.pack(">I", round(value * 100_000))


@pytest.mark.parametrize(
    ("chunks", "response"),
    [
        ({"gAMA": gamma(1)}, "linear"),
        ({"gAMA": gamma(1 / 1.8)}, "gamma1.8"),
        ({"cICP": bytes([1, 8, 0, 1])}, "linear"),
        ({"cICP": bytes([1, 9, 0, 1]), "gAMA": gamma(1 / 2.2)}, "log100"),
        ({"gAMA": gamma(1 / 2.2)}, ""),
        ({"gAMA": gamma(1), "sRGB": b"\0"}, ""),
        ({"cICP": bytes([1, 13, 0, 1])}, ""),
        ({}, ""),
    ],
)
def test_frames_that_are_no_cameras_curve_name_their_response(
    tmp_path: Path, chunks: dict[str, bytes], response: str
) -> None:
    folder = tagged_folder(tmp_path / "frames", **chunks)
    color = open_source(folder, fps=240).info.look.color
    assert color.response == response
    if response:
        with pytest.raises(InputError, match=f"--response {response}"):
            check_response(folder, color, Response.named("srgb"))
        check_response(folder, color, Response.named(response))
    assert len(whole(folder, fps=240)) == 6


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize(
    ("gamma", "primaries", "response"),
    [(1, "srgb", "linear"), (1.8, "p3", "gamma1.8"), (2.2, "srgb", ""), (2.2, "p3", "")],
)
def test_icc_profiles_say_what_frames_are(
    tmp_path: Path, kind: str, gamma: float, primaries: str, response: str
) -> None:
    for i, frame in enumerate(moving(6)):
        profile = icc_profile(gamma, primaries)
        Image.fromarray(frame).save(tmp_path / f"{i:03d}.{kind}", icc_profile=profile)
    info = open_source(tmp_path, fps=240).info
    assert info.look.color.response == response
    if gamma == 2.2:
        assert [note for note in info.notes if "p3, gamma 2.2" in note] == [
            f"its primaries are {name}, and stay as they are"
            for name in ["p3, gamma 2.2"]
            if primaries == "p3"
        ]
    assert len(whole(tmp_path, fps=240)) == 6


@pytest.mark.parametrize("profile", [b"junk", icc_profile(1)[:200]])
def test_damaged_profiles_change_nothing(tmp_path: Path, profile: bytes) -> None:
    for i, frame in enumerate(moving(6)):
        Image.fromarray(frame).save(tmp_path / f"{i:03d}.jpg", icc_profile=profile)
    assert open_source(tmp_path, fps=240).info.look.color.response == ""


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_frames_are_refused(tmp_path: Path, transfer: int) -> None:
    folder = tagged_folder(tmp_path / "frames", cICP=bytes([9, transfer, 0, 1]))
    with pytest.raises(InputError, match=r"PQ|HLG"):
        open_source(folder, fps=240)


def test_a_frame_with_another_transfer_is_left_out(tmp_path: Path) -> None:
    folder = tagged_folder(tmp_path / "frames")
    other = tagged_folder(tmp_path / "other", gAMA=gamma(1))
    (other / "003.png").replace(folder / "003.png")
    frames, problems, _ = read(folder, fps=240)
    assert sorted(frames) == [0, 1, 2, 4, 5]
    assert "linear" in problems[0].reason


def test_samples_of_12_bit_in_files_of_16_are_said_to_be_dark(tmp_path: Path) -> None:
    for i, frame in enumerate(moving(6)):
        grey = frame[..., 0].astype(np.uint16) * 16
        Image.fromarray(grey).save(tmp_path / f"{i:03d}.png")
    notes = open_source(tmp_path, fps=240).info.notes
    assert any("of 65535" in note and "12-bit" in note for note in notes)


# --- what is no video --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (bytes(10_000), "zeros: a download or copy that did not finish"),
        (b"", "an empty file"),
        (b"PK\3\4" + bytes(100), "a ZIP archive"),
    ],
)
def test_files_that_are_no_video_are_named(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(InputError, match=f"cannot be read as a video; found .*{kind}"):
        open_source(tmp_path / "clip.mp4")


@pytest.mark.parametrize("pattern", ["walk ({}).png", "Neuer Ordner ({}).png", "({}).png"])
def test_frames_that_windows_numbered_are_a_sequence(tmp_path: Path, pattern: str) -> None:
    frames = moving(12)
    for i, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(tmp_path / pattern.format(i))
    np.testing.assert_array_equal(whole(tmp_path, fps=240), frames)
    Image.fromarray(frames[3]).save(tmp_path / "walk (4) (1).png")
    with pytest.raises(InputError, match="2 sequences"):
        open_source(tmp_path, fps=240)


def test_numbers_beyond_any_clock_are_refused(tmp_path: Path) -> None:
    for i in range(12):
        Image.fromarray(moving(1)[0]).save(tmp_path / f"{10**25 + i}.png")
    with pytest.raises(InputError, match="too many digits"):
        open_source(tmp_path, fps=240)
