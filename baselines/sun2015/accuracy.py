"""Motion-estimation accuracy: known motions on held-out photographs, and a rendered scene."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from baselines.sun2015.field import (
    FieldOptions,
    dense_confidences,
    field_from,
    fused,
    seen_per_patch,
    supported,
)
from baselines.sun2015.kernels import (
    CANDIDATES,
    LENGTHS_PX,
    N_ORIENTATIONS,
    candidate_index,
    kernels,
    motion_vectors,
)
from baselines.sun2015.network import MotionClassifier
from gopro_tools.errors import InputError
from gopro_tools.figures import new_figure
from gopro_tools.images import Rgb, read_rgb
from gopro_tools.response import Response
from gopro_tools.scenes import Scene, SceneConfig
from gopro_tools.threads import Progress, no_progress

LENGTH_TOLERANCE_PX = 2.0
ANGLE_TOLERANCE_DEGREES = 15.0

STAGES = ("patch", "fused", "field")
"""A patch's own best candidate; after fusing overlapping patches; after the random field."""

_LEAST_SEEN = 0.5  # patches that show less of a motion are not counted
_HALF_SEEN_PER_PX = 0.01
_NOISE_SIGMA = 0.01


@dataclass(frozen=True)
class Accuracy:
    """What was measured."""

    rows: Sequence[Mapping[str, Any]]
    """One per image and motion: ``image, length_px, angle_degrees, n_patches`` and, for each stage,
    ``correct_STAGE``: patches within the tolerances."""
    length_confusion: NDArray[np.int64]
    """(13, 13) patches by true length and length in the field."""
    skipped: Sequence[str]
    """One message per image that could not be measured on."""

    def share(self, stage: str, length_px: int | None = None) -> float:
        """Share of patches that are right, over all or those of one true length."""
        rows = [row for row in self.rows if length_px in (None, row["length_px"])]
        n = sum(row["n_patches"] for row in rows)
        return float("nan") if not n else sum(row[f"correct_{stage}"] for row in rows) / n


def measure_accuracy(
    classifier: MotionClassifier,
    images: Sequence[Path],
    options: FieldOptions,
    *,
    response: str = "gamma2.2",
    n_orientations: int = 6,
    crop_px: int = 256,
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> Accuracy:
    """Blur sharp photographs by known motions and count the patches whose motion is found.

    A patch is right where the length is within 2 px and the orientation within 15 degrees; where
    there is no motion, or none was found within the 2 px, there is no orientation to compare.

    Args:
        classifier: In evaluation mode.
        images: Sharp photographs that were not trained on.
        options: How the field is estimated.
        response: Camera response in whose light the photographs are blurred.
        n_orientations: Orientations of each length and image, drawn from all 30.
        crop_px: Side of the square cut from the middle of each photograph.
        seed: Of orientations and noise.
        on_progress: Called with (motions done, all).

    Raises:
        InputError: No image can be used.
    """
    curve = Response.named(response)
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    confusion = np.zeros((len(LENGTHS_PX),) * 2, np.int64)
    n_motions = 1 + (len(LENGTHS_PX) - 1) * n_orientations
    for index, path in enumerate(images):
        rng = np.random.default_rng([seed, index])
        try:
            sharp = _middle(read_rgb(path), crop_px, path)
        except InputError as error:
            skipped.append(str(error))
            continue
        drawn = [0] + [
            candidate_index(length, int(orientation))
            for length in range(1, len(LENGTHS_PX))
            for orientation in rng.permutation(N_ORIENTATIONS)[:n_orientations]
        ]
        for done, candidate in enumerate(drawn):
            blurred = blurred_by(sharp, candidate, curve, _NOISE_SIGMA, rng)
            found = _found(classifier, blurred, options)
            height, width = found["field"].shape
            seen = seen_per_patch(sharp, options.stride_px, _HALF_SEEN_PER_PX)[:height, :width]
            counted = seen >= _LEAST_SEEN
            motion = CANDIDATES[candidate]
            row: dict[str, Any] = {
                "image": path.name,
                "length_px": int(motion.length_px),
                "angle_degrees": motion.angle_degrees,
                "n_patches": int(counted.sum()),
            }
            for stage, labels in found.items():
                row[f"correct_{stage}"] = int(is_right(labels[counted], candidate).sum())
            rows.append(row)
            true_length = _length_index(np.array(candidate))
            np.add.at(confusion[true_length], _length_index(found["field"][counted]), 1)
            on_progress(index * n_motions + done + 1, len(images) * n_motions)
    if not rows:
        raise InputError("No image can be measured on:\n" + "\n".join(skipped))
    return Accuracy(rows, confusion, skipped)


def blurred_by(
    sharp: Rgb, candidate: int, response: Response, noise_sigma: float, rng: np.random.Generator
) -> Rgb:
    """An image blurred by one candidate's kernel in linear light, with noise on its code values.

    Args:
        sharp: (H, W, 3) uint8; beyond its border it is mirrored.
        candidate: Index of the kernel.
        response: Camera response.
        noise_sigma: Of [0, 1].
        rng: Draws the noise.

    Returns:
        (H, W, 3) uint8.
    """
    light = response.decode(sharp).astype(np.float32)
    # A straight motion's kernel is its own mirror image, so correlating is convolving.
    blurred = cv2.filter2D(light, -1, kernels()[candidate], borderType=cv2.BORDER_REFLECT_101)
    codes = response.encode(np.clip(blurred, 0, 1))
    noisy = codes + rng.standard_normal(codes.shape, np.float32) * np.float32(255 * noise_sigma)
    result: Rgb = np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)
    return result


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


def _middle(image: Rgb, side_px: int, path: Path) -> Rgb:
    height, width = image.shape[:2]
    if min(height, width) < side_px:
        raise InputError(f"{path}: {width}x{height} pixels; at least {side_px} each were expected.")
    top, left = (height - side_px) // 2, (width - side_px) // 2
    return np.ascontiguousarray(image[top : top + side_px, left : left + side_px])


def _length_index(candidates: NDArray[np.int64]) -> NDArray[np.int64]:
    return (candidates + N_ORIENTATIONS - 1) // N_ORIENTATIONS


def is_right(labels: NDArray[np.int64], candidate: int) -> NDArray[np.bool_]:
    """Whether candidates are within 2 px and 15 degrees of the true one; see `measure_accuracy`."""
    lengths = np.array([motion.length_px for motion in CANDIDATES])
    angles = np.array([motion.angle_degrees for motion in CANDIDATES])
    right: NDArray[np.bool_] = np.abs(lengths[labels] - lengths[candidate]) <= LENGTH_TOLERANCE_PX
    if candidate:
        difference = np.abs(angles[labels] - angles[candidate])
        near = np.minimum(difference, 180 - difference) <= ANGLE_TOLERANCE_DEGREES
        right &= (labels == 0) | near
    return right


def draw_confusion(accuracy: Accuracy) -> Any:
    """A figure: estimated length for each true length, and shares that are right."""
    figure = new_figure(10, 4.6)
    lengths, shares = figure.subplots(1, 2)
    counts = accuracy.length_confusion
    part = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = lengths.imshow(part.T, origin="lower", cmap="viridis", vmin=0, vmax=1)
    figure.colorbar(image, ax=lengths, shrink=0.8, label="share of the patches")
    ticks = range(len(LENGTHS_PX))
    lengths.set_xticks(ticks, LENGTHS_PX)
    lengths.set_yticks(ticks, LENGTHS_PX)
    lengths.set_xlabel("true length, px")
    lengths.set_ylabel("length in the field, px")
    for stage in STAGES:
        right = [accuracy.share(stage, length) for length in LENGTHS_PX]
        shares.plot(LENGTHS_PX, right, "o-", markersize=3, label=stage)
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
    motion: NDArray[np.float32]
    """(H, W, 2) pixels to the right and down during the exposure."""
    object_mask: NDArray[np.bool_]
    """(H, W): where an object in front is seen at the middle of the exposure."""


def two_motions(
    size_hw: tuple[int, int] = (540, 960), seed: int = 3, exposure_s: float = 11 / 240
) -> KnownScene:
    """Render a shaking background with textured objects that move on their own before it."""
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
