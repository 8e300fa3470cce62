"""Every figure, drawn from a small real result: what it shows, without comparing pixels."""

import functools
from unittest import mock

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.patches import Circle

from figures import kinds, style
from figures.neuron import levels, samples, theorems
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
        named = axes.get_figure(root=False).get_supxlabel() or any(other.get_xlabel() for other in column)
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
    (edge,) = (line for line in axes.lines if line.get_label() == "predicted edge")
    a, w = edge.get_data()
    inside = np.abs(a) < 2
    np.testing.assert_allclose(a[inside], -np.sqrt(w[inside] ** 2 + 0.9), rtol=0, atol=1e-12)
    assert inside.sum() > 500
    # The part of it that runs outside leaves the limits to the map.
    assert np.allclose(axes.get_xlim(), axes.get_ylim())


def test_samples_are_named_where_they_are_drawn():
    left = theorems.noise_wedge(_data("noise_wedge")).axes[0]
    assert left.get_title("left") == "(a) $d = 1$, $n = 200$, noise $0.5$"
    (legend,) = theorems.fig2a(_data("fig2a")).legends
    assert legend.get_title().get_text().startswith("noisy samples: $n = 1000$, noise $0.1$")
    assert "$n = 100$, noise $0.5$" in samples.noise_map(_data("noise_map")).axes[0].get_title("left")


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
        succeeds = path.success == 1
        assert line.get_color() == (style.SUCCESS if succeeds else style.FAILURE)
        assert line.get_linestyle() == ("-" if succeeds else "--")  # any dashes are called "--"
    ends = [line for line in axes.lines if line.get_marker() in ("o", "X") and line.get_markersize() > 3]
    crosses = sum(line.get_marker() == "X" for line in ends)
    assert crosses == int((paths.success == 0).sum())


def test_fig2a_shows_every_sign_pattern_on_the_population():
    data = _data("fig2a")
    figure = theorems.fig2a(data)
    assert len(figure.axes) == 6
    for axes, (a_sign, w_sign) in zip(figure.axes[:4], levels.SIGNS, strict=True):
        loss = data["population"].loss.sel(a_sign=a_sign, w_sign=w_sign)
        drawn = [line.get_ydata() for line in axes.lines]
        expected = [loss.sel(algorithm=name, seed=seed) for name in ("lrr", "imp") for seed in loss.seed]
        np.testing.assert_array_equal(drawn, expected)
    assert [axes.get_title("left") for axes in figure.axes[:2]] == [
        "(a) $a(0) > 0$, $w_1(0) > 0$",
        "(b) $a(0) > 0$, $w_1(0) < 0$",
    ]
    assert _labels(figure) == ["LRR", "IMP", "IMP by gradient flow"]


def test_fig2a_shows_every_seed_on_noisy_samples_and_counts_the_rescued():
    data = _data("fig2a")
    noisy = {name: data[name].sel(a_sign=1, w_sign=-1) for name in ("samples", "sample_flow")}
    *_, seeds, slopes = theorems.fig2a(data).axes
    loss = noisy["samples"].loss
    for axes, name in ((seeds, "lrr"), (seeds, "imp")):
        start = 0 if name == "lrr" else loss.sizes["seed"]
        drawn = axes.lines[start : start + loss.sizes["seed"]]
        np.testing.assert_array_equal([line.get_ydata() for line in drawn], loss.sel(algorithm=name))
        assert len({line.get_xdata()[0] for line in drawn}) == len(drawn)  # side by side
    for line, (table, name) in zip(
        slopes.lines, (("samples", "lrr"), ("samples", "imp"), ("sample_flow", "imp")), strict=False
    ):
        np.testing.assert_allclose(line.get_xdata(), 1000 * noisy[table].s_neg)
        np.testing.assert_array_equal(line.get_ydata(), noisy[table].loss.sel(algorithm=name).isel(level=-1))
    # Independent of `success`: on these samples the loss of a failure is near 1/4, that of a success near 0.
    ends = loss.sel(algorithm="imp").isel(level=-1)
    count = int((ends < 0.1).sum())
    assert f"IMP: {count} of {ends.size} rescued" in seeds.texts[0].get_text()
    assert bool(((ends < 0.1) == (noisy["samples"].s_neg > 0)).all())


def test_the_rescued_are_counted_by_the_sign_of_s_neg():
    success = [[1.0, 0.0, 1.0, np.nan, 0.0], [0.0] * 5]
    group = xr.Dataset(
        {"success": (("algorithm", "seed"), success), "s_neg": ("seed", [2.0, 1.0, -1.0, 3.0, 0.0])},
        coords={"algorithm": ["imp", "lrr"]},
    )
    counted = levels.rescued(group)
    assert counted == r"2 of 5 rescued ($s_\mathrm{neg} > 0$: 1 of 3, $s_\mathrm{neg} \leq 0$: 1 of 2)"


@pytest.mark.parametrize(("name", "inputs"), [("fig1a", 1), ("fig1b", 2), ("fig1c", 2)])
def test_fig1_has_the_network_and_the_curve_of_the_minima(name, inputs):
    data = _data(name)
    (axes,) = FIGURES[name](data).axes
    (network,) = axes.child_axes
    words = {text.get_text() for text in network.texts}
    inner = "w" if inputs == 1 else "w_1"
    assert {f"${inner}$", "$a$"} <= words
    assert any("relu" in word for word in words)
    assert len([patch for patch in network.patches if isinstance(patch, Circle)]) == inputs + 1
    (curve,) = (line for line in axes.lines if line.get_linestyle() == "-.")
    a, w = curve.get_data()
    np.testing.assert_allclose(a * w, 1)
    # Every successful trajectory ends on it.
    paths = data["paths"]
    ends = paths.isel(time=-1, coordinate=0).where(paths.success == 1, drop=True)
    np.testing.assert_allclose(ends.a * ends.w, 1, rtol=2e-2)


def test_wedges_and_curves_are_the_data():
    crossings = _data("noise_wedge")["crossings"]
    right = theorems.noise_wedge(_data("noise_wedge")).axes[1]
    assert len(right.lines) == 3 * crossings.sizes["start"]
    drawn = [(line.get_linestyle(), line.get_marker()) for line in right.lines if line.get_label()[0] == "$"]
    assert len(set(drawn)) == crossings.sizes["start"]  # told apart without colours
    np.testing.assert_array_equal(right.lines[0].get_ydata(), crossings.predicted.isel(start=0))
    np.testing.assert_array_equal(right.lines[1].get_ydata(), crossings.simulated.isel(start=0))
    flows = _data("angle")["flows"]
    figure = theorems.angle(_data("angle"))
    assert _labels(figure) == ["universal curve", *(f"$d = {d}$" for d in flows.d.values)]
    assert len(figure.axes[0].lines) == flows.sizes["d"] * flows.sizes["start"]
    assert len(figure.axes[1].lines) == 1 + 2 * flows.sizes["d"]
    styles = [line.get_linestyle() for line in figure.axes[0].lines[:: flows.sizes["start"]]]
    assert len(set(styles)) == flows.sizes["d"]
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
