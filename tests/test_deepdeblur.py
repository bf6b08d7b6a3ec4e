"""DeepDeblur against its published counts, other libraries, and a second implementation."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from skimage.transform import pyramid_gaussian
from torch import nn

from baselines.deepdeblur.network import DeepDeblur, Discriminator, start_as_identity
from baselines.deepdeblur.pyramid import pad_to_multiple, pyramid
from gopro_tools.errors import InputError


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def convolved(x, weight, bias):
    """A 'same' convolution of (C, H, W) written as a sum over windows."""
    size = weight.shape[-1]
    padded = np.pad(x, ((0, 0), *[(size // 2, size // 2)] * 2))
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))
    return np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None]


def torch7_pyramid(image, n_scales):
    """The description of torch/image, on (C, H, W), with scipy."""
    mean = image.mean(axis=(1, 2), keepdims=True)
    distance = np.arange(1, 4) - 2  # counted from 1; the centre is 0.5 * 3 + 0.5
    kernel = np.exp(-((distance[:, None] / (0.25 * 3)) ** 2 + (distance / (0.25 * 3)) ** 2) / 2)
    kernel /= kernel.sum()
    levels = [image - mean]
    for _ in range(1, n_scales):
        smooth = scipy.ndimage.convolve(levels[-1], kernel[None], mode="constant")
        levels.append(smooth[:, ::2, ::2])
    return [level + mean for level in levels]


@pytest.mark.parametrize(
    ("n_scales", "expected"), [(1, 12_100_419), (2, 11_910_870), (3, 11_721_321)]
)
def test_the_paper_s_depth_has_the_published_number_of_parameters(n_scales, expected):
    with torch.device("meta"):
        network = DeepDeblur(n_scales)
    assert n_parameters(network) == expected
    convolutions = [m for m in network.scale_networks.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 120
    assert {tuple(m.kernel_size) for m in network.modules() if isinstance(m, nn.Conv2d)} == {(5, 5)}
    assert not any(isinstance(m, nn.modules.batchnorm._NormBase) for m in network.modules())


def test_the_architecture_makes_the_same_network_again():
    network = DeepDeblur(2, 3, 4, pyramid="pytorch-release")
    again = DeepDeblur(**network.architecture)
    again.load_state_dict(network.state_dict())
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(again(x), network(x), rtol=0, atol=0)


@pytest.mark.parametrize("arguments", [{"n_scales": 4}, {"n_scales": 0}, {"n_resblocks": 0}])
def test_impossible_depths_are_refused(arguments):
    with pytest.raises(InputError):
        DeepDeblur(**arguments)


@settings(deadline=None, max_examples=25)
@given(
    n_scales=st.integers(1, 3),
    size_hw=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    kind=st.sampled_from(["torch7", "pytorch-release"]),
)
def test_any_size_gives_every_scale_its_size(n_scales, size_hw, kind):
    blurred = torch.rand(2, 3, *size_hw)
    restored = DeepDeblur(n_scales, 1, 2, pyramid=kind)(blurred)
    expected = [(2, 3, *(math.ceil(side / 2**k) for side in size_hw)) for k in range(n_scales)]
    assert [tuple(level.shape) for level in restored] == expected
    assert [tuple(level.shape) for level in pyramid(blurred, n_scales, kind)] == expected


def test_other_sizes_are_padded_by_repeating_the_edge():
    network = DeepDeblur(3, 1, 3)
    blurred = torch.rand(1, 3, 13, 18)
    padded = torch.from_numpy(np.pad(blurred.numpy(), ((0, 0), (0, 0), (0, 3), (0, 2)), "edge"))
    torch.testing.assert_close(network(blurred)[0], network(padded)[0][..., :13, :18])
    assert pad_to_multiple(padded, 4) is padded


def test_torch7_pyramid_follows_its_description():
    image = np.random.default_rng(0).random((3, 24, 36))
    ours = pyramid(torch.from_numpy(image)[None], 3, "torch7")
    for level, expected in zip(ours, torch7_pyramid(image, 3), strict=True):
        np.testing.assert_allclose(level[0], expected, atol=1e-12)


@pytest.mark.parametrize("size_hw", [(24, 36), (4, 8)])
def test_release_pyramid_is_scikit_image_s(size_hw):
    image = np.random.default_rng(1).random((*size_hw, 3))
    ours = pyramid(torch.from_numpy(image.transpose(2, 0, 1))[None], 3, "pytorch-release")
    for level, expected in zip(ours, pyramid_gaussian(image, 2, channel_axis=-1), strict=True):
        np.testing.assert_allclose(level[0].permute(1, 2, 0), expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["torch7", "pytorch-release"])
def test_pyramids_are_differentiable(kind):
    image = torch.rand(1, 1, 4, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pyramid(x, 3, kind)[1:], (image,))


@pytest.mark.parametrize("kind", ["torch7", "pytorch-release"])
def test_a_constant_image_stays_constant_in_the_pyramid(kind):
    for level in pyramid(torch.full((1, 3, 16, 16), 0.7), 3, kind):
        torch.testing.assert_close(level, torch.full_like(level, 0.7))


def test_forward_equals_a_second_implementation():
    torch.manual_seed(0)
    network = DeepDeblur(3, n_resblocks=2, n_features=4).double()
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    image = np.random.default_rng(2).random((3, 12, 20))

    def conv(x, name):
        return convolved(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    expected, below = [], None
    for k, level in reversed(list(enumerate(torch7_pyramid(image, 3)))):
        x = level - 0.5
        if below is not None:
            twelve = conv(below, f"up_convolutions.{k}.0")
            h, w = twelve.shape[1:]  # channel 4 c + 2 i + j goes to row 2 y + i, column 2 x + j
            enlarged = twelve.reshape(3, 2, 2, h, w).transpose(0, 3, 1, 4, 2)
            x = np.concatenate([x, enlarged.reshape(3, 2 * h, 2 * w)])
        x = conv(x, f"scale_networks.{k}.0")
        for block in ("1", "2"):
            inside = np.maximum(conv(x, f"scale_networks.{k}.{block}.conv1"), 0)
            x = x + conv(inside, f"scale_networks.{k}.{block}.conv2")
        below = conv(x, f"scale_networks.{k}.3")
        expected.insert(0, below + 0.5)

    with torch.no_grad():
        ours = network(torch.from_numpy(image)[None])
    for level, wanted in zip(ours, expected, strict=True):
        np.testing.assert_allclose(level[0], wanted, atol=1e-12)


def test_first_weights_are_torch7_s_uniform_ones():
    torch.manual_seed(0)
    for layer in DeepDeblur(2, 1, 32).modules():
        if isinstance(layer, nn.Conv2d):
            bound = 1 / math.sqrt(layer.in_channels * 25)
            assert 0.98 * bound < layer.weight.abs().max() <= bound
            assert layer.bias.abs().max() <= bound
            assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize("kind", ["torch7", "pytorch-release"])
def test_autocast_leaves_the_pyramid_and_the_result_in_float32(kind):
    blurred = torch.rand(1, 3, 16, 16)
    network = DeepDeblur(2, 1, 4, pyramid=kind)
    exact = pyramid(blurred, 2, kind)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(pyramid(blurred, 2, kind), exact, rtol=0, atol=0)
        restored = network(blurred)
    assert restored[0].dtype == torch.float32
    torch.testing.assert_close(restored, network(blurred), rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", ["torch7", "pytorch-release"])
def test_compiles_into_one_graph_and_takes_channels_last(kind):
    torch.manual_seed(0)
    network = DeepDeblur(2, 1, 4, pyramid=kind)
    blurred = torch.rand(1, 3, 17, 16)
    expected = network(blurred)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(blurred), expected)
    network = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        network(blurred.to(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-5
    )


# (kernel, channels in, channels out, stride, padding) for patches of 256
TORCH7_DISCRIMINATOR = [
    (5, 3, 32, 1, 2),
    (5, 32, 32, 2, 2),
    (5, 32, 64, 1, 2),
    (5, 64, 64, 2, 2),
    (5, 64, 128, 1, 2),
    (5, 128, 128, 4, 2),
    (5, 128, 256, 1, 2),
    (5, 256, 256, 4, 2),
    (5, 256, 512, 1, 2),
    (4, 512, 512, 4, 0),
    (1, 512, 1, 1, 0),
]


@pytest.mark.parametrize(
    ("layout", "plan"),
    [
        ("torch7", TORCH7_DISCRIMINATOR),
        ("paper", [(5, 3, 32, 2, 2), *TORCH7_DISCRIMINATOR[2:]]),
    ],
)
def test_discriminator_layouts(layout, plan):
    with torch.device("meta"):
        network = Discriminator(layout)
        assert network(torch.rand(2, 3, 256, 256)).shape == (2,)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for k, (m, (kernel, n_in, n_out, stride, padding)) in enumerate(
        zip(convolutions, plan, strict=True)
    ):
        assert (m.kernel_size[0], m.in_channels, m.out_channels) == (kernel, n_in, n_out)
        # The 4x4 kernel has a 4x4 map before it, so its stride of 4 makes no difference.
        assert (m.stride[0], m.padding[0]) == ((1 if kernel == 4 else stride), padding)
        assert (m.bias is not None) == (k == len(plan) - 1)
    slopes = {m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.2}
    assert not isinstance(network.layers[-1], nn.LeakyReLU | nn.Sigmoid)


@pytest.mark.parametrize("patch_px", [64, 128])
def test_smaller_patches_get_a_discriminator_that_fits(patch_px):
    patches = torch.rand(2, 3, patch_px, patch_px)
    assert Discriminator("torch7", patch_px)(patches).shape == (2,)


def test_patches_no_discriminator_fits_are_refused():
    with pytest.raises(InputError, match="multiple of 64"):
        Discriminator(patch_px=100)


@pytest.mark.parametrize("n_scales", [1, 2, 3])
def test_it_can_start_as_the_identity(n_scales: int) -> None:
    torch.manual_seed(0)
    network = DeepDeblur(n_scales, n_resblocks=2, n_features=4)
    start_as_identity(network)
    images = torch.rand(1, 3, 24, 20)
    levels = pyramid(images, n_scales)
    for restored, level in zip(network(images), levels, strict=True):
        torch.testing.assert_close(restored, level, rtol=0, atol=1e-6)
    # Every weight of it can still learn, the zeros first.
    network(images)[0].square().sum().backward()
    assert network.scale_networks[0][1].conv2.weight.grad.abs().sum() > 0
    with pytest.raises(InputError, match="at least 3"):
        start_as_identity(DeepDeblur(1, n_resblocks=1, n_features=2))
