"""The figures of the studies: pure functions from the Datasets of a result file to a Figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.panels import DOT, Data, letters

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

MARKERS = "os^Dv"

_styled = matplotlib.rc_context(style.RC)


@_styled
def rate_d(data: Data) -> Figure:
    """Success of IMP and LRR against d, and theory's rates.

    `balanced`, `independent` (d, algorithm); curve (curve_d, algorithm).
    """
    figure = Figure(figsize=(style.PAGE, 2.9))
    panels = dict(zip(("balanced", "independent"), figure.subplots(1, 2, sharey=True), strict=True))
    for init, axes in panels.items():
        for algorithm, marker in zip(("imp", "lrr"), MARKERS, strict=False):
            line, colour = data[init].sel(algorithm=algorithm), style.ALGORITHM[algorithm]
            # One coordinate is a problem of its own: no line leads there.
            axes.plot(line.curve_d[1:], line.curve[1:], color=colour, linestyle="--", linewidth=0.8)
            _points(axes, line.d, line, color=colour, marker=marker, label=style.LABEL[algorithm])
        axes.set(xscale="log", xlabel="input coordinates $d$", ylim=(0, 1.04))
    panels["independent"].set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    panels["balanced"].set_ylabel("success rate")
    letters({f"{init} starts, {_runs(data[init])}": axes for init, axes in panels.items()})
    theory = Line2D([], [], color=style.GREY, linestyle="--", linewidth=0.8, label="theory")
    _finish(figure, data["balanced"], panels["balanced"], theory)
    return figure


@_styled
def rate_rewind(data: Data) -> Figure:
    """Success of WR against its rewind time for several d, between the rates of IMP and LRR.

    `rates` (d, algorithm, rewind_time); curve (d, algorithm, curve_rewind_time).
    """
    rates = data["rates"]
    figure = Figure(figsize=(style.COLUMN, 3.3))
    axes = figure.subplots()
    wr = rates.sel(algorithm="wr")
    for d, colour, marker in zip(rates.d.values, style.SERIES, MARKERS, strict=False):
        line = wr.sel(d=d)
        axes.plot(line.curve_rewind_time, line.curve, color=colour, linewidth=0.8)
        _points(axes, line.rewind_time, line, color=colour, marker=marker, label=f"WR, $d = {d}$")
    for algorithm, end, side in (("imp", "right", 1), ("lrr", "left", 0)):
        level = float(rates.predicted.sel(algorithm=algorithm).mean())
        axes.axhline(level, color=style.GREY, linestyle=":", linewidth=0.8)
        axes.annotate(
            style.LABEL[algorithm], (side, level), (2 - 4 * side, 2), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha=end, fontsize=8, color=style.GREY,
        )  # fmt: skip
    axes.set(xscale="log", xlabel="rewind time $t_k$", ylabel="success rate", ylim=(0.23, 0.53))
    axes.set_title(_runs(rates), loc="left")
    theory = Line2D([], [], color=style.GREY, linewidth=0.8, label="theory")
    _finish(figure, rates, axes, theory, ncols=2)
    return figure


FIGURES = {function.__name__: function for function in (rate_d, rate_rewind)}


def _points(axes: Axes, x: xr.DataArray, rates: xr.Dataset, **look: Any) -> None:
    """Measured rates with their confidence intervals."""
    low, high = rates.rate - rates.ci_low, rates.ci_high - rates.rate
    look = DOT | {"elinewidth": 0.8} | look
    axes.errorbar(x, rates.rate, [low, high], **look)


def _finish(figure: Figure, rates: xr.Dataset, axes: Axes, *more: Line2D, ncols: int = 4) -> None:
    """The legend of `axes` and `more` below, and what the bars are."""
    handles, _ = axes.get_legend_handles_labels()
    note = f"bars: {rates.attrs['interval']} intervals; seed {rates.attrs['seed']}"
    figure.legend(
        handles=[*handles, *more], loc="outside lower center", ncols=ncols, title=note, title_fontsize=8
    )


def _runs(rates: xr.Dataset) -> str:
    return f"$n = {rates.attrs['runs']:,}$".replace(",", "{,}") + " runs a point"
