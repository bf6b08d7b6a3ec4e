"""The patch prior: a Gaussian mixture of mean-removed 8x8 patches (Zoran & Weiss, ICCV 2011).

How a patch looks does not depend on its brightness, so its mean is subtracted first and added again
last; and a patch is as likely as its negative, so every component has mean zero. scikit-learn's
`GaussianMixture` has no such constraint, and with 200 components one of its steps takes minutes.
So its k-means finds the first components, and expectation-maximisation is done here.

| | paper (Zoran & Weiss; from memory, unverified) | here |
|---|---|---|
| patches | 2 million, greyscale, of BSDS300 | `n_patches`, greyscale, of the images given |
| components | 200, full covariances, means near 0 | the same, means 0 |
| start | not known to us | k-means on magnitudes of the patches' frequencies |
| colour | each channel separately | the component is chosen on the grey patch, for all channels |
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dctn
from torch import Tensor, nn

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.threads import Progress, no_progress

PATCH_PX = 8
"""Side of a patch."""
N_VALUES = PATCH_PX**2
GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey image."""

_FLOOR = 1e-6
"""Smallest variance of any direction: a quarter of a grey level, about what rounding to 8 bits
leaves. Without it a component of flat sky would be infinitely certain."""
_NEGLIGIBLE = 1e-3
"""Smaller responsibilities are left out of a component's covariance."""
_CHUNK = 2048
"""Patches scored at once: their scores stay in the cache."""


class PatchPrior(nn.Module):
    """A zero-mean Gaussian mixture of mean-removed 8x8 patches with values in [0, 1].

    `fit_prior` or a weight file, which holds it beside the motion classifier, fills it.
    """

    weights: Tensor
    """(K,) float32, sum 1."""
    covariances: Tensor
    """(K, 64, 64) float32, symmetric and positive definite; patches are read row by row."""

    def __init__(self, n_components: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(n_components))
        self.register_buffer("covariances", torch.zeros(n_components, N_VALUES, N_VALUES))

    def spectrum(self) -> "Spectrum":
        """What scores and filters are computed from.

        Raises:
            InputError: The mixture is damaged, or was never fitted.
        """
        is_finite = bool(torch.isfinite(self.covariances).all())
        if is_finite and abs(float(self.weights.sum()) - 1) < 1e-3:
            values, vectors = torch.linalg.eigh(self.covariances.double())
            if bool((values > 0).all()):
                return Spectrum(self.weights, values.flip(1).float(), vectors.flip(2).float())
        raise InputError(
            "The patch prior of these weights was not fitted or is damaged: its weights must sum "
            "to 1 and its covariances be positive. It is fitted at the end of training."
        )


class Spectrum(NamedTuple):
    """A mixture with its covariances decomposed."""

    weights: Tensor
    """(K,) float32."""
    eigenvalues: Tensor
    """(K, 64) float32, the largest first."""
    eigenvectors: Tensor
    """(K, 64, 64) float32, in columns."""


class PatchDenoiser:
    """The most likely sharp patches, given patches with white noise of one variance.

    As in EPLL, the component of the largest posterior probability is chosen, and its Wiener filter
    applied, C (C + s I)^-1.
    """

    def __init__(self, prior: Spectrum, noise_variance: float, kept: float = 0.25) -> None:
        """Prepare filters for noise of variance s; see `_Scorer` for ``kept``."""
        values, vectors = prior.eigenvalues, prior.eigenvectors
        self._scorer = _Scorer(prior, noise_variance, kept)
        gains = values / (values + noise_variance)
        self._filters = (vectors * gains[:, None]) @ vectors.transpose(1, 2)  # (K, 64, 64)

    def choose(self, patches: Tensor) -> Tensor:
        """The component of each of (N, 64) mean-removed patches: (N,) int64."""
        return torch.cat([self._scorer(part).argmax(1) for part in torch.split(patches, _CHUNK)])

    def __call__(self, patches: Tensor) -> Tensor:
        """Denoise patches of red, green and blue: (3, N, 64) to the same.

        The component is chosen on the channels' weighted sum, which saves two thirds of the work
        and treats all channels alike.
        """
        means = patches.mean(2, keepdim=True)
        rest = patches - means
        labels = self.choose(torch.einsum("cnv,c->nv", rest, rest.new_tensor(GREY_WEIGHTS)))
        order = torch.argsort(labels, stable=True)
        sizes = torch.bincount(labels, minlength=len(self._filters)).tolist()
        ordered = rest[:, order]
        filtered = torch.cat(
            [
                part @ matrix  # symmetric
                for part, matrix in zip(torch.split(ordered, sizes, 1), self._filters, strict=True)
            ],
            dim=1,
        )
        return torch.empty_like(rest).index_copy_(1, order, filtered) + means


