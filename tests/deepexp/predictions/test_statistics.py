"""Intervals cover at their nominal rate; Holm and Fieller agree with their definitions."""

import numpy as np
import pytest
from scipy import stats

from deepexp.predictions.statistics import fieller, holm, moments, paired_p, quantile

RNG = np.random.default_rng(20240219)


def _covers_nominally(inside):
    """A two-sided binomial test of the coverage at the level 1e-3, from a fixed seed."""
    assert stats.binomtest(int(inside.sum()), inside.size, 0.95).pvalue > 1e-3


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_t_intervals_cover_at_their_rate(seeds):
    values = RNG.normal(0.7, 3.0, (20_000, seeds))
    low, high = moments(values).interval()
    _covers_nominally((low < 0.7) & (high > 0.7))


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("correlation", [-0.5, 0.8])
def test_fieller_intervals_cover_at_their_rate(seeds, correlation):
    """The ratio 0.6 of the means of correlated pairs; the denominator is far from 0, so none is unbounded."""
    deviations = np.array([1.0, 0.5])
    shared = np.outer(deviations, deviations) * [[1, correlation], [correlation, 1]]
    pairs = RNG.multivariate_normal([60.0, 100.0], shared, (3_000, seeds))
    ends = np.array([fieller(pair[:, 0], pair[:, 1]) for pair in pairs])
    assert np.isfinite(ends).all()
    _covers_nominally((ends[:, 0] < 0.6) & (ends[:, 1] > 0.6))


def test_fieller_is_the_set_of_ratios_that_a_t_test_keeps():
    over, under = RNG.normal(3, 1, 6), RNG.normal(5, 1, 6)
    low, high = fieller(over, under)
    for end in (low, high):
        assert stats.ttest_1samp(over - end * under, 0).pvalue == pytest.approx(0.05, rel=1e-9)
    assert stats.ttest_1samp(over - (low + high) / 2 * under, 0).pvalue > 0.05


@pytest.mark.parametrize(("shift", "bounded"), [(0.999, False), (1.001, True)])
def test_fieller_is_bounded_where_the_denominator_is_not_0(shift, bounded):
    noise = RNG.normal(size=5)
    noise -= noise.mean()
    half = stats.t.ppf(0.975, 4) * noise.std(ddof=1) / np.sqrt(5)
    ends = fieller(RNG.normal(1, 1, 5), noise + shift * half)
    assert np.isfinite(ends).all() == bounded
    assert bounded or ends == (-np.inf, np.inf)


def test_fieller_at_other_sizes_is_that_of_as_many_pairs_of_the_same_moments():
    over, under = RNG.normal(3, 1, 4), RNG.normal(5, 1, 4)
    sizes = np.array([4, 40])
    low, high = fieller(over, under, sizes)
    assert (low[0], high[0]) == fieller(over, under)
    centred = [np.tile(side - side.mean(), 10) for side in (over, under)]
    grown = np.sqrt((39 / 40) / (3 / 4))  # the same n - 1 deviation from 40 values
    many = [side * grown + one.mean() for side, one in zip(centred, (over, under), strict=True)]
    np.testing.assert_allclose((low[1], high[1]), fieller(*many), rtol=1e-12)


def test_missing_values_take_no_part():
    values = np.array([[1.0, np.nan, 3.0], [np.nan] * 3, [2.0, np.nan, np.nan]])
    found = moments(values)
    assert found.n.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(found.mean, [2, np.nan, 2])
    np.testing.assert_array_equal(found.deviation, [np.sqrt(2), np.nan, np.nan])
    low, high = found.interval()
    reach = stats.t.ppf(0.975, 1)
    np.testing.assert_allclose([low[0], high[0]], [2 - reach, 2 + reach])
    assert np.isnan([low[1:], high[1:]]).all()
    assert np.isnan(quantile(1))


def test_paired_p_is_the_t_test_and_none_of_the_same_run():
    differences = np.array([RNG.normal(1, 1, 5), np.zeros(5), np.full(5, 0.25)])
    p = paired_p(moments(differences))
    assert p[0] == pytest.approx(stats.ttest_1samp(differences[0], 0).pvalue, rel=1e-12)
    assert np.isnan(p[1])
    assert p[2] == 0


def test_holm_by_hand():
    """Smallest times 4, next times 3, ...; never below the one before, never above 1; NaN stands aside."""
    np.testing.assert_allclose(holm([0.01, 0.04, np.nan, 0.03, 0.5]), [0.04, 0.09, np.nan, 0.09, 0.5])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    assert np.isnan(holm([np.nan])).all()


def test_holm_keeps_the_family_wise_error():
    """Of families of 6 true hypotheses at most 5 % have one below 0.05 (a binomial test, fixed seed)."""
    families = RNG.uniform(size=(10_000, 6))
    wrong = np.apply_along_axis(holm, 1, families).min(axis=1) < 0.05
    assert stats.binomtest(int(wrong.sum()), wrong.size, 0.05, alternative="greater").pvalue > 1e-3
