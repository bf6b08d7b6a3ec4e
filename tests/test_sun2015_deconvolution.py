"""Deconvolution with known motion: the blur's matrix, the patch prior, the solver."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from motions import candidate_index
from scipy import ndimage
from scipy.signal import convolve2d
from scipy.stats import multivariate_normal

from baselines.sun2015 import deconvolution
from baselines.sun2015 import prior as prior_module
from baselines.sun2015.deconvolution import VaryingBlur, denoised_image
from baselines.sun2015.kernels import LENGTHS_PX, LinearMotion, kernels
from baselines.sun2015.prior import GREY_WEIGHTS, PatchDenoiser, PatchPrior, fit_prior
from gopro_tools.errors import InputError
from gopro_tools.scenes.textures import read_photograph

NONE = 0
SLANTED = candidate_index(LENGTHS_PX.index(11), 5)  # 30 degrees
LEVEL = candidate_index(LENGTHS_PX.index(21), 0)
UPRIGHT = candidate_index(LENGTHS_PX.index(15), 15)


@pytest.fixture(scope="module")
def prior():
    """Fitted to photographs that no test restores."""
    images = [read_photograph(name) for name in ("rocket", "motorcycle")]
    return fit_prior(images, n_components=20, n_patches=6000, n_steps=6)


def deconvolve(blurred, field, kernels, prior, noise_sigma=0.01):
    return deconvolution.deconvolve(
        blurred, field, kernels, prior.spectrum(), noise_sigma=noise_sigma, device="cpu"
    )


def log_likelihood(prior, patches):
    """Log density of patches, whatever their brightness, in nats per patch."""
    rest = patches - patches.mean(1, keepdim=True)
    scorer = prior_module._Scorer(prior.spectrum(), noise_variance=0.0, kept=0.0)
    return scorer(rest).logsumexp(1) - 32 * math.log(2 * math.pi)


def psnr_db(a, b):
    return -10 * math.log10(np.mean((np.asarray(a, float) - b) ** 2))


def photograph(name, top, left, size_hw=(128, 128)):
    """A crop and what surrounds it by 13 pixels, (h + 26, w + 26, 3) in [0, 1]."""
    image = read_photograph(name)[top : top + size_hw[0] + 26, left : left + size_hw[1] + 26]
    return image / 255


def blurred_by(candidate, wide):
    """Of an image 13 pixels wider on each side, so that nothing is assumed about the outside."""
    kernel = kernels()[candidate].astype(float)
    return np.stack([convolve2d(wide[..., c], kernel, "valid") for c in range(3)], axis=-1)


def noisy(image, sigma=0.01, seed=0):
    return (image + np.random.default_rng(seed).normal(0, sigma, image.shape)).astype(np.float32)


def inner(wide):
    return wide[13:-13, 13:-13]


# ---- the blur


def random_kernels(rng, n, side):
    stack = rng.random((n, side, side)) * (rng.random((n, side, side)) < 0.6)
    stack[:, side // 2, side // 2] += 0.1
    return stack / stack.sum((1, 2), keepdims=True)


@pytest.mark.parametrize("size_hw", [(70, 9), (1, 1), (5, 31)])
def test_a_uniform_blur_is_a_convolution(size_hw):
    rng = np.random.default_rng(0)
    kernel = random_kernels(rng, 1, 7)
    blur = VaryingBlur(np.zeros(size_hw, int), kernel)
    x = rng.random((*blur.extended_hw, 2))
    inside = x[blur.margin - 3 : x.shape[0] - blur.margin + 3]
    inside = inside[:, blur.margin - 3 : x.shape[1] - blur.margin + 3]
    expected = np.stack([convolve2d(inside[..., c], kernel[0], "valid") for c in (0, 1)], axis=-1)
    result = blur(torch.from_numpy(x)).numpy().reshape(*size_hw, 2)
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_each_pixel_is_blurred_by_its_own_kernel():
    rng = np.random.default_rng(1)
    stack = random_kernels(rng, 4, 5)
    field = rng.integers(0, 4, (67, 6))  # more rows than are made at once
    blur = VaryingBlur(field, stack, least_margin=4)
    assert blur.margin == 4
    x = rng.random((*blur.extended_hw, 3))
    expected = np.zeros((67, 6, 3))
    for row in range(67):
        for column in range(6):
            for dy in range(-2, 3):
                for dx in range(-2, 3):
                    tap = stack[field[row, column], dy + 2, dx + 2]
                    expected[row, column] += tap * x[row + 4 - dy, column + 4 - dx]
    result = blur(torch.from_numpy(x)).numpy().reshape(67, 6, 3)
    np.testing.assert_allclose(result, expected, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 12), width=st.integers(1, 12))
def test_the_adjoint_is_the_transpose(seed, height, width):
    rng = np.random.default_rng(seed)
    field = rng.integers(0, 3, (height, width))
    blur = VaryingBlur(field, random_kernels(rng, 3, 5))
    x = torch.from_numpy(rng.normal(size=(*blur.extended_hw, 3)))
    y = torch.from_numpy(rng.normal(size=(height * width, 3)))
    back = blur.adjoint(y)
    assert back.shape == x.shape
    assert float((blur(x) * y).sum()) == pytest.approx(float((x * back).sum()), rel=1e-10)


def test_the_margin_is_as_wide_as_the_kernels_in_use_reach():
    short = candidate_index(1, 0)  # 3 px
    field = np.full((4, 4), short)
    assert VaryingBlur(field, kernels()).margin == 1
    field[0, 0] = candidate_index(len(LENGTHS_PX) - 1, 0)
    assert VaryingBlur(field, kernels()).margin == 12
    assert VaryingBlur(np.zeros((4, 4), int), kernels()).margin == 0


def test_extending_repeats_the_border_and_cropping_undoes_it():
    blur = VaryingBlur(np.zeros((5, 7), int), kernels(), least_margin=3)
    image = torch.from_numpy(np.random.default_rng(0).random((5, 7, 3), np.float32))
    wide = blur.extended(image)
    assert wide.shape == (11, 13, 3)
    np.testing.assert_array_equal(wide, np.pad(image, ((3, 3), (3, 3), (0, 0)), "edge"))
    assert torch.equal(blur.cropped(wide), image)


# ---- the prior


def filled(weights, covariances):
    prior = PatchPrior(len(weights))
    prior.load_state_dict({"weights": weights, "covariances": covariances})
    return prior


def random_prior(seed=0, n=3, floor=1e-4):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, 64, 6)) * rng.uniform(0.02, 0.2, (n, 1, 6))
    covariances = factors @ factors.transpose(0, 2, 1) + floor * np.eye(64)
    weights = rng.random(n) + 0.2
    return filled(
        torch.from_numpy(weights / weights.sum()).float(), torch.from_numpy(covariances).float()
    )


def drawn_patches(prior, n, seed=0):
    rng = np.random.default_rng(seed)
    parts = [
        rng.multivariate_normal(np.zeros(64), covariance.double().numpy(), n, method="cholesky")
        for covariance in prior.covariances
    ]
    patches = rng.permutation(np.concatenate(parts))[:n]
    return torch.from_numpy(patches - patches.mean(1, keepdims=True)).float()


@pytest.mark.parametrize(
    ("weights", "covariances"),
    [
        (torch.zeros(2), torch.zeros(2, 64, 64)),  # never fitted
        (torch.ones(2), torch.eye(64).repeat(2, 1, 1)),
        (torch.ones(1), -torch.eye(64)[None]),
        (torch.ones(1), torch.full((1, 64, 64), torch.nan)),
    ],
)
def test_a_prior_that_is_none_is_refused(weights, covariances):
    with pytest.raises(InputError, match="not fitted or is damaged"):
        filled(weights, covariances).spectrum()


@pytest.mark.parametrize("noise_variance", [0.0, 0.01])
def test_scores_are_log_densities_up_to_a_constant(noise_variance):
    prior = random_prior()
    patches = drawn_patches(prior, 40)
    scores = prior_module._Scorer(prior.spectrum(), noise_variance, kept=0.0)(patches).numpy()
    expected = np.stack(
        [
            math.log(weight)
            + multivariate_normal(
                np.zeros(64), covariance.double().numpy() + noise_variance * np.eye(64)
            ).logpdf(patches)
            for weight, covariance in zip(prior.weights, prior.covariances, strict=True)
        ],
        axis=1,
    )
    np.testing.assert_allclose(scores - 32 * math.log(2 * math.pi), expected, rtol=1e-4, atol=0.05)


def test_log_likelihood_is_the_mixture_s_whatever_the_brightness():
    prior = random_prior(1)
    patches = drawn_patches(prior, 30)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(prior.weights.double()),
        torch.distributions.MultivariateNormal(
            torch.zeros(3, 64, dtype=torch.float64), prior.covariances.double()
        ),
    )
    expected = mixture.log_prob(patches.double()).numpy()
    np.testing.assert_allclose(log_likelihood(prior, patches), expected, rtol=1e-4, atol=0.05)
    np.testing.assert_allclose(log_likelihood(prior, patches + 0.4), expected, rtol=1e-4, atol=0.05)
    np.testing.assert_allclose(log_likelihood(prior, -patches), expected, rtol=1e-4, atol=0.05)


def photograph_patches(name="cat", n=4000, seed=3):
    patches = prior_module.sample_patches([read_photograph(name)], n, seed)
    return torch.from_numpy(patches - patches.mean(1, keepdims=True))


@pytest.mark.parametrize("noise_sigma", [0.02, 0.14])
def test_the_quick_choice_of_a_component_is_nearly_the_full_one(prior, noise_sigma):
    patches = photograph_patches()
    patches += noise_sigma * torch.from_numpy(
        np.random.default_rng(0).standard_normal(patches.shape, np.float32)
    )
    patches -= patches.mean(1, keepdim=True)
    full = PatchDenoiser(prior.spectrum(), noise_sigma**2, kept=0.0)
    quick = PatchDenoiser(prior.spectrum(), noise_sigma**2, kept=0.25)
    chosen = quick.choose(patches)
    same = chosen == full.choose(patches)
    assert same.float().mean() > 0.9
    # Where they differ, the densities hardly do.
    scores = prior_module._Scorer(prior.spectrum(), noise_sigma**2, kept=0.0)(patches)
    lost = scores.max(1).values - scores.gather(1, chosen[:, None])[:, 0]
    assert lost.min() >= 0
    assert lost.mean() < 0.1


def test_denoising_with_one_gaussian_is_the_wiener_filter():
    prior = random_prior(2, n=1)
    noise_variance = 0.003
    patches = 0.5 + drawn_patches(prior, 50).expand(3, -1, -1)
    covariance = prior.covariances[0].double().numpy()
    wiener = covariance @ np.linalg.inv(covariance + noise_variance * np.eye(64))
    rest = patches[0].double().numpy() - 0.5
    rest -= rest.mean(1, keepdims=True)
    expected = patches[0].numpy().mean(1, keepdims=True) + rest @ wiener.T
    result = PatchDenoiser(prior.spectrum(), noise_variance)(patches)[0]
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_all_channels_are_filtered_by_the_component_of_their_grey():
    prior = random_prior(3, n=4)
    patches = torch.stack([drawn_patches(prior, 60, seed) for seed in range(3)])
    denoiser = PatchDenoiser(prior.spectrum(), 0.002)
    labels = denoiser.choose(torch.from_numpy(np.tensordot(GREY_WEIGHTS, patches, 1)).float())
    assert len(labels.unique()) > 1
    result = denoiser(patches + 0.3)
    for index, label in enumerate(labels):
        covariance = prior.covariances[label].double().numpy()
        wiener = covariance @ np.linalg.inv(covariance + 0.002 * np.eye(64))
        expected = patches[:, index].double().numpy() @ wiener + 0.3
        np.testing.assert_allclose(result[:, index], expected, atol=2e-5)


def test_denoising_a_photograph_helps(prior):
    sharp = inner(photograph("cat", 60, 130))
    image = noisy(sharp, 0.05)
    denoiser = PatchDenoiser(prior.spectrum(), 0.05**2)
    result = denoised_image(torch.from_numpy(image), denoiser, 2, (0, 0)).numpy()
    assert psnr_db(result, sharp) > psnr_db(image, sharp) + 4.5


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(16, 30),
    width=st.integers(16, 30),
    stride=st.integers(1, 8),
    data=st.data(),
)
def test_what_no_denoiser_changes_stays(height, width, stride, data):
    offset = data.draw(st.tuples(*[st.integers(0, stride - 1)] * 2))
    rng = np.random.default_rng(height * width)
    image = torch.from_numpy(rng.random((height, width, 3), np.float32))
    result = denoised_image(image, lambda patches: patches, stride, offset)
    np.testing.assert_allclose(result, image, atol=1e-6)


@pytest.mark.parametrize(("size_hw", "stride"), [((23, 20), 3), ((45, 2600), 2)])
def test_patches_are_averaged_where_they_overlap(size_hw, stride):
    """Also over the bands that a large image is taken in."""
    rng = np.random.default_rng(0)
    image = rng.random((*size_hw, 1), np.float32)
    result = denoised_image(
        torch.from_numpy(image), lambda p: p.mean(2, keepdim=True).expand_as(p), stride, (1, 0)
    )
    total, count = np.zeros(size_hw), np.zeros(size_hw)
    for top in range(1, size_hw[0] - 7, stride):
        for left in range(0, size_hw[1] - 7, stride):
            part = slice(top, top + 8), slice(left, left + 8)
            total[part] += image[..., 0][part].mean()
            count[part] += 1
    expected = np.where(count > 0, total / np.maximum(count, 1), image[..., 0])
    np.testing.assert_allclose(result[..., 0], expected, atol=1e-5)


def test_a_mixture_fits_unseen_patches_better_than_one_gaussian(prior):
    unseen = photograph_patches("coffee") + 0.5
    images = [read_photograph(name) for name in ("rocket", "motorcycle")]
    single = fit_prior(images, n_components=1, n_patches=6000, n_steps=1)
    assert log_likelihood(prior, unseen).mean() > log_likelihood(single, unseen).mean() + 10


def test_expectation_maximisation_raises_the_likelihood():
    images = [read_photograph("cat")]
    seen = torch.from_numpy(prior_module.sample_patches(images, 1500, 0))
    fits = [fit_prior(images, n_components=5, n_patches=1500, n_steps=steps) for steps in (0, 1, 4)]
    likelihoods = [float(log_likelihood(fit, seen).mean()) for fit in fits]
    assert likelihoods == sorted(likelihoods)
    assert likelihoods[-1] > likelihoods[0] + 1


def test_a_fit_can_be_repeated_and_reports_its_steps():
    images = [read_photograph("cat")]
    reported = []
    fits = [
        fit_prior(
            images, n_components=3, n_patches=300, n_steps=2, seed=seed,
            on_progress=lambda *done: reported.append(done),
        )
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert torch.equal(fits[0].covariances, fits[1].covariances)
    assert torch.equal(fits[0].weights, fits[1].weights)
    assert not torch.equal(fits[0].covariances, fits[2].covariances)
    assert reported == [(0, 2), (1, 2), (2, 2)] * 3
    assert float(fits[0].weights.sum()) == pytest.approx(1, abs=1e-6)


def test_a_fit_to_nothing_but_sky_is_still_a_prior():
    flat = np.full((20, 20, 3), 90, np.uint8)
    stripes = np.broadcast_to(np.uint8([[[0]], [[255]]] * 10), (20, 20, 3))
    fitted = fit_prior([flat, stripes], n_components=2, n_patches=400, n_steps=3)
    assert fitted.spectrum().eigenvalues.min() > 0
    assert torch.isfinite(log_likelihood(fitted, torch.full((1, 64), 0.5))).all()


def test_a_fit_to_too_few_patches_is_refused():
    with pytest.raises(InputError, match="at least 20"):
        fit_prior([np.zeros((9, 9, 3), np.uint8)], n_components=3, n_patches=59)


def test_each_image_gives_as_many_patches():
    images = [np.full((20 + 30 * index, 20, 3), 50 * index, np.uint8) for index in range(4)]
    patches = prior_module.sample_patches(images, 200, 0)
    assert patches.shape == (200, 64)
    assert np.bincount(np.rint(patches[:, 0] * 255 / 50).astype(int)).tolist() == [50] * 4


# ---- the steps of the solver


def small_problem():
    rng = np.random.default_rng(5)
    field = rng.integers(0, 3, (6, 6))
    stack = random_kernels(rng, 3, 3).astype(np.float32)
    blur = VaryingBlur(field, stack)
    observed = torch.from_numpy(rng.random((36, 3), np.float32))
    problem = deconvolution._Problem(blur, observed, noise_sigma=0.1)
    target = torch.from_numpy(rng.random((8, 8, 3), np.float32))
    return problem, target


@pytest.mark.parametrize("clip_at", [2.0, 0.7])
def test_conjugate_gradients_descend_to_the_solution(monkeypatch, clip_at):
    monkeypatch.setattr(deconvolution, "_CLIPPED_ABOVE", clip_at)
    problem, z = small_problem()
    penalty = 5.0
    start = z.clone()
    problem.observe_clipping(start, done=0.5)

    def energy(x):
        rest = problem.blur(x) - problem.observed
        rest = rest * problem._mask
        return 100 / 2 * float(rest.square().sum()) + penalty / 2 * float((x - z).square().sum())

    found = [problem.minimise(start, z, penalty, n) for n in (1, 2, 4, 8, 60)]
    energies = [energy(x) for x in (start, *found)]
    assert torch.equal(start, z)  # not changed
    assert all(a >= b - 1e-3 for a, b in itertools.pairwise(energies))
    assert energies[1] < energies[0]

    matrix = np.stack(
        [problem.blur(e.view(8, 8, 1)).numpy()[:, 0] for e in torch.eye(64)], axis=1
    ).astype(float)
    observed = problem.observed.double().numpy()
    blurred = matrix @ start.double().numpy().reshape(64, 3)
    masks = (observed < clip_at) | (blurred < observed - 0.05)
    assert masks.all() == (clip_at == 2.0)
    for channel in range(3):
        rows = matrix * masks[:, channel, None]
        left = 100 * rows.T @ rows + penalty * np.eye(64)
        right = 100 * rows.T @ observed[:, channel] + penalty * z.numpy()[..., channel].ravel()
        expected = np.linalg.solve(left, right)
        np.testing.assert_allclose(found[-1][..., channel].ravel(), expected, atol=1e-3)


# ---- restoring


def test_nothing_is_done_to_what_is_sharp(prior):
    sharp = noisy(inner(photograph("coffee", 150, 200, (64, 64))), 0.0)
    field = np.zeros(sharp.shape[:2], int)
    result = deconvolve(sharp, field, kernels(), prior, noise_sigma=0.0005)
    assert result.shape == sharp.shape
    assert result.dtype == np.float32
    assert psnr_db(result, sharp) > 50
    assert np.abs(result - sharp).max() < 0.02


@pytest.mark.parametrize(
    ("picture", "corner", "candidate"),
    [
        ("astronaut", (43, 163), SLANTED),
        ("astronaut", (43, 163), UPRIGHT),
        ("coffee", (153, 203), LEVEL),
        ("cat", (63, 133), LEVEL),
    ],
)
def test_the_true_kernel_wins_three_decibels(prior, picture, corner, candidate):
    wide = photograph(picture, *corner)
    blurred = noisy(blurred_by(candidate, wide))
    field = np.full(blurred.shape[:2], candidate)
    result = deconvolve(blurred, field, kernels(), prior)
    assert result.min() >= 0
    assert result.max() <= 1
    assert psnr_db(result, inner(wide)) >= psnr_db(blurred, inner(wide)) + 3


def test_a_wrong_kernel_is_worse_than_the_true_one(prior):
    """So what is won comes from knowing the motion, its orientation and the sign of v included."""
    wide = photograph("astronaut", 43, 163)
    blurred = noisy(blurred_by(SLANTED, wide))
    mirrored = candidate_index(LENGTHS_PX.index(11), 25)  # 150 degrees
    right, wrong = (
        deconvolve(blurred, np.full((128, 128), candidate), kernels(), prior)
        for candidate in (SLANTED, mirrored)
    )
    assert psnr_db(right, inner(wide)) > psnr_db(wrong, inner(wide)) + 5


def test_two_regions_with_motions_of_their_own(prior):
    wide = photograph("astronaut", 43, 163)
    field = np.full((128, 128), SLANTED)
    field[:, 64:] = UPRIGHT
    blurred = noisy(
        np.where(
            (field == SLANTED)[..., None], blurred_by(SLANTED, wide), blurred_by(UPRIGHT, wide)
        )
    )
    result = deconvolve(blurred, field, kernels(), prior)
    for part in (np.s_[:, :64], np.s_[:, 64:], np.s_[:, 56:72]):
        won = psnr_db(result[part], inner(wide)[part]) - psnr_db(blurred[part], inner(wide)[part])
        assert won > 3


def test_clipped_highlights_do_not_ring(prior, monkeypatch):
    wide = 0.3 + 0.1 * photograph("coffee", 150, 200, (64, 64))
    wide[30:60, 30:60] = 1.3  # a lit window
    blurred = np.clip(noisy(blurred_by(SLANTED, wide), 0.003), 0, 1)
    field = np.full((64, 64), SLANTED)
    sharp = np.clip(inner(wide), 0, 1)
    heeded = deconvolve(blurred, field, kernels(), prior, noise_sigma=0.005)
    monkeypatch.setattr(deconvolution, "_CLIPPED_ABOVE", 1.1)
    ignored = deconvolve(blurred, field, kernels(), prior, noise_sigma=0.005)
    assert psnr_db(heeded, sharp) > psnr_db(blurred, sharp) + 3 > psnr_db(ignored, sharp)
    beside = ndimage.binary_dilation(sharp[..., 0] > 0.99, iterations=20)
    beside &= ~ndimage.binary_dilation(sharp[..., 0] > 0.99, iterations=2)
    darker = [(sharp - result)[beside].max() for result in (heeded, ignored)]
    assert darker[0] < darker[1] / 2


def test_nothing_wraps_round_the_borders(prior):
    """A bright left border leaves the right one alone."""
    wide = photograph("cat", 60, 130, (48, 96)) * 0.5
    bright = wide.copy()
    bright[:, :21] = 0.95
    field = np.full((48, 96), SLANTED)
    results = [
        deconvolve(noisy(blurred_by(SLANTED, image)), field, kernels(), prior)
        for image in (wide, bright)
    ]
    difference = np.abs(results[0] - results[1])
    assert difference[:, :6].mean() > 0.5
    assert difference[:, 64:].mean() < 5e-4
    assert difference[:, 84:].max() < 5e-3


def test_a_lone_light_that_nothing_blurs_stays(prior):
    image = noisy(inner(photograph("cat", 60, 130, (32, 32))) * 0.5, 0.003)
    image[16, 16] = 1
    result = deconvolve(image, np.zeros((32, 32), int), kernels(), prior)
    assert result[16, 16].min() > 0.93


def test_borders_are_restored_nearly_as_well_as_the_middle(prior):
    wide = photograph("astronaut", 43, 163)
    blurred = noisy(blurred_by(SLANTED, wide))
    result = deconvolve(blurred, np.full((128, 128), SLANTED), kernels(), prior)
    border = np.ones((128, 128), bool)
    border[8:-8, 8:-8] = False
    sharp = inner(wide)
    assert psnr_db(result[border], sharp[border]) > psnr_db(blurred[border], sharp[border]) + 2


def test_images_smaller_than_a_kernel_are_restored(prior):
    wide = photograph("astronaut", 43, 163, (8, 9))
    blurred = noisy(blurred_by(LEVEL, wide))
    result = deconvolve(blurred, np.full((8, 9), LEVEL), kernels(), prior)
    assert result.shape == (8, 9, 3)
    assert np.isfinite(result).all()


def test_more_noise_is_smoothed_more(prior):
    wide = photograph("coffee", 150, 200, (48, 48))
    blurred = noisy(blurred_by(SLANTED, wide), 0.02)
    field = np.full((48, 48), SLANTED)
    variations = [
        np.abs(np.diff(result, axis=1)).mean()
        for result in (
            deconvolve(blurred, field, kernels(), prior, noise_sigma=sigma)
            for sigma in (0.005, 0.02, 0.06)
        )
    ]
    assert variations == sorted(variations, reverse=True)


def test_what_the_caller_passes_stays_as_it_is(prior):
    """Read-only arrays and those of other memory orders are welcome."""
    wide = photograph("coffee", 150, 200, (16, 24))
    blurred = noisy(blurred_by(SLANTED, wide))
    field = np.full((16, 24), SLANTED, np.int16)
    before = blurred.copy()
    plain = deconvolve(blurred, field, kernels(), prior)
    np.testing.assert_array_equal(blurred, before)
    blurred.setflags(write=False)
    field.setflags(write=False)
    for image in (blurred, np.asfortranarray(blurred), blurred.astype(np.float64)):
        again = deconvolve(image, field, kernels(), prior)
        np.testing.assert_array_equal(again, plain)


def test_a_motion_of_no_candidate_length_can_be_undone_too(prior):
    """Kernels are the caller's: any size and direction, here an even motion to one side."""
    wide = photograph("astronaut", 43, 163)
    kernel = np.zeros((9, 9))
    kernel[4, 4:] = 0.2  # of x to the right: not symmetric
    stacked = [convolve2d(inner(wide)[..., c], kernel, "same", "symm") for c in range(3)]
    blurred = noisy(np.stack(stacked, axis=-1))
    field = np.zeros((128, 128), int)
    result = deconvolve(blurred, field, kernel[None].astype(np.float32), prior)
    assert psnr_db(result, inner(wide)) > psnr_db(blurred, inner(wide)) + 3
    assert LinearMotion(5, 0).length_px == np.count_nonzero(kernel)
