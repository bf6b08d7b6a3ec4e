"""Rendered scenes: what they promise about light, motion and files."""

import json
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from hypothesis import given, settings
from hypothesis import strategies as st

from gopro_tools.console import EXIT_FINDINGS, EXIT_USAGE, run_command
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.response import Response
from gopro_tools.scenes import (
    H264,
    LOSSLESS,
    PHOTOGRAPHS,
    Encoding,
    Scene,
    SceneConfig,
    render_frames,
    write_frames,
    write_video,
)
from gopro_tools.scenes.clips import render_clips
from gopro_tools.scenes.command import command
from gopro_tools.scenes.config import ClipsConfig
from gopro_tools.video_output import VideoWriter

SIZE_HW = (90, 160)
ACCURATE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
FFV1 = Encoding(codec="ffv1", pixel_format="bgr0", crf=None)


def small_scene(**changes: object) -> Scene:
    options: dict[str, object] = {
        "seed": 3, "size_hw": SIZE_HW, "photograph": "motorcycle", "shake_px_s": 80.0,
        "object_speed_px_s": 120.0,
    }  # fmt: skip
    return Scene(SceneConfig(**{**options, **changes}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return small_scene()


@pytest.fixture(scope="module")
def plain_scene() -> Scene:
    """Nothing in front and nothing brighter than white."""
    return small_scene(n_objects=0, highlights=False)


def decoded(path: Path) -> list[Rgb]:
    with av.open(str(path)) as container:
        return [
            # FFmpeg's usual rounding is off by up to 3 codes for 10-bit video.
            frame.to_ndarray(format="rgb24", interpolation=ACCURATE)
            for frame in container.decode(video=0)
        ]


def decoded_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


# ---------------------------------------------------------------- light


def test_equal_configs_render_equal_pixels_and_other_seeds_do_not(scene: Scene) -> None:
    again, other = small_scene(), small_scene(seed=4)
    np.testing.assert_array_equal(scene.linear_frame(0.123), again.linear_frame(0.123))
    assert np.abs(scene.linear_frame(0.123) - other.linear_frame(0.123)).mean() > 0.01


def test_an_added_object_leaves_the_rest_as_it_is() -> None:
    one, two = small_scene(n_objects=1), small_scene(n_objects=2)
    untouched = two.object_mask(0.2) == one.object_mask(0.2)
    untouched &= cv2.dilate((two.object_mask(0.2) == 2).astype(np.uint8), np.ones((5, 5))) == 0
    assert untouched.mean() > 0.5
    np.testing.assert_array_equal(one.frame(0.2)[untouched], two.frame(0.2)[untouched])


def test_exposure_of_a_scene_at_rest_is_its_frame() -> None:
    still = small_scene(shake_px_s=0, object_speed_px_s=0)
    exposure = still.exposure(0.0, 0.5, n_subframes=16)
    np.testing.assert_allclose(exposure, still.linear_frame(7.0), rtol=1e-5)
    np.testing.assert_allclose(still.flow(0.0, 0.5), 0, atol=1e-9)


@settings(max_examples=5, deadline=None)
@given(start_s=st.floats(0, 50), middle_s=st.floats(0.001, 0.1))
def test_exposures_add_up(scene: Scene, start_s: float, middle_s: float) -> None:
    first = scene.exposure(start_s, start_s + middle_s, 3)
    second = scene.exposure(start_s + middle_s, start_s + 2 * middle_s, 3)
    whole = scene.exposure(start_s, start_s + 2 * middle_s, 6)
    np.testing.assert_allclose((first + second) / 2, whole, atol=1e-5, rtol=1e-4)


def test_mean_of_frames_approaches_the_exposure_as_frames_grow(scene: Scene) -> None:
    start_s, stop_s = 0.1, 0.1 + 11 / 240
    truth = scene.exposure(start_s, stop_s, n_subframes=192)
    errors = []
    for n_frames in (3, 6, 12, 24):
        rate_hz = n_frames / (stop_s - start_s)
        times_s = start_s + (np.arange(n_frames) + 0.5) / rate_hz
        mean = np.mean([scene.linear_frame(time_s) for time_s in times_s], axis=0)
        errors.append(np.sqrt(np.mean((mean - truth) ** 2)))
    assert all(later < 0.7 * earlier for earlier, later in pairwise(errors))


def test_mean_of_coded_frames_approaches_the_coded_exposure() -> None:
    # Without lights, which saturate in each frame and not in their sum, what is left is rounding.
    dull = small_scene(highlights=False)
    response = Response.named("gamma2.2")
    rate_hz, n_frames = 1920.0, 48
    frames = render_frames(dull, rate_hz, n_frames, start_s=0.3)
    mean = np.mean([response.decode(frame) for frame in frames], axis=0)
    start_s, stop_s = 0.3 - 0.5 / rate_hz, 0.3 + (n_frames - 0.5) / rate_hz
    truth = dull.encode(dull.exposure(start_s, stop_s, 96))
    off = np.abs(response.encode(mean).astype(int) - truth)
    assert np.mean(off) < 0.5
    assert np.percentile(off, 99) <= 2


def test_lights_outshine_white_before_the_sensor_and_leave_streaks(scene: Scene) -> None:
    linear = scene.linear_frame(0.1)
    assert linear.dtype == np.float32
    assert linear.shape == (*SIZE_HW, 3)
    assert linear.min() >= 0
    assert linear.max() > 3
    frame = scene.frame(0.1)
    assert (frame[linear > 1] == 255).all()
    # A light that saturates every frame it is in is dimmer in their mean than in the exposure.
    exposure = scene.exposure(0.1, 0.2, 32)
    times_s = 0.1 + 0.1 * (np.arange(32) + 0.5) / 32
    of_frames = np.mean([np.minimum(scene.linear_frame(time_s), 1) for time_s in times_s], axis=0)
    assert (np.minimum(exposure, 1) - of_frames).max() > 0.05


def test_without_highlights_nothing_outshines_white(plain_scene: Scene) -> None:
    # The cubic kernel overshoots a little at edges.
    assert plain_scene.linear_frame(0.1).max() < 1.15


def test_encoding_agrees_with_the_response(scene: Scene) -> None:
    linear = scene.exposure(0.0, 0.05, 4)
    exact = Response.named("gamma2.2").encode(linear).astype(int)
    off = np.abs(scene.encode(linear).astype(int) - exact)
    assert off.max() <= 1
    assert np.count_nonzero(off) < 0.005 * off.size


def test_another_response_decodes_the_photograph_and_encodes_the_frame(plain_scene: Scene) -> None:
    srgb = small_scene(n_objects=0, highlights=False, response="srgb")
    linear = srgb.linear_frame(0.1)
    assert np.abs(linear - plain_scene.linear_frame(0.1)).mean() > 1e-4
    exact = Response.named("srgb").encode(linear).astype(int)
    assert np.abs(srgb.frame(0.1).astype(int) - exact).max() <= 1


def test_an_open_shutter_blurs_around_its_middle(plain_scene: Scene) -> None:
    frame = plain_scene.frame(0.2, shutter_s=0.05, n_subframes=8)
    np.testing.assert_array_equal(frame, plain_scene.encode(plain_scene.exposure(0.175, 0.225, 8)))
    assert detail(frame) < 0.7 * detail(plain_scene.frame(0.2))


def detail(image: Rgb) -> float:
    return float(np.abs(cv2.Laplacian(image.astype(np.float32), cv2.CV_32F)).mean())


def test_detail_finer_than_a_pixel_neither_shimmers_nor_turns_into_moire(tmp_path: Path) -> None:
    stripes = np.zeros((1200, 2000, 3), np.uint8)
    stripes[:, ::2] = 255
    (tmp_path / "stripes.png").write_bytes(encode_png(stripes))
    far = small_scene(photograph=tmp_path / "stripes.png", n_objects=0, highlights=False)
    frames = np.stack([far.linear_frame(time_s) for time_s in (0.0, 0.07, 0.3)])
    # Half black, half white: half the light, not half the code.
    np.testing.assert_allclose(frames, 0.5, atol=0.01)


def test_sharpness_does_not_depend_on_where_pixels_fall(plain_scene: Scene) -> None:
    of_frames = [detail(frame) for frame in render_frames(plain_scene, 240, 40)]
    assert max(of_frames) / min(of_frames) < 1.15


# ---------------------------------------------------------------- motion


@pytest.mark.parametrize("photograph", sorted(PHOTOGRAPHS))
def test_flow_agrees_with_what_is_seen(photograph: str) -> None:
    rendered = small_scene(photograph=photograph, highlights=False)
    start_s, stop_s = 0.5, 0.53
    before, after = rendered.linear_frame(start_s), rendered.linear_frame(stop_s)
    flow = rendered.flow(start_s, stop_s)
    height, width = SIZE_HW
    y, x = np.mgrid[:height, :width].astype(np.float32)
    target = np.dstack([x, y]) + flow
    fetched = cv2.remap(after, target[..., 0], target[..., 1], cv2.INTER_CUBIC)
    ids = rendered.object_mask(start_s)
    ids_then = cv2.remap(
        rendered.object_mask(stop_s), target[..., 0], target[..., 1], cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT, borderValue=255,
    )  # fmt: skip
    # Where the same surface is seen at both times, clear of edges between surfaces.
    edges = cv2.morphologyEx(ids, cv2.MORPH_GRADIENT, np.ones((7, 7)))
    seen_twice = (ids == ids_then) & (edges == 0)
    for index in range(1 + rendered.config.n_objects):
        chosen = seen_twice & (ids == index)
        if np.count_nonzero(chosen) < 50:
            assert index > 0
            continue
        moved = np.abs(fetched - before)[chosen].mean()
        unmoved = np.abs(after - before)[chosen].mean()
        assert moved < 0.015
        assert moved < max(0.35 * unmoved, 0.002)  # some objects are cut from plain sky


def test_objects_move_on_their_own(scene: Scene) -> None:
    flow, ids = scene.flow(0.3, 0.35), scene.object_mask(0.3)
    background = np.median(flow[ids == 0], axis=0)
    seen = [index for index in (1, 2, 3) if np.count_nonzero(ids == index) > 20]
    assert seen
    shifts = [np.hypot(*(np.median(flow[ids == index], axis=0) - background)) for index in seen]
    assert max(shifts) > 2


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), speed_px_s=st.floats(20, 1000))
def test_background_moves_at_the_speed_asked_for(seed: int, speed_px_s: float) -> None:
    camera = small_scene(seed=seed, shake_px_s=speed_px_s, n_objects=0, size_hw=(270, 480)).camera
    height, width = camera.size_hw
    y, x = np.mgrid[0 : height - 1 : 7j, 0 : width - 1 : 7j]
    here = np.stack([x.ravel(), y.ravel(), np.ones(49)])
    squares = []
    for time_s in np.arange(0, 40, 0.05):
        start, stop = camera.homography(time_s), camera.homography(time_s + 1e-4)
        there = stop @ np.linalg.solve(start, here)
        squares.append(np.mean((there[:2] / there[2] - here[:2]) ** 2) * 2)
    assert np.sqrt(np.mean(squares)) / 1e-4 == pytest.approx(speed_px_s, rel=0.15)


