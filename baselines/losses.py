"""The losses of DeepDeblur and DeblurGAN, each with the forms of its paper and of its code.

| loss             | paper                        | released code                | here            |
|------------------|------------------------------|------------------------------|-----------------|
| DeepDeblur       | 1/(2K) of the sum of the     | Torch7: the sum of the mean  | `scale_weights` |
| content          | mean squares of all scales   | squares; PyTorch: of the     | and `norm`      |
|                  |                              | mean absolute differences    |                 |
| DeepDeblur       | cross entropy, weight 1e-4   | Torch7: in bits (over log 2);| `in_bits`       |
| adversarial      |                              | PyTorch: in nats, weight 1   |                 |
| DeblurGAN        | WGAN-GP: a gradient norm     | a norm a pixel,              | `norm`,         |
| gradient penalty | and a mixture an image       | a mixture a batch            | `alpha`         |
| DeblurGAN        | VGG19 conv3_3 after its ReLU | before the ReLU, input not   | `Vgg19Conv33`   |
| content          |                              | normalised                   |                 |

The generators' adversarial losses are the non-saturating ones, as in both released codes.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.checkpoints import load_into, read_tensors
from baselines.deblurgan.network import (
    ContentLayer,
    GradientNorm,
    PenaltyAlpha,
    VggInput,
    from_signed,
    to_signed,
)
from gopro_tools.errors import InputError

DEEPDEBLUR_ADVERSARIAL_WEIGHT = 1e-4
"""Weight of DeepDeblur's adversarial loss beside the content loss (the paper's lambda)."""


def multi_scale_loss(
    restored: Sequence[Tensor],
    sharp: Sequence[Tensor],
    norm: Literal["mse", "l1"] = "mse",
    scale_weights: Literal["paper", "sum"] = "paper",
) -> Tensor:
    """DeepDeblur's content loss, the paper's L_cont or what its codes compute.

    Args:
        restored: The network's K images, fine to coarse, each (N, 3, h, w).
        sharp: The pyramid of the sharp image (`baselines.deepdeblur.pyramid`), shaped the same.
        norm: Squared or absolute differences, averaged over each scale.
        scale_weights: "paper" divides the sum over the scales by 2 K; "sum", as both released
            codes do, does not.
    """
    difference = F.mse_loss if norm == "mse" else F.l1_loss
    total = torch.stack(
        [difference(_precise(r), _precise(s)) for r, s in zip(restored, sharp, strict=True)]
    ).sum()
    return total / (2 * len(restored)) if scale_weights == "paper" else total


def adversarial_loss(logits: Tensor, *, labelled_sharp: bool, in_bits: bool = False) -> Tensor:
    """Cross entropy between the discriminator's opinion and a label.

    The discriminator's loss is the sum of it on sharp images labelled sharp and on restored ones
    labelled not sharp; the generator's, its restored images labelled sharp. Neither carries a
    weight; see `DEEPDEBLUR_ADVERSARIAL_WEIGHT`.

    Args:
        logits: The discriminator's output, of any shape, before the sigmoid.
        labelled_sharp: The label.
        in_bits: Divide by log 2, as the Torch7 code does: an undecided discriminator costs 1.
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
        critic: Takes (N, 3, H, W) images in [0, 1], gives scores of any shape; not compiled, as
            `torch.compile` cannot differentiate twice.
        sharp: (N, 3, H, W) in [0, 1].
        restored: The same; no gradient flows into it.
        norm: "image" takes the norm over all values of an image (Gulrajani et al. 2017, equation
            3), "pixel" over the channels of each pixel, as the released code does.
        alpha: Whether each image, or only the batch, draws its own random mixing weight.
        generator: Source of the weights, in place of torch's own.
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

    Args:
        features: See `content_features`.
        restored: (N, 3, H, W) in [0, 1].
        sharp: The same; no gradient flows into it.
    """
    with torch.no_grad():
        wanted = features(sharp)
    return F.mse_loss(_precise(features(restored)), _precise(wanted))


def _precise(values: Tensor) -> Tensor:
    """At least float32: means over an image lose too much in half precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


