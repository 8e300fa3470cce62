"""Elements shared by the figures of recipes: panels, arms, titles and legends."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.deep.curves import LOOKS, Look, draw_line
from figures.panels import ResultTables, letters

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


PANEL = {
    "digits": "digits",
    "cifar10": "CIFAR-10",
    "cifar10-augmented": "CIFAR-10, crops and flips",
    "cifar100": "CIFAR-100",
    "tinyimagenet": "Tiny ImageNet",
    "imagenet": "ImageNet",
}


SMOKE = "SMOKE RUN: says nothing about the methods"


TITLES = {
    "erk": "ERK",
    "balanced": "balanced",
    "uniform": "uniform",
    "magnitude": "magnitude",
    "random": "random",
    "snip": "SNIP",
    "synflow": "SynFlow",
}


def panels_of(data: ResultTables) -> list[str]:
    """Return the names of the panels."""
    return [str(panel) for panel in data["levels"].panel.values]


def drawn_arms(data: ResultTables) -> dict[str, str]:
    """Return all arms, each mapped to itself, since each has its own look."""
    return {str(name): str(name) for name in data["means"].arm.values}


def _config(data: ResultTables) -> dict[str, Any]:
    return json.loads(next(iter(data.values())).attrs.get("config", "{}"))


def stripped(data: ResultTables, suffix: str, plain: bool = False) -> dict[str, str]:
    """Return the arms with `suffix` in their names, each mapped to its name without the suffix.

    An arm gets the look of the name to which it is mapped. With `plain`, ignore `suffix`: return the arms
    whose names do not end in '-warmup', each mapped to itself.
    """
    arms = drawn_arms(data)
    if plain:
        return {name: name for name in arms if not name.endswith("-warmup")}
    return {name: name.replace(suffix, "") for name in arms if f"{name}-".find(f"{suffix}-") > 0}


def with_series(data: ResultTables) -> tuple[ResultTables, dict[str, str]]:
    """Join the arms NAME-DENSITY, which are pruned only once, into one arm NAME with a level per density.

    Return the tables, with the joined arms in `means` and `levels`, and the arms in the form of `drawn_arms`.
    """
    import xarray as xr

    series: dict[str, list[str]] = {}
    for arm in drawn_arms(data):
        name, _, last = arm.rpartition("-")
        joined = name and last.replace(".", "").isdigit()
        series.setdefault(name if joined else arm, []).append(arm)
    tables = {}
    for key in ("means", "levels"):
        plain = data[key].reset_coords(drop=True)
        whole = [plain.sel(arm=[arm]) for arm, parts in series.items() if parts == [arm]]
        for arm, parts in series.items():
            if parts != [arm]:
                first = plain.sel(arm=parts, level=0).drop_vars("level").rename(arm="level")
                whole.append(first.assign_coords(level=range(len(parts))).expand_dims(arm=[arm]))
        tables[key] = xr.concat(whole, "arm", join="outer", data_vars="all")
    return {**data, **tables}, {arm: arm for arm in series}


def draw_values(
    axes: Axes, x: list[float], rows: list[xr.Dataset], name: str, look: Look, scale: float
) -> None:
    """Draw one line, as `draw_line` does, with one point for each of `rows`, at the positions `x`."""
    import xarray as xr

    kept = [f"{name}_{part}" for part in ("mean", "low", "high", "n")]
    values = {key: ("x", [float(row[key]) for row in rows]) for key in kept}
    draw_line(axes, x, xr.Dataset(values), name, look, scale)


def draw_losses(axes: Axes, shaken: xr.Dataset) -> None:
    """Draw one line for each algorithm and each level at which signs were flipped.

    All lines have points at the same fractions, so they are shifted sideways to be 0.6 % apart.
    """
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
            markers = {"imp": "o^vP", "lrr": "sD<X"}[algorithm]
            marker, dashes = markers[position % 4], ("-", "--", ":", "-.")[position % 4]
            shown = Look(f"{look.label}, level {level:g}", look.colour, dashes, marker)
            beside = 2 * position + (algorithm == "lrr") - (2 * len(times) - 1) / 2
            draw_line(axes, 100 * last.fraction.values + 0.6 * beside, last, "difference", shown, -100)


def panel_title(data: ResultTables, panel: str) -> str:
    """Return the title of a panel: its data set and its network."""
    return f"{PANEL.get(panel, panel)}, {data['levels'].network.sel(panel=panel).item()}"


def set_titles(data: ResultTables, panels: Mapping[str, Axes], more: str = "") -> None:
    """Give each panel a title that ends with `more`, and letters if there is more than one panel."""
    titles = {
        panel_title(data, panel) + (f"; {more}" if more else ""): axes for panel, axes in panels.items()
    }
    if len(titles) > 1:
        letters(titles)
        return
    for title, axes in titles.items():
        axes.set_title(title, loc="left")


def finish_figure(
    figure: Figure,
    data: ResultTables,
    panels: Iterable[Axes],
    panel: str = "",
    dots: str = "; dots: the seeds",
) -> Figure:
    """Add a common legend below the panels, and a warning above them if this is a smoke run.

    The title of the legend explains bars and dots, and cites the sources of published curves. If all axes
    show the same panel, pass its name as `panel`; the title then names it. `dots` is added to the title if
    there are two seeds. Return the figure.
    """
    handles: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    # Matplotlib lists lines before bars, so the means are the first entries. Move them to the end.
    handles = dict(sorted(handles.items(), key=lambda item: item[0].startswith("mean of ")))
    counts = data["means"].accuracy_n.values
    seeds = int(counts.max())
    marks = {1: "", 2: dots}.get(seeds, "; whiskers: 95 % $t$-intervals, side by side")
    notes = [f"{panel_title(data, panel)}; " if panel else ""]
    fewest = min(counts[counts > 0])
    number = f"{fewest} to {seeds}" if fewest < seeds else f"{seeds}"
    notes[0] += f"mean over {number} seeds{marks}" if seeds > 1 else "one seed"
    if "reference" in data:
        notes += [f"published: {source}" for source in dict.fromkeys(data["reference"].source.values)]
    wide = figure.get_figwidth() > style.COLUMN
    wrapped = "\n".join(line for note in notes for line in textwrap.wrap(note, 110 if wide else 52))
    columns = 2 if not wide else 4 if len(handles) == 4 else 3
    look: dict[str, Any] = {"loc": "outside lower center", "title_fontsize": 7.5}
    look["columnspacing"] = 1.2 if wide else 0.8
    legend = figure.legend(handles.values(), handles.keys(), ncols=columns, title=wrapped, **look)
    legend.get_title().set(linespacing=1.1, multialignment="center")
    if _config(data).get("profile") == "smoke":
        figure.suptitle(SMOKE, fontsize=9, color=style.VERMILION)
    return figure
