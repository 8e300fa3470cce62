"""One training of a masked network: the loop, its learning rate and its evaluation. It knows no algorithm."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepexp.config.settings import Config, Machine, Train
from deepexp.data.dataset import Dataset, Files, Images, batches, in_order, steps_per_epoch
from deepexp.distributed import ALONE, Group
from deepexp.models import norms, prunable
from deepexp.pruning.masks import Mask
from signflow.messages import Failure

EVALUATION_BATCH = 1000
GRAPHS = 1 << 16  # compiled ones that a process may have; beyond it, torch raises an error
Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Report:
    """Where a training stands after `step` steps; means over the current epoch, in training mode."""

    step: int
    lr: float
    loss: float
    accuracy: float


class _Told(Failure):
    """An error whose arguments are not its message, which goes from one process to another all the same."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Failure.__new__, (type(self), *self.args)


class Diverged(_Told):
    """A loss, a weight or a statistic is no longer a number."""

    def __init__(self, what: str, level: int, epoch: int, lr: float) -> None:
        super().__init__(
            f"{what} must stay finite, but it does not in epoch {epoch} of level {level} at a learning rate "
            f"of {lr:g}; the levels before are complete, but going on ends here again: start a run with a "
            "lower train.lr"
        )


class OutOfMemory(_Told):
    """The device cannot hold what a step of training needs."""

    def __init__(self, batch: int, fits: int) -> None:
        found = f"a batch of {fits:,} fits" if fits else "not even two images for each process fit"
        super().__init__(
            f"the device must have the memory to train on a batch of {batch:,} images, but it ran out; "
            f"{found}: start a run with another train.batch_size, or go on with this one on a larger "
            "device, since all complete epochs are kept"
        )


def learning_rate(train: Train, step: int, per_epoch: int, *, warm: bool) -> float:
    """The learning rate of step number `step` (from 0) of a level: a pure function, with no state to restore.

    `schedule_per = epoch` holds the rate constant within an epoch. With `warm`, a linear ramp to the peak
    takes the first `warmup_epochs`: step t of a ramp of W steps has (t + 1) / W of the peak, or rises from
    `rise_from` at t = 0. After it, cosine falls to `lr_min` over the epochs that remain; the milestones and
    the triangle count from the level's start, or from the end of a warm-up that comes before its epochs.
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
    """SGD whose momentum buffers exist from the start, at 0; BN and biases in a group of their own."""
    weights = {id(p) for p in prunable(net).values()}
    groups = [
        {"params": [p for p in net.parameters() if id(p) in weights], "weight_decay": train.weight_decay},
        {
            "params": [p for p in net.parameters() if id(p) not in weights],
            "weight_decay": train.weight_decay if train.decay_norm else 0.0,
        },
    ]
    on_cpu = next(net.parameters()).device.type == "cpu"  # where one kernel for all would round otherwise
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


def compiled(net: nn.Module, machine: Machine) -> Forward:
    """The forward pass as `machine` has it: images (B, C, H, W) to float32 logits (B, classes)."""
    return in_precision(_graph(net, machine) if machine.compile else net, machine)


def in_precision(run: Forward, machine: Machine) -> Forward:
    """`run` in the precision of `machine`, with float32 logits."""
    if machine.precision != "bf16":
        return run

    def autocast(x: Tensor) -> Tensor:
        with torch.autocast(machine.device, torch.bfloat16):
            return run(x).float()

    return autocast


def laid_out(x: Tensor, machine: Machine) -> Tensor:
    """A batch (B, C, H, W) in the memory format that `machine` asks for.

    Planar images are a copy: the strides of a single channel satisfy both formats, so that `contiguous`
    would leave them as they are, and all layers after them would be channels_last.
    """
    if machine.channels_last:
        return x.contiguous(memory_format=torch.channels_last)
    return x.clone(memory_format=torch.contiguous_format)


def _graph(net: nn.Module, machine: Machine) -> Forward:
    """`net` compiled as one graph for each shape of a batch.

    Whatever a process trained before, the graph is the same: none has a dynamic shape, where torch would
    make one after the second shape and so change the bits; and there may be as many as there are networks
    and shapes, where after the eighth torch would train without a graph.
    """
    from torch._dynamo import config as dynamo  # takes seconds to import
    from torch._inductor import config as inductor

    dynamo.recompile_limit = dynamo.accumulated_recompile_limit = GRAPHS
    if machine.device == "cpu":
        return torch.compile(net, fullgraph=True, dynamic=False)
    if hasattr(inductor, "deterministic"):  # no kernel is chosen by its time where that changes its sums
        inductor.deterministic = True
    # CUDA graphs replay a step's kernels without launching them one by one, which bounds small networks.
    return torch.compile(net, fullgraph=True, dynamic=False, mode="reduce-overhead")


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
    group: Group = ALONE,
) -> Iterator[Report]:
    """Train `net` in place from step `start` of the level's schedule to its end.

    `forward` is what `compiled` makes of `net`. Yields at the end of every epoch and after each step number
    in `stops`; between those nothing waits for the device. Pruned weights and their momentum, 0 at the start,
    stay 0: their gradients are set to 0, and 0 has no weight decay. The processes of `group` step together;
    before a yield their running statistics are averaged, so that all of them hold one state. Raises Diverged
    where an epoch's mean loss is not finite, and OutOfMemory.
    """
    sources = [(dataset, config.seed)]
    for (report,) in side_by_side(net, forward, sgd, mask, sources, config, level, start, stops, group):
        check_finite(report, config.train, len(dataset.train), level)
        yield report


def check_finite(report: Report, train: Train, images: int, level: int) -> None:
    """Raise Diverged where the mean loss of an epoch of so many images is not finite."""
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
    group: Group = ALONE,
) -> Iterator[list[Report]]:
    """`steps` for a network that `deepexp.stack` made of one for every (data set, seed) of `sources`.

    Each has channels, batches, a loss and a report of its own; one whose loss is not finite has that.
    """
    train, count = config.train, len(sources[0][0].train)
    per_epoch, device = steps_per_epoch(count, train), sources[0][0].mean.device
    warm = config.warms_up(level)
    weights, zeroing = gradient_masks(net, mask)
    statistics = [s for norm in norms(net).values() for s in norm.buffers() if s.is_floating_point()]
    step, total = start, config.epochs(level) * per_epoch
    while step < total:
        net.train()
        epoch, first = divmod(step, per_epoch)
        sums, seen = torch.zeros(2, len(sources), device=device), 0  # of the losses and of the right answers
        loaded = [
            batches(dataset, config.data, train, seed, level, epoch, first, group)
            for dataset, seed in sources
        ]
        for parts in zip(*loaded, strict=True):
            x, y = _stacked(parts)
            rate = learning_rate(train, step, per_epoch, warm=warm)
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
    """Batches (B, C, H, W), (B,) of S sources as one: the images' channels side by side, classes (B, S)."""
    images, classes = zip(*parts, strict=True)
    return images[0] if len(images) == 1 else torch.cat(images, 1), torch.stack(classes, 1)


def _gradients(
    net: nn.Module, forward: Forward, x: Tensor, y: Tensor, config: Config, group: Group
) -> tuple[Tensor, Tensor]:
    """Give `net` the gradients of a batch's losses; returns these (S,) and the logits (B, S, classes).

    The losses and logits are of this process's part of the batch, the gradients means over `group`.
    """
    machine = config.machine
    net.zero_grad(set_to_none=True)
    if machine.compile and machine.device == "cuda":
        torch.compiler.cudagraph_mark_step_begin()  # what the step before returned may be written over
    with contextlib.suppress(torch.OutOfMemoryError), group.averaging(list(net.parameters())):
        return _backward(forward, laid_out(x, machine), y, config.train)
    # Out here no frame holds any longer what had been allocated.
    raise OutOfMemory(len(x) * machine.processes, fitting(net, x, y, config) * machine.processes)


def _backward(forward: Forward, x: Tensor, y: Tensor, train: Train) -> tuple[Tensor, Tensor]:
    logits = forward(x).unflatten(1, (y.shape[1], -1))
    pairs = zip(logits.unbind(1), y.unbind(1), strict=True)
    losses = torch.stack([F.cross_entropy(*pair, label_smoothing=train.label_smoothing) for pair in pairs])
    losses.sum().backward()  # no weight is shared: each loss has its own gradients
    return losses.detach(), logits.detach()


def fitting(net: nn.Module, x: Tensor, y: Tensor, config: Config) -> int:
    """How many of a batch's images, halved until they do, fit the device forward and backward; 0: not even 2.

    Leaves `net` with other running statistics and gradients.
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


def not_finite(net: nn.Module, sgd: torch.optim.SGD) -> str | None:
    """The name of the first tensor of the state that is not finite, if any; waits for the device once."""
    named = [*net.state_dict().items()]
    named += [(name, sgd.state[p]["momentum_buffer"]) for name, p in net.named_parameters()]
    finite = torch.stack([tensor.isfinite().all() for _, tensor in named]).tolist()
    return None if all(finite) else named[finite.index(False)][0]


@torch.no_grad()
def evaluate(
    net: nn.Module, images: Images | Files, dataset: Dataset, machine: Machine
) -> tuple[float, float] | tuple[None, None]:
    """Mean cross-entropy and accuracy on `images`, in evaluation mode and the precision of `machine`.

    None for no images.
    """
    if not len(images):
        return None, None
    net.eval()
    forward = in_precision(net, machine)
    loss = torch.zeros((), dtype=torch.float64, device=dataset.mean.device)
    correct = torch.zeros_like(loss)
    for x, y in in_order(dataset, images, EVALUATION_BATCH):
        logits = forward(laid_out(x, machine))
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
