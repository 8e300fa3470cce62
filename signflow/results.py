"""Result files: labelled arrays with the provenance of the run that made them.

A result file is a NetCDF file that holds one Dataset, or several named Datasets as groups. A single Dataset
may also be stored in a CSV file, as a long-form table. A file appears under its name only when it is
complete.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signflow.files import SUFFIXES, atomic, check_output
from signflow.provenance import RECORDED, canonical, now, provenance, source_digest

if TYPE_CHECKING:
    import xarray as xr

# Entries of a configuration that only describe the result. The numbers in the result do not depend on them.
_WORDS = ("title", "shows", "figure")


def write(
    data: xr.Dataset | Mapping[str, xr.Dataset],
    path: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Path:
    """Write a result with its provenance, completely or not at all.

    Parameters
    ----------
    data : xr.Dataset | Mapping[str, xr.Dataset]
        A Dataset, or several Datasets by name, which become NetCDF groups.
    path : str | Path
        A file whose name ends in .nc or .csv. A CSV file holds one Dataset: the provenance as '# key: value'
        lines, then one row for each combination of coordinates.
    config : Mapping[str, Any] | None
        Configuration of the result. By default, the provenance is taken from the attributes of the data.
        `success_map`, `success_rate`, `presets.run` and `read` return data with such attributes.
    seed : int | None
        Seed of the result, if it has one.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ValueError
        If the data have no provenance and `config` is not given, if the file cannot hold the data, or if it
        cannot be written.
    """
    import xarray as xr

    from signflow import formats

    path = check_output(path)
    several = not isinstance(data, xr.Dataset)
    if several and path.suffix != ".nc":
        raise ValueError(f"a .csv file holds one table, but this result has {len(data)}; write a .nc file")
    if several and not data:
        raise ValueError("a result must hold at least one dataset, got none")
    made = _carried(data) if config is None else provenance(config, seed)
    if isinstance(data, xr.Dataset):
        content = formats.netcdf(data, made) if path.suffix == ".nc" else formats.csv(data.assign_attrs(made))
    else:
        content = formats.netcdf({name: _bare(table) for name, table in data.items()}, made)
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return path


def _bare(table: xr.Dataset) -> xr.Dataset:
    """Return a table without provenance, which a file of several tables keeps only once."""
    return table.drop_attrs(deep=False).assign_attrs(
        {key: value for key, value in table.attrs.items() if key not in RECORDED}
    )


def _carried(data: xr.Dataset | Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Return the provenance in the attributes of the data.

    If the tables have different configurations, the returned configuration holds each of them under the name
    of its table, and there is no seed.
    """
    import xarray as xr

    tables = {"": data} if isinstance(data, xr.Dataset) else data
    if bare := [name for name, table in tables.items() if "config" not in table.attrs]:
        which = f"the table '{bare[0]}'" if bare[0] else "the Dataset"
        raise ValueError(
            f"a result must record its configuration, but {which} carries none; pass it as config={{...}}"
        )
    first = next(iter(tables.values())).attrs
    made = {"created": now()} | {key: first[key] for key in (*RECORDED, "seed") if key in first}
    configs = {name: table.attrs["config"] for name, table in tables.items()}
    if len(set(configs.values())) > 1:
        made["config"] = canonical({name: json.loads(config) for name, config in configs.items()})
        made.pop("seed", None)
    return made


def read(path: str | Path) -> xr.Dataset | dict[str, xr.Dataset]:
    """Read a result.

    Parameters
    ----------
    path : str | Path
        A result file.

    Returns
    -------
    xr.Dataset | dict[str, xr.Dataset]
        The Dataset in the file, or its Datasets by name. Each has the provenance as attributes. A variable
        that is read from a CSV file has all dimensions of the table.

    Raises
    ------
    ValueError
        If the file is missing, in use, damaged, or not a result file.
    """
    from signflow import formats

    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a result file must end in .nc or .csv, got '{path}'")
    if not path.is_file():
        raise ValueError(f"the result file '{path}' does not exist; create it first")
    _config_of(path)
    with _named(path):
        return formats.read_csv(path) if path.suffix == ".csv" else formats.read_netcdf(path)


