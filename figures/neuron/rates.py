"""The picture of a study: success rates against the factor with the most values.

The values of the other factors are shown in separate panels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from figures import style
from figures.neuron.rate_panels import UNDECIDED_LABEL, draw_rates, runs_of
from figures.panels import letters

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_FACTORS = {
    "d": ("input coordinates $d$", "$d = {}$"),
    "n": ("samples $n$", "$n = {}$"),
    "noise": ("label noise", "noise {}"),
    "init": ("distribution of the starts", "{} starts"),
    "scale": ("scale of the starts", "scale {}"),
    "learning_rate": ("learning rate", "rate {}"),
    "level_time": ("training time per level", "time {}"),
    "targets": ("target coordinates $k$", "$k = {}$"),
    "rewind_time": ("rewind time $t_k$", "$t_k = {}$"),
    "parameterization": ("parameterization", "{}"),
    "beta_a": (r"$\beta_a$", r"$\beta_a = {}$"),
    "beta_w": (r"$\beta_w$", r"$\beta_w = {}$"),
}
"""For each factor of a study, the label of its axis and the title of a panel."""
_ABSENT = {
    "n": "population",
    "level_time": "long levels",
    "learning_rate": "gradient flow",
}
"""For each factor, the meaning of a value that is not finite."""
MOST_PANELS = 9
_MOST_TICKS = 6


def is_study(data: xr.Dataset) -> bool:
    """Return whether a Dataset is a study of success rates."""
    return {"rate", "rate_low", "rate_high", "ci_low", "ci_high", "undecided"} <= data.data_vars.keys()


def study_panels(data: xr.Dataset) -> tuple[int, int, float, float]:
    """Return the rows and columns of a study's panels, and the width and height of its figure in inches.

    Raises
    ------
    ValueError
        If the study needs too many panels for one figure.
    """
    number = len(_points(data))
    if number > MOST_PANELS:
        across = _across(data)
        raise ValueError(
            f"a picture of a study must have at most {MOST_PANELS} panels, but with {across} on the x-axis, "
            f"{_and(_others(data))} need {number}; select values first, as in figures.plot(data.sel(...))"
        )
    columns = min(number, 3)
    rows = -(-number // columns)
    return rows, columns, style.COLUMN if number == 1 else style.PAGE, 0.9 + 2.2 * rows


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def draw_study(data: xr.Dataset, panels: Sequence[Axes]) -> tuple[list[Artist], str]:
    """Draw the rates of a study.

    Parameters
    ----------
    data : xr.Dataset
        A result of `singleneuron.success_rate`.
    panels : Sequence[Axes]
        The axes. There is one for each combination of values of the factors that are neither on the x-axis
        nor `algorithm`.

    Returns
    -------
    tuple[list[Artist], str]
        Entries for a legend, and a note on runs and intervals.
    """
    whole = data if "algorithm" in data.dims else data.expand_dims("algorithm")
    across, titles = _across(data), {}
    for place, axes in zip(_points(data), panels, strict=False):
        shown = whole.isel(place)
        for index in range(whole.sizes["algorithm"]):
            _series(axes, shown, across, index)
        axes.set(xlabel=_FACTORS[across][0] if across else "", ylim=(-0.02, 1.02))
        if not across:
            names = [str(name) for name in np.atleast_1d(shown.algorithm.values)]
            axes.set_xticks(range(len(names)), [style.LABEL.get(name, name) for name in names])
            axes.set_xlim(-0.5, len(names) - 0.5)
        titles[", ".join(_title(shown, name) for name in _others(data)) or runs_of(data)] = axes
    rows = study_panels(data)[1]
    for axes in list(panels)[::rows]:
        axes.set_ylabel("success rate")
    for axes in list(panels)[len(titles) :]:
        axes.set_visible(False)
    if len(titles) > 1:
        letters(titles)
    else:
        for title, axes in titles.items():
            axes.set_title(title, loc="left")
    return _legend(data, panels, runs_of(data) not in titles)


def _across(data: xr.Dataset) -> str:
    """Return the numeric factor with the most values, or '' if no numeric factor has several values."""
    sizes = {name: data.sizes[name] for name in _FACTORS if name in data.dims and name != "init"}
    longest = max(sizes, key=lambda name: sizes[name], default="")
    return longest if longest and sizes[longest] > 1 else ""


def _others(data: xr.Dataset) -> list[str]:
    """Return the factors whose values are shown in separate panels."""
    return [name for name in _FACTORS if name in data.dims and name != _across(data)]


def _points(data: xr.Dataset) -> list[dict[str, int]]:
    """Return, for each panel, the index of the value that it shows of each factor in `_others(data)`."""
    others = _others(data)
    places = itertools.product(*(range(data.sizes[name]) for name in others))
    return [dict(zip(others, place, strict=True)) for place in places]


def _title(point: xr.Dataset, name: str) -> str:
    value = point[name].item()
    if isinstance(value, float) and not math.isfinite(value):
        return _ABSENT.get(name, "")
    return _FACTORS[name][1].format(f"{value:g}" if isinstance(value, float) else value)


def _series(axes: Axes, shown: xr.Dataset, across: str, index: int) -> None:
    """Draw the rates of one algorithm, and the rates that theory predicts."""
    name = str(np.atleast_1d(shown.algorithm.values)[index])
    colour, marker = style.ALGORITHM.get(name, style.BLACK), style.MARKERS[index % len(style.MARKERS)]
    line = shown.isel(algorithm=index if across else [index])
    x, even = _positions(axes, line, across) if across else (line.rate.copy(data=[float(index)]), True)
    look: dict[str, Any] = {"color": colour, "marker": marker, "label": style.LABEL.get(name, name)}
    draw_rates(axes, x, line, **look)
    if f"curve_{across}" in line and not even:
        axes.plot(line[f"curve_{across}"], line.curve, color=colour, linestyle="--", linewidth=0.8)
    elif even:
        axes.hlines(line.predicted, x - 0.3, x + 0.3, color=colour, linestyle="--", linewidth=0.8)
    else:
        axes.plot(x, line.predicted, color=colour, linestyle="--", linewidth=0.8)


def _positions(axes: Axes, line: xr.Dataset, across: str) -> tuple[xr.DataArray, bool]:
    """Set up the x-axis for a factor; return the positions of its values, and whether they are evenly spaced.

    The positions are evenly spaced if any value is infinite, or if the values need a logarithmic axis but are
    not all positive.
    """
    values = line[across]
    finite = bool(np.isfinite(values).all())
    wide = finite and float(values.max()) > 10 * float(np.abs(values).min())
    if finite and not (wide and bool((values <= 0).any())):
        axes.set_xscale("log" if wide else "linear")
        if values.size <= _MOST_TICKS:
            axes.set_xticks(values, [f"{value:g}" for value in values.values])
            axes.minorticks_off()
        return values, False
    words = [f"{value:g}" if math.isfinite(value) else _ABSENT.get(across, "") for value in values.values]
    axes.set_xticks(range(len(words)), words)
    return values.copy(data=np.arange(values.size, dtype=float)), True


def _legend(data: xr.Dataset, panels: Sequence[Axes], with_runs: bool) -> tuple[list[Artist], str]:
    handles: list[Artist] = list(panels[0].get_legend_handles_labels()[0])
    if bool(data.predicted.notnull().any()):
        handles.append(Line2D([], [], color=style.GREY, linestyle="--", linewidth=0.8, label="theory"))
    note = f"bars: {data.attrs['interval']} intervals; seed {data.attrs['seed']}"
    if any(item.get_label() == UNDECIDED_LABEL for axes in panels for item in axes.collections):
        note += "; thick: what undecided runs leave open"
    return handles, f"{runs_of(data)}; {note}" if with_runs else note
