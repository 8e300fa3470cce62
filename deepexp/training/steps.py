"""The training loop for masked networks; it is the same for every pruning algorithm."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepexp.config.settings import Config
from deepexp.config.training import Train
from deepexp.data.batches import steps_per_epoch, training_batches
from deepexp.data.dataset import Dataset
from deepexp.distributed import ALONE, ProcessGroup
from deepexp.models import norms, prunable
from deepexp.pruning.masks import Mask
from deepexp.training.failures import Diverged, OutOfMemory
from deepexp.training.forward import Forward, compiled, laid_out
from deepexp.training.optimizer import learning_rate
from deepexp.training.sign_in import SignIn


@dataclass(frozen=True)
class Report:
    """The progress of training.

    The loss and the accuracy are measured in training mode, and averaged over the current epoch so far.

    Attributes
    ----------
    step : int
        The position in the level's schedule, in optimizer steps.
    lr : float
        The learning rate of the last step.
    loss : float
        The mean loss.
    accuracy : float
        The fraction of correct answers, in [0, 1].
    """

    step: int
    lr: float
    loss: float
    accuracy: float


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
    group: ProcessGroup = ALONE,
) -> Iterator[Report]:
    """Train a network in place, from a given step of a level's schedule to the end of the schedule.

    Pruned weights and their momentum must be 0 at the start. They stay 0, because their gradients are set to
    0 and weight decay does not change a weight of 0.

    Parameters
    ----------
    net : nn.Module
        The network.
    forward : Callable[[Tensor], Tensor]
        The forward pass that `compiled` returns for `net`.
    sgd : torch.optim.SGD
        The optimizer that `optimizer` returns for `net`.
    mask : Mask
        The living weights.
    dataset : Dataset
        The data set; its training images are used.
    config : Config
        The configuration of the run.
    level : int
        The level, which determines the batches and the length and warm-up of the schedule.
    start : int
        The step of the schedule at which to start.
    stops : Collection[int]
        The steps after which to report, in addition to the ends of epochs.
    group : ProcessGroup
        The processes that train the network together.

    Yields
    ------
    Report
        Yielded at the end of every epoch and after each step in `stops`. Between reports, the CPU never waits
        for the device. Before each report, the running statistics of batch normalisation are averaged over
        the processes, so that all processes hold the same state.

    Raises
    ------
    Diverged
        An epoch's mean loss is not finite.
    OutOfMemory
        The device has too little memory for a training step.
    """
    sources = [(dataset, config.seed)]
    for (report,) in side_by_side(net, forward, sgd, mask, sources, config, level, start, stops, group):
        check_finite(report, config.train, len(dataset.train), level)
        yield report


def check_finite(report: Report, train: Train, images: int, level: int) -> None:
    """Raise Diverged if the mean loss of an epoch is not finite.

    Parameters
    ----------
    report : Report
        The report to check.
    train : Train
        The training settings, which determine the number of steps per epoch.
    images : int
        The number of training images.
    level : int
        The level, which is named in the message.
    """
    if not math.isfinite(report.loss):
        epoch = (report.step - 1) // steps_per_epoch(images, train)
        raise Diverged("the training loss", level, epoch, report.lr)


def side_by_side(
    net: nn.Module,
    forward: Forward,
    sgd: torch.optim.SGD,
    mask: Mask,
    sources: Sequence[tuple[Dataset, int]],
    config: Config,
    level: int,
    start: int,
    stops: Collection[int] = (),
    group: ProcessGroup = ALONE,
) -> Iterator[list[Report]]:
    """Train a stacked network in place, as `steps` trains a single one.

    Every member has its own channels, batches, loss and report. A loss that is not finite is only reported
    and does not raise an error, so that the other members can continue.

    Parameters
    ----------
    net : nn.Module
        The network that `deepexp.runs.stack` makes from one network per source, or a single network.
    forward : Callable[[Tensor], Tensor]
        The forward pass that `compiled` returns for `net`.
    sgd : torch.optim.SGD
        The optimizer that `optimizer` returns for `net`.
    mask : Mask
        The living weights of the stack.
    sources : Sequence[tuple[Dataset, int]]
        The images and the seed of each member.
    config : Config
        The configuration of any member; the configurations differ only in their seeds.
    level, start, stops, group
        As for `steps`.

    Yields
    ------
    list of Report
        One report for each source.
    """
    train, count = config.train, len(sources[0][0].train)
    per_epoch, device = steps_per_epoch(count, train), sources[0][0].mean.device
    warm = config.warms_up(level)
    weights, zeroing = gradient_masks(net, mask)
    statistics = [s for norm in norms(net).values() for s in norm.buffers() if s.is_floating_point()]
    step, total, cycle = start, config.epochs(level) * per_epoch, config.cycle(level) * per_epoch
    period = train.reset_epochs * per_epoch
    while step < total:
        if isinstance(sgd, SignIn) and period and step % period == 0:
            sgd.reset()
        net.train()
        epoch, first = divmod(step, per_epoch)
        sums, seen = torch.zeros(2, len(sources), device=device), 0  # sums of losses and of correct answers
        loaded = [
            training_batches(dataset, config.data, train, seed, level, epoch, first, group)
            for dataset, seed in sources
        ]
        for parts in zip(*loaded, strict=True):
            x, y = _stacked(parts)
            rate = learning_rate(train, step % cycle, per_epoch, warm=warm)
            for options in sgd.param_groups:
                options["lr"] = rate
            losses, logits = _gradients(net, forward, x, y, config, group)
            if zeroing:
                torch._foreach_mul_([weight.grad for weight in weights], zeroing)
            sgd.step()
            step += 1
            with torch.no_grad():
                sums[0] += losses * len(y)
                sums[1] += (logits.argmax(2) == y).sum(0)
                seen += len(y) * group.size
            if step % per_epoch == 0 or step in stops:
                group.average(statistics)
                loss_sums, correct = group.sum(sums.clone()).tolist()
                yield [
                    Report(step, rate, loss / seen, right / seen)
                    for loss, right in zip(loss_sums, correct, strict=True)
                ]


def _stacked(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Join S batches (B, C, H, W) and their classes (B,) into images (B, S * C, H, W) and classes (B, S)."""
    images, classes = zip(*parts, strict=True)
    return images[0] if len(images) == 1 else torch.cat(images, 1), torch.stack(classes, 1)


