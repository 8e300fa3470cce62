"""Train several runs that differ only in their seeds as one network.

A small network leaves its device idle between steps. Therefore the networks of several seeds are placed side
by side in the channels of grouped convolutions, and take their steps together. Each network is a member of
the stack. Members share no weights, batch normalisation treats every channel separately, and each member has
the batches of its own seed. A member therefore computes what it would compute alone, except that the kernels
of the stack round differently.

The weights, statistics and momentum of every member are views of the stack's tensors. Everything except the
training itself (masks, level policies, evaluation, checkpoints) can therefore treat a member as an ordinary
run. Members that are at the same step of the same level train together. Every kernel computes all members,
even those that are not training, so that its shapes never change. A member's results therefore do not depend
on the progress of the other members, not even at the bit level.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepexp.config.settings import Config
from deepexp.pruning.masks import Mask
from deepexp.runs.level_start import capture, restore
from deepexp.runs.workspace import Run
from deepexp.training import forward as training_forward
from deepexp.training import optimizer, steps


class Linear(nn.Linear):
    """Several linear layers side by side.

    If each of the `count` layers maps (B, in) to (B, out), together they map (B, count * in) to
    (B, count * out). The shape of `weight` is (count * out, in).
    """

    def __init__(self, layer: nn.Linear, count: int) -> None:
        """Create `count` layers with the shape of `layer`, without copying its weights."""
        super().__init__(layer.in_features, count * layer.out_features, layer.bias is not None)
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        """Apply each layer to its own features."""
        weight, parts = self.weight.unflatten(0, (self.count, -1)), x.unflatten(1, (self.count, -1))
        y = torch.einsum("bsi,soi->bso", parts, weight).flatten(1)
        return y if self.bias is None else y + self.bias


def widened(net: nn.Module, count: int) -> nn.Module:
    """Build a network that consists of `count` networks shaped like `net`, side by side.

    If `net` maps (B, C, H, W) to (B, classes), the wide network maps (B, count * C, H, W) to
    (B, count * classes). Every tensor of its state is a concatenation of `count` tensors along the first
    dimension, one for each member. The values of the tensors are arbitrary.
    """
    wide = deepcopy(net)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d):
            many: nn.Module = type(layer)(
                count * layer.in_channels,
                count * layer.out_channels,
                layer.kernel_size,  # type: ignore[arg-type]
                layer.stride,  # type: ignore[arg-type]
                layer.padding,  # type: ignore[arg-type]
                groups=count * layer.groups,
                bias=layer.bias is not None,
            )
        elif isinstance(layer, nn.BatchNorm2d):
            many = nn.BatchNorm2d(count * layer.num_features, layer.eps, layer.momentum)
            many.num_batches_tracked = torch.zeros(count, dtype=torch.int64)
        elif isinstance(layer, nn.Linear):
            many = Linear(layer, count)
        else:
            continue
        wide.set_submodule(name, many)
    return wide


@dataclass
class _Place:
    """The point at which a member continues its training, and the report that it has yet to receive."""

    level: int
    step: int
    mask: Mask
    stops: tuple[int, ...]
    report: steps.Report | None = None


class Stack:
    """The networks of several runs, joined into one network that trains them together.

    The members are sorted in the order of `machine.stack`, because a member's place in the stack affects how
    its results are rounded.
    """

    def __init__(self, works: Sequence[Run]) -> None:
        """Join runs that `prepare` has returned; from now on, only the stack can train them."""
        works = sorted(works, key=lambda work: work.config.machine.stack.index(work.config.seed))
        first = works[0]
        self.works, self.config, self.total = works, first.config, first.total
        self.sources = [source for work in works for source in work.sources]
        self.net = widened(first.net, len(works)).to(first.config.machine.device)
        if first.config.machine.channels_last:
            self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.forward = training_forward.compiled(self.net, first.config.machine)
        self.sgd = optimizer.optimizer(self.net, first.config.train)
        self._places: dict[int, _Place] = {}
        self._training: Iterator[list[steps.Report]] = iter(())
        # The members that took the last step, and the level and step that they have reached.
        self._trained: tuple[set[int], int, int] = set(), 0, 0
        for slot, work in enumerate(works):
            self._adopt(work, slot)
            work.stacked = functools.partial(self._steps, slot)

    def _adopt(self, work: Run, slot: int) -> None:
        """Turn the tensors of a member's network and optimizer into views of the stack's tensors."""
        state, own, wide = (
            capture(work.net, work.sgd),
            dict(work.net.named_modules()),
            self.net.named_modules(),
        )
        for name, module in wide:
            for key, parameter in module.named_parameters(recurse=False):
                mine = getattr(own[name], key)
                mine.data = self._part(parameter.data, slot)
                pairs = zip(
                    optimizer.variables(work.sgd, mine),
                    optimizer.variables(self.sgd, parameter),
                    strict=True,
                )
                for variable, theirs in pairs:  # the parameter itself, or its factors
                    variable.data = self._part(theirs.data, slot)
                    momentum = self.sgd.state[theirs]["momentum_buffer"]
                    work.sgd.state[variable]["momentum_buffer"] = self._part(momentum, slot)
            for key, buffer in module.named_buffers(recurse=False):
                setattr(own[name], key, self._part(buffer, slot))
        restore(work.net, work.sgd, state)

    def _part(self, tensor: Tensor, slot: int) -> Tensor:
        """Return a view of the part of a stacked tensor that belongs to the member at `slot`."""
        count = len(tensor) // len(self.works)
        # The only integer tensor is batch normalisation's count of batches, with one scalar per member.
        return tensor[slot] if tensor.dtype == torch.int64 else tensor.narrow(0, slot * count, count)

    def _steps(
        self, slot: int, level: int, start: int, mask: Mask, stops: tuple[int, ...]
    ) -> Iterator[steps.Report | None]:
        """Train a member as `training.steps` does; yield reports, or None until `advance` delivers one."""
        work = self.works[slot]
        place = self._places[slot] = _Place(level, start, mask, stops)
        try:
            while place.step < work.total(level):
                while place.report is None:
                    yield None
                report, place.report = place.report, None
                steps.check_finite(report, work.config.train, len(work.dataset.train), level)
                yield report
        finally:
            del self._places[slot]

    def advance(self) -> None:
        """Train the members that are furthest behind until their next report."""
        level, step = min((place.level, place.step) for place in self._places.values())
        members = {slot for slot, place in self._places.items() if (place.level, place.step) == (level, step)}
        # Within an epoch, the same generator must continue the training, because it sums the epoch's losses.
        if not (members <= self._trained[0] and (level, step) == self._trained[1:]):
            stops = next(self._places[slot].stops for slot in members)
            self._training = steps.side_by_side(
                *(self.net, self.forward, self.sgd, self._mask(), self.sources, self.config),
                *(level, step, stops),
            )
        # A step changes every member, so the members that are further ahead are restored afterwards.
        ahead = [self.works[slot] for slot in self._places if slot not in members]
        kept = [capture(work.net, work.sgd) for work in ahead]
        reports = next(self._training)
        for work, state in zip(ahead, kept, strict=True):
            restore(work.net, work.sgd, state)
        for slot in members:
            place = self._places[slot]
            place.report, place.step = reports[slot], reports[slot].step
        self._trained = members, level, reports[0].step

    def _mask(self) -> Mask:
        """Concatenate the members' masks; a member that is not training gets an arbitrary one."""
        some = next(iter(self._places.values())).mask
        every = [self._places[slot].mask if slot in self._places else some for slot in range(len(self.works))]
        return Mask({name: torch.cat([mask.alive[name] for mask in every]) for name, _ in some})


def check_stack(configs: Sequence[Config]) -> None:
    """Raise ValueError unless the configurations have exactly the seeds of their stack."""
    stack = configs[0].machine.stack
    seeds = [config.seed for config in configs]
    if sorted(seeds) != sorted(stack):
        raise ValueError(
            f"the runs of the seeds {' '.join(map(str, stack))} must train together, got only "
            f"{' '.join(map(str, seeds))}; pass all seeds to `deepexp train --seed`"
        )
