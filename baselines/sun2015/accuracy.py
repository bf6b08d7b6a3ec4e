"""How well motion is told: known uniform motions on held-out photographs, and a rendered scene."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from baselines.sun2015.field import FieldOptions, dense_confidences, field_from, fused, supported
from baselines.sun2015.kernels import (
    CANDIDATES,
    LENGTHS_PX,
    N_ORIENTATIONS,
    candidate_index,
    motion_vectors,
)
from baselines.sun2015.network import PATCH_PX, MotionClassifier
from baselines.sun2015.patches import (
    TEXTURED_PER_PX,
    Blurring,
    shrunk,
    texture_per_px,
    with_noise,
)
from gopro_tools.errors import InputError
from gopro_tools.figures import new_figure
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.response import Response
from gopro_tools.scenes import Scene, SceneConfig

LENGTH_TOLERANCE_PX = 2.0
ANGLE_TOLERANCE_DEGREES = 15.0

STAGES = ("patch", "fused", "field")
"""A patch's own best candidate; after fusing overlapping patches; after the random field."""


@dataclass(frozen=True, kw_only=True)
class AccuracyConfig:
    """What is measured."""

    n_orientations: int = 6
    """Orientations of each length and image, drawn from all 30."""
    crop_px: int = 256
    """Side of the square that is cut from each photograph, where it has most texture."""
    noise_sigma: float = 0.01
    """Of Gaussian noise on the blurred image, of [0, 1]."""
    response: str = "gamma2.2"
    """In whose light the photographs are blurred."""
    seed: int = 0
    """Of orientations and noise."""
    options: FieldOptions = field(default_factory=FieldOptions)
    """How the field is estimated."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 1 <= self.n_orientations <= N_ORIENTATIONS or self.noise_sigma < 0:
            raise InputError(
                f"n_orientations: 1 to {N_ORIENTATIONS}; noise_sigma: at least 0 were expected."
            )
        if self.crop_px < 64:
            raise InputError("crop_px: at least 64 was expected.")


@dataclass(frozen=True)
class Accuracy:
    """What was measured."""

    rows: Sequence[Mapping[str, Any]]
    """One an image and motion: ``image, length_px, angle_degrees, n_textured`` and, for each stage,
    ``correct_STAGE``: patches within the tolerances."""
    length_confusion: NDArray[np.int64]
    """(13, 13) textured patches by true length and length in the field."""
    angle_errors: Mapping[int, NDArray[np.float32]]
    """By true length: degrees between true orientation and the field's, a textured patch each, 0
    to 90; patches said not to move are left out."""
    skipped: Sequence[str]
    """A message for each image that could not be measured on."""

    def share(self, stage: str, length_px: int | None = None) -> float:
        """Share of textured patches that are right, over all or those of one true length."""
        rows = [row for row in self.rows if length_px in (None, row["length_px"])]
        n = sum(row["n_textured"] for row in rows)
        return float("nan") if not n else sum(row[f"correct_{stage}"] for row in rows) / n


def measure_accuracy(
    classifier: MotionClassifier,
    images: Sequence[Path],
    config: AccuracyConfig | None = None,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Accuracy:
    """Blur sharp photographs by known motions and see what is found in their textured patches.

    A patch is right where the length is within 2 px and the orientation within 15 degrees; where
    there is no motion, or none was found within the 2 px, there is no orientation to compare.

    Args:
        classifier: In evaluation mode.
        images: Sharp photographs that were not trained on.
        config: What and how.
        on_progress: Called with (motions done, all).

    Raises:
        InputError: No image can be used.
    """
    config = config or AccuracyConfig()
    blurring = Blurring(Response.named(config.response))
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    confusion = np.zeros((len(LENGTHS_PX),) * 2, np.int64)
    errors: dict[int, list[NDArray[np.float32]]] = {length: [] for length in LENGTHS_PX[1:]}
    n_motions = 1 + (len(LENGTHS_PX) - 1) * config.n_orientations
    for index, path in enumerate(images):
        rng = np.random.default_rng([config.seed, index])
        try:
            sharp = _most_textured(shrunk(read_rgb(path)), config.crop_px, path)
        except InputError as error:
            skipped.append(str(error))
            continue
        stride = config.options.stride_px
        textured = texture_per_px(sharp)[::stride, ::stride] >= TEXTURED_PER_PX
        for done, candidate in enumerate(_drawn_motions(config, rng)):
            blurred = with_noise(blurring.blurred(sharp, candidate), config.noise_sigma, rng)
            found = _found(classifier, blurred, config.options)
            true = CANDIDATES[candidate]
            row: dict[str, Any] = {
                "image": path.name,
                "length_px": int(true.length_px),
                "angle_degrees": true.angle_degrees,
                "n_textured": int(textured.sum()),
            }
            for stage, labels in found.items():
                right = is_right(labels[textured], candidate)
                row[f"correct_{stage}"] = int(right.sum())
            rows.append(row)
            labels = found["field"][textured]
            np.add.at(confusion[_length_index(candidate)], _length_index(labels), 1)
            if candidate:
                moving = labels[labels > 0]
                errors[int(true.length_px)].append(_angle_error(moving, candidate))
            on_progress(index * n_motions + done + 1, len(images) * n_motions)
    if not rows:
        raise InputError("No image can be measured on:\n" + "\n".join(skipped))
    joined = {length: np.concatenate(parts) for length, parts in errors.items()}
    return Accuracy(rows, confusion, joined, skipped)


def _found(
    classifier: MotionClassifier, blurred: Rgb, options: FieldOptions
) -> dict[str, NDArray[np.int64]]:
    alone = dense_confidences(classifier, blurred, replace(options, fusion_sigma_px=0))
    together = fused(alone, options)
    whole = field_from(together, options)
    first, step = round(alone.origin_px), alone.stride_px
    height, width = alone.values.shape[1:]
    return {
        "patch": alone.values.argmax(axis=0),
        "fused": supported(together.values, options.neighbour_support).argmax(axis=0),
        "field": whole[first::step, first::step][:height, :width],
    }


def _drawn_motions(config: AccuracyConfig, rng: np.random.Generator) -> list[int]:
    drawn = [0]
    for length_index in range(1, len(LENGTHS_PX)):
        chosen = rng.permutation(N_ORIENTATIONS)[: config.n_orientations]
        drawn += [candidate_index(length_index, int(orientation)) for orientation in chosen]
    return drawn


def _most_textured(image: Rgb, crop_px: int, path: Path) -> Rgb:
    height, width = image.shape[:2]
    if min(height, width) < crop_px:
        raise InputError(
            f"{path}: {width}x{height} pixels; at least {crop_px}x{crop_px} was expected, or a "
            "smaller --crop-px."
        )
    textured = (texture_per_px(image) >= TEXTURED_PER_PX).astype(np.float32)
    side = crop_px - PATCH_PX + 1
    count = cv2.boxFilter(textured, -1, (side, side), anchor=(0, 0), normalize=False)
    count = count[: height - crop_px + 1, : width - crop_px + 1]
    top, left = np.unravel_index(int(count.argmax()), count.shape)
    if count[top, left] < 1:
        raise InputError(f"{path}: no textured patch to measure on.")
    return np.ascontiguousarray(image[top : top + crop_px, left : left + crop_px])


def _length_index(candidate: Any) -> Any:
    return (np.asarray(candidate) + N_ORIENTATIONS - 1) // N_ORIENTATIONS


def _angle_error(labels: NDArray[np.int64], candidate: int) -> NDArray[np.float32]:
    angles = np.array([motion.angle_degrees for motion in CANDIDATES], np.float32)
    difference = np.abs(angles[labels] - angles[candidate])
    error: NDArray[np.float32] = np.minimum(difference, 180 - difference)
    return error


def is_right(labels: NDArray[np.int64], candidate: int) -> NDArray[np.bool_]:
    """Whether candidates are within 2 px and 15 degrees of the true one; see `measure_accuracy`."""
    lengths = np.array([motion.length_px for motion in CANDIDATES])
    right: NDArray[np.bool_] = np.abs(lengths[labels] - lengths[candidate]) <= LENGTH_TOLERANCE_PX
    if candidate:
        right &= (labels == 0) | (_angle_error(labels, candidate) <= ANGLE_TOLERANCE_DEGREES)
    return right


def draw_confusion(accuracy: Accuracy) -> Any:
    """A figure: lengths told for each true length, angle errors, and shares that are right."""
    figure = new_figure(13, 4.6)
    lengths, angles, shares = figure.subplots(1, 3)
    counts = accuracy.length_confusion
    part = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = lengths.imshow(part.T, origin="lower", cmap="viridis", vmin=0, vmax=1)
    figure.colorbar(image, ax=lengths, shrink=0.8, label="share of the textured patches")
    ticks = range(len(LENGTHS_PX))
    lengths.set_xticks(ticks, LENGTHS_PX)
    lengths.set_yticks(ticks, LENGTHS_PX)
    lengths.set_xlabel("true length, px")
    lengths.set_ylabel("length in the field, px")
    bins = np.arange(0, 97, 6) - 3  # one about each multiple of 6 degrees, 90 included
    middle = len(LENGTHS_PX) // 2
    for name, chosen in (
        (f"{LENGTHS_PX[1]} to {LENGTHS_PX[middle]} px", LENGTHS_PX[1 : middle + 1]),
        (f"{LENGTHS_PX[middle + 1]} to {LENGTHS_PX[-1]} px", LENGTHS_PX[middle + 1 :]),
    ):
        values = np.concatenate([accuracy.angle_errors[length] for length in chosen])
        angles.hist(
            values, bins, weights=np.full(len(values), 1 / max(len(values), 1)), alpha=0.6,
            label=name,
        )  # fmt: skip
    angles.axvline(ANGLE_TOLERANCE_DEGREES, color="k", linestyle="--", linewidth=1)
    angles.set_xlabel("error of the orientation, degrees")
    angles.set_ylabel("share of the textured patches found to move")
    angles.legend(title="true length")
    for stage in STAGES:
        right = [accuracy.share(stage, length) for length in LENGTHS_PX]
        shares.plot(LENGTHS_PX, right, "o-", markersize=3, label=stage)
    shares.axhline(0.8, color="k", linestyle="--", linewidth=1)
    shares.set_ylim(0, 1.02)
    shares.set_xlabel("true length, px")
    shares.set_ylabel("share right (within 2 px and 15 degrees)")
    shares.grid(alpha=0.3)
    shares.legend()
    return figure


@dataclass(frozen=True, kw_only=True)
class KnownScene:
    """A blurred image whose motion is known at each pixel."""

    blurred: Rgb
    """(H, W, 3) uint8."""
    sharp: Rgb
    """(H, W, 3) uint8, at the middle of the exposure."""
    motion: NDArray[np.float32]
    """(H, W, 2) pixels to the right and down during the exposure."""
    object_mask: NDArray[np.bool_]
    """(H, W): where an object in front is seen at the middle of the exposure."""


def two_motions(
    size_hw: tuple[int, int] = (540, 960), seed: int = 3, exposure_s: float = 11 / 240
) -> KnownScene:
    """Render a shaking background with textured objects that move on their own before it.

    Args:
        size_hw: Of the image.
        seed: Of the scene.
        exposure_s: How long the shutter is open.
    """
    scene = Scene(
        SceneConfig(
            seed=seed, photograph="motorcycle", object_photographs=("cat",), size_hw=size_hw,
            n_objects=2, highlights=False, shake_px_s=200.0, object_speed_px_s=400.0,
        )
    )  # fmt: skip
    start_s, middle_s, stop_s = 0.5, 0.5 + exposure_s / 2, 0.5 + exposure_s
    motion = scene.flow(middle_s, stop_s) - scene.flow(middle_s, start_s)
    return KnownScene(
        blurred=scene.encode(scene.exposure(start_s, stop_s, 96)),
        sharp=scene.frame(middle_s),
        motion=motion.astype(np.float32),
        object_mask=scene.object_mask(middle_s) > 0,
    )


def endpoint_errors_px(
    field_labels: NDArray[np.int64], motion: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Distance of a field's vectors to known ones, of v and -v the smaller: (H, W) float32."""
    found = motion_vectors()[field_labels]
    nearer = np.minimum(
        np.hypot(*np.moveaxis(found - motion, -1, 0)), np.hypot(*np.moveaxis(found + motion, -1, 0))
    )
    errors: NDArray[np.float32] = nearer.astype(np.float32)
    return errors
