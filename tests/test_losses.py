"""The losses against their formulas, written out."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from skimage import data

from baselines.deblurgan.learner import gradient_penalty, perceptual_loss
from baselines.deblurgan.network import Critic
from baselines.deblurgan.vgg import content_features
from baselines.deepdeblur.learner import adversarial_loss, multi_scale_loss
from gopro_tools.errors import InputError

VGG19_LAYERS = {  # place in torchvision's features: Caffe's name, channels in, out
    0: ("conv1_1", 3, 64),
    2: ("conv1_2", 64, 64),
    5: ("conv2_1", 64, 128),
    7: ("conv2_2", 128, 128),
    10: ("conv3_1", 128, 256),
    12: ("conv3_2", 256, 256),
    14: ("conv3_3", 256, 256),
}


def scales(seed, n=3):
    rng = np.random.default_rng(seed)
    return [rng.random((2, 3, 8 // 2**k, 12 // 2**k)) for k in range(n)]


@pytest.mark.parametrize("norm", ["mse", "l1"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_multi_scale_loss_is_the_paper_s_and_the_codes(norm, n):
    restored, sharp = scales(0, n), scales(1, n)
    power = 2 if norm == "mse" else 1
    # 1 / (2 K) sum_k 1 / (c_k w_k h_k) |L_k - S_k|^2, averaged over the batch
    expected = sum(
        (np.abs(r - s) ** power).sum() / s.size for r, s in zip(restored, sharp, strict=True)
    )
    tensors = [torch.from_numpy(r) for r in restored], [torch.from_numpy(s) for s in sharp]
    paper = multi_scale_loss(*tensors, norm=norm, scale_weights="paper")
    code = multi_scale_loss(*tensors, norm=norm, scale_weights="sum")
    assert paper.item() == pytest.approx(expected / (2 * n), rel=1e-6)
    assert code.item() == pytest.approx(expected, rel=1e-6)


def test_multi_scale_loss_wants_as_many_sharp_scales():
    with pytest.raises(ValueError, match="argument"):
        multi_scale_loss([torch.zeros(1, 3, 4, 4)], [], "mse", "paper")


def test_adversarial_loss_is_the_cross_entropy():
    logits = torch.tensor([-2.0, 0.5, 3.0])
    probability = 1 / (1 + np.exp(-logits.numpy()))
    real = adversarial_loss(logits, labelled_sharp=True)
    fake = adversarial_loss(logits, labelled_sharp=False)
    assert real.item() == pytest.approx(-np.log(probability).mean(), rel=1e-5)
    assert fake.item() == pytest.approx(-np.log(1 - probability).mean(), rel=1e-5)


def test_an_undecided_discriminator_costs_one_bit_and_a_sure_one_no_infinity():
    undecided = adversarial_loss(torch.zeros(4), labelled_sharp=True, in_bits=True)
    assert undecided.item() == pytest.approx(1)
    wrong = adversarial_loss(torch.full((2,), -200.0), labelled_sharp=True)
    assert wrong.item() == pytest.approx(200)


@pytest.mark.parametrize("norm", ["image", "pixel"])
def test_gradient_penalty_of_a_linear_critic(norm):
    """Its gradient is its weights, halved because an image in [-1, 1] moves twice as far."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 4, 5))
    images = torch.from_numpy(rng.random((2, 2, 3, 4, 5)))
    penalty = gradient_penalty(
        lambda x: (x * torch.from_numpy(weights)).sum(dim=(1, 2, 3)), *images, norm=norm
    )
    lengths = np.sqrt(((weights / 2) ** 2).sum(axis=None if norm == "image" else 0))
    assert penalty.item() == pytest.approx(((lengths - 1) ** 2).mean(), rel=1e-6)


@pytest.mark.parametrize("alpha", ["image", "batch"])
def test_gradient_penalty_is_taken_between_sharp_and_restored(alpha):
    """The critic sum(x^2), with x = (s + 1) / 2, has the gradient x at s."""
    sharp, restored = torch.rand(2, 3, 3, 2, 2, dtype=torch.float64).unbind()
    torch.manual_seed(5)
    penalty = gradient_penalty(
        lambda x: x.square().sum(dim=(1, 2, 3)), sharp, restored, alpha=alpha
    )
    torch.manual_seed(5)
    draws = torch.rand((3 if alpha == "image" else 1, 1, 1, 1), dtype=torch.float64)
    mixed = draws * sharp + (1 - draws) * restored
    expected = ((mixed.flatten(1).norm(dim=1) - 1) ** 2).mean()
    torch.testing.assert_close(penalty, expected)


