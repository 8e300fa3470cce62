"""Time repeated calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def wait_for_device(device: str) -> None:
    """Wait until a GPU has done all its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def times_of(work: Callable[[], object], repeats: int) -> list[float]:
    """Measure the seconds of each of `repeats` calls."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


def seconds_of(work: Callable[[], object], repeats: int = 3) -> float:
    """Measure the median time of a call in seconds."""
    return statistics.median(times_of(work, repeats))
