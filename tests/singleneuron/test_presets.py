"""Presets: validated, complete, and computed by the public functions."""

import math

import numpy as np
import pytest

import singleneuron as sn
from figures import results
from singleneuron import cli, presets
from singleneuron.presets import parts

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


def _compute(part):
    return part.compute(lambda *_: None)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(presets, "names", lambda: ["tiny"])
    monkeypatch.setattr(presets, "load", lambda name: presets.parse(TINY, name))


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_valid_and_frozen(name):
    preset = presets.load(name)
    assert preset.title
    with pytest.raises(ValueError, match="frozen"):
        preset.title = "another"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("resolution = 4", "resolutoin = 4", "parts.map.map.resolutoin: Extra inputs"),
        (
            "resolution = 4",
            'resolution = "many"',
            "parts.map.map.resolution: Input should be a valid integer",
        ),
        ('kind = "map"', 'kind = "mop"', "parts.map: Input tag 'mop'"),
        ("d = 2", "", "parts.map.map.d: Field required"),
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
    line = ["preset", "tiny", "--out", str(tmp_path)]
    assert cli.main(line) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tiny.nc'}\n"
    first = results.read(tmp_path / "tiny.nc")["map"].attrs["created"]
    assert cli.main(line) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tiny.nc'} (up to date)\n"
    assert results.read(tmp_path / "tiny.nc")["map"].attrs["created"] == first
    changed = TINY.replace("resolution = 4", "resolution = 5")
    monkeypatch.setattr(presets, "load", lambda name: presets.parse(changed, name))
    assert cli.main(line) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tiny.nc'}\n"
    assert results.read(tmp_path / "tiny.nc")["map"].sizes["a0"] == 5


def test_list_names_every_preset(capsys):
    assert cli.main(["preset", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == presets.names()


def test_levels_pair_seeds_across_the_signs():
    data = _compute(parts.Levels(kind="levels", d=6, seeds=3, levels=2))
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


def test_crossings_lie_on_the_closed_form():
    part = parts.Crossings(
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
    part = parts.AngleFlows(kind="angle", d=(2, 50), starts=4, t_end=10.0, points=6, tau=(-10.0, 10.0))
    data = _compute(part)
    np.testing.assert_allclose(data.theta, sn.universal_angle(data.tau.values), atol=1e-6)
    np.testing.assert_array_equal(data.curve, sn.universal_angle(data.s.values))


def test_balance_drifts_within_the_tolerance():
    part = parts.Conservation(kind="conservation", d=3, rtol=(1e-6, 1e-9), starts=20, t_end=20.0, points=5)
    data = _compute(part)
    assert bool((data.drift.max(("start", "time")) <= 100 * data.rtol).all())


def test_field_is_the_flow():
    data = _compute(parts.VectorField(kind="field", extent=1.0, resolution=3))
    # a' = w (1 - a w)/2 on w > 0, -a w^2/2 on w < 0
    assert float(data.da.sel(a=-1, w=1)) == pytest.approx(1.0)
    assert float(data.da.sel(a=1, w=-1)) == pytest.approx(-0.5)
    assert float(data.dw.sel(a=1, w=-1)) == pytest.approx(0.5)


def test_paths_fill_up_the_coordinates_and_reject_too_many():
    short, full = (
        parts.Paths(d=3, a=(1.0,), w=(w,), t_end=2.0, points=3) for w in ((0.5, 0.2), (0.5, 0.2, 0.0))
    )
    assert _compute(short).equals(_compute(full))
    with pytest.raises(ValueError, match="at most d = 1"):
        _compute(parts.Paths(d=1, a=(1.0,), w=((1.0, 2.0),), t_end=1.0))
    with pytest.raises(ValueError, match="t_end"):
        _compute(parts.Paths(d=1, a=(1.0,), w=((1.0,),), t_end=math.inf))
