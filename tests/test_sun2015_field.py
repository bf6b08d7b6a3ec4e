"""From an image to its motion field, and which motion is undone."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from motions import candidate_index
from scipy import ndimage
from torch import nn

from baselines.sun2015 import confidences as confidences_module
from baselines.sun2015 import field as field_module
from baselines.sun2015 import patches, restorer
from baselines.sun2015.confidences import (
    PAPER,
    PLUS,
    Confidences,
    Sun2015Options,
    at_full_size,
    detail_per_patch,
)
from baselines.sun2015.field import fused, smoothed_field
from baselines.sun2015.kernels import (
    CANDIDATES,
    N_ORIENTATIONS,
    TRAINED,
    LinearMotion,
    kernels,
    turned_candidates,
)
from baselines.sun2015.network import PATCH_PX, MotionClassifier
from baselines.sun2015.patches import TURNS_DEGREES


def grain(size_hw, seed=0, sigma=1.5):
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(*size_hw, 3)), (sigma, sigma, 0))
    return np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)


def pieces_of(image):
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255


# ---- confidences


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
    monkeypatch.setattr(confidences_module, "normalised", lambda images: images)


def plus(**changes):
    return replace(PLUS, **changes)


def dense_confidences(classifier, image, options=PLUS):
    return confidences_module.dense_confidences(classifier, image, options)


def estimate_field(classifier, image, options=PLUS):
    return smoothed_field(fused(dense_confidences(classifier, image, options), options))


def test_turned_copies_reach_each_orientation_once():
    for length_index in (1, 12):
        trained = [candidate_index(length_index, orientation) for orientation in range(0, 30, 5)]
        assert set(trained) <= set(TRAINED)
        reached = [
            turned_candidates(candidate, -degrees)
            for degrees in TURNS_DEGREES
            for candidate in trained
        ]
        assert sorted(reached) == [candidate_index(length_index, n) for n in range(30)]
    assert turned_candidates(0, 12) == 0
    motion = CANDIDATES[turned_candidates(candidate_index(4, 28), 12)]
    assert motion == LinearMotion(9, 0)


class Striped(nn.Module):
    """Finds the direction in which a patch changes least, as motions 13 px long."""

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
    options = plus(sizes=(1.0,))
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
    options = plus(stride_px=4, sizes=(1.0,))
    found = dense_confidences(Fake(), painted(labels), options)
    height, width = found.values.shape[1:]
    assert (height, width) == tuple((side - PATCH_PX) // 4 + 1 for side in size_hw)
    assert found.values.min() >= 0
    np.testing.assert_allclose(found.values.sum(0), 1, rtol=1e-5)
    y, x = (4 * np.mgrid[:height, :width] + 14.5).round(1)
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
            is_found = found.values[candidate] > (0.1 if label else 0.5)
            checked = away if turn == 0 and label else away & inside
            assert checked.sum() > 100
            np.testing.assert_array_equal(is_found[checked], (here == label)[checked], str(turn))


def sure_of(candidate):
    probabilities = np.zeros((len(TRAINED), 1, 1), np.float32)
    probabilities[TRAINED.index(candidate)] = 1
    return probabilities


@pytest.mark.parametrize(
    ("size", "small_px", "length_px"), [(1.0, 13, 13), (0.5, 3, 5), (0.5, 9, 17), (0.35, 9, 25)]
)
def test_motions_of_a_small_copy_are_longer_in_the_image(size, small_px, length_px):
    small = sure_of(candidate_index(small_px // 2, 10))
    found = at_full_size(small, size)
    assert found.dtype == np.float32
    assert found.sum() == pytest.approx(1, rel=1e-5)
    assert TRAINED[int(found.argmax())] == candidate_index(length_px // 2, 10)
    still = at_full_size(sure_of(0), size)
    assert still.argmax() == 0
    short = [TRAINED.index(candidate_index(1, turn)) for turn in range(0, 30, 5)]
    # Of 3 px, a small copy shows little: whichever way they lie, none is ruled out.
    assert (size == 1) == (still[short].max() < 1e-3)
    assert np.ptp(still[short]) < 1e-6


class LengthBySize(nn.Module):
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


def test_copies_of_all_sizes_count():
    image = grain((160, 180))
    options = plus(sizes=(1.0, 0.5))

    def found(small_px, large_px, **changed):
        classifier = LengthBySize(small_px, large_px)
        confidences = dense_confidences(classifier, image, replace(options, **changed))
        assert confidences.values.shape == (361, 17, 19)
        best = set(confidences.values.argmax(axis=0).ravel().tolist())
        (length_px,) = {CANDIDATES[index].length_px for index in best}
        return length_px, float(confidences.values.max())

    agreed, alone = found(9, 17), found(9, 17, sizes=(1.0,))
    assert agreed[0] == alone[0] == 17
    disputed = found(3, 17)
    assert disputed[1] < agreed[1]
    assert found(9, 3, sizes=(0.5,))[0] == 17
    # Too small a copy, of 56 pixels, is left out.
    assert found(3, 17, sizes=(1.0, 0.35)) == alone


# ---- the field


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
def test_two_halves_are_distinguished_to_the_cell():
    labels = np.zeros((120, 160), int)
    labels[:, 83:] = 1  # 3 px, level; 83 lies between the points at 78.5 and 86.5
    found = estimate_field(
        Fake(),
        painted(labels),
        plus(sizes=(1.0,), fusion_sigma_px=0.01),
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
        monkeypatch.setattr(confidences_module, "_BAND_PX2", 10**9)
        whole = confidences_module._probabilities(classifier, image, options)
        assert whole.shape == (73, 101 // stride_px + 1, 45 // stride_px + 1)
        assert whole.std(dim=(1, 2)).max() > 1e-3
        monkeypatch.setattr(confidences_module, "_BAND_PX2", 2 * 75 * stride_px)
        bands = confidences_module._probabilities(classifier, image, options)
        torch.testing.assert_close(bands, whole, rtol=1e-4, atol=1e-6)
        seen = patches.normalised(pieces_of(image))[..., 2 * stride_px :, stride_px:]
        alone = classifier(seen[..., :30, :30])
        torch.testing.assert_close(whole[:, 2, 1], alone.softmax(1)[0, :, 0, 0].detach())


@pytest.mark.parametrize("size_hw", [(37, 50), (128, 90)])
def test_each_pixel_takes_the_nearest_point_s_label(size_hw):
    confidences = Confidences(
        np.zeros((361, 3, 4), np.float32), np.ones((3, 4), np.float32), 8, size_hw
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
    confidences = Confidences(values, np.ones(values.shape[1:], np.float32), 8, (150, 150))
    options = plus(fusion_sigma_px=8.0, fusion="mean")
    together = fused(confidences, options).values
    np.testing.assert_allclose(together.sum(0), 1, rtol=1e-5)
    taps = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    assert together[5, 7, 7] == pytest.approx((1 / taps.sum()) ** 2, rel=0.05)
    assert together[5, 7, 8] / together[5, 7, 7] == pytest.approx(math.exp(-0.5), rel=1e-4)


def test_fusing_by_product_lets_patches_exclude():
    """What neither of two kinds of patches excludes wins over the best of either."""
    values = np.zeros((361, 15, 15), np.float32)
    values[0, :, ::2], values[1, :, 1::2] = 0.6, 0.6
    values[2] = 0.4
    confidences = Confidences(values, np.ones(values.shape[1:], np.float32), 8, (150, 150))
    options = plus(fusion_sigma_px=16)
    by_product = fused(confidences, options).values
    np.testing.assert_allclose(by_product.sum(0), 1, rtol=1e-4)
    assert (by_product.argmax(0) == 2).all()


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


def test_the_paper_s_field_looks_at_every_sixth_pixel_and_each_turn():
    assert Sun2015Options() == PAPER
    assert (PAPER.stride_px, PAPER.sizes, PAPER.fusion) == (6, (1.0,), "mean")
    assert PAPER.turns_degrees == (-24, -18, -12, -6, 0, 6, 12, 18, 24)
    found = confidences_module.dense_confidences(Still(), grain((80, 100)), PAPER)
    assert found.values.shape == (361, 9, 12)
    assert (found.values.argmax(0) == 0).all()


def test_flat_and_noisy_places_weigh_little_and_texture_much():
    rng = np.random.default_rng(0)
    image = np.full((90, 270, 3), 120, np.uint8)
    image[:, 90:180] = rng.normal(120, 2.5, (90, 90, 3)).round().clip(0, 255)
    image[:, 180:] = grain((90, 90))
    weights = dense_confidences(Fake(), image, plus(sizes=(1.0,), flat_weight=0.05)).weights
    assert weights.dtype == np.float32
    flat, noisy, textured = (weights[:7, x : x + 6] for x in (0, 12, 23))
    np.testing.assert_allclose(flat, 0.05, atol=1e-6)
    assert noisy.max() < 0.2
    assert textured.min() > 0.8
    alike = dense_confidences(Fake(), image, plus(sizes=(1.0,), flat_weight=1)).weights
    np.testing.assert_array_equal(alike, 1)


def test_detail_is_seen_across_a_motion_but_not_out_of_focus():
    sharp = grain((80, 80), sigma=0.8)
    moved = cv2.filter2D(sharp, -1, kernels()[candidate_index(12, 0)])
    defocused = cv2.GaussianBlur(sharp, (0, 0), 4)
    seen = [detail_per_patch(each, 8, 0.01).mean() for each in (sharp, moved, defocused)]
    assert seen[0] > 0.9
    assert seen[1] > 0.5
    assert seen[2] < 0.05
    assert detail_per_patch(sharp, 8, 0.01).shape == (10, 10)


def test_only_what_moves_and_shows_it_is_undone():
    image = np.full((96, 200, 3), 90, np.uint8)
    image[:, :100] = grain((96, 100), sigma=0.8)
    moves, rests = (np.full((96, 200), index) for index in (candidate_index(5, 0), 0))
    undone = restorer._share_undone(image, moves)
    assert undone.shape == (96, 200)
    assert undone[:, :60].min() > 0.8
    assert undone[:, 160:].max() < 0.05  # flat: what was estimated there means nothing
    assert restorer._share_undone(image, rests).max() < 1e-6


def test_flat_places_take_their_neighbours_motion():
    """What a network says of a place where nothing can be seen hardly counts."""
    true, wrong = candidate_index(3, 5), candidate_index(12, 20)
    values = np.full((361, 10, 16), 0.1 / 361, np.float32)
    weights = np.ones((10, 16), np.float32)
    values[true, :, :10] += 0.9
    values[wrong, :, 10:] += 0.9
    size_hw = (100, 150)
    weights[:, 10:] = 0.02
    together = fused(Confidences(values, weights, 8, size_hw), plus(fusion_sigma_px=8))
    assert (together.values[:, :, 10].argmax(0) == true).all()
    np.testing.assert_allclose(together.values.sum(0), 1, rtol=1e-4)


# ---- what to undo


def test_undoing_too_much_costs_more_than_undoing_nothing():
    errors = field_module.expected_errors(0.03)
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
    amplitude *= field_module.CONTRAST * side / np.sqrt((amplitude**2).sum())
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
        expected = field_module.expected_errors(noise)[true, used] * field_module.CONTRAST**2
        assert np.mean(squared) == pytest.approx(expected, rel=0.15)


def test_uncertainty_favours_shorter_motions(monkeypatch):
    monkeypatch.setattr(field_module, "N_INDEPENDENT", 1)
    sure, doubtful = candidate_index(9, 12), candidate_index(3, 12)
    values = np.zeros((361, 3, 4), np.float32)
    values[sure, :, 0] = 1
    values[:, :, 1] = 1 / 361
    values[sure, :, 2], values[doubtful, :, 2] = 0.55, 0.45
    values[0, :, 3], values[sure, :, 3] = 0.45, 0.55
    confidences = Confidences(values, np.ones((3, 4), np.float32), 8, (46, 62))
    undone = field_module.safest_field(confidences, 0.03)
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
    rest = Confidences(values, confidences.weights, 8, (46, 62))
    assert not field_module.safest_field(rest, 0.03).any()
    values[short], values[0] = 0.95, 0.05
    assert field_module.safest_field(rest, 0.03).all()
    values[short] = 0
    values[sure], values[doubtful] = 0.55, 0.4
    monkeypatch.setattr(field_module, "N_INDEPENDENT", 40)
    surer = field_module.safest_field(rest, 0.03)
    assert (surer[:, 31] == sure).all()
