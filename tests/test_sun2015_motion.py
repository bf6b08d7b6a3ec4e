"""Motion: candidates, training patches, the random field, dense estimation, its accuracy."""

import itertools
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import nn

from baselines.sun2015 import accuracy, field, patches, pictures, restorer, risk
from baselines.sun2015.accuracy import blurred_by
from baselines.sun2015.field import PAPER_FIELD, PLUS_FIELD, FieldOptions, field_from
from baselines.sun2015.kernels import (
    CANDIDATES,
    LENGTHS_PX,
    N_KERNELS,
    N_ORIENTATIONS,
    TRAINED,
    LinearMotion,
    candidate_index,
    kernels,
    linear_kernel,
    motion_vectors,
    turned_candidate,
)
from baselines.sun2015.mrf import MrfOptions, energy, pair_costs, smoothed_labels
from baselines.sun2015.network import PATCH_PX, MotionClassifier
from baselines.sun2015.patches import SOURCE_PX, TURNS_DEGREES, MotionPatches, PatchOptions
from gopro_tools.errors import InputError
from gopro_tools.images import encode_png
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
    for index, motion in enumerate(CANDIDATES[1:], start=1):
        u, v = motion_vectors()[index] / motion.length_px
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
    assert motion_vectors()[0].tolist() == [0, 0]


def test_counter_clockwise_is_as_seen():
    """At 30 degrees a point moves right and up: bright taps in the upper right quadrant."""
    kernel = kernels()[candidate_index(6, 5)]
    assert kernel[:13, 14:].sum() > 0.3
    assert kernel[14:, 14:].sum() == 0


@pytest.mark.parametrize(("length", "angle"), [(0.5, 0), (3, 180), (3, -1), (math.nan, 0)])
def test_motions_that_cannot_be_are_refused(length, angle):
    with pytest.raises(InputError, match="at least 1 px"):
        LinearMotion(length, angle)


@pytest.mark.parametrize("size_px", [9, 10, 28])
def test_a_kernel_that_does_not_fit_is_refused(size_px):
    with pytest.raises(InputError, match="size_px"):
        linear_kernel(LinearMotion(11, 30), size_px)
    assert linear_kernel(LinearMotion(11, 30), 11).shape == (11, 11)


# ---- patches


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(np.ascontiguousarray(image)))
    return path


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
        alike = blurred_by(sharp, candidate, response, 0.0, np.random.default_rng(0))
        assert np.abs(alike[13:-13, 13:-13].astype(int) - direct).max() <= 1


def test_a_patch_without_motion_is_the_middle_of_its_piece():
    piece = pieces_of(grain((SOURCE_PX, SOURCE_PX)))
    torch.manual_seed(0)
    seen, shares = makes(noise_sigma_max=0.0).make(piece.expand(200, -1, -1, -1))
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


# ---- the random field


