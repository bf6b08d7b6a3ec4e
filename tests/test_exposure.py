from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gopro_tools.averaging import ExposureAverager, average_exposure
from gopro_tools.exposure import windows
from gopro_tools.response import Response

GAMMA = Response.named("gamma2.2")
RESPONSES = [GAMMA, Response.named("srgb"), Response.named("linear")]

small_frames = hnp.arrays(
    np.uint8,
    st.tuples(
        st.sampled_from([1, 3, 5, 7, 11, 13]), st.integers(2, 5), st.integers(3, 8), st.just(3)
    ),
)


def by_definition(frames: np.ndarray, response: Response) -> np.ndarray:
    """The float64 arithmetic of the paper, with numpy alone."""
    if response.name == "gamma2.2":
        return np.rint(255 * np.mean((frames / 255) ** 2.2, axis=0) ** (1 / 2.2)).astype(np.uint8)
    return response.encode(np.mean(response.decode(frames), axis=0))


@pytest.mark.parametrize("response", RESPONSES, ids=lambda response: response.name)
@pytest.mark.parametrize("n_frames", [1, 3, 7, 11, 13, 65, 300])
def test_every_value_equals_the_float64_definition(response: Response, n_frames: int) -> None:
    rng = np.random.default_rng(n_frames)
    # Bright, dark and mixed pixels: the curve is steep in the dark, where rounding is hardest.
    frames = np.concatenate(
        [
            rng.integers(0, 256, (n_frames, 40, 60, 3)),
            rng.integers(0, 12, (n_frames, 40, 60, 3)),
            rng.integers(200, 256, (n_frames, 40, 60, 3)),
        ],
        axis=1,
    ).astype(np.uint8)
    exposure = average_exposure(frames, response)
    np.testing.assert_array_equal(exposure.blur_gamma, by_definition(frames, response))
    np.testing.assert_array_equal(exposure.blur, np.around(frames.mean(axis=0)))


def test_sums_at_a_threshold_are_resolved_in_float64() -> None:
    """A curve whose thresholds lie on reachable sums, where integers alone could not decide."""
    table = np.repeat((np.arange(256.0) ** 2)[:, None], 3, axis=1)
    response = Response.measured("squares", table)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 200, 200, 3)).astype(np.uint8)
    got = average_exposure(frames, response).blur_gamma
    np.testing.assert_array_equal(got, by_definition(frames, response))


def test_channels_may_have_curves_of_their_own() -> None:
    codes = np.arange(256.0)[:, None] / 255
    response = Response.measured("three", codes ** np.array([1.8, 2.2, 2.6]))
    frames = np.random.default_rng(1).integers(0, 256, (11, 30, 31, 3)).astype(np.uint8)
    got = average_exposure(frames, response).blur_gamma
    np.testing.assert_array_equal(got, by_definition(frames, response))


def test_two_level_flicker_gives_the_analytic_gamma_mean() -> None:
    frames = np.zeros((11, 8, 8, 3), np.uint8)
    frames[::2] = 200  # 6 bright, 5 dark
    expected = round(255 * (6 / 11 * (200 / 255) ** 2.2) ** (1 / 2.2))
    assert (average_exposure(frames, GAMMA).blur_gamma == expected).all()
    assert (average_exposure(frames, GAMMA).blur == round(200 * 6 / 11)).all()


@given(image=hnp.arrays(np.uint8, (3, 4, 3)), n_frames=st.sampled_from([1, 5, 11]))
def test_averaging_equal_frames_is_the_identity(image: np.ndarray, n_frames: int) -> None:
    for response in RESPONSES:
        exposure = average_exposure(np.stack([image] * n_frames), response)
        np.testing.assert_array_equal(exposure.blur_gamma, image)
        np.testing.assert_array_equal(exposure.blur, image)


