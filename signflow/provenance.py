"""Provenance of a result: configuration, seed, versions, and a digest of the sources."""

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


# The digest omits the package `figures`, which computes no results. Editing it leaves all results valid.
_SOURCES = ("singleneuron", "deepexp", "signflow")
_LIBRARIES = ("numpy", "scipy", "numba", "xarray", "signflow")


def source_digest() -> str:
    """Return a digest of the names and contents of the .py and .toml files of the packages that compute.

    Hidden files, which editors, notebooks and file managers leave behind, are ignored.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
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
    """Return the digest and revision that the sources had when this process first called this function."""
    return source_digest(), revision()


@functools.cache
def revision() -> str:
    """Return the git revision, with '-dirty' if files were edited; without git, the start of the digest."""
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
    """Return the version of an installed package, or 'unknown' in a checkout that was never installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


RECORDED = ("config", "versions", "revision", "source_digest", "created", "platform", "cpu")
"""The attributes that only `provenance` sets. `seed` is not among them: data can have a seed of their own."""


def provenance(config: Mapping[str, Any], seed: int | None = None) -> dict[str, str | int]:
    """Return attributes that record how and when a result was made.

    Parameters
    ----------
    config : Mapping[str, Any]
        Configuration of the result; `canonical` turns it into JSON.
    seed : int | None
        Seed of the result, if it has one.

    Returns
    -------
    dict[str, str | int]
        The attributes that `origin` returns, and the time (`created`).
    """
    return {**origin(config, seed), "created": now()}


def now() -> str:
    """Return the current time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def origin(config: Mapping[str, Any], seed: int | None = None) -> dict[str, str | int]:
    """Return attributes that record how a result was made, but not when.

    The same arguments therefore give the same attributes. If the sources were edited during the run, the
    attribute `source_digest` says so, because the result may come from either version.

    Parameters
    ----------
    config : Mapping[str, Any]
        Configuration of the result; `canonical` turns it into JSON.
    seed : int | None
        Seed of the result, if it has one.

    Returns
    -------
    dict[str, str | int]
        Attributes for a result: configuration, seed, versions, revision, digest, platform and processor.
    """
    digest, made = started_with()
    if source_digest() != digest:
        logging.getLogger(__name__).warning(
            "the sources were edited during this run; its result is kept, but does not count as up to date"
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
        "platform": platform.platform(),
        "cpu": f"{processor()}, {os.cpu_count()} logical cores",
    }


def canonical(config: Mapping[str, Any]) -> str:
    """Return a configuration as JSON with sorted keys; values not in JSON, such as NaN, become strings."""

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
