"""Stages of the sensor, each against an oracle of its own."""

import numpy as np
import pytest

from gopro_tools.averaging import average_exposure
from gopro_tools.errors import InputError
from gopro_tools.response import Response
from gopro_tools.scenes import Scene, SceneConfig
from gopro_tools.sensor import NOISE_LEVELS, Isp, Light, Noise, Saturation, Sensor, expose
from gopro_tools.sensor.encoding import encode
from gopro_tools.sensor.isp import PATTERNS, Balance, demosaic, mosaic
from gopro_tools.sensor.noise import Levels

RESPONSE = Response.named("gamma2.2")
DRAWS = 1_000_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def light_of(mean, clipped=0.0) -> Light:
    mean = np.asarray(mean, np.float32)
    return Light(mean, np.full_like(mean, clipped))


# --- light -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gamma2.2", "srgb"])
def test_light_is_what_the_exact_average_encodes(name):
    response = Response.named(name)
    frames = rng().integers(0, 256, (7, 31, 45, 3)).astype(np.uint8)
    light = expose(frames, response)
    exact = average_exposure(frames, response).blur_gamma
    assert (light.mean == np.float32(light.mean)).all()
    encoded = response.encode(light.mean).astype(int)
    assert np.abs(encoded - exact).max() <= 1  # float32 next to a threshold
    assert np.mean(encoded != exact) < 1e-3
    assert np.allclose(light.clipped, (frames == 255).mean(axis=0), atol=1e-6)


def test_rolling_shutter_exposes_each_row_over_its_own_time():
    """Frame k is grey k, so a row's light says when it was exposed."""
    n_frames, readout, height = 5, 8.0, 40
    linear = Response.named("linear")
    levels = np.arange(16, dtype=np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (16, height, 4, 3)).copy()
    light = expose(frames, linear, n_frames=n_frames, readout_frames=readout)
    row = np.arange(height)
    expected = 7.5 + readout * (row - (height - 1) / 2) / height
    # Within a frame the light is a staircase: at most half a step from the ramp it samples.
    assert np.abs(light.mean[:, 0, 0] * 255 - expected).max() < 0.06
    assert np.abs(np.diff(light.mean[:, 0, 0] * 255) - readout / height).max() < 0.06


