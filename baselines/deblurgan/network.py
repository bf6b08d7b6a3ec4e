"""DeblurGAN, the conditional Wasserstein GAN of Kupyn et al. (CVPR 2018).

A generator with nine residual blocks at a quarter of the size adds a correction to the blurred
image; a PatchGAN critic and the features of VGG19 judge the result.

| point            | paper                    | released code               | here               |
|------------------|--------------------------|-----------------------------|--------------------|
| skip from input  | yes                      | only with --learn_residual  | `learn_residual`   |
| to output        |                          |                             |                    |
| gradient penalty | WGAN-GP: one gradient    | one per pixel, over its     | `gradient_norm`    |
|                  | norm per image           | channels (issue 185)        |                    |
| sharp-restored   | WGAN-GP: one weight      | one weight per batch        | `penalty_alpha`    |
| mixture          | per image                |                             |                    |
| critic steps     | 5, a batch each          | 5, all on the same batch    | `critic_batches`   |
| content features | VGG19 conv3_3 after ReLU | before the ReLU             | `vgg_layer`        |
| input of VGG19   | not said, so as trained  | [-1, 1], not normalised     | `vgg_input`        |
| Adam             | learning rate 1e-4       | the same, betas 0.5, 0.999  | the code's         |
| first weights    | not said                 | normal, deviation 0.02      | the code's         |
| test time        | dropout stays on         | the same                    | `dropout_at_test`  |
| training frames  | halved, crops of 256     | resized to 640x360, crops   | `patches`          |
|                  |                          | of 256, mirrored            |                    |
| tested on        | not said                 | a random crop of 256        | whole images       |
| 8-bit output     | not said                 | truncated                   | `output_rounding`  |
| residual block   | two convolutions         | two; by accident one since  | two                |
|                  |                          | March 2019 (issues 145, 168)|                    |

Where the paper is silent the preset `paper` follows the code, except for the rounding. Sources: the
paper; the repository KupynOrest/DeblurGAN, whose issues are cited.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.checkpoints.tensors import load_into
from baselines.deepdeblur.pyramid import pad_to_multiple
from gopro_tools.errors import InputError

log = logging.getLogger(__name__)

_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
_RESEMBLES = 0.5


class Generator(nn.Module):
    """Restores a blurred image by adding a learned correction to it.

    The layers lie in one sequence in the order of the released code, so its weights load by name.
    """

    def __init__(
        self,
        n_features: int = 64,
        n_blocks: int = 9,
        dropout: float = 0.5,
        dropout_at_test: bool = True,
        learn_residual: bool = True,
        up_kernel_px: int = 3,
    ) -> None:
        """Make the layers, their weights normal with deviation 0.02 and their biases zero.

        The first four arguments are those of `DeblurGanRecipe`; where `eval()` leaves dropout on,
        seed torch to repeat a result. With ``learn_residual`` the layers give a correction (the
        paper), without it the restored image itself (the released code unless it is run with the
        option of this name). Kernels that double the size have a side of ``up_kernel_px``: 3 in the
        released code, 4 in variants of it, which avoid the checkerboard of an odd size.
        """
        super().__init__()
        c = n_features

        def doubled(n_in: int, n_out: int) -> nn.Module:
            odd = 4 - up_kernel_px  # what a kernel of 3 lacks to double the size exactly
            return nn.ConvTranspose2d(n_in, n_out, up_kernel_px, 2, padding=1, output_padding=odd)

        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, c, 7),
            nn.InstanceNorm2d(c),
            nn.ReLU(),
            nn.Conv2d(c, 2 * c, 3, stride=2, padding=1),
            nn.InstanceNorm2d(2 * c),
            nn.ReLU(),
            nn.Conv2d(2 * c, 4 * c, 3, stride=2, padding=1),
            nn.InstanceNorm2d(4 * c),
            nn.ReLU(),
            *(ResBlock(4 * c, dropout, dropout_at_test) for _ in range(n_blocks)),
            doubled(4 * c, 2 * c),
            nn.InstanceNorm2d(2 * c),
            nn.ReLU(),
            doubled(2 * c, c),
            nn.InstanceNorm2d(c),
            nn.ReLU(),
            nn.ReflectionPad2d(3),
            nn.Conv2d(c, 3, 7),
            nn.Tanh(),
        )
        self.architecture: dict[str, Any] = {
            "n_features": n_features,
            "n_blocks": n_blocks,
            "dropout": dropout,
            "dropout_at_test": dropout_at_test,
            "up_kernel_px": up_kernel_px,
            "learn_residual": learn_residual,
        }
        self.apply(_initialise)

    def forward(self, blurred: Tensor) -> Tensor:
        """Restore (N, 3, H, W) images in [0, 1], of any size: clamped, in the input's dtype.

        They are padded inside to a multiple of 4; the layers work in [-1, 1].
        """
        height, width = blurred.shape[-2:]
        signed = to_signed(pad_to_multiple(blurred, 4, least=8))
        restored: Tensor = self.model(signed).to(signed.dtype)
        if self.architecture["learn_residual"]:
            restored = torch.clamp(signed + restored, -1, 1)
        return from_signed(restored)[..., :height, :width]


@torch.no_grad()
def start_without_correction(network: Generator) -> None:
    """Set the last convolution to zero, so that the blurred image comes back: not as in the code.

    With the code's first weights the correction starts as noise, and a short training is spent on
    removing it again, most of all where little is to be corrected.
    """
    last = network.model[-2]
    assert isinstance(last, nn.Conv2d)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]


class ResBlock(nn.Module):
    """Two reflect-padded convolutions with instance norm, dropout between them, plus the input."""

    is_repeated_block = True

    def __init__(self, n_features: int, dropout: float, dropout_at_test: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(n_features, n_features, 3),
            nn.InstanceNorm2d(n_features),
            nn.ReLU(),
            Dropout(dropout, dropout_at_test),
            nn.ReflectionPad2d(1),
            nn.Conv2d(n_features, n_features, 3),
            nn.InstanceNorm2d(n_features),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        change: Tensor = self.conv_block(features)
        return features + change


class Dropout(nn.Dropout):
    """Dropout that `eval()` may leave on."""

    def __init__(self, share: float, at_test: bool) -> None:
        super().__init__(share)
        self.at_test = at_test

    def forward(self, features: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return F.dropout(features, self.p, training=self.training or self.at_test)


class Critic(nn.Module):
    """The PatchGAN critic: a score for each patch of an image, higher for sharp ones; no sigmoid.

    It judges the image alone, without the blurred one.
    """

    def __init__(self, n_features: int = 64) -> None:
        """Make the layers; three of them halve the image, two more do not."""
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, n_features, 4, 2, padding=2), nn.LeakyReLU(0.2)]
        for k, stride in enumerate((2, 2, 1), start=1):
            n_out = n_features * 2**k
            layers += [
                nn.Conv2d(n_out // 2, n_out, 4, stride, padding=2),
                nn.InstanceNorm2d(n_out),
                nn.LeakyReLU(0.2),
            ]
        self.model = nn.Sequential(*layers, nn.Conv2d(8 * n_features, 1, 4, padding=2))
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to (N, 1, h, w) scores, about an eighth of the size."""
        scores: Tensor = self.model(to_signed(images))
        return scores


