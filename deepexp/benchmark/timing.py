"""Time repeated calls of a function."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def wait_for_device(device: str) -> None:
    """Wait until the GPU has finished its work; return at once for a CPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def times_of(work: Callable[[], object], repeats: int) -> list[float]:
    """Call `work` repeatedly, `repeats` times in all, and return the seconds that each call took."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


def seconds_of(work: Callable[[], object], repeats: int = 3) -> float:
    """Call `work` repeatedly, `repeats` times in all, and return the median time of a call in seconds."""
    return statistics.median(times_of(work, repeats))
