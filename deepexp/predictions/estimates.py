"""Compute the primary estimate for each prediction from a recipe's tables, one number per seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepexp.predictions.statistics import Floats

if TYPE_CHECKING:
    import xarray as xr


LOW, HALF = 0.2, 0.5  # accuracies are averaged over levels whose density is at most this
PERTURBED = 0.25  # the fraction of the signs that the perturbed arms of P5 flip
DENSITIES = (0.2, 0.1, 0.05)  # for P9 and P10: the densities of the networks pruned at initialisation


class NotRun(Exception):
    """Raised if the primary estimate for a prediction cannot be computed; the message says why."""


@dataclass(frozen=True)
class Estimate:
    """The primary estimate for a prediction, with one value per seed, or NaN for a seed without a value.

    Attributes
    ----------
    values : ndarray (seeds,)
        The estimate, or the numerator if the estimate is a ratio of means.
    under : ndarray (seeds,), optional
        The denominator, if the estimate is a ratio of means.
    margin : float, optional
        The margin of the prediction, if it depends on the data.
    """

    values: Floats
    under: Floats | None = None
    margin: float | None = None


Estimator = Callable[["xr.Dataset", "xr.Dataset"], Estimate]  # takes a panel's `levels` and `signs`


def at_most(levels: xr.Dataset, density: float) -> xr.DataArray:
    """Return, for each level, whether it keeps at most the share `density` of the weights.

    As in pruning, the share is rounded to a whole number of weights. If the table has the variable `counted`,
    the result is false for every level at which `counted` is false.
    """
    sparse = levels.kept <= np.floor(density * levels.total + 0.5)
    return sparse & levels.counted if "counted" in levels else sparse


def mean_accuracy(levels: xr.Dataset, density: float) -> xr.DataArray:
    """Average the test accuracy over the levels whose density is at most `density`.

    Parameters
    ----------
    levels : Dataset
        The table `levels`, or a selection from it that still has the dimension 'level'.
    density : float
        The largest density, in [0, 1].

    Returns
    -------
    DataArray
        The mean in percent, without the dimension 'level'. It is NaN where no level has so low a density.
    """
    return 100 * levels.test_accuracy.where(at_most(levels, density)).mean("level")


def _arm(levels: xr.Dataset, name: str) -> xr.Dataset:
    if name not in levels.arm or not levels.planned.sel(arm=name):
        raise NotRun(f"there is no arm {name} here")
    arm = levels.sel(arm=name)
    if not bool(arm.kept.notnull().any()):
        raise NotRun(f"no run of the arm {name} is complete")
    return arm


def _low(levels: xr.Dataset, name: str, density: float) -> Floats:
    arm = _arm(levels, name)
    if not bool(at_most(arm, density).any()):
        raise NotRun(f"the arm {name} has no level with a density of at most {density:g}")
    return mean_accuracy(arm, density).values


def gap_of(plus: str, minus: str, density: float = LOW) -> Estimator:
    """Return the estimator of the accuracy gap `plus` - `minus` between two arms at low density."""
    return lambda levels, _: Estimate(_low(levels, plus, density) - _low(levels, minus, density))


def ratio_of(plus: str, minus: str, top: str, base: str) -> Estimator:
    """Return the estimator of (`plus` - `minus`) / (`top` - `base`), a ratio of gaps as in `gap_of`."""

    def estimate(levels: xr.Dataset, _: xr.Dataset) -> Estimate:
        accuracy = {name: _low(levels, name, LOW) for name in dict.fromkeys((base, plus, minus, top))}
        return Estimate(accuracy[plus] - accuracy[minus], under=accuracy[top] - accuracy[base])

    return estimate


def settling(levels: xr.Dataset, signs: xr.Dataset) -> Estimate:
    """Estimate how many levels earlier signs settle in LRR than in IMP, divided by the number of prunings."""
    shares = []
    for name in ("imp", "lrr"):
        prunings = float(_arm(levels, name).prunings)
        if not prunings:
            raise NotRun(f"the arm {name} is never pruned")
        shares.append(signs.mean_last_flip.sel(arm=name).values / prunings)
    return Estimate(shares[0] - shares[1])


def recovery(levels: xr.Dataset, _: xr.Dataset) -> Estimate:
    """Estimate how much more accuracy IMP loses than LRR at the last level if signs are perturbed."""
    losses = []
    for name in ("imp", "lrr"):
        calm = _arm(levels, name)
        last = int(calm.prunings)
        shaken = _arm(levels, f"{name}-p{PERTURBED:g}-l{math.ceil(last / 3)}")
        lost = calm.test_accuracy - shaken.test_accuracy
        losses.append(100 * lost.sel(level=last).values)
    return Estimate(losses[0] - losses[1])


def _widths(levels: xr.Dataset) -> dict[str, float]:
    """Return the widths at which both IMP and LRR have an arm, by suffix of the arm's name ('-w0.5')."""
    planned = [str(name) for name in levels.arm.values[levels.planned.values]]
    suffixes = [name.removeprefix("lrr") for name in planned if name.startswith("lrr-w")]
    widths = {suffix: float(suffix.removeprefix("-w")) for suffix in suffixes if f"imp{suffix}" in planned}
    if len(widths) < 2:
        raise NotRun(f"a slope needs arms of at least two widths, got {len(widths)}")
    return widths


