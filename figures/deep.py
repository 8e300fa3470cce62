"""The figures of the deep experiments: pure functions from the Datasets of a result file to a Figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from figures import style

if TYPE_CHECKING:
    import xarray as xr

Data = Mapping[str, "xr.Dataset"]

_styled = matplotlib.rc_context(style.RC)


@_styled
def accuracy_by_density(data: Data) -> Figure:
    """Test accuracy (mean over the seeds, each seed as a dot) against density, one line an algorithm.

    The ticks stand at the densities that were trained, the dense network on the left.

    `levels` (algorithm, seed, level) with test_accuracy and density, both fractions.
    """
    table = data["levels"]
    figure = Figure(figsize=(style.COLUMN, 2.6))
    axes = figure.subplots()
    for position, name in enumerate(table.algorithm.values):
        runs = table.sel(algorithm=name)
        colour = style.ALGORITHM.get(name, style.SERIES[position % len(style.SERIES)])
        label = style.LABEL.get(name, name)
        density, accuracy = 100 * runs.density, 100 * runs.test_accuracy
        axes.plot(density.mean("seed"), accuracy.mean("seed"), color=colour, marker="o", ms=3, label=label)
        if runs.sizes["seed"] > 1:
            axes.plot(density.values.ravel(), accuracy.values.ravel(), ".", color=colour, ms=2, alpha=0.5)
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.margins(0.06)
    densities = np.unique(100 * table.density.values[np.isfinite(table.density.values)])[::-1]
    labelled = _spread(densities)
    axes.set_xticks(labelled, [f"{density:.3g}" for density in labelled])
    axes.set_xticks(densities, minor=True)
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("density (%)")
    axes.set_ylabel("test accuracy (%)")
    axes.legend()
    return figure


def _spread(densities: np.ndarray, most: int = 8) -> list[float]:
    """From falling densities the first, and on a log axis of `most` labels every next one with room."""
    room = np.log(densities[0] / densities[-1]) / (most - 0.5)
    chosen = [float(densities[0])]
    for density in densities[1:]:
        if np.log(chosen[-1] / density) >= room:
            chosen.append(float(density))
    return chosen


FIGURES = {"smoke": accuracy_by_density}