def test_shake_is_band_limited_and_drifts_more_than_it_trembles(scene: Scene) -> None:
    rate_hz, n_samples = 120, 4096
    path = np.stack([scene.camera.homography(i / rate_hz)[:2, 2] for i in range(n_samples)])
    spectrum = np.abs(
        np.fft.rfft((path - path.mean(axis=0)) * np.hanning(n_samples)[:, None], axis=0)
    )
    energy, hertz = (spectrum**2).sum(axis=1), np.fft.rfftfreq(n_samples, 1 / rate_hz)
    assert energy[hertz > 20].sum() < 1e-4 * energy.sum()
    assert energy[hertz < 3].sum() > 0.5 * energy.sum()
    assert energy[hertz > 3.5].sum() > 1e-3 * energy.sum()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), time_s=st.floats(0, 1000), speed_px_s=st.floats(0, 3000))
def test_camera_never_looks_past_the_background(
    seed: int, time_s: float, speed_px_s: float
) -> None:
    camera = type(small_scene(n_objects=0).camera).hand_held(
        np.random.default_rng(seed), (270, 480), speed_px_s
    )
    corners = np.array([[0, 479, 479, 0], [0, 0, 269, 269], [1, 1, 1, 1]])
    x, y, w = np.linalg.solve(camera.homography(time_s), corners)
    half_height, half_width = camera.view_bounds_px()
    assert (np.abs(x / w) <= half_width).all()
    assert (np.abs(y / w) <= half_height).all()