def _slope(widths: Mapping[str, float], values: list[Floats]) -> Floats:
    """Return the least-squares slope over log2(width) of each column of `values` (widths, seeds)."""
    x = np.log2(list(widths.values()))
    x = x - x.mean()
    return (x @ np.array(values)) / (x @ x)


def early_flips(levels: xr.Dataset, _: xr.Dataset) -> Estimate:
    """Estimate the slope, over log2(width), of the number of sign flips per weight in level 0."""
    widths = _widths(levels)
    # Both algorithms train level 0 in the same way, so LRR's arms are enough.
    arms = [_arm(levels, f"lrr{suffix}").sel(level=0) for suffix in widths]
    flips = [(arm.flips / arm.total).values for arm in arms]
    slope = _slope(widths, flips)
    there = np.array(flips)[:, np.isfinite(slope)]
    return Estimate(slope, margin=0.05 * float(there.mean()) if there.size else None)


def widening_gap(levels: xr.Dataset, _: xr.Dataset) -> Estimate:
    """Estimate the slope, over log2(width), of LRR's lead in accuracy over IMP."""
    widths = _widths(levels)
    gaps = [_low(levels, f"lrr{suffix}", LOW) - _low(levels, f"imp{suffix}", LOW) for suffix in widths]
    return Estimate(_slope(widths, gaps))


def sign_in_gain(levels: xr.Dataset, _: xr.Dataset) -> Estimate:
    """Estimate how much accuracy Sign-In adds to networks that are pruned at random at initialisation."""
    gains = [_low(levels, f"erk-sign-in-{d:g}", d) - _low(levels, f"erk-{d:g}", d) for d in DENSITIES]
    return Estimate(np.mean(gains, axis=0))


def sign_in_flips(levels: xr.Dataset, _: xr.Dataset) -> Estimate:
    """Estimate how many more signs per surviving weight flip with Sign-In, for the arms of `sign_in_gain`."""
    plain, sign_in = (
        np.mean([_flips_of_survivors(levels, f"{name}-{d:g}") for d in DENSITIES], axis=0)
        for name in ("erk", "erk-sign-in")
    )
    there = np.array([plain, sign_in])[:, np.isfinite(sign_in - plain)]
    return Estimate(sign_in - plain, margin=0.05 * float(there.mean()) if there.size else None)


def _flips_of_survivors(levels: xr.Dataset, name: str) -> Floats:
    """Return an arm's sign flips per surviving weight from initialisation to the end of level 0."""
    arm = _arm(levels, name).sel(level=0)
    return (arm.flips / arm.kept).values
