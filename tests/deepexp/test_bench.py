"""The benchmark runs, its loops train what they say, and its counts are those of the closed forms."""

import math
import time

import pytest
import torch

from deepexp import models
from deepexp.benchmark import alone, loops, parts, report
from deepexp.cli import main
from deepexp.config.build import build
from deepexp.config.machine import Machine
from deepexp.data import dataset
from deepexp.runs import speed
from deepexp.runs.setup import prepare

SMALL = loops.settings("digits", "resnet8", 32)
EAGER = loops.loop_names(compiled=False)


def test_every_loop_trains_on_one_copy_of_the_data(monkeypatch):
    real, loaded = dataset.load, []
    monkeypatch.setattr(dataset, "load", lambda *given: loaded.append(given) or real(*given))
    rates, images = loops.loops(SMALL, images=192)
    assert len(loaded) == 1
    assert 192 <= images < 192 + 32 * loops.STEPS_A_TURN
    assert list(rates) == EAGER
    assert min(rates.values()) > 0


def test_a_batch_larger_than_what_the_plain_loop_has_in_memory(monkeypatch):
    monkeypatch.setattr(loops, "PLAIN", 16)
    loaded = dataset.load(build(SMALL).data, 0)
    assert next(loops.loop_of("plain", SMALL, loaded, chunk=2)) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_told_in_one_line(capsys):
    command = ["bench", "--dataset", "digits", "--model", "resnet8", "--device", "cuda"]
    assert main.main(command) == 2
    assert "machine.device = 'cuda' needs a CUDA device" in capsys.readouterr().err


def test_the_loops_end_when_their_time_is_over():
    began = time.monotonic()
    _, images = loops.loops(SMALL, images=10**9, seconds=0.5)
    assert images >= 32 * loops.STEPS_A_TURN
    assert time.monotonic() - began < 60


def test_a_loop_tells_how_many_batches_it_took():
    """44 an epoch: chunks of 15 end with the epoch; the plain loop counts on; of a stack, those of each."""
    loaded = dataset.load(build(SMALL).data, 0)
    names = ("deepexp, masked", "plain", f"deepexp, {loops.STACK} seeds stacked")
    assert set(names) <= set(EAGER)
    ours, plain, stacked = (loops.loop_of(name, SMALL, loaded, chunk=15) for name in names)
    assert [next(ours) for _ in range(5)] == [15, 15, 14, 1, 15]
    assert [next(plain) for _ in range(4)] == [15, 15, 15, 15]
    assert [next(stacked) for _ in range(3)] == [15 * loops.STACK, 15 * loops.STACK, 14 * loops.STACK]


