"""How fast this machine trains beside a plain PyTorch loop on the same images, and what masks and signs cost.

All loops take turns in short chunks within one process, so that whatever else the machine does falls on all
of them alike; rates are medians over the chunks. What a process is measured by as a whole, its start and its
memory, comes from one of its own for every loop.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from deepexp import models, train
from deepexp.config.build import build
from deepexp.config.settings import Machine
from deepexp.data import dataset as data
from deepexp.pruning import masks, signs
from deepexp.pruning.scores import score
from deepexp.runs import checkpoint, level_start
from deepexp.runs.checkpoint import Checkpoint
from deepexp.runs.setup import prepare
from deepexp.runs.speed import _ours, operations
from deepexp.runs.stack import Stack
from deepexp.runs.workspace import Run
from deepexp.storage import bit_files
from signflow.machine import peak_memory
from signflow.messages import Failure
from signflow.provenance import provenance
from signflow.readme import three_digits

CHUNK = 3  # steps on a CPU that a loop makes before it is the next one's turn; on a GPU, an epoch
PLAIN = 10_000  # images at most, but a batch, that a plain loop has as floats in memory
DENSITY = 0.2  # of the masked loops
STACK = 4
STUDY = (26, 150)  # trainings and epochs of each in the study whose time is estimated


def settings(
    dataset: str = "cifar10", model: str = "resnet20", batch: int = 128, **machine: Any
) -> dict[str, Any]:
    """The settings of a benchmark for `config.build`; `machine` has fields of its section."""
    chosen = {"data.dataset": dataset, "model.name": model, "train.batch_size": batch}
    return chosen | {f"machine.{name}": value for name, value in machine.items()}


def loops(
    chosen: Mapping[str, Any],
    *,
    images: int = 5000,
    seconds: float = 60.0,
    compiled: bool = False,
    only: Sequence[str] | None = None,
    dataset: data.Dataset | None = None,
) -> tuple[dict[str, float], int]:
    """Training images/s of each loop (`only` these), masked ones at `DENSITY`, over how many images at least.

    They train on `dataset`, by default that of the settings.
    The measurement ends with the round in which each has trained on `images`, or `seconds` are over.
    """
    loaded = prepare(build(chosen), Path(), dataset=dataset).dataset
    if not isinstance(loaded.train, data.Images):
        raise ValueError(
            f"the plain loop needs images that fit in memory; choose another than '{chosen['data.dataset']}'"
        )
    made = {name: _loop(name, chosen, loaded) for name in only or names(compiled)}
    batch, device = build(chosen).train.batch_size, loaded.mean.device.type
    for loop in made.values():
        next(loop)  # compiles, and takes its memory
    rates: dict[str, list[float]] = {name: [] for name in made}
    done, end = dict.fromkeys(made, 0), time.perf_counter() + seconds
    while not min(done.values()) or (min(done.values()) < images and time.perf_counter() < end):
        for name, loop in made.items():
            _wait(device)
            began = time.perf_counter()
            trained = next(loop) * batch
            _wait(device)
            rates[name].append(trained / (time.perf_counter() - began))
            done[name] += trained
    return {name: statistics.median(values) for name, values in rates.items()}, min(done.values())


def names(compiled: bool) -> list[str]:
    """The loops, the reference first."""
    return [name for name in _LOOPS if compiled or "compiled" not in name]


_LOOPS = (
    "plain, channels_last",
    "plain",
    "plain, channels_last, prune masks",
    "deepexp",
    "deepexp, masked",
    f"deepexp, {STACK} seeds stacked",
    "deepexp, compiled",
    "deepexp, masked, compiled",
    f"deepexp, {STACK} seeds stacked, compiled",
)


def _loop(
    name: str, chosen: Mapping[str, Any], dataset: data.Dataset | None = None, chunk: int | None = None
) -> Iterator[int]:
    """The loop of that name; hands back, after `chunk` steps or an epoch's end, how many batches it took."""
    chosen = {**chosen, "machine.compile": "compiled" in name}
    config = build(chosen)
    work = prepare(config, Path(), dataset=dataset)
    if chunk is None:
        chunk = CHUNK if config.machine.device == "cpu" else work.per_epoch
    if name.startswith("plain"):
        return _plain(work, chunk, "channels_last" in name, "prune" in name)
    if "stacked" in name:
        chosen |= {"machine.stack": list(range(STACK))}
        members = [build({**chosen, "seed": seed}) for seed in range(STACK)]
        stack = Stack([prepare(member, Path(), dataset=work.dataset) for member in members])
        return _ours(stack, masks.dense(stack.net), chunk)
    mask = masks.dense(work.net)
    if "masked" in name:
        mask = masks.top(score("magnitude", work.net, 0), mask, int(mask.total * DENSITY))
        level_start.restore(
            work.net, work.sgd, level_start.masked(level_start.capture(work.net, work.sgd), mask)
        )
    return _ours(work, mask, chunk)


