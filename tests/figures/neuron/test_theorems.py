"""Every figure, drawn from a small real result: what it shows, without comparing pixels."""

import functools
from unittest import mock

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from figures import kinds, style
from figures.neuron import samples, theorems
from signflow import results
from singleneuron import presets
from singleneuron.experiments.labels import with_labels
from singleneuron.presets.tables import common
from singleneuron.presets.tables import studies as tables_studies

# What makes a preset small enough for a test; the rest of it stays as it is.
SMALL = {
    "resolution": 16, "points": 9, "seeds": 3, "starts": 4, "draws": 2, "runs": 8, "n": (30, 300),
    "d": (5, 10), "level_time": (50.0, 100.0), "scale": (1.0, 2.0), "noise": (0.01, 1.0),
    "learning_rate": (0.1, 1.98),
}  # fmt: skip
MAPS = ("fig1a", "fig1b", "fig1c", "unbalanced", "noise_wedge", "noise_map")
FIGURES = kinds.THEOREMS | kinds.STUDIES


def _shrunk(part):
    kinds = {name: type(value) for name, value in part}
    update = {name: value for name, value in SMALL.items() if kinds.get(name) is type(value)}
    return part.model_copy(update=update)


@functools.cache
def _data(name):
    tables = {}
    for label, part in presets.load(name).parts.items():
        options = {"workers": 1} if isinstance(part, tables_studies.Study) else {}
        with mock.patch.object(common, "CURVE_POINTS", 4):
            tables[label] = _shrunk(part).compute(lambda *_: None, **options)
    return tables


def _labels(figure):
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def test_every_figure_has_a_preset():
    drawn = {name: presets.load(name).figure for name in presets.names()}
    assert {name for name in drawn if drawn[name] == "study"} == set(kinds.STUDIES)
    assert {name for name in drawn if drawn[name] == "theorem"} == set(kinds.THEOREMS)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_survives_its_file_and_fits_the_page(name, tmp_path):
    data = results.read(results.write(_data(name), tmp_path / f"{name}.nc", config={}))
    figure = FIGURES[name](data)
    assert figure.get_figwidth() in (style.COLUMN, style.PAGE)
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    # Nothing is cut off: all that is drawn lies on the page (in inches).
    assert min(box.x0, box.y0) >= -0.01
    assert box.x1 <= figure.get_figwidth() + 0.01
    assert box.y1 <= figure.get_figheight() + 0.01
    for axes in figure.axes:
        column = [*axes.get_shared_x_axes().get_siblings(axes)]
        named = figure.get_supxlabel() or any(other.get_xlabel() for other in column)
        assert named or axes.get_label() == "<colorbar>"
    assert figure.axes[0].get_ylabel()
    sizes = [text.get_fontsize() for text in figure.findobj(lambda item: hasattr(item, "get_fontsize"))]
    assert min(sizes) >= 7
    assert len(set(_labels(figure))) == len(_labels(figure)) > 0


@pytest.mark.parametrize("name", FIGURES)
def test_a_result_is_known_by_its_tables_and_every_variable_has_a_name(name):
    assert kinds._layout(_data(name)) is FIGURES[name]
    for table in _data(name).values():
        labels = with_labels(table)
        assert {key for key, item in labels.variables.items() if "long_name" not in item.attrs} == set()


@pytest.mark.parametrize("name", MAPS)
def test_maps_show_every_simulated_cell(name):
    data = _data(name)
    axes = FIGURES[name](data).axes[0]
    (mesh,) = (item for item in axes.collections if isinstance(item, QuadMesh))
    shown = np.ma.filled(mesh.get_array(), np.nan).reshape(16, 16)  # rows are w0
    np.testing.assert_array_equal(shown, data["map"].success.isel(algorithm=0).transpose("w0", "a0"))
    for axis, low, high in ((axes.get_xlim(), -2, 2), (axes.get_ylim(), -2, 2)):
        assert axis[0] <= low
        assert axis[1] >= high


def test_the_edge_is_the_curve_of_theory_whatever_the_resolution():
    axes = theorems.fig1c(_data("fig1c")).axes[0]
    (edge,) = (item for item in axes.get_children() if getattr(item, "get_linestyle", str)() == "--")
    a, w = edge.get_data()
    inside = np.abs(a) < 2
    np.testing.assert_allclose(a[inside], -np.sqrt(w[inside] ** 2 + 0.9), rtol=0, atol=1e-12)
    assert inside.sum() > 500
    # The part of it that runs outside leaves the limits to the map.
    assert np.allclose(axes.get_xlim(), axes.get_ylim())


def test_samples_are_named_where_they_are_drawn():
    left = theorems.noise_wedge(_data("noise_wedge")).axes[0]
    assert left.get_title("left") == "(a) $d = 1$, $n = 200$, noise $0.5$"
    assert (
        "$d = 10$); noisy samples: $n = 1000$, noise $0.1$" in theorems.fig2a(_data("fig2a")).get_supxlabel()
    )


