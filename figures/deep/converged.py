"""The figures of the recipe `laptop-converged`, one for each of its questions.

As in `experiments`, they are pure functions from the Datasets in a result file to a Figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.deep.curves import FEWEST, LOOKS, Look, curves, dodge, draw_line, gaps, look_of, set_density_axis
from figures.deep.panels import finish_figure, panel_title, panels_of, set_titles
from figures.panels import ResultTables, letters

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

MAIN = ("imp", "wr", "lrr", "imp-on-lrr", "lrr-on-imp", "signs-on-lrr")
PAIRS = (
    ("lrr", "imp", "LRR $-$ IMP"),
    ("lrr", "wr", "LRR $-$ WR"),
    ("imp-on-lrr", "imp", "IMP: LRR's masks $-$ own"),
    ("lrr-on-imp", "lrr", "LRR: IMP's masks $-$ own"),
    ("signs-on-lrr", "imp-on-lrr", "LRR's masks: LRR's signs $-$ initial"),
    ("imp-cycles", "imp", "IMP: LRR's number of cycles $-$ one"),
    ("imp-p0.25-l3", "imp", "IMP: 25 % of signs flipped $-$ none"),
    ("lrr-p0.25-l3", "lrr", "LRR: 25 % of signs flipped $-$ none"),
    ("lrr-erk", "imp-erk", "random ERK masks: LRR $-$ IMP"),
    ("lrr-w0.25", "imp-w0.25", "width 0.25: LRR $-$ IMP"),
    ("lrr-w0.5", "imp-w0.5", "width 0.5: LRR $-$ IMP"),
    ("lrr-sign-in", "lrr", "LRR: Sign-In $-$ plain"),
    ("erk-sign-in-0.2", "erk-0.2", "ERK mask, density 0.2: Sign-In $-$ plain"),
    ("erk-sign-in-0.1", "erk-0.1", "ERK mask, density 0.1: Sign-In $-$ plain"),
    ("erk-sign-in-0.05", "erk-0.05", "ERK mask, density 0.05: Sign-In $-$ plain"),
)
"""The pairs that `differences` compares: an arm, its baseline, and the label of the row."""
OWNERS = {
    "imp": Look("IMP's last mask", LOOKS["imp"].colour),
    "lrr": Look("LRR's last mask", LOOKS["lrr"].colour, "--", "s"),
}


@style.styled()
def accuracy(data: ResultTables) -> Figure:
    """Draw test accuracy and, below, its difference from IMP against density, for the arms in `MAIN`.

    The tables are `means` and `levels`, as for `experiments.accuracy`, and `paired` (panel, arm, baseline,
    level).
    """
    panels = _with_runs(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 5.2))
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col")
    for (above, below), panel in zip(grid.T, panels, strict=True):
        curves(above, data, panel, {arm: arm for arm in _arms(data)}, ticks=5)
        gaps(below, data, panel, [arm for arm in _arms(data) if arm != "imp"], "imp")
        above.set_xlabel("")
    for axes in grid[:, 1:].ravel():
        axes.set_ylabel("")
    set_titles(data, dict(zip(panels, grid[0], strict=True)))
    return finish_figure(figure, data, grid.ravel())


@style.styled()
def signs(data: ResultTables) -> Figure:
    """Draw the share of weights with the sign of LRR's last ticket, against density and epochs of level 0.

    The ticket consists of LRR's last mask and last signs. The upper panels show the share after each level of
    the arms in `MAIN`, and the lower panels show it after each epoch of level 0. The table `alignment` has
    these shares over (panel, arm, level) and (panel, arm, epoch). They count only weights of the ticket that
    are alive in the run.
    """
    panels = _with_runs(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 4.6))
    grid = figure.subplots(2, len(panels), squeeze=False, sharey="row")
    for (above, below), panel in zip(grid.T, panels, strict=True):
        table = data["alignment"].sel(panel=panel)
        _by_density(above, data, panel, {arm: table.sel(arm=arm) for arm in _arms(data)}, "alignment")
        dense = table.sel(arm="lrr").isel(
            epoch=np.flatnonzero(table.epoch_alignment_mean.sel(arm="lrr").notnull())
        )
        look = Look("level 0, which all arms share", style.BLACK, ":", ".")
        draw_line(below, dense.epoch.values, dense, "epoch_alignment", look, 100)
        below.set_xlabel("epoch of level 0")
    grid[0, 0].set_ylabel("signs of LRR's ticket (%)")
    grid[1, 0].set_ylabel("signs of LRR's ticket (%)")
    set_titles(data, dict(zip(panels, grid[0], strict=True)))
    return finish_figure(figure, data, grid.ravel(), dots="")


@style.styled()
def masks(data: ResultTables) -> Figure:
    """Draw the share of weights that two masks have in common, against density.

    The masks come from two arms with the same seed, or from one arm with two seeds. A dotted line shows the
    share expected of random masks with the same density in every layer. The tables `overlap` (panel, arm,
    level, baseline) and `seed_overlap` (panel, arm, level) have the measured and the expected shares.
    """
    panels = _with_runs(data)
    figure = Figure(figsize=(style.COLUMN if len(panels) == 1 else style.PAGE, 2.9))
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, panel in zip(grid, panels, strict=True):
        between = data["overlap"].sel(panel=panel, baseline="lrr")
        seeds = data["seed_overlap"].sel(panel=panel)
        rows = {
            Look("IMP and LRR, same seed", style.BLACK): between.sel(arm="imp"),
            Look("WR and LRR, same seed", LOOKS["wr"].colour, "-", "^"): between.sel(arm="wr"),
            Look("IMP, two seeds", LOOKS["imp"].colour, "--", "v"): seeds.sel(arm="imp"),
            Look("LRR, two seeds", LOOKS["lrr"].colour, "--", "D"): seeds.sel(arm="lrr"),
        }
        _by_density(axes, data, panel, rows, "overlap")
        chance = between.sel(arm="imp").assign(density=data["means"].density.sel(panel=panel, arm="imp"))
        x = 100 * chance.density.values
        axes.plot(x, 100 * chance.chance_mean.values, ":", color=style.GREY, label="random masks", lw=1)
    grid[0].set_ylabel("weights in both masks (%)")
    set_titles(data, dict(zip(panels, grid, strict=True)))
    return finish_figure(figure, data, grid, dots="")


@style.styled()
def controls(data: ResultTables) -> Figure:
    """Draw the accuracy of initial weights trained once on the last mask of IMP or LRR, against the epochs.

    A second panel shows the density of each layer in these masks. The tables are `means` (panel, arm, level)
    and `layers` (panel, arm, level, layer). In `means`, the arms are called last-OWNER-EPOCHS and
    last-OWNER-warm-up, where OWNER is the owner of the mask, and each has one level.
    """
    panel = panels_of(data)[0]
    means, layers = data["means"].sel(panel=panel, level=0), data["layers"].sel(panel=panel)
    figure = Figure(figsize=(style.PAGE, 3.0))
    left, right = figure.subplots(1, 2)
    for shift, (owner, look) in zip((0.98, 1.02), OWNERS.items(), strict=True):
        found = {
            arm.removeprefix(f"last-{owner}-"): arm for arm in means.arm.values if f"last-{owner}-" in arm
        }
        epochs = sorted(int(name) for name in found if name.isdigit())
        rows = means.sel(arm=[found[str(number)] for number in epochs])
        draw_line(left, shift * np.array(epochs), rows, "accuracy", look, 100)
        warm = Look(f"{look.label}, after a warm-up", look.colour, "", "P" if owner == "imp" else "X")
        draw_line(left, [0.9 * shift * epochs[0]], means.sel(arm=[found["warm-up"]]), "accuracy", warm, 100)
        last = layers.sel(arm=owner).isel(level=-1)
        draw_line(right, np.arange(last.sizes["layer"]) + 5 * (shift - 1), last, "density", look, 100)
    left.set(xscale="log", xlabel="epochs on the last mask", ylabel="test accuracy (%)")
    left.set_xticks(epochs, [str(number) for number in epochs])
    left.minorticks_off()
    right.set(yscale="log", xlabel="layer", ylabel="density of the layer (%)")
    right.set_xticks(range(layers.sizes["layer"]), [str(1 + i) for i in range(layers.sizes["layer"])])
    right.yaxis.set_major_formatter("{x:g}")
    right.yaxis.set_minor_formatter("")
    letters({"initial weights, trained once": left, "the last masks, layer by layer": right})
    for line in right.get_lines():
        line.set_label("_")
    return finish_figure(figure, data, [left], panel, dots="")


@style.styled()
def differences(data: ResultTables) -> Figure:
    """Draw paired differences in accuracy, averaged over densities of at most 20 %, with 95 % intervals.

    There is a row for each pair in `PAIRS` whose two arms are complete for at least one seed. The table `low`
    (panel, arm, baseline, at_most) has the differences.
    """
    panels = _with_runs(data)
    rows = [pair for pair in PAIRS if any(_seeds_of(data, panel, pair) for panel in panels)]
    figure = Figure(figsize=(style.PAGE, 1.3 + 0.2 * len(rows)))
    axes = figure.subplots()
    axes.axvline(0, color=style.GREY, linewidth=0.5)
    for position, panel in enumerate(panels):
        place = 0.5 * ((len(panels) - 1) / 2 - position) / max(len(panels), 1)
        drawn = [(i, pair) for i, pair in enumerate(rows) if _seeds_of(data, panel, pair)]
        found = [_low(data, panel, pair) for _, pair in drawn]
        mean, low, high = (
            100 * np.array([float(row[f"difference_{part}"]) for row in found])
            for part in ("mean", "low", "high")
        )
        enough = [int(row.difference_n) >= FEWEST for row in found]
        y = np.array([len(rows) - 1 - i + place for i, _ in drawn])
        bars = np.where(enough, [mean - low, high - mean], np.nan)
        look: dict[str, Any] = {"color": style.SERIES[position], "marker": style.MARKERS[position], "ms": 4}
        axes.errorbar(mean, y, xerr=bars, linestyle="", elinewidth=1, label=panel_title(data, panel), **look)
    axes.set_yticks(range(len(rows)), [label for *_, label in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("difference in test accuracy, mean over densities of at most 20 % (pp)")
    axes.grid(axis="y", linewidth=0.3)
    return finish_figure(figure, data, [axes], dots="; no interval is drawn for two")


def _with_runs(data: ResultTables) -> list[str]:
    """Return the panels that have a complete run."""
    runs = data["means"].accuracy_n.max(["arm", "level"])
    return [panel for panel in panels_of(data) if int(runs.sel(panel=panel)) > 0]


def _arms(data: ResultTables) -> list[str]:
    return [arm for arm in MAIN if arm in data["means"].arm.values]


def _by_density(axes: Axes, data: ResultTables, panel: str, rows: Any, name: str) -> None:
    """Draw the means of `name` for each row against the density of IMP's levels, which all rows share.

    `rows` maps an arm, given by its name or its look, to a Dataset over (level).
    """
    density = data["means"].density.sel(panel=panel)
    for position, (row, points) in enumerate(rows.items()):
        kept = np.flatnonzero(points[f"{name}_mean"].notnull().values)
        if len(kept):
            x = (
                100
                * density.sel(arm="imp").values[kept]
                * dodge(data["means"].sel(panel=panel), position, len(rows))
            )
            draw_line(
                axes, x, points.isel(level=kept), name, row if isinstance(row, Look) else look_of(row), 100
            )
    set_density_axis(axes, density.values[np.isfinite(density.values)], 5)


def _low(data: ResultTables, panel: str, pair: Sequence[str]) -> xr.Dataset:
    return data["low"].sel(panel=panel, arm=pair[0], baseline=pair[1]).isel(at_most=0)


def _seeds_of(data: ResultTables, panel: str, pair: Sequence[str]) -> int:
    """Return the number of seeds that have both arms of a pair."""
    arms = data["low"].arm.values
    return int(_low(data, panel, pair).difference_n) if {*pair[:2]} <= {*arms} else 0


FIGURES = {
    "laptop-converged": accuracy,
    "laptop-converged-signs": signs,
    "laptop-converged-masks": masks,
    "laptop-converged-controls": controls,
    "laptop-converged-differences": differences,
}
"""The figures by name; all are drawn from the result file of `laptop-converged`."""

SHOWS = {
    "laptop-converged-signs": "The share of weights with the sign that they have in LRR's last ticket. The "
    "upper panels show it after each level of each arm, and the lower panels after each epoch of level 0.",
    "laptop-converged-masks": "The share of weights that two masks have in common. The masks come from two "
    "algorithms with one seed, or from one algorithm with two seeds. The dotted line shows the share "
    "expected of random masks with the same density in every layer.",
    "laptop-converged-controls": "The test accuracy of initial weights trained once on the last mask of "
    "IMP or of LRR, for 16, 32 and 64 epochs and after a warm-up. The right panel shows the density of each "
    "layer in these masks.",
    "laptop-converged-differences": "Differences in test accuracy between pairs of arms, averaged over "
    "densities of at most 20 %, with their 95 % intervals.",
}
"""What each figure except the first shows. The recipe describes the first."""
