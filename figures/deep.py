"""The figures of the deep experiments: pure functions from the Datasets of a result file to a Figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure

from figures import style

if TYPE_CHECKING:
    import xarray as xr

Data = Mapping[str, "xr.Dataset"]

_styled = matplotlib.rc_context(style.RC)


@_styled
def accuracy_by_density(data: Data) -> Figure:
    """Test accuracy (mean over the seeds, each seed as a dot) against density, one line an algorithm.

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
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("density (%)")
    axes.set_ylabel("test accuracy (%)")
    axes.legend()
    return figure


FIGURES = {"smoke": accuracy_by_density}
