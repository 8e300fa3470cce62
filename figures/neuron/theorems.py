"""The figures for the single hidden neuron: pure functions from the Datasets in a result file to a Figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.neuron.levels import draw_levels, sampled
from figures.neuron.network import draw_minima, draw_network, network_height
from figures.panels import (
    DOT,
    ResultTables,
    draw_plane,
    draw_success_map,
    letters,
    outcome_look,
    trajectories,
    wedge,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

HEIGHT = 4.15
"""Height, in inches, of a square map at column width with a legend of four rows."""

_DOTTED = {"marker": "o", "markersize": 3.5, "markerfacecolor": "white"}
"""A line with white markers."""


@style.styled()
def fig1a(data: ResultTables) -> Figure:
    """Draw, for one coordinate, success over (a(0), w(0)), the predicted edge, the flow field, and paths.

    The tables are `map` (algorithm, a0, w0), `field` (a, w) with da and dw, and `paths` (start, time,
    coordinate).
    """
    figure = Figure(figsize=(style.COLUMN, HEIGHT + network_height(1)))
    axes = figure.subplots()
    handles = draw_success_map(axes, data["map"].isel(algorithm=0))
    _field(axes, data["field"])
    handles += draw_minima(axes, "w")
    handles += trajectories(axes, data["paths"])
    draw_plane(axes, "a", "w", moving=True)
    draw_network(axes, 1)
    figure.suptitle("one coordinate, $d = 1$", fontsize=9)
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


@style.styled()
def fig1b(data: ResultTables) -> Figure:
    """Draw the success map of IMP for d > 1, with flows of the last level, which restarts from w_1(0)."""
    return _pruned(data, "flow after pruning")


@style.styled()
def fig1c(data: ResultTables) -> Figure:
    """Draw the success map of LRR for d > 1, with flows of the dense level, whose final weights LRR keeps."""
    return _pruned(data, "dense flow")


@style.styled()
def fig2a(data: ResultTables) -> Figure:
    """Draw the loss of IMP and LRR by pruning level, and how label noise rescues IMP from a > 0, w_1 < 0.

    The tables are `population`, `samples` and `sample_flow`. Each has `loss` (algorithm, a_sign, w_sign,
    seed, level), `success` (algorithm, a_sign, w_sign, seed) and `kept` (level). `samples` and `sample_flow`
    also have `s_neg` (seed).
    """
    return draw_levels(data)


@style.styled()
def unbalanced(data: ResultTables) -> Figure:
    """Draw where unbalanced starts in one coordinate succeed, and a(t) of some of them against t.

    The wedge of successful starts with a(0) < 0 is hatched.

    The tables are `map` (algorithm, a0, w0) and `paths` (start, time, coordinate).
    """
    figure = Figure(figsize=(style.PAGE, 3.4))
    left, right = figure.subplots(1, 2)
    space = data["map"].isel(algorithm=0)
    handles = draw_success_map(left, space)
    cells = (space.success == 1) & (space.a0 < 0)
    handles.append(wedge(left, cells, r"success with $a(0) < 0$"))
    handles += draw_minima(left, "w")
    handles += trajectories(left, data["paths"])
    draw_plane(left, "a", "w", moving=True)
    for start in data["paths"].start.values:
        path = data["paths"].sel(start=start)
        right.plot(path.time, path.a, **outcome_look(path))
    right.axhline(0, color=style.BLACK, linewidth=0.6)
    right.set(xlabel="$t$", ylabel="$a(t)$", xlim=(0, float(data["paths"].time[-1])))
    letters({"any balance": left, "trajectories from (a)": right})
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


@style.styled()
def noise_wedge(data: ResultTables) -> Figure:
    """Draw success in one coordinate on noisy samples, and the time at which w crosses 0 from w(0) < 0.

    Because s_neg, the slope of the samples with x < 0, is positive, starts in a wedge with w(0) < 0 succeed.

    The tables are `map` (algorithm, a0, w0) and `crossings`. The table `crossings` has `s_neg` (draw), the
    starts `a0` and `w0` (start), and the crossing times `simulated` (start, draw) and `predicted` (start, s).
    The times are in units of 1/(2 C_neg), where C_neg is the sum of x^2 over the samples with x < 0, over n.
    """
    figure = Figure(figsize=(style.PAGE, 3.4))
    left, right = figure.subplots(1, 2)
    handles = draw_success_map(left, data["map"].isel(algorithm=0))
    draw_plane(left, "a", "w")
    looks = zip(style.SERIES, style.LINES, style.MARKERS, strict=False)
    for index, (colour, line, marker) in zip(range(data["crossings"].sizes["start"]), looks, strict=False):
        times = data["crossings"].isel(start=index)
        right.plot(times.s, times.predicted, color=colour, linestyle=line)
        right.plot(times.s_neg, times.simulated, color=colour, **DOT | {"marker": marker})
        label = f"$a(0) = {float(times.a0):g},\\ w(0) = {float(times.w0):g}$"
        right.plot([], [], color=colour, linestyle=line, label=label, **_DOTTED | {"marker": marker})
    right.set_xscale("log")
    right.set_xlabel(r"$s_\mathrm{neg}$: least-squares slope of the samples with $x < 0$")
    right.set_ylabel(r"time $t^*$ at which $w = 0$, in $1 / (2 C_\mathrm{neg})$")
    right.legend()
    meaning = (
        r"lines: predicted time; markers: simulated time; $C_\mathrm{neg} = \frac{1}{n} \sum_{x_i < 0} x_i^2$"
    )
    space, noise = data["map"], data["crossings"].attrs["noise"]
    letters(
        {
            f"$d = {space.attrs['d']}$, {sampled(space)}": left,
            f"when $w$ crosses zero upwards, noise ${noise:g}$": right,
        }
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=meaning, title_fontsize=8)
    return figure


@style.styled()
def angle(data: ResultTables) -> Figure:
    """Draw theta along balanced flows for several values of d, against t and on the universal angle curve.

    The table `flows` has `theta` and the shifted time `tau` (d, start, time), and the universal `curve` (s).
    """
    figure = Figure(figsize=(style.PAGE, 2.9))
    left, right = figure.subplots(1, 2, sharey=True)
    flows = data["flows"]
    handles = right.plot(flows.s, flows.curve, color=style.BLACK, label="universal curve")
    looks = zip(style.SERIES, style.LINES, style.MARKERS, strict=False)
    for d, (colour, line, marker) in zip(flows.d.values, looks, strict=False):
        bundle, look = flows.sel(d=d), DOT | {"marker": marker, "color": colour}
        theta = bundle.theta.transpose("time", "start")
        left.plot(flows.time, theta, color=colour, linestyle=line, linewidth=0.8)
        bundle = bundle.isel(time=slice(None, None, 5))
        right.plot(bundle.tau.values.ravel(), bundle.theta.values.ravel(), **look)
        handles += right.plot([], [], **look | {"linestyle": line}, label=f"$d = {d}$")
    left.set(xlabel="$t$", ylabel=r"angle $\theta(t)$ of $w$ and target (rad)")
    right.set(xlim=(float(flows.s[0]), float(flows.s[-1])))
    right.set_xlabel(r"$T(\theta(0)) + t$ for $a(0) > 0$, $T(\theta(0)) - t$ for $a(0) < 0$")
    left.set_yticks([0, np.pi / 2, np.pi], ["0", r"$\pi/2$", r"$\pi$"])
    letters({"balanced flows": left, "on one curve": right})
    meaning = (
        r"$T(\theta)$: time at which the universal curve passes the angle $\theta$, counted from $\pi/2$"
    )
    look = {"ncols": len(handles), "title": meaning, "title_fontsize": 8}
    figure.legend(handles=handles, loc="outside lower center", **look)
    return figure


@style.styled()
def conservation(data: ResultTables) -> Figure:
    """Draw the drift of c = a^2 - |w|^2 along ODE solutions against t, for several tolerances.

    There is one table per problem. Its variable `drift` (rtol, start, time) is
    |c(t) - c(0)| / max(1, a^2 + |w|^2).
    """
    figure = Figure(figsize=(style.PAGE, 2.9))
    panels = figure.subplots(1, len(data), sharey=True, squeeze=False)[0]
    for axes, group in zip(panels, data.values(), strict=True):
        looks = zip(style.SERIES, style.LINES, style.MARKERS, strict=False)
        for rtol, (colour, line, marker) in zip(group.rtol.values, looks, strict=False):
            drift, name = group.drift.sel(rtol=rtol), f"10^{{{round(np.log10(rtol))}}}"
            look = {"color": colour, "linestyle": line, "markevery": 8}
            axes.plot(
                group.time, drift.max("start"), label=f"rtol ${name}$", **_DOTTED | look | {"marker": marker}
            )
            look |= {"linestyle": ":", "marker": marker, "markevery": [1], "clip_on": False}
            axes.axhline(100 * rtol, linewidth=0.8, **_DOTTED | look)
        axes.set(xscale="log", yscale="log", xlabel="$t$", title=f"$d = {group.attrs['d']}$")
    relative = r"$\max\,|c(t) - c(0)| \,/\, \max(1, a^2 + |w|^2)$"
    panels[0].set_ylabel(f"largest drift of $c = a^2 - |w|^2$,\n{relative}")
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
    d = int(space.attrs["d"])
    figure = Figure(figsize=(style.COLUMN, HEIGHT + network_height(d)))
    axes = figure.subplots()
    handles = draw_success_map(axes, space)
    handles += draw_minima(axes, "w_1")
    handles += trajectories(axes, data["paths"], flow)
    draw_plane(axes, "a", "w_1", moving=True)
    draw_network(axes, d)
    figure.suptitle(f"{style.LABEL[str(space.algorithm.values)]}, $d = {d}$", fontsize=9)
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _field(axes: Axes, field: xr.Dataset) -> None:
    """Draw the directions of the flow as arrows of equal length."""
    da, dw = (field[name].transpose("w", "a").values for name in ("da", "dw"))
    norm = np.hypot(da, dw)
    norm[norm == 0] = np.inf
    axes.quiver(field.a, field.w, da / norm, dw / norm, color=style.GREY, width=0.003, scale=28, pivot="mid")
