"""The sketch of the network above a map, and the curve of its minima."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from figures import style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_HIDDEN, _OUTPUT = 1.25, 2.05
"""The horizontal positions of the hidden neuron and of the output, in inches. The inputs are at 0.2."""


def network_height(d: int) -> float:
    """Return the height of the sketch in inches."""
    return 0.42 if d == 1 else 0.85


def draw_network(above: Axes, d: int) -> None:
    """Sketch the network above a map: inputs, a hidden ReLU neuron with weights w, and the output weight a.

    Parameters
    ----------
    above : Axes
        The axes of the square map. The figure must have room above them.
    d : int
        Number of inputs. All inputs except the first are drawn as pruned.
    """
    width, height = 2.7, network_height(d)
    axes = above.inset_axes((0, 1.02, 1, height / width), label="network")
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    middle = height / 2
    node: dict[str, Any] = {"facecolor": "white", "edgecolor": style.BLACK, "linewidth": 0.8, "zorder": 2}
    text: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
    inputs = [(middle, "")] if d == 1 else [(height - 0.13, "_1"), (0.13, "_d")]
    for y, index in inputs:
        pruned = index == "_d"
        look: dict[str, Any] = (
            {"color": style.GREY, "ls": ":", "lw": 1} if pruned else {"color": style.BLACK, "lw": 1}
        )
        axes.plot([0.2, _HIDDEN], [y, middle], zorder=1, **look)
        axes.add_patch(Circle((0.2, y), 0.12, **node | {"edgecolor": look["color"]}))
        axes.text(0.2, y, f"$x{index}$", **text)
        if not pruned:
            axes.text(0.7, (y + middle) / 2 + 0.09, f"$w{index}$", **text)
    if d > 1:
        axes.text(0.2, middle, r"$\vdots$", **text)
        axes.text(0.62, 0.07, r"$w_2, \ldots, w_d$: pruned", color=style.GREY, **text | {"ha": "left"})
    axes.plot([_HIDDEN, _OUTPUT], [middle, middle], color=style.BLACK, lw=1, zorder=1)
    axes.text((_HIDDEN + _OUTPUT) / 2 + 0.05, middle + 0.09, "$a$", **text)
    axes.add_patch(Circle((_HIDDEN, middle), 0.17, **node))
    bend = np.array([-0.11, 0.0, 0.1])
    axes.plot(_HIDDEN + bend, middle - 0.05 + np.maximum(bend, 0), color=style.BLACK, lw=1, zorder=3)
    product = "w x" if d == 1 else r"w \cdot x"
    axes.text(_OUTPUT + 0.03, middle, rf"$a\,\mathrm{{relu}}({product})$", **text | {"ha": "left"})


def draw_minima(axes: Axes, inner: str) -> list[Artist]:
    """Draw the curve a w = 1 of the minima with a > 0, in a map over a and w.

    Parameters
    ----------
    axes : Axes
        The axes of the map. Their limits do not change.
    inner : str
        Name of the inner weight, such as 'w_1'.

    Returns
    -------
    list[Artist]
        An entry for a legend.
    """
    a = np.geomspace(0.05, 20, 400)
    look: dict[str, Any] = {"color": style.BLACK, "linestyle": "-.", "linewidth": 0.8}
    axes.add_artist(Line2D(a, 1 / a, zorder=1.8, **look))
    return [Line2D([], [], label=f"minima, $a {inner} = 1$", **look)]
