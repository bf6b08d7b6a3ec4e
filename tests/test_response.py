from pathlib import Path

import numpy as np
import pytest

from gopro_tools.errors import InputError
from gopro_tools.response import Response

CODES = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


@pytest.mark.parametrize("name", ["gamma2.2", "srgb", "linear"])
def test_every_code_survives_the_round_trip(name: str) -> None:
    response = Response.named(name)
    np.testing.assert_array_equal(response.encode(response.decode(CODES)), CODES)


def test_gamma_is_the_papers_curve() -> None:
    expected = (np.arange(256) / 255) ** 2.2
    np.testing.assert_array_equal(Response.named("gamma2.2").linear_of_code[:, 1], expected)


def test_srgb_agrees_with_the_standard_at_known_points() -> None:
    linear = Response.named("srgb").linear_of_code[[0, 10, 128, 255], 0]
    np.testing.assert_allclose(linear, [0, 10 / 255 / 12.92, 0.215861, 1], atol=1e-6)


@pytest.mark.parametrize("name", ["gamma2.2", "srgb", "linear"])
def test_thresholds_are_where_encoding_changes_its_mind(name: str) -> None:
    response = Response.named(name)
    thresholds = response.thresholds
    codes = np.arange(255)
    just_below = np.nextafter(thresholds, 0)
    np.testing.assert_array_equal(response.encode(thresholds)[:, 0], codes + 1)
    np.testing.assert_array_equal(response.encode(just_below)[:, 0], codes)


def wavy_table() -> np.ndarray:
    """A plausible measured table: two dips, noise at the top, channels that differ, BGR."""
    x = np.arange(256)[:, None] / 128
    table = x ** np.array([1.9, 2.0, 2.1])
    table[235] = table[236] * 1.001
    table[253:] *= np.array([[1.4], [0.5], [2.0]])
    return table.astype(np.float32)


@pytest.mark.parametrize("shape", [(256, 3), (256, 1, 3)])
def test_measured_table_is_made_rising_and_round_trips_within_one_code(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    file = tmp_path / "crf.npy"
    np.save(file, wavy_table().reshape(shape))
    response = Response.named(str(file))
    assert (np.diff(response.linear_of_code, axis=0) > 0).all()
    np.testing.assert_array_equal(response.linear_of_code[255], 1.0)
    error = response.encode(response.decode(CODES)).astype(int) - CODES
    assert np.abs(error).max() <= 1
    # The file is BGR: its first channel, the flattest, must come out last.
    assert response.linear_of_code[64, 2] > response.linear_of_code[64, 0]


def test_codes_above_250_follow_the_line_through_249_and_251(tmp_path: Path) -> None:
    table = wavy_table().astype(np.float64)
    np.save(tmp_path / "crf.npy", table)
    result = Response.named(str(tmp_path / "crf.npy")).linear_of_code[:, ::-1]
    step = (table[251] - table[249]) / 2
    expected = (table[250] + 3 * step) / (table[250] + 5 * step)
    np.testing.assert_allclose(result[253], expected, rtol=1e-6)


def test_the_real_gopro_table(shared_data: Path) -> None:
    response = Response.named(str(shared_data / "response" / "gopro6_inverse_crf.npy"))
    assert (np.diff(response.linear_of_code, axis=0) > 0).all()
    error = response.encode(response.decode(CODES)).astype(int) - CODES
    assert np.abs(error).max() <= 1
    # Local exponents that methods.md reports for this camera.
    log_code, log_light = np.log(np.arange(1, 256)), np.log(response.linear_of_code[1:])
    for low, high, exponent in ((20, 60, 1.45), (60, 150, 2.0), (150, 245, 3.4)):
        part = slice(low - 1, high)
        slopes = [np.polyfit(log_code[part], log_light[part, c], 1)[0] for c in range(3)]
        np.testing.assert_allclose(slopes, exponent, atol=0.25)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (np.zeros((255, 3)), "256x3"),
        (np.full((256, 3), np.nan), "finite"),
        (np.arange(768.0)[::-1].reshape(256, 3), "rise"),
        (np.array([["a"] * 3] * 256), "numbers"),
    ],
)
def test_unusable_tables_are_refused(tmp_path: Path, content: np.ndarray, complaint: str) -> None:
    file = tmp_path / "crf.npy"
    np.save(file, content)
    with pytest.raises(InputError, match=complaint) as error:
        Response.named(str(file))
    assert str(file) in str(error.value)


def test_unknown_and_missing_responses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gamma2.2 .or another number., srgb, linear"):
        Response.named("gamma9")
    with pytest.raises(InputError, match="cannot be read"):
        Response.named(str(tmp_path / "none.npy"))
    (tmp_path / "text.npy").write_text("no table")
    with pytest.raises(InputError, match="cannot be read"):
        Response.named(str(tmp_path / "text.npy"))
