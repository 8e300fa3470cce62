"""The optimizer of a run and its learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from deepexp.config.sections import Train
from deepexp.models import prunable


def learning_rate(train: Train, step: int, per_epoch: int, *, warm: bool) -> float:
    """Return the learning rate of a step: a pure function, so that a resumed run has no state to restore.

    With `schedule_per = 'epoch'`, the rate is constant within an epoch. A warm-up is a linear ramp to the
    peak over the first `warmup_epochs`: step t of a ramp of W steps has (t + 1) / W of the peak, or the ramp
    rises from `rise_from` at t = 0. After it, a cosine falls to `lr_min` over the remaining epochs. The
    milestones and the triangle count from the level's start, or from the end of a warm-up that comes before
    its epochs; with `milestones_after_warmup`, milestones count from the end of any warm-up.

    Parameters
    ----------
    train : Train
        The schedule.
    step : int
        The index of the step in the level's schedule, from 0.
    per_epoch : int
        The number of steps in an epoch.
    warm : bool
        Whether the level has the warm-up.

    Returns
    -------
    float
    """
    by_epoch = train.schedule_per == "epoch"
    time = step // per_epoch if by_epoch else step / per_epoch  # in epochs
    ramp, low = train.warmup_epochs if warm else 0.0, train.rise_from
    if step < ramp * per_epoch:
        unit = 1.0 if by_epoch else 1 / per_epoch
        return train.lr * (min(1.0, (time + unit) / ramp) if low is None else low + (1 - low) * time / ramp)
    before = train.warmup == "before"
    if train.schedule == "cosine":
        length = train.epochs if before else train.epochs - ramp
        height = (train.lr - train.lr_min) * (1 + math.cos(math.pi * (time - ramp) / length)) / 2
        return train.lr_min + height
    if before or (train.schedule == "step" and train.milestones_after_warmup):
        time -= ramp
    if train.schedule == "step":
        return train.lr * train.decay ** sum(time >= milestone for milestone in train.milestones)
    if train.schedule == "triangular":
        share, low = time / train.epochs, low or 0.0
        rise = low + (1 - low) * share / train.peak
        return train.lr * min(rise, (1 - share) / (1 - train.peak) if train.peak < 1 else 1.0)
    return train.lr


def optimizer(net: nn.Module, train: Train) -> torch.optim.SGD:
    """Create a run's SGD optimizer, with momentum buffers that are zero from the start.

    Parameters
    ----------
    net : nn.Module
        The network. Its batch normalisation and biases form a separate group with its own weight decay.
    train : Train
        Learning rate, momentum and weight decay.

    Returns
    -------
    torch.optim.SGD
    """
    weights = {id(p) for p in prunable(net).values()}
    groups = [
        {"params": [p for p in net.parameters() if id(p) in weights], "weight_decay": train.weight_decay},
        {
            "params": [p for p in net.parameters() if id(p) not in weights],
            "weight_decay": train.weight_decay if train.decay_norm else 0.0,
        },
    ]
    on_cpu = next(net.parameters()).device.type == "cpu"  # there the fused kernel would round differently
    sgd = torch.optim.SGD(
        groups,
        lr=train.lr,
        momentum=train.momentum,
        nesterov=train.nesterov,
        foreach=on_cpu,
        fused=not on_cpu,
    )
    for parameter in net.parameters():
        sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd
