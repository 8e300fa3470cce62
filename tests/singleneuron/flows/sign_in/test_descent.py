"""Gradient descent on (m, u): a clear loop as its reference, the flow as its limit, and its resets."""

import numpy as np
import pytest

import singleneuron as sn
from singleneuron.flows.sign_in.descent import descend_population, descend_sample
from singleneuron.parameterization import Parameterization, metric
from singleneuron.problem.loss import gradient

BETAS = (0.7, 1.3)
GIVEN = {"beta_a": BETAS[0], "beta_w": BETAS[1]}
RATE, STEPS = 0.05, 40


def factors(theta):
    """Return m and u of states theta (B, 1 + d) with the betas."""
    beta = np.array([BETAS[0], *[BETAS[1]] * (theta.shape[1] - 1)])
    m = np.sqrt((beta + np.stack([metric(t, b) for t, b in zip(theta.T, beta, strict=True)], axis=1)) / 2)
    return m, theta / m


def reference(problem, starts, *, every=None, rate=RATE, steps=STEPS, labels=None):
    """Return the states (B, 1 + d) after the steps, by a loop over numpy arrays."""
    theta = np.column_stack([starts.a, starts.w])
    m, u = factors(theta)
    for done in range(steps):
        data = problem if labels is None else sn.Sample(problem.x, problem.y + labels(done))
        g = np.column_stack(gradient(data, sn.State(theta[:, 0], theta[:, 1:])))
        m, u = m - rate * u * g, u - rate * m * g
        theta = m * u
        if every and (done + 1) % every == 0:
            m, u = factors(theta)
    return theta


@pytest.fixture(scope="module")
def starts():
    return sn.independent_starts(d=3, size=20, seed=3)


@pytest.fixture(scope="module")
def sample():
    return sn.Sample.draw(d=3, n=30, noise=0.3, seed=1)


@pytest.mark.parametrize("every", [None, 1, 7])
@pytest.mark.parametrize("targets", [1, 2])
def test_the_population_takes_the_steps_of_a_clear_loop(starts, every, targets):
    problem = sn.Population(3, targets)
    _, end, _, _ = descend_population(
        starts.a,
        starts.w,
        problem.v,
        1.0,
        np.array([STEPS]),
        RATE,
        **GIVEN,
        tolerance=1e-9,
        reset_every=every,
    )
    np.testing.assert_allclose(end, reference(problem, starts, every=every), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("every", [None, 3])
def test_samples_take_the_steps_of_a_clear_loop(starts, sample, every):
    _, end, _, _ = descend_sample(
        sample.x, sample.y, starts.a, starts.w, np.array([STEPS]), RATE, **GIVEN, tolerance=1e-12,
        reset_every=every,
    )  # fmt: skip
    np.testing.assert_allclose(end, reference(sample, starts, every=every), rtol=1e-11, atol=1e-13)


def test_masked_weights_descend_as_if_they_did_not_exist(starts):
    problem, product = sn.Population(3), Parameterization("sign-in", *BETAS)
    mask = np.array([True, True, False])
    masked = sn.integrate(
        problem, starts, STEPS * RATE, mask=mask, learning_rate=RATE, parameterization=product
    )
    alone = sn.integrate(
        sn.Population(2), sn.State(starts.a, starts.w[:, :2]), STEPS * RATE, learning_rate=RATE,
        parameterization=product,
    )  # fmt: skip
    np.testing.assert_array_equal(masked.state.w[:, :2], alone.state.w)
    assert not masked.state.w[:, 2].any()


def test_halving_the_step_halves_the_distance_to_the_flow(starts):
    problem, product = sn.Population(3), Parameterization("sign-in", *BETAS)
    flow = sn.integrate(problem, starts, 2.0, rtol=1e-10, parameterization=product).state
    gaps = []
    for rate in (0.004, 0.002, 0.001):
        end = sn.integrate(problem, starts, 2.0, learning_rate=rate, parameterization=product).state
        gaps.append(max(np.abs(end.a - flow.a).max(), np.abs(end.w - flow.w).max()))
    ratios = np.divide(gaps[:-1], gaps[1:])
    np.testing.assert_allclose(ratios, 2.0, atol=0.03)


def test_a_reset_moves_no_weight_and_restores_the_betas(starts):
    theta = np.column_stack([starts.a, starts.w])
    m, u = factors(theta)
    np.testing.assert_allclose(m * u, theta, rtol=4 * np.finfo(float).eps)
    np.testing.assert_allclose((m**2 - u**2)[:, 0], BETAS[0], rtol=1e-13)
    np.testing.assert_allclose((m**2 - u**2)[:, 1:], BETAS[1], rtol=1e-13)


def test_label_noise_is_that_of_plain_descent(starts, sample):
    """beta -> infinity at the learning rate rate/beta is plain descent, with the same noise."""
    beta, steps = 1e7, np.array([STEPS])
    _, product, _, _ = descend_sample(
        sample.x, sample.y, starts.a, starts.w, steps, RATE / beta, beta_a=beta, beta_w=beta, tolerance=1e-12,
        label_noise=0.5, seed=4,
    )  # fmt: skip
    plain = sn.integrate(sample, starts, STEPS * RATE, learning_rate=RATE, label_noise=0.5, seed=4).state
    np.testing.assert_allclose(product, np.column_stack([plain.a, plain.w]), rtol=1e-6, atol=1e-8)


def test_small_steps_never_raise_the_loss(starts, sample):
    product = Parameterization("sign-in", *BETAS, reset_every=5)
    for problem in (sn.Population(3), sample):
        path = sn.integrate(
            problem, starts, t_eval=np.arange(0, 2, 0.02), learning_rate=0.01, parameterization=product
        )
        assert np.all(np.diff(sn.loss(problem, path.state), axis=0) <= 1e-15)


def test_a_weight_at_zero_can_move():
    product = Parameterization("sign-in")
    start = sn.State(a=[0.0], w=[[0.5, 0.5]])
    end = sn.integrate(sn.Population(2), start, np.inf, learning_rate=0.1, parameterization=product)
    assert sn.Status(end.status[0]) is sn.Status.CONVERGED
