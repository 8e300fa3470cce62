"""The tutorial, run as a newcomer runs it: its claims hold, and its files draw."""

import contextlib
import io
import re
import subprocess
import sys

import numpy as np
import pytest

import singleneuron as sn
from figures import cli
from singleneuron import tutorial


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """(what the tour found, what it printed, its folder)"""
    out = tmp_path_factory.mktemp("tutorial")
    with contextlib.redirect_stdout(io.StringIO()) as text:
        found = tutorial.tour(out)
    return found, text.getvalue(), out


def test_start_is_balanced_with_the_wrong_sign(told):
    start = told[0].start
    assert start.a[0] > 0 > start.w[0, 0]
    assert start.c[0] == 0


def test_sign_changes_when_the_angle_passes_a_right_one(told):
    found, text, _ = told
    start = sn.reduce(sn.Population(tutorial.D), found.start)
    expected = -float(sn.angle_time(np.arctan2(start.q, start.p))[0])
    assert expected < found.flip <= expected + 1e-3
    assert f"w_1 passes 0 at t = {found.flip:.2f}" in " ".join(text.split())
    w1, times = found.flow.state.w[:, 0, 0], np.linspace(0, 20, 21)
    assert np.array_equal(w1 > 0, times > found.flip)
    assert "Status at the end: converged" in text


def test_levels_end_as_the_theorem_says(told):
    found, text, _ = told
    before, after = (f"WR to t = {factor * found.flip:.2f}" for factor in (0.5, 1.5))
    assert {name: run.success[0] for name, run in found.runs.items()} == {
        "IMP": 0, "LRR": 1, before: 0, after: 1
    }  # fmt: skip
    rows = [line.split() for line in text.splitlines()]
    for name, run in found.runs.items():
        assert run.counts == (10, 5, 2, 1)
        assert np.all(run.loss[0, :-1] < 1e-5)
        assert run.loss[0, -1] < 1e-5 if run.success[0] else run.loss[0, -1] == pytest.approx(0.25, abs=1e-5)
        assert run.mask[0, 0]
        told_of = [f"{loss:.1e}" for loss in run.loss[0]] + ["succeeds" if run.success[0] else "fails"]
        assert [*name.split(), *told_of] in rows


def test_place_in_the_map(told):
    found, text, _ = told
    start, space = found.start, found.space
    here = space.sel(a0=start.a[0], w0=start.w[0, 0], method="nearest")
    assert {name: int(here.success.sel(algorithm=name)) for name in ("imp", "lrr")} == {"imp": 0, "lrr": 1}
    words = " ".join(text.split())
    assert "IMP fails and LRR succeeds." in words
    # 3/8 and about 7/8 of the square: the shares printed are those of the map.
    shares = re.search(r"IMP succeeds from (\d+)% of them, LRR from (\d+)%", words).groups()
    assert [int(share) for share in shares] == [
        round(100 * float(space.success.sel(algorithm=name).mean())) for name in ("imp", "lrr")
    ]
    wrong = space.success.notnull() & (space.success != space.predicted)
    assert bool((~wrong | (space.a0 == -space.w0)).all())


def test_noise_rescues_where_s_neg_is_positive(told):
    found, text, _ = told
    outcomes = found.outcomes
    signs = {s_neg > 0 for s_neg, _, _ in outcomes.values()}
    assert signs == {True, False}
    for seed, (s_neg, success, time) in outcomes.items():
        assert success == (s_neg > 0)
        assert np.isfinite(time) == (s_neg > 0)
        problem = sn.Sample.draw(d=tutorial.D, n=tutorial.N, noise=tutorial.NOISE, seed=seed)
        last = sn.Sample(problem.x[:, :1], problem.y)
        start = sn.State(found.start.a, found.start.w[:, :1])
        around = [0.999 * time, 1.001 * time] if success else [0.0, 100.0]
        w1 = sn.integrate(last, start, t_eval=around, method="ode").state.w[:, 0, 0]
        assert w1[0] < 0
        assert (w1[1] > 0) == success
    words = " ".join(text.split())
    assert re.search(r"from 100% of the starts .* Without noise \(chapter 4\), it succeeds from 0% of", words)


def test_files_draw_as_told(told):
    _, text, out = told
    command = next(line for line in text.splitlines() if line.strip().startswith("figures draw")).split()
    assert cli.main([*command[1:], "--quiet"]) == 0
    drawn = {path.stem for path in out.glob("*.png")}
    assert drawn == {path.stem for path in out.glob("*.nc")} == {"fig1b", "fig1c", "noise_map"}


def test_command_line(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "singleneuron.tutorial", "--out", str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "writable" in done.stderr