def _gradients(
    net: nn.Module, forward: Forward, x: Tensor, y: Tensor, config: Config, group: ProcessGroup
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of `net` on a batch; return the losses (S,) and logits (B, S, classes).

    The losses and logits cover only this process's part of the batch. The gradients are means over `group`.
    """
    machine = config.machine
    net.zero_grad(set_to_none=True)
    if machine.compile and machine.device == "cuda":
        torch.compiler.cudagraph_mark_step_begin()  # lets the graph overwrite the results of the last step
    with contextlib.suppress(torch.OutOfMemoryError), group.averaging(list(net.parameters())):
        return _backward(forward, laid_out(x, machine), y, config.train)
    # Call `fitting` outside the `with`, where the stack frames of the failed step no longer hold any memory.
    raise OutOfMemory(len(x) * machine.processes, fitting(net, x, y, config) * machine.processes)


def _backward(forward: Forward, x: Tensor, y: Tensor, train: Train) -> tuple[Tensor, Tensor]:
    logits = forward(x).unflatten(1, (y.shape[1], -1))
    pairs = zip(logits.unbind(1), y.unbind(1), strict=True)
    losses = torch.stack([F.cross_entropy(*pair, label_smoothing=train.label_smoothing) for pair in pairs])
    losses.sum().backward()  # members share no weight, so a loss affects only its own member's gradients
    return losses.detach(), logits.detach()


def fitting(net: nn.Module, x: Tensor, y: Tensor, config: Config) -> int:
    """Halve a batch until it fits in memory, and return its size, or 0 if even two images are too many.

    This changes the running statistics and the gradients of `net`.
    """
    machine = config.machine
    forward, count = compiled(net, machine.model_copy(update={"compile": False})), len(x) // 2
    while count > 1:
        net.zero_grad(set_to_none=True)
        if machine.device == "cuda":
            torch.cuda.empty_cache()
        with contextlib.suppress(torch.OutOfMemoryError):
            _backward(forward, laid_out(x[:count], machine), y[:count], config.train)
            return count
        count //= 2
    return 0


def gradient_masks(net: nn.Module, mask: Mask) -> tuple[list[Any], list[Tensor]]:
    """Find the weight tensors in which weights are pruned, and make masks for their gradients.

    Parameters
    ----------
    net : nn.Module
        The network.
    mask : Mask
        The living weights.

    Returns
    -------
    weights : list of Parameter
        The weight tensors in which at least one weight is pruned.
    zeroing : list of Tensor
        The masks of `weights` as floats, in the same order, on the same device and in the same memory layout.
    """
    weights, zeroing = [], []
    for name, weight in prunable(net).items():
        if not bool(mask.alive[name].all()):
            weights.append(weight)
            zeroing.append(torch.empty_like(weight).copy_(mask.alive[name]).detach())
    return weights, zeroing
