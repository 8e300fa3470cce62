"""The figures for the studies: pure functions from the Datasets in a result file to a Figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.neuron.rate_panels import add_rate_legend, draw_rates, runs_of
from figures.panels import ResultTables, letters

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from numpy.typing import NDArray

# A white rim keeps a line visible on both light and dark cells.
_RIM = [patheffects.withStroke(linewidth=2.6, foreground="white")]
LAW: dict[str, Any] = {"color": style.VERMILION, "linewidth": 1.4, "path_effects": _RIM}
HALFWAY: dict[str, Any] = {"color": style.BLACK, "linewidth": 1.0, "linestyle": "--", "path_effects": _RIM}


@style.styled()
def rate_d(data: ResultTables) -> Figure:
    """Draw the success rates of IMP and LRR against d, with the rates from theory.

    The tables are `balanced` and `independent` (d, algorithm), each with a curve (curve_d, algorithm).
    """
    figure = Figure(figsize=(style.PAGE, 2.9))
    panels = dict(zip(("balanced", "independent"), figure.subplots(1, 2, sharey=True), strict=True))
    for init, axes in panels.items():
        for algorithm, marker in zip(("imp", "lrr"), style.MARKERS, strict=False):
            line, colour = data[init].sel(algorithm=algorithm), style.ALGORITHM[algorithm]
            # d = 1 is a different problem, so the theory line does not extend to it.
            axes.plot(line.curve_d[1:], line.curve[1:], color=colour, linestyle="--", linewidth=0.8)
            draw_rates(axes, line.d, line, color=colour, marker=marker, label=style.LABEL[algorithm])
        axes.set(xscale="log", xlabel="input coordinates $d$", ylim=(0, 1.04))
    panels["independent"].set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    panels["balanced"].set_ylabel("success rate")
    letters({f"{init} starts, {runs_of(data[init])}": axes for init, axes in panels.items()})
    theory = Line2D([], [], color=style.GREY, linestyle="--", linewidth=0.8, label="theory")
    add_rate_legend(figure, data["balanced"], panels["balanced"], theory)
    return figure


@style.styled()
def rate_rewind(data: ResultTables) -> Figure:
    """Draw the success rate of WR against the rewind time, for several values of d.

    Horizontal lines show the rates of IMP and LRR.

    The table is `rates` (d, algorithm, rewind_time), with a curve (d, algorithm, curve_rewind_time).
    """
    rates = data["rates"]
    figure = Figure(figsize=(style.COLUMN, 3.3))
    axes = figure.subplots()
    wr = rates.sel(algorithm="wr")
    for d, colour, marker in zip(rates.d.values, style.SERIES, style.MARKERS, strict=False):
        line = wr.sel(d=d)
        axes.plot(line.curve_rewind_time, line.curve, color=colour, linewidth=0.8)
        draw_rates(axes, line.rewind_time, line, color=colour, marker=marker, label=f"WR, $d = {d}$")
    for algorithm, end, side in (("imp", "right", 1), ("lrr", "left", 0)):
        level = float(rates.predicted.sel(algorithm=algorithm).mean())
        axes.axhline(level, color=style.GREY, linestyle=":", linewidth=0.8)
        axes.annotate(
            style.LABEL[algorithm], (side, level), (2 - 4 * side, 2), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha=end, fontsize=8, color=style.GREY,
        )  # fmt: skip
    axes.set(xscale="log", xlabel="rewind time $t_k$", ylabel="success rate", ylim=(0.23, 0.53))
    axes.set_title(runs_of(rates), loc="left")
    theory = Line2D([], [], color=style.GREY, linewidth=0.8, label="theory")
    add_rate_legend(figure, rates, axes, theory, ncols=2)
    return figure


@style.styled()
def rate_samples(data: ResultTables) -> Figure:
    """Draw the success rates of IMP and LRR as maps over time per level and either samples or noise.

    The tables `samples` (algorithm, n, noise, level_time) and `noise` (algorithm, noise, level_time) each
    have a curve over `curve_level_time`. The tables `samples_law` and `noise_law` (n, noise) have the time
    that the logarithmic law predicts.
    """
    cells, by_noise, law = data["samples"], data["noise"], data["samples_law"]
    figure = Figure(figsize=(style.PAGE, 4.9))
    width = cells.sizes["noise"]
    grid = figure.subplots(2, width + 1, sharey=True, sharex="col")
    titles = {}
    for column in range(width):
        noise = float(cells.noise[column])
        for axes, algorithm in zip(grid[:, column], ("imp", "lrr"), strict=True):
            shown = cells.isel(noise=column).sel(algorithm=algorithm)
            mesh = _phases(axes, shown, "n", shown.n / cells.d)
            if algorithm == "imp":
                axes.plot(law.n / cells.d, law.time.isel(noise=column), **LAW)
        grid[1, column].set_xlabel("samples per coordinate $n/d$")
        titles[f"noise ${noise:g}$"] = grid[0, column]
    for axes, algorithm in zip(grid[:, -1], ("imp", "lrr"), strict=True):
        _phases(axes, by_noise.sel(algorithm=algorithm), "noise", by_noise.noise)
    grid[0, -1].plot(data["noise_law"].noise, data["noise_law"].time.isel(n=0), **LAW)
    grid[1, -1].set_xlabel("noise")
    letters(titles | {f"$n/d = {int(by_noise.n) // int(by_noise.d)}$": grid[0, -1]})
    for axes, algorithm in zip(grid[:, 0], ("imp", "lrr"), strict=True):
        axes.set_ylabel(f"{style.LABEL[algorithm]}: training time per level")
    figure.colorbar(mesh, ax=grid, label="success rate", shrink=0.8, aspect=30)
    half = max(float((table.ci_high - table.ci_low).max()) / 2 for table in (cells, by_noise))
    interval = f"{cells.attrs['interval']} intervals within $\\pm{half:.2f}$"
    note = f"$d = {int(cells.d)}$; {runs_of(cells)}: {interval}"
    if bool(cells.rate.isnull().any() | by_noise.rate.isnull().any()):
        note += "; white: too many undecided"
    handles = [
        Line2D([], [], label="logarithmic law: $w_1$ crosses 0", **LAW),
        Line2D([], [], label="theory for IMP: halfway from 1/4 to 3/8", **HALFWAY),
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2, title=f"{note}; seed {cells.attrs['seed']}",
        title_fontsize=8,
    )  # fmt: skip
    return figure


@style.styled()
def rate_step(data: ResultTables) -> Figure:
    """Draw the success rates of IMP and LRR with gradient descent against the learning rate.

    Each panel shows one scale of the starts. The tables are `descent` (algorithm, scale, learning_rate,
    level_time), and `hops` (algorithm, scale, learning_rate) with the rate after one step.
    """
    rates, hops = data["descent"], data["hops"]
    figure = Figure(figsize=(style.PAGE, 3.2))
    panels = figure.subplots(1, rates.sizes["scale"], sharey=True, squeeze=False)[0]
    for scale, axes in zip(rates.scale.values, panels, strict=True):
        for algorithm in rates.algorithm.values:
            colour, filled = style.ALGORITHM[str(algorithm)], algorithm == "lrr"
            line = hops.rate.sel(algorithm=algorithm, scale=scale)
            dashes = "-." if filled else "--"
            label = f"{style.LABEL[str(algorithm)]}, after one step"
            axes.plot(line.learning_rate, line, color=colour, linestyle=dashes, linewidth=0.8, label=label)
            for time, marker in zip(rates.level_time.values, style.MARKERS, strict=False):
                points = rates.sel(algorithm=algorithm, scale=scale, level_time=time)
                label = f"{style.LABEL[str(algorithm)]}, $t = {time:g}$"
                look = {"marker": marker, "color": colour, "markerfacecolor": colour if filled else "white"}
                draw_rates(axes, points.learning_rate, points, label=label, **look)
        axes.axvline(hops.attrs["stable"], color=style.GREY, linestyle=":", linewidth=0.8)
        axes.set(xlabel="learning rate", ylim=(-0.03, 1))
    panels[0].set_ylabel("success rate")
    scales = zip(rates.scale.values, panels, strict=True)
    letters({f"starts of scale {scale:g}, {runs_of(rates)}": axes for scale, axes in scales})
    more = [
        Line2D([], [], color=style.GREY, linestyle=":", linewidth=0.8, label="no stable minimum beyond"),
    ]
    add_rate_legend(figure, rates, panels[0], *more, ncols=3)
    return figure


@style.styled()
def rate_scale(data: ResultTables) -> Figure:
    """Draw the success rates of IMP and LRR against the scale of the starts, on population and samples.

    The tables are `population` (algorithm, init, scale, level_time) and `samples` (algorithm, scale,
    level_time). Both have a curve over `curve_scale`.
    """
    population, noisy = data["population"], data["samples"]
    tables = {f"{init}, population": population.sel(init=init) for init in population.init.values}
    tables[f"balanced, $n = {int(noisy.n)}$, noise ${float(noisy.noise):g}$"] = noisy
    figure = Figure(figsize=(style.PAGE, 3.1))
    panels = dict(zip(tables, figure.subplots(1, len(tables), sharey=True), strict=True))
    for title, axes in panels.items():
        for algorithm, marker in zip(population.algorithm.values, style.MARKERS, strict=False):
            for time, size in zip(population.level_time.values, (4.5, 2), strict=False):
                line = tables[title].sel(algorithm=algorithm, level_time=time)
                colour = style.ALGORITHM[str(algorithm)]
                axes.plot(line.curve_scale, line.curve, color=colour, linestyle="--", linewidth=0.8)
                label = f"{style.LABEL[str(algorithm)]}, $t = {time:g}$"
                fill = "white" if size > 2 else colour  # a dot on a ring: both are visible if they coincide
                look = {"marker": marker, "color": colour, "markersize": size, "markerfacecolor": fill}
                draw_rates(axes, line.scale, line, label=label, **look)
        axes.set(xscale="log", xlabel="scale of the starts", ylim=(-0.03, 1.04))
    next(iter(panels.values())).set_ylabel("success rate")
    letters(panels)
    theory = Line2D([], [], color=style.GREY, linestyle="--", linewidth=0.8, label="theory")
    counts = f"(a, b) {runs_of(population)}, (c) {runs_of(noisy)}"
    add_rate_legend(figure, population, panels["balanced, population"], theory, ncols=5, before=counts)
    return figure


@style.styled()
def rate_time(data: ResultTables) -> Figure:
    """Draw the success rates of IMP, WR and LRR against the time per level, with one or more pruning steps.

    The tables are `one` and `several` (d, algorithm, level_time). `one` has a curve over `curve_level_time`.
    """
    one, several = data["one"], data["several"]
    figure = Figure(figsize=(style.PAGE, 3.1))
    panels = dict(zip(one.d.values, figure.subplots(1, one.sizes["d"], sharey=True), strict=True))
    for d, axes in panels.items():
        for algorithm, marker in zip(one.algorithm.values, style.MARKERS, strict=False):
            colour, label = style.ALGORITHM[str(algorithm)], style.LABEL[str(algorithm)]
            line = one.sel(d=d, algorithm=algorithm)
            axes.plot(line.curve_level_time, line.curve, color=colour, linestyle="--", linewidth=0.8)
            # Dots are drawn on rings, so that both are visible if they coincide.
            for table, fill, size in ((one, "white", 4.5), (several, colour, 2)):
                points, levels = table.sel(d=d, algorithm=algorithm), table.attrs["levels"]
                name = f"{label}, {levels} pruning step{'s' if levels > 1 else ''}"
                look = {"color": colour, "marker": marker, "markerfacecolor": fill, "markersize": size}
                draw_rates(axes, points.level_time, points, label=name, **look)
        axes.set(xscale="log", xlabel="training time per level", ylim=(-0.02, 0.55))
    panels[one.d.values[0]].set_ylabel("success rate")
    letters({f"$d = {d}$, {runs_of(one)}": axes for d, axes in panels.items()})
    theory = Line2D([], [], color=style.GREY, linestyle="--", linewidth=0.8, label="theory, 1 pruning step")
    rewinds = f"WR to $t_k = {float(one.rewind_time):g}$"
    add_rate_legend(figure, one, panels[one.d.values[0]], theory, before=rewinds)
    return figure


@style.styled()
def rate_targets(data: ResultTables) -> Figure:
    """Draw the success rates of IMP and LRR against the time per level, one panel per number of targets.

    The tables are `rates` and `rebalanced` (algorithm, targets, level_time), and `limit` (algorithm, targets)
    with the predicted rates for long levels.
    """
    rates = data["rates"]
    figure = Figure(figsize=(style.PAGE, 2.9))
    targets = rates.targets.values
    panels = dict(zip(targets, figure.subplots(1, len(targets), sharey=True), strict=True))
    series = [
        (rates.sel(algorithm="lrr"), "LRR", {"color": style.ALGORITHM["lrr"], "marker": "s"}),
        (rates.sel(algorithm="imp"), "IMP", {"color": style.ALGORITHM["imp"], "marker": "o"}),
        (data["rebalanced"].isel(algorithm=0), "IMP, rebalanced", {"color": style.BROWN, "marker": "^"}),
    ]
    for k, axes in panels.items():
        for table, label, look in series:
            points = table.sel(targets=k)
            draw_rates(axes, points.level_time, points, label=label, **look)
        for algorithm, shift in (("imp", 0), ("lrr", 4)):  # if the two lines coincide, their dashes alternate
            limit = float(data["limit"].predicted.sel(targets=k, algorithm=algorithm))
            colour = style.ALGORITHM[algorithm]
            axes.axhline(limit, linestyle=(shift, (4, 4)), color=colour, linewidth=0.8)
        axes.set(xscale="log", xlabel="time per level", ylim=(-0.02, 0.55))
    panels[targets[0]].set_ylabel("success rate")
    letters({f"$k = {k}$ target coordinate{'s' if k > 1 else ''}": axes for k, axes in panels.items()})
    theory = Line2D([], [], color=style.GREY, linestyle="--", linewidth=0.8, label="theory, long levels")
    counts = f"$d = {int(rates.d)}$, {runs_of(rates)}"
    add_rate_legend(figure, rates, panels[targets[0]], theory, before=counts)
    return figure


FIGURES = {
    function.__name__: function
    for function in (rate_d, rate_rewind, rate_samples, rate_step, rate_scale, rate_time, rate_targets)
}


def _phases(axes: Axes, rates: xr.Dataset, factor: str, x: xr.DataArray) -> QuadMesh:
    """Draw rates over (factor, level_time).

    For IMP, a line shows where the rate from theory is halfway from 1/4 to 3/8.
    """
    shown = rates.rate.transpose("level_time", factor)
    edges = [_edges(np.log(x.values)), _edges(rates.level_time.values)]
    look: dict[str, Any] = {"cmap": "cividis", "vmin": 0, "vmax": 0.55, "rasterized": True}
    mesh = axes.pcolormesh(np.exp(edges[0]), edges[1], shown, **look)
    if rates.algorithm == "imp":
        curve = rates.curve.transpose(factor, "curve_level_time").values
        outside = {"left": np.nan, "right": np.nan}
        half = [np.interp(5 / 16, row, rates.curve_level_time, **outside) for row in curve]
        axes.plot(x, half, **HALFWAY)
    axes.set(xscale="log", ylim=(edges[1][0], edges[1][-1]))
    return mesh


def _edges(centres: NDArray[Any]) -> NDArray[Any]:
    """Return the edges of the cells around evenly spaced centres."""
    half = (centres[1] - centres[0]) / 2
    return np.append(centres - half, centres[-1] + half)
