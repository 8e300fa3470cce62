"""How fast this machine trains beside a plain PyTorch loop on the same images, and what masks and signs cost.

All loops take turns in short chunks within one process, so that whatever else the machine does falls on all
of them alike; rates are medians over the chunks.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from deepexp import data, masks, models, policy, signs, train
from deepexp.checkpoint import save_state
from deepexp.config import build
from deepexp.prepare import Run, prepare
from deepexp.scores import score

CHUNK = 3  # steps that a loop makes before it is the next one's turn


def images_per_second(work: Run, seconds: float = 1.0) -> float:
    """The speed on this machine of training a run's network on its data, after a warm-up."""
    steps = _ours(work, masks.dense(work.net))
    next(steps)
    began, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - began < seconds:
        next(steps)
        count += 1
    return count * work.config.train.batch_size / (time.perf_counter() - began)


def loops(
    *,
    dataset: str = "cifar10",
    model: str = "resnet20",
    images: int = 5000,
    batch: int = 128,
    threads: int = 2,
    seconds: float = 60.0,
    compiled: bool = False,
) -> tuple[dict[str, float], int]:
    """Training images/s of each loop, masked ones at density 0.2, and over how many images each was measured.

    The measurement ends after `images` images or the round in which `seconds` are over.
    """
    names = [name for name in _LOOPS if compiled or "compiled" not in name]
    settings = {
        "data.dataset": dataset,
        "model.name": model,
        "train.batch_size": batch,
        "machine.threads": threads,
    }
    loaded = data.load(build(settings).data, 0)
    if not isinstance(loaded.train, data.Images):
        raise ValueError(f"the plain loop needs images that fit in memory; choose another than '{dataset}'")
    made = {}
    for name in names:
        config = build({**settings, "machine.compile": "compiled" in name})
        made[name] = _loop(name, prepare(config, Path(), dataset=loaded))
    for steps in made.values():
        for _ in range(2):
            next(steps)
    rates: dict[str, list[float]] = {name: [] for name in made}
    rounds, end = 0, time.perf_counter() + seconds
    while rounds == 0 or ((rounds + 1) * CHUNK * batch <= images and time.perf_counter() < end):
        rounds += 1
        for name, steps in made.items():
            began = time.perf_counter()
            for _ in range(CHUNK):
                next(steps)
            rates[name].append(CHUNK * batch / (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in rates.items()}, rounds * CHUNK * batch


_LOOPS = (
    "plain",
    "plain, channels_last",
    "plain, channels_last, prune masks",
    "deepexp",
    "deepexp, masked",
    "deepexp, masked, compiled",
)


def _loop(name: str, work: Run) -> Iterator[None]:
    if name.startswith("plain"):
        return _plain(work, "channels_last" in name, "prune" in name)
    mask = masks.dense(work.net)
    if "masked" in name:
        mask = masks.top(score("magnitude", work.net, 0), mask, mask.total // 5)
        policy.restore(work.net, work.sgd, policy.masked(policy.capture(work.net, work.sgd), mask))
    return _ours(work, mask)


def _ours(work: Run, mask: masks.Mask) -> Iterator[None]:
    """The training loop itself, handing back after every step."""
    while True:
        every = range(work.total)
        for _ in train.steps(work.net, work.forward, work.sgd, mask, work.dataset, work.config, 0, 0, every):
            yield


def _plain(work: Run, channels_last: bool, pruned: bool) -> Iterator[None]:
    """The loop that one writes without this package: normalised float images in memory, no augmentation."""
    config, dataset = work.config, work.dataset
    assert isinstance(dataset.train, data.Images)
    net = models.build(config.model.name, classes=dataset.classes, channels=dataset.train.x.shape[-1])
    x = dataset.normalise(dataset.train.x[:10_000])
    if pruned:  # before channels_last: its masks are made with view(-1), which that layout refuses
        for module in [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]:
            prune.l1_unstructured(module, "weight", amount=0.8)
    if channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    else:
        x = x.contiguous()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    net.train()
    while True:
        for index in torch.randperm(len(x)).split(config.train.batch_size)[:-1]:
            loss = F.cross_entropy(net(x[index]), dataset.train.y[index])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            yield


def costs(*, threads: int = 2) -> dict[str, float]:
    """Seconds (and, where said, bytes) of what a level adds to its training."""
    torch.set_num_threads(threads)
    net = models.build("resnet50", classes=100)
    dense = masks.dense(net)
    flat = torch.cat([weight.detach().abs().flatten() for weight in models.prunable(net).values()])
    keep = dense.total * 4 // 5
    found = {
        "prune ResNet50 (23.5 M weights), s": _seconds(
            lambda: masks.top(score("magnitude", net, 0), dense, keep)
        ),
        "torch.kthvalue of as many, s": _seconds(lambda: torch.kthvalue(flat, dense.total - keep)),
    }
    net = models.build("resnet18", classes=10)
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        for kind in ("masks", "signs"):
            masks.save(masks.dense(net).alive, out / f"{kind}.safetensors")
        save_state(policy.State(net.state_dict(), {}), out / "weights.safetensors", "bench")
        found["a saved level of ResNet18, bytes"] = sum(file.stat().st_size for file in out.iterdir())
    return found


def recording(model: str, *, threads: int = 2) -> float:
    """Seconds that it takes to write the signs of a model's weights, as at the end of every level."""
    torch.set_num_threads(threads)
    weights = models.prunable(models.build(model, classes=10))
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "signs.safetensors"
        return _seconds(lambda: masks.save(signs.of(weights), file), 10)


def masking(model: str, *, threads: int = 2, repeats: int = 200) -> float:
    """Seconds that masking adds to a step of a model: its gradients times the masks, measured by itself."""
    torch.set_num_threads(threads)
    net = models.build(model, classes=10)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    mask = masks.top(score("magnitude", net, 0), masks.dense(net), masks.dense(net).total // 5)
    weights, zeroing = train.gradient_masks(net, mask)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    return _seconds(lambda: torch._foreach_mul_([weight.grad for weight in weights], zeroing), repeats)


def _seconds(work: Callable[[], object], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
