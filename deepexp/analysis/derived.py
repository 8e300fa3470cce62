"""Derive tables from `levels` and `signs`: means, paired differences of arms and statistics of sign flips."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from deepexp.predictions import estimates, predictions
from deepexp.predictions.statistics import Moments, holm, moments, paired_p

if TYPE_CHECKING:
    import xarray as xr


def derived(levels: xr.Dataset, signs: xr.Dataset, decides: tuple[str, ...]) -> dict[str, xr.Dataset]:
    """Return `levels`, `signs` and derived tables, including verdicts on the predictions in `decides`."""
    made = {
        "levels": levels,
        "signs": signs,
        "means": _means(levels),
        "paired": _paired(levels),
        "low": _low(levels),
        "sign_means": _sign_means(signs),
    }
    if decides:
        made["verdicts"] = predictions.verdict_table(decides, made)
    return made


def averaged(table: xr.Dataset) -> xr.Dataset:
    """Add the number of survivors, their mean last-flip level and their mean number of flips to `table`."""
    survivors = table.last_flip.sum("level", skipna=False)
    return table.assign(
        survivors=survivors,
        mean_last_flip=(table.last_flip * table.level).sum("level", skipna=False) / survivors,
        mean_switches=(table.switches * table.flips).sum("flips", skipna=False) / survivors,
    )


def over(values: xr.DataArray, axis: str, name: str) -> dict[str, Any]:
    """Return statistics of `values` along `axis`, as variables whose names begin with `name`.

    If `name` is NAME, the variables are NAME_mean, NAME_low, NAME_high, NAME_deviation and NAME_n.
    """
    found = moments(values.values, values.get_axis_num(axis))
    return spelled(name, found, tuple(dim for dim in values.dims if dim != axis))


def spelled(name: str, found: Moments, dims: tuple[Hashable, ...]) -> dict[str, Any]:
    """Return the moments `found` as variables with the dimensions `dims`, named as in `over`."""
    low, high = found.interval()
    parts = {"mean": found.mean, "low": low, "high": high, "deviation": found.deviation, "n": found.n}
    return {f"{name}_{part}": (dims, array) for part, array in parts.items()}


def _means(levels: xr.Dataset) -> xr.Dataset:
    shown = {"accuracy": levels.test_accuracy, "flips": levels.flips / levels.total}
    made = levels.drop_dims("seed").assign(density=levels.density.mean("seed"))
    for name, values in shown.items():
        made = made.assign(over(values, "seed", name))
    return made


def _differences(values: xr.DataArray) -> xr.Dataset:
    """Compare all pairs of arms by the difference `arm` - `baseline` between runs with the same seed.

    The table has the mean of the differences, its interval, the p-value, and the effect size, which is the
    mean divided by the standard deviation.
    """
    import xarray as xr

    difference = values - values.rename(arm="baseline")
    difference = difference.transpose("panel", "arm", "baseline", ..., "seed")
    found = moments(difference.values)
    dims = difference.dims[:-1]
    varied = found.deviation > 0
    effect = np.where(varied, found.mean / np.where(varied, found.deviation, 1), np.nan)
    about = {name: item for name, item in values.coords.items() if item.dims == ("panel", "arm")}
    coords = {dim: difference[dim].values for dim in dims} | about
    made = xr.Dataset(over(difference, "seed", "difference"), coords)
    return made.assign(effect=(dims, effect), p=(dims, paired_p(found)))


def _paired(levels: xr.Dataset) -> xr.Dataset:
    """Compare all pairs of arms at every level, with Holm's correction across the levels of each pair."""
    made = _differences(levels.test_accuracy)
    adjusted = np.apply_along_axis(holm, -1, made.p.values)
    return made.assign(p_holm=(made.p.dims, adjusted), density=levels.density.mean("seed"))


def _low(levels: xr.Dataset) -> xr.Dataset:
    import xarray as xr

    bounds = xr.IndexVariable("at_most", [estimates.LOW, estimates.HALF])
    means = [estimates.mean_accuracy(levels, float(bound)) / 100 for bound in bounds]
    return _differences(xr.concat(means, bounds))


def _sign_means(signs: xr.Dataset) -> xr.Dataset:
    import xarray as xr

    shares = {name: signs[name] / signs.survivors for name in ("last_flip", "switches")}
    means = {name: signs[name] for name in ("mean_last_flip", "mean_switches")}
    made: dict[str, Any] = {}
    for name, values in {**shares, **means}.items():
        made |= over(values, "seed", name)
    return xr.Dataset(made, {name: signs[name].values for name in ("panel", "arm", "level", "flips")})
