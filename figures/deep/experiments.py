"""The figures for the deep experiments: pure functions from the Datasets in a result file to a Figure.

Means over the seeds and their 95 % intervals are taken from the file. With two seeds, an interval would be
too wide to be useful, so each seed is drawn as a dot instead.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.deep.curves import LOOKS, curves, flips, gaps, histogram
from figures.deep.panels import (
    TITLES,
    draw_losses,
    draw_values,
    drawn_arms,
    finish_figure,
    panels_of,
    set_titles,
    stripped,
    with_series,
)
from figures.panels import ResultTables, letters


@style.styled()
def accuracy(data: ResultTables) -> Figure:
    """Draw the test accuracy of every arm against density, with the panels side by side.

    Parameters
    ----------
    data : ResultTables
        The tables `means` (panel, arm, level), `levels` (panel, arm, seed, level) and, if there are published
        curves, `reference` (curve, point).

    Returns
    -------
    Figure
        The figure.
    """
    panels = panels_of(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 3.3))
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, axes in zip(panels, grid, strict=True):
        curves(axes, data, panel, drawn_arms(data))
    set_titles(data, dict(zip(panels, grid, strict=True)))
    return finish_figure(figure, data, grid)


@style.styled()
def warmup(data: ResultTables) -> Figure:
    """Draw test accuracy against density, without warm-up above and with warm-up below.

    The arms with warm-up are called NAME-warmup. The tables are the same as for `accuracy`.
    """
    panels = panels_of(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 5.0))
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col", sharey="col")
    for column, panel in enumerate(panels):
        for axes, suffix in zip(grid[:, column], ("", "-warmup"), strict=True):
            curves(axes, data, panel, stripped(data, suffix, not suffix))
            axes.set_xlabel("density (%)" if suffix else "")
    below = {panel: grid[0, column] for column, panel in enumerate(panels)}
    set_titles(data, below, "no warm-up")
    for axes in grid[1]:
        axes.set_title("the same, with warm-up", loc="left")
    return finish_figure(figure, data, grid.ravel())


@style.styled()
def by_suffix(data: ResultTables) -> Figure:
    """Draw test accuracy against density, with one column for each NAME in the arms imp-NAME and lrr-NAME.

    The arms imp-NAME-initial and lrr-NAME-initial are drawn in the same column. The tables are `means` and
    `levels`, as for `accuracy`.
    """
    panel = panels_of(data)[0]
    names = [str(name).partition("-") for name in data["means"].arm.values]
    suffixes = list(dict.fromkeys(rest.removesuffix("-initial") for _, dash, rest in names if dash))
    figure = Figure(figsize=(style.PAGE, 3.1))
    grid = figure.subplots(1, len(suffixes), squeeze=False, sharey=True)[0]
    for axes, suffix in zip(grid, suffixes, strict=True):
        curves(axes, data, panel, stripped(data, f"-{suffix}"), ticks=4)
        axes.set_title(TITLES.get(suffix, suffix), loc="left")
    for axes in grid[1:]:
        axes.set_ylabel("")
    return finish_figure(figure, data, grid, panel)


@style.styled()
def signs(data: ResultTables) -> Figure:
    """Draw, for IMP and LRR, how often the surviving weights flipped their signs, and when they last did so.

    The table `sign_means` has the shares of surviving weights by the last level at which they flipped,
    `last_flip_mean` (panel, arm, level), and by their number of flips, `switches_mean` (panel, arm, flips).
    """
    panels = panels_of(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 4.6))
    grid = figure.subplots(2, len(panels), squeeze=False)
    for column, panel in enumerate(panels):
        histogram(grid[0, column], data["sign_means"].sel(panel=panel), "last_flip", "level")
        histogram(grid[1, column], data["sign_means"].sel(panel=panel), "switches", "flips")
        brk = "\n" if len(panels) > 2 else " "  # three panels leave no room for one line
        grid[0, column].set_xlabel(f"last level with a sign flip{brk}(0: or never)")
        grid[1, column].set_xlabel("sign flips per weight")
    for axes in grid[:, 0]:
        axes.set_ylabel("surviving weights (%)")
    set_titles(data, dict(zip(panels, grid[0], strict=True)))
    return finish_figure(figure, data, grid.ravel(), dots="")


@style.styled()
def perturb(data: ResultTables) -> Figure:
    """Draw the accuracy lost at the last level against the fraction of signs flipped.

    Each column shows one way of choosing the signs to flip. The table `paired` (panel, arm, baseline, level)
    compares each perturbed arm with its baseline, imp or lrr, and has coordinates that describe the
    perturbation.
    """
    panel = panels_of(data)[0]
    paired = data["paired"].sel(panel=panel)
    shaken = paired.isel(arm=np.flatnonzero(paired.fraction.values > 0))
    scopes = list(dict.fromkeys(shaken.scope.values))
    figure = Figure(figsize=(style.COLUMN if len(scopes) == 1 else style.PAGE, 3.3))
    grid = figure.subplots(1, len(scopes), squeeze=False, sharex=True, sharey=True)[0]
    for axes, scope in zip(grid, scopes, strict=True):
        draw_losses(axes, shaken.isel(arm=np.flatnonzero(shaken.scope.values == scope)))
        axes.set_xlabel("surviving signs flipped (%)")
        axes.set_title("across all layers" if scope == "global" else "same share in every layer", loc="left")
    grid[0].set_ylabel("accuracy lost (pp)")
    grid[0].set_xlim(0, 1.08 * 100 * float(shaken.fraction.max()))
    return finish_figure(figure, data, grid, panel, dots="")


@style.styled()
def transplants(data: ResultTables) -> Figure:
    """Draw the accuracy after transplanting signs or amplitudes to networks with LRR's masks.

    A second panel shows the differences from IMP on the same masks. The tables are `means` and `levels`, as
    for `accuracy`, and `paired` (panel, arm, baseline, level).
    """
    panel = panels_of(data)[0]
    figure = Figure(figsize=(style.COLUMN, 5.6))
    above, below = figure.subplots(2, sharex=True)
    arms = drawn_arms(data)
    curves(above, data, panel, arms)
    gaps(below, data, panel, [name for name in arms if name not in ("imp", "imp-on-lrr")], "imp-on-lrr")
    above.set_xlabel("")
    set_titles(data, {panel: above})
    return finish_figure(figure, data, [above, below])


@style.styled()
def accuracy_and_flips(data: ResultTables) -> Figure:
    """Draw test accuracy and, below, the sign flips per surviving weight during each level, against density.

    The arms NAME-DENSITY, which are pruned at initialisation, are joined into one line for each NAME. The
    tables are `means` and `levels`, as for `accuracy`.
    """
    panels = panels_of(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 5.6))
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col")
    joined, arms = with_series(data)
    for (above, below), panel in zip(grid.T, panels, strict=True):
        curves(above, joined, panel, arms)
        flips(below, joined, panel, arms)
        above.set_xlabel("")
    set_titles(data, dict(zip(panels, grid[0], strict=True)))
    return finish_figure(figure, data, grid.ravel())


@style.styled()
def width(data: ResultTables) -> Figure:
    """Draw sign flips per weight during level 0, and the gap between LRR and IMP, against the width.

    The arms are lrr-wW and imp-wW for each width W. The table `means` (panel, arm, level) has the flips. The
    table `low` (panel, arm, baseline, at_most) has differences averaged over low densities.
    """
    panel = panels_of(data)[0]
    means, low = data["means"].sel(panel=panel), data["low"].sel(panel=panel)
    names = [str(name) for name in means.sortby("width").arm.values if str(name).startswith("lrr-w")]
    widths = [float(means.width.sel(arm=name)) for name in names]
    bound = float(low.at_most[0])
    wins = [low.sel(arm=name, baseline=f"imp{name[3:]}").isel(at_most=0) for name in names]
    figure = Figure(figsize=(style.PAGE, 2.7))
    left, right = figure.subplots(1, 2)
    draw_values(left, widths, [means.sel(arm=name, level=0) for name in names], "flips", LOOKS["lrr"], 1)
    draw_values(right, widths, wins, "difference", LOOKS["lrr"], 100)
    right.axhline(0, color=style.GREY, linewidth=0.5)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="width multiplier")
        axes.set_xticks(widths, [f"{value:g}" for value in widths])
        axes.minorticks_off()
    left.set_ylabel("sign flips per weight")
    right.set_ylabel("LRR $-$ IMP (pp)")
    letters({"during level 0": left, f"mean over densities up to {100 * bound:g} %": right})
    for axes in (left, right):
        axes.get_lines()[0].set_label("_")
    return finish_figure(figure, data, [left, right], panel, dots="")


@style.styled()
def study(data: ResultTables) -> Figure:
    """Draw three rows: accuracy, its difference from IMP, and a histogram of last sign flips by level.

    The tables are `means`, `levels`, `paired` and `sign_means`, as for the other figures.
    """
    panels = panels_of(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 7.4))
    grid = figure.subplots(3, len(panels), squeeze=False)
    for (above, middle, below), panel in zip(grid.T, panels, strict=True):
        arms = drawn_arms(data)
        curves(above, data, panel, arms)
        gaps(middle, data, panel, [name for name in arms if name != "imp"], "imp")
        histogram(below, data["sign_means"].sel(panel=panel), "last_flip", "level")
        below.set_xlabel("last level with a sign flip (0: or never)")
        handles, labels = below.get_legend_handles_labels()
        below.legend(handles, labels, loc="upper center", ncols=2, fontsize=7.5)
    grid[2, 0].set_ylabel("surviving weights (%)")
    for axes in grid[:, 1:].ravel():
        axes.set_ylabel("")
    set_titles(data, dict(zip(panels, grid[0], strict=True)))
    return finish_figure(figure, data, grid[:2].ravel())


FIGURES = {
    "smoke": accuracy,
    "fig2b": accuracy,
    "fig2c": accuracy,
    "fig2d": accuracy,
    "fig3": warmup,
    "fig4": accuracy,
    "fig5": signs,
    "perturb": perturb,
    "random": by_suffix,
    "criteria": by_suffix,
    "signs-vs-amplitudes": transplants,
    "width": width,
    "imagenet": accuracy,
    "laptop": study,
    "sign-in": accuracy_and_flips,
    "cyclic": accuracy_and_flips,
}
