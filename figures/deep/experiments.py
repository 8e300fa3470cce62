"""The figures of the deep experiments: pure functions from the Datasets of a result file to a Figure.

Means over the seeds and their 95 % intervals are drawn as the file has them; where only two seeds ran, whose
interval says nothing, each stands as a dot.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.deep.curves import LOOKS, Look, curves, gaps, histogram, line
from figures.panels import Data, letters

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

PANEL = {
    "digits": "digits",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "tinyimagenet": "Tiny ImageNet",
    "imagenet": "ImageNet",
}
SMOKE = "SMOKE RUN: nothing about the methods"


@style.styled()
def accuracy(data: Data) -> Figure:
    """Test accuracy of every arm against density, a panel side by side with the next.

    `means` (panel, arm, level), `levels` (panel, arm, seed, level), `reference` (curve, point) if there.
    """
    panels = _panels(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 3.3))
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, axes in zip(panels, grid, strict=True):
        curves(axes, data, panel, _arms(data))
    _titles(data, dict(zip(panels, grid, strict=True)))
    return _finish(figure, data, grid)


@style.styled()
def warmup(data: Data) -> Figure:
    """As `accuracy`: the arms without warm-up above, those with it (NAME-warmup) below."""
    panels = _panels(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 5.0))
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col", sharey="col")
    for column, panel in enumerate(panels):
        for axes, suffix in zip(grid[:, column], ("", "-warmup"), strict=True):
            curves(axes, data, panel, _stripped(data, suffix, not suffix))
            axes.set_xlabel("density (%)" if suffix else "")
    below = {panel: grid[0, column] for column, panel in enumerate(panels)}
    _titles(data, below, "no warm-up")
    for axes in grid[1]:
        axes.set_title("the same with warm-up", loc="left")
    return _finish(figure, data, grid.ravel())


@style.styled()
def by_suffix(data: Data) -> Figure:
    """Test accuracy against density, a column for each NAME of the arms imp-NAME and lrr-NAME.

    Arms imp-NAME-initial and lrr-NAME-initial join their column. `means`, `levels` as for `accuracy`.
    """
    panel = _panels(data)[0]
    names = [str(name).partition("-") for name in data["means"].arm.values]
    suffixes = list(dict.fromkeys(rest.removesuffix("-initial") for _, dash, rest in names if dash))
    figure = Figure(figsize=(style.PAGE, 3.1))
    grid = figure.subplots(1, len(suffixes), squeeze=False, sharey=True)[0]
    for axes, suffix in zip(grid, suffixes, strict=True):
        curves(axes, data, panel, _stripped(data, f"-{suffix}"), ticks=4)
        axes.set_title(TITLES.get(suffix, suffix), loc="left")
    for axes in grid[1:]:
        axes.set_ylabel("")
    return _finish(figure, data, grid, panel)


@style.styled()
def signs(data: Data) -> Figure:
    """Of the weights that survive to the end: when each flipped its sign last, and how often; IMP and LRR.

    `sign_means` (panel, arm, level | flips): shares of the survivors.
    """
    panels = _panels(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 4.6))
    grid = figure.subplots(2, len(panels), squeeze=False, sharey="row")
    for column, panel in enumerate(panels):
        histogram(grid[0, column], data["sign_means"].sel(panel=panel), "last_flip", "level")
        histogram(grid[1, column], data["sign_means"].sel(panel=panel), "switches", "flips")
        grid[0, column].set_xlabel("last level with a sign flip (0: or never)")
        grid[1, column].set_xlabel("sign flips of a weight")
    for axes in grid[:, 0]:
        axes.set_ylabel("surviving weights (%)")
    _titles(data, dict(zip(panels, grid[0], strict=True)))
    return _finish(figure, data, grid.ravel(), dots="")


@style.styled()
def perturb(data: Data) -> Figure:
    """Accuracy lost at the last level against the fraction of signs flipped; a column a way to choose them.

    `paired` (panel, arm, baseline, level) of the perturbed arms, whose coordinates say how, and imp or lrr.
    """
    panel = _panels(data)[0]
    paired = data["paired"].sel(panel=panel)
    shaken = paired.isel(arm=np.flatnonzero(paired.fraction.values > 0))
    scopes = list(dict.fromkeys(shaken.scope.values))
    figure = Figure(figsize=(style.COLUMN if len(scopes) == 1 else style.PAGE, 3.3))
    grid = figure.subplots(1, len(scopes), squeeze=False, sharex=True, sharey=True)[0]
    for axes, scope in zip(grid, scopes, strict=True):
        _losses(axes, shaken.isel(arm=np.flatnonzero(shaken.scope.values == scope)))
        axes.set_xlabel("surviving signs flipped (%)")
        axes.set_title("of all layers together" if scope == "global" else "of every layer alike", loc="left")
    grid[0].set_ylabel("accuracy lost (pp)")
    grid[0].set_xlim(0, 1.08 * 100 * float(shaken.fraction.max()))
    return _finish(figure, data, grid, panel, dots="")


@style.styled()
def transplants(data: Data) -> Figure:
    """Accuracy of what is inherited on LRR's masks, and its difference to IMP there.

    `means`, `levels` as for `accuracy`; `paired` (panel, arm, baseline, level).
    """
    panel = _panels(data)[0]
    figure = Figure(figsize=(style.COLUMN, 5.6))
    above, below = figure.subplots(2, sharex=True)
    arms = _arms(data)
    curves(above, data, panel, arms)
    gaps(below, data, panel, [name for name in arms if name not in ("imp", "imp-on-lrr")], "imp-on-lrr")
    above.set_xlabel("")
    _titles(data, {panel: above})
    return _finish(figure, data, [above, below])


@style.styled()
def width(data: Data) -> Figure:
    """Against the width: sign flips per weight during level 0, and the gap between LRR and IMP.

    `means` (panel, arm, level): flips; `low` (panel, arm, baseline, at_most) of the arms lrr-wW and imp-wW.
    """
    panel = _panels(data)[0]
    means, low = data["means"].sel(panel=panel), data["low"].sel(panel=panel)
    names = [str(name) for name in means.sortby("width").arm.values if str(name).startswith("lrr-w")]
    widths = [float(means.width.sel(arm=name)) for name in names]
    bound = float(low.at_most[0])
    wins = [low.sel(arm=name, baseline=f"imp{name[3:]}").isel(at_most=0) for name in names]
    figure = Figure(figsize=(style.PAGE, 2.7))
    left, right = figure.subplots(1, 2)
    _points(left, widths, [means.sel(arm=name, level=0) for name in names], "flips", LOOKS["lrr"], 1)
    _points(right, widths, wins, "difference", LOOKS["lrr"], 100)
    right.axhline(0, color=style.GREY, linewidth=0.5)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="width multiplier")
        axes.set_xticks(widths, [f"{value:g}" for value in widths])
        axes.minorticks_off()
    left.set_ylabel("sign flips per weight")
    right.set_ylabel("LRR $-$ IMP (pp)")
    letters({"during level 0": left, f"mean over densities to {100 * bound:g} %": right})
    for axes in (left, right):
        axes.get_lines()[0].set_label("_")
    return _finish(figure, data, [left, right], panel, dots="")


@style.styled()
def study(data: Data) -> Figure:
    """A study at a glance: accuracy, its difference to IMP, and when the survivors' signs settle.

    `means`, `levels`, `paired`, `sign_means` as for the figures of each.
    """
    panels = _panels(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 7.4))
    grid = figure.subplots(3, len(panels), squeeze=False, sharey="row")
    for (above, middle, below), panel in zip(grid.T, panels, strict=True):
        arms = _arms(data)
        curves(above, data, panel, arms)
        gaps(middle, data, panel, [name for name in arms if name != "imp"], "imp")
        histogram(below, data["sign_means"].sel(panel=panel), "last_flip", "level")
        below.set_xlabel("last level with a sign flip (0: or never)")
    grid[2, 0].set_ylabel("surviving weights (%)")
    for axes in grid[:, 1:].ravel():
        axes.set_ylabel("")
    _titles(data, dict(zip(panels, grid[0], strict=True)))
    return _finish(figure, data, grid.ravel())


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
}
TITLES = {
    "erk": "ERK",
    "balanced": "balanced",
    "uniform": "uniform",
    "magnitude": "magnitude",
    "random": "random",
    "snip": "SNIP",
    "synflow": "SynFlow",
}


def _panels(data: Data) -> list[str]:
    return [str(panel) for panel in data["levels"].panel.values]


def _arms(data: Data) -> dict[str, str]:
    """Every arm, looking as itself."""
    return {str(name): str(name) for name in data["means"].arm.values}


def _config(data: Data) -> dict[str, Any]:
    return json.loads(next(iter(data.values())).attrs.get("config", "{}"))


def _stripped(data: Data, suffix: str, plain: bool = False) -> dict[str, str]:
    """The arms with `suffix` (`plain`: without '-warmup'), and the name without it whose look they take."""
    arms = _arms(data)
    if plain:
        return {name: name for name in arms if not name.endswith("-warmup")}
    return {name: name.replace(suffix, "") for name in arms if f"{name}-".find(f"{suffix}-") > 0}


def _points(axes: Axes, x: list[float], rows: list[xr.Dataset], name: str, look: Look, scale: float) -> None:
    """`_line` through one value of each of `rows`."""
    import xarray as xr

    kept = [f"{name}_{part}" for part in ("mean", "low", "high", "n")]
    values = {key: ("x", [float(row[key]) for row in rows]) for key in kept}
    line(axes, x, xr.Dataset(values), name, look, scale)


def _losses(axes: Axes, shaken: xr.Dataset) -> None:
    """A line for each algorithm and level at which it was perturbed."""
    axes.axhline(0, color=style.GREY, linewidth=0.5)
    times = sorted(set(shaken.perturbed.values))
    for algorithm in ("imp", "lrr"):
        for position, level in enumerate(times):
            named = [str(arm).startswith(f"{algorithm}-") for arm in shaken.arm.values]
            chosen = (shaken.perturbed.values == level) & named
            arms = shaken.isel(arm=np.flatnonzero(chosen)).sortby("fraction").sel(baseline=algorithm)
            last = arms.isel(level=int(arms.prunings.max())) if arms.sizes["arm"] else arms
            if not arms.sizes["arm"] or not bool(last.difference_mean.notnull().any()):
                continue
            look = LOOKS[algorithm]
            marker, dashes = "osD^vP"[position % 6], ("-", "--", ":", "-.")[position % 4]
            shown = Look(f"{look.label}, level {level:g}", look.colour, dashes, marker)
            beside = (position - (len(times) - 1) / 2) + (0.25 if algorithm == "lrr" else -0.25)
            line(axes, 100 * last.fraction.values + 0.5 * beside, last, "difference", shown, -100)


def _panel_title(data: Data, panel: str) -> str:
    return f"{PANEL.get(panel, panel)}, {data['levels'].network.sel(panel=panel).item()}"


def _titles(data: Data, panels: Mapping[str, Axes], more: str = "") -> None:
    titles = {
        _panel_title(data, panel) + (f"; {more}" if more else ""): axes for panel, axes in panels.items()
    }
    if len(titles) > 1:
        letters(titles)
        return
    for title, axes in titles.items():
        axes.set_title(title, loc="left")


def _finish(
    figure: Figure, data: Data, panels: Iterable[Axes], panel: str = "", dots: str = "; dots: the seeds"
) -> Figure:
    """One legend of all panels below; above it the `panel` of all, what bars and dots are, and sources.

    A smoke run is marked as one above.
    """
    handles: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    handles = dict(sorted(handles.items(), key=lambda item: item[0] == "mean"))  # else bars come after it
    counts = data["means"].accuracy_n.values
    seeds = int(counts.max())
    marks = {1: "", 2: dots}.get(seeds, "; whiskers: 95 % $t$-intervals")
    notes = [f"{_panel_title(data, panel)}; " if panel else ""]
    fewest = min(counts[counts > 0])
    number = f"{fewest} to {seeds}" if fewest < seeds else f"{seeds}"
    notes[0] += f"mean over {number} seeds{marks}" if seeds > 1 else "one seed"
    if "reference" in data:
        notes += [f"published: {source}" for source in dict.fromkeys(data["reference"].source.values)]
    wide = figure.get_figwidth() > style.COLUMN
    wrapped = "\n".join(line for note in notes for line in textwrap.wrap(note, 110 if wide else 52))
    columns = 2 if not wide else 4 if len(handles) == 4 else 3
    look: dict[str, Any] = {"loc": "outside lower center", "title_fontsize": 7.5, "columnspacing": 1.2}
    legend = figure.legend(handles.values(), handles.keys(), ncols=columns, title=wrapped, **look)
    legend.get_title().set_linespacing(1.1)
    if _config(data).get("profile") == "smoke":
        figure.suptitle(SMOKE, fontsize=9, color=style.VERMILION)
    return figure