def test_a_pair_costs_the_square_of_its_difference():
    options = MrfOptions(smoothness_per_px2=0.5, largest_difference_px=None)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50, 2)).astype(np.float32) * 9
    direct = 0.5 * np.minimum(((a - b) ** 2).sum(1), ((a + b) ** 2).sum(1))
    np.testing.assert_allclose(pair_costs(a, b, options), direct, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(pair_costs(a, b, options), pair_costs(b, a, options))
    capped = pair_costs(a, b, MrfOptions(smoothness_per_px2=0.5, largest_difference_px=3))
    np.testing.assert_allclose(capped, np.minimum(direct, 4.5), rtol=1e-4, atol=1e-4)


def test_a_blur_knows_no_forth_from_back():
    vectors = motion_vectors()
    assert pair_costs(vectors, -vectors, MrfOptions()).max() == pytest.approx(0, abs=1e-5)
    # so 174 and 0 degrees are neighbours, not opposites
    options = MrfOptions(smoothness_per_px2=1, largest_difference_px=None)
    near = pair_costs(vectors[candidate_index(6, 29)], vectors[candidate_index(6, 0)], options)
    assert near == pytest.approx((2 * 13 * math.sin(math.radians(3))) ** 2, rel=1e-3)


def direct_energy(labels, unary, vectors, options):
    height, width = labels.shape
    total = 0.0
    for y, x in np.ndindex(height, width):
        total += unary[labels[y, x], y, x]
        for near in ((y + 1, x), (y, x + 1)):
            if near[0] < height and near[1] < width:
                a, b = vectors[labels[y, x]], vectors[labels[near]]
                squared = min(((a - b) ** 2).sum(), ((a + b) ** 2).sum())
                if options.largest_difference_px is not None:
                    squared = min(squared, options.largest_difference_px**2)
                total += options.smoothness_per_px2 * squared
    return total


EVERY_2x3 = np.array(list(itertools.product(range(4), repeat=6))).reshape(-1, 2, 3)


def tiny_field(seed, options):
    """The energy reached, that of each cell's best, and the least of all 4096 labellings."""
    rng = np.random.default_rng(seed)
    unary = rng.random((4, 2, 3)).astype(np.float32)
    vectors = (8 * rng.normal(size=(4, 2))).astype(np.float32)
    found = smoothed_labels(unary, vectors, options)
    reached = direct_energy(found, unary, vectors, options)
    assert energy(found, unary, vectors, options) == pytest.approx(reached, rel=1e-4, abs=1e-5)
    costs = np.take_along_axis(unary[None], EVERY_2x3[:, None], axis=1).sum((1, 2, 3))
    pairs = pair_costs(vectors[:, None], vectors[None], options)
    costs = costs + pairs[EVERY_2x3[:, 1:], EVERY_2x3[:, :-1]].sum((1, 2))
    costs = costs + pairs[EVERY_2x3[:, :, 1:], EVERY_2x3[:, :, :-1]].sum((1, 2))
    return reached, energy(unary.argmin(0), unary, vectors, options), costs.min()


@pytest.mark.parametrize("smoothness", [0.001, 0.002])
@pytest.mark.parametrize("largest", [4.0, 10.0])
def test_tiny_fields_of_usual_smoothness_are_solved(smoothness, largest):
    options = MrfOptions(smoothness_per_px2=smoothness, largest_difference_px=largest)
    for seed in range(25):
        reached, _, least = tiny_field(seed, options)
        assert reached == pytest.approx(least, abs=1e-4)


@pytest.mark.parametrize("largest", [None, 4.0, 10.0])
def test_tiny_fields_of_strong_smoothness_are_mostly_solved(largest):
    """On grids with loops messages promise no optimum; most are, and little is left of the gap."""
    options = MrfOptions(smoothness_per_px2=0.05, largest_difference_px=largest)
    reached, start, least = np.transpose([tiny_field(seed, options) for seed in range(40)])
    assert (reached >= least - 1e-3).all()
    assert (reached <= least + 1e-3).mean() >= 0.75
    assert (reached - least).mean() < 0.06 * (start - least).mean()


def test_a_chain_is_solved_exactly():
    """Without loops messages are exact, along either axis."""
    rng = np.random.default_rng(1)
    vectors = (8 * rng.normal(size=(5, 2))).astype(np.float32)
    options = MrfOptions(smoothness_per_px2=0.01)
    unary = rng.random((5, 1, 6)).astype(np.float32)
    every = np.array(list(itertools.product(range(5), repeat=6)))[:, None]
    pairs = pair_costs(vectors[:, None], vectors[None], options)
    costs = np.take_along_axis(unary[None], every[:, None], axis=1).sum((1, 2, 3))
    costs = costs + pairs[every[:, 0, 1:], every[:, 0, :-1]].sum(1)
    best = every[costs.argmin()]
    np.testing.assert_array_equal(smoothed_labels(unary, vectors, options), best)
    upright = smoothed_labels(unary.swapaxes(1, 2).copy(), vectors, options)
    np.testing.assert_array_equal(upright, best.T)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size_hw=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    n_labels=st.sampled_from([1, 2, 6, 40]),
    smoothness=st.sampled_from([0.0, 0.003, 0.1]),
)
def test_the_energy_never_exceeds_that_of_each_cell_s_best(seed, size_hw, n_labels, smoothness):
    rng = np.random.default_rng(seed)
    unary = rng.random((20, *size_hw)).astype(np.float32)
    vectors = motion_vectors()[rng.permutation(361)[:20]]
    options = MrfOptions(smoothness_per_px2=smoothness, n_labels=n_labels, n_sweeps=2)
    found = smoothed_labels(unary, vectors, options)
    alone = unary.argmin(0)
    assert found.shape == size_hw
    assert energy(found, unary, vectors, options) <= energy(alone, unary, vectors, options) + 1e-5
    if smoothness == 0:
        np.testing.assert_array_equal(found, alone)


def test_where_all_know_the_same_nothing_changes():
    unary = np.broadcast_to(np.random.default_rng(0).random((361, 1, 1), np.float32), (361, 5, 7))
    found = smoothed_labels(unary, motion_vectors())
    assert np.unique(found).tolist() == [unary[:, 0, 0].argmin()]


def test_a_noisy_field_of_two_regions_is_cleaned():
    rng = np.random.default_rng(2)
    true = np.full((16, 20), candidate_index(6, 5))
    true[:, 11:] = candidate_index(10, 20)
    confidences = 0.02 * rng.random((361, 16, 20)).astype(np.float32)
    told = true.copy()
    wrong = rng.random(true.shape) < 0.3
    told[wrong] = rng.integers(0, 361, wrong.sum())
    np.put_along_axis(confidences, true[None], 0.3, axis=0)
    np.put_along_axis(confidences, told[None], 0.4, axis=0)
    before = (confidences.argmax(0) == true).mean()
    found = smoothed_labels(-confidences, motion_vectors())
    assert before < 0.75
    assert (found == true).mean() == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"smoothness_per_px2": -1.0}, "not be negative"),
        ({"n_labels": 0}, "n_labels"),
        ({"n_sweeps": -1}, "n_sweeps"),
        ({"largest_difference_px": 0.0}, "positive"),
    ],
)
def test_smoothing_that_cannot_be_is_refused(setting, message):
    with pytest.raises(InputError, match=message):
        MrfOptions(**setting)


