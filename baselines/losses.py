"""The losses of DeepDeblur and DeblurGAN, each with the forms of its paper and of its code.

The generators' adversarial losses are the non-saturating ones, as in both released codes. Where
the forms differ, the tables of `deepdeblur.network` and `deblurgan.network` say how.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.deblurgan.method import GradientNorm, PenaltyAlpha
from baselines.deblurgan.network import from_signed, to_signed


def multi_scale_loss(
    restored: Sequence[Tensor],
    sharp: Sequence[Tensor],
    norm: Literal["mse", "l1"] = "mse",
    scale_weights: Literal["paper", "sum"] = "paper",
) -> Tensor:
    """DeepDeblur's content loss over the K images of network and pyramid, fine to coarse.

    Squared (the paper, Torch7) or absolute differences (the PyTorch release) are averaged over each
    scale; the paper divides their sum by 2 K, both releases do not.
    """
    difference = F.mse_loss if norm == "mse" else F.l1_loss
    total = torch.stack(
        [difference(_precise(r), _precise(s)) for r, s in zip(restored, sharp, strict=True)]
    ).sum()
    return total / (2 * len(restored)) if scale_weights == "paper" else total


def adversarial_loss(logits: Tensor, *, labelled_sharp: bool, in_bits: bool = False) -> Tensor:
    """Cross entropy between the discriminator's output and a label.

    The discriminator's loss is the sum for sharp images labelled sharp and for restored ones
    labelled not sharp; the generator's is for restored images labelled sharp. ``in_bits`` divides
    by log 2, as the Torch7 code does: an undecided discriminator costs 1.
    """
    logits = _precise(logits)
    labels = torch.full_like(logits, float(labelled_sharp))
    loss = F.binary_cross_entropy_with_logits(logits, labels)
    return loss / math.log(2) if in_bits else loss


def critic_loss(scores_sharp: Tensor, scores_restored: Tensor) -> Tensor:
    """What DeblurGAN's critic minimises, beside the gradient penalty: restored minus sharp."""
    return _precise(scores_restored).mean() - _precise(scores_sharp).mean()


def generator_loss(scores_restored: Tensor) -> Tensor:
    """What DeblurGAN's generator minimises, beside the content loss."""
    return -_precise(scores_restored).mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    sharp: Tensor,
    restored: Tensor,
    norm: GradientNorm = "image",
    alpha: PenaltyAlpha = "image",
    generator: torch.Generator | None = None,
) -> Tensor:
    """How far the critic's gradient is from norm 1 between sharp and restored images.

    mean((|gradient| - 1)^2), without its weight (10 in WGAN-GP and in DeblurGAN). The gradient is
    the one with respect to images in [-1, 1], the range in which the critic works; it would be
    twice as long in [0, 1].

    Args:
        critic: (N, 3, H, W) images in [0, 1] to scores of any shape; not compiled, as
            `torch.compile` cannot differentiate twice.
        sharp: (N, 3, H, W) in [0, 1].
        restored: The same; no gradient flows into either.
        norm: "image" takes the norm over all values of an image (Gulrajani et al. 2017, equation
            3), "pixel" over the channels of each pixel, as the released code does.
        alpha: Whether each image, or only the batch, draws its own random mixing weight.
        generator: Source of the weights instead of torch's own.
    """
    n_draws = len(sharp) if alpha == "image" else 1
    weight = torch.rand(
        (n_draws, 1, 1, 1), generator=generator, device=sharp.device, dtype=sharp.dtype
    )
    mixed = weight * sharp.detach() + (1 - weight) * restored.detach()
    signed = to_signed(mixed).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(from_signed(signed)).sum(), signed, create_graph=True)
    lengths: Tensor = torch.linalg.vector_norm(
        _precise(gradient), dim=(1, 2, 3) if norm == "image" else 1
    )
    return (lengths - 1).square().mean()


def perceptual_loss(features: nn.Module, restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean squared difference of features, DeblurGAN's content loss without its weight of 100.

    Images are (N, 3, H, W) in [0, 1]; no gradient flows into the sharp ones.
    """
    with torch.no_grad():
        wanted = features(sharp)
    return F.mse_loss(_precise(features(restored)), _precise(wanted))


def _precise(values: Tensor) -> Tensor:
    """At least float32: means over an image lose too much in half precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
