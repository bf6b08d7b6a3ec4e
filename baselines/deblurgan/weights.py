"""Weights of DeblurGAN in the files of its released code."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from baselines.checkpoints.tensors import load_into
from baselines.deblurgan.network import Generator, to_signed
from gopro_tools.errors import InputError

log = logging.getLogger(__name__)

_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")


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
    norms = {
        name for name, layer in network.named_modules() if isinstance(layer, nn.InstanceNorm2d)
    }
    used = {
        name: tensor
        for name, tensor in tensors.items()
        if not (name.endswith(_STATISTICS) and name.rpartition(".")[0] in norms)
    }
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


_RESEMBLES = 0.5


def output_resemblance(network: Generator) -> float:
    """How much of an image its output contains: about 0 or 1, with or without the skip.

    With the skip the layers return a small correction; without it they must return the image.

    Returns:
        The slope of output over input, for noise with the spectrum of photographs.
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