class _Scorer:
    """Log of weight x density, up to a constant, of patches with noise under each component.

    A component's directions of little variance, below `kept` x s, are given their mean variance t.
    Their part of the exponent is then (|z|^2 - what lies in the others) / (t + s), so that patches
    are projected on the others alone, which are often few: `kept` = 0 takes several times as long.
    """

    def __init__(self, prior: Spectrum, noise_variance: float, kept: float) -> None:
        values = prior.eigenvalues.double() + noise_variance
        count = (prior.eigenvalues > kept * noise_variance).sum(1)
        count = torch.where(count > N_VALUES - 2, N_VALUES, count)
        index = torch.arange(N_VALUES, device=values.device)
        tail = index >= count[:, None]
        tail_mean = (values * tail).sum(1) / tail.sum(1).clamp(min=1)
        self._tail_precision = torch.where(tail.any(1), 1 / tail_mean, 0.0).float()
        values = torch.where(tail, tail_mean[:, None], values)
        self._constant = (prior.weights.double().log() - values.log().sum(1) / 2).float()
        # 1 / value - 1 / tail: negative where there is a tail, positive where there is none.
        scale = (1 / values - self._tail_precision[:, None]).abs().sqrt().float()
        scaled = prior.eigenvectors * scale[:, None]  # (K, 64 values, 64 directions)
        self._groups: list[tuple[Tensor, Tensor, int, float]] = []
        taken = torch.zeros_like(count, dtype=torch.bool)
        for rank in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 62, N_VALUES):
            members = torch.nonzero((count <= rank) & ~taken)[:, 0]
            taken[members] = True
            if len(members):
                matrix = scaled[members, :, :rank].transpose(0, 1).reshape(N_VALUES, -1)
                sign = -0.5 if rank == N_VALUES else 0.5
                self._groups.append((members, matrix.contiguous(), rank, sign))

    def __call__(self, patches: Tensor) -> Tensor:
        """(N, 64) mean-removed patches -> (N, K)."""
        energy = patches.square().sum(1, keepdim=True) / 2
        scores = self._constant - energy * self._tail_precision
        for members, matrix, rank, sign in self._groups:
            projected = (patches @ matrix).square_().view(len(patches), len(members), rank)
            scores.index_add_(1, members, projected.sum(2), alpha=sign)
        return scores


def fit_prior(
    images: Iterable[Rgb],
    *,
    n_components: int = 200,
    n_patches: int = 100_000,
    n_steps: int = 12,
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> PatchPrior:
    """Fit a mixture to patches of sharp images by steps of expectation-maximisation.

    Equal images, seed, machine and number of threads give equal priors.

    Args:
        images: Each (H, W, 3) uint8 of at least 8x8; all give the same number of patches.
        n_components: K.
        n_patches: In all; at least 20 per component.
        n_steps: Of expectation-maximisation.
        seed: Decides which patches are taken and where k-means begins.
        on_progress: Called with the number of steps done and in total.

    Raises:
        InputError: There are too few patches.
        ImportError: scikit-learn is not installed (`pip install '.[train]'`).
    """
    if n_patches < 20 * n_components:
        raise InputError(
            f"n_patches={n_patches}: at least 20 for each of {n_components} components are needed."
        )
    patches = torch.from_numpy(sample_patches(images, n_patches, seed))
    patches -= patches.mean(1, keepdim=True)
    labels = torch.from_numpy(_first_labels(patches.numpy(), n_components, seed))
    responsibilities = torch.nn.functional.one_hot(labels, n_components).float()
    prior = _maximised(patches, responsibilities)
    for step in range(n_steps):
        on_progress(step, n_steps)
        scorer = _Scorer(prior.spectrum(), noise_variance=0.0, kept=0.0)
        for begin in range(0, len(patches), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            responsibilities[part] = scorer(patches[part]).softmax(1)
        prior = _maximised(patches, responsibilities)
    on_progress(n_steps, n_steps)
    return prior


def sample_patches(images: Iterable[Rgb], n_patches: int, seed: int) -> NDArray[np.float32]:
    """Grey 8x8 patches at random places, the same number of each image: (n, 64) in [0, 1]."""
    rng = np.random.default_rng(seed)
    windows = []
    for image in images:
        grey = image.astype(np.float32) @ np.array(GREY_WEIGHTS, np.float32) / 255
        windows.append(np.lib.stride_tricks.sliding_window_view(grey, (PATCH_PX, PATCH_PX)))
    n_each = math.ceil(n_patches / len(windows))
    parts = []
    for window in windows:
        y, x = (rng.integers(0, limit, n_each) for limit in window.shape[:2])
        parts.append(window[y, x].reshape(n_each, N_VALUES))
    return rng.permutation(np.concatenate(parts))[:n_patches]


def _first_labels(patches: NDArray[np.float32], n_components: int, seed: int) -> NDArray[np.int64]:
    """Clusters of patches with similar spectra.

    On the patches themselves k-means would separate them by sign, which zero means cannot express,
    and by the contrast of the strongest alone. The root separates weak textures too; after ten
    steps of expectation-maximisation a patch not seen in the fit was likelier by 5.2 nats than from
    k-means on the patches (50 components, 20,000 patches).
    """
    from sklearn.cluster import MiniBatchKMeans

    frequencies = dctn(patches.reshape(-1, PATCH_PX, PATCH_PX), axes=(1, 2), norm="ortho")
    magnitudes = np.abs(frequencies.reshape(-1, N_VALUES)[:, 1:]) ** 0.3
    clusters = MiniBatchKMeans(
        n_components, batch_size=4096, n_init=1, max_iter=5, random_state=seed
    )
    labels: NDArray[np.int64] = clusters.fit_predict(magnitudes).astype(np.int64)
    return labels


def _maximised(patches: Tensor, responsibilities: Tensor) -> PatchPrior:
    """The mixture of largest likelihood for given responsibilities (N, K)."""
    n_components = responsibilities.shape[1]
    covariances = torch.eye(N_VALUES, dtype=torch.float64).repeat(n_components, 1, 1) * _FLOOR
    mass = torch.zeros(n_components, dtype=torch.float64)
    for index in range(n_components):
        column = responsibilities[:, index]
        rows = torch.nonzero(column > _NEGLIGIBLE)[:, 0]
        weight, members = column[rows], patches[rows]
        mass[index] = weight.sum()
        scatter = (members * weight[:, None]).T @ members
        covariances[index] += scatter.double() / mass[index].clamp(min=1)
    mass = (mass + 1e-3) / (mass + 1e-3).sum()  # an empty component stays, and does no harm
    prior = PatchPrior(n_components)
    prior.load_state_dict({"weights": mass.float(), "covariances": covariances.float()})
    return prior
