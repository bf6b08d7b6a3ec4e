import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from media import ffmpeg

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.response import Response
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
from gopro_tools.video import FrameProblem, FrameSource, open_source
from gopro_tools.video.container import open_video

PURE = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "grey": (120, 120, 120)}


def no_problem(problem: FrameProblem) -> None:
    raise AssertionError(problem)


def moving(n_frames: int, size_hw: tuple[int, int] = (48, 64)) -> list[Rgb]:
    """Frames that all differ, with texture that tells one from the next."""
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 256, (40, 60, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    height, width = size_hw
    return [np.roll(texture, (2 * i, 3 * i), axis=(0, 1))[:height, :width] for i in range(n_frames)]


def frames_of(source: FrameSource, start: int = 0, stop: int | None = None) -> list[Rgb]:
    wanted = list(source.read(start, source.info.n_frames if stop is None else stop, no_problem))
    assert [index for index, _ in wanted] == list(range(start, start + len(wanted)))
    return [frame for _, frame in wanted]


def ffmpeg_frames(path: Path, size_hw: tuple[int, int]) -> np.ndarray:
    """The same video through FFmpeg's own program, which rotates and honours edit lists."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, *size_hw, 3)


LONG_GOP = Encoding(gop_size=250, options={"preset": "veryfast", "bf": "3"})
SHORT_GOP = Encoding(gop_size=7, options={"preset": "veryfast", "bf": "3"})


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("lossless.mp4", LOSSLESS),
        ("camera.mp4", H264),
        ("b_frames.mov", SHORT_GOP),
        ("long_gop.mkv", LONG_GOP),
        ("hevc.mp4", Encoding(codec="libx265", gop_size=9, options={"preset": "ultrafast"})),
        ("stream.ts", SHORT_GOP),
        ("old.avi", Encoding(codec="mpeg4", crf=None, bit_rate=4_000_000, options={})),
        ("b.avi", Encoding(codec="mpeg4", crf=None, bit_rate=4_000_000, options={"bf": "2"})),
        ("vp8.webm", Encoding(codec="libvpx", crf=None, bit_rate=4_000_000, options={})),
    ],
)
def test_every_source_keeps_the_contract(tmp_path: Path, name: str, encoding: Encoding) -> None:
    """All frames, each once, and any piece equals that piece of the whole."""
    n_frames = 40
    write_video(tmp_path / name, moving(n_frames), 240, encoding)
    source = open_source(tmp_path / name)
    info = source.info
    assert (info.n_frames, info.size_hw) == (n_frames, (48, 64))
    whole = frames_of(source)
    assert len(whole) == n_frames
    assert info.cut_short == ""
    error = np.abs(np.stack(whole).astype(int) - np.stack(moving(n_frames))).mean(axis=(1, 2, 3))
    assert error.max() < (0.1 if name == "lossless.mp4" else 40)
    for start, stop in ((0, 5), (6, 7), (7, 20), (21, 22), (33, 40)):
        piece = frames_of(source, start, stop)
        np.testing.assert_array_equal(np.stack(piece), np.stack(whole[start:stop]))
    for threads in (2, 4):
        again = frames_of(open_source(tmp_path / name, decode_threads=threads), 5, 30)
        np.testing.assert_array_equal(np.stack(again), np.stack(whole[5:30]))


@pytest.mark.parametrize(
    ("name", "codec", "decodes_again"),
    [("a.mp4", "libx264", False), ("a.mp4", "libx265", False), ("a.mkv", "libx264", True)],
)
def test_first_frames_are_decoded_to_open_a_file_only_where_their_headers_do_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, decodes_again: bool
) -> None:
    opened: list[bool] = []

    def watched(path: Path, *, decoding: bool = True) -> object:
        opened.append(decoding)
        return open_video(path, decoding=decoding)

    encoding = Encoding(codec=codec, gop_size=7, options={"preset": "veryfast", "bf": "3"})
    write_video(tmp_path / name, moving(40), 240, encoding)
    monkeypatch.setattr("gopro_tools.video.file.open_video", watched)
    info = open_source(tmp_path / name).info
    assert info.facts is not None
    assert info.facts.reorder_depth == 2
    assert (opened[0], set(opened[1:])) == (True, {decodes_again})
    opened.clear()
    source = open_source(tmp_path / name, info=info)
    everything = ffmpeg_frames(tmp_path / name, (48, 64))
    for start in (0, 9, 30):
        np.testing.assert_array_equal(frames_of(source, start), everything[start:])
    assert set(opened) == {decodes_again}


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_folder_of_frames_keeps_the_contract(tmp_path: Path, suffix: str) -> None:
    frames = moving(12)
    write_frames(tmp_path / "frames", frames)
    if suffix == ".jpg":
        import cv2

        for path in sorted((tmp_path / "frames").iterdir()):
            cv2.imwrite(str(path.with_suffix(".jpg")), cv2.imread(str(path)))
            path.unlink()
    source = open_source(tmp_path / "frames", fps=240)
    assert source.info.n_frames == 12
    assert source.info.frame_rate_measured == pytest.approx(240)
    if suffix == ".png":
        np.testing.assert_array_equal(np.stack(frames_of(source)), np.stack(frames))
    np.testing.assert_array_equal(frames_of(source, 4, 6)[1], frames_of(source)[5])


@pytest.mark.parametrize("matrix", ["bt709", "bt601"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_tagged_colours_come_out_as_they_went_in(
    tmp_path: Path, matrix: str, full_range: bool, pixel_format: str
) -> None:
    encoding = Encoding(
        codec="libx265" if "10" in pixel_format else "libx264",
        pixel_format=pixel_format,
        matrix=matrix,  # type: ignore[arg-type]
        full_range=full_range,
        options={"preset": "ultrafast"},
    )
    for name, color in PURE.items():
        path = tmp_path / f"{name}.mp4"
        write_video(path, [np.full((64, 64, 3), color, np.uint8)] * 3, 240, encoding)
        frame = frames_of(open_source(path))[1]
        assert np.abs(frame[32, 32].astype(int) - color).max() <= 3, (name, frame[32, 32])


@pytest.mark.parametrize(("size_hw", "truth"), [((720, 128), "bt709"), ((576, 128), "bt601")])
def test_untagged_video_is_bt709_from_720_lines_up(
    tmp_path: Path, size_hw: tuple[int, int], truth: str
) -> None:
    encoding = Encoding(matrix=truth, tagged=False)  # type: ignore[arg-type]
    path = tmp_path / "untagged.mp4"
    write_video(path, [np.full((*size_hw, 3), (255, 0, 0), np.uint8)] * 3, 240, encoding)
    source = open_source(path)
    assert "assumed" in source.info.look.color.text
    assert np.abs(frames_of(source)[1][50, 50].astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotation_is_applied_as_ffmpeg_does(tmp_path: Path, degrees: int) -> None:
    path = tmp_path / "rotated.mp4"
    write_video(path, moving(4), 240, H264, rotation_degrees=degrees)
    source = open_source(path)
    height, width = (64, 48) if degrees != 180 else (48, 64)
    assert source.info.size_hw == (height, width)
    ours = np.stack(frames_of(source)).astype(int)
    theirs = ffmpeg_frames(path, (height, width))
    assert np.abs(ours - theirs).mean() < 1.5


def test_milliseconds_of_a_240_hz_matroska_file_are_a_constant_rate(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mkv", moving(48), 240, H264)
    info = open_source(tmp_path / "clip.mkv").info
    assert set(np.diff(info.ticks)) == {4, 5}
    assert info.constant_rate
    assert len(info.gaps()) == 0
    assert info.frame_rate_measured == pytest.approx(240, rel=0.01)


def test_a_gap_is_found_and_does_not_change_the_rate(tmp_path: Path) -> None:
    times = [Fraction(i + (3 if i >= 20 else 0), 240) for i in range(40)]
    write_video(tmp_path / "gap.mp4", moving(40), 240, H264, times_s=times)
    info = open_source(tmp_path / "gap.mp4").info
    assert info.gaps().tolist() == [20]
    assert not info.constant_rate
    assert info.frame_rate_measured == pytest.approx(240, rel=1e-3)
    np.testing.assert_allclose(info.times_s(None), [float(t) for t in times], atol=1e-4)


def test_missing_numbers_of_frames_are_a_gap(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames", moving(10))
    (tmp_path / "frames" / "000004.png").unlink()
    assert open_source(tmp_path / "frames", fps=240).info.gaps().tolist() == [3]


def test_capture_rate_of_slow_motion_is_recognised_and_can_be_overruled(tmp_path: Path) -> None:
    path = tmp_path / "slow.mp4"
    write_video(path, moving(30), 30, metadata={"com.android.capture.fps": "240.0"})
    info = open_source(path).info
    assert info.frame_rate_measured == pytest.approx(30)
    assert info.rate_hz(None) == 240
    assert info.times_s(None)[24] == pytest.approx(0.1)
    assert info.rate_hz(120) == 120
    assert info.times_s(120)[24] == pytest.approx(0.2)


@pytest.mark.parametrize("transfer", ["hlg", "pq"])
def test_hdr_is_refused_unless_asked_for(tmp_path: Path, transfer: str) -> None:
    encoding = Encoding(
        codec="libx265",
        pixel_format="yuv420p10le",
        matrix="bt2020",
        transfer=transfer,  # type: ignore[arg-type]
        options={"preset": "ultrafast"},
    )
    # Reference white of ITU-R BT.2408 and, below it, a sixteenth of its light.
    signals = {"hlg": (0.75, (3 * 0.2650 / 16) ** 0.5), "pq": (0.5807, 0.3164)}[transfer]
    bars = np.zeros((64, 128, 3), np.uint16)
    bars[:, :64], bars[:, 64:] = (round(signal * 65535) for signal in signals)
    path = tmp_path / "hdr.mp4"
    write_video(path, [bars] * 3, 240, encoding)
    with pytest.raises(InputError, match="--hdr"):
        open_source(path)
    frame = frames_of(open_source(path, hdr=Response.named("gamma2.2")))[1]
    assert (frame[32, 20] >= 253).all(), frame[32, 20]
    expected = 255 * (1 / 16) ** (1 / 2.2)
    np.testing.assert_allclose(frame[32, 100], expected, atol=3)


def test_colours_of_hdr_keep_their_hue(tmp_path: Path) -> None:
    """BT.709 red, in BT.2020 primaries and HLG, comes back as pure red."""
    light = np.array([0.6274, 0.0691, 0.0164]) * 0.265 * 0.8
    signal = np.sqrt(3 * np.minimum(light, 1 / 12))
    bright = light > 1 / 12
    signal[bright] = 0.17883277 * np.log(12 * light[bright] - 0.28466892) + 0.55991073
    frame = np.tile((signal * 65535).round().astype(np.uint16), (64, 64, 1))
    encoding = Encoding(
        codec="libx265",
        pixel_format="yuv444p10le",
        matrix="bt2020",
        transfer="hlg",
        crf=2,
        options={"preset": "ultrafast"},
    )
    write_video(tmp_path / "red.mp4", [frame] * 3, 240, encoding)
    got = frames_of(open_source(tmp_path / "red.mp4", hdr=Response.named("gamma2.2")))[1][32, 32]
    assert abs(int(got[0]) - 255 * 0.8 ** (1 / 2.2)) < 5
    assert got[1:].max() < 25


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("empty.mp4", b"", "cannot be read as a video"),
        ("text.mp4", b"this is no video " * 50, "cannot be read as a video"),
        ("zeros.mkv", bytes(5000), "cannot be read as a video"),
    ],
)
def test_what_is_no_video_is_named(
    tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=complaint) as error:
        open_source(path)
    assert str(path) in str(error.value)


def test_a_video_cut_short_gives_its_good_frames_and_a_problem(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mkv"
    write_video(whole, moving(60), 240, SHORT_GOP)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    truth = frames_of(open_source(whole))
    source = open_source(cut)
    problems: list[FrameProblem] = []
    got = dict(source.read(0, source.info.n_frames, problems.append))
    assert 10 < len(got) < 60
    assert "0.25 s promised" in source.info.cut_short
    for index, frame in got.items():
        np.testing.assert_array_equal(frame, truth[index])


def test_frames_after_damage_are_not_trusted_until_a_keyframe(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    write_video(whole, moving(60, (96, 128)), 240, Encoding(gop_size=10, crf=20))
    truth = frames_of(open_source(whole))
    data = bytearray(whole.read_bytes())
    with open_video(whole) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.pos is not None]
    # From the beginning of a frame on: what is wrong in its last block alone, no decoder can know.
    start = places[len(places) // 2] + 40
    data[start : start + 300] = np.random.default_rng(0).bytes(300)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    source = open_source(damaged)
    problems: list[FrameProblem] = []
    got = dict(source.read(0, source.info.n_frames, problems.append))
    assert problems
    assert str(damaged) in str(problems[0])
    assert 20 < len(got) < 60
    for index, frame in got.items():
        np.testing.assert_array_equal(frame, truth[index], err_msg=str(index))


@pytest.mark.parametrize(
    ("names", "fps", "complaint"),
    [
        ([], 240.0, "no images"),
        (["a1.png", "b1.png"], 240.0, "number"),
        (["first.png", "second.png"], 240.0, "end in its number"),
        (["000001.png"], None, "--fps"),
    ],
)
def test_unusable_folders_of_frames(
    tmp_path: Path, names: list[str], fps: float | None, complaint: str
) -> None:
    write_frames(tmp_path / "made", moving(1))
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((tmp_path / "made" / "000001.png").read_bytes())
    with pytest.raises(InputError, match=complaint):
        open_source(folder, fps=fps)


def test_a_bad_frame_in_a_folder_is_left_out_and_named(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames", moving(6))
    (tmp_path / "frames" / "000003.png").write_bytes(b"broken")
    write_frames(tmp_path / "small", moving(1, (10, 10)))
    (tmp_path / "small" / "000001.png").replace(tmp_path / "frames" / "000005.png")
    problems: list[FrameProblem] = []
    source = open_source(tmp_path / "frames", fps=240)
    got = [index for index, _ in source.read(0, 6, problems.append)]
    assert got == [0, 1, 3, 5]
    assert "000003.png" in str(problems[0])
    assert "000005.png" in str(problems[1])


@pytest.mark.parametrize(
    ("codec", "was_jpeg"),
    [
        (("-c:v", "mjpeg", "-q:v", 4), True),
        (("-c:v", "libx264", "-crf", 12), False),
        (("-c:v", "libx264", "-crf", 35, "-g", 1), False),
    ],
)
def test_frames_that_were_jpeg_are_noted(
    tmp_path: Path, codec: tuple[object, ...], was_jpeg: bool
) -> None:
    """As a camera's MJPEG video, or JPEG images, that were turned into PNG files."""
    scene = Scene(SceneConfig(seed=1, size_hw=(270, 480), photograph="coffee"))
    write_video(tmp_path / "made.mp4", render_frames(scene, 240, 9), 240, LOSSLESS)
    ffmpeg("-i", tmp_path / "made.mp4", *codec, tmp_path / "stored.mkv")
    (tmp_path / "frames").mkdir()
    ffmpeg("-i", tmp_path / "stored.mkv", tmp_path / "frames" / "%06d.png")
    notes = " ".join(open_source(tmp_path / "frames", fps=240).info.notes)
    assert ("the frames were JPEG files" in notes) == was_jpeg


REAL = {
    "android_240capture.mp4": (7, (720, 1280), 240.0),
    "gopro_max_walk.mp4": (315, (480, 848), 30000 / 1001),
    "samsung_sef_240capture.mp4": (63, (240, 320), 240.0),
    "street_60fps.mp4": (932, (240, 320), 60.0),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_clips(shared_data: Path, name: str) -> None:
    n_frames, size_hw, rate_hz = REAL[name]
    path = shared_data / "videos" / name
    source = open_source(path)
    assert (source.info.n_frames, source.info.size_hw) == (n_frames, size_hw)
    assert source.info.cut_short == ""
    assert source.info.rate_hz(None) == pytest.approx(rate_hz)
    last = min(n_frames, 60)
    ours = np.stack(frames_of(source, 0, last)).astype(int)
    theirs = ffmpeg_frames(path, size_hw)[:last]
    assert np.abs(ours - theirs).mean() < 1.5


@pytest.mark.shared
def test_real_hdr_clip_with_an_edit_list(shared_data: Path) -> None:
    path = shared_data / "videos" / "iphone_hevc10_edit_list.mp4"
    with pytest.raises(InputError, match="HLG"):
        open_source(path)
    source = open_source(path, hdr=Response.named("gamma2.2"))
    assert (source.info.n_frames, source.info.size_hw) == (77, (1920, 1080))
    assert source.info.cut_short == ""
    frame = frames_of(source, 30, 31)[0]
    assert 90 < frame.mean() < 200