@pytest.mark.parametrize("norm", ["image", "pixel"])
def test_gradient_penalty_of_the_real_critic_by_hand(norm):
    torch.manual_seed(0)
    critic = Critic(4).double()
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.normal_(0, 0.3)
    sharp = torch.rand(3, 3, 24, 24, dtype=torch.float64)
    restored = torch.rand(3, 3, 24, 24, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    penalty = gradient_penalty(critic, sharp, restored, norm=norm)

    torch.manual_seed(1)
    draws = torch.rand((3, 1, 1, 1), dtype=torch.float64)
    terms = []
    for weight, s, r in zip(draws, sharp, restored.detach(), strict=True):
        signed = (2 * (weight * s + (1 - weight) * r) - 1)[None].requires_grad_()
        critic.model(signed).sum().backward()
        gradient = signed.grad[0]
        squares = gradient.square()
        lengths = (squares.sum() if norm == "image" else squares.sum(dim=0)).sqrt()
        terms.append(((lengths - 1) ** 2).mean())
    assert penalty.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-6)

    # and it trains the critic: its derivative along a weight is the measured slope
    critic.zero_grad()
    penalty.backward()
    assert restored.grad is None
    weight = critic.model[2].weight
    slope, step = weight.grad[0, 0, 0, 0].item(), 1e-5
    measured = []
    for change in (step, -2 * step):
        with torch.no_grad():
            weight[0, 0, 0, 0] += change
        torch.manual_seed(1)
        measured.append(gradient_penalty(critic, sharp, restored, norm=norm).item())
    assert slope == pytest.approx((measured[0] - measured[1]) / (2 * step), rel=1e-4)


def test_gradient_penalty_of_a_flat_critic_has_a_finite_derivative():
    weight = torch.zeros(1, requires_grad=True)
    penalty = gradient_penalty(
        lambda x: (weight * x).sum(dim=(1, 2, 3)),
        torch.rand(1, 3, 4, 4),
        torch.rand(1, 3, 4, 4),
        norm="pixel",
    )
    penalty.backward()
    assert penalty.item() == 1
    assert torch.isfinite(weight.grad).all()


@pytest.fixture(scope="module")
def vgg_tensors():
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for place, (_, n_in, n_out) in VGG19_LAYERS.items():
        scale = math.sqrt(2 / (9 * n_in))
        tensors[place, "weight"] = torch.randn(n_out, n_in, 3, 3, generator=generator) * scale
        tensors[place, "bias"] = torch.randn(n_out, generator=generator) * 0.1
    return tensors


def torchvision_names(tensors):
    return {f"features.{place}.{kind}": t.clone() for (place, kind), t in tensors.items()}


def direct_features(tensors, x):
    """VGG19 up to conv3_3, before its ReLU."""
    for place in VGG19_LAYERS:
        if place in (5, 10):
            x = F.max_pool2d(x, 2, 2)
        x = F.conv2d(x, tensors[place, "weight"], tensors[place, "bias"], padding=1)
        if place != 14:
            x = F.relu(x)
    return x


@pytest.mark.parametrize("layer", ["conv3_3", "relu3_3"])
@pytest.mark.parametrize("network_input", ["imagenet", "signed"])
def test_vgg_features_equal_a_direct_computation(tmp_path, vgg_tensors, layer, network_input):
    path = tmp_path / "vgg.safetensors"
    save_file(torchvision_names(vgg_tensors), path)
    images = torch.rand(2, 3, 16, 20, dtype=torch.float64)
    red, green, blue = images.unbind(1)
    prepared = {
        "imagenet": torch.stack(
            [(red - 0.485) / 0.229, (green - 0.456) / 0.224, (blue - 0.406) / 0.225], 1
        ),
        "signed": images * 2 - 1,
    }[network_input]
    expected = direct_features({k: t.double() for k, t in vgg_tensors.items()}, prepared)
    expected = expected if layer == "conv3_3" else F.relu(expected)
    network = content_features(path, layer=layer, network_input=network_input)
    torch.testing.assert_close(network.double()(images), expected, rtol=1e-6, atol=1e-4)


def test_perceptual_loss_trains_the_restored_image_alone(tmp_path, vgg_tensors):
    path = tmp_path / "vgg.pth"
    # as a whole state dict with more layers, which are not kept
    more = {"features.16.weight": torch.zeros(1), "classifier.0.bias": torch.zeros(1)}
    torch.save(torchvision_names(vgg_tensors) | more, path)
    network = content_features(path, layer="conv3_3", network_input="signed")
    restored = torch.rand(1, 3, 8, 8, requires_grad=True)
    sharp = torch.rand(1, 3, 8, 8, requires_grad=True)
    loss = perceptual_loss(network, restored, sharp)
    features = [direct_features(vgg_tensors, 2 * image - 1) for image in (restored, sharp)]
    torch.testing.assert_close(loss, ((features[0] - features[1]) ** 2).mean())
    loss.backward()
    assert restored.grad.abs().sum() > 0
    assert sharp.grad is None
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert sum(p.numel() for p in network.parameters()) == sum(
        t.numel() for t in vgg_tensors.values()
    )


def test_missing_vgg_weights_say_what_to_do_and_torchvision_s_are_found(
    tmp_path, vgg_tensors, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"(?s)--vgg-weights FILE.*--content-loss l1"):
        content_features(None, "relu3_3", "imagenet")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(torchvision_names(vgg_tensors), folder / "vgg19-dcbb9e9d.pth")
    assert content_features(None, "relu3_3", "imagenet")(torch.rand(1, 3, 8, 8)).shape == (
        1,
        256,
        2,
        2,
    )


def test_unfitting_vgg_weights_are_listed(tmp_path, vgg_tensors):
    path = tmp_path / "vgg.pth"
    tensors = torchvision_names(vgg_tensors)
    del tensors["features.7.weight"]
    tensors["features.12.bias"] = torch.zeros(3)
    torch.save(tensors, path)
    with pytest.raises(InputError, match=r"(?s)7\.weight: missing.*12\.bias: \(3,"):
        content_features(path, "relu3_3", "imagenet")


def test_vgg16_is_not_taken_for_vgg19(tmp_path, vgg_tensors):
    """Its first seven layers have the same names and shapes."""
    path = tmp_path / "vgg16.pth"
    later = {"features.17.weight": torch.zeros(512, 256, 3, 3)}
    torch.save(torchvision_names(vgg_tensors) | later, path)
    with pytest.raises(InputError, match="this is VGG16"):
        content_features(path, "relu3_3", "imagenet")


@pytest.mark.shared
def test_normalised_vgg_gives_activations_of_about_one_and_a_gradient(shared_data):
    weights = shared_data / "weights" / "vgg_normalised_conv3_1.pth"
    network = content_features(weights, "relu3_1", "imagenet")
    photographs = [data.astronaut(), data.coffee(), data.chelsea()]
    for photograph in photographs:
        images = torch.from_numpy(photograph[:255, :257].copy()).permute(2, 0, 1)[None] / 255
        features = network(images)
        assert features.shape == (1, 256, 64, 65)  # odd sides: pooling keeps what is left
        assert features.min() == 0
        assert 0.5 < features.mean() < 1.1  # 0.75 on the photographs it was scaled for
    blurred = torch.nn.functional.avg_pool2d(images, 5, 1, 2).requires_grad_()
    perceptual_loss(network, blurred, images).backward()
    assert blurred.grad.isfinite().all()
    assert blurred.grad.abs().mean() > 0
    with pytest.raises(InputError, match="--vgg-layer relu3_1"):
        content_features(weights, "relu3_3", "imagenet")


def test_normalised_vgg_equals_a_direct_computation(tmp_path):
    generator = torch.Generator().manual_seed(0)
    shapes = {2: (64, 3), 5: (64, 64), 9: (128, 64), 12: (128, 128), 16: (256, 128)}
    tensors = {"0.weight": torch.randn(3, 3, 1, 1, generator=generator), "0.bias": torch.randn(3)}
    for place, (n_out, n_in) in shapes.items():
        tensors[f"{place}.weight"] = torch.randn(n_out, n_in, 3, 3, generator=generator) / 30
        tensors[f"{place}.bias"] = torch.randn(n_out, generator=generator) * 0.1
    torch.save(tensors, tmp_path / "vgg.pth")
    images = torch.rand(2, 3, 13, 18)
    x = F.conv2d(images, tensors["0.weight"], tensors["0.bias"])
    for place in shapes:
        if place in (9, 16):
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        x = F.relu(F.conv2d(x, tensors[f"{place}.weight"], tensors[f"{place}.bias"]))
    network = content_features(tmp_path / "vgg.pth", "relu3_1", "imagenet")
    torch.testing.assert_close(network(images), x, rtol=1e-4, atol=1e-4)
    del tensors["12.bias"]
    torch.save(tensors, tmp_path / "vgg.pth")
    with pytest.raises(InputError, match=r"12\.bias: missing"):
        content_features(tmp_path / "vgg.pth", "relu3_1", "imagenet")
