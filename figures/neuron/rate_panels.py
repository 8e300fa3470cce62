"""Elements shared by figures of success rates: points with intervals, the legend, the number of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.panels import DOT

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


UNDECIDED_LABEL = "_open"
"""Label of the thick bars for undecided runs; a legend skips labels that begin with '_'."""


def draw_rates(axes: Axes, x: xr.DataArray, rates: xr.Dataset, **look: Any) -> None:
    """Draw measured rates with their confidence intervals.

    The thick part of a bar begins at the rate that counts undecided runs as failures, and ends at the rate
    that counts them as successes. If too many runs are undecided, a point has no rate and only its bar is
    drawn.
    """
    middle = rates.rate.fillna((rates.rate_low + rates.rate_high) / 2)
    bars = [middle - rates.ci_low, rates.ci_high - middle]
    look = DOT | {"elinewidth": 0.8} | look
    (dots, *_) = axes.errorbar(x, middle, bars, **look)
    dots.set_ydata(rates.rate)
    vague = rates.undecided > 0
    low, high = rates.rate_low[vague], rates.rate_high[vague]
    if low.size:
        axes.vlines(x[vague], low, high, color=look["color"], linewidth=3, alpha=0.4, label=UNDECIDED_LABEL)


def add_rate_legend(
    figure: Figure, rates: xr.Dataset, axes: Axes, *more: Line2D, ncols: int = 4, before: str = ""
) -> None:
    """Add a legend below the panels, with the entries of `axes` and `more`.

    The title of the legend consists of `before` and a note on the bars.
    """
    handles, _ = axes.get_legend_handles_labels()
    bars = f"bars: {rates.attrs['interval']} intervals; seed {rates.attrs['seed']}"
    if any(item.get_label() == UNDECIDED_LABEL for shown in figure.axes for item in shown.collections):
        bars += "; thick: what undecided runs leave open"
    note = f"{before}; {bars}" if before else bars
    figure.legend(
        handles=[*handles, *more], loc="outside lower center", ncols=ncols, title=note, title_fontsize=8
    )


def runs_of(rates: xr.Dataset) -> str:
    """Return a label with the number of runs per point."""
    return f"$n = {int(rates.attrs['runs']):,}$".replace(",", "{,}") + " runs a point"
