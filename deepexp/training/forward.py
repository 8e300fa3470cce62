"""How a network is called: memory layout, precision and compilation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepexp.config.sections import Machine

GRAPHS = 1 << 16  # how many graphs a process may compile; torch raises an error beyond
Forward = Callable[[Tensor], Tensor]


def compiled(net: nn.Module, machine: Machine) -> Forward:
    """Make the forward pass of a network, compiled and in the precision that a machine asks for.

    Parameters
    ----------
    net : nn.Module
        The network.
    machine : Machine
        Whether to compile, and the precision.

    Returns
    -------
    Callable[[Tensor], Tensor]
        From images (B, C, H, W) to float32 logits (B, classes).
    """
    return in_precision(_graph(net, machine) if machine.compile else net, machine)


def in_precision(run: Forward, machine: Machine) -> Forward:
    """Make `run` compute in the precision of `machine`, with float32 logits."""
    if machine.precision != "bf16":
        return run

    def autocast(x: Tensor) -> Tensor:
        with torch.autocast(machine.device, torch.bfloat16):
            return run(x).float()

    return autocast


def laid_out(x: Tensor, machine: Machine) -> Tensor:
    """Lay a batch out in the memory format that a machine asks for.

    Planar images are copied: the strides of a single channel satisfy both formats, so that `contiguous`
    would leave them as they are, and all later layers would be channels_last.

    Parameters
    ----------
    x : Tensor
        Images (B, C, H, W).
    machine : Machine
        Whether channels come last.

    Returns
    -------
    Tensor
        The images (B, C, H, W).
    """
    if machine.channels_last:
        return x.contiguous(memory_format=torch.channels_last)
    return x.clone(memory_format=torch.contiguous_format)


def _graph(net: nn.Module, machine: Machine) -> Forward:
    """Compile `net` as one graph for each shape of a batch.

    The graph must not depend on what the process trained before. By default torch would make a graph with a
    dynamic shape after the second shape, which changes the bits, and no graph at all after the eighth. So
    shapes are static here, and there may be as many graphs as networks and shapes.
    """
    from torch._dynamo import config as dynamo  # takes seconds to import
    from torch._inductor import config as inductor

    dynamo.recompile_limit = dynamo.accumulated_recompile_limit = GRAPHS
    if machine.device == "cpu":
        return torch.compile(net, fullgraph=True, dynamic=False)
    if hasattr(inductor, "deterministic"):  # choose no kernel by its speed where that changes the sums
        inductor.deterministic = True
    # CUDA graphs replay a step's kernels without launching each one; launches limit the speed of small nets.
    return torch.compile(net, fullgraph=True, dynamic=False, mode="reduce-overhead")
