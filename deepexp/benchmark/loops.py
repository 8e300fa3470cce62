"""Time the training loops of this package and plain PyTorch loops, which take turns."""

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

STEPS_A_TURN = 3  # steps in a loop's turn on a CPU; on a GPU, a turn is an epoch
PLAIN = 10_000  # number of images that a plain loop keeps in memory as floats (at least one batch)
DENSITY = 0.2  # density of the masks in the masked loops
STACK = 4  # number of seeds in the stacked loops


def settings(
    dataset: str = "cifar10", model: str = "resnet20", batch: int = 128, **machine: Any
) -> dict[str, Any]:
    """Return the settings of a benchmark, in the form that `config.build` expects.

    Parameters
    ----------
    dataset, model : str
        The names of the data set and the network.
    batch : int
        The number of images per batch.
    **machine
        The settings of the section 'machine', by field.

    Returns
    -------
    dict
        The settings, by dotted key.
    """
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
    """Measure the speed of several training loops that take turns.

    A round consists of one turn of every loop. The measurement stops at the end of a round, once every loop
    has trained on `images` images or `seconds` have passed.

    Parameters
    ----------
    chosen : mapping
        Settings, as `settings` returns them.
    images : int
        The number of images after which a loop has trained enough.
    seconds : float
        The time limit in seconds for all loops together.
    compiled : bool
        Whether to measure the compiled loops as well.
    only : sequence of str, optional
        The names of the loops to measure (default: the names from `loop_names`).
    dataset : Dataset, optional
        The data set to train on (default: the data set that `chosen` names).

    Returns
    -------
    rates : dict of float
        The median speed of each loop in images/s, by the name of the loop.
    trained : int
        The smallest number of images that any loop has trained on.

    Raises
    ------
    ValueError
        If the images stay in files instead of being kept in memory.
    """
    loaded = prepare(build(chosen), Path(), dataset=dataset).dataset
    if not isinstance(loaded.train, data.Images):
        raise ValueError(
            "the plain loop needs images that are kept in memory; choose a data set other than "
            f"'{chosen['data.dataset']}'"
        )
    made = {name: loop_of(name, chosen, loaded) for name in only or loop_names(compiled)}
    batch, device = build(chosen).train.batch_size, loaded.mean.device.type
    for loop in made.values():
        next(loop)  # not timed, since the first turn compiles and allocates
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


def loop_names(compiled: bool) -> list[str]:
    """Return the names of the loops, the reference loop first, without compiled loops unless `compiled`."""
    return [name for name in _LOOPS if compiled or "compiled" not in name]


_LOOPS = (
    "plain, channels_last",
    "plain",
    "plain, channels_last, prune masks",
    "deepexp",
    "deepexp, masked",
    "deepexp, Sign-In",
    f"deepexp, {STACK} seeds stacked",
    "deepexp, compiled",
    "deepexp, masked, compiled",
    f"deepexp, {STACK} seeds stacked, compiled",
)


def loop_of(
    name: str, chosen: Mapping[str, Any], dataset: data.Dataset | None = None, chunk: int | None = None
) -> Iterator[int]:
    """Return the loop called `name`, as an iterator that trains.

    After every `chunk` steps (default: a turn), the iterator yields the number of batches that it has trained
    on since it last yielded. A loop of this package also yields at the end of every epoch.
    """
    chosen = {**chosen, "machine.compile": "compiled" in name}
    if "Sign-In" in name:
        chosen["train.parameterization"] = "sign-in"
    config = build(chosen)
    work = prepare(config, Path(), dataset=dataset)
    if chunk is None:
        chunk = STEPS_A_TURN if config.machine.device == "cpu" else work.per_epoch
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
    """Train in a plain PyTorch loop, on normalised float images in memory and without augmentation."""
    config, dataset = work.config, work.dataset
    assert isinstance(dataset.train, data.Images)
    net = models.build(config.model.name, classes=dataset.classes, channels=dataset.train.x.shape[-1])
    net.to(config.machine.device)
    x = dataset.normalise(dataset.train.x[: max(PLAIN, config.train.batch_size)])
    if pruned:  # before changing the layout to channels_last, in which the view(-1) of prune fails
        for module in [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]:
            prune.l1_unstructured(module, "weight", amount=1 - DENSITY)
    if channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    else:
        # With one channel, the strides fit both layouts, so that x.contiguous() would change nothing.
        x = x.clone(memory_format=torch.contiguous_format)
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
