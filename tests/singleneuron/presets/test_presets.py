"""Presets: validated, complete, and computed by the public functions."""

import math

import numpy as np
import pytest
import xarray as xr

import singleneuron as sn
from signflow import results
from singleneuron import presets
from singleneuron.cli import main
from singleneuron.experiments import counting
from singleneuron.experiments.store import MANIFEST
from singleneuron.presets.tables import levels, maps, noise, paths

TINY = """
title = "a map and a path"

[parts.map]
kind = "map"
d = 2
resolution = 4

[parts.paths]
kind = "paths"
d = 2
a = [1.0]
w = [[-0.5, 0.5]]
t_end = 1.0
points = 3
"""

STUDY = """
title = "two studies"
figure = "study"

[parts.first]
kind = "study"
d = [2, 3, 4]
algorithms = ["imp", "wr"]
rewind_time = [0.1, 1.0]
runs = 20
along = "rewind_time"

[parts.second]
kind = "study"
d = [5, 6, 7]
algorithms = ["lrr"]
n = 20
level_time = 5.0
runs = 20
"""


def _compute(part):
    return part.compute(lambda *_: None)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(presets, "names", lambda: ["tiny"])
    monkeypatch.setattr(presets, "load", lambda name: presets.parse(TINY, name))


@pytest.fixture
def study(monkeypatch):
    monkeypatch.setattr(presets, "names", lambda: ["study"])
    monkeypatch.setattr(presets, "load", lambda name: presets.parse(STUDY, name))


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_valid_and_frozen(name):
    preset = presets.load(name)
    assert preset.title
    assert preset.shows.endswith(".")
    assert preset.shows.count("`") % 2 == 0
    with pytest.raises(ValueError, match="frozen"):
        preset.title = "another"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("resolution = 4", "resolutoin = 4", "got 'resolutoin'; did you mean 'resolution'?"),
        ("resolution = 4", 'resolution = "many"', "resolution must be an integer, got 'many'"),
        ('kind = "map"', 'kind = "mop"', "parts.map.kind must be one of map, "),
        ("d = 2", "", "d must be given, but is missing"),
        (
            "d = 2",
            "d = 2\nalgorithms = 3",
            "algorithms must be a name, an Algorithm, or a list of them, got 3",
        ),
    ],
)
def test_mistakes_in_a_preset_are_named_in_one_line(old, new, message):
    with pytest.raises(ValueError, match="preset 'tiny' is not valid") as caught:
        presets.parse(TINY.replace(old, new, 1), "tiny")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_preset_is_named():
    with pytest.raises(ValueError, match=r"must be one of angle, .*, got 'fig9'"):
        presets.load("fig9")


def test_run_computes_every_part_and_counts_up(tiny):
    seen = []
    data = presets.run("tiny", progress=lambda done, total: seen.append((done, total)))
    assert list(data) == ["map", "paths"]
    assert data["map"].success.shape[1:] == (4, 4)
    done, totals = np.array(seen).T
    assert np.all(np.diff(done) >= 0)
    assert (done[-1], set(totals)) == (2000, {2000})


