"""Training steps by our loop and by plain ones, timed in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from deepexp import models
from deepexp.benchmark.timing import wait_for_device
from deepexp.config.build import build
from deepexp.data import dataset as data
from deepexp.pruning import masks
from deepexp.pruning.scores import score
from deepexp.runs import level_start
from deepexp.runs.setup import prepare
from deepexp.runs.speed import our_share
from deepexp.runs.stack import Stack
from deepexp.runs.workspace import Run
from deepexp.training import forward as train

CHUNK = 3  # steps on a CPU that a loop makes before it is the next one's turn; on a GPU, an epoch
PLAIN = 10_000  # images at most, but a batch, that a plain loop has as floats in memory
DENSITY = 0.2  # of the masked loops
STACK = 4


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
    made = {name: loop_of(name, chosen, loaded) for name in only or names(compiled)}
    batch, device = build(chosen).train.batch_size, loaded.mean.device.type
    for loop in made.values():
        next(loop)  # compiles, and takes its memory
    rates: dict[str, list[float]] = {name: [] for name in made}
    done, end = dict.fromkeys(made, 0), time.perf_counter() + seconds
    while not min(done.values()) or (min(done.values()) < images and time.perf_counter() < end):
        for name, loop in made.items():
            wait_for_device(device)
            began = time.perf_counter()
            trained = next(loop) * batch
            wait_for_device(device)
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


def loop_of(
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
        return our_share(stack, masks.dense_mask(stack.net), chunk)
    mask = masks.dense_mask(work.net)
    if "masked" in name:
        mask = masks.top(score("magnitude", work.net, 0), mask, int(mask.total * DENSITY))
        level_start.restore(
            work.net, work.sgd, level_start.masked(level_start.capture(work.net, work.sgd), mask)
        )
    return our_share(work, mask, chunk)


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
