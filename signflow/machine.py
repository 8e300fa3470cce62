"""What is known of the machine: its processor, its memory, and the cores and the memory of this process."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
from pathlib import Path

PATIENCE = 30 * 86400.0
"""Seconds of one core; longer work is a slip of the pen."""


def processor() -> str:
    """The processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float:
    """The memory of this machine in bytes, or what its container may use; infinite where nobody tells."""
    limits = [math.inf]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        limits.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of the second and the first cgroups
        with contextlib.suppress(ValueError, OSError):  # 'max' is none
            limits.append(float(Path("/sys/fs/cgroup", name).read_text()))
    return min(limits)


def peak_memory() -> float:
    """The largest resident memory of this process so far, in MB; NaN where the system does not tell it."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1e3 if found else math.nan


def check_memory(what: str, size: int) -> None:
    """ValueError, in one line, if `what` takes more bytes than there are."""
    if size > (there := memory()):
        raise ValueError(
            f"{what} would need {size / 1e9:.3g} GB of memory, but there are {there / 1e9:.3g} GB; "
            "ask for less"
        )


def check_time(what: str, seconds: float) -> None:
    """ValueError, in one line, if `what` takes a core longer than anybody waits."""
    if seconds > PATIENCE:
        raise ValueError(f"{what} would take a core {seconds / 86400:.3g} days at least; ask for fewer")
