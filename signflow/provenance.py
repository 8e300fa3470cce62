"""What made a result: configuration, seed, versions, and a digest of the sources."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from signflow.machine import processor

_ROOT = Path(__file__).resolve().parents[1]


# Figures compute nothing: editing one leaves every result valid, so the digest leaves them out.
_SOURCES = ("singleneuron", "deepexp", "signflow")
_LIBRARIES = ("numpy", "scipy", "numba", "xarray", "signflow")


def source_digest() -> str:
    """SHA-256 over the names and contents of the .py and .toml files of the packages that compute.

    Hidden files are what editors, notebooks and file managers leave behind.
    """
    digest = hashlib.sha256()
    files = (file for package in _SOURCES for file in (_ROOT / package).rglob("*"))
    for file in sorted(file for file in files if file.suffix in (".py", ".toml") and file.is_file()):
        name = file.relative_to(_ROOT)
        if not any(part.startswith(".") for part in name.parts):
            digest.update(f"{name.as_posix()}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


@functools.cache
def started_with() -> tuple[str, str]:
    """Digest and revision of the sources when this process first asked: those that it computes with."""
    return source_digest(), revision()


@functools.cache
def revision() -> str:
    """The git revision of the source tree, '-dirty' when edited; without git 'sources-' and the digest."""
    if (_ROOT / ".git").exists():
        command = [
            "git",
            "--no-optional-locks",
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=10, check=True)
            return done.stdout.strip()
    return f"sources-{source_digest()[:12]}"


def version(package: str) -> str:
    """The version of an installed package; 'unknown' in a checkout that was never installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def provenance(config: Mapping[str, Any], seed: int | None = None) -> dict[str, str | int]:
    """What made a result, as attributes: configuration, seed, versions, sources, time and machine.

    Sources that were edited meanwhile are marked in `source_digest`: nobody can tell which of them made it.
    """
    digest, made = started_with()
    if source_digest() != digest:
        logging.getLogger(__name__).warning(
            "the sources were edited while this ran; what it made is kept, but does not count as up to date"
        )
        digest += " (edited meanwhile)"
    libraries = _LIBRARIES + (("torch",) if "torch" in sys.modules else ())
    versions = {"python": platform.python_version()} | {name: version(name) for name in libraries}
    return {
        "config": canonical(config),
        **({} if seed is None else {"seed": seed}),
        "versions": json.dumps(versions),
        "revision": made,
        "source_digest": digest,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "cpu": f"{processor()}, {os.cpu_count()} logical cores",
    }


def canonical(config: Mapping[str, Any]) -> str:
    """JSON with sorted keys; what JSON cannot say (infinity, NaN) becomes its name."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if hasattr(value, "tolist"):  # numpy
            return plain(value.tolist())
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        return value if isinstance(value, bool | int | float | str | None) else str(value)

    return json.dumps(plain(config), sort_keys=True)