def to_signed(images: Tensor) -> Tensor:
    """[0, 1] to [-1, 1]."""
    return images * 2 - 1


def from_signed(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1]."""
    return (images + 1) / 2


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def load_deblurgan(tensors: Mapping[str, Tensor], path: Path) -> Generator | None:
    """DeblurGAN's ResNet generator: its shape is read off names and shapes of the tensors.

    Whether it was trained with the skip from input to output is not stored; `output_resemblance`
    shows it.

    Raises:
        InputError: Tensors do not fit, as those of the later code, whose blocks lost a convolution
            to operator precedence (its issues 145 and 168).
    """
    if not any(".conv_block." in name for name in tensors):
        return None
    blocks: dict[str, set[str]] = {}
    for name in tensors:
        if match := re.match(r"model\.(\d+)\.conv_block\.(\d+)\.weight$", name):
            blocks.setdefault(match[1], set()).add(match[2])
    if blocks and all(convolutions == {"1"} for convolutions in blocks.values()):
        raise InputError(
            f"{path}: a generator of DeblurGAN's code since March 2019, whose blocks have one "
            "convolution instead of two by mistake; use the published file, or train anew."
        )
    first, up = (tensors.get(f"model.{place}.weight") for place in (1, 10 + len(blocks)))
    # Without dropout, which has no weights, the second convolution moves up by one.
    without_dropout = any("5" in convolutions for convolutions in blocks.values())
    network = Generator(
        n_features=64 if first is None else len(first),
        n_blocks=len(blocks),
        dropout=0.0 if without_dropout else 0.5,
        up_kernel_px=4 if up is not None and up.shape[-2:] == (4, 4) else 3,
    )

    def name_in_file(ours: str) -> str:
        return ours.replace("conv_block.6.", "conv_block.5.") if without_dropout else ours

    # Kept by instance norm in old versions of PyTorch and in the later code; neither reads them.
    used = {name: tensor for name, tensor in tensors.items() if not name.endswith(_STATISTICS)}
    load_into(network, used, f"{path} (DeblurGAN)", name_in_file)
    resemblance = output_resemblance(network)
    if resemblance > _RESEMBLES:
        network.architecture["learn_residual"] = False
        log.warning(
            "%s: this generator returns images rather than corrections (its output has %.2f of a "
            "test image), so it was trained without --learn_residual. Its output is used as the "
            "restored image, not added to the blurred one.",
            path,
            resemblance,
        )
    return network


def output_resemblance(network: Generator) -> float:
    """The slope of output over input for noise with the spectrum of photographs.

    It is about 0 with the skip, where the layers return a small correction, and about 1 without it,
    where they must return the image.
    """
    side = 128
    noise = torch.randn(3, side, side, generator=torch.Generator().manual_seed(0))
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])
    image = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency.clamp(min=1 / side))
    image = (0.5 + 0.2 * image / image.std()).clamp(0, 1)
    signed = to_signed(image)[None]
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):  # dropout stays on
        output = network.eval().model(signed)
    centred = signed - signed.mean()
    return float((output * centred).sum() / centred.square().sum())