# ---- the dense field


class Fake(nn.Module):
    """A classifier that reads what tests have painted at the middle of each patch."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(30.0), requires_grad=False)

    def forward(self, images, stride_px=4):
        # Patch pixels 14 and 15 around its middle at 14.5, both ways.
        middle = nn.functional.avg_pool2d(images, 2, stride=1)[..., 14:, 14:]
        height, width = (side - PATCH_PX + 1 for side in images.shape[2:])
        seen = middle[:, 0, :height:stride_px, :width:stride_px] * 255 / 3
        classes = torch.arange(len(TRAINED), device=images.device)
        return -self.scale * (seen[:, None] - classes[:, None, None]).abs()


def painted(labels):
    """(H, W) classes -> an image that `Fake` reads them from."""
    return np.repeat((3 * labels)[..., None], 3, axis=2).astype(np.uint8)


@pytest.fixture
def seen_as_painted(monkeypatch):
    monkeypatch.setattr(field, "normalised", lambda images: images)


def plus(**changes):
    return replace(PLUS_FIELD, **changes)


def dense_confidences(classifier, image, options=PLUS_FIELD):
    return field.dense_confidences(classifier, image, options)


def estimate_field(classifier, image, options=PLUS_FIELD):
    return field_from(dense_confidences(classifier, image, options), options)


def test_turned_copies_reach_each_orientation_once():
    for length_index in (1, 12):
        trained = [candidate_index(length_index, orientation) for orientation in range(0, 30, 5)]
        assert set(trained) <= set(TRAINED)
        reached = [
            turned_candidate(candidate, -degrees)
            for degrees in TURNS_DEGREES
            for candidate in trained
        ]
        assert sorted(reached) == [candidate_index(length_index, n) for n in range(30)]
    assert turned_candidate(0, 12) == 0
    motion = CANDIDATES[turned_candidate(candidate_index(4, 28), 12)]
    assert motion == LinearMotion(9, 0)


class Striped(nn.Module):
    """Tells the direction in which a patch changes least, as motions 13 px long."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1), requires_grad=False)  # far from sure
        self.angles = torch.tensor([CANDIDATES[index].angle_degrees for index in TRAINED])
        self.lengths = torch.tensor([CANDIDATES[index].length_px for index in TRAINED])

    def forward(self, images, stride_px=4):
        grey = images.mean(1)
        dx = (grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2])[:, None]
        dy = (grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1])[:, None]
        xx, yy, xy = (
            nn.functional.avg_pool2d(product, PATCH_PX - 2, stride=stride_px)
            for product in (dx * dx, dy * dy, dx * dy)
        )
        # rows count downwards: the direction of change as seen is (dx, -dy)
        change = torch.rad2deg(torch.atan2(-2 * xy, xx - yy) / 2)
        along = change + 90
        apart = (along - self.angles[:, None, None] + 90) % 180 - 90
        return torch.where((self.lengths == 13)[:, None, None], -self.scale * apart.abs(), -1000.0)


