"""The machine: its processor, its memory, and the cores and the memory of this process."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
from pathlib import Path

PATIENCE = 30 * 86400.0
"""Seconds on one core; work that takes longer was surely asked for by mistake."""


def processor() -> str:
    """Return the name of the processor.

    Returns
    -------
    str
        The model as the system reports it, or the architecture.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return how many cores this process may use.

    Returns
    -------
    int
        At least 1.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float:
    """Return the memory of this machine, or of the container that this process runs in.

    Returns
    -------
    float
        Bytes; infinite where the system does not say.
    """
    limits = [math.inf]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        limits.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroups, version 2 and version 1
        with contextlib.suppress(ValueError, OSError):  # 'max' is no limit
            limits.append(float(Path("/sys/fs/cgroup", name).read_text()))
    return min(limits)


def peak_memory() -> float:
    """Return the largest resident memory of this process so far.

    Returns
    -------
    float
        Megabytes; NaN where the system does not say.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1e3 if found else math.nan


def check_memory(what: str, size: int) -> None:
    """Make sure that a piece of work fits into memory.

    Parameters
    ----------
    what : str
        The work, for the message.
    size : int
        Bytes that it needs.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    if size > (there := memory()):
        raise ValueError(
            f"{what} would need {size / 1e9:.3g} GB of memory, but there are {there / 1e9:.3g} GB; "
            "ask for less"
        )


def check_time(what: str, seconds: float) -> None:
    """Raise ValueError if the work called `what` would take one core more than PATIENCE seconds."""
    if seconds > PATIENCE:
        raise ValueError(f"{what} would take a core {seconds / 86400:.3g} days at least; ask for fewer")
