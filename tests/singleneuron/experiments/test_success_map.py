"""Success maps: simulated, not predicted; and equal to the prediction off the boundary."""

from dataclasses import replace

import numpy as np
import pytest

from singleneuron.algorithms import Algorithm
from singleneuron.experiments import success_map as maps
from singleneuron.experiments.engine import train_and_prune
from singleneuron.experiments.plane import predicted_edge
from singleneuron.experiments.success_map import success_map
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.status import Status


def plane(data):
    return np.meshgrid(data.a0, data.w0, indexing="ij")


def test_one_coordinate():
    data = success_map(1, ("lrr", "imp"), resolution=101, extent=2.0)
    a, w = plane(data)
    on_line = (np.abs(a + w) < 1e-12) | (w == 0)
    for algorithm in ("lrr", "imp"):
        values = data.success.sel(algorithm=algorithm).values
        assert np.array_equal(values[~on_line], ((w > 0) & (a > -w))[~on_line].astype(float))
    assert data.success.dims == ("algorithm", "a0", "w0")
    assert np.allclose(data.a0, np.linspace(-2, 2, 101), rtol=0, atol=1e-15)


def test_ten_coordinates():
    data = success_map(10, ("imp", "lrr"), resolution=48, w_perp=0.95)
    a, w = plane(data)
    dense = a > -np.hypot(w, 0.95)
    assert np.array_equal(data.success.sel(algorithm="lrr").values, dense.astype(float))
    off = np.abs(a + w) > 1e-12
    imp = (w > 0) & (a > -w)
    assert np.array_equal(data.success.sel(algorithm="imp").values[off], imp[off].astype(float))
    assert np.array_equal(data.predicted.sel(algorithm="lrr").values, dense.astype(float))
    assert np.array_equal(data.predicted.sel(algorithm="imp").values[off], imp[off].astype(float))
    won = data.success.values == 1
    converged = data.status.values == Status.CONVERGED
    assert np.mean(converged[won]) >= 0.99
    assert np.max(data.loss.values[converged]) <= 1e-5


def test_success_does_not_come_from_the_predicate(monkeypatch):
    before = success_map(3, resolution=20, w_perp=0.5)
    monkeypatch.setattr(maps, "predicted", lambda problem, starts, algorithm, **_: np.full(starts.size, 0.5))
    after = success_map(3, resolution=20, w_perp=0.5)
    assert np.array_equal(before.success, after.success)
    assert np.all(after.predicted == 0.5)


def test_on_the_balanced_cone_only():
    data = success_map(4, resolution=40, balanced=True)
    a, w = plane(data)
    exists = np.abs(a) >= np.abs(w)
    assert np.array_equal(np.isnan(data.success.sel(algorithm="lrr").values), ~exists)
    assert np.array_equal(data.status.values[0] == -1, ~exists)
    # On the edge of the cone w is parallel to v: the problem with one coordinate.
    inside = np.abs(a) > np.abs(w)
    assert np.array_equal(data.success.sel(algorithm="lrr").values[inside], (a > 0)[inside].astype(float))
    assert np.array_equal(data.success.values, data.predicted.values, equal_nan=True)


def test_average_over_random_directions():
    data = success_map(5, ("lrr",), resolution=12, extent=1.0, average=8, seed=3)
    values = data.success.values[0]
    assert set(np.unique(values * 8)) <= set(range(9))
    assert np.any((values > 0) & (values < 1))
    assert np.array_equal(values, data.predicted.values[0])
    again = success_map(5, ("lrr",), resolution=12, extent=1.0, average=8, seed=3)
    assert again.identical(data)


def test_samples_by_gradient_descent():
    data = success_map(
        3, ("imp", "lrr"), resolution=9, n=300, noise=0.2, seed=1, learning_rate=0.05, level_time=60.0
    )
    assert not np.isnan(data.success.values).any()
    a, w = plane(data)
    clear = (a > 0.4) & (w > 0.4)
    assert np.all(data.success.values[:, clear] == 1)
    assert np.all(data.success.values[:, (a < -2.2) | ((a < -1.2) & (np.abs(w) < 0.4))] == 0)


def test_runs_of_consecutive_seeds_share_no_samples(monkeypatch):
    drawn, draw = [], Sample.draw

    def record(*arguments):
        drawn.append(draw(*arguments))
        return drawn[-1]

    monkeypatch.setattr(Sample, "draw", record)
    for seed in (3, 4):
        success_map(2, ("imp",), resolution=2, n=5, average=3, seed=seed, learning_rate=0.1, level_time=0.2)
    assert len({data.x.tobytes() for data in drawn}) == len(drawn) == 6
    success_map(2, ("imp",), resolution=2, n=5, seed=3, learning_rate=0.1, level_time=0.2)
    np.testing.assert_array_equal(drawn[-1].x, draw(2, 5, 0.0, 3).x)


