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
_LIBRARIES = ("numpy", "scipy", "numba", "xarray", "signflow")


def check_output(path: str | Path, suffixes: tuple[str, ...] = SUFFIXES) -> Path:
    """Return `path`, having made sure that a result can be written there, without leaving anything behind.

    Raises ValueError when the path ends in none of `suffixes` (if any), or when the folder cannot be written.
    """
    path = Path(path)
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
    finally:
        temporary.unlink(missing_ok=True)


def source_digest() -> str:
    """SHA-256 over the names and contents of the .py and .toml files of the packages that compute."""
    digest = hashlib.sha256()
    files = (file for package in _SOURCES for file in (_ROOT / package).rglob("*"))
    for file in sorted(file for file in files if file.suffix in (".py", ".toml")):
        digest.update(f"{file.relative_to(_ROOT).as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


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


def provenance(config: Mapping[str, Any], seed: int | None = None) -> dict[str, str | int]:
    """What made a result, as attributes: configuration, seed, versions, sources, time and machine."""
    libraries = _LIBRARIES + (("torch",) if "torch" in sys.modules else ())
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in libraries}
    return {
        "config": _canonical(config),
        **({} if seed is None else {"seed": seed}),
        "versions": json.dumps(versions),
        "revision": revision(),
        "source_digest": source_digest(),
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

    path = check_output(path)
    attributes = provenance(config, seed)
    if not isinstance(data, xr.Dataset):
        if path.suffix != ".nc":
            raise ValueError(
                f"a .csv holds one table, but the result has {len(data)}; write '{path.stem}.nc'"
            )
        with atomic(path) as temporary:
            _write_groups(data, temporary, attributes)
        return path
    dataset = data.assign_attrs(attributes)
    with atomic(path) as temporary:
        if path.suffix == ".nc":
            dataset.to_netcdf(temporary, engine="h5netcdf")
        else:
            _write_csv(dataset, temporary)
    return path


def read(path: str | Path) -> xr.Dataset | dict[str, xr.Dataset]:
    """Read a result: its Dataset, or its named Datasets, each with the provenance in its attributes.

    Every variable of a CSV comes back over all of the table's dimensions. Raises ValueError when the file
    is missing or is no result file.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a result file must end in .nc or .csv, got '{path}'")
    if not path.is_file():
        raise ValueError(f"there must be a result file at '{path}', but there is none; make it first")
    try:
        return _read_csv(path) if path.suffix == ".csv" else _read_netcdf(path)
    except Exception as error:  # h5py, h5netcdf, xarray and pandas each raise their own on a damaged file
        reason = " ".join(str(error).split())
        raise ValueError(
            f"cannot read the result file '{path}' ({reason}); delete it and make it again"
        ) from None


def is_current(path: str | Path, *, config: Mapping[str, Any]) -> bool:
    """Whether the NetCDF result at `path` was made by this configuration and by these sources."""
    import h5netcdf

    try:
        with h5netcdf.File(path) as file:
            attributes = dict(file.attrs)
    except OSError:
        return False
    stored = attributes.get("config"), attributes.get("source_digest")
    return stored == (_canonical(config), source_digest())


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


def _write_groups(data: Mapping[str, xr.Dataset], path: Path, attributes: Mapping[str, str | int]) -> None:
    import xarray as xr

    if not data:
        raise ValueError("a result must hold at least one dataset, got none")
    xr.Dataset(attrs=attributes).to_netcdf(path, engine="h5netcdf")
    for name, dataset in data.items():
        dataset.to_netcdf(path, mode="a", group=name, engine="h5netcdf")


def _read_netcdf(path: Path) -> xr.Dataset | dict[str, xr.Dataset]:
    import h5netcdf
    import xarray as xr

    with h5netcdf.File(path) as file:
        groups = list(file.groups)
    root = xr.load_dataset(path, engine="h5netcdf")
    if "config" not in root.attrs:
        raise ValueError("it has no provenance")
    if not groups:
        return root
    return {
        name: xr.load_dataset(path, engine="h5netcdf", group=name).assign_attrs(root.attrs) for name in groups
    }


def _write_csv(dataset: xr.Dataset, path: Path) -> None:
    header = {**dataset.attrs, "dims": json.dumps(list(dataset.sizes))}
    with path.open("w", newline="", encoding="utf-8") as file:
        for key, value in header.items():
            file.write(f"# {key}: {value}\n")
        dataset.to_dataframe(dim_order=list(dataset.sizes)).reset_index().to_csv(file, index=False)


def _read_csv(path: Path) -> xr.Dataset:
    import pandas as pd  # type: ignore[import-untyped]
    import xarray as xr

    attributes: dict[str, str] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith("# "):
                break
            key, _, value = line[2:].rstrip("\n").partition(": ")
            attributes[key] = value
    if "config" not in attributes:
        raise ValueError("it has no provenance")
    # The python engine reads floats exactly in every version of pandas.
    table = pd.read_csv(path, skiprows=len(attributes), engine="python")
    dims = json.loads(attributes.pop("dims"))
    # from_dataframe sorts a MultiIndex; reindexing restores the order in which the coordinates were written.
    order = {dim: table[dim].unique() for dim in dims}
    return xr.Dataset.from_dataframe(table.set_index(dims)).reindex(order).assign_attrs(attributes)
