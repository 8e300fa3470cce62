"""The predicted rates are the probabilities of the predicted regions."""

import numpy as np
import pytest
from scipy.optimize import brentq

import singleneuron as sn
from singleneuron.formulas.descent import hop_rate
from singleneuron.formulas.rates import crossing_law, dense_rate, predicted_rate, predicted_rates
from singleneuron.formulas.regions import line_success
from singleneuron.problem.line import Line

SIZE = 200_000
DRAW = {"balanced": sn.balanced_starts, "independent": sn.independent_starts}


def _agree(rate, hits):
    error = np.sqrt(rate * (1 - rate) / hits.size)
    assert np.mean(hits) == pytest.approx(rate, abs=4 * error)


def test_known_values():
    assert dense_rate(2, "independent") == pytest.approx((2 + np.sqrt(2)) / 4, rel=1e-15)
    # d = 3: P(|a| < |w|) = 1/2 + 1/pi
    assert dense_rate(3, "independent") == pytest.approx(0.75 + 1 / (2 * np.pi), rel=1e-14)
    for d in (2, 10, 10**6):
        assert predicted_rate(d, "imp") == 0.25
        assert predicted_rate(d, "lrr") == 0.5
        assert predicted_rate(d, "imp", n=10**7, noise=0.1) == 0.375
    assert predicted_rate(1, "lrr", init="independent") == 0.375
    for time, rate in ((0.1, 0.3917), (0.3, 0.4948), (1.0, 0.5)):
        assert predicted_rate(1000, "wr", rewind_time=time) == pytest.approx(rate, abs=5e-5)


@pytest.mark.parametrize("init", DRAW)
@pytest.mark.parametrize(("d", "targets"), [(1, 1), (2, 1), (7, 1), (2, 2), (7, 3)])
@pytest.mark.parametrize("imp", ["keep", "rebalance"])
@pytest.mark.parametrize(("algorithm", "time"), [("imp", None), ("wr", 0.0), ("wr", 1.3), ("lrr", None)])
def test_rates_are_the_measure_of_the_regions(init, d, targets, imp, algorithm, time):
    problem = sn.Population(d, targets)
    starts = DRAW[init](d=d, size=SIZE, seed=3)
    hits = sn.predicted(problem, starts, algorithm, imp=imp, rewind_time=time)
    rate = predicted_rate(d, algorithm, init=init, targets=targets, imp=imp, rewind_time=time)
    if not np.isnan(hits).any():
        _agree(rate, hits)


@pytest.mark.parametrize("init", DRAW)
@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_rates_of_one_coordinate_hold_for_few_samples(init, n, noise):
    rng = np.random.default_rng(5)
    x, errors = rng.standard_normal((2, SIZE, n))
    y = np.maximum(x, 0) + noise * errors
    sides = []
    for active in (x > 0, x < 0):
        squares, products = np.sum(x**2 * active, axis=1), np.sum(x * y * active, axis=1)
        sides += [squares, np.divide(products, squares, out=np.zeros(SIZE), where=squares > 0)]
    starts = DRAW[init](d=1, size=SIZE, seed=6)
    hits = line_success(starts.a, starts.w[:, 0], Line(*sides), starts.c)
    _agree(predicted_rate(1, "lrr", init=init, n=n, noise=noise), hits)


def test_no_rate_where_theory_has_none():
    # Of the dense level on samples there is none, however many.
    few = ({"n": 5}, {"n": 10}, {"n": 20, "noise": 1.0}, {"n": 10**6, "noise": 0.1})
    for given in ({"learning_rate": 0.1}, {"level_time": 10.0, "levels": 2}, *few):
        assert np.isnan(predicted_rate(10, "lrr", **given))
    for given in ({"n": 20, "noise": 1.0}, {"n": 40, "noise": 1.0}, {"n": 1000, "noise": 20.0}, {"n": 20}):
        assert np.isnan(predicted_rate(10, "imp", **given))
        assert np.isnan(predicted_rate(10, "imp", **given, level_time=50.0))
    assert np.isnan(predicted_rate(10, "imp", n=10**6, targets=2))
    assert np.isnan(predicted_rate(10, "imp", n=10**6, init="independent"))
    assert np.isnan(predicted_rate(1, "lrr", n=1))
    assert np.isnan(predicted_rate(1, "lrr", n=1, level_time=20.0))
    # Unbalanced dense levels of finite length leave IMP masks that no formula tells.
    assert np.isnan(predicted_rate(10, "imp", init="independent", level_time=100.0))
    assert np.isnan(predicted_rate(10, "wr", rewind_time=1.0, init="independent"))
    assert np.isnan(predicted_rate(10, "imp", targets=2, level_time=10.0))


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize(("algorithm", "moment"), [("imp", 0.0), ("wr", 1.0), ("lrr", 6.0)])
def test_rates_of_finite_levels_follow_the_flow(algorithm, moment, scale):
    d, time, size = 10, 6.0, 20_000
    starts = sn.balanced_starts(d=d, size=size, seed=8, scale=scale, reduced=True)
    then = sn.integrate(sn.Population(d), starts, moment, method="ode").state
    last = sn.integrate(sn.Population(1), sn.State(then.a, then.p[:, None]), time, method="ode")
    rate = predicted_rate(d, algorithm, rewind_time=1.0, level_time=time, scale=scale)
    hits = last.status == sn.Status.CONVERGED
    assert np.mean(hits) == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / size) + 1e-3)
    assert 0.001 < rate < 0.45 or scale < 1


