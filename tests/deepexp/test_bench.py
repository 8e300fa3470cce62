"""The benchmark runs, and its loops train what they say."""

import time

import pytest

from deepexp import bench, cli, data
from deepexp.config import build
from deepexp.prepare import prepare

SMALL = {"dataset": "digits", "model": "resnet8", "batch": 32, "threads": 1}


def test_every_loop_trains_on_one_copy_of_the_data(monkeypatch):
    real, loaded = data.load, []
    monkeypatch.setattr(data, "load", lambda *given: loaded.append(given) or real(*given))
    rates, images = bench.loops(images=192, **SMALL)
    assert len(loaded) == 1
    assert images == 192
    assert len(rates) == 5
    assert min(rates.values()) > 0


def test_the_loops_end_when_their_time_is_over():
    began = time.monotonic()
    _, images = bench.loops(images=10**9, seconds=0.5, **SMALL)
    assert images % (32 * bench.CHUNK) == 0
    assert images >= 32 * bench.CHUNK
    assert time.monotonic() - began < 30


def test_the_command_prints_what_masks_and_signs_cost(capsys, monkeypatch):
    monkeypatch.setattr(bench, "costs", lambda **_: {})  # those of the large networks are in the slow test
    options = ["--dataset", "digits", "--model", "resnet8", "--batch", "32", "--images", "96"]
    assert cli.main(["bench", *options, "--seconds", "0", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "resnet8 on digits, 96 images by each loop"
    found = {name: float(line.split("%")[0].split()[-1]) for name in SHARES for line in lines if name in line}
    assert found.keys() == set(SHARES)
    assert all(0 < share < 100 for share in found.values())


SHARES = ("masking, share of a step", "signs, share of a level of 1 epoch")


def test_the_speed_of_a_configuration_is_measured(tmp_path):
    slow, fast = (
        bench.images_per_second(
            prepare(build({"model.name": name, "train.batch_size": 16}), tmp_path), seconds=0.2
        )
        for name in ("resnet56", "resnet8")
    )
    assert fast > 2 * slow > 0  # it has a seventh of the layers


@pytest.mark.slow
def test_a_level_of_resnet18_is_at_most_50_mb():
    found = bench.costs(threads=1)
    assert found["a saved level of ResNet18, bytes"] <= 50e6
    assert found["prune ResNet50 (23.5 M weights), s"] > 0
