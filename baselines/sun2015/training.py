"""Training both learned parts, the motion classifier and the patch prior, into one weight file.

While it runs, all that is needed to go on lies beside the result, in ``NAME.training.safetensors``;
the weight file itself appears when all is done.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.sun2015.kernels import CANDIDATES, TRAINED
from baselines.sun2015.network import PAPER_WIDTHS, Sun2015
from baselines.sun2015.patches import BlurredPatches, Sources, cut_sources, shrunk
from baselines.sun2015.prior import fit_prior
from baselines.sun2015.weights import load_stored, n_parameters_of, save_weights
from gopro_tools.errors import InputError
from gopro_tools.images import read_rgb
from gopro_tools.response import Response
from gopro_tools.threads import prefetched

__all__ = ["PRESETS", "Sun2015Recipe", "TrainingRun", "n_parameters_of", "train_sun2015"]

log = logging.getLogger(__name__)

LENGTH_TOLERANCE_PX = 2.0
ANGLE_TOLERANCE_DEGREES = 15.0

_VALIDATION_SHARE = 20  # one source in so many
_N_VALIDATED = 2048
_N_PRIOR_IMAGES = 48
_CHECKPOINT_EVERY_S = 120.0
_WARM_UP = 0.05

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Sun2015Recipe:
    """What decides the outcome of training."""

    preset: str = "paper"
    """Name of the preset it comes from."""
    widths: tuple[int, int, int] = PAPER_WIDTHS
    """Features of the two convolutions and units of the hidden layer."""
    dropout: float = 0.5
    """Share of hidden units left out while training."""
    batch_norm: bool = False
    """Normalise inside the network, which the paper does not: short trainings get further."""
    n_sources: int = 60_000
    """Sharp pieces that all training patches are made of."""
    anywhere_share: float = 0.3
    """Share of them cut from anywhere; the others are textured. Without it the network takes soft
    places, which it has never seen sharp, for long motions."""
    band_gain_max: float = 3.0
    """Detail of pieces is amplified or damped by up to this factor in each of three octaves.
    Without it the network reads length from how much detail is left, and takes what has more than
    the photographs it learned from for hardly moved."""
    grain_share: float = 0.4
    """Share of the pieces that are given a random texture, in half of them a directed one: few
    photographs are as densely textured as a forest, in which the network otherwise takes long
    motions for medium ones, or as hair and grass, which it takes for motion."""
    soft_share: float = 0.3
    """Share of the pieces that are made soft by a Gaussian of 0.4 to 4 px: without them the network
    takes what is out of focus for long motions."""
    n_patches: int = 4_200_000
    """Training patches, each blurred anew."""
    batch: int = 128
    """Patches a step."""
    learning_rate: float = 5e-4
    """Of Adam: it rises over the first twentieth, then falls to zero along a half cosine."""
    noise_sigma_max: float = 0.015
    """Noise has a sigma drawn from 0 to this, of [0, 1]."""
    response: str = "gamma2.2"
    """In whose light blur happens: gamma2.2, srgb, linear (on code values) or a .npy table."""
    n_components: int = 200
    """Gaussians of the patch prior; 0 leaves the prior out."""
    n_prior_patches: int = 400_000
    """8x8 patches the prior is fitted to."""
    seed: int = 0
    """Of all that is drawn."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if min(self.n_sources, self.n_patches, self.batch) < 1 or self.n_components < 0:
            raise InputError("n_sources, n_patches and batch must be at least 1.")
        shares = (self.anywhere_share, self.grain_share, self.soft_share)
        if min(shares) < 0 or max(shares) > 1 or self.band_gain_max < 1:
            raise InputError("Shares lie between 0 and 1, band_gain_max is at least 1.")
        if self.learning_rate <= 0 or not 0 <= self.noise_sigma_max < 1:
            raise InputError("learning_rate must be positive, noise_sigma_max in [0, 1).")

    @property
    def n_steps(self) -> int:
        """Training steps."""
        return -(-self.n_patches // self.batch)


PRESETS: Mapping[str, Sun2015Recipe] = MappingProxyType(
    {
        "paper": Sun2015Recipe(),
        "reduced": Sun2015Recipe(
            preset="reduced",
            widths=(64, 128, 512),
            dropout=0.1,
            batch_norm=True,
            n_sources=40_000,
            n_patches=2_600_000,
            learning_rate=2e-3,
            n_prior_patches=100_000,
        ),
        "smoke": Sun2015Recipe(
            preset="smoke",
            widths=(8, 12, 32),
            dropout=0.0,
            n_sources=200,
            n_patches=1_280,
            batch=64,
            learning_rate=2e-3,
            n_components=4,
            n_prior_patches=2_000,
        ),
    }
)
"""paper: the paper's network, hours on a CPU. reduced: a narrower one, half an hour on two cores.
smoke: seconds, and a result that is good for nothing."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A finished training."""

    weights: Path
    """The weight file."""
    n_patches: int
    """Patches the classifier learned from."""
    training_s: float
    """Seconds, over all sessions; reading the images left out."""
    metrics: Mapping[str, float]
    """On pieces kept out of training: see `train_sun2015`."""
    skipped: Sequence[str] = ()
    """A message for each image that could not be used; empty where nothing had to be read."""


def train_sun2015(
    images: Sequence[Path],
    out: Path,
    recipe: Sun2015Recipe | None = None,
    *,
    resume: bool = True,
    device: str = "cpu",
    bf16: bool = False,
    on_progress: OnProgress = lambda task, done, total: None,
    told_to_stop: Callable[[], bool] = lambda: False,
) -> TrainingRun | None:
    """Train the classifier and fit the prior.

    Args:
        images: Sharp photographs; those without texture or unreadable are named and left out.
        out: The weight file, ``.safetensors``.
        recipe: How; by default the paper's.
        resume: Go on with what lies there. On a CPU the weights equal those of an uninterrupted
            run, bit for bit. A finished file of the same recipe and images is returned as it is.
        device: What torch calls it.
        bf16: Whether the network computes in mixed precision while it learns.
        on_progress: Called with a task, parts done and all.
        told_to_stop: Asked after each step; if true, the state is written and None returned.

    Returns:
        What was trained. Its metrics, over pieces of the same images that were kept out:
        ``class_accuracy`` (of 73), ``tolerant_accuracy`` (length within 2 px and orientation
        within 15 degrees). None if told to stop.

    Raises:
        InputError: No usable image, or another training's file lies there.
    """
    recipe = recipe or PRESETS["paper"]
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: a weight file's name ends in .safetensors.")
    response = Response.named(recipe.response)
    _check_scikit_learn(recipe)
    data_hash = _hash_of_images(images)
    config = {"recipe": _jsonable(recipe), "n_images": len(images)}
    training_file = out.with_name(f"{out.stem}.training.safetensors")
    if resume and out.is_file():
        return _finished(out, config, data_hash)
    sources = cut_sources(
        images,
        recipe.n_sources,
        recipe.seed,
        anywhere_share=recipe.anywhere_share,
        on_progress=lambda done, total: on_progress("reading images", done, total),
    )
    for message in sources.skipped:
        log.info("left out: %s", message)
    training, validation = _split(sources)
    run = _Run(recipe, torch.device(device), bf16=bf16)
    if resume and training_file.is_file():
        run.load(training_file, config, data_hash)

    def save(path: Path, *, with_state: bool) -> None:
        save_weights(
            path,
            run.network,
            config=config,
            step=run.step,
            metrics={**run.metrics, "training_s": run.seconds},
            data_hash=data_hash,
            training_state=run.optimizer.state_dict() if with_state else None,
        )

    patches = BlurredPatches(
        training,
        response,
        recipe.noise_sigma_max,
        recipe.seed,
        band_gain_max=recipe.band_gain_max,
        grain_share=recipe.grain_share,
        soft_share=recipe.soft_share,
    )
    last_saved = time.monotonic()
    numbers = range(run.step, recipe.n_steps)
    batches = prefetched(lambda n: patches.batch(n, recipe.batch), numbers, n_threads=1)
    with closing(batches):
        for blurred, shares in batches:
            run.learn(torch.from_numpy(blurred), torch.from_numpy(shares))
            on_progress("training", run.step, recipe.n_steps)
            stop = told_to_stop() and run.step < recipe.n_steps
            if stop or time.monotonic() - last_saved > _CHECKPOINT_EVERY_S:
                save(training_file, with_state=True)
                last_saved = time.monotonic()
            if stop:
                return None
    save(training_file, with_state=True)
    run.fit_prior(sources.used, on_progress)
    unseen = BlurredPatches(validation, response, recipe.noise_sigma_max, recipe.seed + 1)
    run.metrics = run.validated(unseen)
    save(out, with_state=False)
    for suffix in (".safetensors", ".json"):
        training_file.with_suffix(suffix).unlink(missing_ok=True)
    return TrainingRun(
        weights=out,
        n_patches=recipe.n_steps * recipe.batch,
        training_s=run.seconds,
        metrics=run.metrics,
        skipped=sources.skipped,
    )


def _check_scikit_learn(recipe: Sun2015Recipe) -> None:
    """Say that it is missing before the classifier is trained, not after."""
    if recipe.n_components:
        try:
            import sklearn  # noqa: F401
        except ImportError as error:
            raise InputError(
                "The patch prior is fitted with scikit-learn, which is not installed: "
                "`pip install '.[train]'`, or n_components=0 for no prior."
            ) from error


class _Run:
    """The state of a training."""

    def __init__(self, recipe: Sun2015Recipe, device: torch.device, *, bf16: bool) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.bf16 = recipe, device, bf16
        self.network = Sun2015(
            recipe.widths, recipe.dropout, recipe.n_components, recipe.batch_norm
        )
        self.network.to(device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(
            self.network.classifier.parameters(), lr=recipe.learning_rate
        )
        self.step = 0
        self.seconds = 0.0
        self.metrics: dict[str, float] = {}
        self._recent: list[float] = []

    def fit_prior(self, images: Sequence[Path], on_progress: OnProgress) -> None:
        """Fit the mixture to some of the images, flat places and all, and keep its parameters."""
        if not self.recipe.n_components:
            return
        begin = time.monotonic()
        chosen = np.linspace(0, len(images) - 1, min(len(images), _N_PRIOR_IMAGES)).round()
        fitted = fit_prior(
            [shrunk(read_rgb(images[int(index)])) for index in chosen],
            n_components=self.recipe.n_components,
            n_patches=self.recipe.n_prior_patches,
            seed=self.recipe.seed,
            on_progress=lambda done, total: on_progress("fitting the prior", done, total),
        )
        self.network.prior.load_state_dict(fitted.state_dict())
        self.seconds += time.monotonic() - begin

    def load(self, path: Path, config: Mapping[str, Any], data_hash: str) -> None:
        from baselines.checkpoints import load_into

        stored = load_stored(path, with_training_state=True)
        _check_same(path, stored.record.config, stored.record.data_hash, config, data_hash)
        load_into(self.network, stored.networks["restorer"], path)
        self.optimizer.load_state_dict(stored.training_state)
        self.step = stored.record.step or 0
        self.seconds = float(stored.record.metrics["training_s"])
        log.info("Going on at step %d.", self.step)

    def learn(self, blurred: Tensor, shares: Tensor) -> None:
        """One step of Adam on the cross-entropy with each patch's shares of the classes."""
        begin = time.monotonic()
        # Dropout by the step's number, so that a resumed run needs no stored state.
        torch.manual_seed((self.recipe.seed << 32) + self.step)
        part = self.step / self.recipe.n_steps
        rate = min(1.0, (self.step + 1) / (_WARM_UP * self.recipe.n_steps))
        rate *= (1 + np.cos(np.pi * part)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * rate
        self.network.train()
        images = blurred.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.network.classifier(images)[..., 0, 0]
        loss = F.cross_entropy(logits.float(), shares.to(self.device))
        if not torch.isfinite(loss):
            raise InputError(
                f"step {self.step}: the loss is {loss.item()}; a lower learning rate may help."
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        self.seconds += time.monotonic() - begin
        self._recent.append(loss.item())
        if self.step % 200 == 0:
            log.info("step %d: cross-entropy %.3f", self.step, np.mean(self._recent))
            self._recent.clear()

    @torch.inference_mode()
    def validated(self, patches: BlurredPatches) -> dict[str, float]:
        """Shares of patches whose class is right, exactly and within the tolerances."""
        self.network.eval()
        right = np.array([in_tolerance(true) for true in range(len(TRAINED))])
        exact = tolerant = n = 0
        for number in range(-(-_N_VALIDATED // self.recipe.batch)):
            blurred, shares = patches.batch(number, self.recipe.batch)
            classes = shares.argmax(axis=1)
            logits = self.network.classifier(torch.from_numpy(blurred).to(self.device))
            chosen = logits[..., 0, 0].argmax(1).cpu().numpy()
            exact += int((chosen == classes).sum())
            tolerant += int(right[classes, chosen].sum())
            n += len(classes)
        return {"class_accuracy": exact / n, "tolerant_accuracy": tolerant / n}


def in_tolerance(true_class: int) -> list[bool]:
    """Of each class, whether it would do for another: within 2 px and 15 degrees."""
    true = CANDIDATES[TRAINED[true_class]]
    result = []
    for index in TRAINED:
        length_px = abs(CANDIDATES[index].length_px - true.length_px)
        angle = abs(CANDIDATES[index].angle_degrees - true.angle_degrees)
        no_angle = 1 in (true.length_px, CANDIDATES[index].length_px)
        near = no_angle or min(angle, 180 - angle) <= ANGLE_TOLERANCE_DEGREES
        result.append(length_px <= LENGTH_TOLERANCE_PX and near)
    return result


def _split(sources: Sources) -> tuple[Sources, Sources]:
    """Training and validation pieces; with a single one both are it."""
    n = max(1, len(sources.pieces) // _VALIDATION_SHARE)
    rest = sources.pieces[n:] if len(sources.pieces) > n else sources.pieces
    return (
        Sources(rest, sources.used, sources.skipped),
        Sources(sources.pieces[:n], sources.used, ()),
    )


def _finished(out: Path, config: Mapping[str, Any], data_hash: str) -> TrainingRun:
    record = load_stored(out).record
    _check_same(out, record.config, record.data_hash, config, data_hash)
    metrics = dict(record.metrics)
    return TrainingRun(
        weights=out,
        n_patches=(record.step or 0) * record.config["recipe"]["batch"],
        training_s=metrics.pop("training_s"),
        metrics=metrics,
    )


def _check_same(
    path: Path,
    stored: Mapping[str, Any],
    stored_hash: str | None,
    wanted: Mapping[str, Any],
    wanted_hash: str,
) -> None:
    before, now = stored.get("recipe", {}), wanted["recipe"]
    differing = [key for key in {**now, **before} if now.get(key) != before.get(key)]
    if stored_hash != wanted_hash:
        differing.append("images")
    if differing:
        raise InputError(
            f"{path}: a training with other {', '.join(differing)} lies there; choose another "
            "--out, or begin anew with --no-resume."
        )


def _hash_of_images(images: Sequence[Path]) -> str:
    """Over names and sizes: a moved folder is the same."""
    lines = []
    for path in images:
        try:
            lines.append(f"{path.name}\t{path.stat().st_size}\n")
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _jsonable(recipe: Sun2015Recipe) -> dict[str, Any]:
    fields = {**asdict(recipe), "widths": list(recipe.widths)}
    return {**fields, "response": Path(recipe.response).name}
