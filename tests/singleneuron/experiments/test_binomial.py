"""Binomial intervals cover as often as they say: at a fixed number of trials, and at all of them at once."""

import numpy as np
import pytest
from scipy.stats import binom

from singleneuron.experiments.binomial import clopper_pearson, confidence_sequence, with_undecided


@pytest.mark.parametrize(("s", "n"), [(0, 10), (10, 10), (3, 7), (250, 1000), (1, 10**6)])
def test_clopper_pearson_leaves_a_fortieth_on_either_side(s, n):
    low, high = clopper_pearson(s, n)
    assert (low == 0) if s == 0 else binom.sf(s - 1, n, low) == pytest.approx(0.025, rel=1e-9)
    assert (high == 1) if s == n else binom.cdf(s, n, high) == pytest.approx(0.025, rel=1e-9)


@pytest.mark.parametrize("interval", [clopper_pearson, confidence_sequence])
def test_without_trials_nothing_is_known(interval):
    low, high = interval(np.array([0]), np.array([0]))
    assert (low[0], high[0]) == (0, 1)


def test_confidence_sequence_ends_where_the_likelihood_ratio_reaches_20():
    s, n = 37.0, 100.0
    grid = np.linspace(0, 1, 200_001)
    mixture = np.trapezoid(grid**s * (1 - grid) ** (n - s), grid)
    for limit in confidence_sequence(s, n):
        assert mixture / (limit**s * (1 - limit) ** (n - s)) == pytest.approx(20, rel=1e-6)


@pytest.mark.parametrize("p", [0.05, 0.5])
def test_confidence_sequence_covers_at_all_numbers_of_trials_at_once(p):
    paths, trials = 1000, np.arange(5, 2001, 5)
    s = np.cumsum(np.random.default_rng(1).random((paths, 2000)) < p, axis=1)[:, trials - 1]
    n = np.broadcast_to(trials, s.shape)

    def missed(interval):
        low, high = interval(s, n)
        return np.mean(np.any((p < low) | (p > high), axis=1))

    assert missed(confidence_sequence) <= 0.05
    assert missed(clopper_pearson) > 0.15  # exact at any one number, not at the one that suits


def test_stopping_when_narrow_keeps_the_coverage():
    p, width, paths = 0.25, 0.1, 2000
    s = np.cumsum(np.random.default_rng(2).random((paths, 4000)) < p, axis=1)[:, 99::100]
    n = np.broadcast_to(np.arange(100, 4001, 100), s.shape)
    low, high = confidence_sequence(s, n)
    narrow = high - low < width
    assert narrow.any(axis=1).all()
    stop = narrow.argmax(axis=1), np.arange(paths)
    low, high = low[stop[1], stop[0]], high[stop[1], stop[0]]
    assert np.mean((low <= p) & (p <= high)) >= 0.95


@pytest.mark.parametrize("interval", [clopper_pearson, confidence_sequence])
def test_undecided_trials_widen_an_interval_to_both_readings(interval):
    s, u, n = np.array([516, 590, 3]), np.array([484, 233, 0]), np.array([1000, 1000, 7])
    low, high = with_undecided(interval, s, u, n)
    np.testing.assert_array_equal(low, interval(s, n)[0])
    np.testing.assert_array_equal(high, interval(s + u, n)[1])
    # Whatever they turn out to be: no wider than needed, no narrower.
    for late in (0, 100, 233):
        inner = interval(590 + late, 1000)
        assert low[1] <= inner[0] < inner[1] <= high[1]


def test_undecided_trials_keep_the_coverage_that_the_decided_ones_lose():
    """Successes are slow: at any number of trials a tenth of them, and of no failure, is undecided."""
    p, paths, n = 0.5, 2000, 400
    rng = np.random.default_rng(4)
    s = rng.binomial(n, p, paths)
    u = rng.binomial(s, 0.2)
    for interval, least in ((clopper_pearson, 0.95), (confidence_sequence, 0.95)):
        low, high = with_undecided(interval, s - u, u, n)
        assert np.mean((low <= p) & (p <= high)) >= least
    low, high = clopper_pearson(s - u, n - u)
    assert np.mean((low <= p) & (p <= high)) < 0.7
