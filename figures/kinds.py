"""The kinds of result that are drawn according to their contents, and the figures that are drawn by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure, FigureBase

from figures import style
from figures.deep import converged, experiments
from figures.neuron import maps, rates, samples, sign_in, studies, theorems, trajectories
from figures.panels import ResultTables

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    Data = xr.Dataset | Mapping[str, xr.Dataset]

THEOREMS: dict[str, Callable[[ResultTables], Figure]] = {
    **theorems.FIGURES,
    **samples.FIGURES,
    **sign_in.THEOREMS,
}
"""The figures of the theorem presets, by name."""
STUDIES: dict[str, Callable[[ResultTables], Figure]] = {**studies.FIGURES, **sign_in.STUDIES}
"""The figures of the studies, by name."""
DEEP: dict[str, Callable[[ResultTables], Figure]] = {**experiments.FIGURES, **converged.FIGURES}
"""The figures of the recipes, by name."""
NAMED: dict[str, Callable[[ResultTables], Figure]] = THEOREMS | STUDIES | DEEP
"""All figures that are drawn by name."""


def result_of(name: str) -> str:
    """Return the name of the result from which the figure `name` is drawn.

    A figure has the name of its result, unless it is one of the figures that share a result.
    """
    return next(iter(converged.FIGURES)) if name in converged.FIGURES else name


_TABLES = {
    "fig1a": "map field paths",
    "fig1b": "map paths",
    "fig1c": "map paths",
    "unbalanced": "map paths",
    "fig2a": "population samples sample_flow",
    "noise_wedge": "map crossings",
    "angle": "flows",
    "conservation": "line dense",
    "sliding": "slide",
    "noise_map": "map",
    "sign_in": "plain sign_in",
    "rate_beta": "keep rebalanced",
    "rate_d": "balanced independent",
    "rate_rewind": "rates",
    "rate_samples": "samples samples_law noise noise_law",
    "rate_step": "descent hops",
    "rate_scale": "population samples",
    "rate_time": "one several",
    "rate_targets": "rates rebalanced limit",
}
"""The tables of a preset's result, by the name of its figure."""


@dataclass(frozen=True)
class Kind:
    """A kind of table that a command writes, and its picture.

    Attributes
    ----------
    name : str
        The command that writes the table.
    shows : str
        A description of the picture.
    holds : callable
        Returns whether a Dataset is of this kind.
    panels : callable
        Returns the numbers of rows and columns of panels, and the width and height of the picture in inches.
    draw : callable
        Draws a Dataset into panels; returns the entries and the title of a legend.
    """

    name: str
    shows: str
    holds: Callable[[xr.Dataset], bool]
    panels: Callable[[xr.Dataset], tuple[int, int, float, float]]
    draw: Callable[[xr.Dataset, Sequence[Axes]], tuple[list[Artist], str]]


KINDS = (
    Kind(
        "map", "success over (a(0), w_1(0)), with a panel for each algorithm",
        maps.is_map, maps.map_panels, maps.draw_map,
    ),
    Kind(
        "study", "success rates against the factor with the most values, with panels for the other factors",
        rates.is_study, rates.study_panels, rates.draw_study,
    ),
    Kind(
        "trajectory", "the path in the plane (a, w_1), and weights and loss against time",
        trajectories.is_trajectory, trajectories.trajectory_panels, trajectories.draw_trajectory,
    ),
)  # fmt: skip
"""The kinds of table that have a picture of their own."""


def kind_of(data: xr.Dataset, name: str = "the data") -> Kind:
    """Return the kind of a table.

    Parameters
    ----------
    data : xr.Dataset
        The table.
    name : str
        What an error message calls the table.

    Returns
    -------
    Kind
        The kind.

    Raises
    ------
    ValueError
        If the table is not of a kind that can be drawn.
    """
    for kind in KINDS:
        if kind.holds(data):
            return kind
    raise ValueError(
        f"{name} must be a map, a study or a trajectory, but holds {_listed(data.data_vars)}; pass a result "
        "of `singleneuron` or `deepexp reduce`"
    )