@pytest.mark.parametrize("angle_degrees", [0, 12, 30, 54, 78, 96, 114, 162, 174])
def test_turning_an_image_turns_its_motions_the_same_way(angle_degrees):
    angle = math.radians(angle_degrees)
    y, x = np.mgrid[:100, :120]
    waves = np.sin((x * math.sin(angle) + y * math.cos(angle)) / 2)
    image = np.repeat(np.rint(128 + 90 * waves)[..., None], 3, axis=2).astype(np.uint8)
    options = plus(sizes=(1.0,), fusion_sigma_px=0)
    found = dense_confidences(Striped(), image, options).values
    expected = candidate_index(6, angle_degrees // 6)
    assert np.all(found.argmax(0) == expected)


@pytest.mark.usefixtures("seen_as_painted")
@pytest.mark.parametrize("size_hw", [(149, 171), (120, 200)])
def test_each_turned_copy_finds_things_where_they_are(size_hw):
    """The same colour is read at each turn, as five candidates two steps around the painted one."""
    labels = np.zeros(size_hw, int)
    labels[23:71, 101:160] = TRAINED.index(candidate_index(3, 10))
    labels[61:110, 14:66] = TRAINED.index(candidate_index(8, 25))
    options = plus(stride_px=4, sizes=(1.0,), fusion_sigma_px=0)
    found = dense_confidences(Fake(), painted(labels), options)
    height, width = found.values.shape[1:]
    assert (height, width) == tuple((side - PATCH_PX) // 4 + 1 for side in size_hw)
    assert found.values.min() >= 0
    np.testing.assert_allclose(found.values.sum(0), 1, rtol=1e-5)
    y, x = (4 * np.mgrid[:height, :width] + 14.5).round(1)
    assert found.origin_px == 14.5
    edges = np.zeros(size_hw, bool)
    edges[1:] |= labels[1:] != labels[:-1]
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    away = ndimage.distance_transform_edt(~edges)[y.astype(int), x.astype(int)] > 4.5
    inside = (y > 30) & (x > 30) & (y < size_hw[0] - 31) & (x < size_hw[1] - 31)
    here = labels[y.astype(int), x.astype(int)]
    for label in np.unique(labels):
        length_index, orientation = divmod(TRAINED[label] - 1, N_ORIENTATIONS)
        for turn in (-2, -1, 0, 1, 2):
            candidate = candidate_index(length_index + 1, orientation + turn) if label else 0
            told = found.values[candidate] > (0.1 if label else 0.5)
            checked = away if turn == 0 and label else away & inside
            assert checked.sum() > 100
            np.testing.assert_array_equal(told[checked], (here == label)[checked], str(turn))


def sure_of(candidate):
    probabilities = np.zeros((len(TRAINED), 1, 1), np.float32)
    probabilities[TRAINED.index(candidate)] = 1
    return probabilities


@pytest.mark.parametrize(
    ("size", "small_px", "length_px"), [(1.0, 13, 13), (0.5, 3, 5), (0.5, 9, 17), (0.35, 9, 25)]
)
def test_motions_of_a_small_copy_are_longer_in_the_image(size, small_px, length_px):
    told = sure_of(candidate_index(small_px // 2, 10))
    found = field.at_full_size(told, size)
    assert found.dtype == np.float32
    assert found.sum() == pytest.approx(1, rel=1e-5)
    assert TRAINED[int(found.argmax())] == candidate_index(length_px // 2, 10)
    still = field.at_full_size(sure_of(0), size)
    assert still.argmax() == 0
    short = [TRAINED.index(candidate_index(1, turn)) for turn in range(0, 30, 5)]
    # Of 3 px, a small copy shows little: whichever way they lie, none is ruled out.
    assert (size == 1) == (still[short].max() < 1e-3)
    assert np.ptp(still[short]) < 1e-6


class ToldBySize(nn.Module):
    """Sure of a level motion whose length depends on the size of the image it is shown."""

    def __init__(self, small_px, large_px):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0), requires_grad=False)
        self.lengths_px = small_px, large_px

    def forward(self, images, stride_px=4):
        rows, columns = ((side - PATCH_PX) // stride_px + 1 for side in images.shape[-2:])
        logits = torch.zeros(1, len(TRAINED), rows, columns)
        length_px = self.lengths_px[int(images.shape[-1] >= 150)]
        logits[:, TRAINED.index(candidate_index(length_px // 2, 0))] = self.scale
        return logits


def test_copies_of_all_sizes_have_a_say():
    image = grain((160, 180))
    options = plus(sizes=(1.0, 0.5), fusion_sigma_px=0)

    def found(small_px, large_px, **changed):
        classifier = ToldBySize(small_px, large_px)
        told = dense_confidences(classifier, image, replace(options, **changed))
        assert told.values.shape == (361, 17, 19)
        best = set(told.values.argmax(axis=0).ravel().tolist())
        (length_px,) = {CANDIDATES[index].length_px for index in best}
        return length_px, float(told.values.max())

    agreed, alone = found(9, 17), found(9, 17, sizes=(1.0,))
    assert agreed[0] == alone[0] == 17
    disputed = found(3, 17)
    assert disputed[1] < agreed[1]
    assert found(9, 3, sizes=(0.5,))[0] == 17
    # Too small a copy, of 56 pixels, is left out.
    assert found(3, 17, sizes=(1.0, 0.35)) == alone


@pytest.mark.parametrize("sizes", [(), (0.0,), (1.0, 1.5)])
def test_sizes_that_cannot_be_are_refused(sizes):
    with pytest.raises(InputError, match="above 0 and at most 1"):
        plus(sizes=sizes)


# ---- what to undo


def test_undoing_too_much_costs_more_than_undoing_nothing():
    errors = risk.expected_errors(0.03)
    assert errors.shape == (361, 361)
    assert not errors.flags.writeable
    assert errors[0, 0] == pytest.approx(0, abs=1e-6)
    moving = np.arange(1, 361)
    left, right = errors[moving, 0], errors[moving, moving]
    assert (right < 0.8 * left).all()
    assert (right < 1.05 * errors[moving].min(axis=1)).all()  # nothing is better than the truth
    short, long = candidate_index(2, 7), candidate_index(11, 7)
    assert errors[short, long] > 3 * errors[short, 0]
    assert errors[long, short] < 1.05 * errors[long, 0]  # too little costs nothing


def test_expected_errors_are_those_of_images():
    """Blurred and filtered in fact, noise of 1/f^2 has the error that was reckoned with."""
    rng = np.random.default_rng(0)
    side, noise = 64, 0.03
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    amplitude = 1 / np.sqrt(frequency**2 + 0.5 / side**2)
    amplitude[0, 0] = 0
    amplitude *= risk.CONTRAST * side / np.sqrt((amplitude**2).sum())
    pairs = [(candidate_index(4, 5), candidate_index(4, 5)), (candidate_index(2, 0), 0)]
    pairs.append((candidate_index(3, 12), candidate_index(7, 14)))
    for true, used in pairs:
        transfers = []
        for candidate in (true, used):
            kernel = np.zeros((side, side))
            sampled = kernels()[candidate]
            kernel[: sampled.shape[0], : sampled.shape[1]] = sampled
            middle = sampled.shape[0] // 2
            transfers.append(np.fft.fft2(np.roll(kernel, (-middle, -middle), (0, 1))))
        wiener = transfers[1].conj() / (
            np.abs(transfers[1]) ** 2 + (noise / np.maximum(amplitude, 1e-9)) ** 2
        )
        wiener = np.ones_like(wiener) if used == 0 else wiener
        squared = []
        for _ in range(30):
            image = np.fft.fft2(rng.standard_normal((side, side))) * amplitude
            squared.append(np.mean(np.fft.ifft2(image * (wiener * transfers[0] - 1)).real ** 2))
        expected = risk.expected_errors(noise)[true, used] * risk.CONTRAST**2
        assert np.mean(squared) == pytest.approx(expected, rel=0.15)


def test_doubt_speaks_for_shorter_motions():
    sure, doubtful = candidate_index(9, 12), candidate_index(3, 12)
    values = np.zeros((361, 3, 4), np.float32)
    values[sure, :, 0] = 1
    values[:, :, 1] = 1 / 361
    values[sure, :, 2], values[doubtful, :, 2] = 0.55, 0.45
    values[0, :, 3], values[sure, :, 3] = 0.45, 0.55
    confidences = field.Confidences(values, np.ones((3, 4), np.float32), 8, 14.5, (46, 62))
    undone = risk.safest_field(confidences, 0.03, n_independent=1)
    assert undone.shape == (46, 62)
    lengths = np.array([motion.length_px for motion in CANDIDATES])[undone]
    assert (undone[:, 8] == sure).all()
    assert (lengths[:, 22] <= 3).all()
    assert (lengths[:, 31] < 19).all()
    assert (lengths[:, 50] < lengths[:, 31]).all()
    # Hardly surer of the shortest motion than of none, one leaves the image alone.
    short = candidate_index(1, 12)
    values[:] = 0
    values[short], values[0] = 0.6, 0.4
    rest = field.Confidences(values, confidences.weights, 8, 14.5, (46, 62))
    assert not risk.safest_field(rest, 0.03, n_independent=1).any()
    values[short], values[0] = 0.95, 0.05
    assert risk.safest_field(rest, 0.03, n_independent=1).all()
    values[short] = 0
    values[sure], values[doubtful] = 0.55, 0.4
    surer = risk.safest_field(rest, 0.03, n_independent=40)
    assert (surer[:, 31] == sure).all()


@pytest.mark.parametrize("size_hw", [(101, 77), (64, 64), (20, 17), (9, 150), (1, 1)])
def test_a_field_has_the_image_s_size(size_hw):
    found = estimate_field(Fake(), painted(np.zeros(size_hw, int)))
    assert found.shape == size_hw
    assert not found.any()


def test_images_may_be_read_only():
    image = painted(np.zeros((70, 70), int))
    image.setflags(write=False)
    assert not estimate_field(Fake(), image).any()


@pytest.mark.usefixtures("seen_as_painted")
def test_two_halves_are_told_apart_to_the_cell():
    labels = np.zeros((120, 160), int)
    labels[:, 83:] = 1  # 3 px, level; 83 lies between the points at 78.5 and 86.5
    found = estimate_field(
        Fake(),
        painted(labels),
        plus(sizes=(1.0,), fusion_sigma_px=0, mrf=MrfOptions(smoothness_per_px2=0)),
    )
    lengths = np.array([motion.length_px for motion in CANDIDATES])[found]
    np.testing.assert_array_equal(lengths[40:80, 32:83], 1)
    np.testing.assert_array_equal(lengths[40:80, 91:128], 3)


def test_bands_of_rows_are_the_whole(monkeypatch):
    torch.manual_seed(0)
    classifier = MotionClassifier((4, 6, 8)).eval()
    nn.init.normal_(classifier.classes.weight, std=1)
    image = grain((131, 75))
    for stride_px in (4, 6, 12):
        options = plus(stride_px=stride_px)
        monkeypatch.setattr(field, "_BAND_PX2", 10**9)
        whole = field._probabilities(classifier, image, options)
        assert whole.shape == (73, 101 // stride_px + 1, 45 // stride_px + 1)
        assert whole.std(dim=(1, 2)).max() > 1e-3
        monkeypatch.setattr(field, "_BAND_PX2", 2 * 75 * stride_px)
        bands = field._probabilities(classifier, image, options)
        torch.testing.assert_close(bands, whole, rtol=1e-4, atol=1e-6)
        seen = patches.normalised(pieces_of(image))[..., 2 * stride_px :, stride_px:]
        alone = classifier(seen[..., :30, :30])
        torch.testing.assert_close(whole[:, 2, 1], alone.softmax(1)[0, :, 0, 0].detach())


@pytest.mark.parametrize("size_hw", [(37, 50), (128, 90)])
def test_each_pixel_takes_the_nearest_point_s_label(size_hw):
    confidences = field.Confidences(
        np.zeros((361, 3, 4), np.float32), np.ones((3, 4), np.float32), 8, 14.5, size_hw
    )
    labels = np.arange(12).reshape(3, 4)
    places = [14.5 + 8 * np.arange(n) for n in (3, 4)]
    rows, columns = (
        np.abs(np.arange(side)[:, None] - place).argmin(1)
        for side, place in zip(size_hw, places, strict=True)
    )
    np.testing.assert_array_equal(confidences.enlarged(labels), labels[rows][:, columns])


def test_fusing_is_a_weighted_mean():
    values = np.zeros((361, 15, 15), np.float32)
    values[0] = 1
    values[0, 7, 7], values[5, 7, 7] = 0, 1
    confidences = field.Confidences(
        values, np.ones(values.shape[1:], np.float32), 8, 14.5, (150, 150)
    )
    options = plus(fusion_sigma_px=8.0, fusion="mean", neighbour_support=0)
    together = field.fused(confidences, options).values
    np.testing.assert_allclose(together.sum(0), 1, rtol=1e-5)
    taps = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    assert together[5, 7, 7] == pytest.approx((1 / taps.sum()) ** 2, rel=0.05)
    assert together[5, 7, 8] / together[5, 7, 7] == pytest.approx(math.exp(-0.5), rel=1e-4)
    assert field.fused(confidences, plus(fusion_sigma_px=0)) is confidences


def test_fusing_by_product_lets_doubts_add_up():
    """What neither of two sorts of patches rules out wins over the favourite of either."""
    values = np.zeros((361, 15, 15), np.float32)
    values[0, :, ::2], values[1, :, 1::2] = 0.6, 0.6
    values[2] = 0.4
    confidences = field.Confidences(
        values, np.ones(values.shape[1:], np.float32), 8, 14.5, (150, 150)
    )
    options = plus(fusion_sigma_px=16, neighbour_support=0)
    by_product = field.fused(confidences, options).values
    np.testing.assert_allclose(by_product.sum(0), 1, rtol=1e-4)
    assert (by_product.argmax(0) == 2).all()


@pytest.mark.parametrize("setting", [{"stride_px": 5}, {"stride_px": 0}, {"fusion_sigma_px": -1.0}])
def test_a_grid_that_cannot_be_is_refused(setting):
    with pytest.raises(InputError, match="even number"):
        plus(**setting)


# ---- pictures


def test_colours_show_what_blurs_alike_alike():
    vectors = motion_vectors()[None]
    colours = pictures.motion_colours(vectors).astype(int)
    opposite = pictures.motion_colours(-vectors).astype(int)
    assert np.abs(colours - opposite).max() <= 1
    assert colours[0, 0].tolist() == [255, 255, 255]
    longest = colours[0, candidate_index(12, 0) :]
    assert len(np.unique(longest, axis=0)) == 30  # no two orientations look the same
    assert longest.min(axis=1).max() == 0  # saturated
    grows = colours[0, [0, *(candidate_index(n, 4) for n in range(1, 13))]]
    spans = np.ptp(grows, axis=1)
    assert spans.tolist() == sorted(set(spans.tolist()))


def test_a_field_is_coloured_by_its_vectors():
    labels = np.array([[0, candidate_index(4, 3)], [candidate_index(9, 20), 0]])
    colours = pictures.field_colours(labels)
    assert colours.dtype == np.uint8
    np.testing.assert_array_equal(colours, pictures.motion_colours(motion_vectors()[labels]))
    # 3 degrees either side of level are near in colour, too
    near = pictures.motion_colours(
        np.float32([[[20, 0.5], [20, -0.5]]])
    ).astype(int)  # fmt: skip
    assert np.abs(near[0, 0] - near[0, 1]).max() < 30


def test_the_legend_s_points_have_their_own_vector_s_colour():
    shown = pictures.legend(151)
    assert shown.shape == (151, 151, 3)
    assert shown[0, 0].tolist() == [255, 255, 255]
    x, y = 75 + 45, 75 - 30  # to the right and up
    vector = np.float32([[[45, -30]]]) * 25 / 75
    np.testing.assert_allclose(
        shown[y, x], pictures.motion_colours(vector)[0, 0], atol=1
    )  # fmt: skip


@pytest.mark.parametrize("with_legend", [True, False])
@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2)])
def test_sheets_hold_all_pictures(n, rows, columns, with_legend):
    shown = [(f"no {index}", np.full((200, 90, 3), 40 * index, np.uint8)) for index in range(n)]
    sheet = pictures.side_by_side(shown, with_legend=with_legend)
    assert sheet.shape == (rows * 222, columns * 96 + 156 * with_legend, 3)
    for index in range(n):
        row, column = divmod(index, 2)
        part = sheet[row * 222 + 22 :][:200, column * 96 :][:, :90]
        np.testing.assert_array_equal(part, shown[index][1])
    small = pictures.side_by_side([("small", np.zeros((10, 10, 3), np.uint8))])
    assert small.shape == (172, 172, 3)
    np.testing.assert_array_equal(small[22:, 16:166], pictures.legend())


# ---- accuracy


def test_what_counts_as_right():
    def right(true, *found):
        return accuracy.is_right(np.array(found), true).tolist()

    true = candidate_index(5, 0)  # 11 px, level
    lengths = [candidate_index(n, 0) for n in (3, 4, 5, 6, 7)]
    assert right(true, *lengths) == [False, True, True, True, False]
    turned = [candidate_index(5, n) for n in (0, 2, 3, 28, 27, 15)]
    assert right(true, *turned) == [True, True, False, True, False, False]
    assert right(true, 0) == [False]
    # 3 px may be taken for none, and the other way round, at any angle; 5 px may not.
    assert right(candidate_index(1, 7), 0, candidate_index(1, 7)) == [True, True]
    assert right(candidate_index(2, 7), 0) == [False]
    short, longer = candidate_index(1, 22), candidate_index(2, 22)
    assert right(0, 0, short, longer) == [True, True, False]


def test_endpoint_errors_know_no_forth_from_back():
    rng = np.random.default_rng(0)
    motion = (10 * rng.normal(size=(6, 7, 2))).astype(np.float32)
    labels = rng.integers(0, 361, (6, 7))
    errors = accuracy.endpoint_errors_px(labels, motion)
    np.testing.assert_allclose(errors, accuracy.endpoint_errors_px(labels, -motion), rtol=1e-5)
    found = motion_vectors()[labels]
    direct = [
        min(math.dist(v, m), math.dist(-v, m))
        for v, m in zip(found.reshape(-1, 2), motion.reshape(-1, 2), strict=True)
    ]
    np.testing.assert_allclose(errors.ravel(), direct, rtol=1e-5)
    np.testing.assert_array_equal(accuracy.endpoint_errors_px(labels, found), 0)


def test_two_motions_are_told_with_the_objects_mask():
    scene = accuracy.two_motions((90, 160), seed=11)
    assert scene.blurred.shape == (90, 160, 3)
    assert scene.motion.shape == (90, 160, 2)
    assert scene.object_mask.shape == (90, 160)
    assert 0.01 < scene.object_mask.mean() < 0.7
    behind = scene.motion[~scene.object_mask]
    front = scene.motion[scene.object_mask]
    # The background moves smoothly; objects move on their own.
    middle = np.median(behind, axis=0)
    assert np.linalg.norm(behind - middle, axis=1).max() < 6
    apart = np.linalg.norm(front - middle, axis=1)
    assert np.median(apart) > 5
    # An object's motion is one, to the mask's very border.
    n_objects, parts = cv2.connectedComponents(scene.object_mask.astype(np.uint8))
    for index in range(1, n_objects):
        one = scene.motion[parts == index]
        if len(one) > 50 and n_objects > 2:
            assert np.linalg.norm(one - np.median(one, axis=0), axis=1).max() < 5
    again = accuracy.two_motions((90, 160), seed=11)
    np.testing.assert_array_equal(again.blurred, scene.blurred)


class Still(nn.Module):
    """Sure that nothing moves."""

    def __init__(self):
        super().__init__()
        self.none = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, images, stride_px=4):
        size = [(side - PATCH_PX) // stride_px + 1 for side in images.shape[2:]]
        logits = torch.zeros(1, len(TRAINED), *size)
        logits[:, 0] = 20
        return logits


def test_measuring_counts_patches_that_show_motion(tmp_path):
    good = write(tmp_path / "good.png", grain((70, 90)))
    small = write(tmp_path / "small.png", grain((63, 80)))
    done = []
    measured = accuracy.measure_accuracy(
        Still(), [good, small], PLUS_FIELD, n_orientations=2, crop_px=64,
        on_progress=lambda *step: done.append(step),
    )  # fmt: skip
    assert [message.split(":")[0] for message in measured.skipped] == [str(small)]
    assert len(measured.rows) == 25
    assert measured.rows[0]["n_patches"] == 25  # (64 - 30) // 8 + 1 squared: all of them
    for stage in accuracy.STAGES:
        assert measured.share(stage, 1) == measured.share(stage, 3) == 1
        assert measured.share(stage, 5) == 0
        assert measured.share(stage) == pytest.approx(3 / 25)
    assert math.isnan(measured.share("patch", 4))
    assert measured.length_confusion[:, 0].tolist() == [25, *[50] * 12]
    assert measured.length_confusion.sum() == 625
    assert done[-1][0] <= done[-1][1] == 50
    figure = accuracy.draw_confusion(measured)
    assert figure.axes[0].images[0].get_array().shape == (13, 13)
    with pytest.raises(InputError, match=r"small\.png"):
        accuracy.measure_accuracy(Still(), [small], PLUS_FIELD, crop_px=64)


def test_the_paper_s_field_looks_at_every_sixth_pixel_and_each_turn():
    assert FieldOptions() == PAPER_FIELD
    assert (PAPER_FIELD.stride_px, PAPER_FIELD.sizes, PAPER_FIELD.fusion) == (6, (1.0,), "mean")
    assert PAPER_FIELD.turns_degrees == (-24, -18, -12, -6, 0, 6, 12, 18, 24)
    assert PAPER_FIELD.mrf.largest_difference_px is None
    found = field.dense_confidences(Still(), grain((80, 100)), PAPER_FIELD)
    assert found.values.shape == (361, 9, 12)
    assert (found.values.argmax(0) == 0).all()
    with pytest.raises(InputError, match="reach all orientations"):
        FieldOptions(turns_degrees=(0, 6))


# --- what there is to see ---


def test_flat_and_noisy_places_weigh_little_and_texture_much():
    rng = np.random.default_rng(0)
    image = np.full((90, 270, 3), 120, np.uint8)
    image[:, 90:180] = rng.normal(120, 2.5, (90, 90, 3)).round().clip(0, 255)
    image[:, 180:] = grain((90, 90))
    weights = field._weights(image, plus(flat_weight=0.05))
    assert weights.dtype == np.float32
    flat, noisy, textured = (weights[:7, x : x + 6] for x in (0, 12, 23))
    np.testing.assert_allclose(flat, 0.05, atol=1e-6)
    assert noisy.max() < 0.2
    assert textured.min() > 0.8
    np.testing.assert_array_equal(field._weights(image, plus(flat_weight=1)), 1)
    with pytest.raises(InputError, match="flat_weight"):
        plus(flat_weight=0)


def test_candidates_side_by_side_back_each_other():
    """Three likely ones beside each other win over a single one that is likelier than any."""
    values = np.zeros((361, 1, 1), np.float32)
    for length_index in (4, 5, 6):
        values[candidate_index(length_index, 3)] = 0.2
    values[candidate_index(12, 20)] = 0.3
    assert field.supported(values, 0) is values
    backed = field.supported(values, 0.5)
    assert backed.shape == values.shape
    assert backed.argmax() == candidate_index(5, 3)
    # 180 degrees are 0, and a motion of 3 px does not back one of 25.
    values[:] = 0
    values[candidate_index(1, 0)] = 1
    backed = field.supported(values, 0.5)[:, 0, 0]
    assert backed.argmax() == candidate_index(1, 0)
    assert backed[candidate_index(1, 29)] == backed[candidate_index(1, 1)] == 0.75
    assert backed[candidate_index(1, 28)] == pytest.approx(0.375)
    assert backed[candidate_index(2, 0)] == 0.5
    assert backed[candidate_index(12, 0)] == 0


def test_detail_is_seen_across_a_motion_but_not_out_of_focus():
    sharp = grain((80, 80), sigma=0.8)
    moved = blurred_by(
        sharp, candidate_index(12, 0), Response.named("linear"), 0.0, np.random.default_rng(0)
    )
    defocused = cv2.GaussianBlur(sharp, (0, 0), 4)
    seen = [field.seen_per_patch(each, 8, 0.01).mean() for each in (sharp, moved, defocused)]
    assert seen[0] > 0.9
    assert seen[1] > 0.5
    assert seen[2] < 0.05
    assert field.seen_per_patch(sharp, 8, 0.01).shape == (10, 10)


def test_only_what_moves_and_shows_it_is_undone():
    image = np.full((96, 200, 3), 90, np.uint8)
    image[:, :100] = grain((96, 100), sigma=0.8)
    moves, rests = (np.full((96, 200), index) for index in (candidate_index(5, 0), 0))
    undone = restorer._share_undone(image, moves, estimated=True)
    assert undone.shape == (96, 200)
    assert undone[:, :60].min() > 0.8
    assert undone[:, 160:].max() < 0.05  # flat: what was estimated there means nothing
    np.testing.assert_allclose(restorer._share_undone(image, moves, estimated=False), 1, rtol=1e-5)
    for estimated in (True, False):
        assert restorer._share_undone(image, rests, estimated=estimated).max() < 1e-6


def test_support_that_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"0 to 0\.6"):
        plus(neighbour_support=1.5)


def test_flat_places_take_their_neighbours_motion():
    """What a network says of a place where nothing can be seen does not reach the field."""
    true, wrong = candidate_index(3, 5), candidate_index(12, 20)
    values = np.full((361, 10, 16), 0.1 / 361, np.float32)
    weights = np.ones((10, 16), np.float32)
    values[true, :, :10] += 0.9
    values[wrong, :, 10:] += 0.9
    size_hw = (100, 150)
    seen = field.field_from(field.Confidences(values, weights, 8, 14.5, size_hw), PLUS_FIELD)
    assert (seen[:, -20:] == wrong).all()
    weights[:, 10:] = 0.02
    unseen = field.field_from(field.Confidences(values, weights, 8, 14.5, size_hw), PLUS_FIELD)
    assert (unseen == true).all()
    together = field.fused(
        field.Confidences(values, weights, 8, 14.5, size_hw), plus(fusion_sigma_px=8)
    )
    assert (together.values[:, :, 10].argmax(0) == true).all()
    np.testing.assert_allclose(together.values.sum(0), 1, rtol=1e-4)