def test_cells_without_a_verdict_are_white_and_named():
    data = _data("fig1b")
    holed = data["map"].copy(deep=True)
    holed.success[:] = 1.0
    assert not any("no verdict" in label for label in _labels(theorems.fig1b(data | {"map": holed})))
    holed.success[0, 3, 4] = np.nan
    figure = theorems.fig1b(data | {"map": holed})
    assert "no verdict (1 cell)" in _labels(figure)
    (mesh,) = (item for item in figure.axes[0].collections if isinstance(item, QuadMesh))
    assert np.ma.masked_invalid(mesh.get_array()).mask.sum() == 1


@pytest.mark.parametrize("name", ["fig1a", "fig1b", "fig1c", "unbalanced"])
def test_paths_are_coloured_by_their_outcome(name):
    paths = _data(name)["paths"]
    axes = FIGURES[name](_data(name)).axes[0]
    drawn = [line for line in axes.lines if len(line.get_xdata()) == paths.sizes["time"]]
    assert len(drawn) == paths.sizes["start"]
    for index, line in enumerate(drawn):
        path = paths.isel(start=index)
        np.testing.assert_array_equal(line.get_xdata(), path.a)
        np.testing.assert_array_equal(line.get_ydata(), path.w.isel(coordinate=0))
        assert line.get_color() == (style.SUCCESS if path.success == 1 else style.FAILURE)


def test_fig2a_has_a_pair_of_curves_for_every_sign_pattern():
    data = _data("fig2a")
    figure = theorems.fig2a(data)
    assert len(figure.axes) == 12
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    for axes, (group, (a_sign, w_sign)) in zip(
        figure.axes,
        [(group, pair) for group in ("population", "samples", "sample_flow") for pair in signs],
        strict=True,
    ):
        loss = data[group].loss.sel(a_sign=a_sign, w_sign=w_sign)
        assert len(axes.lines) == 2 * (3 + 1)
        for lines, algorithm in ((axes.lines[:4], "lrr"), (axes.lines[4:], "imp")):
            curves = loss.sel(algorithm=algorithm)
            for index, line in enumerate(lines[:3]):
                np.testing.assert_array_equal(line.get_ydata(), curves.isel(seed=index))
            np.testing.assert_array_equal(lines[3].get_ydata(), curves.median("seed"))
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        r"$a(0) > 0,\ w_1(0) > 0$",
        r"$a(0) > 0,\ w_1(0) < 0$",
    ]
    assert _labels(figure) == [f"{name} (median, and 3 seeds)" for name in ("LRR", "IMP")]


def test_wedges_and_curves_are_the_data():
    crossings = _data("noise_wedge")["crossings"]
    right = theorems.noise_wedge(_data("noise_wedge")).axes[1]
    assert len(right.lines) == 2 * crossings.sizes["start"]
    np.testing.assert_array_equal(right.lines[0].get_ydata(), crossings.predicted.isel(start=0))
    np.testing.assert_array_equal(right.lines[1].get_ydata(), crossings.simulated.isel(start=0))
    flows = _data("angle")["flows"]
    figure = theorems.angle(_data("angle"))
    assert _labels(figure) == ["universal curve", *(f"$d = {d}$" for d in flows.d.values)]
    assert len(figure.axes[0].lines) == flows.sizes["d"] * flows.sizes["start"]
    assert len(figure.axes[1].lines) == 1 + flows.sizes["d"]
    drift = _data("conservation")
    figure = theorems.conservation(drift)
    assert [axes.get_title() for axes in figure.axes] == ["$d = 1$", "$d = 10$"]
    for axes, group in zip(figure.axes, drift.values(), strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), group.drift.isel(rtol=0).max("start"))
        assert len(axes.lines) == 2 * group.sizes["rtol"]


def test_a_slide_is_shown_with_the_descents_that_hop_over_it():
    slide = _data("sliding")["slide"]
    shares, hops, errors = samples.sliding(_data("sliding")).axes
    between = ((slide.share > 0) & (slide.share < 1)).any("time")
    assert len(shares.lines) == int(between.sum()) > 0
    for line, sample in zip(shares.lines, slide.sample.values[between], strict=True):
        assert line.get_label() == f"sample {sample}"
        np.testing.assert_array_equal(line.get_ydata(), slide.share.sel(sample=sample))
    assert len(hops.lines) == slide.sizes["hop_rate"] + 1
    for index, line in enumerate(hops.lines[:-1]):
        np.testing.assert_array_equal(line.get_ydata(), slide.hop.isel(hop_rate=index))
    np.testing.assert_array_equal(hops.lines[-1].get_ydata(), slide.distance)
    np.testing.assert_array_equal(errors.lines[0].get_ydata(), slide.error)


def test_noise_map_has_a_panel_for_each_algorithm():
    data = _data("noise_map")["map"]
    figure = samples.noise_map(_data("noise_map"))
    for axes, algorithm in zip(figure.axes, ("imp", "lrr"), strict=True):
        (mesh,) = (item for item in axes.collections if isinstance(item, QuadMesh))
        shown = np.ma.filled(mesh.get_array(), np.nan).reshape(16, 16)
        np.testing.assert_array_equal(shown, data.success.sel(algorithm=algorithm).transpose("w0", "a0"))
        assert style.LABEL[algorithm] in axes.get_title(loc="left")