def test_a_shake_beyond_any_memory_is_refused() -> None:
    with pytest.raises(InputError, match="too large"):
        small_scene(shake_px_s=50_000)


# ---------------------------------------------------------------- photographs


def test_photograph_comes_from_the_seed_or_a_file(tmp_path: Path) -> None:
    drawn = {small_scene(seed=seed, photograph=None, n_objects=0).photograph for seed in range(12)}
    assert len(drawn) > 2
    assert drawn <= set(PHOTOGRAPHS)
    red = np.full((80, 100, 3), (200, 30, 20), np.uint8)
    (tmp_path / "red.png").write_bytes(encode_png(red))
    of_file = small_scene(photograph=tmp_path / "red.png", n_objects=0, highlights=False)
    np.testing.assert_array_equal(of_file.frame(0.4), np.broadcast_to(red[0, 0], (*SIZE_HW, 3)))


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("missing.png", None, "cannot be read"),
        ("tiny.png", np.zeros((20, 300, 3), np.uint8), "at least 32x32"),
        ("grey.png", np.zeros((64, 64), np.uint8), "1 channel"),
    ],
)
def test_unusable_photographs_are_named(
    tmp_path: Path, name: str, image: Rgb | None, message: str
) -> None:
    path = tmp_path / name
    if image is not None:
        assert cv2.imwrite(str(path), image)
    with pytest.raises(InputError, match=message) as caught:
        small_scene(photograph=path)
    assert str(path) in str(caught.value)


