"""The optimizer of a run and its learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from deepexp.config.training import Train
from deepexp.models import prunable
from deepexp.training.sign_in import SignIn


def learning_rate(train: Train, step: int, per_epoch: int, *, warm: bool) -> float:
    """Return the learning rate of a step.

    This is a pure function, so a resumed run has no scheduler state to restore.

    With `schedule_per = 'epoch'`, the rate is constant within an epoch. A warm-up is a linear rise to the
    peak `lr` during the first `warmup_epochs`. By default, the rate at step t of W warm-up steps, counted
    from 0, is (t + 1) / W times the peak. If `rise_from` is set, the rate at t = 0 is this fraction of the
    peak. After the warm-up, a cosine schedule falls to `lr_min` over the remaining epochs.

    Milestones and the triangular schedule are timed from the start of the level. With `warmup = 'before'`,
    the warm-up takes additional epochs, and milestones and the triangular schedule are timed from its end.
    With `milestones_after_warmup`, milestones are timed from the end of any warm-up.

    Parameters
    ----------
    train : Train
        The schedule.
    step : int
        The index of the step in the level's schedule, from 0.
    per_epoch : int
        The number of steps in an epoch.
    warm : bool
        Whether the level's schedule includes the warm-up.

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
    """Create the SGD optimizer of a run, with momentum buffers already allocated and set to zero.

    Parameters
    ----------
    net : nn.Module
        The network. Parameters that are not prunable form a second group with a separate weight decay.
    train : Train
        The settings for learning rate, momentum, weight decay and parameterization.

    Returns
    -------
    torch.optim.SGD
        A `SignIn` if the prunable weights are trained as products.
    """
    weights = list(prunable(net).values())
    prunables = set(map(id, weights))
    others = {
        "params": [p for p in net.parameters() if id(p) not in prunables],
        "weight_decay": train.weight_decay if train.decay_norm else 0.0,
    }
    on_cpu = weights[0].device.type == "cpu"  # the fused CPU kernel rounds differently from `foreach`
    options: dict[str, Any] = {"lr": train.lr, "momentum": train.momentum, "nesterov": train.nesterov}
    options |= {"foreach": on_cpu, "fused": not on_cpu}
    sgd: torch.optim.SGD
    if train.parameterization == "sign-in":
        sgd = SignIn(weights, others, train.beta, train.weight_decay, **options)
    else:
        sgd = torch.optim.SGD([{"params": weights, "weight_decay": train.weight_decay}, others], **options)
    for group in sgd.param_groups:
        for variable in group["params"]:
            sgd.state[variable]["momentum_buffer"] = torch.zeros_like(variable)
    if isinstance(sgd, SignIn):
        sgd.reset()
    return sgd


def variables(sgd: torch.optim.Optimizer, parameter: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors that an optimizer updates to train a parameter.

    Parameters
    ----------
    sgd : torch.optim.Optimizer
        The optimizer that `optimizer` returned for the network.
    parameter : Tensor
        A parameter of the network.

    Returns
    -------
    tuple of Tensor
        The parameter itself or, with Sign-In, the factors m and u of a weight.
    """
    return sgd.factors.get(parameter, (parameter,)) if isinstance(sgd, SignIn) else (parameter,)


def momentum(sgd: torch.optim.Optimizer, parameter: Tensor) -> Tensor:
    """Return the momentum of a parameter.

    Parameters
    ----------
    sgd, parameter
        As for `variables`.

    Returns
    -------
    Tensor
        The momentum buffer or, for a weight trained by Sign-In, its velocity (see `SignIn.velocity`).
    """
    if isinstance(sgd, SignIn) and parameter in sgd.factors:
        return sgd.velocity(parameter)
    return sgd.state[parameter]["momentum_buffer"]


def start_from(sgd: torch.optim.Optimizer, parameter: Tensor, momentum: Tensor) -> None:
    """Set the momentum of a parameter; for a weight trained by Sign-In, also reset the factors.

    Parameters
    ----------
    sgd, parameter
        As for `variables`.
    momentum : Tensor
        The momentum, as the function `momentum` returns it, on any device.
    """
    if isinstance(sgd, SignIn) and parameter in sgd.factors:
        sgd.move(parameter, momentum.to(parameter.device))
    else:
        sgd.state[parameter]["momentum_buffer"].copy_(momentum)
