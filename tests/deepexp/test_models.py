"""Networks: exact counts of prunable weights, shapes, and an initialisation that the seed alone decides."""

import math

import pytest
import torch

from deepexp import models


@pytest.mark.parametrize(
    ("name", "classes", "stem", "count"),
    [
        ("resnet18", 10, "cifar", 11_164_352),
        ("resnet18", 100, "cifar", 11_210_432),
        ("resnet50", 100, "cifar", 23_652_032),
        ("resnet18", 1000, "imagenet", 11_678_912),
        ("resnet50", 1000, "imagenet", 25_502_912),
        ("resnet20", 10, "cifar", 270_896),
    ],
)
def test_prunable_weights(name, classes, stem, count):
    net = models.build(name, classes=classes, stem=stem)
    assert sum(weight.numel() for weight in models.prunable(net).values()) == count


def test_everything_but_biases_and_norms_is_prunable():
    """Trap: a density whose denominator leaves out shortcut convolutions."""
    net = models.build("resnet18", classes=10)
    matrices = {name for name, parameter in net.named_parameters() if parameter.dim() > 1}
    assert set(models.prunable(net)) == matrices
    assert any("shortcut" in name for name in matrices)
    assert {"conv.weight", "classifier.weight"} <= matrices


@pytest.mark.parametrize(
    "name", ["resnet8", "resnet20", "resnet56", "resnet18", "resnet34", "resnet50", "vgg16"]
)
@pytest.mark.parametrize("size", [8, 32])
def test_every_network_takes_small_images(name, size):
    net = models.build(name, classes=7, width=0.125, channels=1).eval()
    assert net(torch.zeros(2, 1, size, size)).shape == (2, 7)


def test_imagenet_stem_reduces_by_four_before_the_stages():
    net = models.build("resnet18", classes=5, stem="imagenet", width=0.125).eval()
    assert net.pool(net.conv(torch.zeros(1, 3, 64, 64))).shape[-2:] == (16, 16)


def test_width_multiplies_the_channels():
    one, two = (models.build("resnet8", classes=10, width=width) for width in (1.0, 2.0))
    assert two.conv.out_channels == 2 * one.conv.out_channels
    for name, weight in models.prunable(one).items():
        factor = 2 if name in ("conv.weight", "classifier.weight") else 4
        assert models.prunable(two)[name].numel() == factor * weight.numel()


def test_the_seed_decides_and_the_global_generator_is_untouched():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = models.build("resnet8", classes=10, seed=0).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = models.build("resnet8", classes=10, seed=0).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = models.build("resnet8", classes=10, seed=1).state_dict()
    assert not torch.equal(first["conv.weight"], other["conv.weight"])


def test_initialisation_is_kaiming_normal():
    net = models.build("resnet18", classes=10)
    for name, parameter in models.prunable(net).items():
        weight = parameter.detach()
        std = math.sqrt(2 / weight[0].numel())
        count = weight.numel()
        assert abs(float(weight.mean())) < 5 * std / math.sqrt(count), name
        assert abs(float(weight.std()) / std - 1) < 5 / math.sqrt(2 * count), name
    for norm in models.norms(net).values():
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
        assert torch.equal(norm.running_var, torch.ones_like(norm.weight))
        assert not norm.bias.any()
        assert not norm.running_mean.any()


@pytest.mark.parametrize(
    "bad", [{"name": "resnet9"}, {"name": "resnet8", "stem": "imagenet"}, {"name": "resnet8", "width": 0.01}]
)
def test_impossible_networks_are_refused(bad):
    with pytest.raises(ValueError, match="must"):
        models.build(**{"classes": 10, **bad})


def test_an_unknown_stem_is_told_those_of_its_network():
    with pytest.raises(ValueError, match=r"^the stem of resnet18 must be 'cifar' or 'imagenet', got 'x'$"):
        models.build("resnet18", classes=10, stem="x")
    with pytest.raises(ValueError, match=r"^the stem of resnet8 must be 'cifar', got 'imagenet'$"):
        models.build("resnet8", classes=10, stem="imagenet")