@pytest.mark.parametrize(("d", "init"), [(10, "balanced"), (1, "balanced"), (1, "independent")])
@pytest.mark.parametrize(("n", "noise"), [(None, 0.0), (1000, 0.1)])
@pytest.mark.parametrize("imp", ["keep", "rebalance"])
def test_rates_of_finite_levels_tend_to_the_limit(d, init, n, noise, imp):
    options = {"init": init, "n": n, "noise": noise, "imp": imp}
    long, limit = (predicted_rate(d, "imp", level_time=time, **options) for time in (1e5, np.inf))
    assert long == pytest.approx(limit, abs=3e-3)


@pytest.mark.parametrize(
    ("n", "time", "rate"), [(2, 20.0, 0.119), (10, 20.0, 0.202), (30, 20.0, 0.237), (100, 10.0, 0.193)]
)
def test_rates_in_time_average_over_the_samples(n, time, rate):
    """One coordinate without noise: u = a w is logistic at the rate C = (1/n) sum_{x>0} x^2."""
    assert predicted_rate(1, "lrr", n=n, level_time=time) == pytest.approx(rate, abs=1.5e-3)
    rng = np.random.default_rng(2)
    x, u = rng.standard_normal((SIZE, n)), rng.standard_normal(SIZE) ** 2
    c_pos = np.mean(np.maximum(x, 0) ** 2, axis=1)
    done = np.abs(1 / (1 + (1 / u - 1) * np.exp(-2 * c_pos * time)) - 1) <= 1e-3
    assert np.mean(done & (c_pos > 0)) / 4 == pytest.approx(rate, abs=2e-3)


@pytest.mark.parametrize("init", DRAW)
@pytest.mark.parametrize(("n", "time"), [(2, 30.0), (7, 15.0)])
def test_rates_in_time_average_over_noisy_samples(init, n, time):
    study = sn.success_rate(
        1, "lrr", n=n, noise=0.7, init=init, level_time=time, method="exact", runs=3000, workers=1
    )
    rate = float(study.predicted)
    assert float(study.rate) == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / 3000) + 1e-3)


@pytest.mark.parametrize(("d", "time"), [(2, 10.0), (3, 9.0)])
def test_rates_in_time_know_that_a_short_dense_level_leaves_the_wrong_mask(d, time):
    # Theta has passed pi/2 but not pi/4: the target's is not yet the largest coordinate.
    study = sn.success_rate(d, "lrr", level_time=time, runs=20_000, workers=1)
    assert float(study.rate) == pytest.approx(float(study.predicted), abs=4 * 0.5 / np.sqrt(20_000))
    assert float(study.predicted) < dense_rate(d) - 0.02


def test_rates_in_time_are_those_of_the_tolerance():
    options = {"level_time": 5.0, "runs": 3000, "workers": 1}
    for tolerance in (1e-3, 0.1):
        study = sn.success_rate(1, "lrr", tolerance=tolerance, **options)
        assert float(study.rate) == pytest.approx(float(study.predicted), abs=4 * 0.5 / np.sqrt(3000))


def test_noise_takes_a_time_logarithmic_in_the_samples():
    """Half the gap from 1/4 to 3/8 is closed after ln(sqrt(n)/noise)/(C c) and a constant; c is about 1."""

    def gap(time, n):
        return predicted_rate(1000, "imp", n=n, noise=0.1, level_time=time) - 0.3125

    half = [brentq(gap, 5, 80, args=(n,), xtol=0.05) for n in (10**4, 10**6, 10**8)]
    np.testing.assert_allclose(np.diff(half), np.log(10) / 0.5, atol=0.3)


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("rate", [0.3, 0.8, 1.6])
def test_hops_are_those_of_one_step_of_descent(scale, rate):
    starts = sn.balanced_starts(d=10, size=SIZE, seed=9, scale=scale, reduced=True)
    dense = sn.integrate(sn.Population(10), starts, rate, learning_rate=rate).state
    _agree(hop_rate(10, "lrr", learning_rate=rate, scale=scale), dense.a > 0)
    line = sn.State(starts.a, starts.p[:, None])
    last = sn.integrate(sn.Population(1), line, rate, learning_rate=rate).state
    _agree(hop_rate(10, "imp", learning_rate=rate, scale=scale), line_success(last.a, last.w[:, 0]))


def test_rates_after_a_short_step_are_those_of_the_flow():
    assert hop_rate(10, "imp", learning_rate=1e-6) == pytest.approx(0.25, abs=1e-4)
    assert hop_rate(10, "lrr", learning_rate=1e-6) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("noise", [1e-4, 1e-2])
def test_the_logarithmic_law_is_the_crossing_time_at_the_medians(noise):
    d, n, median = 100, 10**6, 0.6745  # of |N(0, 1)|
    w, s_neg = median / np.sqrt(d), median * noise * np.sqrt(2 / n)
    exact = sn.crossing_time(1.0, -w, c_neg=0.5, s_neg=s_neg)
    # a = 1 and c = 1 - w^2 there instead of the mean of c, 1 - 1/d.
    assert crossing_law(d, n, noise) == pytest.approx(exact, rel=2e-2)


def test_rates_over_a_grid_are_those_of_its_points():
    grid = predicted_rates(d=[2, 10], algorithm=("imp", "wr"), rewind_time=[0.1, 2.0], noise=0.0)
    assert grid.dims == ("d", "algorithm", "rewind_time")
    for point in grid.stack(point=grid.dims):
        given = {name: point[name].item() for name in grid.dims}
        assert point.item() == predicted_rate(**given)
