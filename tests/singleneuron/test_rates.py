"""The predicted rates are the probabilities of the predicted regions."""

import numpy as np
import pytest

import singleneuron as sn
from singleneuron.model import Line
from singleneuron.rates import dense_rate, predicted_rate
from singleneuron.regions import line_success

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
@pytest.mark.parametrize("n", [1, 2, 5, 40])
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
    for given in ({"learning_rate": 0.1}, {"level_time": 10.0}, {"n": 5}, {"n": 10}):
        assert np.isnan(predicted_rate(10, "lrr", **given))
    assert np.isnan(predicted_rate(10, "wr", rewind_time=1.0, init="independent"))
