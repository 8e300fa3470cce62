"""The parameterization: its options, its metric, and the quantity that its flow conserves."""

import numpy as np
import pytest

import singleneuron as sn
from singleneuron.parameterization import PLAIN, Parameterization, distance, metric


@pytest.mark.parametrize("beta", [0.0, -1.0, np.nan, np.inf, 1e-10, 1e10])
@pytest.mark.parametrize("which", ["beta_a", "beta_w"])
def test_a_beta_must_be_positive_and_finite(which, beta):
    with pytest.raises(ValueError, match=which):
        Parameterization("sign-in", **{which: beta})


@pytest.mark.parametrize("option", [{"beta_a": 2.0}, {"beta_w": 2.0}, {"reset_every": 3}])
def test_plain_weights_take_no_option(option):
    with pytest.raises(ValueError, match="only apply to the parameterization 'sign-in'"):
        Parameterization("plain", **option)


def test_unknown_names_and_resets_are_refused():
    with pytest.raises(ValueError, match="one of plain, sign-in"):
        Parameterization("signin")
    with pytest.raises(ValueError, match="reset_every"):
        Parameterization("sign-in", reset_every=0)


def test_the_metric_is_the_sum_of_squares_of_the_factors():
    theta, beta = np.linspace(-3, 3, 13), 0.7
    m = np.sqrt((beta + metric(theta, beta)) / 2)
    u = theta / m
    np.testing.assert_allclose(m**2 - u**2, beta, rtol=1e-14)
    np.testing.assert_allclose(m**2 + u**2, metric(theta, beta), rtol=1e-14)


def test_the_distance_keeps_its_digits_near_zero_and_far_from_it():
    np.testing.assert_allclose(distance(1e-9, 1.0), 2e-18, rtol=1e-14)
    np.testing.assert_allclose(distance(1e200, 1e-3), 2e200, rtol=1e-14)
    assert distance(-0.3, 2.0) == distance(0.3, 2.0)


def test_the_balance_of_each_parameterization():
    starts = sn.State(a=[0.5, -1.0], w=[[0.3, 0.4], [0.0, 2.0]])
    np.testing.assert_allclose(PLAIN.balance(starts), [0.0, -3.0], atol=1e-15)
    product = Parameterization("sign-in", beta_a=2.0, beta_w=0.5)
    expected = (metric(starts.a, 2.0) - 2.0) - (metric(starts.w, 0.5) - 0.5).sum(axis=1)
    np.testing.assert_allclose(product.balance(starts), expected, rtol=1e-14)
    with pytest.raises(ValueError, match="needs full states"):
        product.balance(sn.reduce(sn.Population(d=2), starts))


def test_small_betas_measure_the_one_norm():
    starts = sn.State(a=[1.5], w=[[0.5, -0.25]])
    product = Parameterization("sign-in", beta_a=1e-9, beta_w=1e-9)
    np.testing.assert_allclose(product.balance(starts), 2 * (1.5 - 0.75), atol=1e-8)


def test_the_balance_keeps_its_sign_where_the_largest_weights_cancel():
    starts = sn.State(a=[-0.7], w=[[0.7, 1e-9, 1e-9]])
    assert Parameterization("sign-in").balance(starts)[0] == pytest.approx(-4e-18, rel=1e-12)


def test_a_parameterization_may_be_given_by_its_name():
    assert Parameterization.of("sign-in") == Parameterization("sign-in")
    assert Parameterization.of(PLAIN) is PLAIN
    starts = sn.balanced_starts(d=2, size=2)
    with pytest.raises(ValueError, match="one of plain, sign-in"):
        sn.prune(sn.Population(2), starts, parameterization="signin")
