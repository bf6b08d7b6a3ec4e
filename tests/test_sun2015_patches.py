"""Candidate motions, their their kernels, and training patches."""

import itertools
import math

import cv2
import numpy as np
import pytest
import torch
from motions import candidate_index
from scipy import ndimage

from baselines.sun2015 import patches
from baselines.sun2015.kernels import (
    CANDIDATES,
    LENGTHS_PX,
    N_KERNELS,
    TRAINED,
    LinearMotion,
    kernels,
    linear_kernel,
    motion_vectors,
)
from baselines.sun2015.method import SOURCE_PX, PatchOptions
from baselines.sun2015.network import PATCH_PX
from baselines.sun2015.patches import TURNS_DEGREES, MotionPatches
from benchmarks.pictures import CAPTION_PX, GAP_PX, sheet
from gopro_tools.errors import InputError
from gopro_tools.response import Response
from gopro_tools.scenes.textures import read_photograph

# ---- kernels


def test_candidates_are_the_paper_s():
    assert N_KERNELS == len(CANDIDATES) == len(set(CANDIDATES)) == 361
    assert len(TRAINED) == 73
    assert kernels().shape == (361, 27, 27)
    assert [motion.length_px for motion in CANDIDATES[::30]] == [1, *LENGTHS_PX[1:]]
    trained = {(CANDIDATES[index].length_px, CANDIDATES[index].angle_degrees) for index in TRAINED}
    assert trained == {(1, 0), *itertools.product(range(3, 26, 2), range(0, 180, 30))}
    assert TRAINED[0] == 0
    assert list(TRAINED) == sorted(TRAINED)


def test_an_index_names_the_motion_it_was_made_of():
    for length_index, orientation in itertools.product(range(1, 13), range(30)):
        motion = CANDIDATES[candidate_index(length_index, orientation)]
        assert motion == LinearMotion(LENGTHS_PX[length_index], 6 * orientation)
        # 180 degrees further is the same, on both sides
        for turn in (-30, 30, 60):
            assert CANDIDATES[candidate_index(length_index, orientation + turn)] == motion
    assert {candidate_index(0, orientation) for orientation in range(30)} == {0}


def test_kernels_sum_to_one_and_are_point_symmetric():
    stack = kernels().astype(float)
    np.testing.assert_allclose(stack.sum((1, 2)), 1, atol=1e-6)
    np.testing.assert_allclose(stack, stack[:, ::-1, ::-1], atol=1e-8)
    assert stack.min() >= 0
    assert np.count_nonzero(stack[0]) == 1
    with pytest.raises(ValueError, match="read-only"):
        kernels()[0, 0, 0] = 1


@pytest.mark.parametrize("length_px", LENGTHS_PX)
@pytest.mark.parametrize("angle_degrees", [0, 90])
def test_kernels_along_the_axes_have_as_many_equal_taps(length_px, angle_degrees):
    kernel = linear_kernel(LinearMotion(length_px, angle_degrees))
    taps = kernel[13] if angle_degrees == 0 else kernel[:, 13]
    half = length_px // 2
    expected = np.zeros(27)
    expected[13 - half : 14 + half] = 1 / length_px
    np.testing.assert_allclose(taps, expected, atol=1e-12)
    assert np.count_nonzero(kernel) == length_px


def test_kernels_stretch_as_far_as_their_motion_and_along_its_vector():
    """Second moments; with v counted downwards, as rows are."""
    y, x = np.mgrid[-13:14, -13:14]
    vectors = motion_vectors()
    for index, motion in enumerate(CANDIDATES[1:], start=1):
        u, v = vectors[index] / motion.length_px
        assert math.hypot(u, v) == pytest.approx(1, abs=1e-6)
        assert v <= 0
        along = (kernels()[index] * (x * u + y * v) ** 2).sum()
        across = (kernels()[index] * (x * v - y * u) ** 2).sum()
        # n equal steps have (n^2 - 1) / 12; how the ends meet the pixels adds or takes a little
        expected = (motion.length_px**2 - 1) / 12
        assert along == pytest.approx(expected, abs=0.4 + 0.03 * expected)
        assert across < 0.21
        covariance = (kernels()[index] * x * y).sum()
        assert covariance == pytest.approx((along - across) * u * v, abs=0.15)
    assert vectors[0].tolist() == [0, 0]


def test_counter_clockwise_is_as_seen():
    """At 30 degrees a point moves right and up: bright taps in the upper right quadrant."""
    kernel = kernels()[candidate_index(6, 5)]
    assert kernel[:13, 14:].sum() > 0.3
    assert kernel[14:, 14:].sum() == 0


# ---- patches


def grain(size_hw, seed=0, sigma=1.5):
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(*size_hw, 3)), (sigma, sigma, 0))
    return np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)


def test_a_motion_between_two_orientations_belongs_to_both():
    none, along, before = (
        TRAINED.index(candidate_index(*each)) for each in ((0, 0), (4, 0), (4, 25))
    )
    assert patches.shares_of(none, 12)[none] == 1
    exact, above, below = (patches.shares_of(along, degrees) for degrees in (0, 6, -12))
    assert exact[along] == 1
    assert above[TRAINED.index(candidate_index(4, 5))] == pytest.approx(0.2)
    assert (below[along], below[before]) == pytest.approx((0.6, 0.4))  # 180 degrees are 0
    for shares in (exact, above, below):
        assert shares.sum() == pytest.approx(1)


