"""From a dataset in the GOPRO layout to training patches.

Every patch is a pure function of (seed, batch number, index in the global batch), so a resumed run
sees the patches of an uninterrupted one, and several processes each take a part of a batch. Threads
cut patches in advance: OpenCV and numpy release the interpreter's lock, and threads share the
decoded frames where processes would copy them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from baselines.devices import LAYOUTS
from baselines.options import Cache
from baselines.recipe import Augmentation, PatchConfig
from gopro_tools.dataset import BlurKind, Split
from gopro_tools.errors import InputError
from gopro_tools.images import Rgb
from gopro_tools.pairs import Pairs
from gopro_tools.threads import Progress, no_progress, thread_pool

SATURATION_RANGE = (0.5, 1.5)
"""Range of the factor for HSV saturation, drawn uniformly."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The patches of a training step."""

    blurred: Tensor
    """(N, 3, P, P) float32 in [0, 1]."""
    sharp: Tensor
    """(N, 3, P, P) float32 in [0, 1]."""

    def placed(self, device: torch.device, *, channels_last: bool) -> "Batch":
        """The same on a device; copied in the background where the memory is pinned."""
        blurred, sharp = (
            images.to(device, non_blocking=True, memory_format=LAYOUTS[channels_last])
            for images in (self.blurred, self.sharp)
        )
        return Batch(blurred=blurred, sharp=sharp)


class FramePairs:
    """All pairs of one split, decoded in memory or on demand.

    ``names[i]`` is ``<sequence>/<name>`` of the images that ``frames(i)`` returns.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        blur_kind: BlurKind,
        *,
        cache: Cache = "none",
        resize_hw: tuple[int, int] | None = None,
        on_progress: Progress = no_progress,
    ) -> None:
        """Find the pairs and, where they are cached, decode all of them.

        Raises:
            InputError: No such split, images without a partner, unreadable images or pairs of two
                sizes (all are listed), or no room for the cache.
        """
        self._pairs = Pairs(root, split, blur_kind)
        self.names = self._pairs.names
        self._resize_hw = resize_hw
        self._cached: list[tuple[Rgb, Rgb]] | None = None
        self._sizes_hw: dict[int, tuple[int, int]] = {}
        if cache == "memory":
            self._check_memory()
            self._cached = self._decode_all(on_progress)

    def __len__(self) -> int:
        return len(self._pairs)

    def frames(self, index: int) -> tuple[Rgb, Rgb]:
        """Blurred and sharp image of pair ``index``: (H, W, 3) uint8 each; do not modify them."""
        return self._cached[index] if self._cached is not None else self._decode(index)

    def size_hw(self, index: int) -> tuple[int, int]:
        """Height and width of pair ``index``; decodes its sharp image where nothing is cached."""
        if index not in self._sizes_hw:
            height, width = self.frames(index)[1].shape[:2]
            self._sizes_hw[index] = (height, width)
        return self._sizes_hw[index]

    def _check_memory(self) -> None:
        try:
            needed = 2 * self._decode(0)[0].size * len(self)
        except InputError:
            return  # reported with all others when all are decoded
        free = psutil.virtual_memory().available
        if needed > free:
            raise InputError(
                f"{len(self)} decoded pairs need {needed / 2**30:.1f} GiB, but "
                f"{free / 2**30:.1f} GiB of memory are free; choose --cache none."
            )

    def _decode(self, index: int) -> tuple[Rgb, Rgb]:
        blurred, sharp = self._pairs[index]
        if self._resize_hw is not None:
            return resized(blurred, self._resize_hw), resized(sharp, self._resize_hw)
        return blurred, sharp

    def _decode_all(self, on_progress: Progress) -> list[tuple[Rgb, Rgb]]:
        errors: list[str] = []
        decoded: list[tuple[Rgb, Rgb]] = []

        def decode(index: int) -> tuple[Rgb, Rgb] | None:
            try:
                return self._decode(index)
            except InputError as error:
                errors.append(str(error))
                return None

        with thread_pool() as threads:
            for done, frames in enumerate(threads.map(decode, range(len(self))), start=1):
                if frames is not None:
                    decoded.append(frames)
                on_progress(done, len(self))
        if errors:
            raise InputError(f"{len(errors)} pair(s) cannot be used:\n" + "\n".join(sorted(errors)))
        return decoded


def resized(image: Rgb, size_hw: tuple[int, int]) -> Rgb:
    """Resize (H, W, 3) uint8 with the antialiased bicubic filter (a = -0.5) that Pillow uses."""
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    smooth = F.interpolate(planes, size_hw, mode="bicubic", antialias=True, align_corners=False)
    result: Rgb = smooth[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
    return result


@dataclass(frozen=True, kw_only=True)
class AugmentationDraw:
    """What was drawn for one patch, except the values of its noise."""

    sharp_to_sharp: bool
    """The input is the sharp patch itself."""
    hflip: bool
    """Left-right, before the other two."""
    vflip: bool
    """Upside down, before the turn."""
    quarter_turns: int
    """Counter-clockwise, 0 to 3."""
    channels: tuple[int, int, int]
    """Which of the image's channels come first, second and third."""
    saturation: float | None
    """Factor of the HSV saturation; None leaves it."""
    noise_sigma: float
    """Sigma of the input's noise, of either sign."""

    def oriented(self, patch: NDArray[Any]) -> NDArray[Any]:
        """A view of a patch, (H, W) or (H, W, 3): flipped and turned."""
        flipped = patch[:: -1 if self.vflip else 1, :: -1 if self.hflip else 1]
        return np.rot90(flipped, self.quarter_turns)


