"""The figures of the deep experiments: pure functions from the Datasets of a result file to a Figure.

Means over the seeds and their 95 % intervals are drawn as the file has them; where only two seeds ran, whose
interval says nothing, each stands as a dot.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from figures import style
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
FEWEST = 3  # seeds from which an interval is drawn


@dataclass(frozen=True)
class Look:
    """How an arm is drawn: colour for what trains, line and marker for what it starts from."""

    label: str
    colour: str
    line: str = "-"
    marker: str = "o"

    def artist(self, **more: Any) -> dict[str, Any]:
        """As keywords of a line."""
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker, "ms": 3, "lw": 1} | more


_IMP, _WR, _LRR = (style.ALGORITHM[name] for name in ("imp", "wr", "lrr"))
LOOKS = {
    "imp": Look("IMP", _IMP),
    "wr": Look("WR", _WR, marker="^"),
    "lrr": Look("LRR", _LRR, marker="s"),
    "imp-shuffled": Look("IMP, shuffled masks", _IMP, ":", "v"),
    "lrr-shuffled": Look("LRR, shuffled masks", _LRR, ":", "D"),
    "imp-on-lrr": Look("IMP on LRR's masks", _IMP, "--", "v"),
    "lrr-on-imp": Look("LRR on IMP's masks", _LRR, "--", "D"),
    "lrr-bn-rewind": Look("LRR, BN rewound", style.SKY, "-", "P"),
    "lrr-bn-rewind-on-imp": Look("LRR, BN rewound, on IMP's masks", style.SKY, "--", "X"),
    "imp-keep-bn": Look("IMP, BN kept", style.ORANGE, "-", "P"),
    "signs-on-lrr": Look("LRR's signs, initial amplitudes", style.PURPLE, "-", "P"),
    "amplitudes-on-lrr": Look("LRR's amplitudes, initial signs", style.ORANGE, "--", "X"),
    "shuffled-on-lrr": Look("LRR, amplitudes shuffled", style.BLACK, ":", "D"),
    "imp-initial": Look("IMP, pruned at the start", _IMP, "--", "v"),
    "lrr-initial": Look("LRR, pruned at the start", _LRR, "--", "D"),
}

_styled = matplotlib.rc_context(style.RC)


@_styled
def accuracy(data: Data) -> Figure:
    """Test accuracy of every arm against density, a panel side by side with the next.

    `means` (panel, arm, level), `levels` (panel, arm, seed, level), `reference` (curve, point) if there.
    """
    panels = _panels(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 3.3))
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, axes in zip(panels, grid, strict=True):
        _curves(axes, data, panel, {str(name): str(name) for name in data["means"].arm.values})
    _titles(data, dict(zip(panels, grid, strict=True)))
    return _finish(figure, data, grid)


@_styled
def warmup(data: Data) -> Figure:
    """As `accuracy`: the arms without warm-up above, those with it (NAME-warmup) below."""
    panels = _panels(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 5.0))
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col", sharey="col")
    for column, panel in enumerate(panels):
        for axes, suffix in zip(grid[:, column], ("", "-warmup"), strict=True):
            _curves(axes, data, panel, _stripped(data, suffix, not suffix))
            axes.set_xlabel("density (%)" if suffix else "")
    below = {panel: grid[0, column] for column, panel in enumerate(panels)}
    _titles(data, below, "no warm-up")
    for axes in grid[1]:
        axes.set_title("the same with warm-up", loc="left")
    return _finish(figure, data, grid.ravel())


@_styled
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
        _curves(axes, data, panel, _stripped(data, f"-{suffix}"), ticks=4)
        axes.set_title(TITLES.get(suffix, suffix), loc="left")
    for axes in grid[1:]:
        axes.set_ylabel("")
    return _finish(figure, data, grid, panel)


@_styled
def signs(data: Data) -> Figure:
    """Of the weights that survive to the end: when each flipped its sign last, and how often; IMP and LRR.

    `sign_means` (panel, arm, level | flips): shares of the survivors.
    """
    panels = _panels(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 4.6))
    grid = figure.subplots(2, len(panels), squeeze=False, sharey="row")
    for column, panel in enumerate(panels):
        _histogram(grid[0, column], data["sign_means"].sel(panel=panel), "last_flip", "level")
        _histogram(grid[1, column], data["sign_means"].sel(panel=panel), "switches", "flips")
        grid[0, column].set_xlabel("last level with a sign flip (0: or never)")
        grid[1, column].set_xlabel("sign flips of a weight")
    for axes in grid[:, 0]:
        axes.set_ylabel("surviving weights (%)")
    _titles(data, dict(zip(panels, grid[0], strict=True)))
    return _finish(figure, data, grid.ravel(), dots="")


@_styled
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
    grid[0].set_xlim(left=0)
    return _finish(figure, data, grid, panel, dots="")


@_styled
def transplants(data: Data) -> Figure:
    """Accuracy of what is inherited on LRR's masks, and its difference to IMP there.

    `means`, `levels` as for `accuracy`; `paired` (panel, arm, baseline, level).
    """
    panel = _panels(data)[0]
    figure = Figure(figsize=(style.COLUMN, 5.6))
    above, below = figure.subplots(2, sharex=True)
    arms = {str(name): str(name) for name in data["means"].arm.values}
    _curves(above, data, panel, arms)
    _gaps(below, data, panel, [name for name in arms if name not in ("imp", "imp-on-lrr")], "imp-on-lrr")
    above.set_xlabel("")
    _titles(data, {panel: above})
    return _finish(figure, data, [above, below])


@_styled
def width(data: Data) -> Figure:
    """Against the width: sign flips per weight during level 0, and the gap between LRR and IMP.

    `means` (panel, arm, level): flips; `low` (panel, arm, baseline, at_most) of the arms lrr-wW and imp-wW.
    """
    panel = _panels(data)[0]
    means, low = data["means"].sel(panel=panel), data["low"].sel(panel=panel)
    names = [str(name) for name in means.sortby("width").arm.values if str(name).startswith("lrr-w")]
    widths = [float(means.width.sel(arm=name)) for name in names]
    bound = float(low.at_most[0])
    gaps = [low.sel(arm=name, baseline=f"imp{name[3:]}").isel(at_most=0) for name in names]
    figure = Figure(figsize=(style.PAGE, 2.7))
    left, right = figure.subplots(1, 2)
    _points(left, widths, [means.sel(arm=name, level=0) for name in names], "flips", LOOKS["lrr"], 1)
    _points(right, widths, gaps, "difference", LOOKS["lrr"], 100)
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


@_styled
def study(data: Data) -> Figure:
    """A study at a glance: accuracy, its difference to IMP, and when the survivors' signs settle.

    `means`, `levels`, `paired`, `sign_means` as for the figures of each.
    """
    panels = _panels(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 7.4))
    grid = figure.subplots(3, len(panels), squeeze=False, sharey="row")
    for (above, middle, below), panel in zip(grid.T, panels, strict=True):
        arms = {str(name): str(name) for name in data["means"].arm.values}
        _curves(above, data, panel, arms)
        _gaps(middle, data, panel, [name for name in arms if name != "imp"], "imp")
        _histogram(below, data["sign_means"].sel(panel=panel), "last_flip", "level")
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


def _config(data: Data) -> dict[str, Any]:
    return json.loads(next(iter(data.values())).attrs.get("config", "{}"))


def _stripped(data: Data, suffix: str, plain: bool = False) -> dict[str, str]:
    """The arms with `suffix` (`plain`: without '-warmup'), and the name without it whose look they take."""
    arms = [str(name) for name in data["means"].arm.values]
    if plain:
        return {name: name for name in arms if not name.endswith("-warmup")}
    return {name: name.replace(suffix, "") for name in arms if f"{name}-".find(f"{suffix}-") > 0}


def _look(name: str) -> Look:
    """Of an arm that has none, a colour by its name."""
    return LOOKS.get(name) or Look(name, style.SERIES[sum(name.encode()) % len(style.SERIES)], "-.", "*")


def _curves(axes: Axes, data: Data, panel: str, arms: Mapping[str, str], ticks: int = 7) -> None:
    """Accuracy against density of the arms that have runs; each looks as `arms` says.

    Of an arm that always has the same density, the last level.
    """
    means, levels = (data[name].sel(panel=panel) for name in ("means", "levels"))
    for position, (arm, shown) in enumerate(arms.items()):
        points = means.sel(arm=arm)
        points = points.isel(level=np.flatnonzero(points.accuracy_mean.notnull().values))
        if not points.sizes["level"]:
            continue
        if points.sizes["level"] > 1 and float(points.density.min()) == float(points.density.max()):
            points = points.isel(level=[-1])
        x, look = 100 * points.density.values * _dodge(position, len(arms)), _look(shown)
        _line(axes, x, points, "accuracy", look, 100)
        if int(points.accuracy_n.max()) == FEWEST - 1:
            runs = 100 * levels.test_accuracy.sel(arm=arm, level=points.level).values
            axes.plot(x, runs.T, ".", color=look.colour, ms=2, alpha=0.6)
        _published(axes, data, panel, arm, look)
    _density_axis(axes, means.density.values[np.isfinite(means.density.values)], ticks)
    axes.set_ylabel("test accuracy (%)")


def _dodge(position: int, number: int) -> float:
    """A factor that sets arms at one density apart, so that their bars can be told."""
    return 1.012 ** ((number - 1) / 2 - position)


def _published(axes: Axes, data: Data, panel: str, arm: str, look: Look) -> None:
    if "reference" not in data:
        return
    for position in range(data["reference"].sizes["curve"]):
        curve = data["reference"].isel(curve=position)
        if (curve.panel, curve.arm) == (panel, arm):
            artist = look.artist(linestyle=(0, (1, 1.5)), marker="x", ms=4, lw=0.8)
            axes.plot(100 * curve.density, 100 * curve.accuracy, label=f"{look.label}, published", **artist)


def _gaps(axes: Axes, data: Data, panel: str, arms: Iterable[str], baseline: str) -> None:
    """Paired differences in accuracy to `baseline` against density."""
    paired = data["paired"].sel(panel=panel, baseline=baseline)
    axes.axhline(0, color=style.GREY, linewidth=0.5)
    shown = list(arms)
    for position, arm in enumerate(shown):
        if bool((points := paired.sel(arm=arm)).difference_mean.notnull().any()):
            x = 100 * points.density.values * _dodge(position, len(shown))
            _line(axes, x, points, "difference", _look(arm), 100)
    _density_axis(axes, paired.density.values[np.isfinite(paired.density.values)])
    axes.set_ylabel(f"minus {_look(baseline).label} (pp)")


def _line(axes: Axes, x: Any, points: xr.Dataset, name: str, look: Look, scale: float) -> None:
    """NAME_mean over x, and its interval where there are seeds enough."""
    ends = ("low", "high") if scale > 0 else ("high", "low")
    mean, low, high = (scale * points[f"{name}_{part}"].values for part in ("mean", *ends))
    axes.plot(x, mean, label=look.label, **look.artist())
    if int(points[f"{name}_n"].max()) >= FEWEST:
        axes.errorbar(x, mean, [mean - low, high - mean], fmt="none", ecolor=look.colour, elinewidth=0.6)


def _points(axes: Axes, x: list[float], rows: list[xr.Dataset], name: str, look: Look, scale: float) -> None:
    """`_line` through one value of each of `rows`."""
    import xarray as xr

    kept = [f"{name}_{part}" for part in ("mean", "low", "high", "n")]
    values = {key: ("x", [float(row[key]) for row in rows]) for key in kept}
    _line(axes, x, xr.Dataset(values), name, look, scale)


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
            marker, line = "osD^vP"[position % 6], ("-", "--", ":", "-.")[position % 4]
            shown = Look(f"{look.label}, level {level:g}", look.colour, line, marker)
            beside = (position - (len(times) - 1) / 2) + (0.25 if algorithm == "lrr" else -0.25)
            _line(axes, 100 * last.fraction.values + 0.5 * beside, last, "difference", shown, -100)


def _histogram(axes: Axes, shares: xr.Dataset, name: str, bins: str) -> None:
    """Bars of IMP and LRR side by side, in percent on a log scale, each mean as a line."""
    highest = 1
    for shift, algorithm in ((-0.2, "imp"), (0.2, "lrr")):
        if algorithm not in shares.arm or not bool(shares[f"{name}_mean"].sel(arm=algorithm).notnull().any()):
            continue
        arm, look = shares.sel(arm=algorithm), LOOKS[algorithm]
        mean, low, high = (100 * arm[f"{name}_{part}"].values for part in ("mean", "low", "high"))
        x = arm[bins].values + shift
        axes.bar(x, mean, 0.4, color=look.colour, label=look.label, linewidth=0)
        if int(arm[f"{name}_n"].max()) >= FEWEST:
            axes.errorbar(x, mean, [mean - low, high - mean], fmt="none", ecolor=style.BLACK, elinewidth=0.6)
        centre = float(arm[f"mean_{name}_mean"])
        axes.axvline(centre, color=look.colour, linestyle="--", linewidth=0.8, zorder=0.5)
        highest = max(highest, int(np.flatnonzero(mean > 0)[-1]))
    axes.plot([], [], color=style.GREY, linestyle="--", linewidth=0.8, label="mean")
    axes.set_yscale("log", nonpositive="clip")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlim(-0.6, highest + 0.6)
    axes.set_xticks(range(0, highest + 1, 1 + highest // 12))


def _density_axis(axes: Axes, densities: Any, most: int = 7) -> None:
    """Falling densities in percent on a log scale, with ticks at those that were trained."""
    values = np.unique(np.round(100 * densities, 6))[::-1]
    axes.set_xlabel("density (%)")
    if not len(values):  # of a panel that has no complete run yet
        return
    axes.set_xscale("log")
    if not axes.xaxis_inverted():
        axes.invert_xaxis()
    axes.margins(0.06)
    labelled = _spread(values, most)
    axes.set_xticks(labelled, [f"{density:.3g}" for density in labelled])
    axes.set_xticks(values, minor=True)
    axes.xaxis.set_minor_formatter("")


def _spread(densities: np.ndarray, most: int = 8) -> list[float]:
    """From falling densities the first, and on a log axis of `most` labels every next one with room."""
    room = np.log(densities[0] / densities[-1]) / (most - 0.5)
    chosen = [float(densities[0])]
    for density in densities[1:]:
        if np.log(chosen[-1] / density) >= room:
            chosen.append(float(density))
    return chosen


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