def test_result_is_made_once_for_a_configuration(tiny, tmp_path, monkeypatch, capsys):
    line, hint = ["preset", "tiny", "--out", str(tmp_path)], f"draw it: figures draw {tmp_path / 'tiny.nc'}\n"
    assert main.main(line) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tiny.nc'}\n{hint}"
    first = results.read(tmp_path / "tiny.nc")["map"].attrs["created"]
    assert main.main(line) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tiny.nc'} (up to date)\n{hint}"
    assert results.read(tmp_path / "tiny.nc")["map"].attrs["created"] == first
    changed = TINY.replace("resolution = 4", "resolution = 5")
    monkeypatch.setattr(presets, "load", lambda name: presets.parse(changed, name))
    assert main.main(line) == 2
    assert "(different: parts.map.resolution)" in capsys.readouterr().err
    assert results.read(tmp_path / "tiny.nc")["map"].attrs["created"] == first
    assert main.main([*line, "--overwrite"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tiny.nc'}\n{hint}"
    assert results.read(tmp_path / "tiny.nc")["map"].sizes["a0"] == 5


def test_list_names_every_preset(capsys):
    assert main.main(["preset", "--list"]) == 0
    *listed, hint = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == presets.names()
    assert hint == f"make one: singleneuron preset {presets.names()[0]}"


def test_levels_of_samples_know_their_slopes_and_outcomes():
    given = {"kind": "levels", "d": 4, "seeds": 3, "levels": 2, "n": 60, "noise": 0.2, "seed": 5}
    data = _compute(levels.Levels(**given))
    for seed in range(3):
        drawn = sn.Sample.draw(d=4, n=60, noise=0.2, seed=5 + seed)
        left = drawn.x[:, 0] < 0
        slope, *_ = np.linalg.lstsq(drawn.x[left, :1], drawn.y[left])
        np.testing.assert_allclose(data.s_neg[seed], slope[0], rtol=1e-12)
    # A success has learned the target, a failure almost nothing: half the mean of the squared target is 1/4.
    last = data.loss.isel(level=-1)
    assert bool((last.where(data.success == 1) < 0.1).where(data.success == 1, True).all())
    assert bool((last.where(data.success == 0) > 0.1).where(data.success == 0, True).all())
    assert {0.0, 1.0} <= set(np.unique(data.success))


def test_levels_pair_seeds_across_the_signs():
    data = _compute(levels.Levels(kind="levels", d=6, seeds=3, levels=2))
    assert data.loss.sizes == {"algorithm": 2, "a_sign": 2, "w_sign": 2, "seed": 3, "level": 3}
    assert list(data.kept.values) == [6, 2, 1]
    # Theorem 2.3: only a(0) > 0 learns, IMP's last level only with w_1(0) > 0, too; a dead neuron costs 1/4.
    learns = data.loss < 1e-5
    for a_sign, w_sign, imp, lrr in ((1, 1, True, True), (1, -1, False, True), (-1, 1, False, False)):
        last = learns.sel(a_sign=a_sign, w_sign=w_sign).isel(level=-1)
        assert bool((last.sel(algorithm="imp") == imp).all())
        assert bool((last.sel(algorithm="lrr") == lrr).all())
    dead = data.loss.sel(a_sign=1, w_sign=-1, algorithm="imp").isel(level=-1)
    np.testing.assert_allclose(dead, 0.25, atol=1e-5)
    # The dense level has not pruned yet: the algorithms agree on it exactly.
    dense = data.loss.isel(level=0)
    np.testing.assert_array_equal(dense.sel(algorithm="imp"), dense.sel(algorithm="lrr"))


def test_descent_tends_to_the_slide():
    part = presets.load("sliding").parts["slide"].model_copy(update={"learning_rates": (0.01, 0.001, 1e-4)})
    data = _compute(part)
    assert bool(((data.share >= 0) & (data.share <= 1)).all())
    slides = (data.share > 0) & (data.share < 1)
    assert list(data.sample.values[slides.any("time")]) == [10, 13, 18]
    assert int(slides.sum("sample").max()) == 2
    watched = slides.sel(sample=13)
    assert float(np.abs(data.distance[watched.values]).max()) <= 1e-12
    # Descent keeps hopping over it, less far the smaller its rate, in which its error is about linear.
    first, last = data.time.values[watched][[0, -1]]
    inside = (data.hop_time > first + 0.5) & (data.hop_time < last - 0.5)
    for rate in data.hop_rate.values:
        signs = np.sign(data.hop.sel(hop_rate=rate).values[inside.sel(hop_rate=rate)])
        assert np.sum(signs[1:] != signs[:-1]) >= 10
    widest = np.abs(data.hop.where(inside)).max("step").values
    assert np.all(widest[1:] < widest[:-1])
    ratios = data.error.values[:-1] / data.error.values[1:]
    assert np.all((ratios > 5) & (ratios < 20))  # 10 where it is linear, but for the chance of the last hop
    assert data.error.values[-1] < 1e-3


def test_noise_opens_imp_a_wedge_where_s_neg_is_positive():
    part = presets.load("noise_map").parts["map"].model_copy(update={"resolution": 10})
    data = _compute(part)
    problem = sn.Sample.draw(d=part.d, n=part.n, noise=part.noise, seed=part.seed)
    assert problem.statistics.s_neg[0] > 0
    imp = data.sel(algorithm="imp")
    wedge = (imp.w0 < 0) & (imp.a0 > -imp.w0)
    assert bool((imp.success.where(wedge, 1.0) == 1).all())
    assert bool((imp.success.where((imp.w0 < 0) & ~wedge, 0.0).fillna(0.0) == 0).all())
    # Where the dense level falls short, with w far from the target, descent does so, too.
    lrr = data.sel(algorithm="lrr")
    assert bool(lrr.predicted.isnull().all())  # theory follows no dense level on samples
    assert list(data.edge_of.values) == ["prediction", "population"]
    inside = np.isfinite(lrr.edge)
    assert int(inside.sum()) > 400
    np.testing.assert_allclose(lrr.edge[inside], -np.hypot(lrr.edge_w0[inside], np.sqrt(0.9)), atol=1e-12)
    short = (lrr.success == 0) & (lrr.a0 > 0)
    assert int(short.sum()) > 0
    a0, w0 = (grid.values[short.values] for grid in xr.broadcast(data.a0, data.w0))
    rest = np.repeat(np.sqrt(1 - 1 / 10) / 3, 9)
    starts = sn.State(a0, [[w, *rest] for w in w0])
    end = sn.integrate(problem, starts, t_end=300.0, learning_rate=0.05)
    assert np.all(end.state.w[:, 0] < 0)


def test_crossings_lie_on_the_closed_form():
    part = noise.Crossings(
        kind="crossings", a=(1.0, 1.5), w=(-0.5, -0.5), n=(30, 3000), noise=0.1, draws=4, t_end=100.0,
        points=10001, s_neg=(1e-3, 0.3),
    )  # fmt: skip
    data = _compute(part)
    crosses = data.s_neg > 0
    assert 0 < int(crosses.sum()) < data.sizes["draw"]
    assert bool((data.simulated.notnull() == crosses).all())
    for index in range(2):
        at = data.isel(start=index, draw=np.flatnonzero(crosses))
        exact = sn.crossing_time(at.a0, at.w0, c_neg=0.5, s_neg=at.s_neg.values)
        # Linear extrapolation over h = 0.01, in units of 1/(2 C): 2 C h^2 w''/w', w''/w' <= C c, C < 1.
        c = at.a0**2 - at.w0**2
        np.testing.assert_allclose(at.simulated, exact, rtol=0, atol=2 * float(c) * 0.01**2)


def test_flows_of_every_width_lie_on_the_universal_angle_curve():
    part = paths.AngleFlows(kind="angle", d=(2, 50), starts=4, t_end=10.0, points=6, tau=(-10.0, 10.0))
    data = _compute(part)
    np.testing.assert_allclose(data.theta, sn.universal_angle(data.tau.values), atol=1e-6)
    np.testing.assert_array_equal(data.curve, sn.universal_angle(data.s.values))


def test_balance_drifts_within_the_tolerance():
    part = paths.Conservation(kind="conservation", d=3, rtol=(1e-6, 1e-9), starts=20, t_end=20.0, points=5)
    data = _compute(part)
    assert bool((data.drift.max(("start", "time")) <= 100 * data.rtol).all())


def test_field_is_the_flow():
    data = _compute(maps.VectorField(kind="field", extent=1.0, resolution=3))
    # a' = w (1 - a w)/2 on w > 0, -a w^2/2 on w < 0
    assert float(data.da.sel(a=-1, w=1)) == pytest.approx(1.0)
    assert float(data.da.sel(a=1, w=-1)) == pytest.approx(-0.5)
    assert float(data.dw.sel(a=1, w=-1)) == pytest.approx(0.5)


def test_paths_fill_up_the_coordinates_and_reject_too_many():
    short, full = (
        paths.Paths(d=3, a=(1.0,), w=(w,), t_end=2.0, points=3) for w in ((0.5, 0.2), (0.5, 0.2, 0.0))
    )
    assert _compute(short).equals(_compute(full))
    with pytest.raises(ValueError, match="at most d = 1"):
        _compute(paths.Paths(d=1, a=(1.0,), w=((1.0, 2.0),), t_end=1.0))
    with pytest.raises(ValueError, match="t_end"):
        _compute(paths.Paths(d=1, a=(1.0,), w=((1.0,),), t_end=math.inf))


def test_a_study_is_that_of_its_arguments_with_the_curve_of_theory(study):
    data = presets.run("study", workers=1)["first"]
    given = {"algorithms": ("imp", "wr"), "rewind_time": (0.1, 1.0), "runs": 20}
    alone = sn.success_rate((2, 3, 4), **given, workers=1)
    whole = data.drop_dims("curve_rewind_time").assign_attrs(config=alone.attrs["config"])
    xr.testing.assert_identical(whole, alone)  # but for the configuration, which is the preset's
    assert data.curve.dims == ("d", "algorithm", "curve_rewind_time")
    np.testing.assert_allclose(data.curve_rewind_time[[0, -1]], [0.1, 1.0])
    ends = data.curve.isel(curve_rewind_time=[0, -1])
    np.testing.assert_array_equal(ends, data.predicted.transpose(*ends.dims[:2], "rewind_time"))
    assert bool((data.curve.sel(algorithm="wr").diff("curve_rewind_time") > 0).all())


class Killed(BaseException):
    pass


def test_a_killed_study_goes_on_from_its_finished_chunks(study, tmp_path, monkeypatch, capsys):
    whole, part, once = (str(tmp_path / folder) for folder in ("whole", "part", "once"))
    line = ["preset", "study", "--workers", "1", "--out"]
    assert main.main([*line, whole]) == 0
    count, counted = counting.count_runs, []

    def recorded(group, first, last):
        if len(counted) == 5:
            raise Killed
        counted.append((group.d, first, last))
        return count(group, first, last)

    monkeypatch.setattr(counting, "count_runs", recorded)
    with pytest.raises(Killed):
        main.main([*line, part])
    folders = [tmp_path / "part" / presets.chunks("study", label) for label in ("first", "second")]
    assert [len(list(folder.glob("0*.json"))) for folder in folders] == [3, 2]
    monkeypatch.setattr(counting, "count_runs", count)
    # Another study does not mix with it; a preset with more runs goes on as well.
    changed = STUDY.replace("level_time = 5.0", "level_time = 6.0")
    with monkeypatch.context() as patch:
        patch.setattr(presets, "load", lambda name: presets.parse(changed, name))
        capsys.readouterr()
        assert main.main([*line, part]) == 2
        assert "chunks of another study" in capsys.readouterr().err
    del counted[:]
    monkeypatch.setattr(counting, "count_runs", recorded)
    assert main.main([*line, part]) == 0
    assert [d for d, *_ in counted] == [7]
    assert not any(folder.exists() for folder in folders)
    first, second = (results.read(tmp_path / folder / "study.nc") for folder in ("whole", "part"))
    for label in ("first", "second"):
        xr.testing.assert_equal(first[label], second[label])
    monkeypatch.setattr(counting, "count_runs", count)
    capsys.readouterr()
    assert main.main([*line, part]) == 0
    assert "up to date" in capsys.readouterr().out
    # Fewer runs are another result, and --fresh discards what lies in the way.
    (tmp_path / "once" / folders[1].name).mkdir(parents=True)
    (tmp_path / "once" / folders[1].name / MANIFEST).write_text("{}")
    fewer = [*line, once, "--runs", "3", "--overwrite"]
    assert main.main(fewer) == 2
    assert main.main([*fewer, "--fresh"]) == 0
    assert results.read(tmp_path / "once/study.nc")["second"].attrs["runs"] == 3
    assert [path.name for path in (tmp_path / "once").iterdir()] == ["study.nc"]


@pytest.mark.parametrize("along", ["foo", "algorithm", "d"])
def test_a_curve_runs_along_a_factor_of_its_study(along):
    text = STUDY.replace('along = "rewind_time"', f'along = "{along}"').replace("d = [2, 3, 4]", "d = 2")
    with pytest.raises(ValueError, match="along must be a factor with a list of numbers, one of rewind_time"):
        presets.parse(text, "study")


def test_a_curve_needs_a_list_of_numbers():
    text = STUDY.replace("rewind_time = [0.1, 1.0]", "rewind_time = 0.1").replace("d = [2, 3, 4]", "d = 2")
    with pytest.raises(ValueError, match="along = 'rewind_time' needs a factor with a list of numbers"):
        presets.parse(text, "study")


def test_the_runs_of_a_preset_are_checked():
    with pytest.raises(ValueError, match="runs must be an integer >= 1, but is -5"):
        presets.parse(STUDY, "study").with_runs(-5)


def test_runs_are_those_of_studies(tiny, tmp_path, capsys):
    assert main.main(["preset", "tiny", "--runs", "3", "--out", str(tmp_path)]) == 2
    assert "runs are for studies" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_the_theorem_presets_are_no_studies(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(presets, "run", lambda name, **_: ran.append(name) or {"x": xr.Dataset({"x": 1.0})})
    for option, kind in (("--figures", "theorem"), ("--studies", "study")):
        del ran[:]
        assert main.main(["preset", option, "--out", str(tmp_path), "--quiet"]) == 0
        assert ran == [name for name in presets.names() if presets.load(name).figure == kind]
        assert ran


def test_the_explorer_agrees_with_maps_losses_and_flows():
    part = presets.load("explorer").parts["grid"].model_copy(update={"resolution": 5, "points": 9})
    both = _compute(part)
    assert both.loss.sizes == {"parameterization": 2, "algorithm": 3, "a0": 5, "w0": 5, "level": 4}
    data = both.sel(parameterization="plain")
    for name in ("imp", "lrr"):
        space = sn.success_map(10, (name,), resolution=5, parameterization="sign-in").success[0]
        np.testing.assert_array_equal(both.success.sel(algorithm=name, parameterization="sign-in"), space)
        space = sn.success_map(10, (name,), resolution=5).success[0]
        np.testing.assert_array_equal(data.success.sel(algorithm=name), space)
    # The dense level is one for all; where a run succeeds, its last loss is that of the target, within 1e-3.
    dense = data.loss.isel(level=0)
    assert bool((dense == dense.isel(algorithm=0)).all())
    assert bool((data.loss.isel(level=-1).where(data.success == 1, 0.0) < 1e-5).all())
    # IMP's last level starts where the run does, WR's on the dense path, LRR's where the level before ended.
    starts = xr.broadcast(data.a0, data.w0)
    for path in ("dense", "imp"):
        for variable, start in zip((data.a, data.w), starts, strict=True):
            np.testing.assert_array_equal(variable.sel(path=path).isel(point=0), start)
    a, w = (start.values.ravel() for start in starts)
    rest = np.full((25, 9), np.sqrt(0.9) / 3)
    # A path lies on the flow, its points equally far apart along it, up to a step between the times offered.
    times = np.append(0.0, np.geomspace(part.first, part.t_end, part.fine))
    flow = sn.integrate(
        sn.Population(10), sn.State(a, np.column_stack([w, rest])), t_eval=times, method="ode"
    )
    dense = data.sel(path="dense")
    for cell, (a0, w0) in enumerate(zip(a, w, strict=True)):
        at, path = np.searchsorted(times, dense.time.sel(a0=a0, w0=w0)), dense.sel(a0=a0, w0=w0)
        along = np.array([flow.state.a[:, cell], flow.state.w[:, cell, 0]])
        np.testing.assert_array_equal([path.a, path.w], along[:, at])
        steps = np.hypot(*np.diff(along))
        length = np.append(0.0, np.cumsum(steps))
        even = length[-1] * np.linspace(0, 1, part.points)
        assert np.abs(length[at] - even).max() <= steps.max() + 1e-12
