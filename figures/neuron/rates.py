"""What the figures of success rates share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.panels import DOT

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


MARKERS = "os^Dv"
OPEN = "_open"  # of the artists that show what undecided runs leave open; the legend passes them over


def draw_points(axes: Axes, x: xr.DataArray, rates: xr.Dataset, **look: Any) -> None:
    """Measured rates with their confidence intervals, thick between the bounds that undecided runs leave.

    Where these are too many for a rate, the bars stand alone.
    """
    middle = rates.rate.fillna((rates.rate_low + rates.rate_high) / 2)
    bars = [middle - rates.ci_low, rates.ci_high - middle]
    look = DOT | {"elinewidth": 0.8} | look
    (dots, *_) = axes.errorbar(x, middle, bars, **look)
    dots.set_ydata(rates.rate)
    vague = rates.undecided > 0
    low, high = rates.rate_low[vague], rates.rate_high[vague]
    if low.size:
        axes.vlines(x[vague], low, high, color=look["color"], linewidth=3, alpha=0.4, label=OPEN)


def finish(
    figure: Figure, rates: xr.Dataset, axes: Axes, *more: Line2D, ncols: int = 4, before: str = ""
) -> None:
    """The legend of `axes` and `more` below, with what is said `before`, and what the bars are."""
    handles, _ = axes.get_legend_handles_labels()
    bars = f"bars: {rates.attrs['interval']} intervals; seed {rates.attrs['seed']}"
    if any(item.get_label() == OPEN for shown in figure.axes for item in shown.collections):
        bars += "; thick: what undecided runs leave open"
    note = f"{before}; {bars}" if before else bars
    figure.legend(
        handles=[*handles, *more], loc="outside lower center", ncols=ncols, title=note, title_fontsize=8
    )


def runs_of(rates: xr.Dataset) -> str:
    """How many runs a point has, in words."""
    return f"$n = {rates.attrs['runs']:,}$".replace(",", "{,}") + " runs a point"
