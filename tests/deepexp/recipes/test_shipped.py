"""Recipes on folders of images, from end to end: ImageNet's by one process and by two, Tiny ImageNet's."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deepexp import models
from deepexp.cli import main
from deepexp.config.build import build
from deepexp.recipes import plan
from deepexp.runs import checkpoint
from deepexp.runs import run as levels
from deepexp.schedule import units
from deepexp.storage import bit_files
from deepexp.storage import folder as layout
from deepexp.training import steps
from signflow import results

ROOT = Path(__file__).parents[3]
SMOKE = ["imagenet", "--profile", "smoke", "--device", "cpu"]


def _halves(net, forward, x, y, config, group):
    """The gradients of a batch whose halves one process normalises separately, as two processes do."""
    norms, half = list(models.norms(net).values()), len(x) // 2
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    losses, logits, gradients, after = [], [], [], []
    for part in (slice(0, half), slice(half, 2 * half)):
        for norm, (mean, variance) in zip(norms, before, strict=True):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
        net.zero_grad()
        logits.append(forward(x[part]))
        losses.append(F.cross_entropy(logits[-1], y[part, 0]))
        losses[-1].backward()
        gradients.append([weight.grad.clone() for weight in net.parameters()])
        after.append([(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms])
    for norm, (m0, v0), (m1, v1) in zip(norms, *after, strict=True):
        norm.running_mean.copy_((m0 + m1) / 2)
        norm.running_var.copy_((v0 + v1) / 2)
        norm.num_batches_tracked -= 1  # a batch is one batch
    for weight, first, second in zip(net.parameters(), *gradients, strict=True):
        weight.grad = (first + second) / 2
    return (sum(losses) / 2).detach()[None], torch.cat(logits).detach()[:, None]


def _weights(folder, level):
    return checkpoint.load_state(layout.file(folder, "weights", level)).tensors


@pytest.mark.slow
def test_imagenet_by_one_process_and_by_two(tmp_path, imagenet, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    alone, both = tmp_path / "alone", tmp_path / "both"
    assert main.main(["run", *SMOKE, "--runs", str(alone), "--quiet"]) == 0
    assert main.main(["reduce", *SMOKE, "--runs", str(alone)]) == 0
    assert "P1" in capsys.readouterr().out
    assert results.read("build/results/imagenet.nc")["levels"].arm.values.tolist() == ["imp", "wr", "lrr"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*torchrun, "-m", "deepexp", "run", *SMOKE, "--runs", str(both)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") >= 6
    runs = plan.runs("imagenet", profile="smoke", processes=2)
    assert not units.unfinished(runs, both)
    one, two = (
        next(run.config for run in made if run.arm == "lrr")
        for made in (plan.runs("imagenet", profile="smoke"), runs)
    )
    monkeypatch.setattr(steps, "_gradients", _halves)
    for _ in levels.run(one, tmp_path / "halves" / one.run_id):
        pass
    found, expected = both / two.run_id, tmp_path / "halves" / one.run_id
    for name, tensor in _weights(expected, 0).items():
        other = _weights(found, 0)[name]
        torch.testing.assert_close(other, tensor, rtol=1e-5, atol=1e-5 * float(tensor.abs().max()))
    name = next(iter(bit_files.load(layout.file(found, "masks", 0))))
    together = _weights(alone / one.run_id, 0)[name]  # the tolerance can tell
    assert (together - _weights(found, 0)[name]).abs().max() > 1e-3 * together.abs().max()


@pytest.mark.slow
def test_fig2d_runs_on_ten_classes_of_tiny_imagenet(tmp_path, monkeypatch, jpeg, capsys):
    """In its layout, on images made here; one seed, and one epoch instead of three."""
    root, notes = tmp_path / "data" / "tiny-imagenet-200", []
    for label in range(10):
        for number in range(8):
            jpeg(root / "train" / f"n{label}" / "images" / f"n{label}_{number}.JPEG", 25 * label, seed=number)
        jpeg(root / "val" / "images" / f"val_{label}.JPEG", 25 * label, seed=9)
        notes.append(f"val_{label}.JPEG\tn{label}\t0\t0\t63\t63\n")
    (root / "val" / "val_annotations.txt").write_text("".join(notes))
    monkeypatch.setenv("SIGNFLOW_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SIGNFLOW_WORKERS", "0")
    monkeypatch.chdir(tmp_path)
    _fig2d(tmp_path, seeds=1, epochs=1)
    assert "P3" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.data
def test_fig2d_runs_on_ten_classes_of_the_real_images(tmp_path, monkeypatch, real_data):
    config = build({"data.dataset": "tinyimagenet", "data.classes": 10})
    try:
        units.check_data("fig2d", [plan.PlannedRun("tinyimagenet", "imp", config)])
    except ValueError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    _fig2d(tmp_path, seeds=1, epochs=1)


def _fig2d(folder, seeds, epochs):
    text = (ROOT / "deepexp" / "recipes" / "fig2d.toml").read_text()
    smoke = '[profiles.smoke]\nbase = "usual"\n'
    assert smoke in text
    fewer = (
        f"seeds = {list(range(seeds))}\n"
        'settings.model = { name = "resnet8", width = 0.5 }\n'
        f"settings.train = {{ epochs = {epochs} }}\n"
        "settings.pruning = { levels = 3, keep = 0.5 }\n"
    )
    (folder / "fig2d.toml").write_text(text.replace(smoke, smoke + fewer))
    arguments = ["fig2d.toml", "--profile", "smoke", "--panel", "tinyimagenet", "--device", "cpu"]
    assert main.main(["run", *arguments, "--quiet"]) == 0
    assert main.main(["reduce", *arguments]) == 0
    table = results.read(folder / "build/results/fig2d.nc")["levels"]
    assert table.panel.values.tolist() == ["tinyimagenet"]
    assert table.arm.values.tolist() == ["imp", "lrr", "lrr-on-imp"]
    assert table.test_accuracy.notnull().all()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "decided"), [("sign-in", ["P9", "P10", "P12"]), ("cyclic", ["P11"])])
def test_smoke_profiles_of_beyond_the_paper_end_in_verdicts(tmp_path, monkeypatch, name, decided):
    monkeypatch.chdir(tmp_path)
    smoke = [name, "--profile", "smoke"]
    assert main.main(["run", *smoke, "--device", "cpu", "--quiet"]) == 0
    assert main.main(["reduce", *smoke, "--device", "cpu"]) == 0
    tables = results.read(tmp_path / f"build/results/{name}.nc")
    assert tables["verdicts"].prediction.values.tolist() == decided
    assert set(tables["verdicts"].word.values) <= {"INCONCLUSIVE", "NOT RUN"}  # of two seeds
    assert np.isfinite(tables["verdicts"]["values"]).all()
    levels = tables["levels"].sel(panel="digits")
    last = levels.isel(level=levels.prunings.astype(int))
    assert (last.test_accuracy > 0.5).all()
