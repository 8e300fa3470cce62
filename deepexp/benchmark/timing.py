"""Seconds of repeated calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def wait_for_device(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def times_of(work: Callable[[], object], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


def seconds_of(work: Callable[[], object], repeats: int = 3) -> float:
    return statistics.median(times_of(work, repeats))
