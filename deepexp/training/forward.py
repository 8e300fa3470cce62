"""How a network is called: memory layout, precision and compilation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepexp.config.sections import Machine

GRAPHS = 1 << 16  # how many graphs a process may compile; beyond that, torch raises an error
Forward = Callable[[Tensor], Tensor]


def compiled(net: nn.Module, machine: Machine) -> Forward:
    """Return a network's forward pass in the precision of `machine`, compiled if `machine` asks for it.

    Parameters
    ----------
    net : nn.Module
        The network.
    machine : Machine
        Whether to compile, and the precision.

    Returns
    -------
    Callable[[Tensor], Tensor]
        Maps images (B, C, H, W) to float32 logits (B, classes).
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
    """Return a batch in the memory format of `machine`.

    If channels come first, the images are copied: the strides of a single channel satisfy both formats, so
    `contiguous` would leave them unchanged, and all later layers would be channels_last.

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
    """Compile `net` as one graph for each batch shape.

    The graph must not depend on what the process trained before. By default, torch would compile a graph with
    dynamic shapes from the second shape on, which changes the bits, and no graph at all after the eighth. So
    shapes are static here, and there may be one graph for every network and shape.
    """
    from torch._dynamo import config as dynamo  # takes seconds to import
    from torch._inductor import config as inductor

    dynamo.recompile_limit = dynamo.accumulated_recompile_limit = GRAPHS
    if machine.device == "cpu":
        return torch.compile(net, fullgraph=True, dynamic=False)
    # Do not select kernels by speed where the choice would change the sums.
    if hasattr(inductor, "deterministic"):
        inductor.deterministic = True
    # CUDA graphs replay a step's kernels without launching each one; launches limit the speed of small nets.
    return torch.compile(net, fullgraph=True, dynamic=False, mode="reduce-overhead")
