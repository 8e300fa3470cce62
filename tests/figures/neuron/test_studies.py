"""The figures of the studies show every measured point, with its interval and the number of runs."""

import functools

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.container import ErrorbarContainer

from figures.neuron import rate_panels as neuron_rates
from figures.neuron import studies
from singleneuron.presets.tables import common
from singleneuron.presets.tables import studies as tables_studies

GIVEN = {"kind": "study", "runs": 40, "seed": 3}
TIMED = GIVEN | {"level_time": (6.0, 9.0)}


def _compute(part):
    options = {"workers": 1} if isinstance(part, tables_studies.Study) else {}
    return part.compute(lambda *_: None, **options)


@functools.cache
def _study(**given):
    return _compute(tables_studies.Study(**given))


def _bars(axes):
    """(x, rate, low, high) of every series of points."""
    series = []
    for container in axes.containers:
        assert isinstance(container, ErrorbarContainer)
        line, _, (bars,) = container
        low, high = np.array([segment[:, 1] for segment in bars.get_segments()]).T
        series.append((line.get_xdata(orig=False), line.get_ydata(orig=False), low, high))
    return series


def _shows(series, rates, factor):
    for shown, stored in zip(series, (rates[factor], rates.rate, rates.ci_low, rates.ci_high), strict=True):
        np.testing.assert_allclose(shown, stored, rtol=0, atol=1e-12)


def _note(figure):
    return figure.legends[0].get_title().get_text()


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(common, "CURVE_POINTS", 3)


def test_rates_are_drawn_with_their_intervals_runs_and_seed(few):
    tables = {
        init: _study(**GIVEN, d=(1, 2, 3), algorithms=("imp", "lrr"), init=init, along="d")
        for init in ("balanced", "independent")
    }
    figure = studies.rate_d(tables)
    for axes, rates in zip(figure.axes, tables.values(), strict=True):
        for series, algorithm in zip(_bars(axes), ("imp", "lrr"), strict=True):
            _shows(series, rates.sel(algorithm=algorithm), "d")
        assert "n = 40$ runs" in axes.get_title("left")
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [0.25, 0.25])  # from d = 2 on
    assert _note(figure) == "bars: Clopper-Pearson 95 % intervals; seed 3"


def test_rewinding_lies_between_the_other_two(few):
    given = {"algorithms": ("imp", "wr", "lrr"), "rewind_time": (0.1, 1.0), "along": "rewind_time"}
    rates = _study(**GIVEN, d=(3, 10), **given)
    (axes,) = studies.rate_rewind({"rates": rates}).axes
    for series, d in zip(_bars(axes), (3, 10), strict=True):
        _shows(series, rates.sel(d=d, algorithm="wr"), "rewind_time")
    levels = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert levels == [0.25, 0.5]


def test_phases_are_the_cells_and_the_law_a_straight_line(few):
    given = TIMED | {"d": 3, "algorithms": ("imp", "lrr"), "along": "level_time"}
    law = {"kind": "law", "d": 3}
    data = {
        "samples": _study(**given | {"n": (10, 100), "noise": (0.1, 1.0)}),
        "samples_law": _compute(tables_studies.CrossingLaw(**law, n=(10, 100), noise=(0.1, 1.0))),
        "noise": _study(**given | {"n": 30, "noise": (0.01, 0.1, 1.0)}),
        "noise_law": _compute(tables_studies.CrossingLaw(**law, n=(30,), noise=(0.01, 1.0))),
    }
    figure = studies.rate_samples(data)
    shown = [
        data["samples"].isel(noise=column).sel(algorithm=algorithm)
        for algorithm in ("imp", "lrr")
        for column in range(2)
    ]
    shown[2:2] = [data["noise"].sel(algorithm="imp")]
    shown.append(data["noise"].sel(algorithm="lrr"))
    for axes, rates in zip(figure.axes[:6], shown, strict=True):
        (mesh,) = (item for item in axes.collections if isinstance(item, QuadMesh))
        cells = rates.rate.transpose("level_time", ...)
        np.testing.assert_array_equal(np.ravel(mesh.get_array()), np.ravel(cells))
    (line,) = (line for line in figure.axes[2].lines if line.get_linestyle() == "-")
    np.testing.assert_array_equal(line.get_ydata(), np.ravel(data["noise_law"].time))
    assert "n = 40$ runs" in _note(figure)
    assert "seed 3" in _note(figure)