def test_the_predicted_edge_is_the_boundary_of_the_theorems():
    w = np.linspace(-1.5, 1.5, 31)
    lrr = predicted_edge(Population(4), "lrr", w, 0.7, 2.0)
    np.testing.assert_allclose(lrr, -np.hypot(w, 0.7), rtol=0, atol=1e-14)
    imp = predicted_edge(Population(4), "imp", w, 0.7, 2.0)
    np.testing.assert_allclose(imp, np.where(w > 0, -w, np.inf), rtol=0, atol=1e-14)
    assert np.all(predicted_edge(Population(4), "lrr", w, 3.0, 2.0) == -np.inf)
    assert np.all(np.isnan(predicted_edge(Population(4), Algorithm("wr", 1.0), w, 0.7, 2.0)))


def test_progress_counts_cells():
    seen = []
    success_map(2, ("imp", "lrr"), resolution=10, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (200, 200)
    assert seen == sorted(seen)
    seen.clear()
    success_map(2, ("imp",), resolution=10, balanced=True, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (100, 100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d": 0}, "d must be an integer >= 1"),
        ({"algorithms": ("imp", "lth")}, "algorithm must be one of"),
        ({"algorithms": ()}, "one or more distinct names"),
        ({"resolution": 1}, "resolution must be an integer >= 2"),
        ({"extent": 0.0}, "extent must be a finite number > 0"),
        ({"w_perp": -1.0}, "w_perp must be a finite number >= 0"),
        ({"w_perp": 1.0, "balanced": True}, "at most one of w_perp, balanced and average"),
        ({"average": 0}, "average must be an integer >= 1"),
        ({"noise": 0.1}, "give their number n as well"),
        ({"noise": -0.1, "n": 5}, "noise must be a finite number >= 0"),
        ({"n": 0}, "n must be an integer >= 1"),
        ({"method": "euler"}, "method must be one of auto, ode, exact, but is 'euler'"),
        ({"levels": 5}, "levels must be <= d - targets = 1"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        success_map(**{"d": 2, **arguments})


@pytest.mark.parametrize("w_perp", [1e-4, 1e-8, 1e-13, 1e-200])
def test_cells_beside_the_line_are_in_the_exact_region(w_perp):
    data = success_map(10, ("imp", "lrr"), resolution=24, w_perp=w_perp)
    a, w = plane(data)
    lrr = np.where(np.abs(a) == np.abs(w), True, a > -np.abs(w))  # |w| > |w_1| = |a| on the diagonals
    assert np.array_equal(data.predicted.sel(algorithm="lrr").values, lrr.astype(float))
    wrong = data.success.notnull() & (data.success != data.predicted)
    assert int(wrong.sum()) == 0
    undecided = data.success.isnull().sel(algorithm="lrr").values
    assert np.all((a == w)[undecided] & (a < 0)[undecided])


def test_of_the_dense_level_on_samples_nothing_is_predicted():
    data = success_map(3, ("imp", "lrr"), resolution=12, n=4, noise=0.3, seed=2)
    assert bool(data.predicted.sel(algorithm="lrr").isnull().all())
    imp = data.sel(algorithm="imp")
    known = imp.success.notnull() & imp.predicted.notnull()
    assert int(known.sum()) > 20
    assert bool((imp.success == imp.predicted).where(known, True).all())
    alone = predicted_edge(Sample.draw(3, 4, 0.3, 2), "lrr", np.array([0.5]), 0.5, 2.0)
    assert np.isnan(alone).all()


def test_averages_are_bounded_by_both_readings_of_the_undecided(monkeypatch):
    undecided = []

    def some(*arguments, **options):
        (end,) = train_and_prune(*arguments, **options)
        success = np.where(np.arange(end.success.size) % 5 == len(undecided) % 5, np.nan, end.success)
        undecided.append(np.isnan(success))
        return [replace(end, success=success)]

    clear = success_map(3, ("lrr",), resolution=6, average=4, seed=1)
    np.testing.assert_array_equal(clear.success_low, clear.success)
    np.testing.assert_array_equal(clear.success_high, clear.success)
    monkeypatch.setattr(maps, "train_and_prune", some)
    data = success_map(3, ("lrr",), resolution=6, average=4, seed=1)
    share = np.mean(undecided, axis=0).reshape(6, 6)
    np.testing.assert_allclose(data.success_high[0] - data.success_low[0], share, rtol=0, atol=1e-12)
    assert bool(((data.success_low <= clear.success) & (clear.success <= data.success_high)).all())
    np.testing.assert_array_equal(data.success.isnull()[0], share > 0)