# Place in torchvision's `features`, Caffe's name, channels in and out; pools after 2 and 7.
_VGG19_LAYERS = (
    (0, "conv1_1", 3, 64),
    (2, "conv1_2", 64, 64),
    (5, "conv2_1", 64, 128),
    (7, "conv2_2", 128, 128),
    (10, "conv3_1", 128, 256),
    (12, "conv3_2", 256, 256),
    (14, "conv3_3", 256, 256),
)

# Of images in [0, 1], in the network's order of channels.
_INPUT_MEAN_AND_DEVIATION = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "signed": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "caffe": ((103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255, 1 / 255, 1 / 255)),  # BGR
}


class Vgg19Conv33(nn.Module):
    """VGG19 up to conv3_3 with fixed, trained weights; the rest of the network is not kept."""

    def __init__(
        self,
        weights: Path | None = None,
        layer: ContentLayer = "relu3_3",
        network_input: VggInput = "imagenet",
    ) -> None:
        """Load the weights from a file; nothing is ever downloaded or left at random.

        Args:
            weights: torchvision's file, or any PyTorch or safetensors file with those
                layers under torchvision's names (`features.0.weight`, or `0.weight`) or Caffe's
                (`conv1_1.weight`). None looks for torchvision's file where torch keeps downloads.
            layer: Features of conv3_3 before ("conv3_3") or after ("relu3_3") its ReLU, or of
                conv3_1 after its ReLU ("relu3_1").
            network_input: What the weights expect: "imagenet" for torchvision's; "caffe" for
                those of the original Caffe model (BGR, 0..255, mean subtracted); "signed" for the
                released DeblurGAN, which passes [-1, 1] as it is to torchvision's.

        Raises:
            InputError: There is no such file, it lacks a layer or has it in another shape (all
                are listed), or it has Caffe's names but not Caffe's input.
        """
        super().__init__()
        path = weights or _torchvision_file()
        found = read_tensors(path)
        names, problems = {}, []
        is_caffe = "conv1_1.weight" in found
        prefix = "features." if "features.0.weight" in found else ""
        for place, caffe_name, n_in, n_out in _VGG19_LAYERS:
            stem = caffe_name if is_caffe else f"{prefix}{place}"
            for kind, shape in (("weight", (n_out, n_in, 3, 3)), ("bias", (n_out,))):
                name = f"{stem}.{kind}"
                if name not in found:
                    problems.append(f"{name}: missing")
                elif tuple(found[name].shape) != shape:
                    problems.append(f"{name}: {tuple(found[name].shape)}, expected {shape}")
                else:
                    names[f"{place}.{kind}"] = name
        later = ("conv4_1", "conv3_4") if is_caffe else (f"{prefix}17", f"{prefix}16")
        if f"{later[0]}.weight" in found and f"{later[1]}.weight" not in found:
            problems.append(f"{later[0]}.weight without {later[1]}.weight: this is VGG16")
        if problems:
            raise InputError(
                f"{path}: these are not the weights of VGG19 up to conv3_3:\n  "
                + "\n  ".join(problems)
                + f"\n{_WHERE_TO_GET_VGG}"
            )
        if is_caffe and network_input != "caffe":
            raise InputError(
                f"{path}: its names are Caffe's, so its weights expect BGR in 0..255 minus a mean, "
                f'but the network input is "{network_input}". Choose "caffe".'
            )
        self.layers = nn.Sequential()
        for place, _, n_in, n_out in _VGG19_LAYERS:
            if place in (5, 10):
                self.layers.append(nn.MaxPool2d(2))
            self.layers.append(nn.Conv2d(n_in, n_out, 3, padding=1))
            self.layers.append(nn.ReLU())
        self.layers.load_state_dict({ours: found[name] for ours, name in names.items()})
        if layer == "conv3_3":
            self.layers.pop(-1)
        elif layer == "relu3_1":
            self.layers = self.layers[:-4]
        self.network_input = network_input
        mean, deviation = _INPUT_MEAN_AND_DEVIATION[network_input]
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1))
        self.requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features of (N, 3, H, W) RGB images in [0, 1]: (N, 256, H // 4, W // 4)."""
        if self.network_input == "caffe":
            images = images.flip(1)
        features: Tensor = self.layers((images - self.mean) / self.deviation)
        return features


class NormalisedVgg19(nn.Module):
    """VGG19 up to conv3_1 with weights scaled so that activations have a mean of about 1.

    Such weights (Gatys et al. 2016's normalisation, common in style transfer) come with a first 1x1
    convolution that takes RGB in [0, 1] to what the network expects; borders are reflected, and
    pooling keeps what is left of an odd row or column.
    """

    def __init__(self, weights: Path) -> None:
        """Load the weights.

        Args:
            weights: A file of named tensors: ``0.weight`` (3, 3, 1, 1), then 2, 5, 9, 12 and 16 for
                conv1_1, conv1_2, conv2_1, conv2_2 and conv3_1.

        Raises:
            InputError: There is no such file, it lacks a layer or has it in another shape.
        """
        super().__init__()
        layers: dict[str, nn.Module] = {"0": nn.Conv2d(3, 3, 1)}
        for place, (n_in, n_out) in _NORMALISED_LAYERS.items():
            if place in _NORMALISED_POOLED:
                layers[str(place - 2)] = nn.MaxPool2d(2, ceil_mode=True)
            convolution = nn.Conv2d(n_in, n_out, 3, padding=1, padding_mode="reflect")
            layers |= {str(place): convolution, str(place + 1): nn.ReLU()}
        self.layers = nn.Sequential(OrderedDict(layers))
        load_into(self.layers, read_tensors(weights), weights)
        self.requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features of (N, 3, H, W) RGB in [0, 1], sides 5 or more: (N, 256, H / 4, W / 4)."""
        features: Tensor = self.layers(images)
        return features


_NORMALISED_LAYERS = {2: (3, 64), 5: (64, 64), 9: (64, 128), 12: (128, 128), 16: (128, 256)}
_NORMALISED_POOLED = (9, 16)


def content_features(
    weights: Path | None = None,
    layer: ContentLayer = "relu3_3",
    network_input: VggInput = "imagenet",
) -> nn.Module:
    """VGG19 for the perceptual loss, of the kind that a weight file is for.

    Args:
        weights: See `Vgg19Conv33`, or a file as `NormalisedVgg19` takes, which has its own input.
        layer: Which features.
        network_input: See `Vgg19Conv33`.

    Raises:
        InputError: The file cannot be used, or does not reach as far as ``layer``.
    """
    if weights is not None:
        first = read_tensors(weights).get("0.weight")
        if first is not None and tuple(first.shape) == (3, 3, 1, 1):
            if layer != "relu3_1":
                raise InputError(
                    f"{weights}: these weights end with conv3_1, but the content loss was to "
                    f"compare {layer}; choose --vgg-layer relu3_1 with them."
                )
            return NormalisedVgg19(weights)
    return Vgg19Conv33(weights, layer, network_input)


_WHERE_TO_GET_VGG = (
    'Where torchvision may download, `python -c "import torchvision; '
    "torchvision.models.vgg19(weights='DEFAULT')\"` fetches the file once and it is then found; "
    "otherwise name a copy with --vgg-weights FILE, or train with --content-loss l1, which needs "
    "none."
)


def _torchvision_file() -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / "vgg19-dcbb9e9d.pth"
    if not path.is_file():
        raise InputError(
            f"The content loss needs the trained weights of VGG19, and there is no {path}. "
            f"{_WHERE_TO_GET_VGG}"
        )
    return path
