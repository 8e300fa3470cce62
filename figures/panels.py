"""Elements shared by several figures: success maps, trajectories in the plane, panel titles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator

from figures import style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

ResultTables = Mapping[str, "xr.Dataset"]
"""The tables of a result file by name, as `signflow.results.read` returns them."""

DOT: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 3.5, "markerfacecolor": "white"}

_END: dict[str, dict[str, Any]] = {
    style.SUCCESS: {"marker": "o", "markersize": 3.5},
    style.FAILURE: {"marker": "X", "markersize": 5, "markeredgewidth": 0},
    style.GREY: {"marker": "|", "markersize": 5},
}
"""The marker at the end of a trajectory, by the colour of its outcome."""


def draw_success_map(axes: Axes, space: xr.Dataset) -> list[Artist]:
    """Colour a map by simulated success, and draw the edge of the predicted region.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    space : xr.Dataset
        The map of one algorithm. `success` (a0, w0) is in [0, 1], or NaN if a run is undecided (drawn white)
        or if there is no start (drawn grey; `status` (a0, w0) is then -1). The predicted region is given by
        `predicted` (a0, w0) or by `edge` (edge_w0). If there is a variable `success_low`, `success` is a mean
        over several runs.

    Returns
    -------
    list[Artist]
        Entries for a legend.
    """
    success = space.success.transpose("w0", "a0")
    axes.pcolormesh(
        space.a0, space.w0, success, cmap=style.RATE, vmin=0, vmax=1, shading="nearest", rasterized=True
    )
    means = "success_low" in space
    dots: dict[str, Any] = {} if means else {"hatch": style.FAILURE_HATCH, "edgecolor": style.FAILURE_DOTS}
    if dots:
        _hatch(axes, success == 0, **dots)
    absent = success.isnull() & (space.status == -1 if "status" in space and not means else False)
    handles: list[Artist] = [
        Patch(facecolor=style.SUCCESS_FILL, label="success (simulated)" if not means else "mean success 1"),
        Patch(
            facecolor=style.FAILURE_FILL,
            label="failure (simulated)" if not means else "mean success 0",
            linewidth=0,
            **dots,
        ),
        *_edge(axes, space),
    ]
    if bool(absent.any()):
        handles.append(_no_start(axes, absent))
    if undecided := int((success.isnull() & ~absent).sum()):
        label = f"no verdict ({undecided} cell{'s' if undecided > 1 else ''})"
        handles.append(Patch(facecolor="white", edgecolor=style.GREY, linewidth=0.5, label=label))
    return handles


def _no_start(axes: Axes, cells: xr.DataArray) -> Artist:
    """Colour the cells that have no start."""
    shown = cells.where(cells).astype(float)
    grey = ListedColormap([style.ABSENT_FILL])
    axes.pcolormesh(cells.a0, cells.w0, shown, cmap=grey, shading="nearest", rasterized=True)
    return Patch(facecolor=style.ABSENT_FILL, label="no such start")


def _edge(axes: Axes, space: xr.Dataset) -> list[Artist]:
    """Draw the edge of the predicted region: the curve in the result or, without one, a line between cells.

    If the curve is the edge for the population instead of the samples, it is drawn as a dotted line.
    """
    look: dict[str, Any] = {
        "color": style.BLACK,
        "linestyle": "--",
        "linewidth": 1,
        "label": "predicted mean 1/2" if "success_low" in space else "predicted edge",
    }
    if "edge" in space:
        if "edge_of" in space and space.edge_of == "population":
            look |= {"linestyle": ":", "label": "edge predicted without noise, $n = \\infty$"}
        # In rows where every cell or no cell succeeds, the curve runs outside the map. Unlike `plot`,
        # `add_artist` does not change the limits of the axes.
        outside = 2 * float(space.a0[-1])
        edge = space.edge.clip(-outside, outside)
        axes.add_artist(Line2D(edge, space.edge_w0, **look))
    elif float(space.predicted.min()) < 0.5 < float(space.predicted.max()):
        predicted = space.predicted.transpose("w0", "a0").astype(float)
        axes.contour(
            space.a0, space.w0, predicted, levels=[0.5], colors=style.BLACK, linestyles="--", linewidths=1
        )
    else:
        return []
    return [Line2D([], [], **look)]


def wedge(axes: Axes, cells: xr.DataArray, label: str) -> Artist:
    """Hatch some cells of a map.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    cells : xr.DataArray
        (a0, w0) bool, True for the cells to hatch.
    label : str
        Legend text.

    Returns
    -------
    Artist
        An entry for a legend.
    """
    _hatch(axes, cells, "////", style.BLACK)
    return Patch(facecolor=style.SUCCESS_FILL, hatch="////", label=label)


def _hatch(axes: Axes, cells: xr.DataArray, hatch: str, edgecolor: str) -> None:
    """Hatch the cells that are True."""
    shown = cells.transpose("w0", "a0").astype(float)
    if not bool(shown.any()):
        return
    drawn = axes.contourf(cells.a0, cells.w0, shown, levels=[0.5, 1.5], colors="none", hatches=[hatch])
    drawn.set_edgecolor(edgecolor)
    drawn.set_linewidth(0)


def trajectories(axes: Axes, paths: xr.Dataset, label: str = "trajectory") -> list[Artist]:
    """Draw trajectories in the plane (a, w_1), with a ring at the start and a mark of the outcome at the end.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    paths : xr.Dataset
        `a` (start, time), `w` (start, time, coordinate) and `success` (start) of each trajectory.
    label : str
        What the legend calls a trajectory.

    Returns
    -------
    list[Artist]
        Entries for a legend.
    """
    for start in range(paths.sizes["start"]):
        path = paths.isel(start=start)
        look, w = outcome_look(path), path.w.isel(coordinate=0)
        axes.plot(path.a, w, **look)
        axes.plot(path.a[0], w[0], color=look["color"], **DOT)
        axes.plot(path.a[-1], w[-1], color=look["color"], **_END[look["color"]])
    words = {style.SUCCESS: "succeeds", style.FAILURE: "fails", style.GREY: "undecided"}
    looks = [outcome_look(paths.isel(start=start)) for start in range(paths.sizes["start"])]
    drawn = {look["color"]: look for look in looks}
    return [
        *(
            Line2D([], [], label=f"{label} {word}", **drawn[key], **_END[key], markevery=[-1])
            for key, word in words.items()
            if key in drawn
        ),
        Line2D([], [], color=style.GREY, label="start", **DOT),
    ]


def outcome_look(path: xr.Dataset) -> dict[str, Any]:
    """Return the look of a trajectory, which shows its outcome.

    Parameters
    ----------
    path : xr.Dataset
        A trajectory with `success`.

    Returns
    -------
    dict
        The colour and style of a matplotlib line. Success is shown by `style.SUCCESS` and a solid line,
        failure by `style.FAILURE` and a dashed line, and an undecided outcome by `style.GREY` and a dotted
        line.
    """
    if bool(path.success.isnull()):
        return {"color": style.GREY, "linestyle": ":"}
    if path.success == 1:
        return {"color": style.SUCCESS, "linestyle": "-"}
    return {"color": style.FAILURE, "linestyle": style.FAILURE_LINE}


def draw_plane(axes: Axes, x: str, y: str, moving: bool = False) -> None:
    """Draw lines at 0 and label the axes of a map whose points are starts.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    x, y : str
        Names of the two coordinates, such as 'a' and 'w_1'.
    moving : bool
        Whether the plane also shows trajectories, so that the axes are labelled for time t as well as 0.
    """
    axes.axhline(0, color=style.GREY, linewidth=0.5, zorder=1.5)
    axes.axvline(0, color=style.GREY, linewidth=0.5, zorder=1.5)
    labels = (f"${name}(0)$, ${name}(t)$" if moving else f"${name}(0)$" for name in (x, y))
    axes.set(xlabel=next(labels), ylabel=next(labels), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MultipleLocator(1))


def letters(panels: Mapping[str, Axes]) -> None:
    """Give panels titles that begin with the letters (a), (b), and so on.

    Parameters
    ----------
    panels : Mapping[str, Axes]
        Axes by title, in the order of the letters.
    """
    for letter, (title, axes) in zip("abcdefghi", panels.items(), strict=False):
        axes.set_title(f"({letter}) {title}", loc="left")
