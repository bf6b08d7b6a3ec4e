"""DeepDeblur, the multi-scale network of Nah, Kim and Lee (CVPR 2017), and its discriminator.

One residual network per scale, no weights shared. The coarsest sees the blurred image alone; each
finer one also sees the enlarged restoration of the scale below.

| point         | paper               | released code                | here                        |
|---------------|---------------------|------------------------------|-----------------------------|
| depth         | 120 convolutions    | 40 per scale (19 blocks),    | the paper's by default,     |
|               | for any K (issue 6) | whatever K is                | `n_resblocks=19` for both   |
| pyramid       | "Gaussian pyramid"  | Torch7: 3x3, zeros outside;  | both, `pyramid=`; the first |
|               |                     | PyTorch: scikit-image's      | trained the published rows  |
| range         | not said            | Torch7: [0, 1] less 0.5;     | [0, 1] less 0.5; dividing   |
|               |                     | PyTorch: [0, 255] less 127.5 | all biases by 255 converts  |
| discriminator | 9 convolutions and  | one more, with stride 1,     | paper and Torch7, `layout=` |
|               | a dense layer       | before them (issue 7);       |                             |
|               |                     | PyTorch: no last bias        |                             |
| content loss  | mean squares, sum   | Torch7: the sum of the mean  | all, `content_loss`,        |
|               | of scales / (2 K)   | squares; PyTorch: of the     | `loss_reduction`            |
|               |                     | mean absolute differences    |                             |
| adversarial   | cross entropy,      | Torch7: in bits; PyTorch:    | `adversarial_in_bits`,      |
| loss          | weight 1e-4         | in nats, weight 1            | `adversarial_weight`        |
| first weights | not said            | Torch7's default             | PyTorch's default, the same |
|               |                     | (issue 17)                   | uniform ±1/sqrt(fan_in)     |
| other sizes   | not said            | last row, column repeated    | the same, cropped again     |

Sources: the paper; the repositories SeungjunNah/DeepDeblur_release (Torch7; the issues
are its), SeungjunNah/DeepDeblur-PyTorch and torch/image (`gaussianpyramid`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.checkpoints.tensors import load_into
from baselines.deepdeblur.method import DiscriminatorLayout, PyramidKind
from baselines.deepdeblur.pyramid import cropped_level, pad_to_multiple, pyramid
from gopro_tools.errors import InputError

PAPER_N_RESBLOCKS = {1: 59, 2: 29, 3: 19}
"""Residual blocks per scale, by number of scales: 2 R + 2 convolutions each, 120 in all."""


class DeepDeblur(nn.Module):
    """Restores a blurred image from coarse to fine.

    Works under `torch.compile`, channels_last and autocast: the pyramid is always computed in the
    precision of the input, and the restored images come back in it.
    """

    def __init__(
        self,
        n_scales: int = 3,
        n_resblocks: int | None = None,
        n_features: int = 64,
        pyramid: PyramidKind = "torch7",
    ) -> None:
        """Make the networks of all scales; see `DeepDeblurRecipe` for the arguments.

        Raises:
            InputError: A count is not positive, or the paper gives no depth for the number of
                scales and none is named.
        """
        super().__init__()
        asked = f"n_scales={n_scales}, n_resblocks={n_resblocks}, n_features={n_features}"
        if n_resblocks is None:
            n_resblocks = PAPER_N_RESBLOCKS.get(n_scales, 0)
        if min(n_scales, n_resblocks, n_features) < 1:
            raise InputError(
                f"{asked}: each must be at least 1, and n_resblocks is needed for other n_scales "
                "than the paper's 1, 2 and 3."
            )
        self.architecture: dict[str, Any] = {
            "n_scales": n_scales,
            "n_resblocks": n_resblocks,
            "n_features": n_features,
            "pyramid": pyramid,
        }
        self.n_scales = n_scales
        self.pyramid_kind = pyramid
        # Index 0 is the finest scale; only the coarsest has no restoration from below to look at.
        self.scale_networks = nn.ModuleList(
            _residual_network(3 if k == n_scales - 1 else 6, n_resblocks, n_features)
            for k in range(n_scales)
        )
        # Entry k takes the restoration of scale k + 1 to the size of scale k.
        self.up_convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, 12, 5, padding=2), nn.PixelShuffle(2))
            for _ in range(n_scales - 1)
        )

    @property
    def receptive_radius_px(self) -> int:
        """How far an output pixel sees to each side, in pixels of the finest scale."""
        own = 4 * int(self.architecture["n_resblocks"]) + 4  # 2 R + 2 convolutions, two pixels each
        down = 1 if self.pyramid_kind == "torch7" else 4
        radius = own
        for k in range(1, self.n_scales):
            radius += 2 ** (k - 1) * down + 2**k * (2 + own)
        return radius

    def forward(self, blurred: Tensor) -> list[Tensor]:
        """Restore a batch of blurred images.

        Args:
            blurred: (N, 3, H, W) floats in [0, 1], of any size.

        Returns:
            K restored images from fine to coarse, level k of (N, 3, ceil(H / 2^k), ceil(W / 2^k)),
            not clamped. The first is the result; the others are for the loss.
        """
        size_hw = blurred.shape[-2:]
        levels = pyramid(
            pad_to_multiple(blurred, 2 ** (self.n_scales - 1)), self.n_scales, self.pyramid_kind
        )
        restored: list[Tensor] = []  # coarse to fine, centred on 0
        for k in reversed(range(self.n_scales)):
            seen = levels[k] - 0.5
            if restored:
                enlarged = self.up_convolutions[k](restored[-1])
                seen = torch.cat([seen, enlarged.to(seen.dtype)], dim=1)
            restored.append(self._restored_scale(k, seen))
        return [
            cropped_level(centred.to(blurred.dtype) + 0.5, size_hw, k)
            for k, centred in enumerate(reversed(restored))
        ]

    def _restored_scale(self, k: int, seen: Tensor) -> Tensor:
        """The network of one scale; its input and result are centred on 0.

        Autocast applies to the blocks alone. The image passes through the sum that they add to;
        bfloat16 has too few bits for it: dozens of roundings add up to a code value or more.
        """
        first, *blocks, last = self.scale_networks[k].children()
        with torch.autocast(seen.device.type, enabled=False):
            features = first(seen)
        for block in blocks:
            features = block(features)
        with torch.autocast(seen.device.type, enabled=False):
            restored: Tensor = last(features)
        return restored


@torch.no_grad()
def start_as_identity(network: DeepDeblur) -> None:
    """Set the weights so that every scale returns its input, which the paper does not do.

    Without a skip from input to output, a network with the default weights spends most of a short
    training on learning to copy. Here three features carry the image from the first convolution to
    the last, and the second convolution of each block starts at zero; other weights stay random.
    """
    if (n_features := network.architecture["n_features"]) < 3:
        raise InputError(f"n_features={n_features}: at least 3 carry an image's colours.")
    for layers in network.scale_networks.children():
        first, *blocks, last = (dict(layer.named_parameters()) for layer in layers.children())
        for convolution in (first, last):
            nn.init.dirac_(convolution["weight"][:3])
            nn.init.zeros_(convolution["bias"][:3])
        for block in blocks:
            nn.init.zeros_(block["conv2.weight"])
            nn.init.zeros_(block["conv2.bias"])


class ResBlock(nn.Module):
    """Convolution, ReLU, convolution, plus the input: no batch norm, no ReLU after the sum."""

    is_repeated_block = True

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_features, n_features, 5, padding=2)
        self.conv2 = nn.Conv2d(n_features, n_features, 5, padding=2)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        change: Tensor = self.conv2(F.relu(self.conv1(features)))
        return features + change


def _residual_network(n_in: int, n_resblocks: int, n_features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_features, 5, padding=2),
        *(ResBlock(n_features) for _ in range(n_resblocks)),
        nn.Conv2d(n_features, 3, 5, padding=2),
    )


class Discriminator(nn.Module):
    """Classifies images as sharp or restored: 5x5 convolutions without bias, LeakyReLU 0.2.

    It takes patches of one size, which its strides reduce to a single value.
    """

    def __init__(self, layout: DiscriminatorLayout = "paper", patch_px: int = 256) -> None:
        """Make the layers.

        Args:
            layout: "paper" starts with 3 -> 32, stride 2; "torch7" has one more convolution before
                it, 3 -> 32 with stride 1 (issue 7 of the release).
            patch_px: Side of the patches, a multiple of 64, or InputError; the last large kernel
                covers what the strides leave of them: 4x4 for 256.
        """
        super().__init__()
        if patch_px < 64 or patch_px % 64:
            raise InputError(
                f"patch_px={patch_px}: the discriminator needs patches of a multiple of 64 pixels. "
                "Change the patch size or turn the adversarial loss off."
            )
        # Channels and strides of the 5x5 convolutions.
        plan = [(32, 2), (64, 1), (64, 2), (128, 1), (128, 4), (256, 1), (256, 4), (512, 1)]
        if layout == "torch7":
            plan.insert(0, (32, 1))
        layers: list[nn.Module] = []
        n_in = 3
        for n_out, stride in plan:
            layers += [nn.Conv2d(n_in, n_out, 5, stride, padding=2, bias=False), nn.LeakyReLU(0.2)]
            n_in = n_out
        layers += [nn.Conv2d(n_in, n_in, patch_px // 64, bias=False), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(n_in, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, patch_px, patch_px) in [0, 1] to (N,) logits.

        The sigmoid that ends both the paper's and the released network is part of the loss here,
        where it does not saturate.
        """
        logits: Tensor = self.layers(images)
        return logits.flatten()


