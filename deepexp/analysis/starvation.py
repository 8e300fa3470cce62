"""Find layers in which a mask leaves hardly any weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepexp.storage import records

if TYPE_CHECKING:
    import xarray as xr

FEW = 10, 0.01  # a layer starves if fewer of its weights, or a smaller share of them, are left


def starving(folder: Path, kept: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Count the layers with few weights left, and those with none, at each level of a run: (levels,) int64.

    `kept` has the number of weights left in the whole network at each level, from levels.csv. Raises
    ValueError if the layers' numbers do not add up to it, or if layers.csv has different levels.
    """
    path = folder / "layers.csv"
    level, alive, total = (
        np.array([list(row.values()) for row in records.numbers(path, ("level", "kept", "total"))])
        .reshape(-1, 3)
        .T
    )
    at = [level == number for number in range(len(kept))]
    if [float(alive[here].sum()) for here in at] != list(map(float, kept)) or len(level) != sum(map(sum, at)):
        raise ValueError(
            f"'{path}' must have the weights of every layer at each of {len(kept)} levels, with the totals "
            "of levels.csv, but it does not; delete it and resume its run, which writes it again"
        )
    few = (alive < total) & ((alive < FEW[0]) | (alive < FEW[1] * total))
    starved, empty = (np.array([(found & here).sum() for here in at]) for found in (few, alive == 0))
    return starved, empty


def starvation(levels: xr.Dataset) -> list[str]:
    """Report where layers starve.

    Parameters
    ----------
    levels : Dataset
        The table `levels` of a recipe.

    Returns
    -------
    list of str
        For each panel and arm with starved layers in any run: the level and density at which they begin to
        starve, and how many do.
    """
    lines: list[str] = []
    if "starved" not in levels:
        return lines
    for panel in levels.panel.values:
        for arm in levels.arm.values:
            here = levels.sel(panel=panel, arm=arm)
            most = here.starved.max("seed").fillna(0)
            if not bool((most > 0).any()):
                continue
            level = int(np.flatnonzero(most.values > 0)[0])
            density, empty = float(here.density[:, level].max()), int(here.empty.max())
            lines.append(
                f"{panel}, {arm}: layers starve from level {level} (density {density:.2%}) on, up to "
                f"{int(most.max())} of them" + (f", {empty} empty" if empty else "")
            )
    return lines


def counting_fed(levels: xr.Dataset) -> xr.Dataset:
    """Add `counted` (panel, level) to `levels`: true where no layer starves in any run of any arm."""
    return levels.assign(counted=~(levels.starved > 0).any(("arm", "seed")))
