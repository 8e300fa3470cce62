"""Seconds of repeated calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def wait_for_device(device: str) -> None:
    """Return once a GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def times_of(work: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each of so many calls."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


def seconds_of(work: Callable[[], object], repeats: int = 3) -> float:
    """Median seconds of a call."""
    return statistics.median(times_of(work, repeats))
