"""The machine: its processor and memory, and the cores and memory of this process."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import re
from pathlib import Path

PATIENCE = 30 * 86400.0
"""The most work that may be requested, in seconds on one core. More is surely a mistake."""


def processor() -> str:
    """Return the name of the processor.

    Returns
    -------
    str
        The model that the system reports, or the architecture.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use.

    Returns
    -------
    int
        The number of cores, at least 1.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float:
    """Return the memory of this machine, or of the container that this process runs in.

    Returns
    -------
    float
        Bytes; infinite if the system does not report it.
    """
    limits = [math.inf]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        limits.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroups, versions 2 and 1
        with contextlib.suppress(ValueError, OSError):  # 'max' means no limit
            limits.append(float(Path("/sys/fs/cgroup", name).read_text()))
    return min(limits)


def peak_memory() -> float:
    """Return the peak resident memory of this process so far.

    Returns
    -------
    float
        Megabytes; NaN if the system does not report it.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1e3 if found else math.nan


def keep_freed_memory() -> bool:
    """Tell the C library to keep the memory that this process frees, for its next allocations.

    By default, glibc soon returns large blocks to the system, which must then map and clear the next blocks
    again. A training step allocates and frees dozens of blocks of 1 MB.

    Returns
    -------
    bool
        Whether this succeeded. Only glibc can do it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    trim_threshold, mmap_threshold = -1, -3  # as in malloc.h
    return bool(mallopt(mmap_threshold, 1 << 30)) and bool(mallopt(trim_threshold, (1 << 31) - 1))


def check_memory(what: str, size: int) -> None:
    """Make sure that a computation fits into memory.

    Parameters
    ----------
    what : str
        The computation that needs the memory, as named in the message.
    size : int
        The number of bytes needed.

    Raises
    ------
    ValueError
        If the machine has less memory.
    """
    if size > (there := memory()):
        raise ValueError(
            f"{what} would need {size / 1e9:.3g} GB of memory, but this machine has {there / 1e9:.3g} GB; "
            "ask for less"
        )


def check_time(what: str, seconds: float) -> None:
    """Raise ValueError if the work described by `what` would take one core more than `PATIENCE` seconds."""
    if seconds > PATIENCE:
        raise ValueError(f"{what} would take one core at least {seconds / 86400:.3g} days; ask for less work")
