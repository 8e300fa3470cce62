"""Label Datasets, and convert them to the bytes of a NetCDF or CSV file and back.

A NetCDF file holds one Dataset, or several as named groups. A CSV file holds a single Dataset. The bytes are
assembled in memory, because HDF5 crashes if the disk becomes full while it writes.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

_LEAST_COMPRESSED = 1 << 14  # bytes; a compressed array needs an index of a few kilobytes
_UTF8 = "utf-8-sig"  # skips the byte-order mark with which some editors begin a file


def netcdf(data: xr.Dataset | Mapping[str, xr.Dataset], attributes: Mapping[str, Any]) -> bytes:
    """Return the bytes of a NetCDF file that holds `attributes` and a Dataset, or several as groups."""
    import h5netcdf
    import xarray as xr
    from xarray.backends import H5NetCDFStore

    groups = {} if isinstance(data, xr.Dataset) else data
    root = data.assign_attrs(attributes) if isinstance(data, xr.Dataset) else xr.Dataset(attrs=attributes)
    content = io.BytesIO()
    with h5netcdf.File(content, "w") as file:
        _storable(root).dump_to_store(H5NetCDFStore(file), encoding=_compressed(root))
        for name, dataset in groups.items():
            store = H5NetCDFStore(file.create_group(name))
            _storable(dataset).dump_to_store(store, encoding=_compressed(dataset))
    return content.getvalue()


def _compressed(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return the encoding that compresses large numeric arrays. In a recipe's tables they are mostly NaN."""
    return {
        str(name): {"zlib": True, "shuffle": True, "complevel": 1}
        for name, variable in dataset.variables.items()
        if variable.dims and variable.dtype.kind in "iufb" and variable.nbytes >= _LEAST_COMPRESSED
    }


def _storable(dataset: xr.Dataset) -> xr.Dataset:
    """Turn integer attributes (such as seeds) beyond 64 bits, which NetCDF cannot hold, into strings."""
    return dataset.assign_attrs(
        {
            key: str(value) if isinstance(value, int) and not -(2**63) <= value < 2**64 else value
            for key, value in dataset.attrs.items()
        }
    )


def read_netcdf(path: Path) -> xr.Dataset | dict[str, xr.Dataset]:
    """Read the Dataset in a NetCDF file, or its groups by name, each with the attributes of the root."""
    import h5netcdf
    import xarray as xr

    with h5netcdf.File(path) as file:
        groups = list(file.groups)
    root = xr.load_dataset(path, engine="h5netcdf")
    if not groups:
        return root
    return {
        name: xr.load_dataset(path, engine="h5netcdf", group=name).assign_attrs(root.attrs) for name in groups
    }


def netcdf_attributes(path: Path) -> dict[str, Any]:
    """Read the attributes at the root of a NetCDF file."""
    import h5netcdf

    with h5netcdf.File(path) as file:
        return dict(file.attrs)


def csv(dataset: xr.Dataset) -> bytes:
    """Return the bytes of a CSV file: '# key: value' lines, then one row for each point of the grid."""
    header = {**dataset.attrs, "dims": json.dumps(list(dataset.sizes)), "variables": _about(dataset)}
    lines = "".join(f"# {key}: {' '.join(str(value).splitlines())}\n" for key, value in header.items())
    table = dataset.to_dataframe(dim_order=list(dataset.sizes)).reset_index()
    return (lines + table.to_csv(index=False, lineterminator="\n")).encode()


def _about(dataset: xr.Dataset) -> str:
    """Return the attributes of every variable, as JSON."""
    found = {name: item.attrs for name, item in dataset.variables.items() if item.attrs}
    return json.dumps(found, default=lambda value: value.tolist())  # `flag_values` is an array


def csv_attributes(path: Path) -> dict[str, str]:
    """Read the attributes above the table in a CSV file, including `dims` and `variables`."""
    attributes: dict[str, str] = {}
    with path.open(encoding=_UTF8) as file:
        for line in file:
            if not line.startswith("# "):
                break
            key, _, value = line[2:].rstrip("\n").partition(": ")
            attributes[key] = value
    return attributes


def read_csv(path: Path) -> xr.Dataset:
    """Read the Dataset in a CSV file.

    Every variable gets all dimensions. Coordinates keep the order that they have in the file.
    """
    import numpy as np
    import pandas as pd  # type: ignore[import-untyped]
    import xarray as xr

    attributes = csv_attributes(path)
    # The python engine reads floats exactly in every version of pandas.
    table = pd.read_csv(path, skiprows=len(attributes), engine="python", encoding=_UTF8)
    dims, about = json.loads(attributes.pop("dims")), json.loads(attributes.pop("variables", "{}"))
    # Rows are placed by integer codes, because a coordinate can be NaN (for a run without a learning rate).
    factors = {dim: pd.factorize(table.pop(dim), use_na_sentinel=False) for dim in dims}
    coords = {dim: np.asarray(values) for dim, (_, values) in factors.items()}
    shape = tuple(map(len, coords.values()))
    place = np.ravel_multi_index([codes for codes, _ in factors.values()], shape)
    if len(place) != math.prod(shape) or len(np.unique(place)) < len(place):
        raise ValueError("the table must have exactly one row for every combination of its coordinates")
    order = np.argsort(place)
    variables = {name: (dims, np.asarray(table[name])[order].reshape(shape)) for name in table}
    dataset = xr.Dataset(variables, coords, attributes)
    for name in about.keys() & dataset.variables.keys():
        dataset[name].attrs = about[name]
    return dataset


def labelled(
    data: xr.Dataset, names: Mapping[str, str], flags: Mapping[str, Sequence[str]] | None = None
) -> xr.Dataset:
    """Return a copy of `data` whose variables and coordinates have names, units and flags as attributes.

    Parameters
    ----------
    data : xr.Dataset
        The data.
    names : Mapping[str, str]
        The `long_name` of each variable, by the name of the variable. Names that the data lack are ignored. A
        numeric variable has the unit '1', unless its `long_name` ends with a unit in brackets, as in
        'gap [percentage points]'.
    flags : Mapping[str, Sequence[str]] | None
        For each variable of int8 codes, the meanings of the codes -1, 0, 1, ... in this order.

    Returns
    -------
    xr.Dataset
        The data, with attributes that follow the CF conventions.

    References
    ----------
    NetCDF Climate and Forecast (CF) Metadata Conventions, version 1.11, sections 3.1, 3.2 and 3.5.
    """
    import numpy as np

    made = data.copy()
    for name in made.variables.keys() & names.keys():
        text, _, unit = names[str(name)].partition(" [")
        about: dict[str, Any] = {"long_name": text}
        if flags and name in flags:
            codes = np.arange(-1, len(flags[str(name)]) - 1, dtype=np.int8)
            about |= {"flag_values": codes, "flag_meanings": " ".join(flags[str(name)])}
        elif made[name].dtype.kind in "iuf":
            about["units"] = unit.removesuffix("]") or "1"
        made[name].attrs |= about
    return made