def is_current(path: str | Path, *, config: Mapping[str, Any]) -> bool:
    """Return whether a result was made with a given configuration and with the current sources.

    Parameters
    ----------
    path : str | Path
        The result file, which need not exist.
    config : Mapping[str, Any]
        The configuration.

    Returns
    -------
    bool
        False also if the file is missing or cannot be read.
    """
    path = Path(path)
    try:
        stored = _attributes(path) if path.is_file() else {}
    except ValueError:
        return False
    return (stored.get("config"), stored.get("source_digest")) == (canonical(config), source_digest())


def claim(
    path: str | Path,
    *,
    config: Mapping[str, Any],
    overwrite: bool = False,
    suffixes: tuple[str, ...] = SUFFIXES,
) -> Path:
    """Make sure that the result of a configuration may be written to `path`.

    Parameters
    ----------
    path : str | Path
        File to be written later.
    config : Mapping[str, Any]
        Configuration of the result.
    overwrite : bool
        Whether any existing file may be replaced. If False, only an earlier result of the same
        configuration may be replaced.
    suffixes : tuple[str, ...]
        The allowed endings.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ValueError
        If the path cannot be written to (see `check_output`), or holds a file that may not be replaced.
    """
    path = check_output(path, suffixes)
    if overwrite or not path.exists():
        return path
    remedy = "write to another file, or use --overwrite to replace it"
    ours = _flat({key: value for key, value in json.loads(canonical(config)).items() if key not in _WORDS})
    theirs = _flat({key: value for key, value in _config_of(path, remedy).items() if key not in _WORDS})
    differ = sorted(key for key in ours | theirs if ours.get(key, "") != theirs.get(key, ""))
    if differ:
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise ValueError(
            f"'{path}' holds the result of another configuration (different: {', '.join(differ[:3])}{more}); "
            f"{remedy}"
        )
    return path


def _flat(config: Any, name: str = "") -> dict[str, Any]:
    """Return the entries of a nested mapping, keyed by dotted names."""
    if not isinstance(config, Mapping):
        return {name: config}
    inner = ((f"{name}.{key}" if name else str(key), value) for key, value in config.items())
    return {key: value for prefix, item in inner for key, value in _flat(item, prefix).items()}


_AGAIN = "delete it and recreate it"


def _config_of(path: Path, remedy: str = _AGAIN) -> dict[str, Any]:
    """Return the configuration stored in a result file; raise ValueError if there is none."""
    stored = _attributes(path, remedy)
    with _named(path, remedy):
        if "config" not in stored:
            raise ValueError("it has no provenance")
        config = json.loads(stored["config"])
        if not isinstance(config, dict):
            raise ValueError("its configuration is not a mapping")
        return config


def _attributes(path: Path, remedy: str = _AGAIN) -> dict[str, Any]:
    """Return the attributes of a result file without reading its data."""
    from signflow import formats

    with _named(path, remedy):
        if path.suffix == ".nc":
            return formats.netcdf_attributes(path)
        if path.suffix == ".csv":
            return dict(formats.csv_attributes(path))
        (verdict, *_) = json.loads(path.read_text("utf-8-sig"))
        return dict(verdict["provenance"])


@contextlib.contextmanager
def _named(path: Path, remedy: str = _AGAIN) -> Iterator[None]:
    """Turn any error while reading a result file into one line that names the file and says what to do."""
    try:
        yield
    except BlockingIOError:
        raise ValueError(
            f"the result file '{path}' is in use: another program has it open for writing; close it there"
        ) from None
    except PermissionError as error:
        raise ValueError(
            f"the result file '{path}' must be readable, but is not ({error.strerror}); "
            "change its permissions, or choose another"
        ) from None
    except Exception as error:  # the libraries that read a file raise many kinds of error if it is damaged
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot read the result file '{path}' ({reason}); {remedy}") from None
