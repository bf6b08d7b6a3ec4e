"""The patch prior: a Gaussian mixture of mean-removed 8x8 patches (Zoran & Weiss, ICCV 2011).

What a patch looks like does not depend on how bright it is, so its mean is taken away first and put
back last; and a patch is as likely as its negative, so every component has mean zero. That is what
scikit-learn's `GaussianMixture` cannot keep to, and with 200 components it takes minutes for one
step on the patches needed here. So its k-means finds the first components, and the steps of
expectation-maximisation after that are the forty lines below, which skip what weighs nothing.

| | paper (Zoran & Weiss; from memory, unverified) | here |
|---|---|---|
| patches | 2 million, greyscale, of BSDS300 | `n_patches`, greyscale, of the images given |
| components | 200, full covariances, means near 0 | the same, means 0 |
| start | not known to us | k-means on magnitudes of the patches' frequencies |
| colour | each channel by itself | the component is chosen on the grey patch, for all channels |
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dctn
from torch import Tensor

from gopro_tools.errors import InputError
from gopro_tools.images import Rgb

PATCH_PX = 8
"""Side of a patch."""
N_VALUES = PATCH_PX**2
GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""Of red, green and blue in the grey image."""

_FLOOR = 1e-6
"""Smallest variance of any direction: a quarter of a grey level, about what rounding to 8 bits
leaves. Without it a component of flat sky would be infinitely sure of itself."""
_NEGLIGIBLE = 1e-3
"""Smaller responsibilities are left out of a component's covariance."""
_CHUNK = 2048
"""Patches scored at once: their scores stay in the cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchPrior:
    """A zero-mean Gaussian mixture of mean-removed 8x8 patches with values in [0, 1]."""

    weights: Tensor
    """(K,) float32, sum 1."""
    covariances: Tensor
    """(K, 64, 64) float32, symmetric and positive definite; patches are read row by row."""
    eigenvalues: Tensor = field(init=False, repr=False)
    """(K, 64) float32, the largest first."""
    eigenvectors: Tensor = field(init=False, repr=False)
    """(K, 64, 64) float32, in columns."""

    def __post_init__(self) -> None:
        """Check the shapes, and take the covariances apart once."""
        shape = (len(self.weights), N_VALUES, N_VALUES)
        if self.weights.ndim != 1 or self.covariances.shape != shape:
            raise InputError(
                f"A patch prior has weights (K,) and covariances (K, {N_VALUES}, {N_VALUES}); "
                f"found {tuple(self.weights.shape)} and {tuple(self.covariances.shape)}."
            )
        if not bool(torch.isfinite(self.covariances).all()):
            raise InputError("A patch prior's covariances hold NaN or infinity.")
        values, vectors = torch.linalg.eigh(self.covariances.double())
        if not (bool((values > 0).all()) and abs(float(self.weights.sum()) - 1) < 1e-3):
            raise InputError("A patch prior's covariances are positive, and its weights sum to 1.")
        object.__setattr__(self, "eigenvalues", values.flip(1).float())
        object.__setattr__(self, "eigenvectors", vectors.flip(2).float())

    @property
    def n_components(self) -> int:
        """K."""
        return len(self.weights)

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint stores of it: "weights" and "covariances"."""
        return {"weights": self.weights, "covariances": self.covariances}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "PatchPrior":
        """The prior of what `state_dict` gave.

        Raises:
            InputError: A tensor is missing or has another shape.
        """
        missing = {"weights", "covariances"} - set(state)
        if missing:
            raise InputError(f"The patch prior lacks {', '.join(sorted(missing))}.")
        return cls(weights=state["weights"], covariances=state["covariances"])

    def to(self, device: torch.device | str) -> "PatchPrior":
        """The same on another device."""
        if self.weights.device == torch.device(device):
            return self
        return PatchPrior(weights=self.weights.to(device), covariances=self.covariances.to(device))


