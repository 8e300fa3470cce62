"""Panels that several figures share: success maps, trajectories in their plane, titles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator

from figures import style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

Data = Mapping[str, "xr.Dataset"]

DOT: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 3.5, "markerfacecolor": "white"}


def success_map(axes: Axes, space: xr.Dataset) -> list[Artist]:
    """Fill by simulated success (undecided stays white), and draw the edge of the predicted region."""
    success = space.success.transpose("w0", "a0")
    axes.pcolormesh(
        space.a0, space.w0, success, cmap=style.RATE, vmin=0, vmax=1, shading="nearest", rasterized=True
    )
    handles: list[Artist] = [
        Patch(facecolor=style.SUCCESS_FILL, label="success (simulated)"),
        Patch(facecolor=style.FAILURE_FILL, label="failure (simulated)"),
        *_edge(axes, space),
    ]
    if undecided := int(success.isnull().sum()):
        label = f"no verdict ({undecided} cell{'s' if undecided > 1 else ''})"
        handles.append(Patch(facecolor="white", edgecolor=style.GREY, linewidth=0.5, label=label))
    return handles


def _edge(axes: Axes, space: xr.Dataset) -> list[Artist]:
    """The edge of the predicted region: its curve where the result holds one, else between the cells.

    Dotted where it is the population's, for samples that theory has no edge for.
    """
    look: dict[str, Any] = {
        "color": style.BLACK,
        "linestyle": "--",
        "linewidth": 1,
        "label": "predicted edge",
    }
    if "edge" in space:
        if "edge_of" in space and space.edge_of == "population":
            look |= {"linestyle": ":", "label": "edge of the population"}
        # Where all or none of the map succeeds the curve runs outside; an artist leaves the limits alone.
        outside = 2 * float(space.a0[-1])
        edge = space.edge.clip(-outside, outside)
        axes.add_artist(Line2D(edge, space.edge_w0, **look))
    elif bool(space.predicted.notnull().any()):
        predicted = space.predicted.transpose("w0", "a0").astype(float)
        axes.contour(
            space.a0, space.w0, predicted, levels=[0.5], colors=style.BLACK, linestyles="--", linewidths=1
        )
    else:
        return []
    return [Line2D([], [], **look)]


def wedge(axes: Axes, cells: xr.DataArray, label: str) -> Artist:
    """Hatch those cells (a0, w0) of a map."""
    shown = cells.transpose("w0", "a0").astype(float)
    axes.contourf(cells.a0, cells.w0, shown, levels=[0.5, 1.5], colors="none", hatches=["////"])
    return Patch(facecolor=style.SUCCESS_FILL, hatch="////", label=label)


def trajectories(axes: Axes, paths: xr.Dataset, label: str = "trajectory") -> list[Artist]:
    """Trajectories in the (a, w_1) plane, from a ring at the start to a dot at the end."""
    for start in range(paths.sizes["start"]):
        path = paths.isel(start=start)
        colour, w = outcome_colour(path), path.w.isel(coordinate=0)
        axes.plot(path.a, w, color=colour)
        axes.plot(path.a[0], w[0], color=colour, **DOT)
        axes.plot(path.a[-1], w[-1], "o", color=colour, markersize=3.5)
    words = {style.SUCCESS: "succeeds", style.FAILURE: "fails"}
    drawn = {outcome_colour(paths.isel(start=start)) for start in range(paths.sizes["start"])}
    return [
        *(Line2D([], [], color=key, label=f"{label} {word}") for key, word in words.items() if key in drawn),
        Line2D([], [], color=style.GREY, label=r"start ($\bullet$ end)", **DOT),
    ]


def outcome_colour(path: xr.Dataset) -> str:
    return style.SUCCESS if path.success == 1 else style.FAILURE


def plane(axes: Axes, x: str, y: str, moving: bool = False) -> None:
    """Axes of a map over the start; `moving`: trajectories move over it, too."""
    axes.axhline(0, color=style.GREY, linewidth=0.5, zorder=1.5)
    axes.axvline(0, color=style.GREY, linewidth=0.5, zorder=1.5)
    labels = (f"${name}(0)$, ${name}(t)$" if moving else f"${name}(0)$" for name in (x, y))
    axes.set(xlabel=next(labels), ylabel=next(labels), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MultipleLocator(1))


def letters(panels: Mapping[str, Axes]) -> None:
    for letter, (title, axes) in zip("abcdef", panels.items(), strict=False):
        axes.set_title(f"({letter}) {title}", loc="left")
