"""Whole steps and whole runs on a GPU that computes nothing: no device is mixed, and nothing waits for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no devices made in Python",
)
HERE = Path(__file__).parent
REST = ("resnet20", "resnet56", "resnet18", "resnet34", "resnet50", "vgg16")


@pytest.mark.parametrize("names", [("resnet8",), pytest.param(REST, marks=pytest.mark.slow)])
def test_every_step_stays_on_the_gpu_and_only_an_epochs_report_waits_for_it(names):
    done = subprocess.run(
        [sys.executable, str(HERE / "pretend_gpu.py"), *names],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    report = ["item", "item"]  # the sums of the losses and of the right answers
    assert all(found.pop(f"{name} {kind}") == report for name in names for kind in ("float32", "bf16"))
    assert found == {name: [1.0, 0.5, 0.25] for name in ("imp", "wr", "lrr") if len(names) > 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("index = torch.arange(4)\nx[index]", "mixes a tensor of the CPU with one of the GPU"),
        ("x + torch.ones(4)", "mixes a tensor of the CPU with one of the GPU"),
        ("bool((x > 0).all())\nassert not gpu.waits", "AssertionError"),
        ("x.cpu()\nassert not gpu.waits", "AssertionError"),
    ],
)
def test_what_a_gpu_would_refuse_or_wait_for_is_seen(change, message):
    code = (
        "import torch\nfrom tests.deepexp.pretend_gpu import NAME, pretended\n"
        "with pretended() as gpu:\n    x = torch.ones(4, device=NAME)\n    "
    ) + change.replace("\n", "\n    ")
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE.parents[1], capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr
