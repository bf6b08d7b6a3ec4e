"""Features of VGG19 for DeblurGAN's content loss; weights are read from a file, never random."""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from baselines.checkpoints.tensors import load_into, read_tensors
from baselines.deblurgan.method import ContentLayer, VggInput
from gopro_tools.errors import InputError

_CHANNELS = (3, 64, 64, 128, 128, 256, 256, 256)  # pooled before each doubling
_N_LAYERS = {"relu3_1": 12, "conv3_3": 15, "relu3_3": 16}

# Mean and deviation of images in [0, 1].
_INPUT = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "signed": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
_WHERE_TO_GET_VGG = (
    'Where torchvision may download, `python -c "import torchvision; '
    "torchvision.models.vgg19(weights='DEFAULT')\"` fetches the file once and it is then found; "
    "otherwise name a copy with --vgg-weights FILE, or train with --content-loss l1, which needs "
    "none."
)


def content_features(
    weights: Path | None, layer: ContentLayer, network_input: VggInput
) -> nn.Module:
    """VGG19 for the perceptual loss, fixed: (N, 3, H, W) in [0, 1] to (N, 256, H / 4, W / 4).

    The file's layers decide between `Vgg19` and `normalised_vgg19`; without one, torchvision's is
    looked for where torch keeps downloads.

    Raises:
        InputError: There is no such file, it lacks a layer or has it in another shape (all are
            listed), or it does not reach as far as ``layer``.
    """
    path = weights or Path(torch.hub.get_dir()) / "checkpoints" / "vgg19-dcbb9e9d.pth"
    if weights is None and not path.is_file():
        raise InputError(
            f"The content loss needs the trained weights of VGG19, and there is no {path}. "
            f"{_WHERE_TO_GET_VGG}"
        )
    tensors = read_tensors(path)
    first = tensors.get("0.weight")
    if first is not None and tuple(first.shape) == (3, 3, 1, 1):
        if layer != "relu3_1":
            raise InputError(
                f"{path}: these weights end with conv3_1, but the content loss was to compare "
                f"{layer}; choose --vgg-layer relu3_1 with them."
            )
        normalised = normalised_vgg19()
        load_into(normalised, tensors, path)
        return normalised.requires_grad_(requires_grad=False)
    tensors = {name.removeprefix("features."): tensor for name, tensor in tensors.items()}
    if "17.weight" in tensors and "16.weight" not in tensors:
        raise InputError(f"{path}: this is VGG16; VGG19 was expected. {_WHERE_TO_GET_VGG}")
    vgg = Vgg19(layer, network_input)
    kept = {name: tensors[name] for name in vgg.state_dict() if name in tensors}
    load_into(vgg, kept, f"{path} (VGG19)")
    return vgg.requires_grad_(requires_grad=False)


class Vgg19(nn.Sequential):
    """VGG19 up to the compared layer, for weights under torchvision's names.

    They expect the "imagenet" input; the released DeblurGAN gives them "signed", in [-1, 1].
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, layer: ContentLayer, network_input: VggInput) -> None:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(_CHANNELS):
            if n_out == 2 * n_in:
                layers.append(nn.MaxPool2d(2))
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU()]
        super().__init__(*layers[: _N_LAYERS[layer]])
        for name, values in zip(("mean", "deviation"), _INPUT[network_input], strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features of (N, 3, H, W) RGB images in [0, 1]: (N, 256, H // 4, W // 4)."""
        features: Tensor = super().forward(  # type: ignore[no-untyped-call]
            (images - self.mean) / self.deviation
        )
        return features


def normalised_vgg19() -> nn.Sequential:
    """VGG19 up to conv3_1 with weights scaled so that activations have a mean of about 1.

    Such weights (the normalisation of Gatys et al. 2016, common in style transfer) come with a
    first 1x1 convolution that takes RGB in [0, 1] to what the network expects; borders are
    reflected, and pooling keeps the last row and column of odd sizes: (N, 3, H, W), sides 5 or
    more, to (N, 256, H / 4, W / 4), rounded up.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    for n_in, n_out in pairwise(_CHANNELS[:6]):
        if n_out == 2 * n_in:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(n_in, n_out, 3), nn.ReLU()]
    return nn.Sequential(*layers)
