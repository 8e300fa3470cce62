"""Time masking, checkpoints, pruning and recording, and measure the peak speed of the machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import prune

from deepexp import models
from deepexp.benchmark.loops import DENSITY
from deepexp.benchmark.timing import seconds_of, times_of, wait_for_device
from deepexp.config.machine import Machine
from deepexp.pruning import masks, signs
from deepexp.pruning.scores import score
from deepexp.runs import checkpoint, level_start
from deepexp.runs.checkpoint import Checkpoint
from deepexp.runs.checks import without_bf16
from deepexp.runs.workspace import Run
from deepexp.storage import bit_files
from deepexp.training import failures, steps


def ceiling(machine: Machine, repeats: int = 5) -> float:
    """Measure the highest rate of square matrix products in the precision of `machine`, in FLOP/s."""
    side = 8192 if machine.device == "cuda" else 2048
    if machine.device == "cpu" and machine.precision == "bf16" and without_bf16():
        side = 512  # a product of larger matrices takes half a minute if bf16 is emulated
    kind = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    left, right = (torch.randn(side, side, device=machine.device, dtype=kind) for _ in range(2))

    def product() -> None:
        torch.mm(left, right)
        wait_for_device(machine.device)

    product()
    return 2 * side**3 / min(times_of(product, repeats))


def costs() -> dict[str, tuple[float, float]]:
    """Measure the seconds that pruning and saving a level take, with this package and with plain PyTorch."""
    large, small = models.build("resnet50", classes=100), models.build("resnet18", classes=10)
    dense = masks.dense_mask(large)
    pruned = [(m, "weight") for m in large.modules() if isinstance(m, nn.Conv2d | nn.Linear)]

    def theirs() -> None:
        prune.global_unstructured(pruned, prune.L1Unstructured, amount=0.2)

    title = f"prune a fifth of ResNet50's {dense.total / 1e6:.1f} M weights (PyTorch: global_unstructured)"
    found = {title: (pruning_seconds(large), seconds_of(theirs, 1))}
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "plain.pt"
        saved = (
            seconds_of(lambda: save(small, Path(name))),
            seconds_of(lambda: torch.save(small.state_dict(), file)),
        )
        found["save masks, signs and weights of ResNet18 (PyTorch: torch.save of the weights)"] = saved
    return found


def save(net: nn.Module, folder: Path) -> int:
    """Write the files of a level (masks, signs and weights), and return their total size in bytes."""
    state = level_start.TrainingState(
        {name: t.cpu().contiguous() for name, t in net.state_dict().items()}, {}
    )
    files = [folder / f"{kind}.safetensors" for kind in ("masks", "signs", "weights")]
    bit_files.save(masks.dense_mask(net).alive, files[0])
    bit_files.save(signs.of(models.prunable(net)), files[1])
    checkpoint.save_state(state, files[2], "bench")
    return sum(file.stat().st_size for file in files)


def pruning_seconds(net: nn.Module) -> float:
    """Measure how many seconds it takes to score a network's weights and find the mask that keeps 80 %."""
    dense = masks.dense_mask(net)
    return seconds_of(lambda: masks.top(score("magnitude", net, 0), dense, dense.total * 4 // 5))


def keep(work: Run, folder: Path) -> None:
    """Check a run's state and write it as a checkpoint, as a run does between epochs."""
    failures.not_finite(work.net, work.sgd)
    state = level_start.capture(work.net, work.sgd)
    checkpoint.save(Checkpoint(0, 1, state, masks.dense_mask(work.net), [], []), folder, "bench")


def recording(net: nn.Module) -> float:
    """Measure how many seconds it takes to write the signs of a network, as a run does after every level."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "signs.safetensors"
        return seconds_of(lambda: bit_files.save(signs.of(models.prunable(net)), file), 10)


def masking(work: Run, repeats: int = 200) -> float:
    """Measure the seconds that masking adds to a step, by timing only the products of gradients and masks."""
    dense, device = masks.dense_mask(work.net), work.config.machine.device
    mask = masks.top(score("magnitude", work.net, 0), dense, int(dense.total * DENSITY))
    weights, zeroing = steps.gradient_masks(work.net, mask)
    for weight in weights:
        weight.grad = torch.ones_like(weight)

    def mask_many() -> None:
        for _ in range(10):
            torch._foreach_mul_([weight.grad for weight in weights], zeroing)
        wait_for_device(device)

    return seconds_of(mask_many, repeats // 10) / 10
