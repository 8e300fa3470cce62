"""How a network is called: layout, precision, compilation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepexp.config.sections import Machine

GRAPHS = 1 << 16  # compiled ones that a process may have; beyond it, torch raises an error
Forward = Callable[[Tensor], Tensor]


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
