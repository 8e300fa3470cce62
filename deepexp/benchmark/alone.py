"""Run a training loop in its own process, to measure its start-up time and its memory."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deepexp.benchmark.loops import loop_of
from deepexp.benchmark.timing import wait_for_device
from deepexp.config.build import build
from signflow.machine import peak_memory
from signflow.messages import Failure


@dataclass(frozen=True)
class Alone:
    """Measurements of a training loop that ran in its own process.

    Attributes
    ----------
    start : float
        Seconds from the start of the process to the end of the loop's first step.
    memory : float
        Peak memory in MB since the data were loaded. It is device memory on a GPU, else resident memory, and
        NaN if the system does not report it.
    """

    start: float
    memory: float


def alone(name: str, chosen: Mapping[str, Any]) -> Alone:
    """Measure the loop `name` in a new process that trains for a few steps."""
    code = (
        "import json, sys; from deepexp.benchmark import alone; alone.report_alone(*json.loads(sys.argv[1]))"
    )
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([name, chosen])], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Failure(f"a process that trains with the loop '{name}' failed: {last}")
    first, memory = json.loads(done.stdout)
    return Alone(first - began, memory)


def report_alone(name: str, chosen: Mapping[str, Any]) -> None:
    """Run the loop `name`; print the time at which its first step was finished, and its peak memory in MB."""
    device = build(chosen).machine.device
    loop = loop_of(name, chosen, chunk=1)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # on Linux, this resets the peak (VmHWM)
    next(loop)
    wait_for_device(device)
    first = time.time()
    for _ in range(3):
        next(loop)
    wait_for_device(device)
    print(json.dumps([first, torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else peak_memory()]))
