"""Panels for the deep experiments: the look of each arm, curves against density, histograms of sign flips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import patheffects

from figures import style
from figures.panels import ResultTables

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_RIM = [patheffects.withStroke(linewidth=1.8, foreground="white")]
FEWEST = 3  # seeds needed for an interval to be drawn


@dataclass(frozen=True)
class Look:
    """The look of an arm; the colour usually shows the algorithm, and line and marker show the variant."""

    label: str
    colour: str
    line: str = "-"
    marker: str = "o"

    def artist(self, **more: Any) -> dict[str, Any]:
        """Return the look as keyword arguments for a matplotlib line."""
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
    "imp-keep-bn": Look("IMP, BN kept", style.BROWN, "-.", "^"),
    "signs-on-lrr": Look("LRR's signs, initial amplitudes", style.PURPLE, "-", "P"),
    "amplitudes-on-lrr": Look("LRR's amplitudes, initial signs", style.BROWN, "--", "X"),
    "shuffled-on-lrr": Look("LRR, amplitudes shuffled", style.BLACK, ":", "D"),
    "imp-initial": Look("IMP, pruned at the start", _IMP, "--", "v"),
    "lrr-initial": Look("LRR, pruned at the start", _LRR, "--", "D"),
    "imp-cycles": Look("IMP, LRR's number of cycles", style.BROWN, "--", "v"),
    "lrr-sign-in": Look("LRR, Sign-In", style.SKY, "--", "D"),
    "erk": Look("random ERK masks", style.BLACK, "-", "^"),
    "erk-sign-in": Look("random ERK masks, Sign-In", style.PURPLE, "--", "v"),
}


def look_of(name: str) -> Look:
    """Return the look of an arm; an unknown arm gets a colour derived from its name."""
    return LOOKS.get(name) or Look(name, style.SERIES[sum(name.encode()) % len(style.SERIES)], "-.", "*")


def curves(axes: Axes, data: ResultTables, panel: str, arms: Mapping[str, str], ticks: int = 7) -> None:
    """Draw accuracy against density for each arm in `arms` that has runs.

    `arms` maps each arm to the name whose look the arm gets. An arm whose density does not change is drawn
    only at its last level.
    """
    means, levels = (data[name].sel(panel=panel) for name in ("means", "levels"))
    _against_density(axes, means, levels.test_accuracy, "accuracy", arms, 100)
    for arm, shown in arms.items():
        _published(axes, data, panel, arm, look_of(shown))
    set_density_axis(axes, means.density.values[np.isfinite(means.density.values)], ticks)
    axes.set_ylabel("test accuracy (%)")


def flips(axes: Axes, data: ResultTables, panel: str, arms: Mapping[str, str]) -> None:
    """Draw the sign flips per surviving weight during each level against density, as `curves` does."""
    means, levels = (data[name].sel(panel=panel) for name in ("means", "levels"))
    shares = {f"share_{part}": means[f"flips_{part}"] / means.density for part in ("mean", "low", "high")}
    shown = means.assign(share_n=means.flips_n, **shares)
    _against_density(axes, shown, levels.flips / levels.kept, "share", arms, 1)
    set_density_axis(axes, means.density.values[np.isfinite(means.density.values)])
    axes.set_ylabel("sign flips per surviving weight")


def _against_density(
    axes: Axes, means: xr.Dataset, runs: xr.DataArray, name: str, arms: Mapping[str, str], scale: float
) -> None:
    """Draw the means of `name` against density for each arm; if there are two seeds, also draw the `runs`."""
    for position, (arm, shown) in enumerate(arms.items()):
        points = means.sel(arm=arm)
        points = points.isel(level=np.flatnonzero(points[f"{name}_mean"].notnull().values))
        if not points.sizes["level"]:
            continue
        if points.sizes["level"] > 1 and float(points.density.min()) == float(points.density.max()):
            points = points.isel(level=[-1])
        look = look_of(shown)
        x = 100 * points.density.values * dodge(means, position, len(arms))
        draw_line(axes, x, points, name, look, scale)
        if int(points[f"{name}_n"].max()) == FEWEST - 1:
            seeds = scale * runs.sel(arm=arm, level=points.level).transpose("level", "seed").values
            axes.plot(x, seeds, ".", color=look.colour, ms=2, alpha=0.6)


def dodge(points: xr.Dataset, position: int, number: int) -> float:
    """Return the factor that shifts an arm sideways, so that the bars of all arms can be told apart.

    Parameters
    ----------
    points : xr.Dataset
        `density` (arm, level) of the panel.
    position : int
        The index of the arm.
    number : int
        The number of arms.

    Returns
    -------
    float
        The factor by which to multiply the densities of the arm. Together, the arms fill 60 % of the smallest
        gap between two densities of an arm, on a log scale.
    """
    gaps = -np.diff(np.log(points.density.transpose("arm", "level").values), axis=1)
    gap = float(gaps[gaps > 0].min()) if (gaps > 0).any() else 0.1
    return float(np.exp(0.6 * gap / number * ((number - 1) / 2 - position)))


def _published(axes: Axes, data: ResultTables, panel: str, arm: str, look: Look) -> None:
    """Draw the published curves of an arm, if the tables have any."""
    if "reference" not in data:
        return
    for position in range(data["reference"].sizes["curve"]):
        curve = data["reference"].isel(curve=position)
        if (curve.panel, curve.arm) == (panel, arm):
            artist = look.artist(linestyle=(0, (1, 1.5)), marker="x", ms=4, lw=0.8)
            axes.plot(100 * curve.density, 100 * curve.accuracy, label=f"{look.label}, published", **artist)


def gaps(axes: Axes, data: ResultTables, panel: str, arms: Iterable[str], baseline: str) -> None:
    """Draw the paired differences in accuracy between each arm and `baseline` against density."""
    paired = data["paired"].sel(panel=panel, baseline=baseline)
    axes.axhline(0, color=style.GREY, linewidth=0.5)
    shown = list(arms)
    for position, arm in enumerate(shown):
        if bool((points := paired.sel(arm=arm)).difference_mean.notnull().any()):
            x = 100 * points.density.values * dodge(paired, position, len(shown))
            draw_line(axes, x, points, "difference", look_of(arm), 100)
    set_density_axis(axes, paired.density.values[np.isfinite(paired.density.values)])
    axes.set_ylabel(f"minus {look_of(baseline).label} (pp)")


def draw_line(axes: Axes, x: Any, points: xr.Dataset, name: str, look: Look, scale: float) -> None:
    """Draw the means of `name` in `points` over `x`, with intervals if there are enough seeds.

    All values are multiplied by `scale`. A negative scale swaps the ends of the intervals.
    """
    ends = ("low", "high") if scale > 0 else ("high", "low")
    mean, low, high = (scale * points[f"{name}_{part}"].values for part in ("mean", *ends))
    axes.plot(x, mean, label=look.label, **look.artist())
    if int(points[f"{name}_n"].max()) >= FEWEST:
        axes.errorbar(x, mean, [mean - low, high - mean], fmt="none", ecolor=look.colour, elinewidth=0.6)


def histogram(axes: Axes, shares: xr.Dataset, name: str, bins: str) -> None:
    """Draw the shares of `name` over `bins` as bars for IMP and LRR side by side, with a line at each mean.

    The shares are drawn in percent on a log scale. The bars of LRR are hatched. The lines are drawn in front
    of the bars, with a white rim. The line of IMP has its marker at the top and the line of LRR at the
    bottom, so that both can be seen if the means are close.
    """
    highest = 1
    for shift, algorithm in ((-0.2, "imp"), (0.2, "lrr")):
        if algorithm not in shares.arm or not bool(shares[f"{name}_mean"].sel(arm=algorithm).notnull().any()):
            continue
        arm, look = shares.sel(arm=algorithm), LOOKS[algorithm]
        mean, low, high = (100 * arm[f"{name}_{part}"].values for part in ("mean", "low", "high"))
        x = arm[bins].values + shift
        hatch: dict[str, Any] = {"hatch": "//////", "edgecolor": "white"} if algorithm == "lrr" else {}
        axes.bar(x, mean, 0.4, facecolor=look.colour, label=look.label, linewidth=0, **hatch)
        if int(arm[f"{name}_n"].max()) >= FEWEST:
            axes.errorbar(x, mean, [mean - low, high - mean], fmt="none", ecolor=style.BLACK, elinewidth=0.6)
        centre = float(arm[f"mean_{name}_mean"])
        line = look.artist(linestyle="--" if algorithm == "imp" else "-", ms=4)
        place: dict[str, Any] = {"markevery": [int(algorithm == "imp")], "clip_on": False, "zorder": 3}
        axes.axvline(centre, path_effects=_RIM, **line, **place)
        highest = max(highest, int(np.flatnonzero(mean > 0)[-1]))
        axes.plot([], [], label=f"mean of {look.label}", **line)
    axes.set_yscale("log", nonpositive="clip")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlim(-0.6, highest + 0.6)
    axes.set_xticks(range(0, highest + 1, 1 + highest // 12))


def set_density_axis(axes: Axes, densities: Any, most: int = 7) -> None:
    """Set up a log axis of decreasing densities in percent, with ticks at the densities of the runs.

    Parameters
    ----------
    axes : Axes
        The axes whose x axis is set.
    densities : ndarray
        The densities, in (0, 1].
    most : int
        The largest number of labelled ticks.
    """
    values = np.unique(np.round(100 * densities, 6))[::-1]
    axes.set_xlabel("density (%)")
    if not len(values):  # the panel has no complete run yet
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
    """Choose which densities to label on a log axis with room for `most` labels.

    The first density is chosen, and then each density that is far enough from the last one chosen.
    """
    room = np.log(densities[0] / densities[-1]) / (most - 0.5)
    chosen = [float(densities[0])]
    for density in densities[1:]:
        if np.log(chosen[-1] / density) >= room:
            chosen.append(float(density))
    return chosen
