"""One training of a masked network: the loop, its learning rate and its evaluation. It knows no algorithm."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepexp.config import Config, Train
from deepexp.data import Dataset, Files, Images, batches, in_order, steps_per_epoch
from deepexp.masks import Mask
from deepexp.models import prunable

EVALUATION_BATCH = 1000
Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Report:
    """Where a training stands after `step` steps; means over the current epoch, in training mode."""

    step: int
    lr: float
    loss: float
    accuracy: float


class Diverged(RuntimeError):
    """A loss, a weight or a statistic is no longer a number."""

    def __init__(self, what: str, level: int, epoch: int, lr: float) -> None:
        super().__init__(
            f"{what} must stay finite, but it does not in epoch {epoch} of level {level} at a learning rate "
            f"of {lr:g}; the levels before are complete, but going on ends here again: start a run with a "
            "lower train.lr"
        )


def learning_rate(train: Train, step: int, per_epoch: int, *, warm: bool) -> float:
    """The learning rate of step number `step` (from 0) of a level: a pure function, with no state to restore.

    `schedule_per = epoch` holds the rate constant within an epoch. With `warm`, a linear ramp to the peak
    takes the first `warmup_epochs`: step t of a ramp of W steps has (t + 1) / W of the peak. After it, cosine
    falls to 0 over the epochs that remain; the milestones count from the level's start.
    """
    by_epoch = train.schedule_per == "epoch"
    time = step // per_epoch if by_epoch else step / per_epoch  # in epochs
    ramp = train.warmup_epochs if warm else 0.0
    if step < ramp * per_epoch:
        unit = 1.0 if by_epoch else 1 / per_epoch
        return train.lr * min(1.0, (time + unit) / ramp)
    if train.schedule == "cosine":
        return train.lr * (1 + math.cos(math.pi * (time - ramp) / (train.epochs - ramp))) / 2
    if train.schedule == "step":
        return train.lr * train.decay ** sum(time >= milestone for milestone in train.milestones)
    if train.schedule == "triangular":
        share = time / train.epochs
        return train.lr * min(share / train.peak, (1 - share) / (1 - train.peak) if train.peak < 1 else 1.0)
    return train.lr


def optimizer(net: nn.Module, train: Train) -> torch.optim.SGD:
    """SGD whose momentum buffers exist from the start, at 0; BN and biases in a group of their own."""
    weights = {id(p) for p in prunable(net).values()}
    groups = [
        {"params": [p for p in net.parameters() if id(p) in weights], "weight_decay": train.weight_decay},
        {
            "params": [p for p in net.parameters() if id(p) not in weights],
            "weight_decay": train.weight_decay if train.decay_norm else 0.0,
        },
    ]
    sgd = torch.optim.SGD(groups, lr=train.lr, momentum=train.momentum, nesterov=train.nesterov, foreach=True)
    for parameter in net.parameters():
        sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def steps(
    net: nn.Module,
    forward: Forward,
    sgd: torch.optim.SGD,
    mask: Mask,
    dataset: Dataset,
    config: Config,
    level: int,
    start: int,
    stops: Collection[int] = (),
) -> Iterator[Report]:
    """Train `net` in place from step `start` of the level's schedule to its end.

    `forward` is `net` or its compiled form. Yields at the end of every epoch and after each step number in
    `stops`. Pruned weights and their momentum, 0 at the start, stay 0: their gradients are set to 0, and 0
    has no weight decay. Raises Diverged where an epoch's mean loss is not finite.
    """
    train, per_epoch = config.train, steps_per_epoch(len(dataset.train), config.train)
    warm = train.warmup == "every" or (train.warmup == "first" and level == 0)
    weights, zeroing = gradient_masks(net, mask)
    step, total = start, train.epochs * per_epoch
    while step < total:
        net.train()
        epoch, first = divmod(step, per_epoch)
        loss_sum = torch.zeros((), device=dataset.mean.device)
        correct, seen = torch.zeros_like(loss_sum), 0
        for x, y in batches(dataset, config.data, train, config.seed, level, epoch, first):
            rate = learning_rate(train, step, per_epoch, warm=warm)
            for group in sgd.param_groups:
                group["lr"] = rate
            logits = forward(x if config.machine.channels_last else x.contiguous())
            loss = F.cross_entropy(logits, y, label_smoothing=train.label_smoothing)
            sgd.zero_grad(set_to_none=True)
            loss.backward()
            if zeroing:
                torch._foreach_mul_([weight.grad for weight in weights], zeroing)
            sgd.step()
            step += 1
            with torch.no_grad():
                loss_sum += loss * len(y)
                correct += (logits.argmax(1) == y).sum()
                seen += len(y)
            if step % per_epoch == 0 or step in stops:
                report = Report(step, rate, loss_sum.item() / seen, correct.item() / seen)
                if not math.isfinite(report.loss):
                    raise Diverged("the training loss", level, epoch, rate)
                yield report


@torch.no_grad()
def evaluate(
    net: nn.Module, images: Images | Files, dataset: Dataset
) -> tuple[float, float] | tuple[None, None]:
    """Mean cross-entropy and accuracy on `images`, in evaluation mode; None for no images."""
    if not len(images):
        return None, None
    net.eval()
    loss = torch.zeros((), dtype=torch.float64, device=dataset.mean.device)
    correct = torch.zeros_like(loss)
    for x, y in in_order(dataset, images, EVALUATION_BATCH):
        logits = net(x)
        loss += F.cross_entropy(logits, y, reduction="sum")
        correct += (logits.argmax(1) == y).sum()
    return loss.item() / len(images), correct.item() / len(images)


def gradient_masks(net: nn.Module, mask: Mask) -> tuple[list[Any], list[Tensor]]:
    """The weights of layers with pruned weights, and their masks as floats in the weights' layout."""
    weights, zeroing = [], []
    for name, weight in prunable(net).items():
        if not bool(mask.alive[name].all()):
            weights.append(weight)
            zeroing.append(torch.empty_like(weight).copy_(mask.alive[name]).detach())
    return weights, zeroing