def test_descent_is_drawn_up_to_where_no_minimum_is_stable():
    given = {"algorithms": ("imp", "lrr"), "scale": (1.0, 2.0)}
    rates = _study(**TIMED, d=3, **given, learning_rate=(0.5, 1.5))
    hops = _compute(tables_studies.Hops(kind="hops", d=3, **given, learning_rate=(0.1, 1.999)))
    figure = studies.rate_step({"descent": rates, "hops": hops})
    for axes, scale in zip(figure.axes, (1.0, 2.0), strict=True):
        points = [(name, time) for name in ("imp", "lrr") for time in (6.0, 9.0)]
        for series, (name, time) in zip(_bars(axes), points, strict=True):
            _shows(series, rates.sel(algorithm=name, scale=scale, level_time=time), "learning_rate")
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [2.0]


def test_scales_times_and_targets_show_every_table(few):
    given = TIMED | {"d": 3, "algorithms": ("imp", "lrr"), "scale": (0.1, 1.0), "along": "scale"}
    scales = {
        "population": _study(**given, init=("balanced", "independent")),
        "samples": _study(**given, n=20, noise=0.1),
    }
    panels = [scales["population"].sel(init=init) for init in ("balanced", "independent")]
    for axes, rates in zip(studies.rate_scale(scales).axes, [*panels, scales["samples"]], strict=True):
        points = [(name, time) for name in ("imp", "lrr") for time in (6.0, 9.0)]
        for series, (name, time) in zip(_bars(axes), points, strict=True):
            _shows(series, rates.sel(algorithm=name, level_time=time), "scale")

    given = TIMED | {"d": (4, 5), "algorithms": ("imp", "wr", "lrr"), "rewind_time": 1.0}
    times = {"one": _study(**given, along="level_time"), "several": _study(**given, levels=2)}
    for axes, d in zip(studies.rate_time(times).axes, (4, 5), strict=True):
        points = [(name, table) for name in ("imp", "wr", "lrr") for table in times.values()]
        for series, (name, table) in zip(_bars(axes), points, strict=True):
            _shows(series, table.sel(d=d, algorithm=name), "level_time")

    given = {"d": 4, "targets": (1, 2)}
    targets = {
        "rates": _study(**TIMED, **given, algorithms=("imp", "lrr")),
        "rebalanced": _study(**TIMED, **given, algorithms=("imp",), imp="rebalance"),
        "limit": _study(**GIVEN, **given, algorithms=("imp", "lrr")),
    }
    for axes, k in zip(studies.rate_targets(targets).axes, (1, 2), strict=True):
        tables = [targets["rates"].sel(algorithm=name) for name in ("lrr", "imp")]
        tables.append(targets["rebalanced"].isel(algorithm=0))
        for series, table in zip(_bars(axes), tables, strict=True):
            _shows(series, table.sel(targets=k), "level_time")


def test_undecided_runs_are_drawn_as_what_they_leave_open(few):
    given = {"kind": "study", "runs": 60, "seed": 3, "d": (2, 3), "init": "independent"}
    slow = _study(**given, algorithms=("imp", "lrr"), scale=1e-30, along="d")
    clear = _study(**given, algorithms=("imp", "lrr"), along="d")
    assert bool(slow.rate.isnull().all())
    figure = studies.rate_d({"balanced": clear, "independent": slow})
    for series, algorithm in zip(_bars(figure.axes[1]), ("imp", "lrr"), strict=True):
        _shows(series, slow.sel(algorithm=algorithm), "d")  # no dots, but bars
    thick = [item for item in figure.axes[1].collections if item.get_label() == neuron_rates.UNDECIDED_LABEL]
    for item, algorithm in zip(thick, ("imp", "lrr"), strict=True):
        shown = np.array([segment[:, 1] for segment in item.get_segments()]).T
        line = slow.sel(algorithm=algorithm)
        np.testing.assert_allclose(shown, [line.rate_low, line.rate_high], rtol=0, atol=1e-12)
    assert _note(figure).endswith("; thick: what undecided runs leave open")
