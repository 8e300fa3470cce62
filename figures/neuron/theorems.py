"""The figures for the single hidden neuron: pure functions from the Datasets in a result file to a Figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.panels import (
    DOT,
    ResultTables,
    draw_plane,
    draw_success_map,
    letters,
    outcome_colour,
    trajectories,
    wedge,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

HEIGHT = 3.95
"""Height, in inches, of a square map at column width with a legend of three rows."""


@style.styled()
def fig1a(data: ResultTables) -> Figure:
    """Draw, for one coordinate, success over (a(0), w(0)), the predicted edge, and paths in the field.

    The tables are `map` (algorithm, a0, w0), `field` (a, w) with da and dw, and `paths` (start, time,
    coordinate).
    """
    figure = Figure(figsize=(style.COLUMN, HEIGHT))
    axes = figure.subplots()
    handles = draw_success_map(axes, data["map"].isel(algorithm=0))
    _field(axes, data["field"])
    handles += trajectories(axes, data["paths"])
    draw_plane(axes, "a", "w", moving=True)
    axes.set_title(r"one coordinate, $d = 1$")
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


@style.styled()
def fig1b(data: ResultTables) -> Figure:
    """Draw the success map of IMP for d > 1, with last-level flows; these begin at the initial weights."""
    return _pruned(data, "flow after pruning")


@style.styled()
def fig1c(data: ResultTables) -> Figure:
    """Draw the success map of LRR for d > 1, with dense flows; LRR keeps the sign that w_1 ends with."""
    return _pruned(data, "dense flow")


@style.styled()
def fig2a(data: ResultTables) -> Figure:
    """Draw the loss of IMP and LRR against the pruning level, one column per sign pattern of the start.

    The tables `population`, `samples` and `sample_flow` have loss (algorithm, a_sign, w_sign, seed, level)
    and kept (level).
    """
    rows = [
        ("population", "population,\ngradient flow"),
        ("samples", "noisy samples,\ngradient descent"),
        ("sample_flow", "noisy samples,\ngradient flow"),
    ]
    figure = Figure(figsize=(style.PAGE, 4.8))
    grid = figure.subplots(len(rows), 4, sharex=True, sharey="row")
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    for (group, label), line in zip(rows, grid, strict=True):
        for (a_sign, w_sign), axes in zip(signs, line, strict=True):
            _levels(axes, data[group].sel(a_sign=a_sign, w_sign=w_sign))
        line[0].set_ylabel(f"loss\n({label})")
    for (a_sign, w_sign), axes in zip(signs, grid[0], strict=True):
        axes.set_title(f"$a(0) {_relation(a_sign)} 0,\\ w_1(0) {_relation(w_sign)} 0$")
    kept = f"pruning level (coordinates kept of $d = {data['population'].attrs['d']}$)"
    figure.supxlabel(f"{kept}; noisy samples: {_sampled(data['samples'])}", fontsize=9)
    handles, _ = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


@style.styled()
def unbalanced(data: ResultTables) -> Figure:
    """Draw success in one coordinate at any balance, with the wedge a(0) < 0 hatched, and a(t) against t.

    The tables are `map` (algorithm, a0, w0) and `paths` (start, time, coordinate).
    """
    figure = Figure(figsize=(style.PAGE, 3.4))
    left, right = figure.subplots(1, 2)
    space = data["map"].isel(algorithm=0)
    handles = draw_success_map(left, space)
    cells = (space.success == 1) & (space.a0 < 0)
    handles.append(wedge(left, cells, r"success with $a(0) < 0$"))
    handles += trajectories(left, data["paths"])
    draw_plane(left, "a", "w", moving=True)
    for start in data["paths"].start.values:
        path = data["paths"].sel(start=start)
        right.plot(path.time, path.a, color=outcome_colour(path))
    right.axhline(0, color=style.BLACK, linewidth=0.6)
    right.set(xlabel="$t$", ylabel="$a(t)$", xlim=(0, float(data["paths"].time[-1])))
    letters({"any balance": left, "trajectories from (a)": right})
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


@style.styled()
def noise_wedge(data: ResultTables) -> Figure:
    """Draw success in one coordinate on noisy samples, and the time at which w crosses 0 from w(0) < 0.

    Since s_neg > 0, starts in a wedge with w(0) < 0 succeed.

    The tables are `map` (algorithm, a0, w0), and `crossings` with s_neg (draw), a0 and w0 (start), and the
    crossing times `simulated` (start, draw) and `predicted` (start, s) in units of 1/(2 C_neg).
    """
    figure = Figure(figsize=(style.PAGE, 3.4))
    left, right = figure.subplots(1, 2)
    handles = draw_success_map(left, data["map"].isel(algorithm=0))
    draw_plane(left, "a", "w")
    for index, colour in zip(range(data["crossings"].sizes["start"]), style.SERIES, strict=False):
        times = data["crossings"].isel(start=index)
        label = f"$a(0) = {float(times.a0):g},\\ w(0) = {float(times.w0):g}$"
        right.plot(times.s, times.predicted, color=colour, label=label)
        right.plot(times.s_neg, times.simulated, color=colour, **DOT)
    right.set(xscale="log", xlabel=r"$s_\mathrm{neg}$", ylabel=r"crossing time $2 C_\mathrm{neg}\, t^*$")
    right.legend()
    handles += [
        Line2D([], [], color=style.GREY, label="predicted time"),
        Line2D([], [], color=style.GREY, label="simulated time", **DOT),
    ]
    space, noise = data["map"], data["crossings"].attrs["noise"]
    letters(
        {
            f"$d = {space.attrs['d']}$, {_sampled(space)}": left,
            f"when $w$ crosses zero upwards, noise ${noise:g}$": right,
        }
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


@style.styled()
def angle(data: ResultTables) -> Figure:
    """Draw theta in balanced flows for several values of d: against t, and on the universal angle curve.

    The table `flows` has theta and the shifted time tau (d, start, time), and the curve (s).
    """
    figure = Figure(figsize=(style.PAGE, 2.9))
    left, right = figure.subplots(1, 2, sharey=True)
    flows = data["flows"]
    handles = right.plot(flows.s, flows.curve, color=style.BLACK, label="universal curve")
    for d, colour, marker in zip(flows.d.values, style.SERIES, "os^Dv", strict=False):
        bundle, look = flows.sel(d=d), DOT | {"marker": marker, "color": colour}
        left.plot(flows.time, bundle.theta.transpose("time", "start"), color=colour, linewidth=0.7)
        bundle = bundle.isel(time=slice(None, None, 5))
        handles += right.plot(
            bundle.tau.values.ravel(), bundle.theta.values.ravel(), **look, label=f"$d = {d}$"
        )
    left.set(xlabel="$t$", ylabel=r"$\theta(t)$")
    right.set(xlabel=r"$T(\theta(0)) \pm t$", xlim=(float(flows.s[0]), float(flows.s[-1])))
    left.set_yticks([0, np.pi / 2, np.pi], ["0", r"$\pi/2$", r"$\pi$"])
    letters({"balanced flows": left, "on one curve": right})
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


@style.styled()
def conservation(data: ResultTables) -> Figure:
    """Draw the drift of c = a^2 - |w|^2 along ODE solutions against t, for several tolerances.

    There is one table per problem, with `drift` (rtol, start, time) = |c(t) - c(0)| / max(1, a^2 + |w|^2).
    """
    figure = Figure(figsize=(style.PAGE, 2.9))
    panels = figure.subplots(1, len(data), sharey=True, squeeze=False)[0]
    for axes, group in zip(panels, data.values(), strict=True):
        for rtol, colour in zip(group.rtol.values, style.SERIES, strict=False):
            drift = group.drift.sel(rtol=rtol)
            label = f"rtol $10^{{{round(np.log10(rtol))}}}$"
            axes.plot(group.time, drift.max("start"), color=colour, label=label)
            axes.axhline(100 * rtol, color=colour, linestyle=":", linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlabel="$t$", title=f"$d = {group.attrs['d']}$")
    panels[0].set_ylabel(r"$\max\,|c(t) - c(0)| \,/\, \max(1, a^2 + |w|^2)$")
    handles, _ = panels[0].get_legend_handles_labels()
    bound = Line2D([], [], color=style.GREY, linestyle=":", linewidth=0.8, label="100 rtol")
    figure.legend(handles=[*handles, bound], loc="outside lower center", ncols=len(handles) + 1)
    return figure


FIGURES = {
    function.__name__: function
    for function in (fig1a, fig1b, fig1c, fig2a, unbalanced, noise_wedge, angle, conservation)
}


def _pruned(data: ResultTables, flow: str) -> Figure:
    space = data["map"].isel(algorithm=0)
    figure = Figure(figsize=(style.COLUMN, HEIGHT))
    axes = figure.subplots()
    handles = draw_success_map(axes, space)
    handles += trajectories(axes, data["paths"], flow)
    draw_plane(axes, "a", "w_1", moving=True)
    axes.set_title(f"{style.LABEL[str(space.algorithm.values)]}, $d = {space.attrs['d']}$")
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _field(axes: Axes, field: xr.Dataset) -> None:
    """Draw the directions of the flow as arrows of equal length."""
    da, dw = (field[name].transpose("w", "a").values for name in ("da", "dw"))
    norm = np.hypot(da, dw)
    norm[norm == 0] = np.inf
    axes.quiver(field.a, field.w, da / norm, dw / norm, color=style.GREY, width=0.003, scale=28, pivot="mid")


def _levels(axes: Axes, group: xr.Dataset) -> None:
    """Draw every seed and the median; IMP has open markers, so that the curves beneath them stay visible."""
    for algorithm, look in (("lrr", "o-"), ("imp", "o--")):
        loss, colour = group.loss.sel(algorithm=algorithm), style.ALGORITHM[algorithm]
        ring = {"markersize": 5, "markerfacecolor": "none"} if algorithm == "imp" else {"markersize": 2.5}
        label = f"{style.LABEL[algorithm]} (median, and {loss.sizes['seed']} seeds)"
        axes.plot(group.level, loss.transpose("level", "seed"), color=colour, alpha=0.5, linewidth=0.6)
        axes.plot(group.level, loss.median("seed"), look, color=colour, label=label, **ring)
    ticks = [f"{level}\n({kept})" for level, kept in zip(group.level.values, group.kept.values, strict=True)]
    axes.set_xticks(group.level.values, ticks)


def _sampled(data: xr.Dataset) -> str:
    return f"$n = {data.attrs['n']}$, noise ${data.attrs['noise']:g}$"


def _relation(sign: int) -> str:
    return ">" if sign > 0 else "<"