def _plain(work: Run, chunk: int, channels_last: bool, pruned: bool) -> Iterator[int]:
    """The loop that one writes without this package: normalised float images in memory, no augmentation."""
    config, dataset = work.config, work.dataset
    assert isinstance(dataset.train, data.Images)
    net = models.build(config.model.name, classes=dataset.classes, channels=dataset.train.x.shape[-1])
    net.to(config.machine.device)
    x = dataset.normalise(dataset.train.x[: max(PLAIN, config.train.batch_size)])
    if pruned:  # before channels_last: its masks are made with view(-1), which that layout refuses
        for module in [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]:
            prune.l1_unstructured(module, "weight", amount=1 - DENSITY)
    if channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    else:
        x = x.clone(memory_format=torch.contiguous_format)  # one channel's strides satisfy both formats
    forward = train.compiled(net, config.machine)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    net.train()
    count = 0
    while True:
        order = torch.randperm(len(x), device=x.device)
        for index in order.split(config.train.batch_size)[: len(x) // config.train.batch_size]:
            loss = F.cross_entropy(forward(x[index]), dataset.train.y[index])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            count += 1
            if count == chunk:
                yield count
                count = 0


@dataclass(frozen=True)
class Alone:
    """Of a process of its own: seconds from its start to its first step, and its peak memory in MB.

    The memory is that of training (not of loading the data): the device's on a GPU, else the resident one;
    NaN where the system does not tell it.
    """

    start: float
    memory: float


def alone(name: str, chosen: Mapping[str, Any]) -> Alone:
    """Start a process that trains by the loop `name` for a few steps."""
    code = "import json, sys; from deepexp import bench; bench.report_alone(*json.loads(sys.argv[1]))"
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([name, chosen])], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Failure(f"a process that trains by '{name}' failed: {last}")
    first, memory = json.loads(done.stdout)
    return Alone(first - began, memory)


def report_alone(name: str, chosen: Mapping[str, Any]) -> None:
    """Print when the first step was done and the peak memory in MB, of this process."""
    device = build(chosen).machine.device
    loop = _loop(name, chosen, chunk=1)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # sets Linux's VmHWM back
    next(loop)
    _wait(device)
    first = time.time()
    for _ in range(3):
        next(loop)
    _wait(device)
    print(json.dumps([first, torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else peak_memory()]))


def ceiling(machine: Machine, repeats: int = 5) -> float:
    """The highest rate measured here, in FLOP/s, of a product of square matrices in `machine`'s precision."""
    side = 8192 if machine.device == "cuda" else 2048
    kind = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    left, right = (torch.randn(side, side, device=machine.device, dtype=kind) for _ in range(2))

    def product() -> None:
        torch.mm(left, right)
        _wait(machine.device)

    product()
    return 2 * side**3 / min(_times(product, repeats))


def costs() -> dict[str, tuple[float, float]]:
    """Seconds of what a level adds to its training, ours and those of PyTorch's own way."""
    large, small = models.build("resnet50", classes=100), models.build("resnet18", classes=10)
    dense = masks.dense(large)
    pruned = [(m, "weight") for m in large.modules() if isinstance(m, nn.Conv2d | nn.Linear)]

    def theirs() -> None:
        prune.global_unstructured(pruned, prune.L1Unstructured, amount=0.2)

    title = f"prune ResNet50 ({dense.total / 1e6:.1f} M weights) by a fifth; prune.global_unstructured"
    found = {title: (_pruning(large), _seconds(theirs, 1))}
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "plain.pt"
        saved = (
            _seconds(lambda: save(small, Path(name))),
            _seconds(lambda: torch.save(small.state_dict(), file)),
        )
        found["save a level of ResNet18: masks, signs, weights; torch.save of the weights"] = saved
    return found


def save(net: nn.Module, folder: Path) -> int:
    """Write what a level leaves; returns the bytes."""
    state = level_start.State({name: t.cpu().contiguous() for name, t in net.state_dict().items()}, {})
    files = [folder / f"{kind}.safetensors" for kind in ("masks", "signs", "weights")]
    bit_files.save(masks.dense(net).alive, files[0])
    bit_files.save(signs.of(models.prunable(net)), files[1])
    checkpoint.save_state(state, files[2], "bench")
    return sum(file.stat().st_size for file in files)


