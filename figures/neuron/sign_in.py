"""The figures on Sign-In: success maps, compared with plain weights, and success rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.neuron.rate_panels import add_rate_legend, draw_rates, runs_of
from figures.panels import ResultTables, draw_plane, draw_success_map, letters

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


@style.styled()
def sign_in(data: ResultTables) -> Figure:
    """Draw the success maps of IMP and LRR, with plain weights in the first row and Sign-In in the second.

    The tables `plain` and `sign_in` are maps (algorithm, a0, w0).
    """
    figure = Figure(figsize=(style.PAGE, 7.2))
    grid = figure.subplots(2, 2, sharex=True, sharey=True)
    titles: dict[str, Axes] = {}
    handles: dict[object, Artist] = {}
    for line, (table, name) in zip(grid, (("plain", "plain"), ("sign_in", "Sign-In")), strict=True):
        for axes, algorithm in zip(line, ("imp", "lrr"), strict=True):
            space = data[table].sel(algorithm=algorithm)
            handles |= {item.get_label(): item for item in draw_success_map(axes, space)}
            draw_plane(axes, "a", "w_1")
            titles[f"{style.LABEL[algorithm]}, {name}"] = axes
    for axes in grid.flat:
        axes.label_outer()
    letters(titles)
    about = data["sign_in"].attrs
    betas = rf"$\beta_a = {about['beta_a']:g}$ for $a$ and $\beta_w = {about['beta_w']:g}$ for $w$"
    betas = rf"Sign-In: every weight is a product $m u$ with $m^2 - u^2 = \beta$, {betas}"
    figure.suptitle(f"$d = {about['d']}$; {betas}", fontsize=9)
    figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=3)
    return figure


@style.styled()
def rate_beta(data: ResultTables) -> Figure:
    """Draw success rates with Sign-In against beta_a / beta_w, for LRR and for two variants of IMP.

    IMP keeps a(0) or rebalances it. The tables are `keep` (algorithm, d, beta_a, level_time) and
    `rebalanced`, which has only IMP. Each has a curve over `curve_beta_a`.
    """
    keep, rebalanced = data["keep"], data["rebalanced"].isel(algorithm=0)
    shown = {
        "LRR": keep.sel(algorithm="lrr"),
        "IMP keeps $a(0)$": keep.sel(algorithm="imp"),
        "IMP re-balanced": rebalanced,
    }
    figure = Figure(figsize=(style.PAGE, 3.1))
    panels = dict(zip(shown, figure.subplots(1, len(shown), sharey=True), strict=True))
    for title, axes in panels.items():
        _rates(axes, shown[title])
    panels["LRR"].set_ylabel("success rate")
    letters(panels)
    theory = Line2D([], [], color=style.GREY, linestyle="--", linewidth=0.8, label="theory, long levels")
    before = rf"Sign-In: weights $m u$ with $m^2 - u^2 = \beta$; {runs_of(keep)}"
    add_rate_legend(figure, keep, panels["LRR"], theory, ncols=4, before=before)
    return figure


def _rates(axes: Axes, rates: xr.Dataset) -> None:
    """Draw the rates for each d, with rings for the longest levels and dots for shorter levels."""
    longest = float(rates.level_time.max())
    for d, colour, marker in zip(rates.d.values, style.SERIES, style.MARKERS, strict=False):
        curve = rates.sel(d=d, level_time=longest)
        axes.plot(
            curve.curve_beta_a / float(rates.beta_w), curve.curve, color=colour, linestyle="--", linewidth=0.8
        )
        for time in rates.level_time.values[::-1]:
            points = rates.sel(d=d, level_time=time)
            size, fill = (4.5, "white") if time == longest else (2.0, colour)
            name = r"\infty" if time == float("inf") else f"{time:g}"
            look = {"color": colour, "marker": marker, "markersize": size, "markerfacecolor": fill}
            draw_rates(
                axes, points.beta_a / float(rates.beta_w), points, label=f"$d = {d}$, $t = {name}$", **look
            )
    axes.set(xscale="log", xlabel=r"$\beta_a / \beta_w$", ylim=(0, 1.04))
    axes.set_xticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
    axes.minorticks_off()


THEOREMS = {"sign_in": sign_in}
STUDIES = {"rate_beta": rate_beta}
