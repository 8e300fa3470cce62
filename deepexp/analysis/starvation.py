"""Find layers in which a mask leaves hardly any weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepexp.storage import records

if TYPE_CHECKING:
    import xarray as xr

# A pruned layer starves if it keeps fewer than FEW[0] weights, or less than the fraction FEW[1] of its
# weights.
FEW = 10, 0.01


def starving(folder: Path, kept: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Count the layers that starve, and the layers with no weights left, at each level of a run.

    Both counts have shape (levels,) and dtype int64. `kept`, read from levels.csv, has the number of weights
    left in the whole network at each level. Raise ValueError if the counts in layers.csv do not add up to
    `kept`, or if the two files do not have the same levels.
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
    """Report the panels and arms in which layers starve.

    Parameters
    ----------
    levels : Dataset
        The table `levels` of a recipe.

    Returns
    -------
    list of str
        One line for each panel and arm in which a layer starves in any run. The line states the first level
        at which a layer starves, and the density at that level. It also states the largest number of starving
        layers in any run, and the largest number of empty layers.
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
    """Add the variable `counted` (panel, level) to `levels`, true where no layer starves in any run."""
    return levels.assign(counted=~(levels.starved > 0).any(("arm", "seed")))