def figure_of(data: Data, name: str = "the data") -> Figure:
    """Draw a result according to its contents.

    Parameters
    ----------
    data : xr.Dataset | Mapping[str, xr.Dataset]
        A map, a study, a trajectory, the tables of a preset, the tables of a recipe, or any other tables.
        Among other tables, only the maps, studies and trajectories are drawn.
    name : str
        What an error message calls the data.

    Returns
    -------
    Figure
        The figure.

    Raises
    ------
    ValueError
        If nothing in the data can be drawn. The message is one line.
    """
    if isinstance(data, xr.Dataset):
        return _table_figure({"": data}, name)
    if (draw := _layout(data)) is not None:
        return draw(data)
    drawable = {label: table for label, table in data.items() if any(kind.holds(table) for kind in KINDS)}
    if not drawable:
        raise ValueError(
            f"{name} must hold a map, a study, a trajectory, or the tables of a preset or a recipe, "
            f"but holds {_listed(data)}; pass a result of `singleneuron` or `deepexp reduce`"
        )
    return _table_figure(drawable, name)


@style.styled()
def _table_figure(tables: ResultTables, name: str) -> Figure:
    """Draw tables one below the other, each as the picture of its kind."""
    kinds = [kind_of(table, name) for table in tables.values()]
    shapes = [kind.panels(table) for kind, table in zip(kinds, tables.values(), strict=True)]
    heights = [height for *_, height in shapes]
    figure = Figure(figsize=(max(width for *_, width, _ in shapes), sum(heights)))
    several = len(tables) > 1
    parts: list[FigureBase] = [figure]
    if several:
        parts = [*figure.subfigures(len(tables), 1, height_ratios=heights, squeeze=False)[:, 0]]
    for part, kind, (rows, columns, width, _), (label, table) in zip(
        parts, kinds, shapes, tables.items(), strict=True
    ):
        panels = [*part.subplots(rows, columns, squeeze=False).ravel()]
        handles, note = kind.draw(table, panels)
        if several:
            part.suptitle(label, fontsize=9)
        look: dict[str, Any] = {"ncols": 2 if width == style.COLUMN else 4, "title_fontsize": 8}
        part.legend(handles=handles, loc="outside lower center", title=_wrapped(note, width), **look)
    return figure


def _wrapped(note: str, width: float) -> str | None:
    import textwrap

    return "\n".join(textwrap.wrap(note, 48 if width == style.COLUMN else 110)) or None


def _layout(data: ResultTables) -> Callable[[ResultTables], Figure] | None:
    """Return the function that draws the result of a preset or of a recipe; None for other tables."""
    config = json.loads(next(iter(data.values()), xr.Dataset()).attrs.get("config", "{}"))
    if {"levels", "means", "paired"} <= data.keys():
        return DEEP.get(config.get("recipe", ""), experiments.accuracy)
    names = [name for name, tables in _TABLES.items() if set(tables.split()) == data.keys()]
    return next((NAMED[name] for name in names if _fits(name, data)), None)


def _fits(name: str, data: ResultTables) -> bool:
    """Return whether `data` is the result for the figure `name`, given that the names of its tables match."""
    if "map" not in data:
        return name != "rate_rewind" or "curve_rewind_time" in data["rates"].dims
    line = int(data["map"].attrs.get("d", 0)) == 1
    algorithms = np.atleast_1d(data["map"].algorithm.values).tolist()
    if name in ("fig1b", "fig1c"):
        return not line and algorithms == [{"fig1b": "imp", "fig1c": "lrr"}[name]]
    if name == "noise_map":
        return not line and algorithms == ["imp", "lrr"] and "n" in data["map"].attrs
    return line


def _listed(names: Any) -> str:
    found = [str(name) for name in names]
    return f"{', '.join(found[:5])}{' and more' if len(found) > 5 else ''}" if found else "nothing"