@given(frames=small_frames)
@settings(max_examples=60)
def test_the_average_lies_within_its_frames_and_gamma_is_never_darker(frames: np.ndarray) -> None:
    exposure = average_exposure(frames, GAMMA)
    for image in (exposure.blur_gamma, exposure.blur):
        assert (image >= frames.min(axis=0)).all()
        assert (image <= frames.max(axis=0)).all()
    # A power mean with exponent 2.2 is at least the arithmetic mean (Jensen).
    assert (exposure.blur_gamma >= exposure.blur).all()


@given(frames=small_frames)
@settings(max_examples=60)
def test_averaging_commutes_with_cropping_and_forgets_the_order(frames: np.ndarray) -> None:
    whole = average_exposure(frames, GAMMA)
    part = average_exposure(frames[::-1, 1:, 2:], GAMMA)
    np.testing.assert_array_equal(part.blur_gamma, whole.blur_gamma[1:, 2:])
    np.testing.assert_array_equal(part.blur, whole.blur[1:, 2:])


@pytest.mark.parametrize("response", RESPONSES, ids=lambda response: response.name)
def test_frames_may_lie_anywhere(response: Response) -> None:
    frames = np.random.default_rng(2).integers(0, 256, (7, 5, 6, 3)).astype(np.uint8)
    scattered = [frames[5], np.fliplr(frames[6]), frames[0].copy()]
    got = ExposureAverager(response, 3).average(scattered)
    np.testing.assert_array_equal(got.blur_gamma, by_definition(np.stack(scattered), response))
    np.testing.assert_array_equal(got.blur, np.around(np.mean(scattered, axis=0)))


def test_frames_of_other_sizes_are_refused() -> None:
    frames = [np.zeros((4, 4, 3), np.uint8)] * 2 + [np.zeros((4, 5, 3), np.uint8)]
    with pytest.raises(ValueError, match="alike in all frames"):
        average_exposure(frames, GAMMA)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8 expected"):
        average_exposure(np.zeros((3, 4, 4, 3), np.float32), GAMMA)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="11 frames expected"):
        ExposureAverager(GAMMA, 11).average(np.zeros((3, 4, 4, 3), np.uint8))


@given(
    start=st.integers(0, 200),
    length=st.integers(0, 300),
    half=st.integers(0, 6),
    stride=st.none() | st.integers(1, 20),
    clip=st.integers(0, 5),
)
def test_windows_keep_their_promises(
    start: int, length: int, half: int, stride: int | None, clip: int
) -> None:
    n_frames = 2 * half + 1
    found = list(windows(start, start + length, n_frames=n_frames, stride=stride, clip=clip))
    step = stride or n_frames
    for window in found:
        assert start <= window.start < window.stop <= start + length
        assert window.stop - window.start == n_frames
        assert window.middle - window.start == half
        # GOPRO's rule, with frames counted from 1.
        expected = (window.blur_number - 1) * step + (n_frames + 1) // 2 - clip
        assert window.middle + 1 == expected
        assert window.blur_number >= 1
    assert all(later.start - earlier.start == step for earlier, later in pairwise(found))
    # None is left out at either end.
    if length >= n_frames + step and start >= clip:
        assert found[0].start - start < step
        assert start + length - found[-1].stop < step


def test_windows_of_the_original_dataset() -> None:
    """GOPR0372_07_00: image 000047 averages frames 323-329, sharp is 326 (DeepDeblur #22, #59)."""
    window = next(w for w in windows(0, 400, n_frames=7) if w.blur_number == 47)
    assert (window.start + 1, window.stop, window.middle + 1) == (323, 329, 326)
    # GOPR0384_11_05, clip 5: image 004002 has frame 44001 + 11 in its middle.
    late = next(windows(44001, 45100, n_frames=11, clip=5))
    assert (late.file_name, late.middle + 1) == ("004002.png", 44012)


def test_the_real_gopro_table_is_averaged_exactly(shared_data: Path) -> None:
    response = Response.named(str(shared_data / "response" / "gopro6_inverse_crf.npy"))
    frames = np.random.default_rng(3).integers(0, 256, (11, 90, 90, 3)).astype(np.uint8)
    got = average_exposure(frames, response).blur_gamma
    np.testing.assert_array_equal(got, by_definition(frames, response))
