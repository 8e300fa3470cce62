"""The benchmark runs, and its loops train what they say."""

import pytest

from deepexp import bench
from deepexp.config import build


def test_every_loop_trains():
    rates = bench.loops(dataset="digits", model="resnet8", images=192, batch=32, threads=1)
    assert len(rates) == 5
    assert min(rates.values()) > 0


def test_the_speed_of_a_configuration_is_measured():
    slow, fast = (
        bench.images_per_second(build({"model.name": name, "train.batch_size": 16}), seconds=0.2)
        for name in ("resnet56", "resnet8")
    )
    assert fast > 2 * slow > 0  # it has a seventh of the layers


@pytest.mark.slow
def test_a_level_of_resnet18_is_at_most_50_mb():
    found = bench.costs(threads=1)
    assert found["a saved level of ResNet18, bytes"] <= 50e6
    assert found["prune ResNet50 (23.5 M weights), s"] > 0
