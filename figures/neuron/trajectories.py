"""The picture of a trajectory: its path in the plane (a, w_1), its weights and its loss against time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import AutoLocator

from figures import style
from figures.panels import draw_plane, letters, outcome_look, trajectories

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_SUCCESS = {"converged": 1.0, "trapped": 1.0, "dead": 0.0, "stuck": 0.0}
"""The value of success for each status. Any other status counts as undecided."""


def is_trajectory(data: xr.Dataset) -> bool:
    """Return whether a Dataset holds one or several trajectories."""
    return {"a", "w", "loss"} <= data.data_vars.keys() and {"time", "coordinate"} <= set(data.sizes)


def trajectory_panels(data: xr.Dataset) -> tuple[int, int, float, float]:
    """Return the rows and columns of the panels, and the width and height of the figure in inches."""
    return 1, 3, style.PAGE, 2.9


def draw_trajectory(data: xr.Dataset, panels: Sequence[Axes]) -> tuple[list[Artist], str]:
    """Draw one or several trajectories in the plane (a, w_1) and against time.

    Parameters
    ----------
    data : xr.Dataset
        One trajectory, as `singleneuron trajectory` writes it, with `a` and `loss` (time), `w` (time,
        coordinate) and the attribute `status`. Or several trajectories, with the further dimension `start`
        and the variable `success` (start).
    panels : Sequence[Axes]
        The axes for the plane (a, w_1), for the weights against time, and for the loss against time. If there
        is only one, it shows the plane.

    Returns
    -------
    tuple[list[Artist], str]
        Entries for a legend, and a note on the status.
    """
    paths = data if "start" in data.dims else _of_one(data)
    # A table read from CSV has all dimensions in every variable.
    first = {name: {"coordinate": 0} for name in ("a", "loss") if "coordinate" in paths[name].dims}
    paths = paths.assign({name: paths[name].isel(where, drop=True) for name, where in first.items()})
    one, inner = paths.sizes["start"] == 1, "w" if paths.sizes["coordinate"] == 1 else "w_1"
    paths = paths.transpose("start", "time", "coordinate", ...)
    handles = trajectories(panels[0], paths, "path")
    draw_plane(panels[0], "a", inner, moving=True)
    if len(panels) > 1:
        plane, weights, losses = panels
        plane.set_aspect("auto")
        plane.xaxis.set_major_locator(AutoLocator())
        plane.yaxis.set_major_locator(AutoLocator())
        plane.set(xlabel="$a(t)$", ylabel=f"${inner}(t)$")
        if one:
            _weights(weights, paths.isel(start=0), inner)
        for start in range(paths.sizes["start"]):
            path = paths.isel(start=start)
            if not one:
                weights.plot(path.time, path.w.isel(coordinate=0), **outcome_look(path))
            losses.plot(path.time, path.loss, **outcome_look(path))
        weights.set(xlabel="$t$", ylabel="weights" if one else f"${inner}(t)$")
        losses.set(xlabel="$t$", ylabel="loss")
        if 0 < 100 * float(paths.loss.min()) < float(paths.loss.max()):
            losses.set_yscale("log")
        letters({"path": plane, "weights" if one else f"${inner}$": weights, "loss": losses})
    return handles, f"status at the end: {data.attrs['status']}" if "status" in data.attrs else ""


def _of_one(data: xr.Dataset) -> xr.Dataset:
    """Add the dimension `start` and the variable `success` to a single trajectory."""
    success = _SUCCESS.get(str(data.attrs.get("status")), np.nan)
    return data.assign(success=success).expand_dims("start")


def _weights(axes: Axes, path: xr.Dataset, inner: str) -> None:
    """Draw a, w_1 and the norm of the other weights against time."""
    axes.axhline(0, color=style.GREY, linewidth=0.5)
    axes.plot(path.time, path.a, color=style.BLACK, label="$a$")
    axes.plot(path.time, path.w.isel(coordinate=0), color=style.PURPLE, linestyle="--", label=f"${inner}$")
    if path.sizes["coordinate"] > 1:
        others = np.linalg.norm(path.w.isel(coordinate=slice(1, None)).transpose("time", ...), axis=1)
        axes.plot(path.time, others, color=style.BROWN, linestyle="-.", label="$|w_2, ..., w_d|$")
    axes.legend()
