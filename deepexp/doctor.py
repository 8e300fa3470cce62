"""Report on this machine: processor, torch and the instructions it uses, data sets, free disk space."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator

from deepexp.data import catalogue, image_folder
from signflow.machine import processor

_MISSING = "must be installed; run pip install 'signflow[deep]'"


def lines() -> Iterator[str]:
    """Report on this machine, line by line.

    Yields
    ------
    str
        A line of the report. If a package is not installed, its line says so, and no error is raised.
    """
    yield f"python {platform.python_version()}, {processor()}, {os.cpu_count()} logical cores"
    yield from _torch()
    compiler = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    yield f"machine.compile on the CPU: {'available' if compiler else 'needs a C++ compiler, found none'}"
    try:
        yield f"data in {catalogue.folder()}:"
    except ModuleNotFoundError as error:
        yield f"data: {error.name} {_MISSING}, or set SIGNFLOW_DATA to the folder of the data sets"
    for name in catalogue.SOURCES:
        yield f"  {name}: {_copy(name)}"
    yield f"free disk space here: {shutil.disk_usage('.').free / 1e9:.1f} GB"


def _torch() -> Iterator[str]:
    try:
        import torch
    except ModuleNotFoundError as error:
        yield f"{error.name} {_MISSING}"
        return
    yield f"torch {torch.__version__}, whose own kernels use {torch.backends.cpu.get_cpu_capability()}"
    if torch.backends.mkldnn.is_available():
        caps = [name for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA") if os.environ.get(name)]
        most = f"{caps[0]}={os.environ[caps[0]]}" if caps else "the processor alone"
        yield f"convolutions by oneDNN, whose instructions are limited by {most}"
    found = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    yield f"CUDA devices: {found or 'none (runs use the CPU)'}"


def _copy(name: str) -> str:
    """Describe the local copy of a data set, or say why there is none."""
    try:
        return (
            image_folder.listing(name).variant if catalogue.SOURCES[name].in_files else catalogue.verify(name)
        )
    except ValueError as error:
        return str(error)
    except ModuleNotFoundError as error:
        return f"{error.name} {_MISSING}"