class PatchDenoiser:
    """The most likely sharp patches behind patches with white noise of one variance.

    As EPLL does it: the component of the largest posterior probability is chosen, and its Wiener
    filter applied, C (C + s I)^-1.
    """

    def __init__(self, prior: PatchPrior, noise_variance: float, kept: float = 0.25) -> None:
        """Prepare the filters.

        Args:
            prior: The mixture.
            noise_variance: s, of each value of a patch.
            kept: For the choice of the component alone, variances below `kept` x s count as their
                mean; 0 keeps all apart, which takes several times as long.
        """
        values, vectors = prior.eigenvalues, prior.eigenvectors
        self._scorer = _Scorer(prior, noise_variance, kept)
        gains = values / (values + noise_variance)
        self._filters = (vectors * gains[:, None]) @ vectors.transpose(1, 2)  # (K, 64, 64)

    def choose(self, patches: Tensor) -> Tensor:
        """The component of each of (N, 64) mean-removed patches: (N,) int64."""
        return torch.cat([self._scorer(part).argmax(1) for part in torch.split(patches, _CHUNK)])

    def __call__(self, patches: Tensor) -> Tensor:
        """Denoise patches of one grey or several colour channels.

        Args:
            patches: (C, N, 64). The component is chosen on the channels' weighted sum where C is
                3, which saves two thirds of the work and keeps channels in step.

        Returns:
            (C, N, 64).
        """
        means = patches.mean(2, keepdim=True)
        rest = patches - means
        if len(rest) == 3:
            grey = torch.einsum("cnv,c->nv", rest, rest.new_tensor(GREY_WEIGHTS))
        else:
            grey = rest.mean(0)
        labels = self.choose(grey)
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
    Then what they add is (|z|^2 - what lies in the others) / (t + s), and only the others, often
    few, are projected on.
    """

    def __init__(self, prior: PatchPrior, noise_variance: float, kept: float) -> None:
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
    on_progress: Callable[[int, int], None] | None = None,
) -> PatchPrior:
    """Fit the mixture to patches of sharp images, by expectation-maximisation.

    Args:
        images: Sharp photographs, each (H, W, 3) uint8 RGB of at least 8x8; each gives as many
            patches.
        n_components: K.
        n_patches: Patches in all; at least 20 a component.
        n_steps: Of expectation-maximisation.
        seed: Which patches are taken and where k-means begins.
        on_progress: Called with steps done and their number.

    Returns:
        The prior; the same for the same images, seed, machine and number of threads.

    Raises:
        InputError: There is no image, one is too small, or there are too few patches.
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
        if on_progress is not None:
            on_progress(step, n_steps)
        scorer = _Scorer(prior, noise_variance=0.0, kept=0.0)
        for begin in range(0, len(patches), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            responsibilities[part] = scorer(patches[part]).softmax(1)
        prior = _maximised(patches, responsibilities)
    if on_progress is not None:
        on_progress(n_steps, n_steps)
    return prior


def sample_patches(images: Iterable[Rgb], n_patches: int, seed: int) -> NDArray[np.float32]:
    """Grey 8x8 patches from everywhere in the images, as many from each: (n, 64) in [0, 1].

    Raises:
        InputError: There is no image, or one is smaller than a patch.
    """
    rng = np.random.default_rng(seed)
    windows = []
    for index, image in enumerate(images):
        if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < PATCH_PX:
            raise InputError(
                f"Image {index} for the patch prior is {image.shape}; (H, W, 3) of at least "
                f"{PATCH_PX}x{PATCH_PX} was expected."
            )
        grey = image.astype(np.float32) @ np.array(GREY_WEIGHTS, np.float32) / 255
        windows.append(np.lib.stride_tricks.sliding_window_view(grey, (PATCH_PX, PATCH_PX)))
    if not windows:
        raise InputError("The patch prior is fitted to sharp images; none was given.")
    n_each = math.ceil(n_patches / len(windows))
    parts = []
    for window in windows:
        y, x = (rng.integers(0, limit, n_each) for limit in window.shape[:2])
        parts.append(window[y, x].reshape(n_each, N_VALUES))
    return rng.permutation(np.concatenate(parts))[:n_patches]


def _first_labels(patches: NDArray[np.float32], n_components: int, seed: int) -> NDArray[np.int64]:
    """Clusters of patches with alike spectra.

    On the patches themselves k-means would part them by sign, which zero means cannot express, and
    by the contrast of the strongest alone. The root tells weak textures apart too; after ten steps
    of expectation-maximisation a patch not seen in the fit was likelier by 5.2 nats than from
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
    mass = (mass + 1e-3) / (mass + 1e-3).sum()  # an empty component stays, and harms nobody
    return PatchPrior(weights=mass.float(), covariances=covariances.float())