def _pruning(net: nn.Module) -> float:
    dense = masks.dense(net)
    return _seconds(lambda: masks.top(score("magnitude", net, 0), dense, dense.total * 4 // 5))


def keep(work: Run, folder: Path) -> None:
    """Check a run's state and write it as a checkpoint, as after an epoch."""
    train.not_finite(work.net, work.sgd)
    state = level_start.capture(work.net, work.sgd)
    checkpoint.save(Checkpoint(0, 1, state, masks.dense(work.net), [], []), folder, "bench")


def recording(net: nn.Module) -> float:
    """Seconds that it takes to write the signs of a network's weights, as at the end of every level."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "signs.safetensors"
        return _seconds(lambda: bit_files.save(signs.of(models.prunable(net)), file), 10)


def masking(work: Run, repeats: int = 200) -> float:
    """Seconds that masking adds to a step of a run: its gradients times the masks, measured by itself."""
    dense, device = masks.dense(work.net), work.config.machine.device
    mask = masks.top(score("magnitude", work.net, 0), dense, int(dense.total * DENSITY))
    weights, zeroing = train.gradient_masks(work.net, mask)
    for weight in weights:
        weight.grad = torch.ones_like(weight)

    def mask_many() -> None:
        for _ in range(10):
            torch._foreach_mul_([weight.grad for weight in weights], zeroing)
        _wait(device)

    return _seconds(mask_many, repeats // 10) / 10


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _times(work: Callable[[], object], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


def _seconds(work: Callable[[], object], repeats: int = 3) -> float:
    return statistics.median(_times(work, repeats))


def report(
    chosen: Mapping[str, Any], *, images: int = 5000, seconds: float = 45.0, compiled: bool = False
) -> Iterator[str]:
    """The parts of the benchmark as Markdown, each as soon as it is measured."""
    config = build(chosen)
    rates, trained = loops(chosen, images=images, seconds=seconds, compiled=compiled)
    work = prepare(config, Path())
    yield (
        f"**{config.model.name} on {config.data.dataset}, batches of {config.train.batch_size} images, "
        f"{config.machine.precision}, {trained:,} images and more by each loop**"
    )
    yield _rates(rates, {name: alone(name, chosen) for name in rates}, config.train.batch_size)
    yield _shares(work, rates)
    yield _costs(costs())
    yield _study(work, max(rate for name, rate in rates.items() if "masked" in name))
    yield hardware(config.machine) + "."


def _rates(rates: Mapping[str, float], measured: Mapping[str, Alone], batch: int) -> str:
    base = rates["plain, channels_last"]
    lines = [
        "| loop | images/s | relative | ms a batch | start, s | memory, MB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, rate in rates.items():
        cells = (rate, rate / base, 1e3 * batch / rate, measured[name].start, measured[name].memory)
        lines.append(f"| {name} | {' | '.join(map(_number, cells))} |")
    return "\n".join(lines)


def _shares(work: Run, rates: Mapping[str, float]) -> str:
    """What the loop adds to its steps, and how much of the machine it takes."""
    batch, count = work.config.train.batch_size, len(work.dataset.train)
    machine = work.config.machine
    rate = max(rate for name, rate in rates.items() if name in ("deepexp", "deepexp, compiled"))
    done, most = operations(work), ceiling(machine)
    masked, signed = masking(work) * rates["deepexp"] / batch, recording(work.net) * rates["deepexp"] / count
    return "\n".join(
        [
            f"- masking: {masked:.3%} of a step; recording the signs: {signed:.3%} of a level of one epoch",
            f"- {done / 1e9:.3g} GFLOP to train on an image: {_number(done * rate / 1e9)} GFLOP/s, "
            f"{done * rate / most:.1%} of the {_number(most / 1e9)} that a {machine.precision} matrix "
            "product reaches here",
        ]
    )


def _costs(found: Mapping[str, tuple[float, float]]) -> str:
    lines = ["| seconds | deepexp | PyTorch |", "|---|--:|--:|"]
    for name, pair in found.items():
        lines.append(f"| {name} | {' | '.join(map(_number, pair))} |")
    return "\n".join(lines)


def _study(work: Run, rate: float) -> str:
    """How long a study would take at `rate` images/s, with what stands between its epochs and its levels."""
    trainings, epochs = STUDY
    epoch = work.per_epoch * work.config.train.batch_size / rate
    with tempfile.TemporaryDirectory() as name:
        kept = _seconds(lambda: keep(work, Path(name)))
        level = _pruning(work.net) + _seconds(lambda: save(work.net, Path(name)))
    some = work.dataset.test[torch.arange(min(1000, len(work.dataset.test)))]
    looked = _seconds(lambda: train.evaluate(work.net, some, work.dataset, work.config.machine), 1)
    level += looked * len(work.dataset.test) / len(some)
    often = min(1.0, epoch / checkpoint.PAUSE)  # checkpoints an epoch
    hours = trainings * (epochs * (epoch + kept * often) + level) / 3600
    return (
        f"- {_number(epoch)} s an epoch, {_number(kept)} s a checkpoint, {_number(level)} s to evaluate, "
        f"prune and save a level; estimate for {trainings} trainings of {epochs} epochs: {_number(hours)} h"
    )


def _number(value: float) -> str:
    return "" if math.isnan(value) else three_digits(value)


def hardware(machine: Machine) -> str:
    """The processor or the GPU, the threads used, and the versions that were measured."""
    made, about = provenance({}), f"{machine.threads} thread{'s' * (machine.threads > 1)}"
    found = {name: json.loads(str(made["versions"]))[name] for name in ("python", "numpy")}
    found["torch"] = torch.__version__
    if machine.device == "cuda":
        about = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
        with contextlib.suppress(RuntimeError):
            found["cudnn"] = str(torch.backends.cudnn.version())
    versions = ", ".join(f"{name} {version}" for name, version in found.items())
    return f"{made['cpu']}, {about}; {versions}"
