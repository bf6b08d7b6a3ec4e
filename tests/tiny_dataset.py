"""A dataset in the GOPRO layout small enough to train on within a test."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png


def smooth_image(rng: np.random.Generator, size_hw: tuple[int, int]) -> Rgb:
    """Soft random blobs with a few hard edges, so that blurring it matters."""
    height, width = size_hw
    coarse = rng.uniform(0, 255, (height // 8 + 2, width // 8 + 2, 3)).astype(np.float32)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        top, left = rng.integers(0, height), rng.integers(0, width)
        image[top : top + height // 4, left : left + width // 4] = rng.uniform(0, 255, 3)
    return np.clip(image, 0, 255).astype(np.uint8)


def horizontally_blurred(image: Rgb, length_px: int = 5) -> Rgb:
    kernel = np.full((1, length_px), 1 / length_px, np.float32)
    return np.rint(cv2.filter2D(image.astype(np.float32), -1, kernel)).astype(np.uint8)


def write_dataset(
    root: Path,
    *,
    size_hw: tuple[int, int] = (48, 64),
    train: Sequence[int] = (3, 2),
    test: Sequence[int] = (2,),
    seed: int = 0,
) -> Path:
    """Write sequences with so many pairs each; ``blur`` and ``blur_gamma`` differ."""
    rng = np.random.default_rng(seed)
    number = 0
    for split, counts in (("train", train), ("test", test)):
        for n_pairs in counts:
            number += 1
            folder = root / split / f"GOPR{number:04d}_11_00"
            for index in range(1, n_pairs + 1):
                sharp = smooth_image(rng, size_hw)
                images = {
                    "sharp": sharp,
                    "blur": horizontally_blurred(sharp, 3),
                    "blur_gamma": horizontally_blurred(sharp, 5),
                }
                for kind, image in images.items():
                    write_atomic(folder / kind / f"{index:06d}.png", encode_png(image))
    return root