def load_deepdeblur_pytorch(tensors: Mapping[str, Tensor], path: Path) -> DeepDeblur | None:
    """DeepDeblur-PyTorch's MSResNet: depth and width are read off its names and shapes.

    It works on 0..255 less 127.5, and ours on 0..1 less 0.5, so biases are divided by 255. That is
    exact but for rounding: convolution, ReLU, sum and pixel shuffle without biases commute with a
    positive factor; if y = W x + b, then y / 255 = W (x / 255) + b / 255, layer after layer.
    """
    if not any(name.startswith("body_models.") for name in tensors):
        return None
    places = [re.match(r"body_models\.(\d+)\.body\.(\d+)\.", name) for name in tensors]
    scales = {int(place[1]) for place in places if place}
    n_convolved = max((int(place[2]) for place in places if place), default=0)
    first = tensors.get("body_models.0.body.0.weight")
    network = DeepDeblur(
        n_scales=len(scales),
        n_resblocks=max(n_convolved - 1, 1),
        n_features=64 if first is None else len(first),
        pyramid="pytorch-release",
    )
    scaled = {
        name: tensor.float() / 255 if name.endswith(".bias") else tensor
        for name, tensor in tensors.items()
    }
    load_into(network, scaled, f"{path} (DeepDeblur-PyTorch)", _deepdeblur_pytorch_name)
    return network


def _deepdeblur_pytorch_name(ours: str) -> str:
    """`scale_networks.0.4.conv2.bias` -> `body_models.0.body.4.body.2.bias`, and so on."""
    owner, index, *rest = ours.split(".")
    if owner == "up_convolutions":  # the release counts them by the scale they come from
        return ".".join(["conv_end_models", str(int(index) + 1), "uppath", *rest])
    inside = {"conv1": "body.0", "conv2": "body.2"}
    return ".".join(["body_models", index, "body", *(inside.get(part, part) for part in rest)])