def test_rolling_shutter_of_a_rendered_scene():
    """Against the scene rendered row by row at the row's own times."""
    scene = Scene(SceneConfig(seed=4, size_hw=(48, 64), photograph="astronaut", highlights=False))
    rate_hz, n_frames, readout_s = 1920.0, 40, 1 / 60
    margin = int(np.ceil(readout_s * rate_hz / 2)) + 1
    times = 0.2 + (np.arange(n_frames + 2 * margin) - margin + 0.5) / rate_hz
    frames = np.stack([scene.frame(time) for time in times])
    light = expose(frames, RESPONSE, n_frames=n_frames, readout_frames=readout_s * rate_hz)
    height = frames.shape[1]
    exposure_s = n_frames / rate_hz
    for row in (0, 11, height // 2, height - 1):
        start_s = 0.2 + readout_s * (row - (height - 1) / 2) / height
        truth = np.clip(scene.exposure(start_s, start_s + exposure_s, 160)[row], 0, 1)
        error = np.abs(light.mean[row] - truth).mean()
        global_shutter = np.clip(scene.exposure(0.2, 0.2 + exposure_s, 160)[row], 0, 1)
        assert error < 0.002
        if row in (0, height - 1):
            assert np.abs(global_shutter - truth).mean() > 4 * error


def test_too_few_frames_for_the_readout():
    frames = np.zeros((5, 8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="too few"):
        expose(frames, RESPONSE, n_frames=5, readout_frames=2)


# --- saturation ------------------------------------------------------------------------------


def test_saturation_follows_its_law():
    mean = rng().uniform(0, 1, (8, 9, 3)).astype(np.float32)
    clipped = rng(1).uniform(0, 1, (8, 9, 3)).astype(np.float32)
    brighter = Saturation().brighten(Light(mean, clipped), 0.5)
    assert np.allclose(brighter, np.minimum(mean + 0.5 * clipped, 1), atol=1e-6)
    assert (Saturation().brighten(Light(mean, 0 * clipped), 1.5) == mean).all()


def test_alpha_is_drawn_uniformly():
    drawn = np.array([Saturation().draw(generator) for generator in [rng()] for _ in range(100000)])
    assert drawn.min() >= 0.25
    assert drawn.max() <= 1.75
    assert drawn.mean() == pytest.approx(1.0, rel=0.01)
    assert drawn.var() == pytest.approx(1.5**2 / 12, rel=0.01)


def test_a_moving_light_leaves_a_bright_streak():
    """What was clipped half the time is grey in the mean, and white with a strong light."""
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    frames[:2] = 255
    light = expose(frames, RESPONSE)
    plain, _ = Sensor().capture(light, RESPONSE, rng())
    bright, drawn = Sensor(saturation=Saturation(alpha=(1.0, 1.0))).capture(light, RESPONSE, rng())
    assert (plain == 186).all()
    assert (bright == 255).all()
    assert drawn == {"saturation": 1.0}


# --- noise -----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0005, 0.004, 0.02, 0.2, 0.8])
@pytest.mark.parametrize("name", ["rsblur", "realblur"])
def test_noise_has_the_mean_and_variance_of_its_model(name, level):
    levels = Levels(shot=NOISE_LEVELS[name].shot, read=NOISE_LEVELS[name].read)
    noisy = levels.added_to(np.full(DRAWS, level, np.float32), rng(3)).astype(np.float64)
    variance = levels.shot * level + levels.read**2
    assert noisy.mean() == pytest.approx(level, rel=0.01)
    assert noisy.var() == pytest.approx(variance, rel=0.01)
    skewness = ((noisy - noisy.mean()) ** 3).mean() / noisy.std() ** 3
    expected = levels.shot**2 * level / variance**1.5
    assert skewness == pytest.approx(expected, abs=0.02)


def test_levels_are_drawn_between_half_and_half_more():
    generator = rng()
    drawn = [NOISE_LEVELS["rsblur"].draw(generator) for _ in range(20000)]
    shots = np.array([levels.shot for levels in drawn]) / 1e-4
    assert shots.min() >= 0.5
    assert shots.max() <= 1.5
    assert shots.mean() == pytest.approx(1, abs=0.01)
    assert np.corrcoef(shots, [levels.read for levels in drawn])[0, 1] == pytest.approx(0, abs=0.03)


def test_noise_levels_by_name_and_by_numbers():
    assert Noise.named("rsblur") == NOISE_LEVELS["rsblur"]
    assert Noise.named("2e-4,1e-3") == Noise(shot=2e-4, read=1e-3)


@pytest.mark.parametrize("name", ["canon", "1e-4", "0,0", "1,2,3", "nan,1", "-1,0"])
def test_unusable_noise_is_refused(name):
    with pytest.raises(InputError, match="--noise"):
        Noise.named(name)


def test_saturated_values_show_no_noise():
    sensor = Sensor(noise=NOISE_LEVELS["rsblur"])
    image, _ = sensor.capture(light_of(np.ones((16, 16, 3))), RESPONSE, rng())
    assert (image == 255).all()


# --- camera processing -----------------------------------------------------------------------


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("size", [(24, 30), (17, 23)])
def test_demosaicing_equals_colour_demosaicing(pattern, size):
    colour_demosaicing = pytest.importorskip("colour_demosaicing")
    image = rng().uniform(0, 1, (*size, 3)).astype(np.float32)
    raw = mosaic(image, pattern)
    assert (raw == colour_demosaicing.mosaicing_CFA_Bayer(image, pattern).astype("f4")).all()
    theirs = colour_demosaicing.demosaicing_CFA_Bayer_Malvar2004(raw, pattern)
    ours = demosaic(raw, pattern)
    assert np.abs(ours - theirs)[2:-2, 2:-2].max() < 1e-5


def balance(pattern: str = "RGGB") -> Balance:
    return Balance(pattern=pattern, red_gain=2.1, blue_gain=1.7)


@pytest.mark.parametrize("camera", ["sony_a7r3", "srgb"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_through_the_camera_and_back_without_noise(camera, pattern):
    """Even colours come back within a code, whatever the camera, phase and gains."""
    colors = rng(5).integers(20, 250, (20, 3)).astype(np.uint8)
    for color in colors:
        image = np.broadcast_to(color, (12, 12, 3))
        linear = RESPONSE.decode(image).astype(np.float32)
        back = Isp(camera=camera).develop(linear, balance(pattern), None, rng())
        # Colours that the camera sees as negative are outside what it can record.
        if (linear[0, 0] @ Isp(camera=camera).camera_of_srgb.T).min() >= 0:
            assert np.abs(RESPONSE.encode(back).astype(int) - image).max() <= 1


def test_smooth_pictures_come_back_within_a_code():
    y, x = np.mgrid[:40, :60]
    image = np.stack([60 + 2 * x, 80 + 1.5 * y, 200 - x - y], axis=2).astype(np.uint8)
    linear = RESPONSE.decode(image).astype(np.float32)
    back = RESPONSE.encode(Isp().develop(linear, balance(), None, rng())).astype(int)
    assert np.abs(back - image)[3:-3, 3:-3].max() <= 1


def test_white_stays_white_in_camera_colours():
    assert Isp().camera_of_srgb.sum(axis=1) == pytest.approx([1, 1, 1])


def test_red_and_blue_are_noisier_by_their_gains():
    """Raw variance at a gain g is shot * v / g, and it is multiplied by g ** 2: shot * v * g."""
    levels = Levels(shot=1e-4, read=0.0)
    grey = np.full((400, 400, 3), 0.2, np.float32)
    isp = Isp(camera="srgb")
    developed = isp.develop(grey, balance(), levels, rng())
    of_red, of_green, of_blue = (
        developed[0::2, 0::2, 0], developed[0::2, 1::2, 1], developed[1::2, 1::2, 2],
    )  # fmt: skip
    assert of_red.var() == pytest.approx(1e-4 * 0.2 * 2.1, rel=0.03)
    assert of_green.var() == pytest.approx(1e-4 * 0.2, rel=0.03)
    assert of_blue.var() == pytest.approx(1e-4 * 0.2 * 1.7, rel=0.03)


def test_an_unknown_camera_is_refused():
    with pytest.raises(InputError, match="--isp"):
        Isp(camera="leica")


# --- codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gamma2.2", "srgb", "linear"])
def test_codes_are_those_of_the_response(name):
    response = Response.named(name)
    values = np.concatenate(
        [
            rng().uniform(-0.1, 1.1, 200_000),
            *(np.nextafter(response.thresholds[:, 0], side) for side in (-1, 1)),
            np.arange(4097) / 4096,
        ]
    ).astype(np.float32)
    linear = np.repeat(values[None, :, None], 3, axis=2)
    assert (encode(linear, response) == response.encode(linear)).all()


# --- all together ----------------------------------------------------------------------------

RSBLUR = Sensor(saturation=Saturation(), noise=NOISE_LEVELS["rsblur"], isp=Isp())


def test_without_stages_light_is_encoded():
    image = rng().integers(0, 256, (9, 11, 3)).astype(np.uint8)
    captured, drawn = Sensor().capture(expose(image[None], RESPONSE), RESPONSE, rng())
    assert (captured == image).all()
    assert drawn == {}
    assert not Sensor()
    assert RSBLUR


def test_one_seed_gives_one_image():
    light = light_of(rng().uniform(0, 1, (32, 32, 3)), 0.1)
    first, drawn = RSBLUR.capture(light, RESPONSE, rng(7))
    again, drawn_again = RSBLUR.capture(light, RESPONSE, rng(7))
    other, _ = RSBLUR.capture(light, RESPONSE, rng(8))
    assert (first == again).all()
    assert drawn == drawn_again
    assert set(drawn) == {
        "saturation", "noise_shot", "noise_read", "bayer", "red_gain", "blue_gain",
    }  # fmt: skip
    assert (first != other).any()


def test_the_light_itself_is_left_alone():
    light = light_of(np.full((8, 8, 3), 0.5), 0.5)
    RSBLUR.capture(light, RESPONSE, rng())
    assert (light.mean == 0.5).all()
    assert (light.clipped == 0.5).all()
