"""The processes that train one run together, and how they exchange data.

torchrun starts the processes. It sets environment variables from which each process reads its rank and the
number of processes. Every process holds the whole network, and trains on its own share of every batch. Rank 0
makes all decisions, evaluates the network and writes the files. The other processes only train.

Gradients are averaged in buffers that have a fixed layout. On a GPU, the buffers are exchanged during the
backward pass. torch's own DistributedDataParallel is not used, because it changes the layout of its buffers
after the first step of every process. With three or more ranks, the new layout changes the order of sums, so
a resumed run would no longer match an uninterrupted run bit for bit.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from deepexp.config.machine import Machine
from signflow.messages import Failure

TIMEOUT = timedelta(minutes=30)  # no process ever has to wait this long for rank 0
# The number of gradients in a bucket, by device type. The gradients of a bucket are exchanged together. On a
# GPU, buckets of 25 MB are large enough to be few. They are also small enough that the exchange of the last
# bucket, which cannot overlap with computation, is short. On a CPU, all gradients are exchanged together
# after the backward pass, because earlier exchanges would take cores away from it.
BUCKET = {"cuda": 25 << 18}


class Lost(Failure):
    """Another process of the run has ended."""

    def __init__(self, why: object) -> None:
        """Compose a one-line message that says why the other process ended, and how to resume the run."""
        reason = " ".join(str(why).split())
        super().__init__(
            f"every process of the run must stay alive, but another one ended ({reason}); run the same "
            "command again to resume from the last checkpoint"
        )


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train a run, as seen by one of them.

    A run with a single process exchanges nothing.

    Attributes
    ----------
    rank : int
        The index of this process, from 0.
    size : int
        The number of processes.
    """

    rank: int = 0
    size: int = 1

    def part(self, batch: Tensor) -> Tensor:
        """Return this process's share of `batch` (B, ...), a contiguous slice of shape (B / size, ...)."""
        count = len(batch) // self.size
        return batch[self.rank * count : (self.rank + 1) * count]

    def sum(self, values: Tensor) -> Tensor:
        """Sum `values` over the processes in place, and return `values`."""
        if self.size > 1:
            with _together():
                dist.all_reduce(values)
        return values

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its mean over the processes.

        All tensors must have the same dtype.
        """
        if self.size == 1:
            return
        self._spread(self.sum(_flat(tensors)), tensors)

    @contextlib.contextmanager
    def averaging(self, parameters: Sequence[Tensor]) -> Iterator[None]:
        """Average the gradients over the processes during the backward pass that runs in this context.

        A bucket of gradients is sent as soon as it is complete and all buckets before it have been sent. All
        processes therefore send their buckets in the same order. This is necessary because torch matches the
        exchanges of different processes by order alone.
        """
        if self.size == 1:
            yield
            return
        buckets = _buckets(parameters)
        place = {id(parameter): number for number, bucket in enumerate(buckets) for parameter in bucket}
        missing, going = [len(bucket) for bucket in buckets], list[tuple[Tensor, dist.Work]]()

        def arrived(parameter: Tensor) -> None:
            missing[place[id(parameter)]] -= 1
            while len(going) < len(buckets) and not missing[len(going)]:
                flat = _flat(_gradients(buckets[len(going)]))
                with _together():
                    going.append((flat, dist.all_reduce(flat, async_op=True)))

        hooks = [parameter.register_post_accumulate_grad_hook(arrived) for parameter in parameters]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        for bucket, (flat, exchange) in zip(buckets, going, strict=True):
            with _together():
                exchange.wait()
            self._spread(flat, _gradients(bucket))

    def _spread(self, flat: Tensor, tensors: Sequence[Tensor]) -> None:
        """Replace `tensors` by their means over the processes, given their concatenated sums `flat`."""
        means = (flat / self.size).split([tensor.numel() for tensor in tensors])
        with torch.no_grad():
            for tensor, mean in zip(tensors, means, strict=True):
                tensor.copy_(mean.view(tensor.shape))

    def tell(self, order: Any) -> None:
        """Send a command from rank 0 to the other processes, which receive it with `listen`."""
        if self.size > 1:
            self._broadcast([order])

    def listen(self) -> Any:
        """Wait for the next command from rank 0, and return it."""
        box = [None]
        self._broadcast(box)
        return box[0]

    def _broadcast(self, box: list[Any]) -> None:
        with _together():
            dist.broadcast_object_list(box, device=torch.device("cpu"))


ALONE = ProcessGroup()


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _buckets(parameters: Sequence[Tensor]) -> list[list[Tensor]]:
    """Split the parameters into buckets, in a way that depends only on their order, sizes and device.

    The first bucket holds the last parameters, since a backward pass computes their gradients first.
    """
    most, buckets, room = BUCKET.get(parameters[0].device.type, math.inf), list[list[Tensor]](), 0.0
    for parameter in reversed(parameters):
        if not buckets or parameter.numel() > room:
            buckets.append([])
            room = most
        buckets[-1].insert(0, parameter)
        room -= parameter.numel()
    return buckets


@contextlib.contextmanager
def joined(machine: Machine) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started.

    On 'cuda', each process uses the device whose index is the local rank of the process.

    Parameters
    ----------
    machine : Machine
        The settings, of which `device` and `processes` are used.

    Yields
    ------
    ProcessGroup

    Raises
    ------
    ValueError
        torchrun did not start `machine.processes` processes, or there are fewer CUDA devices than processes.
    Lost
        Another process has ended.
    """
    size, rank, local = (
        int(os.environ.get(name, default))
        for name, default in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0))
    )
    if size != machine.processes:
        many = machine.processes
        raise ValueError(
            f"machine.processes = {many} needs {many} process{'es' * (many > 1)}, but there "
            f"{'is' if size == 1 else 'are'} {size}; start `torchrun --nproc_per_node {many} -m deepexp "
            f"train ...`{f', or set machine.processes={size}'}"
        )
    if size == 1:
        yield ALONE
        return
    if machine.device == "cuda":
        if local >= torch.cuda.device_count():
            raise ValueError(
                "every process must have its own CUDA device, but torch finds only "
                f"{torch.cuda.device_count()}, and this process has local rank {local}; start fewer processes"
            )
        torch.cuda.set_device(local)
    if not dist.is_initialized():  # an earlier run in this process may have initialised it
        with _together():
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT
            )
        atexit.register(dist.destroy_process_group)
    # If one process fails, torchrun stops the others with SIGTERM. Only rank 0 then says why.
    before = _on_termination(_terminated if rank == 0 else signal.SIG_DFL)
    group = ProcessGroup(rank, size)
    try:
        # Wait for all processes. Some may still be waiting for the folder of the run to be unlocked, and rank
        # 0 must not lock it again before they are through.
        group.sum(torch.zeros(()))
        yield group
    except Exception:
        # Rank 0 is stopping anyway. Ignore SIGTERM, so that it can still report why.
        _on_termination(signal.SIG_IGN if rank == 0 else before)
        atexit.unregister(dist.destroy_process_group)  # it would wait for processes that may be gone
        raise
    _on_termination(before)


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """Raise Lost if an exchange fails within this context; torch raises RuntimeError, whatever the cause."""
    try:
        yield
    except Lost:  # raised by the signal handler `_terminated`
        raise
    except RuntimeError as error:
        raise Lost(error) from None


def _terminated(*_: object) -> None:
    _on_termination(signal.SIG_IGN)
    raise Lost("torchrun is stopping this one")


def _on_termination(handler: Any) -> Any:
    """Set the handler of SIGTERM and return the previous one; outside the main thread, do nothing."""
    if threading.current_thread() is threading.main_thread():
        return signal.signal(signal.SIGTERM, handler)
    return None
