import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve as scipy_convolve

from gopro_tools.kernels import (
    SHAKES,
    TrajectoryConfig,
    blur,
    blur_codes,
    convolve,
    extent_px,
    kernel_of,
    legacy_blur,
    legacy_kernel,
    length_px,
    trajectory,
)
from gopro_tools.response import Response
from gopro_tools.scenes.textures import read_photograph

RESPONSE = Response.named("gamma2.2")


def path_of(seed: int, **changes):
    return trajectory(np.random.default_rng(seed), TrajectoryConfig(**changes))


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.floats(0, 200),
    shake=st.sampled_from([None, 0.0, 0.1, *SHAKES]),
)
def test_a_kernel_keeps_brightness_and_place(seed, length, shake):
    kernel = kernel_of(path_of(seed, length_px=length, n_samples=300, shake=shake))
    side = kernel.shape[0]
    assert kernel.shape == (side, side)
    assert side % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    y, x = np.mgrid[:side, :side] - side // 2
    assert (kernel * x).sum() == pytest.approx(0, abs=1e-3)
    assert (kernel * y).sum() == pytest.approx(0, abs=1e-3)


def test_a_path_is_as_long_as_asked_and_never_faster():
    path = path_of(1, length_px=40)
    assert path.shape == (2000, 2)
    assert length_px(path) == pytest.approx(40, rel=1e-6)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert np.ptp(steps) < 1e-9
    assert 0 < extent_px(path) <= 40


def test_motion_without_shake_is_a_straight_line():
    path = path_of(3, length_px=21, shake=0.0)
    assert extent_px(path) == pytest.approx(21, rel=1e-5)
    kernel = kernel_of(path)
    y, x = np.nonzero(kernel > 1e-4)
    line = np.polyfit(*((x, y) if np.ptp(x) > np.ptp(y) else (y, x)), 1)
    across = (y - np.polyval(line, x)) if np.ptp(x) > np.ptp(y) else (x - np.polyval(line, y))
    assert np.abs(across).max() < 1.5


def test_no_motion_is_the_identity():
    image = read_photograph("coffee")[:80, :90]
    assert (blur(image, kernel_of(np.zeros((5, 2))), RESPONSE) == image).all()


def test_convolution_is_scipys():
    """scipy convolves, and mirrors alike: the kernel is not applied upside down."""
    image = np.random.default_rng(0).uniform(0, 1, (41, 57, 3))
    kernel = kernel_of(path_of(2, length_px=20))
    expected = np.stack(
        [scipy_convolve(image[..., c], kernel, mode="mirror") for c in range(3)], axis=2
    )
    np.testing.assert_allclose(convolve(image, kernel), expected, atol=1e-6)


def test_light_is_kept_and_codes_are_not():
    """A bright point keeps its light; in code values it would lose most of it."""
    image = np.zeros((61, 61, 3), np.uint8)
    image[30, 30] = 255
    kernel = kernel_of(path_of(5, length_px=12))
    light = RESPONSE.decode(blur(image, kernel, RESPONSE)).sum()
    assert light == pytest.approx(3, rel=0.05)
    assert RESPONSE.decode(blur_codes(image, kernel)).sum() < 1.5


@pytest.mark.parametrize("size", [(90, 160), (161, 97)])
def test_any_size_is_blurred_in_place(size):
    image = read_photograph("astronaut")[: size[0], : size[1]]
    blurred = blur(image, kernel_of(path_of(7, length_px=30)), RESPONSE)
    assert blurred.shape == image.shape
    light, blurred_light = RESPONSE.decode(image).mean(), RESPONSE.decode(blurred).mean()
    assert blurred_light == pytest.approx(light, rel=0.02)


def test_what_the_released_code_got_wrong():
    """Contrast was stretched and kernels were off-centre; ours are not."""
    photograph = read_photograph("coffee")[:200, :200]
    image = cv2.convertScaleAbs(photograph, alpha=0.4, beta=60).astype(np.uint8)
    y, x = np.mgrid[:64, :64] - 31.5
    shifts_px = []
    for seed in range(6):
        path = path_of(seed)
        legacy = legacy_kernel(path)
        assert legacy.max() == 1
        assert legacy.sum() > 2
        assert np.ptp(legacy_blur(image, legacy)) == 255
        assert np.ptp(blur_codes(image, kernel_of(path))) <= np.ptp(image)
        shifts_px.append(np.hypot((legacy * x).sum(), (legacy * y).sum()) / legacy.sum())
    assert max(shifts_px) > 3
    assert np.median(shifts_px) > 1


def test_short_legacy_exposures_are_nearly_a_point():
    kernel = legacy_kernel(path_of(1), fraction=0.01)
    assert kernel.shape == (64, 64)
    assert kernel.max() == 1
    assert np.count_nonzero(kernel > 0.05) <= 6


def test_kernels_larger_than_the_image_are_refused():
    with pytest.raises(ValueError, match="too large"):
        convolve(np.zeros((10, 10, 3)), kernel_of(path_of(0, shake=0.0)))


def test_one_seed_gives_one_path():
    assert (path_of(4) == path_of(4)).all()
    assert (path_of(4) != path_of(5)).any()
