"""Draw any result from Python: `figures.plot`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from figures import style
from signflow.provenance import source_digest
from signflow.results import read

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def plot(
    data: xr.Dataset | Mapping[str, xr.Dataset] | str | Path, ax: Any = None
) -> Axes | np.ndarray[Any, np.dtype[np.object_]]:
    """Draw a result.

    Parameters
    ----------
    data : xr.Dataset | Mapping[str, xr.Dataset] | str | Path
        A result of `singleneuron.success_map`, `success_rate`, `presets.run` or `signflow.read`, or the path
        of a result file.
    ax : Axes or sequence of Axes, optional
        The axes to draw into. A map needs one for each algorithm, a study one for each panel, and a
        trajectory three (or one, which then shows only the path). By default, a new figure of pyplot is made.
        `ax` must be left out for the results of presets and recipes, because their panels belong together.

    Returns
    -------
    Axes or ndarray of Axes, shape (panels,)
        The axes of the only panel, or an array of the axes of all panels.

    Raises
    ------
    ValueError
        If nothing in the data can be drawn, if `ax` has too few axes or must be left out, or if the file
        cannot be read. The message is one line.

    Examples
    --------
    >>> import figures, singleneuron as sn
    >>> axes = figures.plot(sn.success_map(d=2, resolution=9))
    >>> [panel.get_title("left") for panel in axes]
    ['(a) IMP, $d = 2$', '(b) LRR, $d = 2$']
    """
    import xarray as xr

    from figures import kinds

    name = "the data"
    if isinstance(data, str | Path):
        name, data = f"'{data}'", read(data)
        warn_if_outdated(name, data)
    if not isinstance(data, xr.Dataset | Mapping):
        raise ValueError(
            f"data must be a Dataset, tables by name or the path of a result file, got {type(data).__name__}"
        )
    if ax is None:
        from matplotlib import pyplot

        figure = pyplot.figure(kinds.figure_of(data, name))
        return _one_or_all([axes for axes in figure.axes if axes.get_visible()])
    if not isinstance(data, xr.Dataset):
        raise ValueError(
            f"ax must be left out if the data are tables by name, but {name} holds {', '.join(data)}; "
            "pass one of the tables, or leave out ax"
        )
    kind, panels = kinds.kind_of(data, name), [*np.atleast_1d(np.asarray(ax, dtype=object)).ravel()]
    with style.styled():
        rows, columns, *_ = kind.panels(data)
        if len(panels) < rows * columns and (kind.name, len(panels)) != ("trajectory", 1):
            raise ValueError(f"ax must hold {rows * columns} axes for this {kind.name}, got {len(panels)}")
        handles, _ = kind.draw(data, panels)
        panels[0].legend(handles=handles)
    return _one_or_all(panels)


def _one_or_all(panels: list[Axes]) -> Axes | np.ndarray[Any, np.dtype[np.object_]]:
    """Return the only axes or, if there are several, an array of all axes."""
    if len(panels) == 1:
        return panels[0]
    made = np.empty(len(panels), dtype=object)
    made[:] = panels
    return made


def warn_if_outdated(name: str, data: xr.Dataset | Mapping[str, xr.Dataset]) -> None:
    """Warn, in one line, if a result was made by sources that differ from those of this installation.

    Parameters
    ----------
    name : str
        What the warning calls the result.
    data : xr.Dataset | Mapping[str, xr.Dataset]
        The result; if it does not record its sources, there is no warning.
    """
    import xarray as xr

    first = data if isinstance(data, xr.Dataset) else next(iter(data.values()), xr.Dataset())
    made = str(first.attrs.get("source_digest", ""))
    if made and made != source_digest():
        logging.getLogger(__name__).warning(
            "%s was made by different sources (%s, not %s); recreate it if that matters",
            name, made[:12], source_digest()[:12],
        )  # fmt: skip
