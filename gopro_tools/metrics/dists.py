"""DISTS, whose weights the user names: nothing is downloaded, torch is imported late."""

import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gopro_tools.errors import InputError
from gopro_tools.files import sha256_of_file
from gopro_tools.images import Rgb
from gopro_tools.metrics.parts import given_parts
from gopro_tools.metrics.perceptual import check_imports, check_installed, forward_lock

VGG16_SHA256_PREFIX = "397923af"
"""Start of the hash of torchvision's ``vgg16-397923af.pth``."""
DISTS_SHA256_PREFIX = "f5e65c96"
"""Start of the hash of the authors' ``weights.pt`` (pyiqa calls it DISTS_weights-f5e65c96.pth)."""

_PACKAGES = ("torch",)
_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Convolutions of VGG16 by their place in torchvision's ``features``; each is followed by ReLU."""
_CHANNELS = (3, 64, 128, 256, 512, 512)
_STABLE = 1e-6


def dists_absent() -> str | None:
    """Why DISTS cannot be computed here; None where it can."""
    try:
        check_installed(_PACKAGES)
        _weight_files(given_parts().dists_weights)
        check_imports(_PACKAGES)
    except InputError as error:
        return str(error)
    return None


def dists_distance(sharp: Rgb, restored: Rgb) -> float:
    """Distance of structure and texture, 0 for equal images (Ding et al., TPAMI 2020); lower wins.

    At the size the images have; the authors' demonstration (and piq) first shrink the shorter side
    to 256 px, which gives another number. On the GPU where torch has one.

    Args:
        sharp: (H, W, 3) uint8.
        restored: The same shape.

    Raises:
        InputError: A part is absent; the message says which.
    """
    torch = importlib.import_module("torch")
    with forward_lock, torch.inference_mode():
        weights, device = _weights(*_weight_files(given_parts().dists_weights))
        pair = torch.from_numpy(np.stack([sharp, restored])).to(device)
        pair = pair.permute(0, 3, 1, 2).float() / 255  # (2, 3, H, W) in [0, 1]
        similarity = torch.zeros((), device=device)
        features = zip(_features(pair, weights), weights["alpha"], weights["beta"], strict=True)
        for maps, alpha, beta in features:
            mean = maps.mean((2, 3))  # (2, C)
            apart = maps - mean[:, :, None, None]
            variance = apart.square().mean((2, 3))
            covariance = (maps[0] * maps[1]).mean((1, 2)) - mean[0] * mean[1]
            texture = (2 * mean[0] * mean[1] + _STABLE) / (mean.square().sum(0) + _STABLE)
            structure = (2 * covariance + _STABLE) / (variance.sum(0) + _STABLE)
            similarity += (alpha * texture).sum() + (beta * structure).sum()
        return float(1 - similarity)


def _features(images: Any, weights: dict[str, Any]) -> Iterator[Any]:
    """The images, then VGG16's features after each stage, with L2 instead of max pooling."""
    functional = importlib.import_module("torch.nn.functional")
    yield images
    maps = (images - weights["mean"]) / weights["deviation"]
    for stage, places in enumerate(_STAGES):
        if stage:
            n_channels = maps.shape[1]
            window = weights["window"].expand(n_channels, 1, 3, 3)
            energy = functional.conv2d(
                maps.square(), window, stride=2, padding=1, groups=n_channels
            )
            maps = (energy + 1e-12).sqrt()
        for place in places:
            kernel, bias = (weights[f"features.{place}.{what}"] for what in ("weight", "bias"))
            maps = functional.relu(functional.conv2d(maps, kernel, bias, padding=1))
        yield maps


def _weight_files(given: tuple[Path, ...]) -> tuple[Path, Path]:
    """VGG16's file and the method's own, told apart by their hashes."""
    found: dict[str, Path] = {}
    for path in given:
        if not path.is_file():
            raise InputError(f"{path}: no such file; --dists-weights names weight files.")
        digest = sha256_of_file(path)
        for prefix in (VGG16_SHA256_PREFIX, DISTS_SHA256_PREFIX):
            if digest.startswith(prefix):
                found[prefix] = path
    lacking = {
        VGG16_SHA256_PREFIX: "torchvision's vgg16-397923af.pth",
        DISTS_SHA256_PREFIX: "the authors' weights.pt (in their package DISTS_pytorch)",
    }
    for prefix in found:
        del lacking[prefix]
    if lacking:
        named = f"; {', '.join(path.name for path in given)}: damaged, or others" if given else ""
        raise InputError(
            f"needs {' and '.join(lacking.values())}, known by the start of their SHA-256 "
            f"({', '.join(lacking)}): name both with --dists-weights; nothing is downloaded "
            f"here{named}."
        )
    return found[VGG16_SHA256_PREFIX], found[DISTS_SHA256_PREFIX]


@functools.lru_cache(maxsize=1)
def _weights(vgg16: Path, own: Path) -> tuple[dict[str, Any], Any]:
    torch = importlib.import_module("torch")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights: dict[str, Any] = {
        name: tensor.to(device)
        for name, tensor in torch.load(vgg16, map_location="cpu", weights_only=True).items()
        if name.startswith("features.")
    }
    stored = torch.load(own, map_location="cpu", weights_only=True)
    whole = stored["alpha"].sum() + stored["beta"].sum()
    for name in ("alpha", "beta"):
        weights[name] = (stored[name].flatten() / whole).to(device).split(_CHANNELS)
    taps = torch.tensor([0.25, 0.5, 0.25])  # a Hann window
    weights["window"] = torch.outer(taps, taps).to(device)
    for name, of_imagenet in (
        ("mean", (0.485, 0.456, 0.406)),
        ("deviation", (0.229, 0.224, 0.225)),
    ):
        weights[name] = torch.tensor(of_imagenet, device=device)[:, None, None]
    return weights, device
