"""Call a network in the memory layout and precision of a run, compiled or not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepexp.config.machine import Machine

GRAPHS = 1 << 16  # how many graphs a process may compile; beyond that, torch raises an error
Forward = Callable[[Tensor], Tensor]


def compiled(net: nn.Module, machine: Machine) -> Forward:
    """Return a network's forward pass in the precision of `machine`, compiled if `machine` asks for it.

    Parameters
    ----------
    net : nn.Module
        The network.
    machine : Machine
        The settings for precision and compilation.

    Returns
    -------
    Callable[[Tensor], Tensor]
        Maps images (B, C, H, W) to float32 logits (B, classes).
    """
    return in_precision(_graph(net, machine) if machine.compile else net, machine)


def in_precision(run: Forward, machine: Machine) -> Forward:
    """Return a version of `run` that computes in the precision of `machine` and returns float32 logits."""
    if machine.precision != "bf16":
        return run

    def autocast(x: Tensor) -> Tensor:
        with torch.autocast(machine.device, torch.bfloat16):
            return run(x).float()

    return autocast


def laid_out(x: Tensor, machine: Machine) -> Tensor:
    """Return a batch in the memory format of `machine`.

    If `channels_last` is False, the images are always copied. `contiguous` would not suffice, because the
    strides of images with one channel can satisfy both formats. It would then return the images as they are,
    and all later layers could use channels_last.

    Parameters
    ----------
    x : Tensor
        Images (B, C, H, W).
    machine : Machine
        The settings, of which only `channels_last` is used.

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

    The graph must not depend on what the process trained before. By default, torch would compile with dynamic
    shapes from the second shape on, which changes the results at the bit level, and would stop compiling
    after the eighth shape. So shapes are static here, and every network and shape can have its own graph.
    """
    from torch._dynamo import config as dynamo  # takes seconds to import
    from torch._inductor import config as inductor

    dynamo.recompile_limit = dynamo.accumulated_recompile_limit = GRAPHS
    if machine.device == "cpu":
        return torch.compile(net, fullgraph=True, dynamic=False)
    # Do not choose kernels by their measured speed if the choice would change how sums are rounded.
    if hasattr(inductor, "deterministic"):
        inductor.deterministic = True
    # The speed of small networks is limited by the time that kernel launches take. A CUDA graph launches all
    # kernels of a step at once.
    return torch.compile(net, fullgraph=True, dynamic=False, mode="reduce-overhead")
