"""Compiled kernels: numba functions, cached on disk under a digest of every kernel source.

numba's own cache watches only the file in which an entry point stands, so an edited callee in
another file would leave stale machine code behind. Here the cache folder itself is named after
the sources: any edit of any kernel file compiles anew.
"""

import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config

PACKAGE = Path(__file__).parent


def source_digest(folder: Path = PACKAGE) -> str:
    """Digest of all modules in `folder` that hold compiled code."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        source = path.read_bytes()
        if b"kernel import" in source or path.name == Path(__file__).name:
            digest.update(path.name.encode() + b"\0" + source)
    return digest.hexdigest()[:16]


@functools.cache
def cache_directory() -> Path:
    """The folder of the compiled kernels: NUMBA_CACHE_DIR, else `__pycache__`, else a temporary one."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    root = Path(given) if given else PACKAGE / "__pycache__"
    try:
        root.mkdir(parents=True, exist_ok=True)
        writable = os.access(root, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        root = Path(tempfile.gettempdir()) / f"signflow-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    current = root / f"kernels-{source_digest()}"
    for stale in root.glob("kernels-*"):
        if stale != current:
            shutil.rmtree(stale, ignore_errors=True)
    return current


def routine(function: Callable[..., Any]) -> Any:
    """Compile a function that kernels call; it is cached as a part of them."""
    return numba.njit(error_model="numpy")(function)


def template(function: Callable[..., Any]) -> Any:
    """A routine with functions among its arguments. Inlined: the address of an argument bars the cache."""
    return numba.njit(error_model="numpy", forceinline=True)(function)


def kernel(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile an entry point and cache it on disk."""

    def decorate(function: Callable[..., Any]) -> Any:
        # numba reads the setting once, when the function is decorated.
        before, config.CACHE_DIR = config.CACHE_DIR, str(cache_directory())
        try:
            return numba.njit(error_model="numpy", cache=True, parallel=parallel)(function)
        finally:
            config.CACHE_DIR = before

    return decorate
