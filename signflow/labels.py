"""Say in a Dataset what its variables are: `long_name`, `units` and, for status codes, CF flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr


def labelled(
    data: xr.Dataset, names: Mapping[str, str], flags: Mapping[str, Sequence[str]] | None = None
) -> xr.Dataset:
    """Give variables and coordinates their attributes.

    Parameters
    ----------
    data : xr.Dataset
        The data.
    names : Mapping[str, str]
        A `long_name` by the name of a variable; names that the data lack are ignored. The unit of a number is
        '1' unless its `long_name` ends with another in brackets, as in 'gap [percentage points]'.
    flags : Mapping[str, Sequence[str]] | None
        For variables of int8 codes, the meanings of the codes -1, 0, 1, ... in order.

    Returns
    -------
    xr.Dataset
        The data, with attributes by the CF conventions.

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
