"""Result files: labelled arrays with the provenance of the run that made them.

The one format in which results are handed over: NetCDF (one Dataset, or one group per named Dataset), or
CSV for one Dataset, as a long-form table. A file appears under its name only when it is complete.
"""

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
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures.machine import processor

if TYPE_CHECKING:
    import xarray as xr

SUFFIXES = (".nc", ".csv")
_ROOT = Path(__file__).resolve().parents[1]
# Figures compute nothing: editing one leaves every result valid, so the digest leaves them out.
_SOURCES = ("singleneuron", "deepexp")
# What a result shows, in words; the numbers in it do not depend on them.
_WORDS = ("title", "shows", "figure")
_LIBRARIES = ("numpy", "scipy", "numba", "xarray", "signflow")


def check_output(path: str | Path, suffixes: tuple[str, ...] = SUFFIXES) -> Path:
    """Return `path`, having made sure that a result can be written there, without leaving anything behind.

    Raises ValueError when the path ends in none of `suffixes` (if any), or when the folder cannot be written.
    """
    path = Path(path)
    started_with()  # what computes a result is what stands here before it is computed
    if suffixes and path.suffix not in suffixes:
        raise ValueError(f"the output must end in {' or '.join(suffixes)}, got '{path}'")
    if path.is_dir():
        raise ValueError(f"the output must be a file, but '{path}' is a folder")
    check_folder(path.parent)
    return path


def check_folder(folder: str | Path, name: str = "the output's folder") -> None:
    """Raise ValueError, in which `name` says what it is, unless files can be written into `folder`.

    What is missing of the folder must be one that can be made; nothing of it is.
    """
    folder = Path(folder).absolute()
    while not (folder.exists() or folder.is_symlink()):
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"{name} must be writable, but '{folder}' is not ({error.strerror}); choose another"
        ) from None


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, without a byte-order mark, lines ending in a newline alone; ValueError."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path}' must be UTF-8 text, but it is not at byte {error.start}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise ValueError(
            f"'{path}' must be a file that can be read, but it is not ({error.strerror}); give another"
        ) from None


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block succeeds and vanishes when it fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # A write to a full disk names no file, and a rename the temporary one.
        if error.errno is not None and str(error.filename) in ("None", str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


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
        "config": _canonical(config),
        **({} if seed is None else {"seed": seed}),
        "versions": json.dumps(versions),
        "revision": made,
        "source_digest": digest,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "cpu": f"{processor()}, {os.cpu_count()} logical cores",
    }


def write(
    data: xr.Dataset | Mapping[str, xr.Dataset],
    path: str | Path,
    *,
    config: Mapping[str, Any],
    seed: int | None = None,
) -> Path:
    """Write `data` with its provenance to `path` (.nc or .csv), all or nothing, and return the path.

    A mapping becomes one NetCDF group per name. CSV holds one Dataset: its provenance as '# key: value'
    lines, then one row per point of the product of its dimensions.
    """
    import xarray as xr

    from figures import formats

    path = check_output(path)
    if not isinstance(data, xr.Dataset):
        if path.suffix != ".nc":
            raise ValueError(
                f"a .csv holds one table, but the result has {len(data)}; write '{path.stem}.nc'"
            )
        if not data:
            raise ValueError("a result must hold at least one dataset, got none")
        content = formats.netcdf(data, provenance(config, seed))
    elif path.suffix == ".nc":
        content = formats.netcdf(data, provenance(config, seed))
    else:
        content = formats.csv(data.assign_attrs(provenance(config, seed)))
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return path


def read(path: str | Path) -> xr.Dataset | dict[str, xr.Dataset]:
    """Read a result: its Dataset, or its named Datasets, each with the provenance in its attributes.

    Every variable of a CSV comes back over all of the table's dimensions. Raises ValueError when the file
    is missing, in use or no result file.
    """
    from figures import formats

    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a result file must end in .nc or .csv, got '{path}'")
    if not path.is_file():
        raise ValueError(f"there must be a result file at '{path}', but there is none; make it first")
    _config_of(path)
    with _named(path):
        return formats.read_csv(path) if path.suffix == ".csv" else formats.read_netcdf(path)


def is_current(path: str | Path, *, config: Mapping[str, Any]) -> bool:
    """Whether the result at `path` was made by this configuration and by these sources."""
    path = Path(path)
    try:
        stored = _attributes(path) if path.is_file() else {}
    except ValueError:
        return False
    return (stored.get("config"), stored.get("source_digest")) == (_canonical(config), source_digest())


def claim(
    path: str | Path,
    *,
    config: Mapping[str, Any],
    overwrite: bool = False,
    suffixes: tuple[str, ...] = SUFFIXES,
) -> Path:
    """Return `path`, having made sure that a result of this configuration may be written there.

    Raises ValueError as `check_output` does, and where anything but an earlier result of this configuration
    would be lost, unless `overwrite` says that it may be.
    """
    path = check_output(path, suffixes)
    if overwrite or not path.exists():
        return path
    remedy = "write to another file, or replace it with --overwrite"
    ours = _flat({key: value for key, value in json.loads(_canonical(config)).items() if key not in _WORDS})
    theirs = _flat({key: value for key, value in _config_of(path, remedy).items() if key not in _WORDS})
    differ = sorted(key for key in ours | theirs if ours.get(key, "") != theirs.get(key, ""))
    if differ:
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise ValueError(
            f"'{path}' holds a result of another configuration (different: {', '.join(differ[:3])}{more}); "
            f"{remedy}"
        )
    return path


def _flat(config: Any, name: str = "") -> dict[str, Any]:
    """The entries of a nested mapping by dotted names."""
    if not isinstance(config, Mapping):
        return {name: config}
    inner = ((f"{name}.{key}" if name else str(key), value) for key, value in config.items())
    return {key: value for prefix, item in inner for key, value in _flat(item, prefix).items()}


_AGAIN = "delete it and make it again"


def _config_of(path: Path, remedy: str = _AGAIN) -> dict[str, Any]:
    """The configuration that a result file states; ValueError where it states none."""
    stored = _attributes(path, remedy)
    with _named(path, remedy):
        if "config" not in stored:
            raise ValueError("it has no provenance")
        config = json.loads(stored["config"])
        if not isinstance(config, dict):
            raise ValueError("its configuration is none")
        return config


def _attributes(path: Path, remedy: str = _AGAIN) -> dict[str, Any]:
    """What a result file states of itself, before any of its data is read."""
    from figures import formats

    with _named(path, remedy):
        if path.suffix == ".nc":
            return formats.netcdf_attributes(path)
        if path.suffix == ".csv":
            return dict(formats.csv_attributes(path))
        (verdict, *_) = json.loads(path.read_text("utf-8-sig"))
        return dict(verdict["provenance"])


@contextlib.contextmanager
def _named(path: Path, remedy: str = _AGAIN) -> Iterator[None]:
    """Turn what goes wrong with reading a result file into one line that names it and says what to do."""
    try:
        yield
    except BlockingIOError:
        raise ValueError(
            f"the result file '{path}' is in use: another program holds it open for writing; close it there"
        ) from None
    except PermissionError as error:
        raise ValueError(
            f"the result file '{path}' must be readable, but is not ({error.strerror}); "
            "change its permissions, or name another"
        ) from None
    except Exception as error:  # h5py, h5netcdf, xarray and pandas each raise their own on a damaged file
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot read the result file '{path}' ({reason}); {remedy}") from None


def _canonical(config: Mapping[str, Any]) -> str:
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