def test_config_refuses_what_cannot_be_rendered() -> None:
    for wrong in ({"photograph": "mona lisa"}, {"size_hw": (8, 8)}, {"n_objects": -1},
                  {"shake_px_s": -1.0}, {"response": "log"}):  # fmt: skip
        with pytest.raises(InputError):
            small_scene(**wrong)


# ---------------------------------------------------------------- recording

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (17, 201, 60)]


def constant(*codes: int, size_hw: tuple[int, int] = (64, 96)) -> Rgb:
    return np.full((*size_hw, 3), codes, np.uint8)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("encoding", "tags"),
    [
        (H264, (1, 1, 1, 1)),
        (Encoding(full_range=True), (1, 1, 1, 2)),
        (Encoding(matrix="bt601", transfer="bt601"), (6, 6, 6, 1)),
        (Encoding(codec="libx265", pixel_format="yuv420p10le", crf=4), (1, 1, 1, 1)),
        (LOSSLESS, (1, 1, 0, 2)),
    ],
    ids=["h264", "full range", "bt601", "hevc 10 bit", "lossless"],
)
def test_constant_colours_survive_with_their_tags(
    tmp_path: Path, encoding: Encoding, tags: tuple[int, ...], suffix: str
) -> None:
    path = tmp_path / f"colours{suffix}"
    frames = [constant(*colour) for colour in COLOURS for _ in range(3)]
    assert write_video(path, frames, 240, encoding) == len(frames)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        found = (context.color_primaries, context.color_trc, context.colorspace)
        assert (*found, context.color_range) == tags
        assert container.streams.video[0].average_rate == 240
    for sent, received in zip(frames, decoded(path), strict=True):
        assert np.abs(sent.astype(int) - received).max() <= (0 if encoding is LOSSLESS else 2)


def test_untagged_video_says_nothing(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [constant(200, 30, 90)] * 2, 240, Encoding(tagged=False))
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (2, 2, 2)
        assert context.color_range == 0
        frame = next(container.decode(video=0))
        asked = frame.to_ndarray(format="rgb24", src_colorspace="itu709")
    assert np.abs(asked.astype(int) - (200, 30, 90)).max() <= 2


@pytest.mark.parametrize(("encoding", "suffix"), [(LOSSLESS, ".mp4"), (FFV1, ".mkv")])
def test_lossless_video_gives_back_every_value(
    tmp_path: Path, encoding: Encoding, suffix: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 65, 97, 3), dtype=np.uint8)
    path = tmp_path / f"noise{suffix}"
    write_video(path, noise, Fraction(240_000, 1001), encoding)
    np.testing.assert_array_equal(decoded(path), noise)


