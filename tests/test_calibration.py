"""Brackets rendered through a known response give that response back."""

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gopro_tools.console import exit_code_of
from gopro_tools.errors import InputError
from gopro_tools.response import Response
from gopro_tools.response.calibration import (
    calibrate,
    deviation,
    local_exponents,
    read_bracket,
)
from gopro_tools.response.command import command
from gopro_tools.response.config import CalibrateConfig, ShowConfig
from gopro_tools.scenes import Scene, SceneConfig

REAL_TABLE = Path("../shared/data/response/gopro6_inverse_crf.npy")
STOPS = np.arange(-4, 3.01, 0.5)
EXIF = {"iso": 0x8827, "aperture": 0x829D, "focal_length": 0x920A, "white_balance": 0xA403}


@pytest.fixture(scope="module")
def light():
    scene = Scene(
        SceneConfig(seed=0, size_hw=(160, 240), photograph="coffee", shake_px_s=0, n_objects=0)
    )
    return scene.linear_frame(0.0)


def write_bracket(folder: Path, light, response: Response, stops=STOPS, *, exif=True, **settings):
    """A still scene at several exposures, with a little shot noise, which dithers the codes.

    ``settings`` are further EXIF tags by `EXIF`: a function of the number of the image.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, stop in enumerate(stops):
        exposed = light * 2.0**stop
        noisy = exposed + 0.003 * np.sqrt(np.clip(exposed, 0, 1) + 0.01) * rng.normal(
            size=light.shape
        )
        image = Image.fromarray(response.encode(noisy))
        details = Image.Exif()
        if exif:
            others = {EXIF[name]: value(number) for name, value in settings.items()}
            details[0x8769] = {0x829A: float(2.0**stop / 60)} | others
        image.save(folder / f"IMG_{number}.png", exif=details)
    return folder


@pytest.mark.shared
@pytest.mark.skipif(not REAL_TABLE.exists(), reason="needs the measured GoPro table")
@pytest.mark.parametrize("method", ["robertson", "debevec"])
def test_a_bracket_gives_the_real_gopro_table_back_within_two_codes(tmp_path, light, method):
    response = Response.from_file(REAL_TABLE)
    bracket = read_bracket(write_bracket(tmp_path / "bracket", light, response))
    found = calibrate(bracket, method)
    for apart in deviation(found.response, response):
        assert apart.largest_codes <= 2
        assert apart.mean_codes <= 0.7
    assert found.misfit_codes <= 1
    # It is far from gamma 2.2, so that a test that always passed would show.
    assert min(d.largest_codes for d in deviation(response, Response.named("gamma2.2"))) > 8


@pytest.mark.parametrize("name", ["gamma2.2", "srgb", "linear"])
def test_named_responses_are_recovered(tmp_path, light, name):
    response = Response.named(name)
    found = calibrate(read_bracket(write_bracket(tmp_path / "bracket", light, response)))
    assert max(apart.largest_codes for apart in deviation(found.response, response)) <= 2.5


def test_the_command_writes_a_table_that_can_be_used(tmp_path, light, capsys):
    pytest.importorskip("matplotlib")
    response = Response.named("gamma2.2")
    folder = write_bracket(tmp_path / "bracket", light, response)
    out = tmp_path / "camera.npy"
    assert command(CalibrateConfig(bracket=folder, out=out)) == 0
    assert (tmp_path / "camera.png").stat().st_size > 10_000
    written = Response.named(str(out))
    assert max(apart.largest_codes for apart in deviation(written, response)) <= 2.5
    assert command(ShowConfig(response=str(out))) == 0
    assert "against gamma 2.2" in capsys.readouterr().err


def test_channels_are_stored_in_opencvs_order(tmp_path, light):
    """Red brighter with the code than blue, in the file last."""
    table = np.repeat((np.arange(256) / 255)[:, None], 3, axis=1)
    table[:, 0] **= 2.4
    response = Response.measured("test", table)
    found = calibrate(read_bracket(write_bracket(tmp_path / "bracket", light, response)))
    np.save(tmp_path / "found.npy", found.table)
    slopes = local_exponents(Response.from_file(tmp_path / "found.npy"))["60-150"]
    assert slopes[0] == pytest.approx(2.4, abs=0.1)
    assert slopes[2] == pytest.approx(1.0, abs=0.1)


def test_times_can_be_named(tmp_path, light):
    response = Response.named("gamma2.2")
    folder = write_bracket(tmp_path / "bracket", light, response, stops=[-3, -1.5, 0], exif=False)
    times = [str(Fraction(2.0**stop / 60).limit_denominator(100_000)) for stop in (-3, -1.5, 0)]
    assert read_bracket(folder, times).times_s == pytest.approx(
        [1 / 480, 1 / 169.7, 1 / 60], rel=1e-3
    )


def test_a_scene_that_changed_is_found_out(tmp_path, light):
    response = Response.named("gamma2.2")
    folder = write_bracket(tmp_path / "bracket", light, response)
    steady = calibrate(read_bracket(folder)).misfit_codes
    shifted = Response.named("gamma2.2").encode(np.roll(light, 90, axis=1))
    for path in sorted(folder.glob("*.png"))[::2]:
        with Image.open(path) as image:
            exif = image.getexif()
            moved = Image.fromarray(np.roll(np.asarray(image), 90, axis=1))
        moved.save(path, exif=exif)
    assert shifted.shape == light.shape
    assert calibrate(read_bracket(folder)).misfit_codes > steady + 3


def test_what_is_no_bracket_is_refused(tmp_path, light):
    response = Response.named("gamma2.2")
    no_times = write_bracket(tmp_path / "no_times", light, response, stops=[-2, 0, 2], exif=False)
    with pytest.raises(InputError, match="exposure time"):
        read_bracket(no_times)
    with pytest.raises(InputError, match="one per image"):
        read_bracket(no_times, ["1/60"])
    with pytest.raises(InputError, match="--times soon"):
        read_bracket(no_times, ["soon", "1", "2"])
    with pytest.raises(InputError, match="stops"):
        read_bracket(no_times, ["1", "1.1", "1.2"])
    with pytest.raises(InputError, match="a folder of images"):
        read_bracket(tmp_path / "nowhere")
    two = write_bracket(tmp_path / "two", light, response, stops=[-2, 2])
    with pytest.raises(InputError, match="at least 3"):
        read_bracket(two)
    sizes = write_bracket(tmp_path / "sizes", light, response, stops=[-2, 0])
    smaller = write_bracket(tmp_path / "smaller", light[:80], response, stops=[2])
    shutil.copy(smaller / "IMG_0.png", sizes / "IMG_9.png")
    with pytest.raises(InputError, match="one size"):
        read_bracket(sizes)


@pytest.mark.parametrize("name", ["iso", "aperture", "focal_length"])
def test_a_bracket_in_which_another_setting_changed_is_refused(tmp_path, light, name):
    """Its images may agree on a curve all the same: a wrong one."""
    response = Response.named("gamma2.2")
    changed = {name: lambda number: 100 if number < 3 else 200}
    folder = write_bracket(tmp_path / "changed", light, response, [-2, -1, 0, 1, 2], **changed)
    for times in ((), ("1/16", "1/8", "1/4", "1/2", "1")):
        with pytest.raises(InputError, match=r"IMG_3.png: .* 200.* in its EXIF, but 100"):
            read_bracket(folder, times)
    same = {name: lambda number: 100}
    folder = write_bracket(tmp_path / "same", light, response, [-2, -1, 0, 1, 2], **same)
    assert read_bracket(folder).notes == ()


def test_automatic_white_balance_is_said(tmp_path, light):
    response = Response.named("gamma2.2")
    for name, mode in (("automatic", 0), ("fixed", 1)):
        chosen = {"white_balance": lambda number, mode=mode: mode}
        folder = write_bracket(tmp_path / name, light, response, [-2, -1, 0, 1, 2], **chosen)
        assert bool(read_bracket(folder).notes) is (name == "automatic")


def test_hidden_companions_are_no_images_of_a_bracket(tmp_path, light):
    folder = write_bracket(tmp_path / "bracket", light, Response.named("gamma2.2"), [-2, 0, 2])
    (folder / "._IMG_0.png").write_bytes(b"\0\5\x16\7")
    assert len(read_bracket(folder).images) == 3


def test_flat_images_determine_nothing(tmp_path):
    flat = np.full((32, 32, 3), 0.0)
    folder = write_bracket(tmp_path / "flat", flat, Response.named("linear"))
    assert (
        exit_code_of(lambda: command(CalibrateConfig(bracket=folder, out=tmp_path / "o.npy"))) == 2
    )
    assert not (tmp_path / "o.npy").exists()
