"""Averaging images down: the mean of every block, exactly, and all that a smaller image implies."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch

from deepexp.config import build as config
from deepexp.config.build import build
from deepexp.config.sections import SIDES, Data
from deepexp.data import dataset as data
from deepexp.data.averaging import WHITE, averaged
from deepexp.data.batches import in_order, training_batches
from deepexp.data.catalogue import SOURCES
from deepexp.schedule import costs


@pytest.fixture(scope="module")
def pixels():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (3, 32, 32, 3), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("side", [1, 8, 16, 32])
def test_every_pixel_is_the_exact_mean_of_its_block(pixels, side):
    found, block = averaged(pixels, side), 32 // side
    white = WHITE * block**2
    for image, channel in ((0, 0), (2, 1)):
        for row in range(side):
            for column in range(side):
                rows, columns = (slice(block * i, block * (i + 1)) for i in (row, column))
                mean = Fraction(int(pixels[image, rows, columns, channel].long().sum()), white)
                assert Fraction(int(found[image, row, column, channel]), white) == mean
    assert found.nbytes <= pixels.nbytes
    assert (averaged(torch.full_like(pixels, WHITE), side) == white).all()


def test_averaging_twice_is_averaging_once_and_commutes_with_symmetries(pixels):
    halves = averaged(pixels, 16).unflatten(1, (8, 2)).unflatten(3, (8, 2)).sum((2, 4))
    assert torch.equal(halves.int(), averaged(pixels, 8))
    for turned in (lambda x: x.flip(2), lambda x: x.flip(1), lambda x: x.transpose(1, 2)):
        assert torch.equal(averaged(turned(pixels), 16), turned(averaged(pixels, 16)))


def test_the_network_gets_each_mean_rounded_once():
    whole, small = data.load(Data(), 0), data.load(Data(side=4), 0)
    assert (whole.shape, small.shape) == ((8, 8, 1), (4, 4, 1))
    assert (small.digest, len(small.test)) == (whole.digest, len(whole.test))
    assert torch.equal(small.train.y, whole.train.y)
    means = whole.train.x.double().unflatten(1, (4, 2)).unflatten(3, (4, 2)).mean((2, 4))
    torch.testing.assert_close(small.mean, (means / 255).mean((0, 1, 2)).float())
    torch.testing.assert_close(small.deviation, (means / 255).std((0, 1, 2), correction=0).float())
    # A float32 holds a mean in [0, 1] to half a unit in the last place, 2^-25; the shift and the scaling that
    # follow are those of the original images.
    x = small.train.x.float() / small.white
    assert float((x.double() - means / 255).abs().max()) <= 2**-25
    assert torch.equal(
        small.normalise(small.train.x), ((x - small.mean) / small.deviation).permute(0, 3, 1, 2)
    )
    x = small.normalise(small.train.x)
    assert abs(float(x.mean())) < 1e-5
    assert float(x.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_batches_have_the_averaged_images_and_black_beside_them():
    made = build({"data.side": 4, "data.crop_padding": 1, "data.flip": "random", "train.batch_size": 100})
    small = data.load(made.data, 0)
    x, y = next(in_order(small, small.test, 50))
    assert torch.equal(x, small.normalise(small.test.x[:50]))
    assert torch.equal(y, small.test.y[:50])
    black = small.normalise(torch.zeros(1, 4, 4, 1, dtype=torch.int32))[0]
    x, _ = next(training_batches(small, made.data, made.train, 0, 0, 0))
    assert x.shape == (100, 1, 4, 4)
    shifted_down = (x[:, :, 0] == black[:, 0]).flatten(1).all(1)
    assert 0.1 < float(shifted_down.float().mean()) < 0.9


def test_the_padding_of_a_protocol_keeps_its_share_of_the_image():
    cifar = {"data.dataset": "cifar10"}
    for side, padding in ((32, 4), (16, 2), (8, 1), (4, 1), (2, 1)):
        assert build({**cifar, "data.side": side}, protocol="s2s").data.crop_padding == padding
    assert build({**cifar, "data.side": 16, "data.crop_padding": 3}).data.crop_padding == 3
    assert build({**cifar, "data.side": 16}, protocol="turboprune").data.crop_padding == 1
    assert build({"data.dataset": "tinyimagenet", "data.side": 32}).data.crop_padding == 4
    assert build({"data.side": 4}).data.crop_padding == 0


def test_the_side_is_part_of_the_identity_only_when_given():
    assert build({"algorithm": "wr"}).run_id == "digits-resnet8-wr-s0-3ff6b0691e"
    names = {build({"data.side": side}).run_id for side in (None, 2, 4)}
    assert len(names) == 3
    made = build({"data.side": 4})
    assert config.read(config.to_toml(made)) == made


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data.side": 3}, "side must divide 8, the side of the images of digits, got 3"),
        ({"data.side": 16}, "side must divide 8, the side of the images of digits, got 16"),
        ({"data.dataset": "cifar10", "data.side": 64}, "side must divide 32"),
        ({"data.dataset": "cifar10", "data.side": 0}, "data.side"),
        ({"data.dataset": "cifar10", "data.side": 16.0}, "data.side"),
        ({"data.dataset": "cifar10", "data.side": True}, "data.side"),
        ({"data.dataset": "imagenet", "data.side": 16}, "side must be left out for imagenet, got 16"),
        (
            {"data.resized_crop": True, "data.side": 4},
            "side must be left out with size or resized_crop, got 4",
        ),
    ],
)
def test_bad_sides_are_refused_in_one_line(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        build(settings)
    assert "\n" not in str(error.value)


def test_costs_are_those_of_the_smaller_image():
    made = build({"data.dataset": "cifar10", "data.side": 16})
    assert costs.work(made).size == 16
    assert costs.work(made) != costs.work(build({"data.dataset": "cifar10"}))
    assert costs.random_images(made, 2).shape == (16, 16, 3)
    assert {name: source.shape[0] for name, source in SOURCES.items()} == SIDES


@pytest.mark.data
def test_real_images_averaged_to_16_pixels(real_data):
    found, whole = data.load(Data(dataset="cifar10", side=16), 0), data.load(Data(dataset="cifar10"), 0)
    assert found.shape == (16, 16, 3)
    torch.testing.assert_close(found.mean, whole.mean)  # averaging keeps the mean and lowers the deviation
    assert (found.deviation < whole.deviation).all()
    blocks = whole.test.x[-1].numpy().reshape(16, 2, 16, 2, 3).astype(np.int64)
    np.testing.assert_array_equal(found.test.x[-1].numpy(), blocks.sum((1, 3)))
