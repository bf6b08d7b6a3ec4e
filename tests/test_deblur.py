"""Deblurring photos and videos of all kinds, with a network whose result is known."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from media import written
from PIL import Image
from tiny_dataset import smooth_image, write_dataset
from tiny_network import sharpened, write_sharpener

from gopro_tools.deblur import DeblurConfig, OnnxRestorer, deblur, read_card
from gopro_tools.deblur import network as network_module
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.movies import side_by_side
from gopro_tools.pairing import pair_images
from gopro_tools.sources import Sources
from gopro_tools.video import open_source
from gopro_tools.video_output import VideoWriter

pytest.importorskip("onnx")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sharpener(tmp_path_factory.mktemp("network") / "sharpener.onnx")


@pytest.fixture
def config(weights: Path) -> DeblurConfig:
    return DeblurConfig(weights=weights, runtime="opencv", tile=64, overlap=16)


def picture(size_hw: tuple[int, int] = (150, 210), seed: int = 0) -> Rgb:
    return smooth_image(np.random.default_rng(seed), size_hw)


def expected_codes(codes: np.ndarray, largest: int = 255) -> np.ndarray:
    return sharpened(codes.astype(np.float32) / largest) * largest


@pytest.mark.parametrize("runtime", ["opencv", "onnxruntime"])
@pytest.mark.parametrize("size_hw", [(150, 210), (64, 64), (7, 5), (65, 300)])
def test_tiles_give_what_the_whole_image_gives(
    weights: Path, runtime: Any, size_hw: tuple[int, int]
) -> None:
    pytest.importorskip(runtime) if runtime == "onnxruntime" else None
    image = picture(size_hw)
    restorer = OnnxRestorer(weights, runtime=runtime, tile_px=64, overlap_px=16)
    assert np.abs(restorer.restore(image) - expected_codes(image)).max() <= 0.51
    done: list[tuple[int, int]] = []
    restorer.restore_light(image.astype(np.float32) / 255, lambda *at: done.append(at))
    assert done[-1][0] == done[-1][1] == len(done)


class TestPhotos:
    def test_rgb_png(self, tmp_path: Path, config: DeblurConfig) -> None:
        image = picture()
        (tmp_path / "in.png").write_bytes(encode_png(image))
        summary = deblur([tmp_path / "in.png"], tmp_path / "out", config)
        assert summary.written == [tmp_path / "out" / "in.png"]
        assert (summary.failures, summary.notes) == ([], [])
        assert summary.megapixels == pytest.approx(150 * 210 / 1e6)
        result = read_rgb(tmp_path / "out" / "in.png")
        assert np.abs(result - expected_codes(image)).max() <= 0.51

    def test_16_bits_keep_their_steps(self, tmp_path: Path, config: DeblurConfig) -> None:
        codes = picture().astype(np.uint16) * 257
        codes[:, :, 0] += np.arange(210, dtype=np.uint16) % 100
        codes = np.minimum(codes, 65000).astype(np.uint16)
        for suffix in (".png", ".tif"):
            assert cv2.imwrite(str(tmp_path / f"deep{suffix}"), codes[:, :, ::-1])
            deblur([tmp_path / f"deep{suffix}"], tmp_path / "out", config)
            result = cv2.imread(str(tmp_path / "out" / f"deep{suffix}"), cv2.IMREAD_UNCHANGED)
            assert result.dtype == np.uint16
            assert np.abs(result[:, :, ::-1] - expected_codes(codes, 65535)).max() <= 2

    def test_grey_stays_grey(self, tmp_path: Path, config: DeblurConfig) -> None:
        grey = picture()[:, :, 0]
        assert cv2.imwrite(str(tmp_path / "grey.png"), grey)
        deblur([tmp_path / "grey.png"], tmp_path / "out", config)
        result = cv2.imread(str(tmp_path / "out" / "grey.png"), cv2.IMREAD_UNCHANGED)
        assert result.ndim == 2
        assert np.abs(result - expected_codes(np.dstack([grey] * 3))[:, :, 0]).max() <= 0.51

    def test_alpha_is_untouched(self, tmp_path: Path, config: DeblurConfig) -> None:
        image = picture()
        alpha = np.arange(150 * 210, dtype=np.uint32).reshape(150, 210).astype(np.uint8)
        rgba = np.dstack([image, alpha])
        for suffix in (".png", ".webp"):
            Image.fromarray(rgba).save(tmp_path / f"a{suffix}", lossless=True, exact=True)
            deblur([tmp_path / f"a{suffix}"], tmp_path / "out", config)
            with Image.open(tmp_path / "out" / f"a{suffix}") as opened:
                result = np.array(opened)
            assert (result[:, :, 3] == alpha).all()
            assert np.abs(result[:, :, :3] - expected_codes(image)).max() <= 0.51

        Image.fromarray(rgba).save(tmp_path / "a.tif")
        (failure,) = deblur([tmp_path / "a.tif"], tmp_path / "out", config).failures
        assert "TIFF with alpha" in failure

    def test_a_phone_photo_comes_out_upright_with_its_metadata(
        self, tmp_path: Path, config: DeblurConfig
    ) -> None:
        image = picture((120, 160))
        exif = Image.Exif()
        exif[0x0112] = 6  # turn it by 90 degrees to see it upright
        exif[0x010F] = "A phone"
        Image.fromarray(image).save(
            tmp_path / "IMG.jpg",
            quality=98,
            subsampling=0,
            exif=exif,
            icc_profile=b"profile" * 9,
            xmp=b"<x:xmpmeta/>",
        )
        deblur([tmp_path / "IMG.jpg"], tmp_path / "out", config)
        with Image.open(tmp_path / "out" / "IMG.jpg") as result:
            assert result.size == (120, 160), "stored upright"
            assert result.getexif()[0x0112] == 1
            assert result.getexif()[0x010F] == "A phone"
            assert result.info["icc_profile"] == b"profile" * 9
            assert result.info["xmp"] == b"<x:xmpmeta/>"
            pixels = np.array(result).astype(int)
        upright = read_rgb(tmp_path / "IMG.jpg")
        assert np.abs(pixels - expected_codes(upright)).mean() < 2.5

    @pytest.mark.parametrize("progressive", [False, True])
    def test_what_follows_the_picture_of_a_phone_is_said_to_be_lost(
        self, tmp_path: Path, config: DeblurConfig, progressive: bool
    ) -> None:
        """A gain map, another view, the video of a motion photo: XMP that names them goes too."""
        image, xmp = Image.fromarray(picture()), b"<x:xmpmeta>MotionPhoto</x:xmpmeta>"
        view = Image.fromarray(picture((40, 50)))
        chosen: dict[str, Any] = {"xmp": xmp, "progressive": progressive}
        image.save(tmp_path / "plain.jpg", **chosen)
        image.save(tmp_path / "views.jpg", "MPO", save_all=True, append_images=[view], **chosen)
        video = written(tmp_path / "clip.mp4", 6).read_bytes()
        plain = (tmp_path / "plain.jpg").read_bytes()
        (tmp_path / "motion.jpg").write_bytes(plain + video)
        (tmp_path / "padded.jpg").write_bytes(plain + bytes(100))
        names = ("plain", "views", "motion", "padded")
        found = deblur([tmp_path / f"{n}.jpg" for n in names], tmp_path / "out", config)
        assert [note.partition(":")[0] for note in found.notes] == ["views.jpg", "motion.jpg"]
        assert all("gain map" in note for note in found.notes)
        for name in names:
            with Image.open(tmp_path / "out" / f"{name}.jpg") as result:
                assert ("xmp" in result.info) is (name in ("plain", "padded"))

    @pytest.mark.parametrize(("gamma", "said"), [(1.0, "linear"), (1.8, "gamma 1.8"), (2.2, "")])
    def test_values_that_no_camera_stores_are_said(
        self, tmp_path: Path, config: DeblurConfig, gamma: float, said: str
    ) -> None:
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add(b"gAMA", round(100_000 / gamma).to_bytes(4, "big"))
        Image.fromarray(picture()).save(tmp_path / "m.png", pnginfo=info)
        found = deblur([tmp_path / "m.png"], tmp_path / "out", config)
        assert len(found.written) == 1
        assert [said in note and "sRGB" in note for note in found.notes] == [True] * bool(said)

    def test_png_keeps_its_metadata(self, tmp_path: Path, config: DeblurConfig) -> None:
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_text("Comment", "mine")
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.fromarray(picture()).save(
            tmp_path / "m.png", pnginfo=info, dpi=(300, 300), icc_profile=b"p" * 40, exif=exif
        )
        deblur([tmp_path / "m.png"], tmp_path / "out", config)
        with Image.open(tmp_path / "out" / "m.png") as result:
            result.load()
            assert result.info["Comment"] == "mine"
            assert result.info["icc_profile"] == b"p" * 40
            assert round(result.info["dpi"][0]) == 300
            assert result.getexif()[0x0112] == 1
            assert np.abs(np.array(result) - expected_codes(picture()[::-1, ::-1])).max() <= 0.51

    def test_png_keeps_how_to_show_it(self, tmp_path: Path, config: DeblurConfig) -> None:
        """A PQ picture without its cICP chunk is shown grey and flat."""
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add(b"cICP", bytes([9, 16, 0, 1]))
        info.add(b"gAMA", (45455).to_bytes(4, "big"))
        Image.fromarray(picture()).save(tmp_path / "pq.png", pnginfo=info)
        (note,) = deblur([tmp_path / "pq.png"], tmp_path / "out", config).notes
        assert note.startswith("pq.png: its values are PQ")
        data = (tmp_path / "out" / "pq.png").read_bytes()
        assert b"cICP" + bytes([9, 16, 0, 1]) in data
        assert max(data.index(b"cICP"), data.index(b"gAMA")) < data.index(b"IDAT")
        _, note = deblur([tmp_path / "pq.png"], tmp_path / "pq.jpg", config).notes
        assert note == "pq.jpg: JPG does not hold the PNG chunks cICP, gAMA"

    def test_metadata_move_between_formats(self, tmp_path: Path, config: DeblurConfig) -> None:
        kept = {"icc_profile": b"profile" * 9, "xmp": b"<x:xmpmeta/>", "dpi": (300, 300)}
        Image.fromarray(picture()).save(tmp_path / "a.jpg", comment=b"mine", **kept)
        for first, second in (("a.jpg", "b.png"), ("b.png", "c.jpg"), ("a.jpg", "d.jpg")):
            assert deblur([tmp_path / first], tmp_path / second, config).notes == []
        for name in ("b.png", "c.jpg", "d.jpg"):
            with Image.open(tmp_path / name) as image:
                found = image.info | {"dpi": image.info.get("dpi", (300, 300))}
                assert {key: found.get(key) for key in kept} == kept, name
        with Image.open(tmp_path / "d.jpg") as image:
            assert (image.info["dpi"], image.info["comment"]) == ((300, 300), b"mine")

    def test_what_a_format_cannot_hold_is_said(self, tmp_path: Path, config: DeblurConfig) -> None:
        assert cv2.imwrite(str(tmp_path / "d.png"), picture().astype(np.uint16) * 257)
        Image.fromarray(np.dstack([picture(), picture()[:, :, 0]])).save(tmp_path / "a.png")
        exif = Image.Exif()
        exif[0x010F] = "A phone"
        Image.fromarray(picture()).save(tmp_path / "e.jpg", exif=exif)
        for name, target, said in (
            ("d.png", "d.jpg", "holds 8 bits"),
            ("a.png", "a.jpg", "no alpha"),
            ("e.jpg", "e.bmp", "metadata are not kept"),
        ):
            summary = deblur([tmp_path / name], tmp_path / "out" / target, config)
            assert said in summary.notes[0]
            assert (tmp_path / "out" / target).is_file()
        assert deblur([tmp_path / "e.jpg"], tmp_path / "e.png", config).notes == []
        with Image.open(tmp_path / "e.png") as result:
            assert result.getexif()[0x010F] == "A phone"

    def test_a_folder_keeps_its_shape_and_one_bad_file_ends_nothing(
        self, tmp_path: Path, config: DeblurConfig
    ) -> None:
        folder = tmp_path / "photos"
        (folder / "sub").mkdir(parents=True)
        (folder / "a.png").write_bytes(encode_png(picture()))
        (folder / "sub" / "b.png").write_bytes(encode_png(picture()))
        (folder / "broken.png").write_bytes(b"\x89PNG no")
        (folder / "raw.CR2").write_bytes(b"raw")
        summary = deblur([folder], tmp_path / "out", config)
        assert {p.relative_to(tmp_path / "out").as_posix() for p in summary.written} == {
            "a.png", "sub/b.png",
        }  # fmt: skip
        assert len(summary.failures) == 1
        assert "broken.png" in summary.failures[0]
        assert ".cr2" in summary.notes[0]

    def test_a_dataset_gives_what_evaluate_expects(
        self, tmp_path: Path, config: DeblurConfig
    ) -> None:
        root = write_dataset(tmp_path / "data", train=(1,), test=(2,))
        summary = deblur([root], tmp_path / "out", config)
        names = [path.relative_to(tmp_path / "out").as_posix() for path in summary.written]
        assert names == ["GOPR0002_11_00/000001.png", "GOPR0002_11_00/000002.png"]
        blurred = read_rgb(root / "test/GOPR0002_11_00/blur_gamma/000001.png")
        assert np.abs(read_rgb(summary.written[0]) - expected_codes(blurred)).max() <= 0.51
        sources = Sources(dataset=root, restored=(f"mine={tmp_path / 'out'}",))
        assert len(pair_images(sources).image_sets) == 2

    def test_comparison_shows_both(self, tmp_path: Path, config: DeblurConfig) -> None:
        image = picture((101, 150))
        (tmp_path / "in.png").write_bytes(encode_png(image))
        compared = DeblurConfig(weights=config.weights, runtime="opencv", compare=True)
        summary = deblur([tmp_path / "in.png"], tmp_path / "out", compared)
        beside = read_rgb(tmp_path / "out" / "in_compare.jpg").astype(int)
        assert summary.written[1].name == "in_compare.jpg"
        assert beside.shape == (28 + 102, 300, 3)
        assert np.abs(beside[28:129, :150] - image).mean() < 3
        assert np.abs(beside[28:129, 150:] - expected_codes(image)).mean() < 3


def sound(seconds: float, rate_hz: int = 44100) -> np.ndarray:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)[np.newaxis]


def write_clip(path: Path, ticks: list[int], *, with_sound: bool = True) -> list[Rgb]:
    """A clip with frames at given milliseconds, H.264 with AAC."""
    frames = [picture((48, 64), seed) for seed in range(len(ticks))]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        stream.options = {"crf": "4"}
        audio: Any = container.add_stream("aac", rate=44100, layout="mono") if with_sound else None
        for frame, tick in zip(frames, ticks, strict=True):
            made = av.VideoFrame.from_ndarray(frame, format="rgb24")
            made.pts, made.time_base = tick, Fraction(1, 1000)
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))
        if audio is not None:
            made_sound = av.AudioFrame.from_ndarray(sound(0.6), format="fltp", layout="mono")
            made_sound.sample_rate = 44100
            container.mux(audio.encode(made_sound))
            container.mux(audio.encode(None))
    return frames


def times_ms(path: Path) -> list[float]:
    info = open_source(path).info
    return [round(float(t * info.seconds_per_tick) * 1000, 2) for t in info.ticks - info.ticks[0]]


def seconds_of(path: Path) -> float:
    with av.open(str(path)) as container:
        return float(container.duration or 0) / 1e6


def audio_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(audio=0) if p.size]


class TestVideos:
    TICKS = (0, 33, 67, 100, 200, 233, 267, 300, 500)  # a gap, and no constant rate

    @pytest.mark.parametrize("lossless", [False, True])
    def test_times_and_sound_are_kept(self, tmp_path: Path, weights: Path, lossless: bool) -> None:
        write_clip(tmp_path / "in.mp4", list(self.TICKS))
        config = DeblurConfig(weights=weights, runtime="opencv", lossless=lossless)
        summary = deblur([tmp_path / "in.mp4"], tmp_path / "out", config)
        target = tmp_path / "out" / ("in.mkv" if lossless else "in.mp4")
        assert summary.written == [target]
        assert (summary.failures, summary.notes) == ([], [])
        assert times_ms(target) == times_ms(tmp_path / "in.mp4") == list(self.TICKS)
        durations = [seconds_of(path) for path in (tmp_path / "in.mp4", target)]
        assert durations[1] == pytest.approx(durations[0], abs=0.035)
        assert bool(open_source(target).info.cut_short) == bool(
            open_source(tmp_path / "in.mp4").info.cut_short
        )
        assert audio_packets(target) == audio_packets(tmp_path / "in.mp4")
        assert len(audio_packets(target)) > 20
        before = [f for _, f in open_source(tmp_path / "in.mp4").read(0, 9, pytest.fail)]
        after = [f for _, f in open_source(target).read(0, 9, pytest.fail)]
        for old, new in zip(before, after, strict=True):
            error = new - expected_codes(old)
            if lossless:
                assert np.abs(error).max() <= 0.51
            else:  # colours are subsampled, luma is not
                assert np.abs(error @ [0.2126, 0.7152, 0.0722]).mean() < 3
        assert [p.name for p in (tmp_path / "out").iterdir()] == [target.name]

    def test_comparison_is_a_clip_of_the_same_times(self, tmp_path: Path, weights: Path) -> None:
        write_clip(tmp_path / "in.mp4", [0, 40, 80])
        config = DeblurConfig(weights=weights, runtime="opencv", compare=True)
        deblur([tmp_path / "in.mp4"], tmp_path / "out", config)
        beside = tmp_path / "out" / "in_compare.mp4"
        assert times_ms(beside) == [0, 40, 80]
        assert open_source(beside).info.size_hw == (28 + 48, 128)

    def test_a_clip_without_sound(self, tmp_path: Path, config: DeblurConfig) -> None:
        write_clip(tmp_path / "in.mp4", [0, 40], with_sound=False)
        summary = deblur([tmp_path / "in.mp4"], tmp_path / "out.mp4", config)
        assert (summary.failures, summary.notes) == ([], [])
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert not container.streams.audio

    def test_odd_sizes(self, tmp_path: Path) -> None:
        frames = [picture((47, 63), seed) for seed in range(3)]
        with VideoWriter(
            tmp_path / "odd.mp4", size_hw=(47, 63), seconds_per_tick=Fraction(1, 25)
        ) as writer:
            for tick, frame in enumerate(frames):
                writer.write(frame, tick)
        read = [f for _, f in open_source(tmp_path / "odd.mp4").read(0, 3, pytest.fail)]
        for old, new in zip(frames, read, strict=True):
            assert np.abs(old.astype(int) - new).mean() < 6

    def test_a_failed_video_leaves_nothing(self, tmp_path: Path, config: DeblurConfig) -> None:
        write_clip(tmp_path / "in.mp4", [0, 40, 80])
        data = (tmp_path / "in.mp4").read_bytes()
        (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
        summary = deblur([tmp_path / "cut.mp4"], tmp_path / "out", config)
        assert summary.written == []
        assert "cut.mp4" in summary.failures[0]
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda p: p / "absent.onnx", "no such file"),
            (lambda p: _written(p / "bad.onnx", b"nonsense"), "not an ONNX file"),
            (lambda p: write_sharpener(p / "fixed.onnx", (64, 64)), "fixed at 64x64"),
        ],
    )
    def test_weights(self, tmp_path: Path, change: Callable[[Path], Path], message: str) -> None:
        with pytest.raises(InputError, match=message):
            OnnxRestorer(change(tmp_path), runtime="opencv")

    def test_a_result_that_is_no_number(
        self, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        restorer = OnnxRestorer(weights, runtime="opencv")
        monkeypatch.setattr(restorer, "_run", lambda batch: batch * np.float32("nan"))
        with pytest.raises(InputError, match="not numbers"):
            restorer.restore(picture())

    def test_places(self, tmp_path: Path, config: DeblurConfig) -> None:
        photo = tmp_path / "a.png"
        photo.write_bytes(encode_png(picture()))
        for sources, out, message in (
            ([photo], tmp_path, "would replace it"),
            ([photo], photo, "would replace it"),
            ([tmp_path], tmp_path / "sub", "lies in the input"),
            ([tmp_path / "no.png"], tmp_path / "o", "no such file"),
            ([Path(__file__)], tmp_path / "o", "Convert it first"),
        ):
            with pytest.raises(InputError, match=message):
                deblur(sources, out, config)
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="no photo or video"):
            deblur([tmp_path / "empty"], tmp_path / "o", config)

    def test_what_is_no_photo_is_named_and_the_others_are_done(
        self, tmp_path: Path, config: DeblurConfig
    ) -> None:
        photo = tmp_path / "a.png"
        photo.write_bytes(encode_png(picture()))
        sources = [Path(__file__), photo, tmp_path / "no.png"]
        summary = deblur(sources, tmp_path / "out", config)
        assert summary.written == [tmp_path / "out" / "a.png"]
        wrong, missing = summary.failures
        assert wrong.startswith(f"{__file__}: neither a photo nor a video")
        assert missing == f"{tmp_path / 'no.png'}: no such file or folder."

    def test_names_that_differ_only_in_case_or_suffix_do_not_collide(
        self, tmp_path: Path, config: DeblurConfig
    ) -> None:
        clips = tmp_path / "clips"
        clips.mkdir()
        write_clip(clips / "a.mp4", [0, 40])
        write_clip(clips / "a.mkv", [0, 40])
        summary = deblur([clips], tmp_path / "out", config)
        assert sorted(path.name for path in summary.written) == ["a.mp4", "a.mp4.mp4"]

    @pytest.mark.parametrize("compare", [False, True])
    def test_no_result_replaces_another(
        self, tmp_path: Path, config: DeblurConfig, compare: bool
    ) -> None:
        """One name in several folders, other suffixes, and names as comparisons have them."""
        photos = [tmp_path / day / "x.png" for day in "abc"]
        photos += [tmp_path / "d" / name for name in ("X.png", "x.bmp", "x_compare.jpg")]
        for number, path in enumerate(photos):
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), np.full((8, 8, 3), 20 * number + 20, np.uint8))
        for clip in ("x.mkv", "x_compare.mp4"):
            write_clip(tmp_path / "d" / clip, [0, 40])
        sources = [*photos[:3], tmp_path / "d"]
        summary = deblur(sources, tmp_path / "out", replace(config, compare=compare))
        assert summary.failures == []
        assert len(summary.written) == (16 if compare else 8)
        assert len({str(path).casefold() for path in summary.written}) == len(summary.written)
        results = [path for path in summary.written if path.suffix in (".png", ".bmp")]
        assert sorted(int(read_rgb(path)[4, 4, 0]) for path in results) == [20, 40, 60, 80, 100]

    @pytest.mark.parametrize("compare", [False, True])
    def test_no_result_replaces_a_photo(
        self, tmp_path: Path, config: DeblurConfig, compare: bool
    ) -> None:
        (tmp_path / "sub").mkdir()
        mine = tmp_path / ("x_compare.jpg" if compare else "x.png")
        for path in (tmp_path / "sub" / "x.png", mine):
            cv2.imwrite(str(path), np.full((8, 8, 3), 99, np.uint8))
        before = mine.read_bytes()
        sources = [tmp_path / "sub" / "x.png", mine]
        for link in (tmp_path, tmp_path / "sub" / ".."):
            with pytest.raises(InputError, match="would replace it"):
                deblur(sources, link, replace(config, compare=compare))
        assert mine.read_bytes() == before
        assert len(list(tmp_path.rglob("*"))) == 3

    def test_names_of_files_as_out(self, tmp_path: Path, config: DeblurConfig) -> None:
        photo, clip = tmp_path / "a.png", tmp_path / "a.mkv"
        photo.write_bytes(encode_png(picture()))
        write_clip(clip, [0, 40])
        for sources, name, message in (
            ([photo, clip], "b.png", "name a folder"),
            ([tmp_path], "../b.png", "name a folder"),
            ([photo], "b.mp4", "is a photo; .bmp"),
            ([clip], "b.png", "is a video; "),
        ):
            with pytest.raises(InputError, match=message):
                deblur(sources, tmp_path / name, config)
        deblur([photo], tmp_path / "b.jpg", config)
        assert read_rgb(tmp_path / "b.jpg").shape == (150, 210, 3)

    def test_folders_are_searched_as_everywhere(self, tmp_path: Path, config: DeblurConfig) -> None:
        """Links to folders are followed, also in a circle; thumbnails of servers are left out."""
        photos = tmp_path / "photos"
        (photos / "@eaDir").mkdir(parents=True)
        (tmp_path / "elsewhere").mkdir()
        (photos / "link").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "back").symlink_to(photos)
        for path in (photos / "@eaDir" / "t.png", *(tmp_path / "elsewhere" / n for n in "a\n")):
            path = path.with_name(f"{path.stem}.png")
            path.write_bytes(encode_png(picture((8, 8))))
        os.mkfifo(photos / "pipe.mp4")
        (photos / "gone.jpg").symlink_to("nowhere")
        summary = deblur([photos], tmp_path / "out", config)
        assert summary.written == [tmp_path / "out" / "link" / name for name in ("\n.png", "a.png")]
        assert summary.failures == [
            f"{photos / name}: a link to nothing, or no file." for name in ("gone.jpg", "pipe.mp4")
        ]

    def test_options(self) -> None:
        with pytest.raises(InputError, match="--tile"):
            DeblurConfig(tile=8)
        with pytest.raises(InputError, match="--overlap"):
            DeblurConfig(overlap=400)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_cards_say_where_a_network_helps(tmp_path: Path) -> None:
    path = _written(tmp_path / "net.onnx", b"")
    assert "no card" in read_card(path).advice
    stored = {"name": "small", "trained_on": "rendered scenes", "image_size": "320x180",
              "blur_px": [1, 7], "licence": "MIT"}  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(stored))
    assert (
        "small was trained on rendered scenes (320x180, blur of 1 to 7 px)"
        in read_card(path).advice
    )
    for text, says in (
        ('{"blur_px": 3}', "not a readable card"),
        ('{"name": ["small"]}', "name should be text"),
        ('{"name": "small"', "damaged, or cut off"),
        ("[" * 100_000, "too deeply"),
    ):
        path.with_suffix(".json").write_text(text)
        with pytest.raises(InputError, match=says):
            read_card(path)


def test_no_shipped_network_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "files", lambda name: tmp_path)
    with pytest.raises(InputError, match="No network ships"):
        network_module.shipped_network()


def test_what_ships_is_small_has_a_card_and_runs() -> None:
    try:
        path = network_module.shipped_network()
    except InputError as error:
        pytest.skip(str(error))
    assert path.stat().st_size < 2_000_000
    card = read_card(path)
    assert card.blur_px is not None
    assert card.licence
    image = picture((90, 120))
    opencv = OnnxRestorer(path, runtime="opencv").restore(image).astype(int)
    assert np.abs(opencv - image).mean() < 20
    pytest.importorskip("onnxruntime")
    assert np.abs(opencv - OnnxRestorer(path, runtime="onnxruntime").restore(image)).max() <= 1


def test_the_command_needs_no_torch(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "in.png").write_bytes(encode_png(picture()))
    code = (
        "import sys; sys.modules.update(torch=None, onnxruntime=None)\n"
        "from gopro_tools.deblur import DeblurConfig\n"
        "from gopro_tools.deblur.command import command\n"
        "from pathlib import Path\n"
        f"config = DeblurConfig(weights=Path({str(weights)!r}), runtime='opencv')\n"
        f"out = Path({str(tmp_path / 'o')!r})\n"
        f"raise SystemExit(command((Path({str(tmp_path / 'in.png')!r}),), out, config))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "megapixels in" in result.stderr
    assert (tmp_path / "o" / "in.png").is_file()


def test_onnxruntime_leaves_nothing_behind(tmp_path: Path, weights: Path) -> None:
    """Its own builds keep an identifier and events in the home folder, and send them."""
    pytest.importorskip("onnxruntime")
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys; from pathlib import Path; from gopro_tools.deblur import OnnxRestorer;"
        "OnnxRestorer(Path(sys.argv[1]), runtime='onnxruntime');"
        "from gopro_tools import doctor; doctor.examine()"
    )
    env = {name: text for name, text in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    subprocess.run([sys.executable, "-c", code, weights], env=env | places, check=True, timeout=300)
    assert not [*home.rglob("*onnxruntime*")]


def test_side_by_side_is_even_for_video() -> None:
    assert side_by_side(picture((47, 33)), picture((47, 33))).shape == (76, 66, 3)
