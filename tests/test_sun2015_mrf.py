"""The Markov random field over motion vectors."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from motions import candidate_index

from baselines.sun2015.kernels import motion_vectors
from baselines.sun2015.mrf import energy, pair_costs, smoothed_labels


def test_a_pair_costs_the_square_of_its_difference():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50, 2)).astype(np.float32) * 9
    direct = 0.5 * np.minimum(((a - b) ** 2).sum(1), ((a + b) ** 2).sum(1))
    np.testing.assert_allclose(pair_costs(a, b, 0.5), direct, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(pair_costs(a, b, 0.5), pair_costs(b, a, 0.5))


def test_a_blur_knows_no_forth_from_back():
    vectors = motion_vectors()
    assert pair_costs(vectors, -vectors, 0.01).max() == pytest.approx(0, abs=1e-5)
    # so 174 and 0 degrees are neighbours, not opposites
    near = pair_costs(vectors[candidate_index(6, 29)], vectors[candidate_index(6, 0)], 1)
    assert near == pytest.approx((2 * 13 * math.sin(math.radians(3))) ** 2, rel=1e-3)


def direct_energy(labels, unary, vectors, smoothness):
    height, width = labels.shape
    total = 0.0
    for y, x in np.ndindex(height, width):
        total += unary[labels[y, x], y, x]
        for near in ((y + 1, x), (y, x + 1)):
            if near[0] < height and near[1] < width:
                a, b = vectors[labels[y, x]], vectors[labels[near]]
                squared = min(((a - b) ** 2).sum(), ((a + b) ** 2).sum())
                total += smoothness * squared
    return total


EVERY_2x3 = np.array(list(itertools.product(range(4), repeat=6))).reshape(-1, 2, 3)


def tiny_field(seed, smoothness):
    """The energy reached, that of each cell's best, and the least of all 4096 labellings."""
    rng = np.random.default_rng(seed)
    unary = rng.random((4, 2, 3)).astype(np.float32)
    vectors = (8 * rng.normal(size=(4, 2))).astype(np.float32)
    found = smoothed_labels(unary, vectors, unary, smoothness=smoothness)
    reached = direct_energy(found, unary, vectors, smoothness)
    assert energy(found, unary, vectors, smoothness) == pytest.approx(reached, rel=1e-4, abs=1e-5)
    costs = np.take_along_axis(unary[None], EVERY_2x3[:, None], axis=1).sum((1, 2, 3))
    pairs = pair_costs(vectors[:, None], vectors[None], smoothness)
    costs = costs + pairs[EVERY_2x3[:, 1:], EVERY_2x3[:, :-1]].sum((1, 2))
    costs = costs + pairs[EVERY_2x3[:, :, 1:], EVERY_2x3[:, :, :-1]].sum((1, 2))
    return reached, energy(unary.argmin(0), unary, vectors, smoothness), costs.min()


@pytest.mark.parametrize("smoothness", [0.0001, 0.0002])
def test_tiny_fields_of_weak_smoothness_are_solved(smoothness):
    for seed in range(25):
        reached, _, least = tiny_field(seed, smoothness)
        assert reached == pytest.approx(least, abs=1e-4)


def test_tiny_fields_of_strong_smoothness_are_mostly_solved():
    """On grids with loops messages promise no optimum; most are, and little is left of the gap."""
    reached, start, least = np.transpose([tiny_field(seed, 0.05) for seed in range(40)])
    assert (reached >= least - 1e-3).all()
    assert (reached <= least + 1e-3).mean() >= 0.75
    assert (reached - least).mean() < 0.06 * (start - least).mean()


def test_a_chain_is_solved_exactly():
    """Without loops messages are exact, along either axis."""
    rng = np.random.default_rng(1)
    vectors = (8 * rng.normal(size=(5, 2))).astype(np.float32)
    unary = rng.random((5, 1, 6)).astype(np.float32)
    every = np.array(list(itertools.product(range(5), repeat=6)))[:, None]
    pairs = pair_costs(vectors[:, None], vectors[None], 0.01)
    costs = np.take_along_axis(unary[None], every[:, None], axis=1).sum((1, 2, 3))
    costs = costs + pairs[every[:, 0, 1:], every[:, 0, :-1]].sum(1)
    best = every[costs.argmin()]
    np.testing.assert_array_equal(smoothed_labels(unary, vectors, unary), best)
    turned = unary.swapaxes(1, 2).copy()
    upright = smoothed_labels(turned, vectors, turned)
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
    found = smoothed_labels(
        unary, vectors, unary, smoothness=smoothness, n_labels=n_labels, n_sweeps=2
    )
    alone = unary.argmin(0)
    assert found.shape == size_hw
    reached, before = (energy(labels, unary, vectors, smoothness) for labels in (found, alone))
    assert reached <= before + 1e-5
    if smoothness == 0:
        np.testing.assert_array_equal(found, alone)


def test_where_all_know_the_same_nothing_changes():
    unary = np.broadcast_to(np.random.default_rng(0).random((361, 1, 1), np.float32), (361, 5, 7))
    found = smoothed_labels(unary, motion_vectors(), unary)
    assert np.unique(found).tolist() == [unary[:, 0, 0].argmin()]


def test_a_noisy_field_of_two_regions_is_cleaned():
    rng = np.random.default_rng(2)
    true = np.full((16, 20), candidate_index(6, 5))
    true[:, 11:] = candidate_index(10, 20)
    confidences = 0.02 * rng.random((361, 16, 20)).astype(np.float32)
    observed = true.copy()
    wrong = rng.random(true.shape) < 0.3
    observed[wrong] = rng.integers(0, 361, wrong.sum())
    np.put_along_axis(confidences, true[None], 0.3, axis=0)
    np.put_along_axis(confidences, observed[None], 0.4, axis=0)
    before = (confidences.argmax(0) == true).mean()
    found = smoothed_labels(-confidences, motion_vectors(), -confidences)
    assert before < 0.75
    # Between the two, the square of a difference makes many small steps cheaper than a large one.
    away = abs(np.arange(20) - 10.5) > 2
    assert (found == true)[:, away].all()
