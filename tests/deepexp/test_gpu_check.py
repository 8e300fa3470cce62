"""The check of a GPU, tried on a CPU: what it finds well, what it finds wrong, and what it writes."""

import json

import pytest
import torch

from deepexp import gpu_check
from deepexp.cli import main
from deepexp.training import evaluate, optimizer, steps

TINY = {"machine.precision": "float32"}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    quick = {"model.width": 0.5, "train.epochs": 2, "pruning.levels": 1, "data.limit": 320}
    monkeypatch.setattr(gpu_check, "SMALL_RUN", {**gpu_check.SMALL_RUN, **quick})


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_it_says_so_in_one_line(capsys, tmp_path):
    assert main.main(["gpu-check", "--out", str(tmp_path / "found.json")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("deepexp: gpu-check needs a CUDA device, but torch finds none")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_precision_agrees_or_is_told(monkeypatch):
    assert gpu_check.agreement("cpu", "float32") == {"loss off by": 0, "weights off by": 0}
    off = gpu_check.agreement("cpu", "bf16")
    assert 0 < off["loss off by"] < 0.05
    assert 0 < off["weights off by"] < 1
    monkeypatch.setitem(gpu_check.PRECISIONS, "bf16", 1e-9)
    with pytest.raises(RuntimeError, match="with a relative error of at most 1e-09, got"):
        gpu_check.agreement("cpu", "bf16")


def test_pruned_weights_that_revive_are_told(monkeypatch):
    monkeypatch.setattr(steps, "gradient_masks", lambda *_: ([], []))
    with pytest.raises(RuntimeError, match="pruned weights must stay 0"):
        gpu_check.agreement("cpu", "float32")


def test_a_stopped_run_has_the_same_bits_or_is_told(monkeypatch):
    assert gpu_check.resumed("cpu", TINY) == {"levels alike": 2}
    real, drawn = optimizer.optimizer, iter(range(100))

    def nervous(net, settings):
        made = real(net, settings)
        next(iter(made.state.values()))["momentum_buffer"] += next(drawn)
        return made

    monkeypatch.setattr(optimizer, "optimizer", nervous)
    with pytest.raises(RuntimeError, match="uninterrupted one, but level 0 differs"):
        gpu_check.resumed("cpu", TINY)


def test_a_run_that_learns_nothing_is_told(monkeypatch):
    monkeypatch.setattr(gpu_check, "SMALL_RUN", {**gpu_check.SMALL_RUN, "train.epochs": 3})
    assert gpu_check.two_levels("cpu", "lrr", TINY)["accuracy"] > 0.5
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: (2.3, 0.1))
    with pytest.raises(RuntimeError, match=r"accuracy above 0\.5 on digits, got 0\.1"):
        gpu_check.two_levels("cpu", "lrr", TINY)


def test_the_loops_are_timed_on_random_images(monkeypatch):
    monkeypatch.setattr(gpu_check, "LOOPS", gpu_check.LOOPS[:2])
    rates = gpu_check.throughput("cpu", "resnet8", 4, TINY, images=16, seconds=0.1)
    assert list(rates) == ["plain, channels_last", "deepexp"]
    assert min(rates.values()) > 0


def test_every_finding_is_written_as_soon_as_it_is_made(monkeypatch, tmp_path):
    def fails():
        raise ValueError("it\nbroke")

    made = {"first": lambda: {"images/s": 7.0}, "second": fails, "third": dict}
    monkeypatch.setattr(gpu_check, "checks", lambda device: made)
    found, file = [], tmp_path / "found.json"
    for number, one in enumerate(gpu_check.run("cpu", file), 1):
        found.append(str(one))
        assert len(json.loads(file.read_text())["checks"]) == number
    assert found == ["first: ok; images/s 7", "second: FAILED; ValueError: it broke", "third: ok"]
    assert "torch" in json.loads(file.read_text())["hardware"]
    late = [one.ok for one in gpu_check.run("cpu", file, last_start=-1)]
    assert late == [None] * 3


def test_the_checks_are_what_a_new_gpu_must_show():
    names = list(gpu_check.checks("cuda"))
    for part in ("float32", "tf32", "bf16", "imp", "lrr", "resnet20", "resnet18", "resumed"):
        assert any(part in name for name in names)


def test_a_failed_check_is_exit_code_1(monkeypatch, tmp_path, capsys):
    found = [gpu_check.Found("one", True), gpu_check.Found("two", False, "why")]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_check, "run", lambda *_: iter(found))
    assert main.main(["gpu-check", "--out", str(tmp_path / "found.json")]) == 1
    streams = capsys.readouterr()
    assert "two: FAILED; why" in streams.out
    assert "1 of 2 checks failed, starting with two" in streams.err
