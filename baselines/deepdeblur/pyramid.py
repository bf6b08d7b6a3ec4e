"""The Gaussian pyramids of DeepDeblur's two releases."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def pyramid(
    images: Tensor, n_scales: int, kind: Literal["torch7", "pytorch-release"] = "torch7"
) -> list[Tensor]:
    """The Gaussian pyramid that the network sees and its loss compares with; differentiable.

    "torch7" is what the paper's own code does: subtract the mean of each channel, then at each
    level filter with a 3x3 Gaussian (sigma 0.75 pixels, zeros outside) and keep every second
    pixel, and at the end add the mean again. "pytorch-release" is scikit-image's
    `pyramid_gaussian` with its defaults: a Gaussian of sigma 2/3 cut off at 3 pixels, the border
    mirrored with the edge pixel repeated, then the mean of each 2x2 block.

    Returns:
        Of (N, C, H, W) floats level k of (N, C, ceil(H / 2^k), ceil(W / 2^k)), the first being the
        input, in its dtype (autocast does not lower it). Sizes that do not halve are padded by
        repeating the last row and column, and cropped again.
    """
    size_hw = images.shape[-2:]
    level = pad_to_multiple(images, 2 ** (n_scales - 1))
    mean = level.mean(dim=(-2, -1), keepdim=True)
    levels = [images]
    for k in range(1, n_scales):
        if kind == "torch7":
            # Zeros surround what differs from the mean, so the mean is subtracted first.
            centred = F.pad(level - mean, (1, 1, 1, 1))
            level = _filtered_and_halved(centred, _TORCH7_TAPS) + mean
        else:
            level = _filtered_and_halved(_mirrored(level, 3), _RELEASE_TAPS)
        levels.append(cropped_level(level, size_hw, k))
    return levels


def pad_to_multiple(images: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Repeat the last row and column until both sides are multiples, of ``least`` or more."""
    height, width = images.shape[-2:]
    down, right = (
        (max(side, least) + multiple - 1) // multiple * multiple - side for side in (height, width)
    )
    return F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images


def cropped_level(level: Tensor, size_hw: torch.Size, k: int) -> Tensor:
    """Level k of a padded image, without the padding."""
    height, width = ((side + 2**k - 1) // 2**k for side in size_hw)
    return level[..., :height, :width]


def _gaussian_taps(radius: int, sigma_px: float) -> list[float]:
    taps = [math.exp(-0.5 * (offset / sigma_px) ** 2) for offset in range(-radius, radius + 1)]
    return [tap / sum(taps) for tap in taps]


# torch/image gives sigma as a fraction of the kernel: 0.25 of 3 pixels.
_TORCH7_TAPS = _gaussian_taps(radius=1, sigma_px=0.25 * 3)

# The Gaussian (cut off at 4 sigma), then the mean of two neighbours, as one filter of 8 taps.
_RELEASE_GAUSSIAN = _gaussian_taps(radius=3, sigma_px=2 * 2 / 6)
_RELEASE_TAPS = [
    (a + b) / 2 for a, b in zip([*_RELEASE_GAUSSIAN, 0.0], [0.0, *_RELEASE_GAUSSIAN], strict=True)
]


def _filtered_and_halved(padded: Tensor, taps: list[float]) -> Tensor:
    """Filter both axes with `taps` and keep every second result, beginning with the first.

    Sums of shifted views, not a convolution: autocast would run that in half precision.
    """
    for dim in (-2, -1):
        views = padded.unfold(dim, len(taps), 2).unbind(-1)
        padded = taps[0] * views[0]
        for tap, view in zip(taps[1:], views[1:], strict=True):
            padded = padded + tap * view
    return padded


def _mirrored(images: Tensor, margin: int) -> Tensor:
    """Pad all four sides by mirroring with the edge pixel repeated (c b a | a b c | c b a)."""
    for dim in (-2, -1):
        n = images.shape[dim]
        index = torch.arange(-margin, n + margin, device=images.device) % (2 * n)
        images = images.index_select(dim, torch.minimum(index, 2 * n - 1 - index))
    return images
