"""Measure how many images per second a run trains on, and count the operations per image."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy

import torch

from deepexp.pruning import masks
from deepexp.runs.stack import Stack
from deepexp.runs.workspace import Run
from deepexp.training import steps as train


def images_per_second(work: Run | Stack, seconds: float = 1.0) -> float:
    """Measure the speed of training on this machine, after one warm-up step.

    Parameters
    ----------
    work : Run or Stack
        A prepared run, or a stack of such runs. The measurement trains it, so its state is lost.
    seconds : float
        How long to measure. At least one step is measured, however long it takes.

    Returns
    -------
    float
        Training images per second, over all members of a stack.
    """
    steps = our_share(work, masks.dense_mask(work.net), 1)
    next(steps)
    began, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - began < seconds:
        count += next(steps)
    return count * work.config.train.batch_size / (time.perf_counter() - began)


def our_share(work: Run | Stack, mask: masks.Mask, chunk: int) -> Iterator[int]:
    """Train level 0 as a run does, and begin it again whenever it ends.

    Parameters
    ----------
    work : Run or Stack
        The run or stack to train.
    mask : Mask
        The living weights.
    chunk : int
        The largest number of steps between two yields. There is also a yield at the end of every epoch.

    Yields
    ------
    int
        The number of steps since the last yield, summed over the members of a stack.
    """
    while True:
        before, stops = 0, range(chunk, work.total(0), chunk)
        for reports in train.side_by_side(
            work.net, work.forward, work.sgd, mask, work.sources, work.config, 0, 0, stops
        ):
            yield (reports[0].step - before) * len(reports)
            before = reports[0].step


def operations(work: Run) -> float:
    """Count the floating-point operations of training on one image.

    Parameters
    ----------
    work : Run
        The run; its network is not changed.

    Returns
    -------
    float
        The number of operations in the matrix products and convolutions of the forward and backward passes.
    """
    from torch.utils.flop_counter import FlopCounterMode

    net, (height, width, channels) = deepcopy(work.net).to("meta").train(), work.dataset.shape
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(2, channels, height, width, device="meta")).sum().backward()
    return counter.get_total_flops() / 2
