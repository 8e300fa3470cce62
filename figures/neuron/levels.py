"""The figure of the loss at each pruning level, for all signs of the start, and of how noise rescues IMP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.panels import ResultTables, letters

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
_LOOKS: dict[str, dict[str, Any]] = {
    "lrr": {"color": style.ALGORITHM["lrr"], "marker": "s", "markersize": 2.5},
    "imp": {"color": style.ALGORITHM["imp"], "marker": "o", "markersize": 5, "markerfacecolor": "none"},
}
_ROUTES = {"samples": "descent", "sample_flow": "flow"}


def draw_levels(data: ResultTables) -> Figure:
    """Draw losses on the population in four small panels, and losses on noisy samples in two large panels.

    The large panels show the starts with a(0) > 0 and w_1(0) < 0, where IMP and LRR differ.

    Parameters
    ----------
    data : ResultTables
        The tables that `theorems.fig2a` describes.

    Returns
    -------
    Figure
        The figure.
    """
    figure = Figure(figsize=(style.PAGE, 4.9))
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.7], squeeze=False)[:, 0]
    small = above.subplots(1, 4, sharey=True)
    for (a_sign, w_sign), axes in zip(SIGNS, small, strict=True):
        _population(axes, data["population"].sel(a_sign=a_sign, w_sign=w_sign))
    titles = (f"$a(0) {_relation(a)} 0$, $w_1(0) {_relation(w)} 0$" for a, w in SIGNS)
    shown = dict(zip(titles, small, strict=True))
    small[0].set(ylabel="loss (population)", ylim=(-0.03, 0.29))
    seeds, slopes = below.subplots(1, 2, sharey=True, width_ratios=[1.15, 1])
    lost = {name: data[name].sel(a_sign=1, w_sign=-1) for name in _ROUTES}
    _seeds(seeds, lost["samples"])
    _slopes(slopes, lost)
    letters(shown | {"as (b), on noisy samples, every seed": seeds, "as (e), the last level": slopes})
    for axes in (*small, seeds):
        kept = data["population"].kept.values
        axes.set_xticks(range(len(kept)), [f"{level}\n({count})" for level, count in enumerate(kept)])
    kept = f"pruning level (coordinates kept of $d = {data['population'].attrs['d']}$)"
    above.supxlabel(kept, fontsize=9)
    seeds.set_xlabel(kept)
    handles: list[Artist] = [
        Line2D([], [], label=style.LABEL[name], linestyle="-", linewidth=0.8, **_LOOKS[name])
        for name in _LOOKS
    ]
    handles.append(
        Line2D([], [], marker="x", linestyle="", color=style.ALGORITHM["imp"], label="IMP by gradient flow")
    )
    noisy = (
        f"noisy samples: {sampled(data['samples'])}, other data for each seed, trained by gradient descent"
    )
    noisy += "\nrescued: IMP succeeds at its last level, at which it fails on the population"
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=noisy, title_fontsize=8)
    return figure


def rescued(group: xr.Dataset) -> str:
    """Return a label that says for how many seeds noise rescues IMP.

    Parameters
    ----------
    group : xr.Dataset
        `success` (algorithm, seed) and `s_neg` (seed), the slope of y where x_1 < 0. The starts are those
        from which IMP fails without noise.

    Returns
    -------
    str
        For example '7 of 10 rescued', followed by the counts for each sign of s_neg.
    """
    success = group.success.sel(algorithm="imp") == 1
    pulled = group.s_neg > 0
    parts = [f"{int(success.sum())} of {success.size} rescued"]
    for name, which in ((r"$s_\mathrm{neg} > 0$", pulled), (r"$s_\mathrm{neg} \leq 0$", ~pulled)):
        parts.append(f"{name}: {int((success & which).sum())} of {int(which.sum())}")
    return f"{parts[0]} ({', '.join(parts[1:])})"


def sampled(data: xr.Dataset) -> str:
    """Return a label with the number of samples and the noise of a table."""
    return f"$n = {data.attrs['n']}$, noise ${data.attrs['noise']:g}$"


def _population(axes: Axes, group: xr.Dataset) -> None:
    """Draw the loss of every seed; IMP's markers are open, so that the markers beneath them stay visible."""
    for name, look in _LOOKS.items():
        loss = group.loss.sel(algorithm=name).transpose("level", "seed")
        axes.plot(group.level, loss, linewidth=0.8, **look)


def _seeds(axes: Axes, group: xr.Dataset) -> None:
    """Draw a dot for every seed at every level, with the seeds side by side, and count the rescued seeds."""
    beside = np.linspace(-0.3, 0.3, group.sizes["seed"])
    for name, look in _LOOKS.items():
        loss = group.loss.sel(algorithm=name).transpose("level", "seed")
        axes.plot(group.level.values[:, None] + beside, loss, linestyle="", **look | {"markersize": 3})
    axes.text(0.03, 0.9, f"IMP: {rescued(group)}", transform=axes.transAxes, va="top", fontsize=8)
    axes.set_ylabel("loss (noisy samples)")


def _slopes(axes: Axes, groups: dict[str, xr.Dataset]) -> None:
    """Draw the loss of each seed at the last level against the s_neg of its data."""
    for name, look in _LOOKS.items():
        group = groups["samples"]
        loss = group.loss.sel(algorithm=name).isel(level=-1)
        axes.plot(1000 * group.s_neg, loss, linestyle="", **look)
    flow = groups["sample_flow"]
    loss = flow.loss.sel(algorithm="imp").isel(level=-1)
    axes.plot(1000 * flow.s_neg, loss, "x", color=style.ALGORITHM["imp"], markersize=3)
    axes.axvline(0, color=style.GREY, linestyle=":", linewidth=0.8)
    axes.set_xlabel(r"$1000\, s_\mathrm{neg}$ ($s_\mathrm{neg}$: slope of $y$ where $x_1 < 0$)")
    words = [f"{route}: {rescued(groups[name]).partition(' (')[0]}" for name, route in _ROUTES.items()]
    axes.text(0.04, 0.5, "IMP by\n" + "\n".join(words), transform=axes.transAxes, va="center", fontsize=8)


def _relation(sign: int) -> str:
    return ">" if sign > 0 else "<"
