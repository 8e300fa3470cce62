"""The figures for finite samples: pure functions from the Datasets in a result file to a Figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.neuron.levels import sampled
from figures.panels import DOT, ResultTables, draw_plane, draw_success_map, letters, wedge

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


@style.styled()
def sliding(data: ResultTables) -> Figure:
    """Draw a flow that slides in hyperplanes w.x_i = 0, and gradient descent that hops across one of them.

    The upper panel shows the activity of the samples against time. The lower panels show the distances of
    flow and descent from one hyperplane against time, and the error of descent against its learning rate.

    The table `slide` has `share` (time, sample) and `distance` (time) for the flow. For gradient descent, it
    has `hop` and `hop_time` (hop_rate, step), and `error` (learning_rate). `distance` is the distance of the
    flow, and `hop` the distance of descent, from the hyperplane of the sample attrs['watched'].
    """
    slide = data["slide"]
    figure = Figure(figsize=(style.PAGE, 4.6))
    panels = figure.subplot_mosaic("AA;BC", width_ratios=[1.6, 1], height_ratios=[1, 1.25])
    _shares(panels["A"], slide)
    _hops(panels["B"], slide)
    axes = panels["C"]
    axes.plot(slide.learning_rate, slide.error, color=style.BLACK, **DOT)
    line = slide.learning_rate * (slide.error[-1] / slide.learning_rate[-1])
    axes.plot(slide.learning_rate, line, color=style.GREY, linestyle=":", label="proportional to the rate")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="learning rate",
        ylabel="largest difference in $(a, w)$",
    )
    axes.legend()
    letters(
        {
            "activity of the samples in whose hyperplanes the flow slides": panels["A"],
            f"at the hyperplane of sample {slide.attrs['watched']}": panels["B"],
            "convergence to the flow": panels["C"],
        }
    )
    return figure


@style.styled()
def noise_map(data: ResultTables) -> Figure:
    """Draw the success maps of IMP and LRR on noisy samples, where IMP succeeds in a wedge at w_1(0) < 0.

    The table is `map` (algorithm, a0, w0).
    """
    imp, lrr = (data["map"].sel(algorithm=name) for name in ("imp", "lrr"))
    figure = Figure(figsize=(style.PAGE, 4.0))
    left, right = figure.subplots(1, 2)
    handles = {str(handle.get_label()): handle for handle in draw_success_map(left, imp)}
    hatched = (imp.success == 1) & (imp.w0 < 0)
    handles["wedge"] = wedge(left, hatched, "IMP succeeds with $w_1(0) < 0$")
    handles |= {str(handle.get_label()): handle for handle in draw_success_map(right, lrr)}
    for axes in (left, right):
        draw_plane(axes, "a", "w_1")
    data_set = f"$d = {imp.attrs['d']}$, {sampled(imp)}"
    letters({f"IMP, {data_set}": left, f"LRR, {data_set}": right})
    figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=3)
    return figure


FIGURES = {function.__name__: function for function in (sliding, noise_map)}


def _shares(axes: Axes, slide: xr.Dataset) -> None:
    """Draw the share of each sample in whose hyperplane the flow slides, shaded while the flow slides."""
    between = (slide.share > 0) & (slide.share < 1)
    slid = slide.sample[between.any("time")].values
    for sample, colour, line in zip(slid, style.SERIES, style.LINES, strict=False):
        share = slide.share.sel(sample=sample)
        axes.plot(slide.time, share, line, color=colour, label=f"sample {sample}")
        axes.fill_between(
            slide.time, share, where=between.sel(sample=sample), color=colour, alpha=0.2, linewidth=0
        )
    axes.fill_between([], [], [], color=style.GREY, alpha=0.3, linewidth=0, label="slides in its hyperplane")
    axes.set(xlabel="$t$", xlim=(0, float(slide.time[-1])), ylim=(-0.04, 1.04))
    axes.set_ylabel("share $\\alpha_i$ of time in\nwhich sample $i$ is active")
    axes.set_yticks([0, 0.5, 1], ["0 (off)", "0.5", "1 (on)"])
    axes.legend(loc="center right")


def _hops(axes: Axes, slide: xr.Dataset) -> None:
    """Draw the distances of flow and descent from the watched hyperplane, while the flow slides in it."""
    share = slide.share.sel(sample=slide.attrs["watched"])
    inside = slide.time.values[(share > 0) & (share < 1)]
    first, last = inside[0], inside[-1]
    margin = 0.1 * (last - first)
    for rate, colour, marker in zip(slide.hop_rate.values, style.SERIES, style.MARKERS, strict=False):
        hops = slide.sel(hop_rate=rate)
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 2, "linewidth": 0.6}
        axes.plot(hops.hop_time, hops.hop, label=f"descent, rate {rate:g}", **look)
    axes.plot(slide.time, slide.distance, color=style.BLACK, label="flow")
    near = (slide.hop_time >= first) & (slide.hop_time <= last)
    most = 1.3 * float(np.abs(slide.hop.where(near)).max())
    axes.set(xlim=(first - margin, last + margin), ylim=(-0.6 * most, 1.5 * most), xlabel="$t$")
    axes.set_ylabel(r"distance $w \cdot x_i \,/\, |x_i|$")
    axes.legend(loc=(0.13, 0.79), ncols=2, handlelength=1.4, columnspacing=1)
