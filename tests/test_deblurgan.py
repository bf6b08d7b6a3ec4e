"""DeblurGAN against its published counts and a second implementation."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from baselines.deblurgan.method import DEBLURGAN
from baselines.deblurgan.network import Critic, Generator, start_without_correction
from gopro_tools.errors import InputError


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def convolved(x, weight, bias, stride=1):
    """A convolution of (C, H, W) without padding, written as a sum over windows."""
    windows = sliding_window_view(x, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None]


def padded(x, margin, mode="constant"):
    return np.pad(x, ((0, 0), (margin, margin), (margin, margin)), mode)


def doubled(x, weight, bias):
    """A transposed convolution, 3x3, stride 2: zeros between the pixels, then the flipped kernel.

    One row and column of zeros before the first pixel, two after the last double the size.
    """
    c, h, w = x.shape
    spread = np.zeros((c, 2 * h + 2, 2 * w + 2))
    spread[:, 1 : 2 * h + 1 : 2, 1 : 2 * w + 1 : 2] = x
    flipped = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    return convolved(spread, flipped, bias)


def normalised(x):
    mean, variance = x.mean(axis=(1, 2), keepdims=True), x.var(axis=(1, 2), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5)


def relu(x):
    return np.maximum(x, 0)


def test_published_numbers_of_parameters():
    with torch.device("meta"):
        assert n_parameters(Generator()) == 11_378_179
        assert n_parameters(Critic()) == 2_764_737
        assert sum(isinstance(m, nn.InstanceNorm2d) for m in Generator().modules()) == 5 + 2 * 9


def test_generator_equals_a_second_implementation():
    torch.manual_seed(0)
    network = Generator(n_features=2, n_blocks=1, dropout=0.0).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():  # the small first ones would hide mistakes
            parameter.normal_(0, 0.3)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    image = np.random.default_rng(0).random((3, 12, 16))

    def named(place):
        return weights[f"model.{place}.weight"], weights[f"model.{place}.bias"]

    signed = image * 2 - 1
    x = relu(normalised(convolved(padded(signed, 3, "reflect"), *named(1))))
    x = relu(normalised(convolved(padded(x, 1), *named(4), stride=2)))
    x = relu(normalised(convolved(padded(x, 1), *named(7), stride=2)))
    inside = relu(normalised(convolved(padded(x, 1, "reflect"), *named("10.conv_block.1"))))
    x = x + normalised(convolved(padded(inside, 1, "reflect"), *named("10.conv_block.6")))
    x = relu(normalised(doubled(x, *named(11))))
    x = relu(normalised(doubled(x, *named(14))))
    correction = np.tanh(convolved(padded(x, 3, "reflect"), *named(18)))
    expected = (np.clip(signed + correction, -1, 1) + 1) / 2

    with torch.no_grad():
        restored = network(torch.from_numpy(image)[None])[0]
    np.testing.assert_allclose(restored, expected, atol=1e-10)
    assert (expected == 0).any()  # the clamp was reached
    assert (expected == 1).any()


def test_critic_equals_a_second_implementation():
    torch.manual_seed(1)
    network = Critic(n_features=2).double()
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    image = np.random.default_rng(1).random((3, 32, 40))

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x)

    x = image * 2 - 1
    for place, stride, is_normalised in [(0, 2, False), (2, 2, True), (5, 2, True), (8, 1, True)]:
        x = convolved(
            padded(x, 2), weights[f"model.{place}.weight"], weights[f"model.{place}.bias"], stride
        )
        x = leaky(normalised(x) if is_normalised else x)
    expected = convolved(padded(x, 2), weights["model.11.weight"], weights["model.11.bias"])

    with torch.no_grad():
        scores = network(torch.from_numpy(image)[None])[0]
    np.testing.assert_allclose(scores, expected, atol=1e-10)


def test_without_a_correction_the_image_comes_back():
    network = Generator(2, 1)
    nn.init.zeros_(network.model[-2].weight)
    blurred = torch.rand(1, 3, 9, 14)
    torch.testing.assert_close(network(blurred), blurred)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 21), st.integers(1, 21))
def test_any_size_comes_back_within_the_range(height, width):
    restored = Generator(2, 1)(torch.rand(2, 3, height, width))
    assert restored.shape == (2, 3, height, width)
    assert 0 <= restored.min() <= restored.max() <= 1


def test_dropout_stays_on_at_test_only_if_asked():
    torch.manual_seed(0)
    blurred = torch.rand(1, 3, 16, 16)
    noisy = Generator(4, 2).eval()
    assert not torch.equal(noisy(blurred), noisy(blurred))
    network = Generator(4, 2, dropout_at_test=False).eval()
    assert torch.equal(network(blurred), network(blurred))
    assert network.architecture["dropout_at_test"] is False
    again = Generator(**network.architecture).eval()
    again.load_state_dict(network.state_dict())
    assert torch.equal(network(blurred), again(blurred))
    network.train()
    assert not torch.equal(network(blurred), network(blurred))


def test_first_weights_are_normal_with_deviation_0_02():
    torch.manual_seed(0)
    for network in (Generator(16, 1), Critic(16)):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.12)
                assert not layer.bias.any()


def test_presets_differ_where_paper_and_code_do():
    paper, released = DEBLURGAN.presets["paper"], DEBLURGAN.presets["released"]
    differing = {
        field.name: (getattr(paper, field.name), getattr(released, field.name))
        for field in fields(paper)
        if getattr(paper, field.name) != getattr(released, field.name)
    }
    assert differing == {
        "preset": ("paper", "released"),
        "gradient_norm": ("image", "pixel"),
        "penalty_alpha": ("image", "batch"),
        "critic_batches": ("fresh", "reused"),
        "vgg_layer": ("relu3_3", "conv3_3"),
        "vgg_input": ("imagenet", "signed"),
        "output_rounding": ("nearest", "truncate"),
    }
    assert (paper.content_weight, paper.penalty_weight, paper.n_critic_steps) == (100, 10, 5)
    assert paper.dropout_at_test


def test_impossible_options_are_refused():
    for change in ({"dropout": 1.0}, {"n_critic_steps": 0}):
        with pytest.raises(InputError, match=next(iter(change))):
            replace(DEBLURGAN.presets["paper"], **change)


def test_autocast_channels_last_and_one_graph():
    torch.manual_seed(0)
    network = Generator(4, 1, dropout_at_test=False).eval()
    blurred = torch.rand(1, 3, 18, 16)
    expected = network(blurred)
    with torch.autocast("cpu", torch.bfloat16):
        restored = network(blurred)
    assert restored.dtype == torch.float32
    torch.testing.assert_close(restored, expected, rtol=0, atol=0.02)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(blurred), expected)
    network = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        network(blurred.to(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-5
    )


def test_it_can_start_without_a_correction() -> None:
    torch.manual_seed(0)
    network = Generator(n_features=4, n_blocks=1, dropout=0.0)
    images = torch.rand(1, 3, 16, 20)
    assert (network(images) - images).abs().max() > 1e-3
    start_without_correction(network)
    torch.testing.assert_close(network(images), images, rtol=0, atol=1e-6)
    # What was set to zero learns first.
    network(images).square().sum().backward()
    assert network.model[-2].weight.grad.abs().sum() > 0