def makes(response="gamma2.2", **options):
    return MotionPatches(Response.named(response), PatchOptions(**options), torch.device("cpu"))


def pieces_of(image):
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("name", ["gamma2.2", "srgb", "linear"])
def test_blur_happens_in_light(name):
    """Against convolution in float64, within a code."""
    response = Response.named(name)
    sharp = read_photograph("coffee")[100 : 100 + SOURCE_PX, 200 : 200 + SOURCE_PX]
    light = response.decode(sharp)
    for candidate in (0, candidate_index(1, 7), candidate_index(5, 20), candidate_index(12, 3)):
        kernel = kernels()[candidate].astype(float)
        moved = np.lib.stride_tricks.sliding_window_view(light, (27, 27), axis=(0, 1))
        direct = response.encode(np.einsum("hwcij,ij->hwc", moved, kernel[::-1, ::-1]))
        made = makes(name).blurred(pieces_of(sharp), torch.tensor([candidate]))[0]
        found = (made.permute(1, 2, 0) * 255).numpy()
        assert np.abs(found - direct).max() <= 1.01
        assert (np.abs(found - direct) < 0.01).mean() > 0.97


def test_a_patch_without_motion_is_the_middle_of_its_piece(monkeypatch):
    monkeypatch.setattr(patches, "_MOST_NOISE_SIGMA", 0.0)
    piece = pieces_of(grain((SOURCE_PX, SOURCE_PX)))
    torch.manual_seed(0)
    seen, shares = makes().make(piece.expand(200, -1, -1, -1))
    assert seen.shape == (200, 3, PATCH_PX, PATCH_PX)
    assert (shares.sum(1) == 1).all()
    first = (SOURCE_PX - PATCH_PX) // 2
    middle = piece[0, :, first : first + PATCH_PX, first : first + PATCH_PX] - 0.5
    still = seen[shares[:, 0] == 1]
    assert 0 < len(still) < 20
    for patch in still:
        torch.testing.assert_close(patch, middle, atol=1.1 / 255, rtol=0)
    assert len(shares.argmax(1).unique()) > 50  # of 73 classes in 200 patches


def test_normalising_takes_away_light_and_contrast():
    image = pieces_of(grain((60, 80)))
    seen, of_dim = (patches.normalised(each) for each in (image, image * 0.5 + 0.08))
    assert abs(float(seen.mean())) < 0.05
    assert 0.7 < float(seen.std()) < 1.3
    assert (seen - of_dim).abs().mean() < 0.1
    flat = patches.normalised(torch.full((1, 3, 40, 40), 0.3))
    assert flat.abs().max() < 1e-3


@pytest.mark.parametrize("degrees", TURNS_DEGREES)
def test_patches_are_turned_counter_clockwise(degrees):
    image = grain((54, 54), sigma=3)
    radians = torch.tensor([math.radians(degrees)])
    found = patches._turned_middle(pieces_of(image), radians)[0].permute(1, 2, 0).numpy() * 255
    matrix = cv2.getRotationMatrix2D((26.5, 26.5), degrees, 1.0)
    turned = cv2.warpAffine(image, matrix, (54, 54), flags=cv2.INTER_CUBIC)[5:-5, 5:-5]
    assert np.abs(found - turned)[2:-2, 2:-2].mean() < 1.5


def test_soft_and_grained_patches_are_that():
    piece = pieces_of(grain((SOURCE_PX, SOURCE_PX), sigma=0.8)).expand(64, -1, -1, -1)
    none = torch.zeros(64, dtype=torch.int64)

    def detail(**options):
        torch.manual_seed(0)
        made = makes(**options).blurred(piece, none)
        return made, (made[..., 1:] - made[..., :-1]).square().mean(dim=(1, 2, 3)).sqrt()

    plain, sharp = detail()
    soft, less = detail(soft_share=0.5)
    assert (soft.mean(dim=(1, 2, 3)) - plain.mean(dim=(1, 2, 3))).abs().max() < 0.1
    assert 15 < int((less < 0.9 * sharp).sum()) < 49
    assert (less <= 1.001 * sharp).all()
    _, more = detail(grain_share=0.5)
    assert 10 < int((more > 1.03 * sharp).sum()) < 49
    _, gained = detail(band_gain_max=3.0)
    assert (gained > 1.1 * sharp).any()
    assert (gained < 0.9 * sharp).any()


def test_patches_that_cannot_be_are_refused():
    for wrong in ({"soft_share": 1.5}, {"grain_share": -0.1}, {"band_gain_max": 0.5}):
        with pytest.raises(InputError, match="between 0 and 1, band_gain_max"):
            PatchOptions(**wrong)


# ---- pictures


@pytest.mark.parametrize(("n", "rows"), [(2, 1), (3, 2), (4, 2)])
def test_sheets_hold_all_pictures(n, rows):
    shown = [(f"no {index}", np.full((200, 90, 3), 40 * index, np.uint8)) for index in range(n)]
    shown[0] = ("smaller", shown[0][1][:150, :80])
    made = sheet(shown, n_columns=2)
    assert made.shape[:2] == (rows * (CAPTION_PX + 200), 2 * (90 + GAP_PX))
    for index, (_, picture) in enumerate(shown):
        row, column = divmod(index, 2)
        height, width = picture.shape[:2]
        top, left = row * (CAPTION_PX + 200) + CAPTION_PX, column * (90 + GAP_PX)
        np.testing.assert_array_equal(made[top : top + height, left : left + width], picture)