def test_the_command_writes_its_tables_into_the_readme(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(report, "alone", lambda name, chosen: alone.Alone(2.5, 345.6))  # in the slow test
    monkeypatch.setattr(report, "costs", lambda: {"prune": (0.25, math.nan)})
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- deepexp benchmark: begin -->\nold\n<!-- deepexp benchmark: end -->\nz\n")
    options = ["--dataset", "digits", "--model", "resnet8", "--batch", "32", "--images", "96"]
    options += ["--seconds", "0", "--threads", "1", "--device", "cpu", "--precision", "bf16"]
    assert main.main(["bench", *options, "--into", str(readme)]) == 0
    told, _, hint = capsys.readouterr().out.strip().rpartition("\n")
    assert hint == "plan a recipe at these speeds: deepexp plan fig3 --profile short"
    told = told.strip()
    assert readme.read_text() == (
        f"a\n<!-- deepexp benchmark: begin -->\n{told}\n<!-- deepexp benchmark: end -->\nz\n"
    )
    lines = told.splitlines()
    assert lines[0].startswith("**resnet8 on digits, batches of 32 images, bf16, at least 96 images")
    rows = [line.split(" | ") for line in lines if line.startswith(("| plain", "| deepexp"))]
    assert [row[0] for row in rows[: len(EAGER)]] == [f"| {name}" for name in EAGER]
    for _, rate, _, step, start, memory in rows:
        assert float(rate.replace(",", "")) * float(step) == pytest.approx(32e3, rel=0.02)
        assert (start, memory) == ("2.50", "346 |")
    rates = {row[0]: float(row[1].replace(",", "")) for row in rows}
    (ratio,) = (float(line.split("takes ")[1].split()[0]) for line in lines if line.startswith("- Sign-In: "))
    assert ratio == pytest.approx(rates["| deepexp"] / rates["| deepexp, Sign-In"], rel=0.02)
    assert "| prune | 0.250 |  |" in lines
    assert f"torch {torch.__version__}." in lines[-1]
    shares = [float(line.split("masking: ")[1].split("%")[0]) for line in lines if "masking: " in line]
    assert len(shares) == 1
    assert 0 < shares[0] < 100


def test_a_readme_without_the_section_is_bad_input(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(report, "report", lambda *_, **__: iter(["measured"]))
    (tmp_path / "README.md").write_text("nothing")
    assert main.main(["bench", "--into", str(tmp_path / "README.md")]) == 2
    assert "must hold the lines <!-- deepexp benchmark: begin -->" in capsys.readouterr().err


def test_a_rate_becomes_the_time_of_a_study(tmp_path, monkeypatch):
    """1,408 images an epoch at 704 a second: 2 s; nothing else takes time: 26 x 150 epochs are 2.17 h."""
    monkeypatch.setattr(report, "seconds_of", lambda *_: 0.0)
    monkeypatch.setattr(report, "pruning_seconds", lambda _: 0.0)
    monkeypatch.setattr(report, "_number", lambda value: f"{value:.6g}")
    told = report._study(prepare(build(SMALL), tmp_path), 704.0)
    assert told.startswith("- 2 s an epoch")
    assert told.endswith("estimate for 26 levels of 150 epochs: 2.16667 h")


def test_the_operations_of_an_image_are_counted(tmp_path):
    """By formula: 2 x weights x pixels of the output forward; backward as much for the weights, and as much
    for the input, which the first layer does not need."""
    work = prepare(build(SMALL), tmp_path)
    sides = {"conv": 8, "stages.0": 8, "stages.1": 4, "stages.2": 2, "classifier": 1}
    expected = 0
    for name, weight in models.prunable(work.net).items():
        side = next(side for start, side in sides.items() if name.startswith(start))
        expected += (2 if name == "conv.weight" else 3) * 2 * weight.numel() * side**2
    assert speed.operations(work) == expected


def test_the_ceiling_is_a_rate_of_this_machine(monkeypatch):
    monkeypatch.setattr(parts, "times_of", lambda product, repeats: [product() or 0.5, product() or 0.25])
    assert parts.ceiling(Machine()) == 2 * 2048**3 / 0.25


def test_the_speed_of_a_configuration_is_measured(tmp_path):
    slow, fast = (
        speed.images_per_second(
            prepare(build({"model.name": name, "train.batch_size": 16}), tmp_path), seconds=0.2
        )
        for name in ("resnet56", "resnet8")
    )
    assert fast > 2 * slow > 0  # it has a seventh of the layers


@pytest.mark.slow
def test_a_process_of_its_own_tells_its_start_and_its_memory():
    found = alone.alone("deepexp, masked", SMALL)
    assert 0.5 < found.start < 120
    assert 100 < found.memory < 5_000
    with pytest.raises(
        RuntimeError, match=r"a process that trains with the loop 'deepexp' failed: .*must be one of"
    ):
        alone.alone("deepexp", {"data.dataset": "none"})


@pytest.mark.slow
def test_a_level_of_resnet18_is_at_most_50_mb(tmp_path):
    net = models.build("resnet18", classes=10).to(memory_format=torch.channels_last)
    assert parts.save(net, tmp_path) <= 50e6
    ours = [ours for ours, _ in parts.costs().values()]
    assert len(ours) == 2
    assert min(ours) > 0