def test_ten_bits_tell_apart_what_eight_cannot(tmp_path: Path) -> None:
    levels = [30_000, 30_100] * 3
    frames = [np.full((64, 64, 3), level, np.uint16) for level in levels]
    ten_bit = Encoding(codec="libx265", pixel_format="yuv444p10le", crf=0)
    write_video(tmp_path / "a.mp4", frames, 240, ten_bit)
    with av.open(str(tmp_path / "a.mp4")) as container:
        low, high, *_ = (f.to_ndarray(format="rgb48le") for f in container.decode(video=0))
    assert np.abs(low.astype(int) - levels[0]).max() < 100
    assert (high > low).all()


def test_constant_rate_is_exact_in_mp4(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [constant(9, 9, 9)] * 50, 240)
    assert decoded_times(tmp_path / "a.mp4") == [Fraction(i, 240) for i in range(50)]
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(50, 240)


@pytest.mark.parametrize(("suffix", "tick_s"), [(".mp4", 1 / 90_000), (".mkv", 1 / 1000)])
def test_variable_times_survive(tmp_path: Path, suffix: str, tick_s: float) -> None:
    times_s = [0, 0.0042, 0.0083, 0.0250, 0.2, 0.2042, 1.0]
    frames = [constant(20 * i, 20 * i, 20 * i) for i in range(len(times_s))]
    path = tmp_path / f"a{suffix}"
    write_video(path, frames, 240, times_s=times_s)
    assert [float(time_s) for time_s in decoded_times(path)] == pytest.approx(times_s, abs=tick_s)
    for sent, received in zip(frames, decoded(path), strict=True):
        assert np.abs(sent.astype(int) - received).max() <= 2


def test_rotation_and_metadata_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    tags = {"com.android.capture.fps": "240.000000"}
    write_video(path, [constant(1, 2, 3)] * 3, 30, rotation_degrees=90, metadata=tags)
    with av.open(str(path)) as container:
        assert container.metadata["com.android.capture.fps"] == "240.000000"
        assert next(container.decode(video=0)).rotation == 90


def by_scenes(out: Path) -> Path:
    options: dict[str, Any] = {"clips": 1, "seconds": 0.12, "size_hw": (90, 160)}
    (clip,), _ = render_clips(ClipsConfig(out=out, shake_px_s=2000.0, **options))
    return clip.path


@cache
def grainy() -> list[Rgb]:
    rng = np.random.default_rng(0)
    frames = render_frames(small_scene(shake_px_s=2000.0), 30, 40)
    grain = rng.normal(0, 4, (len(SIZE_HW), *SIZE_HW, 3))
    return [np.clip(f + grain[i % 2], 0, 255).astype(np.uint8) for i, f in enumerate(frames)]


def by_deblur(out: Path) -> Path:
    path = out / "clip.mp4"
    with VideoWriter(path, size_hw=SIZE_HW, seconds_per_tick=Fraction(1, 30)) as writer:
        for tick, frame in enumerate(grainy()):
            writer.write(frame, tick)
    return path


