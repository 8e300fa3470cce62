"""The picture of a success map, with one panel for each algorithm."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from figures import style
from figures.panels import draw_plane, draw_success_map, letters

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_SETTINGS = {
    "n": "$n = {}$ samples",
    "noise": "noise {}",
    "learning_rate": "learning rate {}",
    "level_time": "time per level {}",
    "levels": "{} prunings",
    "rewind_time": "WR to $t_k = {}$",
    "average": "mean of {} draws of the other weights",
}
"""The words with which the note of a map names a setting that differs from its default."""


def is_map(data: xr.Dataset) -> bool:
    """Return whether a Dataset is a success map."""
    return {"success", "a0", "w0"} <= data.variables.keys() and {"a0", "w0"} <= set(data.sizes)


def map_panels(data: xr.Dataset) -> tuple[int, int, float, float]:
    """Return the rows and columns of a map's panels, and the width and height of its figure in inches."""
    columns = data.sizes.get("algorithm", 1)
    width, height = ((style.COLUMN, 4.0), (style.PAGE, 4.2), (style.PAGE, 3.5))[min(columns, 3) - 1]
    return 1, columns, width, height


def draw_map(data: xr.Dataset, panels: Sequence[Axes]) -> tuple[list[Artist], str]:
    """Draw a success map.

    Parameters
    ----------
    data : xr.Dataset
        A result of `singleneuron.success_map`, with `success` (algorithm, a0, w0), or (a0, w0) for a single
        algorithm.
    panels : Sequence[Axes]
        The axes, one for each algorithm.

    Returns
    -------
    tuple[list[Artist], str]
        Entries for a legend, and a note on the settings.
    """
    several = data if "algorithm" in data.dims else data.expand_dims("algorithm")
    d = int(data.attrs["d"]) if "d" in data.attrs else None
    handles: dict[str, Artist] = {}
    titles = {}
    for index, axes in enumerate(panels):
        space = several.isel(algorithm=index)
        for handle in draw_success_map(axes, space):
            handles.setdefault(str(handle.get_label()), handle)
        draw_plane(axes, "a", "w" if d == 1 else "w_1")
        name = str(space.algorithm.values) if "algorithm" in space.coords else ""
        titles[style.LABEL.get(name, name) + ("" if d is None else f", $d = {d}$")] = axes
    if len(titles) > 1:
        letters(titles)
    else:
        for title, axes in titles.items():
            axes.set_title(title.removeprefix(", "))
    return list(handles.values()), _note(data)


def _note(data: xr.Dataset) -> str:
    """Return a note on the settings of a map that differ from their defaults."""
    config: dict[str, Any] = json.loads(data.attrs.get("config", "{}"))
    known = {key: config.get(key) for key in _SETTINGS}
    said = [
        _SETTINGS[key].format(f"{value:g}" if isinstance(value, float) else value)
        for key, value in known.items()
        if value not in (None, 0.0, "inf") and (key, value) != ("levels", 1)
    ]
    if config.get("parameterization") == "sign-in":
        betas = (f"{float(config.get(name, 1.0)):g}" for name in ("beta_a", "beta_w"))
        said.append(r"Sign-In, $\beta_a = {}$, $\beta_w = {}$".format(*betas))
    if config.get("imp") == "rebalance":
        said.append("IMP rebalanced")
    if config.get("n") is not None:
        said.append(f"seed {config.get('seed')}")
    return "; ".join(said)