def draw_augmentation(config: Augmentation, rng: np.random.Generator) -> AugmentationDraw:
    """Draw for one patch; the number of draws does not depend on their outcome."""
    copy_p, hflip_p, vflip_p, saturation_p = rng.random(4)
    quarter_turns = int(rng.integers(4)) if config.rotate else 0
    red, green, blue = rng.permutation(3).tolist() if config.permute_channels else (0, 1, 2)
    factor = float(rng.uniform(*SATURATION_RANGE))
    sigma = float(rng.normal(0, config.noise_sigma_std)) if config.noise_sigma_std else 0.0
    return AugmentationDraw(
        sharp_to_sharp=bool(copy_p < config.sharp_to_sharp_p),
        hflip=bool(hflip_p < config.hflip_p),
        vflip=bool(vflip_p < config.vflip_p),
        quarter_turns=quarter_turns,
        channels=(red, green, blue),
        saturation=factor if saturation_p < config.saturation_p else None,
        noise_sigma=sigma,
    )


def augment(
    blurred: Rgb, sharp: Rgb, config: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Augment a blurred and a sharp patch in the same way, except for the input's noise.

    (P, P, 3) uint8 to (3, P, P) float32 in [0, 1].
    """
    draw = draw_augmentation(config, rng)
    if draw.sharp_to_sharp:
        blurred = sharp

    def placed(patch: Rgb) -> NDArray[np.float32]:
        turned = draw.oriented(patch).transpose(2, 0, 1)
        planes = turned[list(draw.channels)].astype(np.float32)
        planes /= 255
        if draw.saturation is not None:
            # Scaling HSV saturation with hue and value fixed moves each channel on the line
            # through the largest one; what leaves [0, 1] is clipped, as the recipes do.
            value = planes.max(axis=0)
            planes = np.clip(value - (value - planes) * np.float32(draw.saturation), 0, 1)
        return planes

    blurred_planes, sharp_planes = placed(blurred), placed(sharp)
    if draw.noise_sigma:
        noise = rng.standard_normal(blurred_planes.shape, dtype=np.float32)
        blurred_planes = np.clip(blurred_planes + np.float32(draw.noise_sigma) * noise, 0, 1)
    return blurred_planes, sharp_planes


class Patches:
    """Batches of augmented patches, each a pure function of the seed and its number."""

    def __init__(self, frames: FramePairs, config: PatchConfig, seed: int) -> None:
        self.frames = frames
        self.config = config
        self.seed = seed
        sequences: dict[str, list[int]] = {}
        for index, name in enumerate(frames.names):
            sequences.setdefault(name.partition("/")[0], []).append(index)
        self._sequences = list(sequences.values())

    def batch(self, number: int, indices: range, *, pin: bool = False) -> Batch:
        """The places ``indices`` of global batch ``number``.

        ``pin`` takes pinned memory, from which a GPU copies in the background.

        Raises:
            InputError: An image is smaller than a patch, or unreadable.
        """
        shape = (len(indices), 3, self.config.patch_px, self.config.patch_px)
        blurred, sharp = (torch.empty(shape, pin_memory=pin) for _ in range(2))
        for place, index in enumerate(indices):
            one_blurred, one_sharp = self.sample(number, index)
            blurred[place] = torch.from_numpy(one_blurred)
            sharp[place] = torch.from_numpy(one_sharp)
        return Batch(blurred=blurred, sharp=sharp)

    def sample(self, number: int, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Blurred and sharp patch at place ``index`` of global batch ``number``: (3, P, P)."""
        which, top, left, rng = self.place(number, index)
        blurred, sharp = self.frames.frames(which)
        size = self.config.patch_px
        window = np.s_[top : top + size, left : left + size]
        return augment(blurred[window], sharp[window], self.config.augmentation, rng)

    def place(self, number: int, index: int) -> tuple[int, int, int, np.random.Generator]:
        """Where a patch is cut: pair, first row, first column, and the generator of augmentation.

        Raises:
            InputError: The image is smaller than a patch, or unreadable.
        """
        rng = np.random.default_rng([self.seed, number, index])
        if self.config.draw == "sequence":
            sequence = self._sequences[rng.integers(len(self._sequences))]
            which = sequence[rng.integers(len(sequence))]
        else:
            epoch, position = divmod(number * self.config.batch + index, len(self.frames))
            which = _permutation(self.seed, epoch, len(self.frames))[position]
        size, step = self.config.patch_px, self.config.crop_alignment_px
        height, width = self.frames.size_hw(which)
        if min(height, width) < size:
            raise InputError(
                f"{self.frames.names[which]}: {width}x{height} is smaller than a patch of "
                f"{size}x{size}; use a smaller patch_px."
            )
        top, left = (step * int(rng.integers((n - size) // step + 1)) for n in (height, width))
        return which, top, left, rng


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, n: int) -> Sequence[int]:
    order: Sequence[int] = np.random.default_rng([seed, epoch, 0, 1]).permutation(n).tolist()
    return order