@pytest.mark.parametrize("write", [by_scenes, by_deblur])
def test_equal_frames_give_equal_files(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    rng = np.random.default_rng(0)
    files = set()
    for _ in range(5):
        # x264 may depend on what its memory held before.
        used = [rng.integers(0, 255, 10_000 * n, np.uint8) for n in rng.integers(1, 50, 20)]
        del used
        files.add(write(tmp_path).read_bytes())
    assert len(files) == 1


def test_a_video_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> Iterator[Rgb]:
        yield constant(1, 2, 3)
        raise RuntimeError("the scene went dark")

    with pytest.raises(RuntimeError, match="went dark"):
        write_video(tmp_path / "a.mp4", broken(), 240)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        ([], {}, "no frames"),
        ([constant(1, 1, 1, size_hw=(63, 96))], {}, "does not divide"),
        ([constant(1, 1, 1), constant(1, 1, 1, size_hw=(96, 64))], {}, "frame 1 is"),
        ([np.zeros((64, 96), np.uint8)], {}, "uint8 or uint16 was expected"),
        ([constant(1, 1, 1)] * 2, {"times_s": [0.1, 0.1]}, "must increase"),
        ([constant(1, 1, 1)] * 2, {"times_s": [0.1]}, "argument"),
        ([constant(1, 1, 1)], {"rate_hz": 0}, "frame rate"),
    ],
    ids=["none", "odd", "sizes", "grey", "equal times", "few times", "rate"],
)
def test_frames_that_do_not_fit_are_refused(
    tmp_path: Path, frames: list[Rgb], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", frames, **{"rate_hz": 240, **options})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_frames_become_numbered_images(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 3), dtype=np.uint8)
    assert write_frames(tmp_path / "out", frames) == 3
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["000001.png", "000002.png", "000003.png"]
    np.testing.assert_array_equal([read_rgb(tmp_path / "out" / name) for name in names], frames)


# ---------------------------------------------------------------- command


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        run_command(command, [str(argument) for argument in arguments])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_command_writes_clips_that_their_record_renders_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--seconds", 0.02, "--size", "64x96", "--lossless", "--motion-truth")
    assert run("--out", tmp_path, "--clips", 6, *options) == 0
    printed = capsys.readouterr().out.split()
    assert [Path(line).parent for line in printed] == [tmp_path] * 6
    names = [Path(line).stem for line in printed]
    assert names == [*(f"handheld_{name}" for name in PHOTOGRAPHS), "handheld_motorcycle_2"]
    seeds = set()
    for name in names:
        record = json.loads((tmp_path / f"{name}.json").read_text())
        seeds.add(record["scene"]["seed"])
        rendered = Scene(SceneConfig(**record["scene"]))
        frames = list(render_frames(rendered, record["rate_hz"], record["n_frames"]))
        assert len(frames) == 5
        np.testing.assert_array_equal(decoded(tmp_path / f"{name}.mp4"), frames)
        assert list(rendered.object_photographs) == record["objects_cut_from"]
        shift = rendered.flow(0, 1 / 240)[rendered.object_mask(0) == 0]
        speed_px = np.hypot(*shift.T).mean()
        assert record["background_px_per_frame"] == pytest.approx(speed_px, rel=0.5)
        with np.load(tmp_path / f"{name}.motion.npz") as truth:
            np.testing.assert_array_equal(truth["homographies"][4], rendered.homographies(4 / 240))
            np.testing.assert_array_equal(truth["object_ids_000004"], rendered.object_mask(4 / 240))
    assert len(seeds) == 6


def test_command_goes_on_without_a_bad_photograph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photographs"
    (folder / "deeper").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("b.png", "deeper/b.png"):
        image = rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)
        (folder / name).write_bytes(encode_png(image))
    (folder / "a.jpg").write_bytes(b"not an image")
    (folder / "notes.txt").write_text("no photograph")
    out = tmp_path / "clips"
    code = run("--out", out, "--clips", 2, "--seconds", 0.01, "--size", "32x48",
               "--photographs", folder)  # fmt: skip
    assert code == EXIT_FINDINGS
    assert "a.jpg" in capsys.readouterr().err
    assert sorted(path.name for path in out.glob("*.mp4")) == ["handheld_b.mp4", "handheld_b_2.mp4"]
    records = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    assert {record["scene"]["photograph"] for record in records} == {
        (folder / name).as_posix() for name in ("b.png", "deeper/b.png")
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("--photographs", "nowhere"),
        ("--size", "63x96"),
        ("--size", "64"),
        ("--seconds", 0),
        ("--clips", 0),
    ],
)
def test_command_refuses_what_it_cannot_do(tmp_path: Path, arguments: tuple[object, ...]) -> None:
    assert run("--out", tmp_path / "out", *arguments) == EXIT_USAGE
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"rate_hz": math.inf},
        {"rate_hz": math.nan},
        {"seconds": math.inf},
        {"seconds": math.nan},
        {"seconds": 0.0},
        {"seed": -1},
    ],
)
def test_clips_that_cannot_be_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="at least"):
        ClipsConfig(out=tmp_path, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"shake_px_s": math.nan},
        {"shake_px_s": math.inf},
        {"object_speed_px_s": -1.0},
        {"seed": -1},
        {"n_objects": -1},
    ],
)
def test_scenes_that_cannot_be_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"expected"):
        SceneConfig(**changes)
